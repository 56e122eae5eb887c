//! What can be typed after `rollcall connection`.

use clap::{ArgAction, Args, Subcommand};

use crate::connection::{TakesOver, tokens};

/// What a connection may be given at any time.
#[derive(Debug, Args)]
pub(in crate::cli) struct ConnectionFields {
    /// Which users it makes its own that are there already: never any; whoever has the same username; whoever has the
    /// same email address. Those of another connection are never taken over.
    #[arg(long, value_enum, value_name = "WHO")]
    pub(in crate::cli) takes_over: Option<TakesOver>,
    /// Hold it to the standard, or let it differ from that as large identity providers do.
    #[arg(long, value_name = "true|false", action = ArgAction::Set)]
    pub(in crate::cli) strict: Option<bool>,
    /// How many requests a second it may send in the long run.
    #[arg(long, value_name = "N")]
    pub(in crate::cli) requests_per_second: Option<u32>,
    /// How a field of the directory is made of a SCIM user, such as username=before(userName, "@"). Repeat for several;
    /// FIELD= sets nothing; fields that are not named keep their expressions, at the beginning the usual ones.
    #[arg(long, value_name = "FIELD=EXPRESSION")]
    pub(in crate::cli) map: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Connection {
    /// Add a connection. Its other end is given the address that is printed, and a token.
    Create {
        /// What it is called, such as Okta.
        name: String,
        /// The unit in which new users come to stand: its id or path.
        #[arg(long)]
        unit: String,
        #[command(flatten)]
        fields: ConnectionFields,
    },
    /// Show all connections.
    List,
    /// Show a connection, its mapping and its tokens.
    Show {
        /// Its id or name.
        connection: String,
    },
    /// Show what a connection changed of late, and what became of each change at each application.
    Changes {
        /// Its id or name.
        connection: String,
        /// Only changes before this position: the one that is named at the end tells how to go on.
        #[arg(long, value_name = "POSITION")]
        before: Option<i64>,
    },
    /// Change a connection.
    Update {
        /// Its id or name.
        connection: String,
        /// Another name.
        #[arg(long)]
        name: Option<String>,
        /// Another unit for new users: its id or path.
        #[arg(long)]
        unit: Option<String>,
        #[command(flatten)]
        fields: ConnectionFields,
        /// Go back to the usual expressions of all fields that --map does not name.
        #[arg(long)]
        clear_map: bool,
    },
    /// Take nothing from a connection any more, for as long as it is disabled.
    Disable {
        /// Its id or name.
        connection: String,
    },
    /// Take from it again.
    Enable {
        /// Its id or name.
        connection: String,
    },
    /// Delete a connection with its tokens. Users and groups that came from it stay.
    Delete {
        /// Its id or name.
        connection: String,
        /// Do it.
        #[arg(long)]
        confirm: bool,
    },
    /// Tokens of a connection: two are good at a time, so that one can be replaced while the other is in use.
    Token {
        #[command(subcommand)]
        verb: ConnectionToken,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum ConnectionToken {
    /// Make a token, which is shown once.
    Create {
        /// The connection: its id or name.
        connection: String,
        /// For how many days it is good, 1 to 366.
        #[arg(long, value_name = "N", default_value_t = tokens::DAYS, conflicts_with = "never")]
        days: u32,
        /// Let it never expire.
        #[arg(long)]
        never: bool,
    },
    /// Make a token good for nothing.
    Revoke {
        /// The connection: its id or name.
        connection: String,
        /// The token's id, or how it begins.
        token: String,
    },
}
