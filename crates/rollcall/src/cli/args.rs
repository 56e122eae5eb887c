//! What can be typed.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

/// Keeps every application's user directory in step with yours.
///
/// `rollcall demo` shows the whole of it in half a minute. In earnest: `rollcall serve` runs the hub,
/// `rollcall import` fills the directory, `rollcall app create` adds an application, `rollcall app test`
/// proves its endpoint, and `rollcall app sync` pushes everything. From then on every change is pushed as
/// it happens.
#[derive(Debug, Parser)]
///
/// Exit codes: 0 done, 1 failed, 2 wrong use, 3 done in part (entries of an import were refused, a step of a
/// test failed, a synchronization was refused in part).
#[command(name = "rollcall", version)]
pub(super) struct Arguments {
    /// The configuration file. Environment variables (ROLLCALL_…) take precedence over it, and flags over
    /// those.
    #[arg(long, global = true, value_name = "FILE", env = "ROLLCALL_CONFIG")]
    pub(super) config: Option<PathBuf>,
    /// The folder for the database, the master key and the administrator's token.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(super) data_dir: Option<PathBuf>,
    /// The database: sqlite:PATH or postgres://USER@HOST/DATABASE. Write passwords into a file
    /// (database_file) rather than here.
    #[arg(long, global = true, value_name = "URL")]
    pub(super) database: Option<String>,
    /// Print JSON.
    #[arg(long, global = true)]
    pub(super) json: bool,
    #[command(subcommand)]
    pub(super) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Run the hub: deliver changes, serve the public keys and the administrator's API.
    Serve(Serve),
    /// Show it: a hub and a receiving application in one process, with a company of 1,000 people.
    Demo(Demo),
    Import(super::files::Import),
    Export(super::files::Export),
    /// Applications: who receives changes, which, and how.
    App {
        #[command(subcommand)]
        verb: App,
    },
    /// Users.
    User {
        #[command(subcommand)]
        verb: User,
    },
    /// Organizational units.
    Unit {
        #[command(subcommand)]
        verb: Unit,
    },
    /// Groups.
    Group {
        #[command(subcommand)]
        verb: Group,
    },
    /// Show the change log, or what was sent to an application.
    Log(Log),
    Audit(super::audit::Audit),
    Why(Why),
    Open(Open),
    /// Write the whole database to a file, while the hub runs.
    ///
    /// The file fits SQLite and PostgreSQL alike. Keep the master key apart from it: without that key, what is
    /// sealed in the file cannot be used, with it, it can.
    Backup {
        /// The file.
        file: PathBuf,
    },
    /// Restore a backup into a new, empty database.
    ///
    /// Put the master key of that time into its place first. When the hub starts, it synchronizes every
    /// application in full, because changes may have reached them that the backup does not know of.
    Restore {
        /// The file.
        file: PathBuf,
    },
    /// Check configuration, files, database, clock, endpoints and the running hub, and say what to do.
    Doctor,
    /// Print an example of a configuration file: every setting with its description and default.
    Example,
    /// Print a script that completes commands in a shell: rollcall completions bash > FILE.
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder.
    Man {
        /// The folder.
        folder: PathBuf,
    },
    Bench(super::bench::Bench),
}

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The address on which to listen.
    #[arg(long)]
    pub(super) listen: Option<SocketAddr>,
    /// The address under which applications reach the hub.
    #[arg(long, value_name = "URL")]
    pub(super) public_url: Option<String>,
    /// How much to log: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL")]
    pub(super) log_level: Option<String>,
    /// The form of the log.
    #[arg(long, value_enum)]
    pub(super) log_format: Option<crate::config::LogFormat>,
}

#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Run through, compare both sides, and end: exit code 0 if they are equal.
    #[arg(long)]
    pub(super) once: bool,
    /// Use this file (CSV, LDIF or JSON lines; see `rollcall import --help`) instead of the bundled company.
    #[arg(long, value_name = "FILE")]
    pub(super) import: Option<PathBuf>,
    /// The hub's port; the application listens on the next one. 0 takes free ones.
    #[arg(long, default_value_t = 8750)]
    pub(super) port: u16,
}

