//! Signed requests of the management API (`ACS3-HMAC-SHA256`).
//!
//! What is signed is a text of the request: method, path, query, the headers that are named, and the hash of the body. Its
//! hash is signed with HMAC-SHA256 under the secret of an access key. A request that names headers of its own choice would
//! leave the others open, so those that say what is done, when, and once have to be among them.

use std::fmt::Write as _;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac;

use crate::private::to_hex;

/// The one way of signing that is known.
pub const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// The headers that have to be signed.
pub const SIGNED: [&str; 6] = [
    "host",
    "x-acs-action",
    "x-acs-content-sha256",
    "x-acs-date",
    "x-acs-signature-nonce",
    "x-acs-version",
];

/// The header that has to be signed as well where there is a body.
pub const CONTENT_TYPE: &str = "content-type";

/// Who signs, what is signed, and the signature: the header `Authorization`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Credential {
    /// The id of the access key.
    pub key_id: String,
    /// The names of the headers, as they stand there.
    pub signed_headers: String,
    signature: Vec<u8>,
}

impl Credential {
    /// Reads the header; `None` if it is another one, or not all of it is there.
    pub fn read(header: &str) -> Option<Self> {
        let rest = header.trim().strip_prefix(ALGORITHM)?.strip_prefix(' ')?;
        let mut parts = [None; 3];
        for part in rest.split(',') {
            let (name, value) = part.trim().split_once('=')?;
            let place = ["Credential", "SignedHeaders", "Signature"]
                .iter()
                .position(|known| *known == name)?;
            parts[place] = Some(value);
        }
        let [Some(key_id), Some(signed_headers), Some(signature)] = parts else {
            return None;
        };
        Some(Self {
            key_id: key_id.to_owned(),
            signed_headers: signed_headers.to_owned(),
            signature: base16ct::mixed::decode_vec(signature).ok()?,
        })
    }

    /// Whether all headers are signed that have to be. What a body is, its type says.
    pub fn is_complete(&self, has_body: bool) -> bool {
        let signed: Vec<&str> = self.signed_headers.split(';').collect();
        SIGNED.iter().all(|name| signed.contains(name)) && (!has_body || signed.contains(&CONTENT_TYPE))
    }
}

/// A request as it is signed.
pub struct Signed<'a> {
    /// `POST`, usually.
    pub method: &'a str,
    /// The path, as it was sent.
    pub path: &'a str,
    /// The query's names and values, decoded.
    pub query: &'a [(String, String)],
    /// The values of a header of this name, in lower case.
    pub header: &'a dyn Fn(&str) -> Vec<String>,
}

impl std::fmt::Debug for Signed<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signed")
            .field("path", &self.path)
            .finish_non_exhaustive()
    }
}

/// What a character becomes in the text that is signed (RFC 3986, section 2.3: all but the unreserved ones).
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte));
            }
            // Writing into a text cannot fail.
            _ => drop(write!(encoded, "%{byte:02X}")),
        }
    }
    encoded
}

fn sha256(text: &[u8]) -> String {
    to_hex(digest(&SHA256, text).as_ref()).to_string()
}

