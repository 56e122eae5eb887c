//! The bodies of the administrator's API, each by itself: what is taken is what the description permits.

use std::sync::OnceLock;

use axum::body::{Bytes, to_bytes};
use axum::response::IntoResponse as _;
use rollcall::api::bodies::{RequestBody, all};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use crate::split;

pub(crate) fn known() -> &'static [RequestBody] {
    static KNOWN: OnceLock<Vec<RequestBody>> = OnceLock::new();
    KNOWN.get_or_init(all)
}

/// Which body an input is about, and what is sent.
fn chosen(data: &[u8]) -> (usize, &[u8]) {
    let (how, rest) = split(data);
    (usize::from(how) % known().len(), rest)
}

/// A body is taken or refused, whatever it is. One that is taken is an object with all fields that it must have and no
/// others than it may have; whoever is refused is told why, and that it is their mistake. The first byte says which body
/// it is.
pub fn bodies(data: &[u8]) {
    let (which, rest) = chosen(data);
    let body = &known()[which];
    match body.read(Bytes::copy_from_slice(rest)) {
        Ok(()) => assert_described(body, rest),
        Err(error) => {
            thread_local! {
                static RUNTIME: Runtime = Builder::new_current_thread().build().unwrap();
            }
            let response = error.into_response();
            let status = response.status();
            let told = RUNTIME.with(|runtime| runtime.block_on(to_bytes(response.into_body(), usize::MAX)));
            let told: Value = serde_json::from_slice(&told.unwrap()).unwrap();
            assert!(status.is_client_error(), "{}: {told}", body.route);
            assert_ne!(
                told["detail"].as_str().unwrap_or_default(),
                "",
                "{}: {told}",
                body.route
            );
        }
    }
}

fn assert_described(body: &RequestBody, taken: &[u8]) {
    let (route, schema) = (&body.route, &body.schema);
    let taken: Value = serde_json::from_slice(taken).unwrap();
    let fields = taken.as_object().unwrap_or_else(|| panic!("{route}: {taken}"));
    for required in schema["required"].as_array().into_iter().flatten() {
        assert!(
            fields.contains_key(required.as_str().unwrap()),
            "{route}: {taken}"
        );
    }
    if schema["additionalProperties"] == false {
        let known = schema["properties"].as_object().unwrap();
        for name in fields.keys() {
            assert!(known.contains_key(name), "{route}: {taken}");
        }
    }
}

/// Which body an input is, if it is taken.
#[cfg(test)]
pub(crate) fn taken(data: &[u8]) -> Option<usize> {
    let (which, rest) = chosen(data);
    let read = known()[which].read(Bytes::copy_from_slice(rest));
    read.ok().map(|()| which)
}
