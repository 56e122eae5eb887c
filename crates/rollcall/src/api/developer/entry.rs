//! How a call comes in: its id, the application that its path names, its token, and how often it comes.
//!
//! From the request to the answer that is one function. With a layer for each of these, a call that is answered from
//! memory would spend most of its time on passing them.

use std::sync::Arc;

use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{MatchedPath, RawPathParams, Request, State};
use axum::http::header;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use rollcall_server::Client;
use tracing::Instrument as _;

use super::answer::{Answered, Refused, name_request};
use super::asked::{Asked, Credentials, segment};
use crate::access::{Origin, RateLimit};
use crate::api::Api;
use crate::api::limit::Left;
use crate::api::traced::Traced;
use crate::developer::token::Token;
use crate::developer::{Desk, Refusal};
use crate::secret::SecretString;

/// How often somebody may show a secret of an application, to get an access token or to revoke one.
const TOKENS: RateLimit = RateLimit {
    per_second: 20,
    burst: 100,
};

/// A route on which a call is answered: of whoever shows an access token of the application, and does not come too often.
pub(super) fn call<F: Future<Output = Answered> + Send + 'static>(
    filter: MethodFilter,
    route: &'static str,
    call: impl Fn(Desk, Asked) -> F + Clone + Send + Sync + 'static,
) -> MethodRouter<Arc<Api>> {
    let handler = move |State(api): State<Arc<Api>>, path: Path, request: Request| {
        let call = call.clone();
        async move {
            let traced = Traced::begin(&api, &request, route);
            let answering = answer(&api, path, request, &traced.id, call);
            let response = answering.instrument(traced.span.clone()).await;
            traced.end(&api.shared.hub, response)
        }
    };
    on(filter, handler)
}

/// A route on which whoever has no token yet is answered.
pub(super) fn open<F: Future<Output = Answered> + Send + 'static>(
    filter: MethodFilter,
    route: &'static str,
    answer: fn(Arc<Api>, Path, Request) -> F,
) -> MethodRouter<Arc<Api>> {
    let handler = async move |State(api): State<Arc<Api>>, path: Path, request: Request| {
        let traced = Traced::begin(&api, &request, route);
        let answering = answer(Arc::clone(&api), path, request);
        let answered = answering.instrument(traced.span.clone()).await;
        let response = name_request(answered.into_response(), &traced.id);
        traced.end(&api.shared.hub, response)
    };
    on(filter, handler)
}

/// There is no such call.
pub(super) async fn nothing(State(api): State<Arc<Api>>, request: Request) -> Response {
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(String::new, |path| path.as_str().to_owned());
    let traced = Traced::begin(&api, &request, route);
    let response = name_request(Refused(Refusal::path()).into_response(), &traced.id);
    traced.end(&api.shared.hub, response)
}

async fn answer<F: Future<Output = Answered>>(
    api: &Arc<Api>,
    path: Path,
    request: Request,
    id: &str,
    call: impl FnOnce(Desk, Asked) -> F,
) -> Response {
    let (parts, body) = request.into_parts();
    let (answered, left) = match enter(api, path, &parts) {
        Ok((token, path, left)) if left.is_granted => {
            let origin = Origin::Api {
                request_id: id.to_owned(),
                address: Client::of(&parts.extensions).map(|client| client.address),
            };
            let desk = Desk::new(Arc::clone(&api.hall), token, origin);
            let answered = match Asked::read(&path, &parts, body).await {
                Ok(asked) => call(desk, asked).await,
                Err(refused) => Err(refused),
            };
            (answered, Some(left))
        }
        Ok((_, _, left)) => (Err(Refusal::throttled(left.retry_after()).into()), Some(left)),
        Err(refusal) => (Err(refusal.into()), None),
    };
    let mut response = name_request(answered.into_response(), id);
    if let Some(left) = left {
        left.tell(response.headers_mut());
    }
    response
}

/// The parts of a path.
pub(super) type Path = Result<RawPathParams, RawPathParamsRejection>;

/// The parts of a path, if it names this instance.
fn here(api: &Api, path: Path) -> Result<RawPathParams, Refusal> {
    let path = path.map_err(|_| Refusal::path())?;
    match segment(&path, "instance_id") == api.shared.hub.instance.id {
        true => Ok(path),
        false => Err(Refusal::instance()),
    }
}

/// Whose token is shown, and whether another call may be made now.
fn enter(api: &Api, path: Path, parts: &Parts) -> Result<(Arc<Token>, RawPathParams, Left), Refusal> {
    let path = here(api, path)?;
    let shown = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|shown| shown.to_str().ok())
        .and_then(|shown| shown.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let token = api.hall.token(shown.unwrap_or_default())?;
    if token.claims.application_id != segment(&path, "application_id") {
        return Err(Refusal::no_token());
    }
    let per_second = token.claims.requests_per_second;
    let limit = RateLimit {
        per_second,
        burst: per_second.saturating_mul(2),
    };
    let now = tokio::time::Instant::now();
    let left = api.limiter.take_within(limit, &token.caller, now);
    Ok((token, path, left))
}

/// Who shows a secret, and what it says besides.
pub(super) async fn client(
    api: &Arc<Api>,
    path: Path,
    request: Request,
) -> Result<(String, Credentials, SecretString), Refused> {
    let (parts, body) = request.into_parts();
    let path = here(api, path)?;
    let application_id = segment(&path, "application_id").to_owned();
    let from = Client::of(&parts.extensions).map(|client| client.address.to_string());
    let asked = Asked::read(&path, &parts, body).await?;
    let client = Credentials::read(&asked, &parts.headers)?;
    let secret = client.secret(&application_id)?;
    // Whoever guesses is slowed down, and nobody else because of that.
    let who = format!("secrets of {application_id} from {}", from.unwrap_or_default());
    let left = api.limiter.take_within(TOKENS, &who, tokio::time::Instant::now());
    match left.is_granted {
        true => Ok((application_id, client, secret)),
        false => Err(Refusal::throttled(left.retry_after()).into()),
    }
}
