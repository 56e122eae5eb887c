//! What can be typed after `rollcall account`, `token` and `session`.

use clap::{ArgGroup, Args, Subcommand};

use crate::access::RoleName;
use crate::accounts::tokens;

/// What somebody may do.
#[derive(Debug, Args)]
pub(in crate::cli) struct RoleArgs {
    /// administrator: everything. operator: sees directory and applications, tests, synchronizes, resends and skips.
    /// auditor: sees everything, the audit log too, and changes nothing. application_owner: what an operator does, for
    /// the applications named with --app, and sees of the directory what is in their scopes.
    #[arg(long, value_enum, value_name = "ROLE", hide_possible_values = true)]
    pub(in crate::cli) role: RoleName,
    /// An application of an application owner: its id or name. Repeat for several.
    #[arg(long, value_name = "APP")]
    pub(in crate::cli) app: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Account {
    /// Add an account, with a one-time password that is shown once.
    Create {
        /// The name under which somebody signs in.
        name: String,
        #[command(flatten)]
        role: RoleArgs,
        /// The name for people.
        #[arg(long, value_name = "NAME")]
        display_name: Option<String>,
        /// The email address.
        #[arg(long)]
        email: Option<String>,
        /// Choose the first password: asked for on a terminal, or else the first line of the standard input. It has to
        /// be changed at the first sign-in.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Show all accounts.
    List,
    /// Show an account and its sessions.
    Show {
        /// Its id or name.
        account: String,
    },
    /// Let an account do something else.
    SetRole {
        /// Its id or name.
        account: String,
        #[command(flatten)]
        role: RoleArgs,
    },
    /// Let nobody sign in to an account any more. Its sessions end.
    Disable {
        /// Its id or name.
        account: String,
    },
    /// Let its owner sign in again.
    Enable {
        /// Its id or name.
        account: String,
    },
    /// Give an account another one-time password, which is shown once. Its sessions end.
    ResetPassword {
        /// Its id or name.
        account: String,
    },
    /// Let the owner of an account sign in at the provider instead of with a password. Its sessions end.
    ///
    /// This is done on the database, and not with --server.
    Link {
        /// Its id or name.
        account: String,
        /// Whom the provider knows the owner as: the claim `sub`.
        #[arg(long)]
        subject: String,
        /// The provider. Left out: that of access.oidc.issuer.
        #[arg(long, value_name = "URL")]
        issuer: Option<String>,
    },
    /// Delete an account.
    Delete {
        /// Its id or name.
        account: String,
        /// Do it.
        #[arg(long)]
        confirm: bool,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Token {
    /// Make a token for a program, which is shown once.
    Create {
        /// What it is for.
        name: String,
        #[command(flatten)]
        role: RoleArgs,
        /// For how many days it is good, 1 to 366.
        #[arg(long, value_name = "N", default_value_t = tokens::DAYS, conflicts_with = "never")]
        days: u32,
        /// Let it never expire.
        #[arg(long)]
        never: bool,
        /// Make an access key instead, which signs requests of the management API.
        #[arg(long)]
        access_key: bool,
    },
    /// Show all tokens, without what is shown once.
    List,
    /// Make a token good for nothing.
    Revoke {
        /// Its id or name.
        token: String,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Session {
    /// Show who is signed in.
    List {
        /// Only the sessions of this account: its id or name.
        #[arg(long)]
        account: Option<String>,
    },
    /// End sessions.
    #[command(group = ArgGroup::new("which").args(["session", "account"]).required(true))]
    End {
        /// One session: its id.
        session: Option<String>,
        /// All sessions of this account: its id or name.
        #[arg(long)]
        account: Option<String>,
    },
}
