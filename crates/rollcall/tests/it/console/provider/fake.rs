//! A provider of our own, which does what a test tells it, also what no provider should.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::{Form, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::Url;
use rollcall::clock::Clock;
use serde_json::{Map, Value, json};

pub(super) const CLIENT: &str = "rollcall hub";
pub(super) const SECRET: &str = "a secret: with signs/+";

/// What the provider does with the next requests.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) enum Mood {
    #[default]
    Good,
    /// Its token has no signature.
    NoAlgorithm,
    /// Its token is signed with its public key, as if that were a secret.
    PublicAsSecret,
    /// Its token has an extension that has to be understood.
    Critical,
    /// Its token is signed with another key than the one that it names.
    OtherKey,
    /// Its token names a key that nobody publishes.
    UnknownKey,
    /// It takes its time.
    Slow,
    /// It answers 500.
    Broken,
    /// It answers with more than anybody wants to read.
    Endless,
    /// It answers a code with something else than tokens.
    Garbage,
}

/// A departure that somebody has agreed to.
struct Agreed {
    nonce: String,
    challenge: String,
    return_url: String,
    claims: Map<String, Value>,
}

struct Inner {
    mood: Mood,
    key: (String, EncodingKey, String),
    published: Vec<Value>,
    codes: HashMap<String, Agreed>,
    /// What its document says otherwise.
    document: Map<String, Value>,
    issued: Vec<String>,
}

pub(super) struct Fake {
    pub(super) issuer: String,
    clock: Clock,
    inner: Mutex<Inner>,
    pub(super) documents: AtomicUsize,
    pub(super) keys: AtomicUsize,
}

fn new_key(name: &str) -> ((String, EncodingKey, String), Value) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some(name.to_owned());
    let public = pair.public_key_pem();
    ((name.to_owned(), key, public), json!(jwk))
}

impl Fake {
    pub(super) async fn start(clock: Clock) -> Arc<Self> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let (key, jwk) = new_key("first");
        let fake = Arc::new(Self {
            issuer,
            clock,
            inner: Mutex::new(Inner {
                mood: Mood::Good,
                key,
                // Providers publish keys that nobody here has a use for.
                published: vec![json!({ "kty": "XYZ", "kid": "odd" }), jwk],
                codes: HashMap::new(),
                document: Map::new(),
                issued: Vec::new(),
            }),
            documents: AtomicUsize::new(0),
            keys: AtomicUsize::new(0),
        });
        let routes = Router::new()
            .route("/.well-known/openid-configuration", get(document))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&fake));
        tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        fake
    }

    pub(super) fn is(&self, mood: Mood) {
        self.inner.lock().unwrap().mood = mood;
    }

    /// Lets the document say something else.
    pub(super) fn says(&self, name: &str, value: Value) {
        self.inner.lock().unwrap().document.insert(name.to_owned(), value);
    }

    /// Signs with another key from now on.
    pub(super) fn rotate(&self, name: &str) {
        let (key, jwk) = new_key(name);
        let mut inner = self.inner.lock().unwrap();
        inner.key = key;
        inner.published.push(jwk);
    }

    /// Everything secret that it has given out: codes and tokens.
    pub(super) fn issued(&self) -> Vec<String> {
        self.inner.lock().unwrap().issued.clone()
    }

    /// Somebody signs in and agrees: the query with which a browser is sent back.
    pub(super) fn agree(&self, departure: &Url, claims: Value) -> Vec<(String, String)> {
        let asked: HashMap<String, String> = departure.query_pairs().into_owned().collect();
        assert!(
            departure
                .as_str()
                .starts_with(&format!("{}/authorize?", self.issuer))
        );
        assert_eq!(asked["response_type"], "code");
        assert_eq!(asked["client_id"], CLIENT);
        assert_eq!(asked["code_challenge_method"], "S256");
        assert_eq!(asked["scope"], "openid profile");
        let mut inner = self.inner.lock().unwrap();
        let code = format!("code-{}-{}", inner.codes.len(), asked["state"]);
        inner.issued.push(code.clone());
        inner.codes.insert(
            code.clone(),
            Agreed {
                nonce: asked["nonce"].clone(),
                challenge: asked["code_challenge"].clone(),
                return_url: asked["redirect_uri"].clone(),
                claims: claims.as_object().unwrap().clone(),
            },
        );
        vec![
            ("code".to_owned(), code),
            ("state".to_owned(), asked["state"].clone()),
            ("iss".to_owned(), self.issuer.clone()),
        ]
    }

    fn mint(&self, inner: &Inner, agreed: &Agreed) -> String {
        let now = self.clock.now() / 1_000;
        let mut claims = json!({
            "iss": self.issuer, "aud": CLIENT, "nonce": agreed.nonce, "iat": now, "exp": now + 300,
        });
        for (name, value) in &agreed.claims {
            claims[name] = value.clone();
        }
        let (name, key, public) = &inner.key;
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some(name.clone());
        match inner.mood {
            Mood::NoAlgorithm => {
                let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
                format!(
                    "{}.{}.",
                    part(json!({ "alg": "none", "kid": name })),
                    part(claims)
                )
            }
            Mood::PublicAsSecret => {
                header.alg = Algorithm::HS256;
                jsonwebtoken::encode(&header, &claims, &EncodingKey::from_secret(public.as_bytes())).unwrap()
            }
            Mood::Critical => {
                header.crit = Some(vec!["odd".to_owned()]);
                jsonwebtoken::encode(&header, &claims, key).unwrap()
            }
            Mood::OtherKey => {
                let ((_, other, _), _) = new_key("other");
                jsonwebtoken::encode(&header, &claims, &other).unwrap()
            }
            Mood::UnknownKey => {
                header.kid = Some("unknown".to_owned());
                jsonwebtoken::encode(&header, &claims, key).unwrap()
            }
            _ => jsonwebtoken::encode(&header, &claims, key).unwrap(),
        }
    }

    async fn mood(&self) -> Option<Response> {
        let mood = self.inner.lock().unwrap().mood.clone();
        match mood {
            Mood::Slow => {
                tokio::time::sleep(Duration::from_secs(30)).await;
                None
            }
            Mood::Broken => Some(StatusCode::INTERNAL_SERVER_ERROR.into_response()),
            Mood::Endless => Some("x".repeat(2 << 20).into_response()),
            _ => None,
        }
    }
}

