//! What can be typed.

mod access;
mod app;
mod compare;
mod connection;
mod developer;
mod listen;
mod people;
mod scim;

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

pub(super) use access::{Account, RoleArgs, Session, Token};
pub(super) use app::{App, Key, PushArgs, ScopeArgs};
pub(super) use compare::{CompareArgs, RepairArgs};
pub(super) use connection::{Connection, ConnectionFields, ConnectionToken};
pub(super) use developer::{ClientSecret, DeveloperApi, Grants};
pub(super) use listen::Listen;
pub(super) use people::{Group, Unit, User};
pub(super) use scim::ScimArgs;

/// Under which heading the help of every command shows the options that all of them have.
const GLOBAL: &str = "Global options";

/// The same of those for a hub elsewhere.
const SERVER: &str = "A hub elsewhere";

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    it failed: it does not exist, is refused, or is broken
  2    wrong use: what was typed, or a file, cannot be used
  3    done in part:
       entries of an import were refused
       a step of a test failed
       a synchronization was refused in part, or goes on
       a pushed user was not accepted
       a triggered event was refused, or is wanted again
  141  whoever read the output has gone, as with `| head`

With --json, errors are JSON on the standard error:
  {\"error\": {\"code\": \"not_found\", \"message\": \"…\", \"hint\": \"…\"}}";

/// Keeps every application's user directory in step with yours.
///
/// `rollcall demo` shows the whole of it in half a minute. In earnest: `rollcall serve` runs the hub, `rollcall import`
/// fills the directory, `rollcall app create` adds an application, `rollcall app test` proves its endpoint, and
/// `rollcall app sync` pushes everything. From then on every change is pushed as it happens.
///
/// Commands work on the database of the configuration, whether or not the hub runs. With --server and --token-file
/// they work with a hub elsewhere through its administrator's API, and print the same.
#[derive(Debug, Parser)]
#[command(name = "rollcall", version, max_term_width = 100, after_long_help = EXIT_CODES)]
pub(super) struct Arguments {
    /// The configuration file. Environment variables (ROLLCALL_…) take precedence over it, and flags over those. Left
    /// out: rollcall.toml in the data folder, or else in the working folder, or else, where no data folder is named,
    /// /etc/rollcall/rollcall.toml, if there is one.
    #[arg(long, global = true, value_name = "FILE", env = "ROLLCALL_CONFIG", help_heading = GLOBAL)]
    pub(super) config: Option<PathBuf>,
    /// The folder for the database, the master key and the administrator's token.
    #[arg(long, global = true, value_name = "FOLDER", help_heading = GLOBAL)]
    pub(super) data_dir: Option<PathBuf>,
    /// The database: sqlite:PATH or postgres://USER@HOST/DATABASE. Write passwords into a file (database_file) rather
    /// than here.
    #[arg(long, global = true, value_name = "URL", help_heading = GLOBAL)]
    pub(super) database: Option<String>,
    /// Print JSON, errors too.
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(super) json: bool,
    /// The hub to work with, if it is not this machine's: the address of its administrator's API, such as
    /// https://hub.example. No access to its database is needed.
    #[arg(long, global = true, value_name = "URL", env = "ROLLCALL_SERVER", help_heading = SERVER)]
    pub(super) server: Option<String>,
    /// The file with the token that the hub of --server is shown, which only you may read. `rollcall token create` makes
    /// one, with a role; what the role does not permit is refused.
    #[arg(long, global = true, value_name = "FILE", env = "ROLLCALL_TOKEN_FILE", help_heading = SERVER)]
    pub(super) token_file: Option<PathBuf>,
    /// A file of certificates (PEM) trusted besides the system's authorities.
    #[arg(long, global = true, value_name = "FILE", env = "ROLLCALL_CA_FILE", help_heading = SERVER)]
    pub(super) ca_file: Option<PathBuf>,
    /// Let the token go to another machine over http://, where others on the way can read it. To this machine
    /// (127.0.0.1, ::1, localhost) it may anyway.
    #[arg(long, global = true, help_heading = SERVER)]
    pub(super) plain_http: bool,
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
    /// Accounts of people: who may sign in, and do what.
    Account {
        #[command(subcommand)]
        verb: Account,
    },
    /// Tokens of programs that use the administrator's API.
    Token {
        #[command(subcommand)]
        verb: Token,
    },
    /// Connections: identity providers and other directories that feed this one over SCIM.
    Connection {
        #[command(subcommand)]
        verb: Connection,
    },
    /// Sessions: who is signed in.
    Session {
        #[command(subcommand)]
        verb: Session,
    },
    /// Show the change log, or what was sent to an application.
    Log(Log),
    Audit(super::audit::Audit),
    Why(Why),
    Push(Push),
    Open(Open),
    Listen(Box<Listen>),
    Check(super::check::Check),
    Trigger(super::trigger::Trigger),
    /// Write the whole database to a file, while the hub runs.
    ///
    /// The file fits SQLite and PostgreSQL alike. Keep the master key apart from it: without that key, what is
    /// sealed in the file cannot be used, with it, it can. It is written from the database, and not with --server.
    Backup {
        /// The file.
        file: PathBuf,
    },
    /// Restore a backup into a new, empty database.
    ///
    /// Put the master key of that time into its place first. When the hub starts, it synchronizes every
    /// application in full, because changes may have reached them that the backup does not know of. It is written into
    /// the database, and not with --server.
    Restore {
        /// The file.
        file: PathBuf,
    },
    /// Check configuration, files, database, clock, endpoints and the running hub, and say what to do.
    ///
    /// With --server: whether the hub elsewhere is reached and takes the token, and what it says of its own parts.
    Doctor,
    /// Prove that this machine can run a hub: files, clock, keys, database and delivery, tried out and removed again.
    ///
    /// In a folder of its own beside the data folder's files, a hub and an application with a mirror are started on
    /// loopback addresses, ten users are pushed, and both sides are compared. What is there already is neither read nor
    /// changed, and nothing is left behind. The exit code is 1 if a step fails. `rollcall doctor` looks at the hub that
    /// is there.
    SelfTest,
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
    /// A private network that receiving URLs may lead to, such as 10.1.0.0/16. Repeat for several, or write commas
    /// between them.
    #[arg(long, value_name = "NETWORK", value_delimiter = ',')]
    pub(super) egress_allow: Vec<String>,
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

/// Push one user to an application now, and tell each step: found, in scope, event made, sent, answered.
///
/// The event goes ahead of everything else, behind whatever of this user waits already. A hub has to run (rollcall
/// serve), which sends it. Exit code 0: the application accepted it; 3: it did not, or not yet.
#[derive(Debug, Args)]
pub(super) struct Push {
    /// The user: the id, username or email address, also of somebody who was deleted.
    pub(super) user: String,
    /// The application: its id or name.
    pub(super) app: String,
    /// For how many seconds to wait for the answer.
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    pub(super) wait: u64,
}

/// Say why a user did or did not arrive at an application.
///
/// One page: whether the user is in scope and through what, every change and what became of it, what the
/// application answered, and what to do.
#[derive(Debug, Args)]
pub(super) struct Why {
    /// The user: the id, username or email address, also of somebody who was deleted.
    pub(super) user: String,
    /// The application: its id or name.
    pub(super) app: String,
}

/// Open a captured event as the receiver would.
///
/// Reads the body of a request ({"event":"…"}) or the JWT alone from the standard input, and prints the header, the
/// claims and every layer inside as JSON, or the exact reason why it is refused.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Example:
  rollcall open --jwks https://hub.example/v2/…/jwks --application-id app_… \\
      --encryption-key-file key.hex < event.json")]
pub(super) struct Open {
    /// The public keys: a file or an address.
    #[arg(long, value_name = "FILE|URL")]
    pub(super) jwks: String,
    /// The application's id, for which the event must be meant.
    #[arg(long)]
    pub(super) application_id: String,
    /// The file that holds the encryption key, in hexadecimal digits; -: the first line of the standard input,
    /// before the event. Left out: the environment variable ROLLCALL_OPEN_KEY, if it is set.
    #[arg(long, value_name = "FILE")]
    pub(super) encryption_key_file: Option<PathBuf>,
    /// Judge the times as of this moment, such as 2027-01-31T12:00:00Z; left out: now.
    #[arg(long, value_name = "TIME")]
    pub(super) at: Option<jiff::Timestamp>,
}

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Show the requests to this application instead of the changes.
    #[arg(long)]
    pub(super) app: Option<String>,
    /// Only what concerns this user (id, username or email address, also of somebody who was deleted) or another
    /// subject (id).
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
    /// How many of the newest to show first, of those that are wanted. Left out: 20; with --subject: all.
    #[arg(long, value_name = "N")]
    pub(super) last: Option<usize>,
    /// All of them.
    #[arg(long, conflicts_with = "last")]
    pub(super) all: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;
    use clap::builder::StyledStr;

    use super::*;

    /// A line break of its own would stand in the middle of a line that is wrapped at another width.
    fn breaks(text: Option<&StyledStr>) -> bool {
        let text = text.map(ToString::to_string).unwrap_or_default();
        text.split("\n\n").any(|paragraph| paragraph.contains('\n'))
    }

    fn look(command: &clap::Command, path: &str) {
        let path = format!("{path} {}", command.get_name());
        assert!(!breaks(command.get_about()), "{path}");
        assert!(!breaks(command.get_long_about()), "{path}");
        for argument in command.get_arguments() {
            let id = argument.get_id();
            assert!(!breaks(argument.get_help()), "{path} {id}");
            assert!(!breaks(argument.get_long_help()), "{path} {id}");
            let is_global = argument.is_global_set();
            let heading = argument.get_help_heading();
            let is_common = matches!(heading, Some(GLOBAL | SERVER));
            assert!(
                is_common == is_global && (is_common || matches!(heading, None | Some(scim::SCIM))),
                "{path} {id}"
            );
        }
        for below in command.get_subcommands() {
            look(below, &path);
        }
    }

    #[test]
    fn help_is_wrapped_at_any_width_and_common_options_have_a_section_of_their_own() {
        let mut command = Arguments::command();
        command.build();
        look(&command, "");
    }
}
