//! Forms, and the header by which a client proves who it is to whom it sends them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;

/// The body of a form: encoded as an address's query is.
pub fn form(endpoint: &Url, fields: &[(&str, &str)]) -> String {
    let mut url = endpoint.clone();
    url.query_pairs_mut().clear().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

/// The header `Authorization` of an OAuth client: both are encoded for a form before they are for the header (RFC 6749,
/// section 2.3.1).
pub fn basic(endpoint: &Url, client_id: &str, secret: &str) -> Option<HeaderValue> {
    let pair = form(endpoint, &[(client_id, secret)]).replacen('=', ":", 1);
    HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(pair))).ok()
}
