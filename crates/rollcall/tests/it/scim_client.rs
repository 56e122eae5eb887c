//! The way to a SCIM application, over real HTTP.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use rollcall::application::scim::{Authentication, SecretIn};
use rollcall::clock::Clock;
use rollcall::delivery::egress::failure::Failure;
use rollcall::delivery::egress::{Egress, EgressOptions};
use rollcall::delivery::route::scim::client::{Answer, Client, between};
use rollcall::delivery::route::scim::token::Tokens;
use rollcall::pace::Pace;
use rollcall::secret::SecretString;
use rollcall_scim::client::{Call, Method, Profile, Rate};
use serde_json::json;

use crate::world::egress;

/// What came, and what is answered.
#[derive(Default)]
struct Seen {
    /// Method, path with query, header `Authorization`, body.
    requests: Vec<(String, String, String, String)>,
    /// The answers that come next; afterwards 200 without a body.
    answers: VecDeque<Response>,
    /// How many tokens were given.
    tokens: u32,
}

type Shared = Arc<Mutex<Seen>>;

async fn answer(State(seen): State<Shared>, request: Request) -> Response {
    let header = |headers: &HeaderMap, name: &str| {
        let value = headers.get(name).map(|value| value.to_str().unwrap().to_owned());
        value.unwrap_or_default()
    };
    let (parts, body) = request.into_parts();
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let path = parts.uri.path_and_query().unwrap().to_string();
    let authorization = header(&parts.headers, "authorization");
    let body = String::from_utf8(body.to_vec()).unwrap();
    let mut seen = seen.lock().unwrap();
    seen.requests
        .push((parts.method.to_string(), path.clone(), authorization, body));
    if path == "/token" {
        seen.tokens += 1;
        let token = json!({ "access_token": format!("t{}", seen.tokens), "expires_in": 3_600 });
        return axum::Json(token).into_response();
    }
    if let Some(answer) = seen.answers.pop_front() {
        return answer;
    }
    StatusCode::OK.into_response()
}

async fn application() -> (String, Shared) {
    let seen = Shared::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}/", listener.local_addr().unwrap());
    let app = Router::new().fallback(answer).with_state(Arc::clone(&seen));
    tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
    (base, seen)
}

fn client(base: &str, authentication: Authentication, profile: &Profile) -> Client {
    let token_url = format!("{base}token").parse().unwrap();
    let tokens = Tokens::new(authentication, Some(token_url), SecretString::from("s3cret&"));
    let pace = Arc::new(Pace::new(between(profile)));
    Client::new(format!("{base}scim/v2/").parse().unwrap(), tokens, pace)
}

fn credentials(method: SecretIn) -> Authentication {
    Authentication::ClientCredentials {
        token_url: String::new(),
        client_id: "hub 1".to_owned(),
        method,
        scope: Some("scim".to_owned()),
    }
}

fn call(method: Method, id: Option<&str>) -> Call {
    Call {
        method,
        endpoint: "Users".to_owned(),
        id: id.map(str::to_owned),
        query: Vec::new(),
        body: None,
        if_match: None,
    }
}

async fn send(client: &Client, call: &Call) -> Answer {
    client.send(&egress(), &Clock::system(), call).await.unwrap()
}

