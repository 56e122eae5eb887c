//! The arguments of `rollcall app api`.

use clap::{Args, Subcommand};

use crate::accounts::tokens;
use crate::application::Grant;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum DeveloperApi {
    /// Where the application calls the developer API, what it may do there, and its client secrets.
    Show {
        /// The application's id or name.
        app: String,
    },
    /// Turn the developer API on or off, and say what the application may do there. What is not named stays.
    #[command(after_help = "\
An application that may read users and groups, and change nothing:
    rollcall app api set Wiki --enabled true
One that imports users with their passwords:
    rollcall app api set HR --enabled true --users write --units write --passwords true
Whatever it does reaches as far as its synchronization scope.")]
    Set {
        /// The application's id or name.
        app: String,
        #[command(flatten)]
        grants: Grants,
    },
    /// Client secrets, by which the application gets its access tokens: two at a time.
    Secret {
        #[command(subcommand)]
        verb: ClientSecret,
    },
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(in crate::cli) struct Grants {
    /// Whether it may call the developer API at all.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) enabled: Option<bool>,
    /// What it may do with users.
    #[arg(long)]
    pub(in crate::cli) users: Option<Grant>,
    /// What it may do with organizational units.
    #[arg(long)]
    pub(in crate::cli) units: Option<Grant>,
    /// What it may do with groups and who is in them.
    #[arg(long)]
    pub(in crate::cli) groups: Option<Grant>,
    /// Whether it may set passwords.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) passwords: Option<bool>,
    /// Whether what it writes is pushed to it as well. Say false only for an application that writes each change into
    /// its own copy before its next call. Where something earlier of the same subject is still on its way, its write is
    /// pushed to it all the same; and by SCIM always.
    #[arg(long, value_name = "BOOL")]
    pub(in crate::cli) echo: Option<bool>,
    /// How many calls it may make a second, 1 to 10000. It holds for the access tokens that are given from now on.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) requests_per_second: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ClientSecret {
    /// Make a client secret, which is shown once.
    Create {
        /// The application's id or name.
        app: String,
        /// For how many days it is good, 1 to 366.
        #[arg(long, value_name = "N", default_value_t = tokens::DAYS, conflicts_with = "never")]
        days: u32,
        /// Let it never expire.
        #[arg(long)]
        never: bool,
    },
    /// Make a client secret good for nothing, and the access tokens that were given for it.
    Revoke {
        /// The application's id or name.
        app: String,
        /// The secret's id, or how it begins.
        secret: String,
    },
}
