//! Lists of many users: the last page beside the first, of the whole directory and of parts of it; how long it takes until
//! the first page of a list is there, and what is kept in memory for it.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::scale::{megabytes, memory};
use super::world::{World, new_user};
use super::{Figure, Options, Sorted};
use crate::access::{Authority, Caller};
use crate::directory::lists::{self, Begin, Ladders, Narrowed, Page};
use crate::directory::{Command, NewGroup, NewUnit, NewUser, Sight};
use crate::id::ROOT_UNIT;

/// How often a page is asked for.
const TIMES: usize = 30;

/// How many users a page has.
const PAGE: usize = 100;

/// How many units there are in the part of the tree that is a scope.
const UNITS: usize = 200;

/// How many users join a group with one command.
const JOINING: usize = 1_000;

/// A list.
#[derive(Clone, Debug)]
struct Which {
    what: &'static str,
    of: Of,
    only: Narrowed,
}

#[derive(Clone, Debug)]
enum Of {
    Users,
    Unit(String),
    Within(Authority),
    Group(String),
}

/// What is known of a page.
struct Read {
    /// The last user on it.
    last: Option<String>,
    found: usize,
    total: u64,
}

impl Which {
    fn of(what: &'static str, of: Of) -> Self {
        Self {
            what,
            of,
            only: Narrowed::default(),
        }
    }

    /// Reads a page as the calls of the APIs do.
    async fn page(&self, world: &World, ladders: &Arc<Ladders>, begin: Begin) -> Result<Read> {
        let (which, ladders) = (self.clone(), Arc::clone(ladders));
        let page = Page { begin, limit: PAGE };
        let read = world.hub.db.read(move |tx| {
            let only = which.only.clone();
            let (unit, authority) = match &which.of {
                Of::Group(id) => {
                    let part = lists::members(tx, &ladders, (id, only), &page)?;
                    return Ok::<_, rollcall_db::DbError>(Read {
                        found: part.found.len(),
                        last: part.found.into_iter().last(),
                        total: part.total,
                    });
                }
                Of::Users => (None, Authority::Everything),
                Of::Unit(id) => (Some(id.as_str()), Authority::Everything),
                Of::Within(authority) => (None, authority.clone()),
            };
            let sight = Sight::of(tx, &authority)?;
            let part = lists::users(tx, (&sight, &ladders), (unit, only), &page)?;
            Ok(Read {
                found: part.found.len(),
                last: part.found.into_iter().last().map(|user| user.id),
                total: part.total,
            })
        });
        Ok(read.await?)
    }

    /// How long a page takes, in milliseconds: the middle one.
    async fn time(&self, world: &World, ladders: &Arc<Ladders>, begin: &Begin) -> Result<f64> {
        let mut times = Vec::with_capacity(TIMES);
        for _ in 0..TIMES {
            let watch = world.hub.clock.stopwatch();
            let read = self.page(world, ladders, begin.clone()).await?;
            times.push(watch.elapsed().as_secs_f64() * 1e3);
            ensure!(read.found > 0, "{}: nothing at {begin:?}", self.what);
        }
        Ok(Sorted::new(times).quantile(0.5))
    }

    async fn measure(&self, world: &World) -> Result<Vec<Figure>> {
        let ladders = Arc::new(Ladders::default());
        let watch = world.hub.clock.stopwatch();
        let start = self.page(world, &ladders, Begin::Place(0)).await?;
        let cold = watch.elapsed().as_secs_f64() * 1e3;
        let total = usize::try_from(start.total)?;
        let first = self.time(world, &ladders, &Begin::Place(0)).await?;
        let at = total.saturating_sub(1) / PAGE * PAGE;
        let last = self.time(world, &ladders, &Begin::Place(at)).await?;
        let before = Begin::Place(total.saturating_sub(2 * PAGE + 1));
        let before = self.page(world, &ladders, before).await?.last;
        let late = Begin::After(before.context("a list without users")?);
        let by_token = self.time(world, &ladders, &late).await?;
        let what = self.what;
        let figure = |name: String, value: f64, unit: &str| Figure::new("lists", name, value, unit);
        Ok(vec![
            figure(format!("{what}, {total} users: the last page, p50"), last, "ms")
                .beside("the first page", first)
                .aims("at most twice as long", last <= 2.0 * first),
            figure(format!("{what}: a late page by token, p50"), by_token, "ms")
                .beside("the first page", first)
                .aims("at most twice as long", by_token <= 2.0 * first),
            figure(
                format!("{what}: the first page that anybody asks for"),
                cold,
                "ms",
            ),
            figure(
                format!("{what}: kept in memory"),
                megabytes(ladders.bytes() as u64) * 1e3,
                "kB",
            ),
        ])
    }
}

