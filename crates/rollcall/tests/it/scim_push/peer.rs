//! A service provider that others have written.

use std::process::{Child, Command as Process, Stdio};

use super::*;

/// The program, which `cargo xtask test` installs.
const PROGRAM: &str = "ROLLCALL_TEST_SCIM2_SERVER";

/// It runs as long as this lives.
struct Peer {
    process: Child,
    base: String,
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Peer {
    fn start(program: &std::ffi::OsStr) -> Self {
        // Whoever had the port before gives it back, and nobody else asks for one in between.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port().to_string();
        drop(listener);
        let mut process = Process::new(program)
            .args(["--port", &port, "--bearer-token", "s3cret"])
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

    async fn all(&self, endpoint: &str) -> Vec<Value> {
        let url = format!("{}/{endpoint}", self.base);
        let asked = reqwest::Client::new().get(url).bearer_auth("s3cret").send();
        let list = asked.await.unwrap().text().await.unwrap();
        let list: Value = serde_json::from_str(&list).unwrap();
        list["Resources"].as_array().cloned().unwrap_or_default()
    }

    /// Users as they are there: username, name, whether they are active, email addresses and department.
    async fn users(&self) -> BTreeSet<String> {
        let users = self.all("Users").await;
        let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let line = |user: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!(
                "{} {} {} {} {}",
                text(&user["userName"]),
                text(&user["displayName"]),
                user["active"],
                text(&user["emails"][0]["value"]),
                text(&user[enterprise]["department"]),
            )
        };
        users.iter().map(line).collect()
    }

    /// Who is in its only group.
    async fn members(&self) -> usize {
        let groups = self.all("Groups").await;
        assert_eq!(groups.len(), 1, "{groups:?}");
        groups[0]["members"].as_array().map_or(0, Vec::len)
    }
}

#[test]
fn an_application_that_others_have_written_follows_the_directory() {
    let Some(program) = std::env::var_os(PROGRAM) else {
        let why = "the program scim2-server is not named by ROLLCALL_TEST_SCIM2_SERVER; cargo xtask test installs it";
        rollcall_db::testing::did_not_run("scim2", why);
        return;
    };
    on_both("scim_peer", move |hub, _| {
        let program = program.clone();
        async move {
            let peer = tokio::task::spawn_blocking(move || Peer::start(&program))
                .await
                .unwrap();
            let hub = open_hub(&hub).await;
            for put in [false, true] {
                follow(&hub, &peer, put).await;
            }
        }
    });
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
    assert_eq!(peer.members().await, 2);
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
    assert_eq!(peer.members().await, 1);
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
