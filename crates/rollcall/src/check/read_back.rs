//! What the endpoint has stored of a user: by asking an address, or a database.

use std::sync::Arc;

use reqwest::{Method, Url};
use rollcall_db::foreign::Foreign;
use rustls::pki_types::CertificateDer;
use serde_json::{Map, Value};

use crate::clock::Clock;
use crate::delivery::egress::ANSWER_WITHIN;
use crate::sender::{Post, excerpt};

/// What stands in an address in place of a user's id.
const PLACE: &str = "{id}";

/// Where what is stored is looked at.
pub enum ReadBack {
    /// `GET` of an address in which `{id}` stands for the user's id: a JSON object, or 404.
    Http {
        /// The address.
        template: String,
        /// Who is trusted besides the system's authorities.
        authorities: Vec<CertificateDer<'static>>,
        /// The time.
        clock: Clock,
    },
    /// A query with `$1` for the user's id.
    Sql {
        /// The database.
        database: Arc<Foreign>,
        /// The query.
        query: String,
    },
}

impl std::fmt::Debug for ReadBack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Http { .. } => "ReadBack::Http",
            Self::Sql { .. } => "ReadBack::Sql",
        })
    }
}

/// What is stored of a user. Names are compared without regard to case and underscores, since columns are often called
/// `display_name` or `displayname`.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Stored(Map<String, Value>);

impl Stored {
    /// The value of a field; `None` if there is no such field.
    pub(super) fn get(&self, name: &str) -> Option<&Value> {
        let plain = |text: &str| text.replace('_', "").to_ascii_lowercase();
        let name = plain(name);
        self.0
            .iter()
            .find_map(|(key, value)| (plain(key) == name).then_some(value))
    }
}

impl ReadBack {
    /// An address in which `{id}` stands for a user's id.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn http(
        template: &str,
        authorities: &[CertificateDer<'static>],
        clock: Clock,
    ) -> Result<Self, String> {
        if !template.contains(PLACE) {
            return Err(format!("{template:?} has no {PLACE} where the user's id goes"));
        }
        address(template, "user_1")?;
        Ok(Self::Http {
            template: template.to_owned(),
            authorities: authorities.to_vec(),
            clock,
        })
    }

    /// A query on a database.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn sql(database: &str, query: &str) -> Result<Self, String> {
        if !query.contains("$1") {
            return Err("the query has no $1 where the user's id goes".to_owned());
        }
        let database = Foreign::at(database).map_err(|error| error.to_string())?;
        Ok(Self::Sql {
            database: Arc::new(database),
            query: query.to_owned(),
        })
    }

    /// What is stored of a user; `None` if nothing is.
    ///
    /// # Errors
    /// Why that cannot be found out, in words.
    pub(super) async fn user(&self, id: &str) -> Result<Option<Stored>, String> {
        let found = match self {
            Self::Http {
                template,
                authorities,
                clock,
            } => ask(template, authorities, clock, id).await?,
            Self::Sql { database, query } => {
                let (database, query, id) = (Arc::clone(database), query.clone(), id.to_owned());
                let row = tokio::task::spawn_blocking(move || database.row(&query, &id))
                    .await
                    .map_err(|error| error.to_string())?
                    .map_err(|error| error.to_string())?;
                row.map(|columns| {
                    columns
                        .into_iter()
                        .map(|(name, value)| (name, value.map_or(Value::Null, Value::String)))
                        .collect()
                })
            }
        };
        Ok(found.map(unfolded).map(Stored))
    }
}

fn address(template: &str, id: &str) -> Result<Url, String> {
    let url = Url::parse(&template.replace(PLACE, &crate::api::encoded(id)))
        .map_err(|error| format!("{template:?} is no address: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        _ => Err(format!("{template:?} does not begin with http:// or https://")),
    }
}

async fn ask(
    template: &str,
    authorities: &[CertificateDer<'static>],
    clock: &Clock,
    id: &str,
) -> Result<Option<Map<String, Value>>, String> {
    let url = address(template, id)?;
    let post = Post::new(url, authorities, clock.clone()).map_err(|error| error.to_string())?;
    let answered = post
        .send(Method::GET, "", axum::body::Bytes::new(), ANSWER_WITHIN)
        .await;
    let received = answered.map_err(|error| error.to_string())?;
    match received.status {
        404 | 410 => Ok(None),
        200 => serde_json::from_slice::<Map<String, Value>>(&received.body)
            .map(Some)
            .map_err(|error| format!("the answer of {} is no JSON object: {error}", post.url())),
        status => Err(format!(
            "{} answered HTTP {status} ({}); 200 with a JSON object or 404 was expected",
            post.url(),
            excerpt(&received.body)
        )),
    }
}

/// A record that stands as JSON in the one field `json` is what it holds.
fn unfolded(found: Map<String, Value>) -> Map<String, Value> {
    let inner = match found.get("json") {
        Some(Value::String(text)) => serde_json::from_str::<Map<String, Value>>(text).ok(),
        Some(Value::Object(object)) => Some(object.clone()),
        _ => None,
    };
    inner.unwrap_or(found)
}
