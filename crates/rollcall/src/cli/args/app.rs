//! What can be typed after `rollcall app`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgGroup, Args, Subcommand};
use rollcall_protocol::EventType;

use super::compare::{CompareArgs, RepairArgs};
use super::developer::DeveloperApi;
use super::scim::ScimArgs;
use crate::application::entitlement::subscribable;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum App {
    /// Add an application.
    Create {
        /// Its name.
        name: String,
        /// The receiving URL; in the SCIM mode the base URL, below which Users and Groups are.
        #[arg(long)]
        url: String,
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        push: PushArgs,
        #[command(flatten)]
        scim: Box<ScimArgs>,
    },
    /// Show all applications.
    List,
    /// Show an application, its endpoint for public keys, and where its delivery stands.
    Show {
        /// Its id or name.
        app: String,
    },
    /// Change the push parameters.
    Set {
        /// Its id or name.
        app: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// Another receiving URL; in the SCIM mode, another base URL.
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        push: PushArgs,
        #[command(flatten)]
        scim: Box<ScimArgs>,
    },
    /// Show what users are to an application in the SCIM mode, as it is set, or as it would be with these options.
    /// Nothing is stored or sent.
    Preview {
        /// Its id or name.
        app: String,
        /// A user: its id, username or email address. Repeat for several; left out: the first in scope.
        #[arg(long = "user", value_name = "USER")]
        users: Vec<String>,
        /// The base URL, if the application is not in the SCIM mode yet.
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        scim: Box<ScimArgs>,
    },
    /// Change the synchronization scope: show who enters and who leaves, then do it with --confirm.
    Scope(crate::cli::app::scope::ScopeChange),
    /// Change which events are wanted: show it, then do it with --confirm.
    Subscription(crate::cli::app::scope::SubscriptionChange),
    /// Test Connectivity: send a test event and report every step.
    Test {
        /// Its id or name.
        app: String,
        /// Of an application in the SCIM mode: try out how it wants to be spoken to. This creates and removes a test user
        /// and a test group there.
        #[arg(long)]
        probe: bool,
        /// Set the application to what works.
        #[arg(long, requires = "probe")]
        apply: bool,
    },
    /// Synchronize: push everything in scope.
    Sync {
        /// Its id or name.
        app: String,
        /// Do not wait for the end.
        #[arg(long)]
        detach: bool,
    },
    /// Compare what an application in the SCIM mode has with what it should have. Nothing is changed there. The exit code
    /// is 3 if something differs.
    Compare(CompareArgs),
    /// Repair what differs, by the newest comparison: tell anew what is true of those who are selected.
    Repair(RepairArgs),
    /// Cancel the synchronization that is under way.
    Cancel {
        /// Its id or name.
        app: String,
    },
    /// Stop pushing. Changes wait until it is resumed.
    Pause {
        /// Its id or name.
        app: String,
    },
    /// Push again; a suspended application is asked at once.
    Resume {
        /// Its id or name.
        app: String,
    },
    /// The developer API: what the application may do by itself, and its client secrets.
    Api {
        #[command(subcommand)]
        verb: DeveloperApi,
    },
    /// Signing keys: show, rotate, try, cancel.
    Key {
        #[command(subcommand)]
        verb: Key,
    },
    /// Send events again that were set aside as failed.
    Resend {
        /// Its id or name.
        app: String,
        /// Only this event.
        #[arg(long)]
        event: Option<String>,
    },
    /// Set an event aside, so that delivery goes on without it: one that the endpoint cannot take now.
    Skip {
        /// Its id or name.
        app: String,
        /// This event, which waits or is still to be sent; left out: the next one to be sent.
        #[arg(long)]
        event: Option<String>,
    },
    /// Forget events that were set aside; they are never sent.
    #[command(group = ArgGroup::new("which").required(true).args(["event", "all"]))]
    Dismiss {
        /// Its id or name.
        app: String,
        /// Only this event.
        #[arg(long)]
        event: Option<String>,
        /// All of them.
        #[arg(long)]
        all: bool,
    },
    /// Delete an application with its keys and its history.
    Delete {
        /// Its id or name.
        app: String,
        /// Do it.
        #[arg(long)]
        confirm: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Key {
    /// Which key signs since when, what waits for its trial, and when the old one retires.
    Show {
        /// The application's id or name.
        app: String,
    },
    /// Publish a new signing key now, try it after a delay, and sign with it once the application accepts it.
    Rotate {
        /// The application's id or name.
        app: String,
        /// After how many hours the new key is tried. Applications may cache keys for long.
        #[arg(long, value_name = "HOURS", value_parser = hours, default_value = "24", conflicts_with = "now")]
        after_hours: Duration,
        /// The key is compromised: withdraw it at once and sign with a new one, untried. The application refuses
        /// everything until it fetches the public keys again.
        #[arg(long)]
        now: bool,
        /// Do it (with --now).
        #[arg(long, requires = "now")]
        confirm: bool,
    },
    /// Try the new key now: after the application was restarted, or its pinned keys were updated.
    Try {
        /// The application's id or name.
        app: String,
    },
    /// Withdraw the new key that waits for its trial.
    Cancel {
        /// The application's id or name.
        app: String,
    },
    /// Sign with the key before again, as long as it is published: the application turns out to be broken by the new
    /// one.
    Revert {
        /// The application's id or name.
        app: String,
    },
}

/// Reads a number of hours, which may be broken.
fn hours(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|hours| Duration::try_from_secs_f64(hours * 3_600.0).ok())
        .ok_or_else(|| "write a number of hours, such as 24 or 0.5".to_owned())
}

#[derive(Debug, Args)]
pub(in crate::cli) struct ScopeArgs {
    /// An organizational unit in scope, with all below it: its id or path. `/` is everything. Repeat for
    /// several. Without any unit or group: everything.
    #[arg(long = "unit", value_name = "UNIT")]
    pub(in crate::cli) units: Vec<String>,
    /// A group in scope, with its members: its id or name. Repeat for several.
    #[arg(long = "group", value_name = "GROUP")]
    pub(in crate::cli) groups: Vec<String>,
    /// An event to subscribe to, such as ud:user:create. Repeat for several. Without any: all.
    #[arg(long = "event", value_name = "TYPE", value_parser = subscribable)]
    pub(in crate::cli) events: Vec<EventType>,
}

#[derive(Debug, Default, Args)]
pub(in crate::cli) struct PushArgs {
    /// Encrypt events with a new key, which is shown once.
    #[arg(long, conflicts_with_all = ["encryption_key_file", "no_encryption"])]
    pub(in crate::cli) encrypt: bool,
    /// Encrypt events with the key in this file: 64 hexadecimal digits.
    #[arg(long, value_name = "FILE", conflicts_with = "no_encryption")]
    pub(in crate::cli) encryption_key_file: Option<PathBuf>,
    /// Do not encrypt.
    #[arg(long)]
    pub(in crate::cli) no_encryption: bool,
    /// Send new passwords along: true or false. Needs encryption or https.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) password_sync: Option<bool>,
    /// Events in one request, 1 to 500.
    #[arg(long)]
    pub(in crate::cli) max_events: Option<u32>,
    /// Bytes of event data in one request, 16384 to 2097152. A single larger event is sent alone.
    #[arg(long)]
    pub(in crate::cli) max_bytes: Option<u32>,
    /// Requests in flight at once, 1 to 32.
    #[arg(long)]
    pub(in crate::cli) lanes: Option<u32>,
    /// Requests per second, at most; 0 for no limit.
    #[arg(long)]
    pub(in crate::cli) requests_per_second: Option<u32>,
}
