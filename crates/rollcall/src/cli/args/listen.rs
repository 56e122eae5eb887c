//! What can be typed after `rollcall listen`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use rollcall_protocol::EventType;

use crate::listen::Behaviour;

const EXAMPLES: &str = "\
Examples:
  rollcall listen --app Wiki --set-url
    an application of the hub on this machine, which sends
    here from then on, and where it did before at the end

  rollcall listen --app Wiki --server https://hub.example \\
      --token-file token --encryption-key-file wiki.key
    with a hub elsewhere

  rollcall listen --jwks https://HOST/v2/…/jwks \\
      --application-id app_… --encryption-key-file wiki.key
    with Alibaba Cloud IDaaS

  rollcall listen --app Wiki \\
      --forward-to http://127.0.0.1:3000/events
    see what your own program answers

  rollcall listen --app Wiki --answer retry \\
      --answer-for ud:user:create --answer-times 3
    see what the hub does about an application that fails

  rollcall listen --app Wiki --once --within 60 --json
    in a script: wait for an event, for a minute at most

Exit codes:
  0    it was ended, or all events came that were wanted
  1    it could not listen, or fewer events came
  2    wrong use
  3    all came that were wanted, but a request was refused
       besides, or not answered by your own program";

/// Receive events on this machine, and see them.
///
/// A receiver for whoever develops an application: each request is verified and decrypted as an application does it,
/// and each event is printed readably, or as a line of JSON with --json, with what was answered. A request that is
/// refused is printed with the reason and what to do. Passwords are never shown.
///
/// It needs to know whom to believe: an application of a hub (--app, on this machine's database or with --server), or a
/// JWKS document and the application's id (--jwks, --application-id), as IDaaS shows them. Without either, --unverified
/// prints what comes without believing it.
#[derive(Debug, Args)]
#[command(after_long_help = EXAMPLES)]
pub(in crate::cli) struct Listen {
    /// The address on which to listen. Left out: 127.0.0.1:8751, or a free port if that is taken.
    #[arg(long, value_name = "ADDRESS")]
    pub(in crate::cli) listen: Option<SocketAddr>,
    /// The path of the receiving URL.
    #[arg(long, default_value = "/events", value_parser = path)]
    pub(in crate::cli) path: String,
    /// The application of the hub, by its id or name: its public keys, its id and, from the database, its encryption key
    /// are taken from there.
    #[arg(long, value_name = "APP", conflicts_with_all = ["jwks", "application_id", "unverified"])]
    pub(in crate::cli) app: Option<String>,
    /// Have the hub send to this address: the application's receiving URL is set, and set back at the end.
    #[arg(long, requires = "app")]
    pub(in crate::cli) set_url: bool,
    /// The public keys: the address of the JWKS endpoint, or a file with its document.
    #[arg(
        long,
        value_name = "URL|FILE",
        requires = "application_id",
        conflicts_with = "unverified"
    )]
    pub(in crate::cli) jwks: Option<String>,
    /// The application's id, for which events must be meant.
    #[arg(long, value_name = "ID", requires = "jwks")]
    pub(in crate::cli) application_id: Option<String>,
    /// The file that holds the encryption key: 64 hexadecimal digits. With it, events that are not encrypted are
    /// refused.
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) encryption_key_file: Option<PathBuf>,
    /// Verify nothing: print whatever anybody sends, marked as not verified.
    #[arg(long)]
    pub(in crate::cli) unverified: bool,
    /// Keep a mirror of the directory in this database: sqlite:PATH or postgres://USER@HOST/DATABASE. The tables are
    /// those of rollcall-mirror.
    #[arg(long, value_name = "DATABASE", conflicts_with = "unverified")]
    pub(in crate::cli) keep: Option<String>,
    /// Hand each request on to this address, body and headers as they came, and answer what the program there answers.
    /// Requests that are refused are not handed on, and redirects are not followed.
    #[arg(long, value_name = "URL", conflicts_with = "answer")]
    pub(in crate::cli) forward_to: Option<String>,
    /// Play a receiver that answers so.
    #[arg(long, value_enum, value_name = "HOW")]
    pub(in crate::cli) answer: Option<Behaviour>,
    /// Only for events of this type, such as ud:user:create. Repeat for several.
    #[arg(long, value_name = "TYPE", value_parser = event_type, requires = "answer")]
    pub(in crate::cli) answer_for: Vec<EventType>,
    /// Only so many times, and then as a receiver that takes everything: of skip, retry and fail so many events, of the
    /// others so many requests.
    #[arg(long, value_name = "N", requires = "answer")]
    pub(in crate::cli) answer_times: Option<u64>,
    /// How long a slow answer waits. A hub waits for 10 seconds.
    #[arg(long, value_name = "SECONDS", default_value = "15", value_parser = seconds)]
    pub(in crate::cli) answer_after: Duration,
    /// End after one event; the rest of its request is printed too.
    #[arg(long, conflicts_with = "count")]
    pub(in crate::cli) once: bool,
    /// End after so many events; the rest of the last request is printed too.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(in crate::cli) count: Option<u64>,
    /// End after this time, whatever has come.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(in crate::cli) within: Option<Duration>,
}

impl Listen {
    /// After how many events it ends.
    pub(in crate::cli) fn wanted(&self) -> Option<u64> {
        if self.once { Some(1) } else { self.count }
    }
}

/// Reads the path of a receiving URL.
fn path(text: &str) -> Result<String, String> {
    let is_plain = |c: char| c.is_ascii_graphic() && !matches!(c, '{' | '}' | '*' | '?' | '#' | ':');
    match text.starts_with('/') && text.chars().all(is_plain) {
        true => Ok(text.to_owned()),
        false => {
            Err("write a path that begins with /, such as /events, without ?, #, :, * and braces".to_owned())
        }
    }
}

/// Reads a number of seconds, which may be broken; a day at most.
fn seconds(text: &str) -> Result<Duration, String> {
    text.parse::<f64>()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|time| *time <= Duration::from_secs(86_400))
        .ok_or_else(|| "write a number of seconds, such as 15 or 0.5, up to 86400".to_owned())
}

fn event_type(name: &str) -> Result<EventType, String> {
    EventType::parse(name).ok_or_else(|| {
        let known: Vec<_> = EventType::ALL.iter().map(|kind| kind.short()).collect();
        format!("{name:?} is no type of event; there are {}", known.join(", "))
    })
}
