//! From the values of a claim to a role.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_db::Tx;
use serde_json::{Map, Value};

use crate::access::{Role, RoleName};
use crate::accounts::AccountError;
use crate::application::{ApplicationError, store};

/// Where roles are looked for if no claim is named.
const CLAIMS: [&str; 2] = ["roles", "groups"];

/// How many values of a claim are looked at.
const MOST: usize = 1_000;

/// What a value of the claim permits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// The role.
    pub role: RoleName,
    /// The applications of an application owner: their ids or names.
    pub applications: Vec<String>,
}

impl Grant {
    /// The role, with those of the applications that there are; `None` for an owner of nothing.
    pub(super) fn role(&self, tx: &mut Tx<'_>) -> Result<Option<Role>, AccountError> {
        let mut found = BTreeSet::new();
        for written in &self.applications {
            match store::find(tx, written) {
                Ok(application) => {
                    found.insert(application.id);
                }
                Err(ApplicationError::NotFound(_)) => {
                    tracing::warn!(
                        application = written,
                        "access.oidc.roles names an application that there is not"
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
        let owns_nothing = self.role == RoleName::ApplicationOwner && found.is_empty();
        Ok((!owns_nothing).then(|| Role::of(self.role, found)))
    }
}

/// The claim that holds what somebody is, and what it holds.
pub(super) fn held(claims: &Map<String, Value>, named: Option<&str>) -> (String, Vec<String>) {
    if let Some(path) = named {
        return (path.to_owned(), at(claims, path).map_or_else(Vec::new, values));
    }
    for claim in CLAIMS {
        if let Some(value) = claims.get(claim) {
            return (claim.to_owned(), values(value));
        }
    }
    (CLAIMS.join(", "), Vec::new())
}

/// What stands at a path of names with dots between. A claim may have dots in its name itself, as those have that are
/// addresses.
fn at<'a>(claims: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = claims.get(path) {
        return Some(value);
    }
    path.match_indices('.').find_map(|(dot, _)| {
        let inner = claims.get(&path[..dot])?.as_object()?;
        at(inner, &path[dot + 1..])
    })
}

fn values(value: &Value) -> Vec<String> {
    let all = match value {
        Value::Array(all) => all.as_slice(),
        one => std::slice::from_ref(one),
    };
    let texts = all.iter().filter_map(Value::as_str).take(MOST);
    texts.map(str::to_owned).collect()
}

/// What all these values together permit: the role that comes first among administrator, operator, auditor and
/// application owner; an owner has the applications of all of them.
pub(super) fn granted(held: &[String], roles: &BTreeMap<String, Grant>) -> Option<Grant> {
    let grants: Vec<&Grant> = held.iter().filter_map(|value| roles.get(value)).collect();
    let order = |name: RoleName| match name {
        RoleName::Administrator => 0,
        RoleName::Operator => 1,
        RoleName::Auditor => 2,
        RoleName::ApplicationOwner => 3,
    };
    let role = grants
        .iter()
        .map(|grant| grant.role)
        .min_by_key(|name| order(*name))?;
    let same = grants.iter().filter(|grant| grant.role == role);
    let applications: BTreeSet<&String> = same.flat_map(|grant| &grant.applications).collect();
    Some(Grant {
        role,
        applications: applications.into_iter().cloned().collect(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn held_in(claims: Value, named: Option<&str>) -> (String, Vec<String>) {
        held(claims.as_object().unwrap(), named)
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_its_path() {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let nested = json!({ "realm_access": { "roles": ["a", 1, "b"] }, "groups": "c" });
        assert_eq!(
            held_in(nested.clone(), Some("realm_access.roles")).1,
            texts(&["a", "b"])
        );
        assert_eq!(
            held_in(nested.clone(), None),
            ("groups".to_owned(), texts(&["c"]))
        );
        assert_eq!(held_in(nested, Some("realm_access.none")).1, texts(&[]));
        let address = "https://example.com/roles";
        assert_eq!(held_in(json!({ address: ["a"] }), Some(address)).1, texts(&["a"]));
        let dotted = json!({ "resource_access": { "roll.call": { "roles": ["a"] } } });
        assert_eq!(
            held_in(dotted, Some("resource_access.roll.call.roles")).1,
            texts(&["a"])
        );
        assert_eq!(held_in(json!({}), None), ("roles, groups".to_owned(), texts(&[])));
    }

    #[test]
    fn the_first_role_counts_and_applications_add_up() {
        let grant = |role, applications: &[&str]| Grant {
            role,
            applications: applications.iter().map(|text| (*text).to_owned()).collect(),
        };
        let roles = BTreeMap::from([
            ("audit".to_owned(), grant(RoleName::Auditor, &[])),
            ("ops".to_owned(), grant(RoleName::Operator, &[])),
            ("wiki".to_owned(), grant(RoleName::ApplicationOwner, &["Wiki"])),
            (
                "mail".to_owned(),
                grant(RoleName::ApplicationOwner, &["Mail", "Wiki"]),
            ),
        ]);
        let of = |held: &[&str]| {
            let held: Vec<String> = held.iter().map(|text| (*text).to_owned()).collect();
            granted(&held, &roles)
        };
        assert_eq!(
            of(&["audit", "wiki", "ops"]),
            Some(grant(RoleName::Operator, &[]))
        );
        assert_eq!(
            of(&["wiki", "mail", "other"]),
            Some(grant(RoleName::ApplicationOwner, &["Mail", "Wiki"]))
        );
        assert_eq!(of(&["other", "Ops"]), None);
    }
}
