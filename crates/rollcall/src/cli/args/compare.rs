//! What can be typed after `rollcall app compare` and `rollcall app repair`.

use clap::{ArgGroup, Args};

use crate::delivery::comparison::Kind;

#[derive(Debug, Args)]
pub(in crate::cli) struct CompareArgs {
    /// Its id or name.
    pub(in crate::cli) app: String,
    /// Show the newest comparison, and make no other one.
    #[arg(long)]
    pub(in crate::cli) last: bool,
    /// Show those of this kind only; `foreign` is what the application has that is nobody of the hub's.
    #[arg(long, value_enum)]
    pub(in crate::cli) kind: Option<Kind>,
    /// Show all differences, and not the first 50.
    #[arg(long)]
    pub(in crate::cli) all: bool,
    /// Break off the comparison that is under way.
    #[arg(long, conflicts_with_all = ["last", "kind", "all"])]
    pub(in crate::cli) cancel: bool,
}

#[derive(Debug, Args)]
#[command(group = ArgGroup::new("which").required(true).multiple(true).args(["all", "kinds", "only"]))]
pub(in crate::cli) struct RepairArgs {
    /// Its id or name.
    pub(in crate::cli) app: String,
    /// All differences of the newest comparison.
    #[arg(long, conflicts_with_all = ["kinds", "only"])]
    pub(in crate::cli) all: bool,
    /// Those of a kind. Repeat for several.
    #[arg(long = "kind", value_enum, value_name = "KIND")]
    pub(in crate::cli) kinds: Vec<Kind>,
    /// The one of a number. Repeat for several.
    #[arg(long, value_name = "NUMBER")]
    pub(in crate::cli) only: Vec<i64>,
    /// Do what the plan of this token shows, although it takes away more than the thresholds allow.
    #[arg(long, value_name = "TOKEN")]
    pub(in crate::cli) confirm: Option<String>,
    /// Do not wait for the end.
    #[arg(long)]
    pub(in crate::cli) detach: bool,
}