/// A directory of which an eighth stands in one unit, and an eighth in many small ones, and a part of a group; the lists
/// of which it is asked for pages.
async fn directory(world: &World, count: usize) -> Result<Vec<Which>> {
    let hub = &world.hub;
    let apply = async |command| {
        hub.apply(Caller::system("bench"), command)
            .await
            .map(|applied| applied.id)
    };
    let unit = |name: String, parent_id: &str| {
        Command::CreateUnit(NewUnit {
            name,
            parent_id: parent_id.to_owned(),
            ..NewUnit::default()
        })
    };
    let large = apply(unit("Large".to_owned(), ROOT_UNIT)).await?;
    let division = apply(unit("Division".to_owned(), ROOT_UNIT)).await?;
    let mut units = Vec::with_capacity(UNITS);
    for number in 0..UNITS {
        units.push(apply(unit(format!("Department {number:03}"), &division)).await?);
    }
    let place = |number: usize| match number % 8 {
        0 => large.clone(),
        1 => units[number / 8 % UNITS].clone(),
        _ => ROOT_UNIT.to_owned(),
    };
    let mut ids = Vec::new();
    for start in (0..count).step_by(500) {
        let new: Vec<NewUser> = (start..count.min(start + 500))
            .map(|number| NewUser {
                primary_organizational_unit_id: place(number),
                disabled: number % 16 == 3,
                ..new_user(number)
            })
            .collect();
        let too = hub.clone();
        let make = hub
            .db
            .write(move |tx| too.create_users_in(tx, &Caller::system("bench"), &new));
        for made in make.await? {
            ids.push(made?);
        }
    }
    let new = NewGroup {
        name: "Everybody's friends".to_owned(),
        ..NewGroup::default()
    };
    let group_id = apply(Command::CreateGroup(new)).await?;
    let members: Vec<String> = ids.iter().skip(2).step_by(16).cloned().collect();
    for user_ids in members.chunks(JOINING) {
        let (group_id, user_ids) = (group_id.clone(), user_ids.to_vec());
        apply(Command::AddMembers { group_id, user_ids }).await?;
    }
    let scope = Authority::Scope {
        units: BTreeSet::from([division]),
        groups: BTreeSet::from([group_id.clone()]),
    };
    let mut disabled = Which::of("all who are disabled", Of::Users);
    disabled.only.enabled(Some(false));
    let mut named = Which::of("usernames that begin so", Of::Users);
    named
        .only
        .username_begins(Some(new_user(0).username[..5].to_owned()));
    Ok(vec![
        Which::of("all", Of::Users),
        Which::of("a unit", Of::Unit(large)),
        Which::of("a scope of 200 units and a group", Of::Within(scope)),
        Which::of("a group", Of::Group(group_id)),
        disabled,
        named,
    ])
}

pub(super) async fn measure(options: &Options) -> Result<Vec<Figure>> {
    let count = options
        .users
        .unwrap_or(if options.full { 1_000_000 } else { 100_000 });
    let world = World::new().await?;
    let mut figures = Vec::new();
    for which in directory(&world, count).await? {
        figures.extend(which.measure(&world).await?);
    }
    figures.extend(memory("lists", &format!("lists of {count} users")));
    Ok(figures)
}
