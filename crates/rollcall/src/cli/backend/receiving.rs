//! What a receiver of an application's events needs to know.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use reqwest::{Method, Url};
use rollcall_protocol::EncryptionKey;
use rollcall_receiver::{FetchJwks, KeySource};

use super::Backend;
use crate::api::DetailedApplication;
use crate::application::{Application, keys, store};
use crate::cli::serving;
use crate::delivery::egress::{ANSWER_LIMIT, Direct};
use crate::hub::Hub;

/// What a receiver of an application's events needs to know.
pub(in crate::cli) struct Receiving {
    pub(in crate::cli) application: Application,
    /// Where the application finds its public keys.
    pub(in crate::cli) jwks_url: String,
    /// The public keys, from wherever they can be had here.
    pub(in crate::cli) keys: KeySource,
    /// The instance, if it is known.
    pub(in crate::cli) instance_id: Option<String>,
    /// The encryption key, where it may be known: only the database and the master key tell it.
    pub(in crate::cli) encryption_key: Option<EncryptionKey>,
}

impl Backend {
    /// What a receiver of this application's events needs to know.
    pub(in crate::cli) async fn receiving(&self, name: &str) -> Result<Receiving> {
        match self {
            Self::Database(database) => {
                let hub = &database.hub;
                let (name, master) = (name.to_owned(), Arc::clone(&hub.master));
                let read = hub.db.read(move |tx| {
                    let application = store::find(tx, &name)?;
                    let key = store::encryption_key(tx, &application.id, &master)?;
                    Ok::<_, crate::application::ApplicationError>((application, key))
                });
                let (application, encryption_key) = read.await?;
                let known = serving::known(hub, &database.config).await?;
                Ok(Receiving {
                    jwks_url: known.jwks_url(&application.id),
                    keys: KeySource::Endpoint(Arc::new(OfDatabase {
                        hub: hub.clone(),
                        application_id: application.id.clone(),
                    })),
                    instance_id: Some(hub.instance.id.clone()),
                    encryption_key,
                    application,
                })
            }
            Self::Server(client) => {
                let detailed: DetailedApplication = client.get(&["applications", name]).answer().await?;
                let jwks_url = detailed.jwks_url;
                let url = Url::parse(&jwks_url).with_context(|| jwks_url.clone())?;
                Ok(Receiving {
                    keys: KeySource::Endpoint(Arc::new(OfServer {
                        direct: client.direct(),
                        url,
                    })),
                    jwks_url,
                    instance_id: None,
                    encryption_key: None,
                    application: detailed.application,
                })
            }
        }
    }

    /// Why the hub will not send to this address, if that can be told here.
    pub(in crate::cli) async fn refusal_of(&self, url: &str) -> Result<Option<String>> {
        match self {
            Self::Database(database) => {
                let known = serving::known(&database.hub, &database.config).await?;
                known.refusal(url).await
            }
            Self::Server(_) => Ok(None),
        }
    }
}

/// The document as the hub publishes it, whether or not the hub runs.
struct OfDatabase {
    hub: Hub,
    application_id: String,
}

impl FetchJwks for OfDatabase {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = std::result::Result<String, String>> + Send + '_>> {
        Box::pin(async move {
            let (id, now) = (self.application_id.clone(), self.hub.clock.now());
            let read = self.hub.db.read(move |tx| keys::jwks(tx, &id, now));
            let set = read.await.map_err(|error| error.to_string())?;
            serde_json::to_string(&set).map_err(|error| error.to_string())
        })
    }
}

/// The endpoint, with the certificates that are trusted for the hub.
struct OfServer {
    direct: Direct,
    url: Url,
}

impl FetchJwks for OfServer {
    fn fetch(&self) -> Pin<Box<dyn Future<Output = std::result::Result<String, String>> + Send + '_>> {
        Box::pin(async move {
            let request = self.direct.request(Method::GET, self.url.clone());
            let mut response = self
                .direct
                .send(request)
                .await
                .map_err(|error| error.to_string())?;
            if !response.status().is_success() {
                return Err(format!("HTTP {}", response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(portion) = Direct::portion(&mut response)
                .await
                .map_err(|error| error.to_string())?
            {
                body.extend_from_slice(&portion);
                if body.len() > ANSWER_LIMIT {
                    return Err("the JWKS document is larger than 1 MiB".to_owned());
                }
            }
            String::from_utf8(body).map_err(|error| error.to_string())
        })
    }
}
