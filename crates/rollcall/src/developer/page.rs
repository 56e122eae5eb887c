//! The two ways in which lists are paged: by number, and by a token that names where the next page begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use serde::Serialize;

use super::Refusal;
use crate::directory::lists::{self, Begin, Part};

/// How much a page has if nobody says.
const USUAL: usize = 20;

/// How much it may have.
const MOST: usize = 100;

fn number(
    field: &str,
    given: Option<&str>,
    least: usize,
    most: usize,
    usual: usize,
) -> Result<usize, Refusal> {
    let Some(given) = given.filter(|given| !given.is_empty()) else {
        return Ok(usual);
    };
    match given.parse::<usize>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => Err(Refusal::invalid(
            field,
            format!("{field} must be a number from {least} to {most}"),
        )),
    }
}

/// A page that is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Paged {
    /// By its number.
    Number {
        /// How many there are before it.
        offset: usize,
        /// How many it has at most.
        size: usize,
    },
    /// By what a page before has named.
    Token {
        /// It comes after this id; empty for the first page.
        after: String,
        /// How many it has at most.
        size: usize,
    },
}

impl Paged {
    /// Reads `pageNumber`, from 1, and `pageSize`.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn numbered(page: Option<&str>, size: Option<&str>) -> Result<Self, Refusal> {
        let size = number("pageSize", size, 1, MOST, USUAL)?;
        let page = number("pageNumber", page, 1, usize::from(u16::MAX) * 1_000, 1)?;
        let offset = (page - 1).saturating_mul(size);
        Ok(Self::Number { offset, size })
    }

    /// Reads `nextToken` and `maxResults`.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn portioned(token: Option<&str>, size: Option<&str>) -> Result<Self, Refusal> {
        let size = number("maxResults", size, 1, MOST, USUAL)?;
        let after = match token.filter(|token| !token.is_empty()) {
            None => String::new(),
            Some(token) => URL_SAFE_NO_PAD
                .decode(token)
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok())
                .ok_or_else(|| {
                    Refusal::invalid("nextToken", "nextToken must be one that a page before has named")
                })?,
        };
        Ok(Self::Token { after, size })
    }

    /// What names the page after an id.
    pub fn token(id: &str) -> String {
        URL_SAFE_NO_PAD.encode(id)
    }

    /// What has to be read for it: one more where it has to be known whether another page follows.
    pub(super) fn wanted(&self) -> lists::Page {
        match self {
            Self::Number { offset, size } => lists::Page {
                begin: Begin::Place(*offset),
                limit: *size,
            },
            Self::Token { after, size } => lists::Page {
                begin: match after.is_empty() {
                    true => Begin::Place(0),
                    false => Begin::After(after.clone()),
                },
                limit: size + 1,
            },
        }
    }
}

/// A page as it is answered.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Page<T> {
    total_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_results: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_token: Option<String>,
    data: Vec<T>,
}

impl<T> Page<T> {
    /// The page of what was read for it: each is told in its form, and named by its id where the next page begins.
    pub(super) fn of<S>(
        asked: &Paged,
        part: Part<S>,
        id: impl Fn(&S) -> &str,
        told: impl Fn(S) -> T,
    ) -> Self {
        let Part { mut found, total } = part;
        let (mut max_results, mut next_token) = (None, None);
        if let Paged::Token { size, .. } = asked {
            let is_more = found.len() > *size;
            found.truncate(*size);
            let last = found.last().filter(|_| is_more);
            next_token = last.map(|last| Paged::token(id(last)));
            max_results = Some(*size);
        }
        Self {
            total_count: total,
            max_results,
            next_token,
            data: found.into_iter().map(told).collect(),
        }
    }
}
