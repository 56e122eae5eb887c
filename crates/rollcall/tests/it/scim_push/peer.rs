//! Service providers that others have written: scim2-server (Python), and one that is made with scimmy-routers (Node.js).

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command as Process, Stdio};

use super::*;

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Scim2Server,
    Scimmy,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Scim2Server, Self::Scimmy];

    /// Where it is; nowhere, if the test does not run.
    pub(super) fn installed(self) -> Option<OsString> {
        let (what, variable) = match self {
            Self::Scim2Server => ("scim2", "ROLLCALL_TEST_SCIM2_SERVER"),
            Self::Scimmy => ("scimmy", "ROLLCALL_TEST_SCIMMY"),
        };
        let installed = std::env::var_os(variable);
        if installed.is_none() {
            let why = format!("{variable} names nothing; cargo xtask test installs it");
            rollcall_db::testing::did_not_run(what, &why);
        }
        installed
    }

    fn command(self, installed: &OsString) -> Process {
        match self {
            Self::Scim2Server => Process::new(installed),
            Self::Scimmy => {
                let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data/scimmy.mjs");
                let mut node = Process::new("node");
                node.arg(script).arg(installed).arg("s3cret");
                node
            }
        }
    }
}

/// It runs as long as this lives.
pub(super) struct Peer {
    process: Child,
    pub(super) base: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    pub(super) async fn start(kind: Kind, installed: OsString) -> Self {
        let started = tokio::task::spawn_blocking(move || match kind {
            Kind::Scim2Server => Self::at_a_port(kind.command(&installed)),
            Kind::Scimmy => Self::that_tells_its_address(kind.command(&installed)),
        });
        started.await.unwrap()
    }

    fn at_a_port(mut command: Process) -> Self {
        // Whoever had the port before gives it back, and nobody else asks for one in between.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        drop(listener);
        command.args(["--port", &port, "--bearer-token", "s3cret"]);
        let mut process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while std::net::TcpStream::connect(format!("127.0.0.1:{port}")).is_err() {
            let ended = process.try_wait().unwrap();
            assert!(ended.is_none(), "it does not start: {ended:?}");
            std::thread::sleep(Duration::from_millis(50));
        }
        Self {
            process,
            base: format!("http://127.0.0.1:{port}/v2"),
        }
    }

    fn that_tells_its_address(mut command: Process) -> Self {
        let mut process = command
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut told = String::new();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        output.read_line(&mut told).unwrap();
        let base = told.trim().to_owned();
        assert!(base.starts_with("http://"), "it does not start: {base}");
        Self { process, base }
    }

    /// Sends it a request, and gives what it answers, as an administrator of the application would.
    pub(super) async fn ask(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let url = format!("{}/{path}", self.base);
        let mut request = reqwest::Client::new()
            .request(method.parse().unwrap(), url)
            .bearer_auth("s3cret");
        if let Some(body) = body {
            let kind = ("content-type", "application/scim+json");
            request = request.header(kind.0, kind.1).body(body.to_string());
        }
        let answer = request.send().await.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{method} {path}: {status}: {text}");
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// All of a kind, page by page.
    pub(super) async fn all(&self, endpoint: &str) -> Vec<Value> {
        let mut all: Vec<Value> = Vec::new();
        loop {
            let path = format!("{endpoint}?startIndex={}&count=100", all.len() + 1);
            let page = self.ask("GET", &path, None).await;
            all.extend(page["Resources"].as_array().cloned().unwrap_or_default());
            if all.len() as u64 >= page["totalResults"].as_u64().unwrap() {
                return all;
            }
        }
    }

    /// Users as they are there: username, name, whether they are active, email address and department.
    pub(super) async fn users(&self) -> BTreeSet<String> {
        let users = self.all("Users").await;
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let line = |user: &Value| {
            format!(
                "{} {} {} {} {}",
                text(&user["userName"]),
                text(&user["displayName"]),
                user["active"],
                text(&user["emails"][0]["value"]),
                text(&user[ENTERPRISE]["department"]),
            )
        };
        let lines: BTreeSet<String> = users.iter().map(line).collect();
        assert_eq!(lines.len(), users.len(), "somebody is there twice");
        lines
    }

    /// Groups as they are there: the name of each, and its members' usernames.
    pub(super) async fn groups(&self) -> BTreeMap<String, BTreeSet<String>> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let users = self.all("Users").await;
        let names: HashMap<String, String> = users
            .iter()
            .map(|it| (text(&it["id"]), text(&it["userName"])))
            .collect();
        let groups = self.all("Groups").await;
        assert_eq!(
            groups
                .iter()
                .map(|it| text(&it["displayName"]))
                .collect::<BTreeSet<_>>()
                .len(),
            groups.len(),
            "a group is there twice"
        );
        let members = |group: &Value| {
            let members = group["members"].as_array().cloned().unwrap_or_default();
            // scim2-server keeps the ids of members who are deleted.
            let there = members.iter().filter_map(|it| names.get(&text(&it["value"])));
            there.cloned().collect()
        };
        groups
            .iter()
            .map(|it| (text(&it["displayName"]), members(it)))
            .collect()
    }
}

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