#[derive(Debug, Subcommand)]
pub(super) enum App {
    /// Add an application.
    Create {
        /// Its name.
        name: String,
        /// The receiving URL.
        #[arg(long)]
        url: String,
        #[command(flatten)]
        scope: ScopeArgs,
        #[command(flatten)]
        push: PushArgs,
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
        /// Another receiving URL.
        #[arg(long)]
        url: Option<String>,
        #[command(flatten)]
        push: PushArgs,
    },
    /// Change the synchronization scope: show who enters and who leaves, then do it with --confirm.
    Scope(super::app::scope::ScopeChange),
    /// Change which events are wanted: show it, then do it with --confirm.
    Subscription(super::app::scope::SubscriptionChange),
    /// Test Connectivity: send a test event and report every step.
    Test {
        /// Its id or name.
        app: String,
    },
    /// Synchronize: push everything in scope.
    Sync {
        /// Its id or name.
        app: String,
        /// Do not wait for the end.
        #[arg(long)]
        detach: bool,
    },
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
pub(super) enum Key {
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
        #[arg(long, default_value_t = 24.0, conflicts_with = "now")]
        after_hours: f64,
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
}

#[derive(Debug, Args)]
pub(super) struct ScopeArgs {
    /// An organizational unit in scope, with all below it: its id or path. `/` is everything. Repeat for
    /// several. Without any unit or group: everything.
    #[arg(long = "unit", value_name = "UNIT")]
    pub(super) units: Vec<String>,
    /// A group in scope, with its members: its id or name. Repeat for several.
    #[arg(long = "group", value_name = "GROUP")]
    pub(super) groups: Vec<String>,
    /// An event to subscribe to, such as ud:user:create. Repeat for several. Without any: all.
    #[arg(long = "event", value_name = "TYPE")]
    pub(super) events: Vec<String>,
}

#[derive(Debug, Default, Args)]
pub(super) struct PushArgs {
    /// Encrypt events with a new key, which is shown once.
    #[arg(long, conflicts_with_all = ["encryption_key_file", "no_encryption"])]
    pub(super) encrypt: bool,
    /// Encrypt events with the key in this file: 64 hexadecimal digits.
    #[arg(long, value_name = "FILE", conflicts_with = "no_encryption")]
    pub(super) encryption_key_file: Option<PathBuf>,
    /// Do not encrypt.
    #[arg(long)]
    pub(super) no_encryption: bool,
    /// Send new passwords along: true or false. Needs encryption or https.
    #[arg(long, value_name = "BOOL")]
    pub(super) password_sync: Option<bool>,
    /// Events in one request, 1 to 500.
    #[arg(long)]
    pub(super) max_events: Option<u32>,
    /// Bytes of event data in one request.
    #[arg(long)]
    pub(super) max_bytes: Option<u32>,
    /// Requests in flight at once, 1 to 32.
    #[arg(long)]
    pub(super) lanes: Option<u32>,
    /// Requests per second, at most; 0 for no limit.
    #[arg(long)]
    pub(super) requests_per_second: Option<u32>,
}

#[derive(Debug, Subcommand)]
pub(super) enum User {
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
        /// Read a password from the standard input.
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
        /// Only those after this username.
        #[arg(long)]
        after: Option<String>,
        /// At most this many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
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
    },
    /// Set the password, read from the standard input.
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
        /// For how many minutes; without it until unlocked.
        #[arg(long)]
        minutes: Option<i64>,
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
pub(super) struct UserFields {
    /// The email address.
    #[arg(long)]
    pub(super) email: Option<String>,
    /// The phone number's country digits, such as 86.
    #[arg(long)]
    pub(super) phone_region: Option<String>,
    /// The phone number's digits.
    #[arg(long)]
    pub(super) phone_number: Option<String>,
    /// For people.
    #[arg(long)]
    pub(super) description: Option<String>,
    /// The id in the source that the user comes from.
    #[arg(long)]
    pub(super) external_id: Option<String>,
    /// When the account ends by itself, such as 2027-01-31T00:00:00Z; `never` ends that.
    #[arg(long)]
    pub(super) expires: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(super) enum Unit {
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
    /// List the units directly below one.
    List {
        /// Its id or path.
        #[arg(default_value = "/")]
        unit: String,
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
pub(super) enum Group {
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
    },
    /// List all groups.
    List,
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

/// Say why a user did or did not arrive at an application.
///
/// One page: whether the user is in scope and through what, every change and what became of it, what the
/// application answered, and what to do.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// The user: the id, username or email address; the id for somebody who was deleted.
    pub(super) user: String,
    /// The application: its id or name.
    pub(super) app: String,
}

/// Open a captured event as the receiver would
///
/// Reads the body of a request ({"event":"…"}) or the JWT alone from the standard input, and prints the
/// header, the claims and every layer inside as JSON, or the exact reason why it is refused.
///
/// rollcall open --jwks https://hub.example/v2/…/jwks --app-id app_… --key-file key.hex < event.json
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct Open {
    /// The public keys: a file or an address.
    #[arg(long, value_name = "FILE|URL")]
    pub(super) jwks: String,
    /// The application's id, for which the event must be meant.
    #[arg(long)]
    pub(super) app_id: String,
    /// The file that holds the encryption key, in hexadecimal digits; -: the first line of the standard input,
    /// before the event. Left out: the environment variable ROLLCALL_OPEN_KEY, if it is set.
    #[arg(long, value_name = "FILE")]
    pub(super) key_file: Option<PathBuf>,
    /// Judge the times as of this moment, such as 2027-01-31T12:00:00Z; left out: now.
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Show the requests to this application instead of the changes.
    #[arg(long)]
    pub(super) app: Option<String>,
    /// Only what concerns this user (id, username or email address) or another subject (id).
    #[arg(long, conflicts_with = "app")]
    pub(super) subject: Option<String>,
    /// Only changes of these kinds, such as ud:user:create; a part of the name suffices. Repeat for several.
    #[arg(long, conflicts_with = "app")]
    pub(super) kind: Vec<String>,
    /// Only changes by this actor, such as cli or import:people.csv; a part of the name suffices.
    #[arg(long, conflicts_with = "app")]
    pub(super) actor: Option<String>,
    /// With --app: only requests that did not simply succeed.
    #[arg(long, requires = "app")]
    pub(super) failed: bool,
    /// Go on as more comes; end with Ctrl-C.
    #[arg(long, short)]
    pub(super) follow: bool,
    /// How many of the newest to show first.
    #[arg(long, default_value_t = 20)]
    pub(super) last: usize,
}
