//! An application that takes SCIM, a process of its own: users and groups in memory, found by their names and external
//! ids without a search, so that it costs little beside the hub. It counts what it is asked.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use axum::Router;
use axum::body::to_bytes;
use axum::extract::{Query, Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use rollcall_scim::filter::{Literal, Operator};
use rollcall_scim::messages::ListResponse;
use rollcall_scim::schema::{group, user};
use rollcall_scim::{Error, Filter, Object, Patch, ResourceType, ScimType, Strictness};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// How many bytes a request may have.
const LARGEST: usize = 64 << 20;

/// How many resources a page has at most.
const PAGE: usize = 500;

/// By which attributes resources are found.
const KEYS: [&str; 3] = ["externalId", "userName", "displayName"];

/// What was asked since the last time that somebody wanted to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Told {
    /// How many requests there were.
    pub(super) requests: u64,
    /// How many bytes the largest body had.
    pub(super) largest: u64,
}

/// Resources of one kind.
#[derive(Default)]
struct Kept {
    objects: BTreeMap<u64, Object>,
    /// Where a resource is found by an attribute.
    found: HashMap<(&'static str, String), u64>,
    made: u64,
}

#[derive(Default)]
struct Provider {
    users: Kept,
    groups: Kept,
    told: Told,
}

type Shared = Arc<Mutex<Provider>>;

/// Serves below `/scim/` on a free port, which it tells `ready`, until the standard input ends.
pub(super) async fn serve(ready: impl FnOnce(u16)) -> Result<()> {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    ready(listener.local_addr()?.port());
    let router = Router::new()
        .route("/told", get(told))
        .route("/bare", post(async |_: axum::body::Bytes| StatusCode::CREATED))
        .fallback(scim)
        .with_state(Shared::default());
    axum::serve(listener, router)
        .with_graceful_shutdown(super::orphaned())
        .await?;
    Ok(())
}

async fn told(State(provider): State<Shared>) -> axum::Json<Told> {
    let mut provider = provider.lock().unwrap_or_else(PoisonError::into_inner);
    axum::Json(std::mem::take(&mut provider.told))
}

async fn scim(
    State(provider): State<Shared>,
    Query(query): Query<HashMap<String, String>>,
    request: Request,
) -> Response {
    let (parts, body) = request.into_parts();
    let Ok(body) = to_bytes(body, LARGEST).await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let mut provider = provider.lock().unwrap_or_else(PoisonError::into_inner);
    provider.told.requests += 1;
    provider.told.largest = provider.told.largest.max(body.len() as u64);
    let mut path = parts.uri.path().split('/').skip(2);
    let (types, kept) = match path.next() {
        Some("ServiceProviderConfig") => {
            return axum::Json(json!({ "pagination": { "cursor": true, "index": false } })).into_response();
        }
        Some("Users") => (user(), &mut provider.users),
        Some("Groups") => (group(), &mut provider.groups),
        _ => return StatusCode::NOT_FOUND.into_response(),
    };
    let id = path.next().map(|id| id.parse().unwrap_or(0));
    let body = || {
        serde_json::from_slice(&body).map_err(|_| Error::of(ScimType::InvalidSyntax, "the body is no JSON"))
    };
    let answered = match (&parts.method, id) {
        (&Method::GET, None) => kept.list(&query),
        (&Method::POST, None) => body()
            .and_then(|body| types.read(body, Strictness::Strict))
            .and_then(|resource| kept.make(resource)),
        (_, Some(id)) => kept.one(types, &parts.method, id, body),
        _ => Err(Error::status(405, "there is no such request")),
    };
    match answered {
        Ok((status, Some(body))) => (status, axum::Json(body)).into_response(),
        Ok((status, None)) => status.into_response(),
        Err(error) => {
            let status = StatusCode::from_u16(error.status).unwrap_or(StatusCode::BAD_REQUEST);
            (status, axum::Json(error.to_json())).into_response()
        }
    }
}

type Answered = Result<(StatusCode, Option<Value>), Error>;

/// By what a resource is found.
fn keys(resource: &Object) -> impl Iterator<Item = (&'static str, String)> {
    KEYS.into_iter().filter_map(|key| {
        let text = resource.get(key)?.as_str()?;
        Some((key, text.to_owned()))
    })
}

impl Kept {
    fn list(&self, query: &HashMap<String, String>) -> Answered {
        let page = match query.get("filter") {
            Some(filter) => {
                let found = self.find(filter)?;
                ListResponse::by_index(found.len() as u64, 1, found)
            }
            None => self.page(query),
        };
        Ok((StatusCode::OK, Some(page.to_json())))
    }

