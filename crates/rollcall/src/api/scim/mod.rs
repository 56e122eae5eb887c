//! SCIM over HTTP: `/scim/v2/{connection}`.
//!
//! It stands beside the administrator's API, not below it. Who asks is a connection, known by a token of its own alone:
//! no cookie counts, and neither does a token of the administrator's API. Errors have SCIM's form, bodies SCIM's type,
//! and how many requests may be sent is a setting of the connection. What the requests mean is in [`crate::scim`].
//!
//! Every route is declared once, in [`declared`], and asks for a connection's token; `docs/access.md` lists them, and a
//! test holds that list.

mod answer;
mod asked;

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::handler::Handler;
use axum::http::header;
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, on};
use rollcall_scim::{Error, messages::SearchRequest};
use rollcall_server::Client;

use super::{Api, ApiError, browser};
use crate::scim::{Document, Kind, Provider, authenticate};
use answer::{Answer, Refused};
use asked::Asked;

/// Where the resources of connections are.
pub(super) const PREFIX: &str = "/scim/v2/{connection}";

/// The routes, and what they are.
struct Routes {
    router: Router<Arc<Api>>,
    declared: Vec<(&'static str, String)>,
}

impl Routes {
    fn on<H: Handler<T, Arc<Api>>, T: 'static>(
        mut self,
        (filter, method): (MethodFilter, &'static str),
        path: &str,
        handler: H,
    ) -> Self {
        self.declared.push((method, format!("{PREFIX}{path}")));
        Self {
            router: self.router.route(path, on(filter, handler)),
            ..self
        }
    }

    /// The resources of a type.
    fn resources(self, kind: Kind) -> Self {
        let all = kind.types().endpoint.as_str();
        let one = format!("{all}/{{id}}");
        self.on(GET, all, async move |asked: Asked| list(kind, &asked).await)
            .on(POST, all, async move |asked: Asked| create(kind, &asked).await)
            .on(POST, &format!("{all}/.search"), async move |asked: Asked| {
                search(kind, &asked).await
            })
            .on(GET, &one, async move |asked: Asked| show(kind, &asked).await)
            .on(PUT, &one, async move |asked: Asked| replace(kind, &asked).await)
            .on(PATCH, &one, async move |asked: Asked| patch(kind, &asked).await)
            .on(DELETE, &one, async move |asked: Asked| delete(kind, &asked).await)
    }

