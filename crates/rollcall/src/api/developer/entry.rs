//! How a call comes in: its id, the application that its path names, its token, and how often it comes.
//!
//! From the request to the answer that is one function. With a layer for each of these, a call that is answered from
//! memory would spend most of its time on passing them. For the same reason such a call ([`show`]) waits for nothing but
//! the database's version, and what it would need beyond that is made only when it is needed: most of what a small answer
//! costs is to allocate, and to move about, what nobody looks at.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::{Extensions, HeaderMap, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{MethodFilter, MethodRouter, on};
use percent_encoding::percent_decode_str;
use rollcall_server::Client;
use serde::Serialize;
use tracing::Instrument as _;

use super::answer::{Answer, Answered, Refused, name_request};
use super::asked::{Asked, Credentials};
use crate::access::{Origin, RateLimit};
use crate::api::Api;
use crate::api::limit::Left;
use crate::api::traced::Traced;
use crate::clock::Millis;
use crate::developer::token::Token;
use crate::developer::{Desk, Known, Refusal, Showing};
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
    let handler = move |State(api): State<Arc<Api>>, request: Request| {
        let call = call.clone();
        async move {
            let traced = Traced::begin(&api, &request, route);
            let answering = answer(&api, request, &traced.id, call);
            let response = answering.instrument(traced.span.clone()).await;
            traced.end(&api.shared.hub, response)
        }
    };
    on(filter, handler)
}

/// A route on which the subject is shown whose id is the last part of the path, to whoever may make a [`call`].
pub(super) fn show<T: Serialize + 'static>(
    filter: MethodFilter,
    route: &'static str,
    showing: &'static Showing<T>,
) -> MethodRouter<Arc<Api>> {
    let handler = async move |State(api): State<Arc<Api>>, request: Request| {
        let traced = Traced::begin(&api, &request, route);
        let version = api.hall.version().await;
        let known = |Entered { token, place, now }: &Entered<'_>| {
            api.hall.known(version, (token, *now), showing, &place.id)
        };
        let (known, left) = traced.span.in_scope(|| enter(&api, &request, known));
        let answered = match known {
            Ok((_, Known::Shown(body))) => Answer::json(body),
            Ok((Entered { token, place, .. }, known)) => {
                let desk = Desk::new(
                    Arc::clone(&api.hall),
                    token,
                    origin(&traced.id, request.extensions()),
                );
                let id = place.id.into_owned();
                // In a box, because what this takes in memory would have to be found, and moved, also for a call that is
                // answered without it.
                let showing = Box::pin(async move { Answer::json(desk.show(showing, id, known).await?) });
                showing.instrument(traced.span.clone()).await
            }
            Err(refusal) => Err(refusal.into()),
        };
        let response = finished(answered, left, &traced.id);
        traced.end(&api.shared.hub, response)
    };
    on(filter, handler)
}

/// A route on which whoever has no token yet is answered.
pub(super) fn open<F: Future<Output = Answered> + Send + 'static>(
    filter: MethodFilter,
    route: &'static str,
    answer: fn(Arc<Api>, Request) -> F,
) -> MethodRouter<Arc<Api>> {
    let handler = async move |State(api): State<Arc<Api>>, request: Request| {
        let traced = Traced::begin(&api, &request, route);
        let answering = answer(Arc::clone(&api), request);
        let answered = answering.instrument(traced.span.clone()).await;
        let response = finished(answered, None, &traced.id);
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
    request: Request,
    id: &str,
    call: impl FnOnce(Desk, Asked) -> F,
) -> Response {
    let (entered, left) = enter(api, &request, |_| Ok(()));
    let answered = match entered {
        Ok((Entered { token, place, .. }, ())) => {
            let desk = Desk::new(Arc::clone(&api.hall), token, origin(id, request.extensions()));
            let subject = place.id.into_owned();
            match Asked::read(subject, request).await {
                Ok(asked) => call(desk, asked).await,
                Err(refused) => Err(refused),
            }
        }
        Err(refusal) => Err(refusal.into()),
    };
    finished(answered, left, id)
}

/// The answer, with what all of them have.
fn finished(answered: Answered, left: Option<Left>, id: &str) -> Response {
    let mut response = name_request(answered.into_response(), id);
    if let Some(left) = left {
        left.tell(response.headers_mut());
    }
    response
}

/// From where a call comes, as the logs have it.
fn origin(id: &str, extensions: &Extensions) -> Origin {
    Origin::Api {
        request_id: id.to_owned(),
        address: Client::of(extensions).map(|client| client.address),
    }
}

/// What the path of a call names: `/v2/{instance_id}/{application_id}/{kind}/{id}`, and perhaps more. The router has let
/// nothing else through.
struct Place<'a> {
    application: Cow<'a, str>,
    /// Empty where the path has none.
    id: Cow<'a, str>,
}