#[tokio::test]
async fn requests_go_where_they_have_to_and_say_who_sends_them() {
    let (base, seen) = application().await;
    let client = client(&base, Authentication::BearerToken, &Profile::default());
    let search = Call {
        query: vec![("filter", r#"userName eq "a&b ☃""#.to_owned())],
        ..call(Method::Get, None)
    };
    send(&client, &search).await;
    let patch = Call {
        body: Some(json!({ "Operations": [] })),
        if_match: Some("W/\"3\"".to_owned()),
        ..call(Method::Patch, Some("a/b?c"))
    };
    let versioned = Response::builder()
        .header("ETag", "W/\"4\"")
        .body("{\"id\":\"a\"}".into())
        .unwrap();
    seen.lock().unwrap().answers.push_back(versioned);
    let answer = send(&client, &patch).await;
    assert_eq!(answer.reply.etag.as_deref(), Some("W/\"4\""));
    assert_eq!(answer.reply.body, Some(json!({ "id": "a" })));
    assert!(answer.failure.is_none());
    let seen = seen.lock().unwrap();
    let (method, path, authorization, _) = &seen.requests[0];
    assert_eq!(
        (method.as_str(), path.as_str()),
        ("GET", "/scim/v2/Users?filter=userName+eq+%22a%26b+%E2%98%83%22")
    );
    assert_eq!(authorization, "Bearer s3cret&");
    let (method, path, _, body) = &seen.requests[1];
    assert_eq!(
        (method.as_str(), path.as_str()),
        ("PATCH", "/scim/v2/Users/a%2Fb%3Fc")
    );
    assert_eq!(body, r#"{"Operations":[]}"#);
}

#[tokio::test]
async fn a_token_is_got_once_and_again_when_it_is_refused() {
    for method in [SecretIn::Header, SecretIn::Body] {
        let (base, seen) = application().await;
        let client = client(&base, credentials(method), &Profile::default());
        send(&client, &call(Method::Delete, Some("1"))).await;
        send(&client, &call(Method::Delete, Some("2"))).await;
        let refused = || StatusCode::UNAUTHORIZED.into_response();
        seen.lock().unwrap().answers.push_back(refused());
        assert_eq!(
            send(&client, &call(Method::Delete, Some("3"))).await.reply.status,
            200
        );
        // A refusal of the new one is an answer.
        seen.lock().unwrap().answers.extend([refused(), refused()]);
        let answer = send(&client, &call(Method::Delete, Some("4"))).await;
        assert_eq!(answer.failure.unwrap().status(), Some(401));
        let seen = seen.lock().unwrap();
        let paths: Vec<&str> = seen.requests.iter().map(|(_, path, ..)| path.as_str()).collect();
        let user = |id: &str| format!("/scim/v2/Users/{id}");
        assert_eq!(
            paths,
            [
                "/token",
                &user("1"),
                &user("2"),
                &user("3"),
                "/token",
                &user("3"),
                &user("4"),
                "/token",
                &user("4")
            ]
        );
        let (_, _, authorization, body) = &seen.requests[0];
        match method {
            SecretIn::Header => {
                // "hub+1:s3cret%26"
                assert_eq!(authorization, "Basic aHViKzE6czNjcmV0JTI2");
                assert_eq!(body, "grant_type=client_credentials&scope=scim");
            }
            SecretIn::Body => {
                assert_eq!(authorization, "");
                assert_eq!(
                    body,
                    "grant_type=client_credentials&scope=scim&client_id=hub+1&client_secret=s3cret%26"
                );
            }
        }
        assert_eq!(seen.requests[5].2, "Bearer t2");
    }
}

#[tokio::test]
async fn a_refusal_says_why_and_for_how_long() {
    let (base, seen) = application().await;
    let client = client(&base, Authentication::BearerToken, &Profile::default());
    let busy = Response::builder()
        .status(429)
        .header("Retry-After", "7")
        .body(r#"{"detail":"too many"}"#.into())
        .unwrap();
    seen.lock().unwrap().answers.push_back(busy);
    let answer = send(&client, &call(Method::Get, None)).await;
    let Some(Failure::Status {
        status,
        said,
        retry_after,
        ..
    }) = answer.failure
    else {
        panic!("{:?}", answer.failure);
    };
    assert_eq!((status, said.as_deref()), (429, Some("too many")));
    assert_eq!(retry_after, Some(Duration::from_secs(7)));
    // What is guarded stays guarded.
    let guarded = Egress::new(&EgressOptions::default(), Clock::system()).unwrap();
    let forbidden = client
        .send(&guarded, &Clock::system(), &call(Method::Get, None))
        .await;
    assert!(matches!(forbidden, Err(Failure::Forbidden { .. })));
}

#[tokio::test]
async fn no_more_requests_go_than_the_application_takes() {
    let (base, _seen) = application().await;
    let profile = Profile {
        rate: Some(Rate {
            requests: 10,
            seconds: 1,
        }),
        ..Profile::default()
    };
    let client = client(&base, Authentication::BearerToken, &profile);
    let begun = Instant::now();
    for _ in 0..4 {
        send(&client, &call(Method::Get, None)).await;
    }
    assert!(
        begun.elapsed() >= Duration::from_millis(290),
        "{:?}",
        begun.elapsed()
    );
}
