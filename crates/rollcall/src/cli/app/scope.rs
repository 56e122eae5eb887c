//! `rollcall app scope` and `rollcall app subscription`: what is not named stays as it is, and nothing is
//! done that a plan has not shown.

use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::Args;
use rollcall_protocol::EventType;
use serde_json::json;

use crate::application::entitlement::subscribable;
use crate::application::written::{self, SetChange};
use crate::application::{Edit, Subscription};
use crate::cli::backend::{Backend, Rescoped};
use crate::cli::failure::Refusal;
use crate::cli::output::{Output, counted, first_of, listed};
use crate::delivery::job::Side;

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

/// What becomes of a part of a scope.
fn edit(set: Vec<String>, empty: bool, add: Vec<String>, remove: Vec<String>) -> SetChange {
    match empty || !set.is_empty() {
        true => SetChange {
            set: Some(set),
            ..SetChange::default()
        },
        false => SetChange {
            set: None,
            add,
            remove,
        },
    }
}

pub(super) async fn scope(backend: &Backend, out: &Output, args: ScopeChange) -> Result<ExitCode> {
    let change = written::ScopeChange {
        organizational_units: edit(args.units, args.no_units, args.add_units, args.remove_units),
        groups: edit(args.groups, args.no_groups, args.add_groups, args.remove_groups),
    };
    if change == written::ScopeChange::default() {
        bail!(Refusal::wrong_use(
            "name what is to change",
            "--unit, --add-unit, --remove-unit or --no-units, and the same for groups"
        ));
    }
    let Rescoped {
        plan,
        job,
        before,
        after,
        subscription,
    } = backend.change_scope(&args.app, change, args.confirm).await?;
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

pub(super) async fn subscription(
    backend: &Backend,
    out: &Output,
    args: SubscriptionChange,
) -> Result<ExitCode> {
    let wanted = match (args.all, args.events.is_empty()) {
        (true, _) => Edit::Set(Subscription::everything().events().collect()),
        (false, false) => Edit::Set(args.events.into_iter().collect()),
        (false, true) => Edit::Change {
            add: args.add.into_iter().collect(),
            remove: args.remove.into_iter().collect(),
        },
    };
    if wanted == Edit::default() {
        bail!(Refusal::wrong_use(
            "name what is to change",
            "--event, --add, --remove or --all"
        ));
    }
    let confirmed = args.confirm.is_some();
    let plan = backend
        .change_subscription(&args.app, wanted, args.confirm)
        .await?;
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
