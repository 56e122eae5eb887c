//! The management API: what administrators' programs do with access keys.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use rollcall::access::{Caller, Role};
use rollcall::accounts::Command as AccountCommand;
use rollcall::accounts::tokens::Term;
use rollcall::application::Scope;
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall::management::CALLS;
use rollcall::secret::ExposeSecret as _;
use rollcall::signin::manage;
use serde_json::{Value, json};

use super::client::{drive, names, python};
use crate::access::{Site, bearer, on_each};
use crate::world::add_application;

/// An access key of a role: its id and its secret.
async fn access_key(hub: &Hub, role: Role) -> (String, String) {
    let caller = Caller::system("test");
    let name = format!("{:?}", role.name());
    let made = manage::create_access_key(hub, caller, name, role, Term::Days(9)).await;
    let (token, secret) = made.unwrap();
    assert!(token.access_key);
    (token.id, secret.expose_secret().to_owned())
}

#[test]
fn the_official_client_makes_every_call_and_reads_back_what_it_sets() {
    let Some(python) = python() else { return };
    on_each("management_client", |site| {
        let python = python.clone();
        async move {
            let hub = &site.hub;
            let (key, secret) = access_key(hub, Role::Administrator).await;
            let (auditor_key, auditor_secret) = access_key(hub, Role::Auditor).await;
            let url = "http://127.0.0.1:9/events";
            let application = add_application(hub, "Wiki", url, None, Scope::everything())
                .await
                .id;
            let other = add_application(hub, "Mail", url, None, Scope::everything())
                .await
                .id;
            let settings = json!({
                "endpoint": site.address.to_string(), "protocol": "http", "instance": hub.instance.id,
                "application": application, "other": other, "callback": "http://127.0.0.1:9/other",
                "key": key, "secret": secret, "root": ROOT_UNIT,
                "auditor_key": auditor_key, "auditor_secret": auditor_secret,
            });
            let said = drive(python, "management.py", settings).await;
            let (called, every) = (names(&said["called"]), names(&said["every"]));
            // Every call that the hub answers was made, and the table in the docs says so of each call of the client.
            let mut actions: Vec<String> = called
                .iter()
                .map(|name| {
                    let parts = name.split('_').map(|part| {
                        let mut chars = part.chars();
                        let first: String = chars.next().into_iter().flat_map(char::to_uppercase).collect();
                        first + chars.as_str()
                    });
                    parts.collect()
                })
                .collect();
            actions.sort();
            assert_eq!(actions, CALLS.map(|call| call.action));
            let docs = include_str!("../../../../../docs/api-compatibility.md");
            let (_, docs) = docs.split_once("## The management API").unwrap();
            for name in &every {
                let rows: Vec<&str> = docs
                    .lines()
                    .filter_map(|line| line.strip_prefix(&format!("| `{name}` | ")))
                    .collect();
                let is_supported = matches!(rows[..], [row] if row.starts_with("supported"));
                let is_listed = docs.contains(&format!("`{name}`"));
                assert!(is_listed, "{name} is not in docs/api-compatibility.md");
                assert_eq!(is_supported, called.contains(name), "{name}");
            }
            assert!(every.len() > 200);
        }
    });
}

#[test]
fn each_parameter_is_supported_or_refused_as_the_docs_say() {
    let Some(python) = python() else { return };
    on_each("management_fields", |site| {
        let python = python.clone();
        async move {
            let (key, secret) = access_key(&site.hub, Role::Administrator).await;
            let settings = json!({
                "endpoint": site.address.to_string(), "protocol": "http", "instance": site.hub.instance.id,
                "key": key, "secret": secret, "actions": CALLS.map(|call| call.action).to_vec(),
            });
            let said = drive(python, "management_fields.py", settings).await;
            let docs = include_str!("../../../../../docs/api-compatibility.md");
            let (_, docs) = docs.split_once("## The management API").unwrap();
            let mut count = 0;
            for call in CALLS {
                let told = said[call.action].as_object().unwrap();
                let mut refused = BTreeSet::new();
                for (path, code) in told {
                    let code = code.as_str().unwrap();
                    let unsupported = code.strip_prefix("UnsupportedParameter.");
                    refused.extend(unsupported.map(str::to_owned));
                    let is_known = call.parameters.contains(&path.as_str());
                    assert_eq!(unsupported.is_none(), is_known, "{} {path}: {code}", call.action);
                    count += 1;
                }
                for known in call.parameters {
                    assert!(told.contains_key(*known), "{} has no {known}", call.action);
                }
                // The call's row says what it is without.
                let row = docs
                    .lines()
                    .find(|line| line.starts_with(&format!("| `{}` |", snake(call.action))));
                let (_, without) = row.unwrap().split_once("without ").unwrap_or_default();
                let named = without.split('`').skip(1).step_by(2).map(str::to_owned);
                assert_eq!(named.collect::<BTreeSet<_>>(), refused, "{}", call.action);
            }
            assert!(count > 150, "{count}");
        }
    });
}

