//! What connects a node with the network.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Bytes;
use reqwest::Url;
use rollcall::clock::Clock;
use rollcall::delivery::egress::failure::Failure;
use rollcall::delivery::egress::{Peer, Question, Reply};
use rollcall_db::testing::Faults;

use super::network::{Brought, Network};

/// What connects one node, as long as that lives, with the network.
pub(super) struct Cable {
    pub(super) network: Arc<Network>,
    pub(super) node: &'static str,
    pub(super) clock: Clock,
    pub(super) faults: Faults,
}

impl Peer for Cable {
    fn post<'a>(
        &'a self,
        url: &'a Url,
        body: Bytes,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if self.faults.killed() {
                return Err(Failure::Connect("the node is dead".to_owned()));
            }
            let history = &self.network.history;
            history.passed(self.clock.now());
            let name = url.host_str().unwrap();
            self.network.look_into(name, &body);
            let mut brought = Brought::default();
            let result = self.network.carry(self.node, name, &body, &mut brought).await;
            self.network.signers.note(name, &body, &brought.0);
            history.passed(self.clock.now());
            if let Ok(reply) = &result
                && reply.status == 200
            {
                self.network.wanted(name).hears(&brought.0, &reply.body);
                self.network.is_accounted_for(name, brought.0);
            }
            let told = match &result {
                // Of an answer to many events the beginning is enough.
                Ok(reply) => format!("{} {:.600}", reply.status, String::from_utf8_lossy(&reply.body)),
                Err(failure) => failure.code().to_owned(),
            };
            history.note(format_args!("{} to {name}: {told}", self.node));
            result
        })
    }

    fn ask<'a>(
        &'a self,
        question: Question<'a>,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, Failure>> + Send + 'a>> {
        Box::pin(async move {
            if self.faults.killed() {
                return Err(Failure::Connect("the node is dead".to_owned()));
            }
            let history = &self.network.history;
            history.passed(self.clock.now());
            let name = question.url.host_str().unwrap();
            if let Some((_, body)) = &question.body {
                self.network.look_into(name, body);
            }
            let result = self.network.ask(name, &question).await;
            history.passed(self.clock.now());
            let told = match &result {
                Ok(reply) => format!("{} {:.200}", reply.status, String::from_utf8_lossy(&reply.body)),
                Err(failure) => failure.code().to_owned(),
            };
            let Question { method, url, .. } = &question;
            history.note(format_args!("{}: {method} {url}: {told}", self.node));
            result
        })
    }
}
