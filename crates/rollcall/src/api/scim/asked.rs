//! What a request of a connection brings.

use std::sync::Arc;

use axum::RequestPartsExt as _;
use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, RawPathParams, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use rollcall_scim::{Error, Projection, ScimType};
use serde_json::Value;

use super::answer::{Answer, Refused};
use crate::api::Api;
use crate::scim::{BULK_PAYLOAD, Expected, Kind, Provider, version};

/// How long a body may be.
const LARGEST: usize = 8 << 20;

/// A request of a connection. Only behind the look at its token.
pub(super) struct Asked {
    pub(super) provider: Provider,
    /// The id in the path; empty where it has none.
    pub(super) id: String,
    /// What stands behind the question mark.
    pub(super) query: Vec<(String, String)>,
    headers: HeaderMap,
    bytes: Bytes,
}

impl FromRequest<Arc<Api>> for Asked {
    type Rejection = Refused;

    async fn from_request(request: Request, api: &Arc<Api>) -> Result<Self, Refused> {
        let (mut parts, body) = request.into_parts();
        let provider = parts.extensions.get::<Provider>().cloned();
        let provider = provider.ok_or_else(|| Error::status(500, "nobody has looked who asks"))?;
        let id = id(&mut parts, api).await?;
        let pairs = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
            .map_err(|error| Error::of(ScimType::InvalidValue, format!("the query: {error}")))?;
        let bytes = to_bytes(body, LARGEST).await.map_err(|_| {
            Error::status(
                413,
                format!("the body is larger than {LARGEST} bytes, or ended early"),
            )
        })?;
        Ok(Self {
            provider,
            id,
            query: pairs.0,
            headers: parts.headers,
            bytes,
        })
    }
}

async fn id(parts: &mut Parts, api: &Arc<Api>) -> Result<String, Refused> {
    let path = parts.extract_with_state::<RawPathParams, Arc<Api>>(api).await;
    let path = path.map_err(|error| Error::status(404, format!("the path: {error}")))?;
    let id = path.iter().find(|(name, _)| *name == "id");
    Ok(id.map_or_else(String::new, |(_, id)| id.to_owned()))
}

impl Asked {
    /// The JSON that was sent.
    pub(super) fn body(&self) -> Result<Value, Refused> {
        let kind = self
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or_default();
        let essence = kind.split(';').next().unwrap_or_default().trim();
        let is_json = ["application/scim+json", "application/json"]
            .iter()
            .any(|known| essence.eq_ignore_ascii_case(known));
        if self.provider.strictness().is_strict() && !is_json {
            let detail = "send the header Content-Type: application/scim+json";
            return Err(Error::status(415, detail).into());
        }
        serde_json::from_slice(&self.bytes).map_err(|error| {
            Error::of(ScimType::InvalidSyntax, format!("the body is not JSON: {error}")).into()
        })
    }

    /// The JSON of a bulk request, which has a limit of its own.
    pub(super) fn bulk(&self) -> Result<Value, Refused> {
        if self.bytes.len() > BULK_PAYLOAD {
            let detail = format!("a bulk request may have {BULK_PAYLOAD} bytes");
            return Err(Error::status(413, detail).into());
        }
        self.body()
    }

    fn parameter(&self, wanted: &str) -> &str {
        let mut found = self
            .query
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.next().map_or("", |(_, value)| value)
    }

    /// What of a resource is to be in the answer.
    pub(super) fn projection(&self) -> Result<Projection, Refused> {
        let (attributes, excluded) = (self.parameter("attributes"), self.parameter("excludedAttributes"));
        Ok(self.provider.projection(attributes, excluded)?)
    }

    /// What version the resource has to have.
    pub(super) fn expected(&self) -> Expected {
        let given = self.headers.get(header::IF_MATCH);
        let given = given.and_then(|given| given.to_str().ok());
        given.map_or(Expected::Any, Expected::read)
    }

    /// Refuses a filter where there is none (RFC 7644, section 4).
    pub(super) fn no_filter(&self) -> Result<(), Refused> {
        match self.parameter("filter") {
            "" => Ok(()),
            _ => Err(Error::status(403, "these documents cannot be filtered").into()),
        }
    }

    /// The answer with a resource; without a body if there is none, and if the client has it already.
    pub(super) fn resource(
        &self,
        kind: Kind,
        status: u16,
        resource: Option<rollcall_scim::Object>,
        is_new: bool,
    ) -> Result<Answer, Refused> {
        let Some(resource) = resource else {
            return Ok(Answer::nothing());
        };
        let tag = version(&resource).to_owned();
        let known = self
            .headers
            .get(header::IF_NONE_MATCH)
            .and_then(|known| known.to_str().ok());
        if !is_new
            && !tag.is_empty()
            && let Some(known) = known
            && Expected::read(known).names(&tag)
        {
            return Ok(Answer::unchanged(tag));
        }
        let shown = self.projection()?.apply(&resource, kind.types());
        Ok(Answer::resource(status, &resource, shown, is_new))
    }

    /// The answer to a change. A group that is too large to be shown after each is answered without a body, unless
    /// the client says what of it is to be in the answer.
    pub(super) async fn changed(
        &self,
        kind: Kind,
        changed: Option<rollcall_scim::Object>,
    ) -> Result<Answer, Refused> {
        let projection = self.projection()?;
        let is_chosen = !projection.attributes.is_empty() || !projection.excluded.is_empty();
        if changed.is_none() && is_chosen {
            let shown = self.provider.show(kind, self.id.clone(), &projection).await?;
            return Ok(Answer::resource(200, &shown.clone(), shown, false));
        }
        match changed {
            None => Ok(Answer::nothing()),
            Some(resource) => {
                let shown = projection.apply(&resource, kind.types());
                Ok(Answer::resource(200, &resource, shown, false))
            }
        }
    }
}