/// A call's name as the client writes it.
fn snake(action: &str) -> String {
    let mut name = String::new();
    for c in action.chars() {
        if c.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(c.to_ascii_lowercase());
    }
    name
}

/// A request as a client signs it: headers, query and body.
pub(crate) struct Request {
    pub(crate) query: Vec<(&'static str, String)>,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: String,
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::new();
    for byte in bytes {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Signs what asks for a user, by what the client's own documentation says of signing.
fn signed(site: &Site, key: &(String, String), nonce: &str, at: i64) -> Request {
    sign((&site.address.to_string(), &site.hub.instance.id), key, nonce, at)
}

/// The same, for a host and an instance.
pub(crate) fn sign(
    (host, instance): (&str, &str),
    (key, secret): &(String, String),
    nonce: &str,
    at: i64,
) -> Request {
    let body = "UserId=user_nobody".to_owned();
    let date = jiff::Timestamp::from_millisecond(at).unwrap();
    let date = date.strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let content = hex(digest(&SHA256, body.as_bytes()).as_ref());
    let headers = vec![
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
        ("host", host.to_owned()),
        ("x-acs-action", "GetUser".to_owned()),
        ("x-acs-content-sha256", content.clone()),
        ("x-acs-date", date),
        ("x-acs-signature-nonce", nonce.to_owned()),
        ("x-acs-version", "2021-12-01".to_owned()),
    ];
    let query = vec![("InstanceId", instance.to_owned())];
    let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
    let names = names.join(";");
    let lines: String = headers
        .iter()
        .map(|(name, value)| format!("{name}:{value}\n"))
        .collect();
    let canonical = format!("POST\n/\nInstanceId={}\n{lines}\n{names}\n{content}", query[0].1);
    let text = format!(
        "ACS3-HMAC-SHA256\n{}",
        hex(digest(&SHA256, canonical.as_bytes()).as_ref())
    );
    let signature = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()),
        text.as_bytes(),
    );
    let mut all = headers;
    all.push((
        "authorization",
        format!(
            "ACS3-HMAC-SHA256 Credential={key},SignedHeaders={names},Signature={}",
            hex(signature.as_ref())
        ),
    ));
    Request {
        query,
        headers: all,
        body,
    }
}

/// Sends a request. Returns the status and the code.
async fn send(site: &Site, request: &Request) -> (u16, String) {
    let query: Vec<String> = request
        .query
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = format!("/?{}", query.join("&"));
    let (status, headers, bytes) = site
        .exchange("POST", &path, &request.headers, request.body.clone())
        .await;
    let body: Value = serde_json::from_slice(&bytes).unwrap();
    assert_eq!(headers["content-type"], "application/json");
    assert!(
        body["RequestId"]
            .as_str()
            .is_some_and(|id| id.starts_with("req_")),
        "{body}"
    );
    (status, body["Code"].as_str().unwrap_or_default().to_owned())
}

#[test]
fn a_request_is_taken_once_in_time_and_as_it_was_signed() {
    on_each("management_signed", |site| async move {
        let key = access_key(&site.hub, Role::Administrator).await;
        let now = site.hub.clock.now();
        let sign = |nonce: &str| signed(&site, &key, nonce, now);
        // Signed well: it is carried out, and there is no such user.
        let good = sign("a");
        assert_eq!(send(&site, &good).await, (404, "ResourceNotFound.User".into()));
        // The same once more is a replay.
        assert_eq!(send(&site, &good).await, (400, "SignatureNonceUsed".into()));
        // One byte of anything that is signed is another one.
        let fresh = sign("b");
        let mut tampered = 0;
        for place in 0..fresh.headers.len() {
            let (name, value) = fresh.headers[place].clone();
            // What the client itself writes is the host that it connects to.
            if name == "host" {
                continue;
            }
            for at in [0, value.len() / 2, value.len() - 1] {
                let mut bytes = value.clone().into_bytes();
                bytes[at] = if bytes[at] == b'1' { b'2' } else { b'1' };
                let mut headers = fresh.headers.clone();
                headers[place].1 = String::from_utf8(bytes).unwrap();
                let request = Request {
                    query: fresh.query.clone(),
                    headers,
                    body: fresh.body.clone(),
                };
                let (status, code) = send(&site, &request).await;
                let expected = [
                    "SignatureDoesNotMatch",
                    "IncompleteSignature",
                    "InvalidAccessKeyId.NotFound",
                ];
                assert!(
                    expected.contains(&code.as_str()),
                    "{name} at {at}: {status} {code}"
                );
                tampered += 1;
            }
        }
        let with = |query: Vec<(&'static str, String)>, body: &str| Request {
            query,
            headers: fresh.headers.clone(),
            body: body.to_owned(),
        };
        let mut more = fresh.query.clone();
        more.push(("UserId", "user_other".into()));
        for request in [
            with(vec![("InstanceId", "idaas_other".into())], &fresh.body),
            with(Vec::new(), &fresh.body),
            with(more, &fresh.body),
            with(fresh.query.clone(), "UserId=user_nobodY"),
            with(fresh.query.clone(), ""),
        ] {
            assert_eq!(send(&site, &request).await, (400, "SignatureDoesNotMatch".into()));
            tampered += 1;
        }
        assert!(tampered >= 20);
        // None of them has used the nonce up.
        assert_eq!(send(&site, &fresh).await.0, 404);
        for ahead in [-16 * 60_000, 16 * 60_000] {
            let late = signed(&site, &key, "c", now + ahead);
            assert_eq!(send(&site, &late).await, (400, "InvalidTimeStamp.Expired".into()));
        }
        for ahead in [-14 * 60_000, 14 * 60_000] {
            let nonce = format!("d{ahead}");
            assert_eq!(
                send(&site, &signed(&site, &key, &nonce, now + ahead)).await.0,
                404
            );
        }
        // A header that has to be signed and is not.
        let mut partly = sign("e");
        for header in &mut partly.headers {
            header.1 = header.1.replace(";x-acs-date", "");
        }
        assert_eq!(send(&site, &partly).await, (400, "IncompleteSignature".into()));
        // Nor its type, where there is a body: another one would have it passed over.
        let mut partly = sign("g");
        for header in &mut partly.headers {
            header.1 = header.1.replace("content-type;", "");
        }
        assert_eq!(send(&site, &partly).await, (400, "IncompleteSignature".into()));
        // Two headers of one name are not what was signed, though the text of it is the same.
        let mut twice = sign("h,i");
        for header in &mut twice.headers {
            header.1 = header.1.replace("h,i", "h");
        }
        twice.headers.push(("x-acs-signature-nonce", "i".to_owned()));
        assert_eq!(send(&site, &twice).await, (400, "SignatureDoesNotMatch".into()));
        // Nothing else opens it, and the key opens nothing else.
        let (status, _, bytes) = site
            .exchange("POST", "/", &bearer(&site.machine), String::new())
            .await;
        assert_eq!(status, 400, "{}", String::from_utf8_lossy(&bytes));
        for shown in [&key.0, &key.1] {
            assert_eq!(
                site.ask("GET", "/users", &bearer(shown), &Value::Null)
                    .await
                    .status,
                401
            );
        }
        assert!(!site.database().await.contains(&key.1));
        // A key that is revoked signs nothing any more.
        let revoke = AccountCommand::RevokeToken { id: key.0.clone() };
        site.hub
            .apply_account(Caller::system("test"), revoke)
            .await
            .unwrap();
        assert_eq!(
            send(&site, &sign("f")).await,
            (404, "InvalidAccessKeyId.NotFound".into())
        );
    });
}