impl<'a> Place<'a> {
    /// What it names, if it is in this instance.
    fn of(uri: &'a Uri, api: &Api) -> Result<Self, Refusal> {
        let is_plain = !uri.path().as_bytes().contains(&b'%');
        let mut parts = uri.path().split('/').skip(2).map(|part| match is_plain {
            true => Ok(Cow::Borrowed(part)),
            false => percent_decode_str(part)
                .decode_utf8()
                .map_err(|_| Refusal::path()),
        });
        let mut part = || parts.next().unwrap_or(Ok(Cow::Borrowed("")));
        let [instance, application, _, id] = [part()?, part()?, part()?, part()?];
        match instance == api.shared.hub.instance.id {
            true => Ok(Self { application, id }),
            false => Err(Refusal::instance()),
        }
    }
}

/// Somebody who may make a call.
struct Entered<'a> {
    token: Arc<Token>,
    place: Place<'a>,
    now: Millis,
}

/// Who calls where, and what is to be known of that at once; and what is left to them, whether they may call or not.
fn enter<'a, K>(
    api: &Api,
    request: &'a Request,
    know: impl FnOnce(&Entered<'_>) -> Result<K, Refusal>,
) -> (Result<(Entered<'a>, K), Refusal>, Option<Left>) {
    let entered = match shown(api, request.uri(), request.headers()) {
        Ok(entered) => entered,
        Err(refusal) => return (Err(refusal), None),
    };
    let per_second = entered.token.claims.requests_per_second;
    let limit = RateLimit {
        per_second,
        burst: per_second.saturating_mul(2),
    };
    let now = tokio::time::Instant::now();
    let left = api.limiter.take_within(limit, &entered.token.caller, now);
    let known = match left.is_granted {
        true => know(&entered).map(|known| (entered, known)),
        false => Err(Refusal::throttled(left.retry_after())),
    };
    (known, Some(left))
}

/// Whose token is shown.
fn shown<'a>(api: &Api, uri: &'a Uri, headers: &HeaderMap) -> Result<Entered<'a>, Refusal> {
    let place = Place::of(uri, api)?;
    let shown = headers
        .get(header::AUTHORIZATION)
        .and_then(|shown| shown.to_str().ok())
        .and_then(|shown| shown.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    let now = api.shared.hub.clock.now();
    let token = api.hall.token(shown.unwrap_or_default(), now)?;
    match token.claims.application_id == place.application {
        true => Ok(Entered { token, place, now }),
        false => Err(Refusal::no_token()),
    }
}

/// Who shows a secret, and what it says besides.
pub(super) async fn client(
    api: &Arc<Api>,
    request: Request,
) -> Result<(String, Credentials, SecretString), Refused> {
    let application_id = Place::of(request.uri(), api)?.application.into_owned();
    let from = Client::of(request.extensions()).map(|client| client.address.to_string());
    let headers = request.headers().clone();
    let asked = Asked::read(String::new(), request).await?;
    let client = Credentials::read(&asked, &headers)?;
    let secret = client.secret(&application_id)?;
    // Whoever guesses is slowed down, and nobody else because of that.
    let who = format!("secrets of {application_id} from {}", from.unwrap_or_default());
    let left = api.limiter.take_within(TOKENS, &who, tokio::time::Instant::now());
    match left.is_granted {
        true => Ok((application_id, client, secret)),
        false => Err(Refusal::throttled(left.retry_after()).into()),
    }
}
