//! Lists, page by page.
//!
//! `limit` says how long a page is, and `cursor` where it begins: it is what the page before gave as `next`. What is in
//! it is nobody's business, and it fits only the list that it comes from, with the same filters.

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{ApiError, PREFIX};
use crate::directory::search::Portion;
use crate::id;

/// How many entries a page has if nobody says.
const USUAL: usize = 100;

/// How many it has at most.
pub(crate) const MOST: usize = 1_000;

/// A page of a list.
#[derive(Debug, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "Page_of_{T}")]
pub(crate) struct Page<T> {
    /// The entries.
    pub(crate) items: Vec<T>,
    /// The cursor of the page that follows; `None` if this is the last one.
    pub(crate) next: Option<String>,
}

/// A page, and the header that leads to the one that follows.
pub(super) struct Listed<T> {
    page: Page<T>,
    link: Option<HeaderValue>,
}

impl<T> Listed<T> {
    /// The entries, and the same page with others in their place.
    pub(super) fn filled<U>(self) -> (Vec<T>, impl FnOnce(Vec<U>) -> Listed<U>) {
        let Self { page, link } = self;
        let Page { items, next } = page;
        let fill = |items| Listed {
            page: Page { items, next },
            link,
        };
        (items, fill)
    }
}

/// What handlers of lists answer.
pub(super) type Pages<T> = Result<Listed<T>, ApiError>;

impl<T: Serialize> IntoResponse for Listed<T> {
    fn into_response(self) -> Response {
        let mut headers = HeaderMap::new();
        headers.extend(self.link.map(|link| (LINK, link)));
        (headers, Json(self.page)).into_response()
    }
}

/// Which page is wanted: what lies after a position.
pub(super) struct Paging<P> {
    /// The position after which it begins; `None` for the first page.
    pub(super) after: Option<P>,
    /// How many entries it has at most.
    pub(super) limit: usize,
    /// The path, and what else stands behind the question mark.
    path: String,
    filters: Vec<(String, String)>,
}

impl<P> Paging<P> {
    /// What a cursor of this list bears, so that it fits no other.
    fn mark(&self) -> String {
        let mut filters = self.filters.clone();
        filters.retain(|(name, _)| name != "limit");
        filters.sort();
        id::plan_token(&format!("{} {filters:?}", self.path))
    }
}

impl<P: Serialize> Paging<P> {
    /// The page with these entries; `next` is the position after which there are more.
    pub(super) fn page<T>(self, items: Vec<T>, next: Option<P>) -> Listed<T> {
        let next = next.and_then(|position| {
            let text = serde_json::to_vec(&(self.mark(), position)).ok()?;
            Some(URL_SAFE_NO_PAD.encode(text))
        });
        let link = next.as_ref().and_then(|cursor| {
            let mut query = String::new();
            for (name, value) in &self.filters {
                query.push_str(&format!("{}={}&", encoded(name), encoded(value)));
            }
            let path = &self.path;
            HeaderValue::from_str(&format!("<{PREFIX}{path}?{query}cursor={cursor}>; rel=\"next\"")).ok()
        });
        Listed {
            page: Page { items, next },
            link,
        }
    }

    /// The page of entries of which one more was read than it holds, if there are so many; `position` tells where an
    /// entry stands.
    pub(super) fn page_of_more<T>(self, mut items: Vec<T>, position: impl Fn(&T) -> P) -> Listed<T> {
        let is_last = items.len() <= self.limit;
        items.truncate(self.limit);
        let next = items.last().map(position).filter(|_| !is_last);
        self.page(items, next)
    }
}

impl Paging<String> {
    /// The page of entries of which one more was read than it holds, if so many were found; `position` tells where an
    /// entry stands. There may be more although fewer were found.
    pub(super) fn page_of_portion<T>(
        self,
        portion: Portion<T>,
        position: impl Fn(&T) -> String,
    ) -> Listed<T> {
        let Portion { mut found, next } = portion;
        let is_full = found.len() > self.limit;
        found.truncate(self.limit);
        let next = match is_full {
            true => found.last().map(position),
            false => next,
        };
        self.page(found, next)
    }

    /// The page of a list that was read as a whole, in the order of its keys.
    pub(super) fn page_of_all<T>(self, mut all: Vec<T>, key: impl Fn(&T) -> String) -> Listed<T> {
        all.sort_by_cached_key(&key);
        if let Some(after) = &self.after {
            all.retain(|it| key(it) > *after);
        }
        self.page_of_more(all, key)
    }

    /// The same, the last one first.
    pub(super) fn page_of_all_backwards<T>(self, mut all: Vec<T>, key: impl Fn(&T) -> String) -> Listed<T> {
        all.sort_by_cached_key(|it| std::cmp::Reverse(key(it)));
        if let Some(before) = &self.after {
            all.retain(|it| key(it) < *before);
        }
        self.page_of_more(all, key)
    }
}

/// A text as it stands in the path or the query of an address: every byte but the unreserved characters by its number
/// (RFC 3986, section 2.1).
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                encoded.push(char::from(byte))
            }
            other => encoded.push_str(&format!("%{other:02X}")),
        }
    }
    encoded
}

impl<P: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Paging<P> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        type Pairs = axum::extract::Query<Vec<(String, String)>>;
        let pairs = Pairs::from_request_parts(parts, state).await;
        let mut filters = pairs
            .map_err(|error| ApiError::bad_request(format!("the query: {error}")))?
            .0;
        let cursor = filters
            .iter()
            .position(|(name, _)| name == "cursor")
            .map(|place| filters.remove(place).1);
        let limit = match filters.iter().find(|(name, _)| name == "limit") {
            None => USUAL,
            Some((_, text)) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MOST).contains(limit))
                .ok_or_else(|| {
                    let message = format!("the query: limit: it must be a number from 1 to {MOST}");
                    ApiError::bad_request(message)
                })?,
        };
        let mut paging = Self {
            after: None,
            limit,
            path: parts.uri.path().to_owned(),
            filters,
        };
        if let Some(cursor) = cursor {
            paging.after = Some(read(&cursor, &paging.mark())?);
        }
        Ok(paging)
    }
}

fn read<P: DeserializeOwned>(cursor: &str, mark: &str) -> Result<P, ApiError> {
    let refuse = || {
        ApiError::bad_request(
            "the query: cursor: it must be the next of a page of this list, with the same filters; leave it out to begin \
             anew",
        )
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refuse())?;
    let (marked, position): (String, P) = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
    match marked == mark {
        true => Ok(position),
        false => Err(refuse()),
    }
}
