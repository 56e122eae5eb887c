//! The client against a service provider that is a few lines: what is sent, what comes of it, and what holds
//! whatever gets lost on the way.

mod examples;
mod held;

use rollcall_scim::client::{Goal, Known, Managed, Outcome, Profile, Provision, Reply, Step, Update};
use rollcall_scim::schema::user;
use rollcall_scim::testing::Provider;
use rollcall_scim::{Object, Path};
use serde_json::json;

use crate::object;

/// A user as the client wants it.
pub(crate) fn wanted(key: &str, name: &str, title: Option<&str>) -> Object {
    let mut wanted = object(json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "externalId": key,
        "userName": name,
        "active": true,
        "name": { "formatted": name },
    }));
    if let Some(title) = title {
        wanted.insert("title".to_owned(), title.into());
    }
    wanted
}

/// What the client manages in these tests.
pub(crate) fn managed() -> Managed {
    let paths: Vec<Path> = ["externalId", "userName", "active", "title", "name.formatted"]
        .into_iter()
        .map(|path| path.parse().unwrap())
        .collect();
    Managed::of(&paths, user())
}

/// What becomes of an answer on its way.
pub(crate) enum Way {
    /// It arrives.
    Open,
    /// The answer to this request, counted from 0, is lost after it was carried out; nothing is known of it.
    Lost(usize),
    /// The request does not arrive.
    Cut(usize),
}

/// Carries it to its end, or as far as the way leads. `kept` says for whom the client keeps a resource.
pub(crate) fn carry(
    provider: &mut Provider,
    mut provision: Provision<'_>,
    way: &Way,
    is_free: impl Fn(&str) -> bool,
) -> Option<Outcome> {
    let mut sent = 0;
    for _ in 0..20 {
        match provision.step() {
            Step::Send(call) => {
                if matches!(way, Way::Cut(at) if *at == sent) {
                    return None;
                }
                let reply = provider.answer(&call);
                if matches!(way, Way::Lost(at) if *at == sent) {
                    return None;
                }
                sent += 1;
                provision.answer(&reply);
            }
            Step::Claim(id) => provision.claim(is_free(&id)),
            Step::Over(outcome) => return Some(outcome),
        }
    }
    panic!("it does not come to an end");
}

/// Carries a goal out on an open way; nobody else has anything.
pub(crate) fn told(
    provider: &mut Provider,
    profile: &Profile,
    update: Update,
    key: &str,
    goal: Goal,
    known: Option<Known>,
) -> Option<Known> {
    let managed = managed();
    let provision = Provision::new(user(), profile, &managed, update, key, goal, known);
    match carry(provider, provision, &Way::Open, |_| true) {
        Some(Outcome::Told(known)) => known,
        other => panic!("{other:?}"),
    }
}

/// An answer without a body.
pub(crate) fn status(status: u16) -> Reply {
    Reply {
        status,
        ..Reply::default()
    }
}
