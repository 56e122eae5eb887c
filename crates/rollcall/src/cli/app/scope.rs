//! `rollcall app scope` and `rollcall app subscription`: what is not named stays as it is, and nothing is
//! done that a plan has not shown.

use std::collections::BTreeSet;
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use rollcall_db::DbError;
use rollcall_protocol::EventType;
use serde_json::json;

use super::find;
use crate::application::entitlement::subscribable;
use crate::application::{
    Command, Edit, Entitlements, ScopeEdit, Subscription,
    command::plan_subscription,
    written::{groups, names, units},
};
use crate::cli::caller::caller;
use crate::cli::failure::Refusal;
use crate::cli::output::{Output, counted, first_of, listed};
use crate::delivery::job::{self, Side};
use crate::directory::DirectoryError;
use crate::hub::Hub;

/// What changes of a scope. Units and groups are apart: naming units leaves the groups as they are, and the
/// other way round.
#[derive(Debug, Args)]
pub(in crate::cli) struct ScopeChange {
    /// Its id or name.
    app: String,
    /// The units in scope become these, each with all below it: ids or paths. `/` is everything. Repeat for
    /// several.
    #[arg(long = "unit", value_name = "UNIT", conflicts_with_all = ["add_units", "remove_units"])]
    units: Vec<String>,
    /// Another unit comes into scope. Repeat for several.
    #[arg(long = "add-unit", value_name = "UNIT")]
    add_units: Vec<String>,
    /// A unit goes out of scope. Repeat for several.
    #[arg(long = "remove-unit", value_name = "UNIT")]
    remove_units: Vec<String>,
    /// No unit is in scope any more, only groups.
    #[arg(long, conflicts_with_all = ["units", "add_units", "remove_units"])]
    no_units: bool,
    /// The groups in scope become these, with their members: ids or names. Repeat for several.
    #[arg(long = "group", value_name = "GROUP", conflicts_with_all = ["add_groups", "remove_groups"])]
    groups: Vec<String>,
    /// Another group comes into scope. Repeat for several.
    #[arg(long = "add-group", value_name = "GROUP")]
    add_groups: Vec<String>,
    /// A group goes out of scope. Repeat for several.
    #[arg(long = "remove-group", value_name = "GROUP")]
    remove_groups: Vec<String>,
    /// No group is in scope any more, only units.
    #[arg(long, conflicts_with_all = ["groups", "add_groups", "remove_groups"])]
    no_groups: bool,
    /// Do what the plan of this token shows.
    #[arg(long, value_name = "TOKEN")]
    confirm: Option<String>,
}

/// What changes of a subscription.
#[derive(Debug, Args)]
pub(in crate::cli) struct SubscriptionChange {
    /// Its id or name.
    app: String,
    /// The events become these, such as ud:user:create. Repeat for several.
    #[arg(long = "event", value_name = "TYPE", value_parser = subscribable, conflicts_with_all = ["add", "remove", "all"])]
    events: Vec<EventType>,
    /// Another event is wanted too. Repeat for several.
    #[arg(long, value_name = "TYPE", value_parser = subscribable)]
    add: Vec<EventType>,
    /// An event is wanted no more. Repeat for several.
    #[arg(long, value_name = "TYPE", value_parser = subscribable)]
    remove: Vec<EventType>,
    /// All events are wanted.
    #[arg(long, conflicts_with_all = ["add", "remove"])]
    all: bool,
    /// Do what the plan of this token shows.
    #[arg(long, value_name = "TOKEN")]
    confirm: Option<String>,
}

fn edit<T: Ord>(set: BTreeSet<T>, empty: bool, add: BTreeSet<T>, remove: BTreeSet<T>) -> Edit<T> {
    if empty || !set.is_empty() {
        Edit::Set(set)
    } else {
        Edit::Change { add, remove }
    }
}

