//! An application with handlers of its own: events are stored, acknowledged, and processed afterwards.
//!
//!     cargo run -p rollcall-receiver --example axum_app --features axum,inbox -- JWKS_URL APP_ID

use std::sync::Arc;

use rollcall_receiver::protocol::UserPayload;
use rollcall_receiver::{
    Handler, HttpJwks, Inbox, InboxOptions, KeySource, Outcome, Received, Receiver, router,
};

struct Accounts;

impl Handler for Accounts {
    async fn user_created(&self, event: &Received<UserPayload>) -> Outcome {
        // Here the application would insert or update its own account.
        tracing::info!(user = event.record.user_id, "has an account now");
        Outcome::success()
    }

    async fn user_updated(&self, event: &Received<UserPayload>) -> Outcome {
        self.user_created(event).await
    }

    async fn user_deleted(&self, event: &Received<UserPayload>) -> Outcome {
        tracing::info!(user = event.record.user_id, "has no account any more");
        Outcome::success()
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(jwks_url), Some(application_id)) = (arguments.next(), arguments.next()) else {
        return Err("usage: axum_app JWKS_URL APP_ID".into());
    };
    let inbox = Inbox::open("sqlite:inbox.db", Accounts, InboxOptions::default()).await?;
    let keys = KeySource::Endpoint(Arc::new(HttpJwks::new(jwks_url)?));
    let receiver = Receiver::builder(keys, application_id).build(inbox)?;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:8770").await?;
    axum::serve(listener, router(Arc::new(receiver), "/events")).await?;
    Ok(())
}
