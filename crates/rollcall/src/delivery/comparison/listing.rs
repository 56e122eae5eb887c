//! Listing what an application has: page by page, at its pace, as patiently as it wants.

use std::sync::Arc;
use std::time::Duration;

use rollcall_scim::client::Call;
use serde_json::Value as Json;

use super::run::Trouble;
use crate::delivery::egress::failure::Failure;
use crate::delivery::route::scim::Provider;
use crate::delivery::route::scim::client::Answer;
use crate::delivery::shared::Shared;

/// How often a request is sent that gets no answer, or one that it may get another one of.
const TRIES: u32 = 6;

/// The pause before the second try; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// For how long is waited at most because the application asks for it.
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// Asks an application.
#[derive(Clone, Copy)]
pub(super) struct Asker<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) provider: &'a Provider,
}

impl Asker<'_> {
    /// The answer to a request that only reads, whatever it says, unless it says to come again.
    pub(super) async fn ask(&self, call: &Call) -> Result<Answer, Trouble> {
        let mut pause = FIRST_PAUSE;
        let mut tries = 1;
        loop {
            let (failure, wait) = match self.provider.read(self.shared, call).await {
                Ok(answer) => match &answer.failure {
                    Some(
                        failure @ Failure::Status {
                            status: 408 | 429 | 500..=599,
                            retry_after,
                            ..
                        },
                    ) => (failure.clone(), *retry_after),
                    _ => return Ok(answer),
                },
                Err(failure @ (Failure::Unsealed(_) | Failure::Forbidden { .. })) => {
                    return Err(Trouble::Application(failure.to_string()));
                }
                Err(failure) => (failure, None),
            };
            if let Some(wait) = wait.filter(|wait| *wait > LONGEST_WAIT) {
                let seconds = wait.as_secs();
                return Err(Trouble::Application(format!(
                    "{failure}; the application asks to wait for {seconds} s"
                )));
            }
            if tries == TRIES {
                return Err(Trouble::Application(failure.to_string()));
            }
            tokio::time::sleep(wait.unwrap_or(pause)).await;
            pause *= 2;
            tries += 1;
        }
    }

    /// Whether the application goes through lists by cursors (RFC 9865, section 4).
    pub(super) async fn has_cursors(&self) -> Result<bool, Trouble> {
        let call = Call::get("ServiceProviderConfig", Vec::new());
        let answer = self.ask(&call).await?;
        let said = answer.reply.body.filter(|_| answer.failure.is_none());
        Ok(said.is_some_and(|said| said["pagination"]["cursor"] == Json::Bool(true)))
    }
}

/// Where in a list the next page begins.
enum Place {
    /// At this index, counted from 1.
    Index(u64),
    /// At this cursor; the first one is empty.
    Cursor(String),
    /// Nowhere.
    End,
}

/// A list, page by page.
pub(super) struct Pages<'a> {
    asker: Asker<'a>,
    endpoint: &'static str,
    more: Vec<(&'static str, String)>,
    count: u32,
    place: Place,
    /// With which resource the page before began.
    first: Option<String>,
}

impl<'a> Pages<'a> {
    pub(super) fn of(
        asker: Asker<'a>,
        endpoint: &'static str,
        more: Vec<(&'static str, String)>,
        by_cursor: bool,
    ) -> Self {
        Self {
            count: asker.provider.parameters().profile.page_size.max(1),
            asker,
            endpoint,
            more,
            place: match by_cursor {
                true => Place::Cursor(String::new()),
                false => Place::Index(1),
            },
            first: None,
        }
    }

    /// The resources of the next page; `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Vec<Json>>, Trouble> {
        loop {
            let mut query = self.more.clone();
            match &self.place {
                Place::Index(start) => query.push(("startIndex", start.to_string())),
                Place::Cursor(cursor) => query.push(("cursor", cursor.clone())),
                Place::End => return Ok(None),
            }
            query.push(("count", self.count.to_string()));
            let answer = self.asker.ask(&Call::get(self.endpoint, query)).await?;
            if !answer.complete {
                if self.count == 1 {
                    return Err(self.refuse("a single resource is larger than the hub reads"));
                }
                self.count = (self.count / 2).max(1);
                continue;
            }
            if let Some(failure) = &answer.failure {
                return Err(self.refuse(&failure.to_string()));
            }
            return self.turn(answer.reply.body.unwrap_or_default()).map(Some);
        }
    }

    /// Takes a page, and finds where the next one begins.
    fn turn(&mut self, mut page: Json) -> Result<Vec<Json>, Trouble> {
        let total = page["totalResults"].as_u64();
        let next = page["nextCursor"].as_str().filter(|next| !next.is_empty());
        let next = next.map(str::to_owned);
        let resources = match page.get_mut("Resources").map(Json::take) {
            Some(Json::Array(resources)) => resources,
            // An empty list needs none.
            None | Some(Json::Null) if total.is_some() => Vec::new(),
            _ => return Err(self.refuse("the answer is no list")),
        };
        let first = resources.first().map(|resource| resource["id"].to_string());
        if first.is_some() && first == self.first {
            return Err(self.refuse("every page has the same resources, so it cannot be read to its end"));
        }
        self.first = first;
        self.place = match &self.place {
            Place::Index(start) => {
                let start = start + resources.len() as u64;
                match resources.is_empty() || total.is_some_and(|total| start > total) {
                    true => Place::End,
                    false => Place::Index(start),
                }
            }
            Place::Cursor(_) => next.map_or(Place::End, Place::Cursor),
            Place::End => Place::End,
        };
        Ok(resources)
    }

    fn refuse(&self, why: &str) -> Trouble {
        Trouble::Application(format!("{} cannot be listed: {why}", self.endpoint))
    }
}
