//! Where a page ended (RFC 9865). What is in a cursor is nobody's business, and it fits only the list that it comes
//! from, with the same filter in the same order. It does not expire.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_scim::{Error, ScimType};
use serde::{Deserialize, Serialize};

use super::Kind;
use crate::id;

/// Where a page ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Position {
    /// Behind the resource with this id.
    #[serde(rename = "a")]
    After(String),
    /// Behind so many resources of an order.
    #[serde(rename = "o")]
    Offset(u64),
}

/// What the cursors of a list bear, so that they fit no other.
pub(super) fn mark(kind: Kind, filter: Option<&str>, order: &str) -> String {
    id::plan_token(&format!("{} {filter:?} {order}", kind.types().name))
}

/// The cursor of a position.
pub(super) fn write(mark: &str, position: &Position) -> String {
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&(mark, position)).unwrap_or_default())
}

/// The position of a cursor.
///
/// # Errors
/// `invalidCursor`.
pub(super) fn read(mark: &str, cursor: &str) -> Result<Position, Error> {
    let refuse = || {
        let detail =
            "the cursor must be the nextCursor of a page of this list, with the same filter and order";
        Error::of(ScimType::InvalidCursor, detail)
    };
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refuse())?;
    let (marked, position): (String, Position) = serde_json::from_slice(&bytes).map_err(|_| refuse())?;
    match marked == mark {
        true => Ok(position),
        false => Err(refuse()),
    }
}
