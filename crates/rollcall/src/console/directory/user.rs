//! One user: who it is, where it stands, and how it stands with each application.

use askama::Template;
use axum::extract::{Path, Query};
use rollcall_protocol::SubjectKind;
use serde::Deserialize;

use super::explain::Outcome;
use super::kinds::in_words;
use crate::application::{Entitlements, Scope};
use crate::clock::Millis;
use crate::connection;
use crate::console::error::Failure;
use crate::console::page::{Answer, Page, Section, View, address, show};
use crate::directory::fields::fold;
use crate::directory::{DirectoryError, LOCKED_UNTIL_UNLOCKED, User, view};
use crate::placement::Placement;
use crate::why::{Last, Standing, standings};

/// A unit that the user stands in.
struct Place {
    id: String,
    path: String,
    is_primary: bool,
}

/// An application, whether the user is in its scope, and what it knows of the user.
struct Reached {
    id: String,
    name: String,
    is_in_scope: bool,
    /// The names of the units and groups of the scope in which the user stands.
    through: Vec<String>,
    last: Option<ShownLast>,
    /// How many events of the user are set aside, besides the last one.
    set_aside: usize,
    /// When everything was last pushed to the application.
    synchronized_at: Option<Millis>,
}

impl Reached {
    fn of(
        (id, name, scope): (String, String, Scope),
        standing: Standing,
        through: Vec<String>,
        placement: &Placement,
    ) -> Self {
        let last_is_aside = standing
            .last
            .as_ref()
            .is_some_and(|last| last.fate.is_set_aside());
        Self {
            is_in_scope: scope.covers(SubjectKind::User, placement),
            through,
            set_aside: standing.set_aside - usize::from(last_is_aside),
            synchronized_at: standing.synchronized_at,
            last: standing.last.map(ShownLast::of),
            id,
            name,
        }
    }
}

/// What an application was told last, and what it answered.
struct ShownLast {
    event: &'static str,
    /// The same in words.
    words: Option<&'static str>,
    time: Millis,
    outcome: Outcome,
}

impl ShownLast {
    fn of(last: Last) -> Self {
        Self {
            words: in_words(last.event.short()),
            event: last.event.short(),
            time: last.time,
            outcome: Outcome::of(&last.fate),
        }
    }
}

/// Which applications are shown.
#[derive(Deserialize)]
pub(in crate::console) struct Shown {
    /// Those after the one of this name.
    #[serde(default)]
    after: String,
}

/// How many applications are shown at once.
const APPLICATIONS: usize = 20;

#[derive(Template)]
#[template(path = "user.html")]
struct UserPage {
    page: Page,
    user: User,
    is_locked: bool,
    locked_until: Option<Millis>,
    places: Vec<Place>,
    groups: Vec<(String, String)>,
    custom: Vec<(String, String)>,
    /// The connection that the user came from: its id and its name.
    connection: Option<(String, String)>,
    applications: Vec<Reached>,
    is_first: bool,
    next: Option<String>,
}

impl UserPage {
    /// The address of the page with the first applications.
    fn first(&self) -> String {
        format!("/console/users/{}", self.user.id)
    }
}

/// The units and groups of a scope in which somebody stands.
fn within<'a>(scope: &'a Scope, placement: &'a Placement) -> impl Iterator<Item = &'a String> {
    let units = placement.units.iter();
    let units = units.filter(|id| scope.organizational_unit_ids.contains(*id));
    let groups = placement.groups.iter();
    units.chain(groups.filter(|id| scope.group_ids.contains(*id)))
}

pub(in crate::console) async fn user(
    view: View,
    Path(id): Path<String>,
    Query(shown): Query<Shown>,
) -> Answer {
    let view = view.within(Section::Directory);
    let sight = view.sight().await?;
    let now = view.console.now();
    let (visitor, after) = (view.visitor.clone(), fold(&shown.after));
    let found = view
        .console
        .db()
        .read(move |tx| {
            let Some((user, placement)) = sight.standing(tx, &format!("id:{id}"))? else {
                return Ok(None);
            };
            let paths = sight.paths(tx, &user.unit_ids())?;
            let mut scopes = Entitlements::scopes(tx)?;
            scopes.retain(|(id, name, _)| visitor.reaches(id) && (after.is_empty() || fold(name) > after));
            // Databases differ in what they take for the order of names.
            scopes.sort_by_cached_key(|(_, name, _)| fold(name));
            let has_more = scopes.len() > APPLICATIONS;
            scopes.truncate(APPLICATIONS);
            let shown: Vec<String> = scopes.iter().map(|(id, ..)| id.clone()).collect();
            let standings = standings(tx, &id, &shown)?;
            let through = scopes.iter().flat_map(|(.., scope)| within(scope, &placement));
            let mut named: Vec<String> = through.chain(&user.groups).cloned().collect();
            named.sort_unstable();
            named.dedup();
            let names = view::names(tx, &named)?;
            let connection = connection::of_source(tx, &user.source)?;
            let standing = (paths, names, placement, scopes, standings, has_more, connection);
            Ok::<_, DirectoryError>(Some((user, standing)))
        })
        .await?;
    let (user, standing) = found.ok_or(Failure::NotFound)?;
    let (paths, names, placement, scopes, mut standings, has_more, connection) = standing;
    let name_of = |id: &String| names.get(id).cloned().unwrap_or_default();
    let mut groups: Vec<(String, String)> = user.groups.iter().map(|id| (id.clone(), name_of(id))).collect();
    groups.sort_by(|a, b| a.1.cmp(&b.1));
    let next = scopes
        .last()
        .filter(|_| has_more)
        .map(|(_, last, _)| address(&format!("/console/users/{}", user.id), &[("after", last)]));
    let applications = scopes.into_iter().map(|application| {
        let through = within(&application.2, &placement).map(name_of).collect();
        let standing = standings.remove(&application.0).unwrap_or_default();
        Reached::of(application, standing, through, &placement)
    });
    show(&UserPage {
        is_locked: user
            .lock_expire_time
            .is_some_and(|until| until == LOCKED_UNTIL_UNLOCKED || until > now),
        locked_until: user
            .lock_expire_time
            .filter(|until| *until != LOCKED_UNTIL_UNLOCKED && *until > now),
        places: user
            .units
            .iter()
            .map(|unit| Place {
                id: unit.id.clone(),
                path: format!("/{}", paths.get(&unit.id).map_or("", String::as_str)),
                is_primary: unit.primary,
            })
            .collect(),
        groups,
        custom: user
            .custom_fields
            .iter()
            .map(|(name, value)| (name.clone(), value.to_string()))
            .collect(),
        applications: applications.collect(),
        connection,
        is_first: shown.after.is_empty(),
        next,
        user,
        page: view.page,
    })
}
