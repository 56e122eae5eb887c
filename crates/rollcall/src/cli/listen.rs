//! `rollcall listen`: whom to believe, where to listen, and what is said before and after. The listening itself is
//! `crate::listen`.

use std::io::IsTerminal as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use reqwest::Url;
use rollcall_protocol::{EncryptionKey, KeySet};
use rollcall_receiver::{HttpJwks, KeySource, Mirror};
use rollcall_server::StopSignals;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use zeroize::Zeroizing;

use super::args;
use super::backend::{Backend, Changes};
use super::failure::Refusal;
use super::output::{IN_PART, Output, line, note};
use crate::application::{Application, Encryption, SettingsPatch};
use crate::clock::Clock;
use crate::instance;
use crate::listen::{self, Behaviour, Form, Forward, Options, Paint, Play, Tally, Trust, Verified};

/// Where it listens unless it is told otherwise.
const PORT: u16 = 8_751;

/// How long the mirror has to finish what is queued, at the end.
const CLOSE_WITHIN: Duration = Duration::from_secs(5);

/// Runs the command; `backend` is the hub of `--app`.
pub(super) async fn run(
    out: &Output,
    arguments: &args::Listen,
    backend: Option<&Backend>,
) -> Result<ExitCode> {
    let clock = Clock::system();
    let source = source(arguments, backend).await?;
    let forward = arguments
        .forward_to
        .as_deref()
        .map(|url| Forward::to(url, clock.clone()))
        .transpose()
        .map_err(|error| {
            Refusal::wrong_use(
                format!("--forward-to: {error}"),
                "write it whole, such as http://127.0.0.1:3000/events",
            )
        })?;
    let listener = bind(arguments.listen).await?;
    let address = listener.local_addr()?;
    refuse_a_loop(arguments.forward_to.as_deref(), address)?;
    let url = format!("http://{}{}", instance::for_others(address), arguments.path);
    let mirror = match &arguments.keep {
        Some(database) => Some(
            Mirror::open(database)
                .await
                .context("--keep: the database cannot be opened")?,
        ),
        None => None,
    };
    let mut stop = StopSignals::listen()?;
    let hub = match (backend, source.application) {
        (Some(backend), Some(application)) => Some(OfHub {
            backend,
            before: application.settings.url().to_owned(),
            application,
            url: url.clone(),
        }),
        _ => None,
    };
    let heading = Heading {
        arguments,
        url: &url,
        source: &source.shown,
        forward: forward.as_ref().map(Forward::url),
    };
    heading.tell(out, hub.as_ref()).await?;
    if arguments.set_url
        && let Some(hub) = &hub
    {
        hub.point_here().await?;
    }
    let behaviour = arguments.answer.unwrap_or_default();
    let options = Options {
        path: arguments.path.clone(),
        trust: source.trust,
        mirror: mirror.clone(),
        forward,
        play: Play::new(
            behaviour,
            arguments.answer_for.clone(),
            arguments.answer_times,
            arguments.answer_after,
        ),
        count: arguments.wanted(),
        form: form(out),
        clock,
    };
    let within = arguments.within;
    let stopped = async move {
        tokio::select! {
            () = stop.next() => {}
            () = after(within) => {}
        }
        stop.end_at_the_next();
    };
    let listened = listen::run(listener, options, Box::new(line), stopped).await;
    if arguments.set_url
        && let Some(hub) = &hub
    {
        hub.point_back().await;
    }
    if let Some(mirror) = mirror
        && tokio::time::timeout(CLOSE_WITHIN, mirror.close()).await.is_err()
    {
        note("the mirror's database did not finish in time; what was not answered is sent again");
    }
    let tally = listened.context("the public keys cannot be used")?;
    sum_up(out, &tally);
    ended(arguments.wanted(), &tally)
}

async fn after(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}

fn form(out: &Output) -> Form {
    let colours =
        std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
    match (out.json, colours) {
        (true, _) => Form::Json,
        (false, true) => Form::People(Paint::Colours),
        (false, false) => Form::People(Paint::Plain),
    }
}

/// The address that was typed, or the usual one, or a free one.
async fn bind(typed: Option<SocketAddr>) -> Result<TcpListener> {
    if let Some(address) = typed {
        return TcpListener::bind(address).await.map_err(|error| {
            let hint = "name another one with --listen, or port 0 for a free one";
            Refusal::of(
                "cannot_listen",
                format!("cannot listen on {address}: {error}"),
                hint,
            )
            .into()
        });
    }
    match TcpListener::bind(("127.0.0.1", PORT)).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Ok(TcpListener::bind(("127.0.0.1", 0))
                .await
                .context("no free port")?)
        }
        bound => bound.with_context(|| format!("cannot listen on 127.0.0.1:{PORT}")),
    }
}