#[test]
fn an_application_that_others_have_written_follows_the_directory() {
    for kind in Kind::ALL {
        let Some(installed) = kind.installed() else {
            continue;
        };
        on_both("scim_peer", move |hub, _| {
            let installed = installed.clone();
            async move {
                let peer = Peer::start(kind, installed).await;
                let hub = open_hub(&hub).await;
                for put in [false, true] {
                    follow(&hub, &peer, put).await;
                }
            }
        });
    }
}

/// Has the application follow the directory, by PATCH or by PUT, until nobody is left.
async fn follow(hub: &Hub, peer: &Peer, put: bool) {
    let change = |scim: &mut Scim| {
        scim.base_url.clone_from(&peer.base);
        if put {
            scim.profile.users = Update::Put;
            scim.profile.groups = GroupUpdate::Put;
        }
    };
    let (_, application) = add(hub, change).await;
    let delivery = begin(hub).await;
    let (came, last) = tested::tested(&delivery, &application).await;
    assert!(came.iter().all(|(_, came)| *came == "passed"), "{came:?} {last}");
    let name = |name: &str| format!("{name}{}", u8::from(put));
    let (ada, bob) = (user(hub, &name("ada")).await, user(hub, &name("bob")).await);
    let group = group_with(hub, &name("Staff"), &[&ada, &bob]).await;
    settled(hub, &application).await;
    let members =
        |names: &[&str]| BTreeMap::from([(name("Staff"), names.iter().map(|it| name(it)).collect())]);
    assert_eq!(peer.groups().await, members(&["ada", "bob"]));
    apply(hub, renamed(&ada, &name("ada.l"))).await;
    apply(hub, Command::DisableUser { id: bob.clone() }).await;
    let command = Command::RemoveMembers {
        group_id: group.clone(),
        user_ids: vec![bob.clone()],
    };
    apply(hub, command).await;
    settled(hub, &application).await;
    let there = peer.users().await;
    let (ada_there, bob_there) = (name("ada.l"), name("bob"));
    assert_eq!(there.len(), 2, "{there:?}");
    assert!(
        there
            .iter()
            .any(|user| user.starts_with(&ada_there) && user.contains("true")),
        "{there:?}"
    );
    assert!(
        there
            .iter()
            .any(|user| user.starts_with(&bob_there) && user.contains("false")),
        "{there:?}"
    );
    assert_eq!(peer.groups().await, members(&["ada.l"]));
    assert!(parked_of(hub, &application).await.is_empty());
    for id in [ada, bob] {
        apply(hub, Command::DeleteUser { id }).await;
    }
    apply(hub, Command::DeleteGroup { id: group }).await;
    settled(hub, &application).await;
    assert!(peer.users().await.is_empty() && peer.all("Groups").await.is_empty());
    delivery.stop().await;
    let delete = application::Command::Delete { id: application.id };
    hub.apply_application(Caller::system("test"), delete)
        .await
        .unwrap();
}
