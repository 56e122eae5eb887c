//! What an application may do through the developer API, and its client secrets.

use anyhow::{Context as _, Result};
use serde_json::json;

use super::Backend;
use crate::accounts::tokens::Term;
use crate::api::{DeveloperAccess, FreshClientSecret};
use crate::application::developer::secrets::{ClientSecret, NewClientSecret};
use crate::application::{Command, DeveloperApiPatch, store};
use crate::cli::caller::caller;
use crate::secret::ExposeSecret as _;

impl Backend {
    /// An application's access to the developer API, by its id or name.
    pub(in crate::cli) async fn developer_access(&self, app: &str) -> Result<DeveloperAccess> {
        match self {
            Self::Database(database) => {
                let (hub, name) = (&database.hub, app.to_owned());
                let application = hub.db.read(move |tx| store::find(tx, &name)).await?;
                Ok(DeveloperAccess::of(hub, &application).await?)
            }
            Self::Server(client) => {
                let request = client.get(&["applications", app, "developer-api"]);
                request.answer().await
            }
        }
    }

    /// Changes it.
    pub(in crate::cli) async fn set_developer_api(
        &self,
        id: &str,
        changes: DeveloperApiPatch,
    ) -> Result<DeveloperAccess> {
        match self {
            Self::Database(database) => {
                let (hub, id) = (&database.hub, id.to_owned());
                let command = Command::SetDeveloperApi { id, changes };
                let applied = hub.apply_application(caller(), command).await?;
                Ok(DeveloperAccess::of(hub, &applied.application).await?)
            }
            Self::Server(client) => {
                let request = client
                    .patch(&["applications", id, "developer-api"])
                    .body(&changes)?;
                request.answer().await
            }
        }
    }

    /// Makes a client secret; `None`: it never expires.
    pub(in crate::cli) async fn create_client_secret(
        &self,
        id: &str,
        days: Option<u32>,
    ) -> Result<FreshClientSecret> {
        match self {
            Self::Database(database) => {
                let hub = &database.hub;
                let expires_at = days.map_or(Term::Never, Term::Days).end(hub.clock.now())?;
                let (new, secret) = NewClientSecret::generate(id.to_owned(), expires_at, &*hub.random);
                let create = Command::CreateClientSecret(new);
                let applied = hub.apply_application(caller(), create).await?;
                Ok(FreshClientSecret {
                    client_secret: applied.client_secret.context("no client secret was made")?,
                    secret: secret.expose_secret().to_owned(),
                })
            }
            Self::Server(client) => {
                let body = json!({ "expiresInDays": days, "neverExpires": days.is_none() });
                let request = client.post(&["applications", id, "client-secrets"]).body(&body)?;
                request.once().answer().await
            }
        }
    }

    /// Makes a client secret good for nothing.
    pub(in crate::cli) async fn revoke_client_secret(&self, id: &str, secret: &str) -> Result<ClientSecret> {
        match self {
            Self::Database(database) => {
                let revoke = Command::RevokeClientSecret {
                    application_id: id.to_owned(),
                    id: secret.to_owned(),
                };
                let applied = database.hub.apply_application(caller(), revoke).await?;
                applied.client_secret.context("no client secret was revoked")
            }
            Self::Server(client) => {
                let request = client.delete(&["applications", id, "client-secrets", secret]);
                request.answer().await
            }
        }
    }
}