async fn document(State(fake): State<Arc<Fake>>) -> Response {
    fake.documents.fetch_add(1, Ordering::SeqCst);
    if let Some(answer) = fake.mood().await {
        return answer;
    }
    let issuer = &fake.issuer;
    let mut document = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "end_session_endpoint": format!("{issuer}/end"),
    });
    for (name, value) in &fake.inner.lock().unwrap().document {
        document[name] = value.clone();
    }
    Json(document).into_response()
}

async fn keys(State(fake): State<Arc<Fake>>) -> Response {
    fake.keys.fetch_add(1, Ordering::SeqCst);
    if let Some(answer) = fake.mood().await {
        return answer;
    }
    let published = fake.inner.lock().unwrap().published.clone();
    Json(json!({ "keys": published })).into_response()
}

async fn token(
    State(fake): State<Arc<Fake>>,
    headers: HeaderMap,
    Form(form): Form<HashMap<String, String>>,
) -> Response {
    if let Some(answer) = fake.mood().await {
        return answer;
    }
    let refuse = |error: &str| (StatusCode::BAD_REQUEST, Json(json!({ "error": error }))).into_response();
    let pair = "rollcall+hub:a+secret%3A+with+signs%2F%2B";
    if headers["authorization"] != format!("Basic {}", STANDARD.encode(pair)) {
        return refuse("invalid_client");
    }
    let mut inner = fake.inner.lock().unwrap();
    let Some(agreed) = inner.codes.remove(&form["code"]) else {
        return refuse("invalid_grant");
    };
    let challenge = URL_SAFE_NO_PAD.encode(digest(&SHA256, form["code_verifier"].as_bytes()));
    assert_eq!(form["grant_type"], "authorization_code");
    if challenge != agreed.challenge || form["redirect_uri"] != agreed.return_url {
        return refuse("invalid_grant");
    }
    if inner.mood == Mood::Garbage {
        return Json(json!({ "access_token": "x" })).into_response();
    }
    let token = fake.mint(&inner, &agreed);
    inner.issued.push(token.clone());
    Json(json!({ "access_token": "x", "token_type": "Bearer", "id_token": token })).into_response()
}
