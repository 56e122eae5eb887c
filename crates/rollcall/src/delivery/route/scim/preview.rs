//! What users of the directory would be at an application, without a request.

use std::sync::Arc;

use rollcall_db::{DbError, Tx};
use rollcall_protocol::SubjectKind;
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::record;
use crate::access::Authority;
use crate::application::scim::Checked;
use crate::application::{Entitlements, Scope};
use crate::directory::search::{self, Wanted};
use crate::directory::{DirectoryError, Sight, User, not_found, query};

/// How many users are shown if nobody is named.
const USUALLY: usize = 3;

/// At how many portions of the directory is looked for them, at most.
const PORTIONS: usize = 10;

/// How many may be named.
const MOST: usize = 20;

/// What a user would be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[schemars(rename = "PreviewedUser")]
#[serde(rename_all = "camelCase")]
pub struct Previewed {
    /// The user's id.
    pub user_id: String,
    /// The username.
    pub username: String,
    /// Whether the application is told of this user.
    pub in_scope: bool,
    /// The resource, as it is made there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<Json>,
    /// Why there is none: an expression comes to a value that the attribute cannot have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
}

/// What users would be at an application with these parameters: those who are named, of whom somebody with this sight
/// sees all, or else the first of those in scope.
///
/// # Errors
/// If somebody is not there, or too many are named; or what the database reports.
pub fn preview(
    tx: &mut Tx<'_>,
    sight: &Sight,
    application_id: &str,
    parameters: &Checked,
    users: &[String],
) -> Result<Vec<Previewed>, DirectoryError> {
    if users.len() > MOST {
        return Err(DirectoryError::InvalidField {
            field: "users",
            reason: format!("at most {MOST} can be shown at once"),
        });
    }
    let scope = Entitlements::load(tx, application_id)?.current().scope.clone();
    let found = match users {
        [] => first_in_scope(tx, sight, &scope)?,
        named => named_users(tx, sight, named)?,
    };
    let mut previewed = Vec::with_capacity(found.len());
    for user in found {
        let Some((text, placement)) = query::record_of(tx, SubjectKind::User, &user.id)? else {
            continue;
        };
        let (resource, refusal) = match record::user(parameters, &text) {
            Ok(resource) => (Some(Json::Object(resource)), None),
            Err(remark) => (None, remark.message),
        };
        previewed.push(Previewed {
            user_id: user.id,
            username: user.username,
            in_scope: scope.covers(SubjectKind::User, &placement),
            resource,
            refusal,
        });
    }
    Ok(previewed)
}

fn named_users(tx: &mut Tx<'_>, sight: &Sight, named: &[String]) -> Result<Vec<User>, DirectoryError> {
    let mut found = Vec::with_capacity(named.len());
    for text in named {
        let user = sight.user(tx, text)?;
        found.push(user.ok_or_else(|| not_found(SubjectKind::User, text))?);
    }
    Ok(found)
}

/// The first of those in scope, by username, whom somebody with this sight sees.
fn first_in_scope(tx: &mut Tx<'_>, sight: &Sight, scope: &Scope) -> Result<Vec<User>, DbError> {
    let authority = match scope.is_everything() {
        true => Authority::Everything,
        false => Authority::Scope {
            units: scope.organizational_unit_ids.clone(),
            groups: scope.group_ids.clone(),
        },
    };
    let wanted = Wanted {
        sight: Some(Arc::new(Sight::of(tx, &authority)?)),
        ..Wanted::default()
    };
    let (mut found, mut after) = (Vec::new(), String::new());
    for _ in 0..PORTIONS {
        let portion = search::users(tx, &wanted, &after, MOST)?;
        found.extend(sight.users(portion.found));
        found.truncate(USUALLY);
        match portion.next {
            Some(next) if found.len() < USUALLY => after = next,
            _ => break,
        }
    }
    Ok(found)
}