pub(super) async fn scope(hub: &Hub, out: &Output, args: ScopeChange) -> Result<ExitCode> {
    let application = find(hub, &args.app).await?;
    let confirm = args.confirm.clone();
    let edit = hub
        .db
        .read(move |tx| {
            Ok::<_, DirectoryError>(ScopeEdit {
                units: edit(
                    units(tx, &args.units)?,
                    args.no_units,
                    units(tx, &args.add_units)?,
                    units(tx, &args.remove_units)?,
                ),
                groups: edit(
                    groups(tx, &args.groups)?,
                    args.no_groups,
                    groups(tx, &args.add_groups)?,
                    groups(tx, &args.remove_groups)?,
                ),
            })
        })
        .await?;
    if edit == ScopeEdit::default() {
        bail!(Refusal::wrong_use(
            "name what is to change",
            "--unit, --add-unit, --remove-unit or --no-units, and the same for groups"
        ));
    }
    let id = application.id.clone();
    let (plan, job_id) = match &confirm {
        Some(token) => {
            let (plan, job_id) = job::change_scope(hub, caller(), &id, edit, Some(token.clone())).await?;
            (plan, Some(job_id))
        }
        None => (hub.db.read(move |tx| job::plan(tx, &id, &edit)).await?, None),
    };
    let id = application.id.clone();
    let (before, after) = (plan.before.clone(), plan.after.clone());
    let (before, after, subscription) = hub
        .db
        .read(move |tx| {
            let subscription = Entitlements::load(tx, &id)?.current().subscription.clone();
            Ok::<_, DbError>((names(tx, &before)?, names(tx, &after)?, subscription))
        })
        .await?;
    let job = job_id.filter(|_| !plan.is_empty());
    let shown = json!({
        "plan": plan, "scopeBefore": before, "scopeAfter": after, "subscription": subscription, "job": job,
    });
    out.show(&shown, || {
        let mut text = format!(
            "scope         {}\n          →   {}\nsubscription  {} (stays)\nenter         {}\nleave         {}\n",
            listed(&before),
            listed(&after),
            events(&subscription),
            side(&plan.enter),
            side(&plan.leave)
        );
        text.push_str(&match (&job, plan.is_empty()) {
            (_, true) => "Nothing to change: the scope is so already.\n".to_owned(),
            (Some(job), _) => format!("It is under way: {job}\n"),
            (None, _) => format!(
                "Nothing is changed yet. To do this, repeat with --confirm {}\n",
                plan.token
            ),
        });
        text
    });
    Ok(ExitCode::SUCCESS)
}

fn side(side: &Side) -> String {
    let counts = side.counts;
    format!(
        "{}, {}, {}{}",
        counted(counts.organizational_units, "unit"),
        counted(counts.users, "user"),
        counted(counts.groups, "group"),
        first_of(&side.first_users, counts.users)
    )
}

/// A subscription for people.
pub(in crate::cli) fn events(subscription: &Subscription) -> String {
    if *subscription == Subscription::everything() {
        return "all events".to_owned();
    }
    listed(
        &subscription
            .events()
            .map(|event| event.short().to_owned())
            .collect::<Vec<_>>(),
    )
}

pub(super) async fn subscription(hub: &Hub, out: &Output, args: SubscriptionChange) -> Result<ExitCode> {
    let id = find(hub, &args.app).await?.id;
    let wanted = if args.all {
        Edit::Set(Subscription::everything().events().collect())
    } else {
        edit(
            args.events.into_iter().collect(),
            false,
            args.add.into_iter().collect(),
            args.remove.into_iter().collect(),
        )
    };
    if wanted == Edit::default() {
        bail!(Refusal::wrong_use(
            "name what is to change",
            "--event, --add, --remove or --all"
        ));
    }
    let confirm = args.confirm.clone();
    let confirmed = confirm.is_some();
    let (of, events_wanted) = (id.clone(), wanted.clone());
    let plan = hub
        .db
        .read(move |tx| plan_subscription(tx, &of, &events_wanted))
        .await?;
    if confirmed {
        let command = Command::SetSubscription {
            id,
            events: wanted,
            confirmed: confirm,
        };
        hub.apply_application(caller(), command).await?;
    }
    out.show(&plan, || {
        let hint = if plan.before == plan.after {
            "Nothing to change: the subscription is so already.".to_owned()
        } else if confirmed {
            "It is so for all changes from now on.".to_owned()
        } else {
            format!(
                "Nothing is changed yet. To do this, repeat with --confirm {}",
                plan.token
            )
        };
        format!(
            "subscription  {}\n          →   {}\n{hint}\n",
            events(&plan.before),
            events(&plan.after)
        )
    });
    Ok(ExitCode::SUCCESS)
}