    fn find(&self, filter: &str) -> Result<Vec<Object>, Error> {
        let refuse = || {
            Error::of(
                ScimType::InvalidFilter,
                "only equality of a name or an external id",
            )
        };
        let Filter::Compare {
            path,
            operator: Operator::Eq,
            value: Literal::String(wanted),
        } = Filter::of_request(filter, Strictness::Strict)?
        else {
            return Err(refuse());
        };
        let key = KEYS
            .into_iter()
            .find(|key| *key == path.name)
            .ok_or_else(refuse)?;
        let id = self.found.get(&(key, wanted));
        Ok(id
            .and_then(|id| self.objects.get(id))
            .cloned()
            .into_iter()
            .collect())
    }

    fn page(&self, query: &HashMap<String, String>) -> ListResponse {
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<u64>().ok());
        let count = number("count").and_then(|count| usize::try_from(count).ok());
        let count = count.map_or(PAGE, |count| count.min(PAGE));
        let excluded = query.get("excludedAttributes");
        let mut next = None;
        let mut page = Vec::with_capacity(count);
        for (id, resource) in self.objects.range(number("cursor").unwrap_or(0) + 1..) {
            if page.len() == count {
                next = Some((id - 1).to_string());
                break;
            }
            let mut resource = resource.clone();
            if let Some(excluded) = excluded {
                resource.remove(excluded);
            }
            page.push(resource);
        }
        ListResponse::by_cursor(Some(self.objects.len() as u64), next, page)
    }

    fn make(&mut self, mut resource: Object) -> Answered {
        self.made += 1;
        resource.insert("id".to_owned(), self.made.to_string().into());
        Ok((StatusCode::CREATED, Some(self.keep(self.made, resource).into())))
    }

    fn keep(&mut self, id: u64, resource: Object) -> Object {
        for key in self.objects.get(&id).into_iter().flat_map(keys) {
            self.found.remove(&key);
        }
        self.found.extend(keys(&resource).map(|key| (key, id)));
        self.objects.insert(id, resource.clone());
        resource
    }

    fn one(
        &mut self,
        types: &ResourceType,
        method: &Method,
        id: u64,
        body: impl Fn() -> Result<Value, Error>,
    ) -> Answered {
        let before = self.objects.get(&id);
        let before = before.ok_or_else(|| Error::status(404, "there is none of this id"))?;
        let after = match *method {
            Method::GET => return Ok((StatusCode::OK, Some(before.clone().into()))),
            Method::PATCH => {
                let patch = Patch::read(body()?, types, Strictness::Strict)?;
                patch.apply(before, types)?
            }
            Method::PUT => {
                let mut after = types.read(body()?, Strictness::Strict)?;
                after.insert("id".to_owned(), id.to_string().into());
                after
            }
            Method::DELETE => {
                for key in keys(&before.clone()) {
                    self.found.remove(&key);
                }
                self.objects.remove(&id);
                return Ok((StatusCode::NO_CONTENT, None));
            }
            _ => return Err(Error::status(405, "there is no such request")),
        };
        self.keep(id, after);
        // As many applications do: nobody has to read a group of a hundred thousand because somebody joined it.
        Ok((StatusCode::NO_CONTENT, None))
    }
}
