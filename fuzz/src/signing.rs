//! Signed requests of the management API.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;
use rollcall::management::signature::{Credential, SIGNED, Signed};

use crate::edited;

const SECRET: &[u8] = b"a secret of an access key";

/// A request, as it is written in an input: lines `name: value` of its headers, `query: name=value` and `body: text`.
#[derive(Clone, Debug, Default)]
struct Written {
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    body: String,
}

/// What a request says, whatever it looks like: what the hub does by it.
type Meaning = (Vec<(String, String)>, Vec<Vec<String>>, String);

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// By RFC 3986, as the documentation of the signature has it.
fn percent(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

impl Written {
    fn read(text: &str) -> Self {
        let mut request = Self::default();
        for line in text.lines() {
            let Some((name, value)) = line.split_once(": ") else {
                continue;
            };
            // No server hands on another header: names are tokens in lower case, values are of visible characters.
            let is_name = !name.is_empty()
                && name
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'-' || byte.is_ascii_digit());
            let is_value = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            match name {
                "query" => {
                    let (name, value) = value.split_once('=').unwrap_or((value, ""));
                    request.query.push((name.to_owned(), value.to_owned()));
                }
                "body" => request.body = value.to_owned(),
                _ if is_name && is_value => request.headers.push((name.to_owned(), value.to_owned())),
                _ => {}
            }
        }
        request
    }

    fn values(&self, name: &str) -> Vec<String> {
        let found = self.headers.iter().filter(|(known, _)| known == name);
        found.map(|(_, value)| value.clone()).collect()
    }

    /// The hash of the body, told as the client tells it.
    fn with_hash(mut self) -> Self {
        self.headers.retain(|(name, _)| name != "x-acs-content-sha256");
        let hash = hex(digest(&SHA256, self.body.as_bytes()).as_ref());
        self.headers.push(("x-acs-content-sha256".to_owned(), hash));
        self
    }

    /// Signs it as the client does: all headers that it has, by the names in their order.
    fn signed(&self) -> String {
        let mut names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut lines = String::new();
        for name in &names {
            let mut values: Vec<String> = self
                .values(name)
                .iter()
                .map(|value| value.trim().to_owned())
                .collect();
            values.sort();
            lines.push_str(&format!("{name}:{}\n", values.join(",")));
        }
        let mut pairs: Vec<(&str, String)> = self
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), percent(value)))
            .collect();
        pairs.sort();
        let pairs: Vec<String> = pairs
            .iter()
            .map(|(name, value)| format!("{}={value}", percent(name)))
            .collect();
        let names = names.join(";");
        let hash = hex(digest(&SHA256, self.body.as_bytes()).as_ref());
        let canonical = format!("POST\n/\n{}\n{lines}\n{names}\n{hash}", pairs.join("&"));
        let text = format!(
            "ACS3-HMAC-SHA256\n{}",
            hex(digest(&SHA256, canonical.as_bytes()).as_ref())
        );
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        let signature = hex(hmac::sign(&key, text.as_bytes()).as_ref());
        format!("ACS3-HMAC-SHA256 Credential=tok_1,SignedHeaders={names},Signature={signature}")
    }

    /// Whether the hub takes it with this header.
    fn is_taken(&self, authorization: &str) -> bool {
        let Some(credential) = Credential::read(authorization) else {
            return false;
        };
        let header = |name: &str| self.values(name);
        let signed = Signed {
            method: "POST",
            path: "/",
            query: &self.query,
            header: &header,
        };
        credential.is_complete(!self.body.is_empty())
            && signed.is_signed(&credential, SECRET, self.body.as_bytes())
    }

    fn meaning(&self) -> Meaning {
        let mut query = self.query.clone();
        query.sort();
        let mut names = SIGNED.to_vec();
        if !self.body.is_empty() {
            names.push("content-type");
        }
        let trimmed = |name: &str| -> Vec<String> {
            let values = self.values(name);
            values.iter().map(|value| value.trim().to_owned()).collect()
        };
        (query, names.into_iter().map(trimmed).collect(), self.body.clone())
    }
}

/// Whatever is signed is taken as it was signed, if all is signed that has to be; and nothing else is taken: a request that
/// was changed, or whose header was, is taken only where it says the same.
///
/// An input is a request, an empty byte, and how it and its signature are changed.
pub fn signing(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == 0).unwrap_or(data.len());
    let (text, script) = (&data[..end], data.get(end + 1..).unwrap_or_default());
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    // The header is read whatever stands there.
    if let Some(credential) = Credential::read(text) {
        assert!(text.contains(&credential.key_id) && text.contains(&credential.signed_headers));
    }
    let request = Written::read(text).with_hash();
    let authorization = request.signed();
    let is_whole = SIGNED.iter().all(|name| request.values(name).len() == 1)
        && (request.body.is_empty() || request.values("content-type").len() == 1);
    assert_eq!(request.is_taken(&authorization), is_whole, "{request:?}");
    let (of_request, of_header) = script.split_at(script.len() / 2);
    let (Some(text), Some(header)) = (edited(text, of_request), edited(&authorization, of_header)) else {
        return;
    };
    let other = Written::read(&text);
    for other in [other.clone(), other.with_hash()] {
        for header in [&authorization, &header] {
            assert!(
                !other.is_taken(header) || (is_whole && other.meaning() == request.meaning()),
                "{other:?} is taken as {request:?} by {header}"
            );
        }
    }
}
