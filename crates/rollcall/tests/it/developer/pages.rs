//! Pages of lists: each is the same as in the whole list, whatever has changed since the last look.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use rollcall::access::{Authority, Caller};
use rollcall::directory::lists::{self, Begin, Ladders, Narrowed, Page};
use rollcall::directory::{Cascade, Command, GroupChanges, NewGroup, NewUnit, Sight, UserChanges};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_db::{DbError, Tx, params};

use crate::access::on_each;
use crate::world::new_user;

/// A list that is paged through.
#[derive(Clone, Debug)]
enum Which {
    Users(Narrowing),
    OfUnit(String, Narrowing),
    Within(BTreeSet<String>, BTreeSet<String>, Narrowing),
    Members(String),
    Groups(Option<&'static str>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Narrowing {
    enabled: Option<bool>,
    username: Option<&'static str>,
}

impl Narrowing {
    fn narrowed(self) -> Narrowed {
        let mut only = Narrowed::default();
        only.enabled(self.enabled);
        only.username_begins(self.username.map(str::to_owned));
        only
    }
}

/// The ids on a page, and how many there are in all.
fn read(
    tx: &mut Tx<'_>,
    ladders: &Ladders,
    which: &Which,
    page: &Page,
) -> Result<(Vec<String>, u64), DbError> {
    let all = Sight::EVERYTHING;
    let users = |part: lists::Part<rollcall::directory::User>| {
        let ids = part.found.into_iter().map(|user| user.id).collect();
        (ids, part.total)
    };
    Ok(match which {
        Which::Users(only) => users(lists::users(tx, (&all, ladders), (None, only.narrowed()), page)?),
        Which::OfUnit(id, only) => users(lists::users(
            tx,
            (&all, ladders),
            (Some(id), only.narrowed()),
            page,
        )?),
        Which::Within(units, groups, only) => {
            let authority = Authority::Scope {
                units: units.clone(),
                groups: groups.clone(),
            };
            let sight = Sight::of(tx, &authority)?;
            users(lists::users(
                tx,
                (&sight, ladders),
                (None, only.narrowed()),
                page,
            )?)
        }
        Which::Members(id) => {
            let part = lists::members(tx, ladders, (id, Narrowed::default()), page)?;
            (part.found, part.total)
        }
        Which::Groups(beginning) => {
            let mut only = Narrowed::default();
            only.name_begins(beginning.map(str::to_owned));
            let part = lists::groups(tx, (&all, ladders), only, page)?;
            (part.found.into_iter().map(|group| group.id).collect(), part.total)
        }
    })
}

async fn page(
    hub: &Hub,
    ladders: &Arc<Ladders>,
    which: &Which,
    begin: Begin,
    limit: usize,
) -> (Vec<String>, u64) {
    let (ladders, which, page) = (Arc::clone(ladders), which.clone(), Page { begin, limit });
    let read = hub.db.read(move |tx| read(tx, &ladders, &which, &page));
    read.await.unwrap()
}

/// The directory as its rows have it.
#[derive(Default)]
struct Rows {
    /// Whether somebody is enabled, and the username.
    users: BTreeMap<String, (bool, String)>,
    parents: BTreeMap<String, Option<String>>,
    groups: BTreeMap<String, String>,
    in_units: BTreeSet<(String, String)>,
    in_groups: BTreeSet<(String, String)>,
}

impl Rows {
    async fn read(hub: &Hub) -> Self {
        let read = hub.db.read(|tx| {
            let mut rows = Self::default();
            for row in tx.query("SELECT id, status, username_folded FROM users", params![])? {
                let is_enabled = row.get::<String>(1)? == "enabled";
                rows.users.insert(row.get(0)?, (is_enabled, row.get(2)?));
            }
            for row in tx.query("SELECT id, parent_id FROM organizational_units", params![])? {
                rows.parents.insert(row.get(0)?, row.get(1)?);
            }
            for row in tx.query("SELECT id, name_folded FROM groups", params![])? {
                rows.groups.insert(row.get(0)?, row.get(1)?);
            }
            for row in tx.query("SELECT unit_id, user_id FROM unit_members", params![])? {
                rows.in_units.insert((row.get(0)?, row.get(1)?));
            }
            for row in tx.query("SELECT group_id, user_id FROM group_members", params![])? {
                rows.in_groups.insert((row.get(0)?, row.get(1)?));
            }
            Ok::<_, DbError>(rows)
        });
        read.await.unwrap()
    }

