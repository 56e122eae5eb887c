//! What a developer takes from the page *Receive*: files with this application's values, receivers that work, and an
//! account of their own.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use rollcall::access::Role;
use rollcall::accounts;
use rollcall::application::{self, Scope, SettingsPatch};
use rollcall::hub::Hub;
use rollcall_protocol::EncryptionKey;

use super::Served;
use super::forms::Form;
use super::sample::fill;
use crate::world::{add_application, on_both, open_hub};

/// A receiver that was handed out, running.
struct Sample {
    process: Child,
    port: u16,
}

impl Drop for Sample {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Sample {
    /// Starts a sample with what an environment file says. The error says what is missing.
    fn start(program: &str, file: &std::path::Path, environment: &str, key: &str) -> Result<Self, String> {
        let mut command = Command::new(program);
        command.arg(file).env("ROLLCALL_PORT", "0");
        for line in environment.lines().filter(|line| !line.starts_with('#')) {
            let (name, value) = line.split_once('=').unwrap();
            command.env(
                name,
                if name == "ROLLCALL_ENCRYPTION_KEY" {
                    key
                } else {
                    value
                },
            );
        }
        let started = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let mut process = started.map_err(|error| format!("{program}: {error}"))?;
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap())
            .read_line(&mut line)
            .map_err(|error| error.to_string())?;
        let port = line.trim().strip_prefix("listening on port ");
        let port = port.and_then(|port| port.parse().ok());
        let Some(port) = port else {
            let _ = process.wait();
            return Err(format!("{program} cannot run {}", file.display()));
        };
        Ok(Self { process, port })
    }
}

/// Sends a test event by the page; says what came of it.
async fn tested(served: &Served, id: &str) -> String {
    let page = format!("/console/applications/{id}/receive");
    let path = format!("/console/applications/{id}/test");
    let form = Form::of(&served.page(&page).await, &path);
    served.accepted(form).await.1
}

async fn sends_to(hub: &Hub, id: &str, port: u16, key: Option<&EncryptionKey>) {
    let settings = SettingsPatch {
        url: Some(format!("http://127.0.0.1:{port}/events")),
        ..SettingsPatch::default()
    };
    let mut commands = vec![application::Command::Update {
        id: id.to_owned(),
        name: None,
        secret: None,
        settings,
    }];
    if let Some(key) = key {
        let (id, key) = (id.to_owned(), key.clone());
        commands.push(application::Command::SetEncryptionKey { id, key });
    }
    let caller = rollcall::access::Caller::system("test");
    hub.apply_to_application(caller, commands).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_receivers_that_are_handed_out_work() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    let app = add_application(&hub, "Wiki", "https://wiki.example/", None, Scope::everything()).await;
    let folder = tempfile::tempdir().unwrap();
    let file = async |name: &str| {
        let path = format!("/console/applications/{}/receive/{name}", app.id);
        let answer = served.ask(&path, "en").await;
        assert_eq!(answer.status(), 200, "{name}");
        let kept = answer.headers()["content-disposition"]
            .to_str()
            .unwrap()
            .to_owned();
        assert_eq!(kept, format!("attachment; filename=\"{name}\""));
        answer.text().await.unwrap()
    };
    for name in ["PROTOCOL.md", "RECEIVING.md", "rollcall-mirror.toml"] {
        assert!(file(name).await.len() > 100, "{name}");
    }
    let path = format!("/console/applications/{}/receive/secrets", app.id);
    assert_eq!(served.ask(&path, "en").await.status(), 404);
    let key = EncryptionKey::from_hex(&"5c".repeat(32)).unwrap();
    for (program, name) in [("node", "receiver.mjs"), ("python3", "receiver.py")] {
        let place = folder.path().join(name);
        std::fs::write(&place, file(name).await).unwrap();
        // The hub's address in the file is the one under which everybody reaches it.
        let environment = file("rollcall.env").await;
        let own = environment.replace("https://rollcall.example.com", &served.address);
        assert_ne!(own, environment);
        let sample = match Sample::start(program, &place, &own, "") {
            Ok(sample) => sample,
            Err(missing) => {
                rollcall_db::testing::did_not_run(program, &missing);
                continue;
            }
        };
        sends_to(&hub, &app.id, sample.port, None).await;
        let text = tested(&served, &app.id).await;
        assert!(text.contains("The connection works<"), "{name}: {text}");

        // What is meant for another application is refused.
        let other = own.replace(&app.id, "app_of_somebody_else");
        let wrong = other.replace("/app_of_somebody_else/", &format!("/{}/", app.id));
        let stranger = Sample::start(program, &place, &wrong, "").unwrap();
        sends_to(&hub, &app.id, stranger.port, None).await;
        let text = tested(&served, &app.id).await;
        assert!(text.contains("The connection does not work"), "{name}: {text}");
    }
    for (program, name) in [("node", "receiver.mjs"), ("python3", "receiver.py")] {
        let place = folder.path().join(name);
        sends_to(&hub, &app.id, 1, Some(&key)).await;
        let environment = file("rollcall.env").await;
        assert!(
            environment.contains("ROLLCALL_ENCRYPTION_KEY=\n"),
            "{environment}"
        );
        let own = environment.replace("https://rollcall.example.com", &served.address);
        for (hex, says) in [
            (key.to_hex().to_string(), "The connection works<"),
            ("11".repeat(32), "The connection does not work"),
        ] {
            let Ok(sample) = Sample::start(program, &place, &own, &hex) else {
                continue;
            };
            sends_to(&hub, &app.id, sample.port, None).await;
            let text = tested(&served, &app.id).await;
            assert!(text.contains(says), "{name} {hex}: {text}");
        }
    }
}

#[test]
fn an_invitation_makes_somebody_who_owns_this_application_alone() {
    on_both("console_invitation", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let path = format!("/console/applications/{}/invite", sample.wiki);
        let form = Form::of(&served.page(&path).await, &path);
        let text = served
            .refused(form.clone().fill("username", "ada lovelace"))
            .await;
        assert!(text.contains("id=\"username-wrong\"") && text.contains("value=\"ada lovelace\""));
        let answer = form.clone().fill("username", "dev").send(&served).await;
        assert_eq!(answer.status(), 200);
        let text = answer.text().await.unwrap();
        assert!(text.contains("The username is dev"), "{text}");
        let account = hub.db.read(|tx| accounts::find(tx, "dev")).await.unwrap();
        assert_eq!(account.role, Role::ApplicationOwner([sample.wiki.clone()].into()));
        let text = served.refused(form.fill("username", "DEV")).await;
        assert!(text.contains("There is an account “"));

        let owner = Served::start(&hub, Some(account.role)).await;
        let text = owner
            .page(&format!("/console/applications/{}/receive", sample.wiki))
            .await;
        assert!(!text.contains("/invite\"") && text.contains("receiver.mjs"));
        assert_eq!(owner.ask(&path, "en").await.status(), 403);
    });
}
