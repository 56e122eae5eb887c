//! The two ways in which lists are paged: by number, and by a token that names where the next page begins.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::Refusal;

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

/// A page by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// How many there are before it.
    pub offset: usize,
    /// How many it has at most.
    pub size: usize,
}

impl Numbered {
    /// Reads `pageNumber`, from 1, and `pageSize`.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn read(page: Option<&str>, size: Option<&str>) -> Result<Self, Refusal> {
        let size = number("pageSize", size, 1, MOST, USUAL)?;
        let page = number("pageNumber", page, 1, usize::from(u16::MAX) * 1_000, 1)?;
        Ok(Self {
            offset: (page - 1).saturating_mul(size),
            size,
        })
    }
}

/// A page after something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Portioned {
    /// After what; empty for the first page.
    pub after: String,
    /// How many there are before it, besides.
    pub offset: usize,
    /// How many it has at most.
    pub size: usize,
}

impl Portioned {
    /// Reads `nextToken` and `maxResults`.
    ///
    /// # Errors
    /// [`Refusal::invalid`].
    pub fn read(token: Option<&str>, size: Option<&str>) -> Result<Self, Refusal> {
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
        Ok(Self {
            after,
            offset: 0,
            size,
        })
    }

    /// The page of this number.
    pub fn numbered(page: Numbered) -> Self {
        Self {
            after: String::new(),
            offset: page.offset,
            size: page.size,
        }
    }

    /// The token with which the next page begins.
    pub fn token(after: &str) -> String {
        URL_SAFE_NO_PAD.encode(after)
    }
}