/// A request that is handed on to the listener itself would go round for ever.
fn refuse_a_loop(forward_to: Option<&str>, here: SocketAddr) -> Result<()> {
    let Some(url) = forward_to.and_then(|url| Url::parse(url).ok()) else {
        return Ok(());
    };
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let is_here = match host.parse::<std::net::IpAddr>() {
        Ok(ip) => ip.is_loopback() || ip.is_unspecified() || ip == here.ip(),
        Err(_) => host == "localhost",
    };
    if is_here && url.port_or_known_default() == Some(here.port()) {
        bail!(Refusal::wrong_use(
            format!("--forward-to {url} leads back here"),
            "name the address on which your own program listens",
        ));
    }
    Ok(())
}

/// Whom to believe.
struct Source {
    trust: Trust,
    /// The application, if a hub knows it.
    application: Option<Application>,
    shown: Shown,
}

/// What is said of it.
#[derive(Default)]
struct Shown {
    application_id: Option<String>,
    name: Option<String>,
    jwks: Option<String>,
    keys: Keys,
    encrypted: bool,
}

/// What is known of the public keys before anything has come.
enum Keys {
    /// How many there are.
    Found(usize),
    /// Nobody answers at their address: a sender that serves them itself comes later, perhaps.
    Later,
}

impl Default for Keys {
    fn default() -> Self {
        Self::Found(0)
    }
}

async fn source(arguments: &args::Listen, backend: Option<&Backend>) -> Result<Source> {
    let key = arguments
        .encryption_key_file
        .as_deref()
        .map(read_key)
        .transpose()?;
    if let (Some(app), Some(backend)) = (&arguments.app, backend) {
        return of_hub(backend, app, key).await;
    }
    if let (Some(jwks), Some(application_id)) = (&arguments.jwks, &arguments.application_id) {
        return of_document(jwks, application_id, key).await;
    }
    if !arguments.unverified {
        bail!(Refusal::wrong_use(
            "whom to believe is not said: requests are verified with public keys, for one application",
            "name an application of the hub (--app NAME; with --server and --token-file of a hub elsewhere), or what \
             IDaaS shows (--jwks URL --application-id ID); or print without verifying (--unverified)",
        ));
    }
    let encrypted = key.is_some();
    Ok(Source {
        trust: Trust::Unverified(key),
        application: None,
        shown: Shown {
            encrypted,
            ..Shown::default()
        },
    })
}

fn read_key(file: &Path) -> Result<EncryptionKey> {
    let from = || format!("--encryption-key-file {}", file.display());
    let text = Zeroizing::new(std::fs::read_to_string(file).with_context(from)?);
    EncryptionKey::from_hex(&text).map_err(|error| {
        let hint = "the file holds the key and nothing else";
        Refusal::wrong_use(format!("{}: {error}", from()), hint).into()
    })
}

async fn of_hub(backend: &Backend, app: &str, typed: Option<EncryptionKey>) -> Result<Source> {
    let receiving = backend.receiving(app).await?;
    let application = receiving.application;
    if !application.settings.mode.name().is_signed() {
        bail!(Refusal::wrong_use(
            format!("{} takes SCIM, and no events", application.name),
            "name an application in the event callback mode; rollcall app list shows those there are",
        ));
    }
    let key = match application.settings.encryption() {
        Encryption::Off => None,
        Encryption::Required => match typed.or(receiving.encryption_key) {
            Some(key) => Some(key),
            None => bail!(Refusal::wrong_use(
                format!(
                    "events for {} are encrypted, and a hub elsewhere tells nobody the key",
                    application.name
                ),
                "name the file that holds it with --encryption-key-file",
            )),
        },
    };
    let keys = count_keys(&receiving.keys).await.with_context(|| {
        format!(
            "the public keys of {} at {}",
            application.name, receiving.jwks_url
        )
    })?;
    Ok(Source {
        shown: Shown {
            application_id: Some(application.id.clone()),
            name: Some(application.name.clone()),
            jwks: Some(receiving.jwks_url),
            keys: Keys::Found(keys),
            encrypted: key.is_some(),
        },
        trust: Trust::Verified(Verified {
            keys: receiving.keys,
            application_id: application.id.clone(),
            instance_id: receiving.instance_id,
            encryption_key: key,
        }),
        application: Some(application),
    })
}

