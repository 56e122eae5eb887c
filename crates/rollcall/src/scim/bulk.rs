//! Bulk requests: several in one, each carried out by itself.

use rollcall_scim::messages::{
    BulkAnswer, BulkMethod, BulkOperation, BulkRequest, References, bulk_response,
};
use rollcall_scim::{Error, Object, ScimType};
use serde_json::{Value, json};

use super::{Expected, Kind, Provider, ScimError, version};

/// How many operations a request may have.
pub const BULK_OPERATIONS: usize = 1_000;

/// How many bytes a request may have.
pub const BULK_PAYLOAD: usize = 1 << 20;

/// What an operation is about: all resources of a type, or one of them.
fn target(path: &str) -> Result<(Kind, Option<String>), Error> {
    let mut parts = path.trim_start_matches('/').splitn(2, '/');
    let name = parts.next().unwrap_or_default();
    let kind = Kind::ALL.into_iter().find(|kind| {
        kind.types()
            .endpoint
            .trim_start_matches('/')
            .eq_ignore_ascii_case(name)
    });
    let id = parts.next().filter(|id| !id.is_empty()).map(str::to_owned);
    match kind {
        Some(kind) => Ok((kind, id)),
        None => Err(Error::of(
            ScimType::InvalidPath,
            "path must be /Users, /Groups, or one of them with an id behind it",
        )),
    }
}

/// What came of an operation.
enum Done {
    Made(Object),
    /// Where it is, and the resource if it is not too large.
    Changed(String, Option<Object>),
    Deleted(String),
}

impl Provider {
    /// Carries out the operations of a request, in an order in which what they refer to is there.
    ///
    /// # Errors
    /// `invalidSyntax`, `invalidValue`, status 413; what the database reports, after which some operations may be done.
    pub async fn bulk(&self, body: Value) -> Result<Value, ScimError> {
        let request = BulkRequest::read(body, BULK_OPERATIONS, self.strictness())?;
        let (order, stuck) = request.order();
        let most = request.fail_on_errors.unwrap_or(u64::MAX).max(1);
        let mut made = References::default();
        let mut answers = Vec::with_capacity(request.operations.len());
        let mut errors = 0;
        for index in order.into_iter().chain(stuck) {
            if errors >= most {
                break;
            }
            let operation = &request.operations[index];
            answers.push(match self.operation(operation, &made).await {
                Ok(done) => self.answer(operation, &mut made, &done),
                Err(ScimError::Said(error)) => {
                    errors += 1;
                    BulkAnswer::failed(operation, &error)
                }
                Err(error) => return Err(error),
            });
        }
        Ok(bulk_response(&answers))
    }

    fn answer(&self, operation: &BulkOperation, made: &mut References, done: &Done) -> BulkAnswer {
        match done {
            Done::Made(resource) => {
                if let (Some(name), Some(Value::String(id))) = (&operation.bulk_id, resource.get("id")) {
                    made.made(name.clone(), id.clone());
                }
                BulkAnswer::done(operation, 201, Some(resource))
            }
            Done::Changed(location, resource) => BulkAnswer {
                location: Some(location.clone()),
                version: resource.as_ref().map(|resource| version(resource).to_owned()),
                ..BulkAnswer::done(operation, if resource.is_some() { 200 } else { 204 }, None)
            },
            Done::Deleted(location) => BulkAnswer {
                location: Some(location.clone()),
                ..BulkAnswer::done(operation, 204, None)
            },
        }
    }

    async fn operation(&self, operation: &BulkOperation, made: &References) -> Result<Done, ScimError> {
        let BulkOperation {
            method,
            version,
            path,
            data,
            ..
        } = made.resolved(operation.clone())?;
        let (kind, id) = target(&path)?;
        let expected = version.as_deref().map_or(Expected::Any, Expected::read);
        let body = data.unwrap_or_else(|| json!({}));
        let no_id = || {
            Error::of(
                ScimType::InvalidPath,
                "path must have an id behind the type of resources",
            )
        };
        if method == BulkMethod::Post {
            return match id {
                None => self.create(kind, body).await.map(Done::Made),
                Some(_) => {
                    let detail = "what is made has no id yet; path must be the type of resources alone";
                    Err(Error::of(ScimType::InvalidPath, detail).into())
                }
            };
        }
        let id = id.ok_or_else(no_id)?;
        let location = self.location(kind, &id);
        match method {
            BulkMethod::Put => {
                let changed = self.replace(kind, id, body, expected).await?;
                Ok(Done::Changed(location, Some(changed)))
            }
            BulkMethod::Patch => {
                let changed = self.patch(kind, id, body, expected).await?;
                Ok(Done::Changed(location, changed))
            }
            BulkMethod::Delete | BulkMethod::Post => {
                self.delete(kind, id, expected).await?;
                Ok(Done::Deleted(location))
            }
        }
    }
}
