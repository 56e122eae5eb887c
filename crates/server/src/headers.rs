//! The headers that every answer has, whatever its handler thought of.

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::client::Client;

/// A browser that has reached us encrypted comes so for a year (RFC 6797). The names below ours are not included:
/// they are not ours to speak for.
const STRICT_TRANSPORT_SECURITY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Sets what the handler has not set.
///
/// - `X-Content-Type-Options`: what a user wrote must not become a script because a browser guesses its type.
/// - `Cache-Control`: answers hold personal data, so they are kept nowhere unless a handler says so.
/// - `Strict-Transport-Security`: only where the client came encrypted; over a plain connection it would mean
///   nothing.
pub(crate) fn complete(headers: &mut HeaderMap, client: &Client) {
    let mut set = |name: HeaderName, value: HeaderValue| {
        headers.entry(name).or_insert(value);
    };
    set(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    set(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if client.secure {
        set(header::STRICT_TRANSPORT_SECURITY, STRICT_TRANSPORT_SECURITY);
    }
}
