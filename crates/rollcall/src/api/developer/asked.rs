//! What a call brings.

use axum::body::{Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::answer::Refused;
use crate::application::developer::secrets;
use crate::developer::{Desk, Given, Paged, Refusal};
use crate::directory::Source;
use crate::secret::SecretString;

/// How long a body may be.
const LARGEST: usize = 1 << 20;

/// What every call brings.
pub(super) struct Asked {
    /// The id in the path; empty where it has none.
    pub(super) id: String,
    query: Vec<(String, String)>,
    bytes: Bytes,
}

/// The first parameter of a name, unless it is empty.
fn parameter<'a>(parameters: &'a [(String, String)], wanted: &str) -> Option<&'a str> {
    let found = parameters.iter().find(|(name, _)| name == wanted)?;
    Some(found.1.as_str()).filter(|value| !value.is_empty())
}

impl Asked {
    /// Reads what a request brings whose path has this id.
    pub(super) async fn read(id: String, request: Request) -> Result<Self, Refused> {
        let uri = request.uri();
        let query = match uri.query() {
            None => Vec::new(),
            Some(_) => {
                axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
                    .map_err(|_| Refusal::body("the query cannot be read"))?
                    .0
            }
        };
        let body = request.into_body();
        let bytes = match body.is_end_stream() {
            true => Bytes::new(),
            // In a box, which whoever sends no body does without.
            false => Box::pin(to_bytes(body, LARGEST)).await.map_err(|_| {
                Refusal::body(format!("the body is larger than {LARGEST} bytes, or ended early"))
            })?,
        };
        Ok(Self { id, query, bytes })
    }

    /// The body's fields.
    pub(super) fn given(&self) -> Result<Given, Refusal> {
        Given::read(&self.bytes)
    }

    /// A parameter behind the question mark, unless it is empty.
    pub(super) fn query(&self, wanted: &str) -> Option<&str> {
        parameter(&self.query, wanted)
    }

    /// The same, to be kept.
    pub(super) fn own(&self, wanted: &str) -> Option<String> {
        self.query(wanted).map(str::to_owned)
    }

    /// Which page is wanted, by number.
    pub(super) fn numbered(&self) -> Result<Paged, Refusal> {
        Paged::numbered(self.query("pageNumber"), self.query("pageSize"))
    }

    /// Which page is wanted, by the token that the one before has named.
    pub(super) fn portioned(&self) -> Result<Paged, Refusal> {
        Paged::portioned(self.query("nextToken"), self.query("maxResults"))
    }
}

/// The source that a look-up names, and the external id there.
pub(super) fn external(desk: &Desk, given: &Given, of: &str) -> Result<(Source, String), Refusal> {
    let source = Source::from_the_wire(
        given.some(&format!("{of}SourceType"))?,
        given.some(&format!("{of}SourceId"))?,
        &desk.hub().instance.id,
    );
    Ok((source, given.needed(&format!("{of}ExternalId"))?))
}

/// Who proves by a secret to be an application, and the other parameters: in the query, as the official clients send
/// them, or in a form (RFC 6749, section 2.3.1).
pub(super) struct Credentials {
    parameters: Vec<(String, String)>,
    basic: Option<(String, SecretString)>,
}

impl Credentials {
    pub(super) fn read(asked: &Asked, headers: &HeaderMap) -> Result<Self, Refusal> {
        let kind = headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok());
        let is_form = kind.is_some_and(|kind| kind.starts_with("application/x-www-form-urlencoded"));
        let mut parameters = asked.query.clone();
        if is_form {
            parameters.extend(form_urlencoded::parse(&asked.bytes).into_owned());
        }
        Ok(Self {
            parameters,
            basic: basic(headers),
        })
    }

    pub(super) fn parameter(&self, wanted: &str) -> Option<&str> {
        parameter(&self.parameters, wanted)
    }

    /// The secret, if what is said belongs to this application.
    pub(super) fn secret(&self, application_id: &str) -> Result<SecretString, Refusal> {
        let (id, secret) = match &self.basic {
            Some((id, secret)) => (id.clone(), secret.clone()),
            None => {
                let id = self
                    .parameter("client_id")
                    .ok_or_else(|| Refusal::missing("client_id"))?;
                let secret = self.parameter("client_secret");
                let secret = secret.ok_or_else(|| Refusal::missing("client_secret"))?;
                (id.to_owned(), SecretString::from(secret))
            }
        };
        let is_one = crate::secret::ExposeSecret::expose_secret(&secret).starts_with(secrets::PREFIX);
        match id == application_id && is_one {
            true => Ok(secret),
            false => Err(Refusal::client()),
        }
    }
}

/// Id and secret of the header `Authorization: Basic`, each of which is encoded as in a form.
fn basic(headers: &HeaderMap) -> Option<(String, SecretString)> {
    let shown = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, shown) = shown.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(shown.trim()).ok()?).ok()?;
    let (id, secret) = decoded.split_once(':')?;
    let plain = |text: &str| {
        let pair = format!("a={text}");
        form_urlencoded::parse(pair.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
    };
    Some((plain(id)?, SecretString::from(plain(secret)?)))
}