    /// Whether a unit is one of some, or below one.
    fn is_inside(&self, unit: &str, tops: &BTreeSet<String>) -> bool {
        let above = std::iter::successors(Some(unit), |unit| self.parents.get(*unit)?.as_deref());
        above.into_iter().any(|unit| tops.contains(unit))
    }

    fn fits(&self, user: &str, only: Narrowing) -> bool {
        let (is_enabled, username) = &self.users[user];
        only.enabled.is_none_or(|wanted| wanted == *is_enabled)
            && only
                .username
                .is_none_or(|beginning| username.starts_with(beginning))
    }

    /// The whole list.
    fn list(&self, which: &Which) -> Vec<String> {
        let of = |pairs: &BTreeSet<(String, String)>, is_wanted: &dyn Fn(&str) -> bool| -> BTreeSet<String> {
            let wanted = pairs.iter().filter(|(place, _)| is_wanted(place));
            wanted.map(|(_, user)| user.clone()).collect()
        };
        let (all, only) = match which {
            Which::Users(only) => (self.users.keys().cloned().collect(), *only),
            Which::OfUnit(id, only) => (of(&self.in_units, &|unit| unit == id), *only),
            Which::Within(units, groups, only) => {
                let mut inside = of(&self.in_units, &|unit| self.is_inside(unit, units));
                inside.extend(of(&self.in_groups, &|group| groups.contains(group)));
                (inside, *only)
            }
            Which::Members(id) => (of(&self.in_groups, &|group| group == id), Narrowing::default()),
            Which::Groups(beginning) => {
                let fits = |name: &String| beginning.is_none_or(|beginning| name.starts_with(beginning));
                let groups = self.groups.iter().filter(|(_, name)| fits(name));
                return groups.map(|(id, _)| id.clone()).collect();
            }
        };
        all.into_iter().filter(|user| self.fits(user, only)).collect()
    }
}

async fn apply(hub: &Hub, command: Command) -> String {
    hub.apply(Caller::system("test"), command).await.unwrap().id
}

async fn unit(hub: &Hub, name: &str, parent: &str) -> String {
    let new = NewUnit {
        name: name.to_owned(),
        parent_id: parent.to_owned(),
        ..NewUnit::default()
    };
    apply(hub, Command::CreateUnit(new)).await
}

async fn group(hub: &Hub, name: &str) -> String {
    let new = NewGroup {
        name: name.to_owned(),
        ..NewGroup::default()
    };
    apply(hub, Command::CreateGroup(new)).await
}

/// Something that may happen in a directory of units that stay.
async fn happen(hub: &Hub, chance: &mut StdRng, units: &[String], made: &mut usize, is_growing: bool) {
    let rows = Rows::read(hub).await;
    let users: Vec<&String> = rows.users.keys().collect();
    let groups: Vec<&String> = rows.groups.keys().collect();
    let pick = |chance: &mut StdRng, from: &[&String]| from[chance.random_range(0..from.len())].clone();
    let some_unit = |chance: &mut StdRng| units[chance.random_range(0..units.len())].clone();
    *made += 1;
    let what = chance.random_range(0..20);
    if users.is_empty() || (is_growing && what < 8) {
        let name = format!("{}{made}", if chance.random_bool(0.5) { "a" } else { "b" });
        apply(hub, Command::CreateUser(new_user(&name, &some_unit(chance)))).await;
        return;
    }
    let id = pick(chance, &users);
    match what {
        0..=9 => {
            let delete = Command::DeleteUser { id };
            if !is_growing || what > 8 {
                apply(hub, delete).await;
            }
        }
        10 | 11 => {
            let (primary, further) = (some_unit(chance), vec![some_unit(chance)]);
            let further = further.into_iter().filter(|unit| *unit != primary).collect();
            apply(hub, Command::SetUnits { id, primary, further }).await;
        }
        12 => drop(apply(hub, Command::DisableUser { id }).await),
        13 => drop(apply(hub, Command::EnableUser { id }).await),
        14 => {
            let changes = UserChanges {
                username: Some(format!("a{made}")),
                ..UserChanges::default()
            };
            apply(hub, Command::UpdateUser { id, changes }).await;
        }
        15 => {
            // The last unit has none below it, so that it may stand below either of the first.
            let (moved, target) = (
                units[units.len() - 1].clone(),
                units[chance.random_range(0..2)].clone(),
            );
            let parent_id = target;
            apply(hub, Command::MoveUnit { id: moved, parent_id }).await;
        }
        16 if !groups.is_empty() => {
            let group_id = pick(chance, &groups);
            let user_ids = (0..4).map(|_| pick(chance, &users)).collect();
            apply(hub, Command::AddMembers { group_id, user_ids }).await;
        }
        17 if !groups.is_empty() => {
            let group_id = pick(chance, &groups);
            let user_ids = (0..4).map(|_| pick(chance, &users)).collect();
            apply(hub, Command::RemoveMembers { group_id, user_ids }).await;
        }
        18 if groups.len() > 3 && chance.random_bool(0.5) => {
            // Two groups stay, because lists are of them.
            let id = groups[groups.len() - 1].clone();
            apply(hub, Command::DeleteGroup { id }).await;
        }
        18 => drop(
            group(
                hub,
                &format!("{}{made}", if chance.random_bool(0.5) { "a" } else { "b" }),
            )
            .await,
        ),
        _ if !groups.is_empty() => {
            let changes = GroupChanges {
                name: Some(format!("b{made}")),
                ..GroupChanges::default()
            };
            apply(
                hub,
                Command::UpdateGroup {
                    id: pick(chance, &groups),
                    changes,
                },
            )
            .await;
        }
        _ => {}
    }
}

/// Compares every page of a list with the whole list.
async fn compare(hub: &Hub, ladders: &Arc<Ladders>, rows: &Rows, which: &Which) {
    let whole = rows.list(which);
    let total = whole.len() as u64;
    for offset in 0..whole.len() + 3 {
        let found = page(hub, ladders, which, Begin::Place(offset), 5).await;
        let expected: Vec<String> = whole.iter().skip(offset).take(5).cloned().collect();
        assert_eq!(found, (expected, total), "{which:?}, {offset}");
    }
    for id in whole.iter().step_by(3).chain([&"user_zzzz".to_owned()]) {
        let found = page(hub, ladders, which, Begin::After(id.clone()), 4).await;
        let expected: Vec<String> = whole.iter().filter(|one| *one > id).take(4).cloned().collect();
        assert_eq!(found, (expected, total), "{which:?} after {id}");
    }
}

#[test]
fn a_page_is_that_of_the_whole_list() {
    on_each("developer_pages", |site| async move {
        let hub = &site.hub;
        let mut chance = StdRng::seed_from_u64(11);
        let (one, two) = (
            unit(hub, "One", ROOT_UNIT).await,
            unit(hub, "Two", ROOT_UNIT).await,
        );
        let three = unit(hub, "Three", &one).await;
        let four = unit(hub, "Four", &two).await;
        let (first, second) = (group(hub, "aa").await, group(hub, "bb").await);
        let units = [one.clone(), two.clone(), three.clone(), four.clone()];
        let set = |ids: &[&String]| ids.iter().map(|id| (*id).clone()).collect::<BTreeSet<_>>();
        let all = Narrowing::default();
        let enabled = Narrowing {
            enabled: Some(true),
            ..all
        };
        let named = Narrowing {
            username: Some("a"),
            ..all
        };
        let lists = [
            Which::Users(all),
            Which::Users(enabled),
            Which::Users(named),
            Which::OfUnit(two.clone(), all),
            Which::OfUnit(three.clone(), named),
            Which::Within(set(&[&one]), set(&[&first]), all),
            Which::Within(set(&[&two]), set(&[]), enabled),
            Which::Within(set(&[]), set(&[&first, &second]), all),
            Which::Members(first.clone()),
            Which::Groups(None),
            Which::Groups(Some("b")),
        ];
        let often = Arc::new(Ladders::with_steps_of(3));
        let seldom = Arc::new(Ladders::with_steps_of(4));
        let mut made = 0;
        for round in 0..24 {
            for _ in 0..chance.random_range(1..20) {
                happen(hub, &mut chance, &units, &mut made, round < 14).await;
            }
            let rows = Rows::read(hub).await;
            for which in &lists {
                compare(hub, &often, &rows, which).await;
                if round % 7 == 0 {
                    compare(hub, &seldom, &rows, which).await;
                }
            }
            if round % 5 == 4 {
                // Retention takes the log away up to its end: what was since the last look is told no more.
                let trim = hub.db.write(|tx| tx.execute("DELETE FROM changes", params![]));
                trim.await.unwrap();
            }
        }
        assert!(made > 150, "{made}");
        // A unit goes with all that is below it.
        let cascade = Cascade::Yes;
        apply(hub, Command::DeleteUnit { id: four, cascade }).await;
        let rows = Rows::read(hub).await;
        for which in &lists {
            compare(hub, &often, &rows, which).await;
        }
    });
}

#[test]
fn a_ladder_is_kept_for_the_lists_that_were_asked_for_last() {
    on_each("developer_many_lists", |site| async move {
        let hub = &site.hub;
        let ladders = Arc::new(Ladders::with_steps_of(2));
        let mut units = Vec::new();
        for number in 0..70 {
            let id = unit(hub, &format!("U{number}"), ROOT_UNIT).await;
            for user in 0..2 {
                apply(
                    hub,
                    Command::CreateUser(new_user(&format!("u{number}-{user}"), &id)),
                )
                .await;
            }
            units.push(id);
        }
        // More lists than there are ladders for, once and again, with a change in between.
        for _ in 0..2 {
            let rows = Rows::read(hub).await;
            for id in &units {
                let which = Which::OfUnit(id.clone(), Narrowing::default());
                compare(hub, &ladders, &rows, &which).await;
            }
            let id = rows.users.keys().next().unwrap().clone();
            apply(hub, Command::DeleteUser { id }).await;
        }
    });
}

#[test]
fn whoever_reads_an_earlier_snapshot_is_told_the_truth_of_it() {
    on_each("developer_earlier_page", |site| async move {
        let hub = &site.hub;
        let ladders = Arc::new(Ladders::with_steps_of(2));
        for number in 0..5 {
            apply(
                hub,
                Command::CreateUser(new_user(&format!("u{number}"), ROOT_UNIT)),
            )
            .await;
        }
        let which = Which::OfUnit(ROOT_UNIT.to_owned(), Narrowing::default());
        let before = Rows::read(hub).await.list(&which);
        let (shared, other, later) = (Arc::clone(&ladders), hub.clone(), Arc::clone(&ladders));
        let (go, gone) = std::sync::mpsc::channel();
        let (saw, seen) = tokio::sync::oneshot::channel();
        let mut saw = Some(saw);
        let (early_which, after) = (which.clone(), before[0].clone());
        let early = hub.db.read(move |tx| {
            // The snapshot begins with the first look.
            rollcall::change::head(tx)?;
            if let Some(saw) = saw.take() {
                saw.send(()).unwrap();
                gone.recv().unwrap();
            }
            let at = |begin| Page { begin, limit: 10 };
            let by_place = read(tx, &shared, &early_which, &at(Begin::Place(2)))?;
            let by_id = read(tx, &shared, &early_which, &at(Begin::After(after.clone())))?;
            Ok::<_, DbError>((by_place, by_id))
        });
        let meanwhile = async {
            seen.await.unwrap();
            apply(&other, Command::CreateUser(new_user("late", ROOT_UNIT))).await;
            assert_eq!(page(&other, &later, &which, Begin::Place(0), 10).await.1, 6);
            go.send(()).unwrap();
        };
        let (early, ()) = tokio::join!(early, meanwhile);
        let (by_place, by_id) = early.unwrap();
        assert_eq!(by_place, (before[2..].to_vec(), 5));
        assert_eq!(by_id, (before[1..].to_vec(), 5));
    });
}
