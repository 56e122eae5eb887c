//! What can be typed after `rollcall user`, `unit` and `group`.

use std::str::FromStr;

use clap::{Args, Subcommand};

use crate::cli::list::Listing;

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum User {
    /// Add a user.
    Create {
        /// The username.
        username: String,
        /// The name for people.
        #[arg(long)]
        display_name: String,
        /// The primary organizational unit: its id or path.
        #[arg(long, default_value = "/")]
        unit: String,
        /// A further unit. Repeat for several.
        #[arg(long)]
        further: Vec<String>,
        #[command(flatten)]
        fields: UserFields,
        /// Give the user a password: asked for on a terminal, or else the first line of the standard input.
        #[arg(long)]
        password_stdin: bool,
    },
    /// Show a user.
    Show {
        /// The id, username or email address.
        user: String,
    },
    /// List users by username.
    List {
        /// Only those of this unit.
        #[arg(long)]
        unit: Option<String>,
        /// Only those in whose username, name, email address or phone number this stands.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Change fields. An empty value empties the field.
    Update {
        /// The id, username or email address.
        user: String,
        /// Another username.
        #[arg(long)]
        username: Option<String>,
        /// Another name for people.
        #[arg(long)]
        display_name: Option<String>,
        #[command(flatten)]
        fields: UserFields,
        /// Take this custom field away. Repeat for several.
        #[arg(long, value_name = "NAME")]
        clear_custom: Vec<String>,
    },
    /// Set the password: asked for twice on a terminal, or else the first line of the standard input.
    Password {
        /// The id, username or email address.
        user: String,
    },
    /// Let a user sign in.
    Enable {
        /// The id, username or email address.
        user: String,
    },
    /// Keep a user from signing in.
    Disable {
        /// The id, username or email address.
        user: String,
    },
    /// Lock a user.
    Lock {
        /// The id, username or email address.
        user: String,
        /// For how many minutes; left out: until somebody unlocks the user.
        #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
        minutes: Option<u32>,
    },
    /// Unlock a user.
    Unlock {
        /// The id, username or email address.
        user: String,
    },
    /// Put a user into units.
    Move {
        /// The id, username or email address.
        user: String,
        /// The primary organizational unit: its id or path.
        #[arg(long)]
        unit: String,
        /// A further unit. Repeat for several; those not named are left.
        #[arg(long)]
        further: Vec<String>,
    },
    /// Delete a user.
    Delete {
        /// The id, username or email address.
        user: String,
    },
    /// Delete a user and erase the records of it from the log and from everything that remembers.
    Erase {
        /// The id, username or email address; the id for somebody who was deleted.
        user: String,
        /// Do it. It cannot be undone.
        #[arg(long)]
        confirm: bool,
    },
}

#[derive(Debug, Default, Args)]
pub(in crate::cli) struct UserFields {
    /// The email address.
    #[arg(long)]
    pub(in crate::cli) email: Option<String>,
    /// The phone number's country digits, such as 86.
    #[arg(long)]
    pub(in crate::cli) phone_region: Option<String>,
    /// The phone number's digits.
    #[arg(long)]
    pub(in crate::cli) phone_number: Option<String>,
    /// For people.
    #[arg(long)]
    pub(in crate::cli) description: Option<String>,
    /// The id in the source that the user comes from.
    #[arg(long)]
    pub(in crate::cli) external_id: Option<String>,
    /// When the account ends by itself, such as 2027-01-31T00:00:00Z; `never` ends that.
    #[arg(long, value_name = "TIME")]
    pub(in crate::cli) expires: Option<Expiry>,
    /// A field of your own, such as costCentre=4711. Repeat for several; those that are not named stay.
    #[arg(long, value_name = "NAME=VALUE")]
    pub(in crate::cli) custom: Vec<CustomField>,
}

/// When an account ends; `None` if it does not.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Expiry(pub(in crate::cli) Option<i64>);

impl FromStr for Expiry {
    type Err = String;

    /// `never` and the empty text end an expiry.
    fn from_str(text: &str) -> Result<Self, String> {
        if text.is_empty() || text == "never" {
            return Ok(Self(None));
        }
        text.parse::<jiff::Timestamp>()
            .map(|time| Self(Some(time.as_millisecond())))
            .map_err(|_| "write a time such as 2027-01-31T00:00:00Z, or never".to_owned())
    }
}

/// A custom field and its value.
#[derive(Clone, Debug)]
pub(in crate::cli) struct CustomField {
    /// Its name.
    pub(in crate::cli) name: String,
    /// Its value; `None` if it is empty, which takes the field away.
    pub(in crate::cli) value: Option<String>,
}

impl FromStr for CustomField {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((name, value)) if !name.is_empty() => Ok(Self {
                name: name.to_owned(),
                value: Some(value.to_owned()).filter(|value| !value.is_empty()),
            }),
            _ => Err("write NAME=VALUE, such as costCentre=4711".to_owned()),
        }
    }
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Unit {
    /// Add a unit.
    Create {
        /// Its name.
        name: String,
        /// The unit above: its id or path.
        #[arg(long, default_value = "/")]
        parent: String,
    },
    /// Show a unit.
    Show {
        /// Its id or path.
        unit: String,
    },
    /// List the units directly below one, or find units by name.
    List {
        /// Its id or path.
        #[arg(default_value = "/")]
        unit: String,
        /// Instead those at any depth below it in whose name this stands, with their paths.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
    },
    /// Rename a unit.
    Rename {
        /// Its id or path.
        unit: String,
        /// The new name.
        name: String,
    },
    /// Put a unit with everything below it under another one.
    Move {
        /// Its id or path.
        unit: String,
        /// The new parent: its id or path.
        parent: String,
    },
    /// Delete a unit.
    Delete {
        /// Its id or path.
        unit: String,
        /// Also everything below it, and the users whose primary unit goes: show who that is, then do it with
        /// --confirm.
        #[arg(long)]
        cascade: bool,
        /// Do what the plan of this token shows.
        #[arg(long, value_name = "TOKEN", requires = "cascade")]
        confirm: Option<String>,
    },
}

#[derive(Debug, Subcommand)]
pub(in crate::cli) enum Group {
    /// Add a group.
    Create {
        /// Its name.
        name: String,
        /// For people.
        #[arg(long)]
        description: Option<String>,
    },
    /// Show a group with its members.
    Show {
        /// Its id or name.
        group: String,
        /// All members, not only the first 50; --json has all of them.
        #[arg(long)]
        all: bool,
    },
    /// List groups by name.
    List {
        /// Only those in whose name this stands.
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        #[command(flatten)]
        listing: Listing,
    },
    /// Rename a group.
    Rename {
        /// Its id or name.
        group: String,
        /// The new name.
        name: String,
    },
    /// Add users.
    Add {
        /// Its id or name.
        group: String,
        /// Ids, usernames or email addresses.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Remove users.
    Remove {
        /// Its id or name.
        group: String,
        /// Ids, usernames or email addresses.
        #[arg(required = true)]
        users: Vec<String>,
    },
    /// Delete a group; its members stay.
    Delete {
        /// Its id or name.
        group: String,
    },
}