impl Signed<'_> {
    /// The text whose HMAC is the signature.
    pub fn text(&self, signed_headers: &str, content_hash: &str) -> String {
        let mut query: Vec<(&str, String)> = self
            .query
            .iter()
            .map(|(name, value)| (name.as_str(), encoded(value)))
            .collect();
        query.sort();
        let query: Vec<String> = query
            .into_iter()
            .map(|(name, value)| format!("{}={value}", encoded(name)))
            .collect();
        let mut headers = String::new();
        for name in signed_headers.split(';') {
            let mut values: Vec<String> = (self.header)(name)
                .into_iter()
                .map(|value| value.trim().to_owned())
                .collect();
            values.sort();
            let _ = writeln!(headers, "{name}:{}", values.join(","));
        }
        let canonical = format!(
            "{}\n{}\n{}\n{headers}\n{signed_headers}\n{content_hash}",
            self.method,
            self.path,
            query.join("&")
        );
        format!("{ALGORITHM}\n{}", sha256(canonical.as_bytes()))
    }

    /// Whether a request was signed with this secret, and has this body. A header that says what is done has one value:
    /// the text that is signed is the same for several of them as for one that has commas.
    pub fn is_signed(&self, credential: &Credential, secret: &[u8], body: &[u8]) -> bool {
        let is_one = |name: &&str| (self.header)(name).len() == 1;
        if !SIGNED.iter().all(is_one) || !(body.is_empty() || is_one(&CONTENT_TYPE)) {
            return false;
        }
        let hash = sha256(body);
        let said = (self.header)("x-acs-content-sha256");
        let text = self.text(&credential.signed_headers, &hash);
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        said == [hash] && hmac::verify(&key, text.as_bytes(), &credential.signature).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"YourAccessKeySecret";

    /// A request, and what signs it.
    fn signed(query: &[(String, String)], body: &[u8]) -> (Vec<(&'static str, String)>, Credential) {
        let headers = vec![
            ("content-type", "text/plain".to_owned()),
            ("host", "hub.example.org".to_owned()),
            ("x-acs-action", "GetUser".to_owned()),
            ("x-acs-content-sha256", sha256(body)),
            ("x-acs-date", "2026-11-29T17:00:00Z".to_owned()),
            (
                "x-acs-signature-nonce",
                "3156853299f313e23d1673dc12e1703d".to_owned(),
            ),
            ("x-acs-version", "2021-12-01".to_owned()),
        ];
        let names = format!("{CONTENT_TYPE};{}", SIGNED.join(";"));
        let header = |name: &str| -> Vec<String> {
            let found = headers.iter().filter(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone()).collect()
        };
        let text = Signed {
            method: "POST",
            path: "/",
            query,
            header: &header,
        }
        .text(&names, &sha256(body));
        let key = hmac::Key::new(hmac::HMAC_SHA256, SECRET);
        let signature = hmac::sign(&key, text.as_bytes());
        let shown = format!(
            "{ALGORITHM} Credential=tok_1,SignedHeaders={names},Signature={}",
            base16ct::lower::encode_string(signature.as_ref())
        );
        let credential = Credential::read(&shown).unwrap();
        (headers, credential)
    }

    fn holds(
        headers: &[(&'static str, String)],
        credential: &Credential,
        query: &[(String, String)],
        body: &[u8],
    ) -> bool {
        let header = |name: &str| -> Vec<String> {
            let found = headers.iter().filter(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone()).collect()
        };
        Signed {
            method: "POST",
            path: "/",
            query,
            header: &header,
        }
        .is_signed(credential, SECRET, body)
    }

    #[test]
    fn a_change_of_anything_that_is_signed_is_seen() {
        let query = [
            ("UserId".to_owned(), "user_1".to_owned()),
            ("Description".to_owned(), "a b*~/é".to_owned()),
        ];
        let (headers, credential) = signed(&query, b"body");
        assert!(credential.is_complete(true));
        assert!(holds(&headers, &credential, &query, b"body"));
        let turned = [query[1].clone(), query[0].clone()];
        assert!(
            holds(&headers, &credential, &turned, b"body"),
            "the order says nothing"
        );
        assert!(!holds(&headers, &credential, &query, b"bodY"));
        for place in 0..headers.len() {
            let mut others = headers.clone();
            others[place].1.push('1');
            assert!(
                !holds(&others, &credential, &query, b"body"),
                "{}",
                others[place].0
            );
        }
        for place in 0..query.len() {
            let mut others = query.clone();
            others[place].1.push('1');
            assert!(!holds(&headers, &credential, &others, b"body"));
        }
        let mut more = query.to_vec();
        more.push(("X".to_owned(), String::new()));
        assert!(!holds(&headers, &credential, &more, b"body"));
        for place in 0..headers.len() {
            let mut twice = headers.clone();
            twice.push(headers[place].clone());
            assert!(
                !holds(&twice, &credential, &query, b"body"),
                "{}",
                headers[place].0
            );
        }
    }

    /// Two values are signed as one that has a comma. Somebody who may choose would send a request again that was taken.
    #[test]
    fn one_value_is_not_taken_as_two() {
        let names = SIGNED.join(";");
        let with = |nonces: &[&str]| {
            let mut headers: Vec<(&'static str, String)> = vec![
                ("host", "hub.example.org".to_owned()),
                ("x-acs-action", "GetUser".to_owned()),
                ("x-acs-content-sha256", sha256(b"")),
                ("x-acs-date", "2026-11-29T17:00:00Z".to_owned()),
                ("x-acs-version", "2021-12-01".to_owned()),
            ];
            headers.extend(
                nonces
                    .iter()
                    .map(|nonce| ("x-acs-signature-nonce", (*nonce).to_owned())),
            );
            headers
        };
        let header_of = |headers: Vec<(&'static str, String)>| {
            move |name: &str| -> Vec<String> {
                let found = headers.iter().filter(|(known, _)| *known == name);
                found.map(|(_, value)| value.clone()).collect()
            }
        };
        let (one, two) = (header_of(with(&["1,2"])), header_of(with(&["1", "2"])));
        let signed = |header| Signed {
            method: "POST",
            path: "/",
            query: &[],
            header,
        };
        let text = signed(&one).text(&names, &sha256(b""));
        assert_eq!(text, signed(&two).text(&names, &sha256(b"")));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET), text.as_bytes());
        let credential = Credential {
            key_id: "tok_1".to_owned(),
            signed_headers: names.clone(),
            signature: signature.as_ref().to_vec(),
        };
        assert!(signed(&one).is_signed(&credential, SECRET, b""));
        assert!(!signed(&two).is_signed(&credential, SECRET, b""));
    }

    #[test]
    fn only_a_whole_header_is_read() {
        let whole = "ACS3-HMAC-SHA256 Credential=tok_1,SignedHeaders=host,Signature=00ff";
        let read = Credential::read(whole).unwrap();
        assert_eq!(
            (read.key_id.as_str(), read.signed_headers.as_str()),
            ("tok_1", "host")
        );
        assert!(!read.is_complete(false));
        for wrong in [
            "",
            "Bearer x",
            "ACS3-RSA-SHA256 Credential=tok_1,SignedHeaders=host,Signature=00ff",
            "ACS3-HMAC-SHA256 Credential=tok_1,SignedHeaders=host",
            "ACS3-HMAC-SHA256 Credential=tok_1,SignedHeaders=host,Signature=0",
            "ACS3-HMAC-SHA256 Credential=tok_1,SignedHeaders=host,Signature=00ff,Other=1",
        ] {
            assert_eq!(Credential::read(wrong), None, "{wrong}");
        }
    }
}