async fn of_document(jwks: &str, application_id: &str, key: Option<EncryptionKey>) -> Result<Source> {
    let is_address = jwks.starts_with("http://") || jwks.starts_with("https://");
    let keys = match is_address {
        true => KeySource::Endpoint(std::sync::Arc::new(
            HttpJwks::new(jwks).map_err(anyhow::Error::msg)?,
        )),
        false => {
            KeySource::Document(std::fs::read_to_string(jwks).with_context(|| format!("--jwks {jwks}"))?)
        }
    };
    let found = match &keys {
        KeySource::Endpoint(endpoint) => endpoint.fetch().await,
        KeySource::Document(text) => Ok(text.clone()),
    };
    let known = match found {
        Ok(document) => Keys::Found(count(&document).with_context(|| format!("--jwks {jwks}"))?),
        Err(_) => Keys::Later,
    };
    Ok(Source {
        shown: Shown {
            application_id: Some(application_id.to_owned()),
            name: None,
            jwks: Some(jwks.to_owned()),
            keys: known,
            encrypted: key.is_some(),
        },
        trust: Trust::Verified(Verified {
            keys,
            application_id: application_id.to_owned(),
            instance_id: None,
            encryption_key: key,
        }),
        application: None,
    })
}

/// How many keys there are, so that a wrong address is noticed before anything comes.
async fn count_keys(keys: &KeySource) -> Result<usize> {
    let document = match keys {
        KeySource::Document(text) => text.clone(),
        KeySource::Endpoint(endpoint) => endpoint.fetch().await.map_err(anyhow::Error::msg)?,
    };
    count(&document)
}

fn count(document: &str) -> Result<usize> {
    let count = KeySet::from_json(document)?.len();
    if count == 0 {
        bail!("the document has no key for signatures");
    }
    Ok(count)
}

/// The application at its hub, and where its events went before.
struct OfHub<'a> {
    backend: &'a Backend,
    application: Application,
    before: String,
    url: String,
}

impl OfHub<'_> {
    async fn set(&self, url: &str) -> Result<Vec<String>> {
        let changes = Changes {
            name: None,
            settings: SettingsPatch {
                url: Some(url.to_owned()),
                ..SettingsPatch::default()
            },
            key: None,
            secret: None,
        };
        let changed = self
            .backend
            .update_application(&self.application.id, changes)
            .await?;
        Ok(changed.notes)
    }

    async fn point_here(&self) -> Result<()> {
        let notes = self.set(&self.url).await.context("--set-url")?;
        note(&format!(
            "{} receives at {} now; at the end it receives at {} again",
            self.application.name, self.url, self.before
        ));
        // Beside the database the heading has said what concerns this address.
        for text in notes.iter().filter(|_| self.backend.dialect().is_none()) {
            note(&format!("note: {text}"));
        }
        Ok(())
    }

    /// Sets the URL back, unless somebody has set another one meanwhile.
    async fn point_back(&self) {
        let set_back = async {
            let now = self.backend.application(&self.application.id).await?;
            if now.settings.url() == self.url {
                self.set(&self.before).await?;
            }
            Ok::<_, anyhow::Error>(now.settings.url() == self.url)
        };
        match set_back.await {
            Ok(true) => note(&format!(
                "{} receives at {} again",
                self.application.name, self.before
            )),
            Ok(false) => note(&format!(
                "{} was given another receiving URL meanwhile, which stays",
                self.application.name
            )),
            Err(error) => note(&format!(
                "the receiving URL could not be set back: {error:#}\n  {}",
                self.command(&self.before)
            )),
        }
    }

    /// The command that points the application somewhere.
    fn command(&self, url: &str) -> String {
        let name = &self.application.name;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        let name = match name.chars().all(is_plain) {
            true => name.clone(),
            false => format!("'{}'", name.replace('\'', "'\\''")),
        };
        format!("rollcall app set {name} --url {url}")
    }
}

/// What is said before anything comes.
struct Heading<'a> {
    arguments: &'a args::Listen,
    url: &'a str,
    source: &'a Shown,
    forward: Option<&'a str>,
}