    /// The documents of a kind.
    fn documents(self, of: Document, all: &str) -> Self {
        self.on(GET, all, async move |asked: Asked| {
            asked.no_filter()?;
            Answer::of(asked.provider.all_documents(of))
        })
        .on(GET, &format!("{all}/{{id}}"), async move |asked: Asked| {
            Answer::of(asked.provider.document(of, &asked.id)?)
        })
    }
}

const GET: (MethodFilter, &str) = (MethodFilter::GET, "GET");
const POST: (MethodFilter, &str) = (MethodFilter::POST, "POST");
const PUT: (MethodFilter, &str) = (MethodFilter::PUT, "PUT");
const PATCH: (MethodFilter, &str) = (MethodFilter::PATCH, "PATCH");
const DELETE: (MethodFilter, &str) = (MethodFilter::DELETE, "DELETE");

fn routes() -> Routes {
    let none = Routes {
        router: Router::new(),
        declared: Vec::new(),
    };
    let found = none
        .on(GET, "/ServiceProviderConfig", async |asked: Asked| {
            asked.no_filter()?;
            Answer::of(asked.provider.configuration())
        })
        .documents(Document::ResourceType, "/ResourceTypes")
        .documents(Document::Schema, "/Schemas")
        .resources(Kind::User)
        .resources(Kind::Group)
        .on(POST, "/.search", async |asked: Asked| {
            let search = SearchRequest::read(asked.body()?, asked.provider.strictness())?;
            Answer::of(asked.provider.list_all(&search).await?)
        })
        .on(POST, "/Bulk", bulk);
    [GET, POST, PUT, PATCH, DELETE]
        .into_iter()
        .fold(found, |routes, method| routes.on(method, "/Me", me))
}

/// Method and path of every route.
pub fn declared() -> Vec<(&'static str, String)> {
    routes().declared
}

/// The router below [`PREFIX`].
pub(super) fn router(api: Arc<Api>) -> Router<Arc<Api>> {
    routes()
        .router
        .route_layer(middleware::from_fn_with_state(api, authorize))
        .fallback(async || {
            refused(
                404,
                "there is nothing at this path; there are /Users, /Groups, /.search, /Bulk, \
             /Schemas, /ResourceTypes and /ServiceProviderConfig",
            )
        })
        .method_not_allowed_fallback(async || {
            refused(
                405,
                "this path does not have this method; the header Allow names those that it has",
            )
        })
}

fn refused(status: u16, detail: &str) -> Response {
    Refused::from(Error::status(status, detail)).into_response()
}

/// How the addresses of a connection's resources begin, as its other end knows the hub.
fn base(request: &Request, connection: &str) -> String {
    let client = Client::of(request.extensions());
    let secure = client.as_ref().is_some_and(|client| client.secure);
    let said = || {
        let host = request.headers().get(header::HOST)?;
        host.to_str().ok().map(str::to_owned)
    };
    let host = client
        .and_then(|client| client.host)
        .or_else(said)
        .unwrap_or_default();
    let scheme = if secure { "https" } else { "http" };
    format!("{scheme}://{host}/scim/v2/{connection}")
}

/// Lets a request of a connection through to its route, if the connection is known and does not ask too often.
async fn authorize(
    State(api): State<Arc<Api>>,
    path: Result<RawPathParams, RawPathParamsRejection>,
    request: Request,
    next: Next,
) -> Result<Response, Refused> {
    // What is no text names no connection.
    let named = path.ok().and_then(|path| {
        let mut named = path.iter().filter(|(name, _)| *name == "connection");
        named.next().map(|(_, id)| id.to_owned())
    });
    let named = named.unwrap_or_default();
    let shown = request
        .headers()
        .get(header::AUTHORIZATION)
        .and_then(|shown| shown.to_str().ok())
        .and_then(|shown| shown.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim().to_owned());
    let hub = &api.shared.hub;
    let known = match &shown {
        Some(shown) => authenticate(hub, &named, shown).await?,
        None => None,
    };
    let Some(connection) = known else {
        return Err(Refused::unauthorized());
    };
    let who = crate::connection::principal(&connection.id).to_string();
    let limit = connection.rate_limit();
    let left = api.limiter.take_within(limit, &who, tokio::time::Instant::now());
    let mut response = if left.is_granted {
        let base = base(&request, &connection.id);
        let (mut parts, body) = request.into_parts();
        let provider = Provider::new(hub.clone(), connection, browser::origin(&parts), &base);
        parts.extensions.insert(provider);
        next.run(Request::from_parts(parts, body)).await
    } else {
        Refused::too_many(left.retry_after()).into_response()
    };
    left.tell(response.headers_mut());
    Ok(response)
}

/// What handlers answer.
type Answered = Result<Answer, Refused>;

async fn list(kind: Kind, asked: &Asked) -> Answered {
    let pairs = asked
        .query
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()));
    let search = SearchRequest::of_parameters(pairs)?;
    Answer::of(asked.provider.list(kind, &search).await?)
}

async fn search(kind: Kind, asked: &Asked) -> Answered {
    let search = SearchRequest::read(asked.body()?, asked.provider.strictness())?;
    Answer::of(asked.provider.list(kind, &search).await?)
}

async fn show(kind: Kind, asked: &Asked) -> Answered {
    let projection = asked.projection()?;
    let shown = asked.provider.show(kind, asked.id.clone(), &projection).await?;
    asked.resource(kind, 200, Some(shown), false)
}

async fn create(kind: Kind, asked: &Asked) -> Answered {
    asked.projection()?;
    let made = asked.provider.create(kind, asked.body()?).await?;
    asked.resource(kind, 201, Some(made), true)
}

async fn replace(kind: Kind, asked: &Asked) -> Answered {
    asked.projection()?;
    let changed = asked
        .provider
        .replace(kind, asked.id.clone(), asked.body()?, asked.expected())
        .await?;
    asked.changed(kind, Some(changed)).await
}

async fn patch(kind: Kind, asked: &Asked) -> Answered {
    asked.projection()?;
    let changed = asked
        .provider
        .patch(kind, asked.id.clone(), asked.body()?, asked.expected())
        .await?;
    asked.changed(kind, changed).await
}

async fn delete(kind: Kind, asked: &Asked) -> Answered {
    asked
        .provider
        .delete(kind, asked.id.clone(), asked.expected())
        .await?;
    Ok(Answer::nothing())
}

async fn bulk(asked: Asked) -> Answered {
    let body = asked.bulk()?;
    Answer::of(asked.provider.bulk(body).await?)
}

/// Whoever a connection's token stands for is no user.
async fn me(_: Asked) -> Answered {
    Err(Error::status(501, "a connection is no user; /Me is not supported").into())
}

/// What the database reports, as the administrator's API would say it.
impl From<rollcall_db::DbError> for Refused {
    fn from(error: rollcall_db::DbError) -> Self {
        ApiError::from(error).into()
    }
}