impl Heading<'_> {
    async fn tell(&self, out: &Output, hub: Option<&OfHub<'_>>) -> Result<()> {
        let refusal = match hub {
            Some(hub) => hub.backend.refusal_of(self.url).await?,
            None => None,
        };
        let command = hub
            .filter(|hub| !self.arguments.set_url && hub.before != self.url)
            .map(|hub| hub.command(self.url));
        if out.json {
            line(&self.json(command.as_deref(), refusal.as_deref()).to_string());
            return Ok(());
        }
        line(&self.lines(command.as_deref()));
        if let Some(refusal) = refusal {
            note(&format!("note: {refusal}"));
        }
        Ok(())
    }

    fn json(&self, command: Option<&str>, refusal: Option<&str>) -> Value {
        let source = self.source;
        json!({
            "kind": "listening",
            "url": self.url,
            "verifies": !self.arguments.unverified,
            "applicationId": source.application_id,
            "jwks": source.jwks,
            "encrypted": source.encrypted,
            "forwardTo": self.forward,
            "pointTheHubHere": command,
            "note": refusal,
        })
    }

    fn lines(&self, command: Option<&str>) -> String {
        let source = self.source;
        let mut lines = vec![format!("listening at {}   (Ctrl-C ends)", self.url)];
        let mut say = |what: &str, text: String| lines.push(format!("  {what:<13}{text}"));
        if let Some(id) = &source.application_id {
            let name = source
                .name
                .as_ref()
                .map(|name| format!("{name}, "))
                .unwrap_or_default();
            say("application", format!("{name}{id}"));
        }
        if let Some(jwks) = &source.jwks {
            let keys = match &source.keys {
                Keys::Found(1) => "1 key".to_owned(),
                Keys::Found(count) => format!("{count} keys"),
                Keys::Later => "not there yet: fetched when something comes".to_owned(),
            };
            say("public keys", format!("{jwks} ({keys})"));
        }
        if self.arguments.unverified {
            say(
                "verifies",
                "NOTHING: anybody may have written what is printed".to_owned(),
            );
        }
        let encryption = match (source.encrypted, self.arguments.unverified) {
            (true, false) => "required",
            (true, true) => "with the key that was named",
            (false, _) => "none",
        };
        say("encryption", encryption.to_owned());
        if self.arguments.keep.is_some() {
            say("mirror", "kept".to_owned());
        }
        if let Some(forward) = self.forward {
            say("hands on to", forward.to_owned());
        }
        if let Some(answer) = self.arguments.answer {
            say("answers", self.answer(answer));
        }
        if let Some(command) = command {
            lines.push(format!("to have the hub send here:\n  {command}"));
        }
        lines.join("\n")
    }

    fn answer(&self, behaviour: Behaviour) -> String {
        let what = match behaviour {
            Behaviour::Success => "success".to_owned(),
            Behaviour::Skip => "skippedEvents".to_owned(),
            Behaviour::Retry => "retriedEvents".to_owned(),
            Behaviour::Fail => "failedEvents".to_owned(),
            Behaviour::Error => "status 500".to_owned(),
            Behaviour::Slow => format!("after {} s", self.arguments.answer_after.as_secs_f64()),
            Behaviour::Drop => "nothing, and closes the connection".to_owned(),
        };
        let types: Vec<&str> = self
            .arguments
            .answer_for
            .iter()
            .map(|kind| kind.short())
            .collect();
        let types = match types.is_empty() {
            true => String::new(),
            false => format!(" to {}", types.join(", ")),
        };
        let times = self
            .arguments
            .answer_times
            .map(|times| format!(", {times} times, and then success"))
            .unwrap_or_default();
        format!("{what}{types}{times}")
    }
}

fn sum_up(out: &Output, tally: &Tally) {
    if !out.json {
        line(&format!("\n{}", tally.lines()));
        return;
    }
    let mut told = json!({ "kind": "summary" });
    if let (Value::Object(told), Ok(Value::Object(counts))) = (&mut told, serde_json::to_value(tally)) {
        told.extend(counts);
    }
    line(&told.to_string());
}

fn ended(wanted: Option<u64>, tally: &Tally) -> Result<ExitCode> {
    let Some(wanted) = wanted else {
        return Ok(ExitCode::SUCCESS);
    };
    if tally.events < wanted {
        let came = tally.events;
        bail!(Refusal::of(
            "incomplete",
            format!("{came} of the {wanted} events that were wanted came"),
            "see whether the hub sends here: rollcall app test, or rollcall app show for where delivery stands",
        ));
    }
    Ok(match tally.is_clean() {
        true => ExitCode::SUCCESS,
        false => ExitCode::from(IN_PART),
    })
}
