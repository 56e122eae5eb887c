//! What an endpoint skips is no failure by the wire, but is said wherever somebody looks.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rollcall::directory::{Command, NewGroup};
use rollcall::private;
use serde_json::Value;

use crate::operate::{done, rollcall};
use crate::plain::{Of, Plain, Say, apply, deliver, settled, user};
use crate::world::{described, hasty, on_both, open_hub};

/// Runs a command beside the hub that the test runs.
async fn run(folder: &Path, database: &str, arguments: &[&str]) -> String {
    let mut process = rollcall(folder, &["--database", database]);
    process.args(arguments);
    let output = tokio::task::spawn_blocking(move || process.output().unwrap());
    done(&output.await.unwrap())
}

#[test]
fn what_the_endpoint_skips_is_said_wherever_one_looks() {
    on_both("skips", |database, _| async move {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        private::make_folder(&data).unwrap();
        let key = data.join("master.key");
        std::fs::write(&key, "07".repeat(32)).unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        let hub = open_hub(&database).await;
        let ada = user(&hub, "ada").await;
        user(&hub, "bob").await;
        let group = apply(
            &hub,
            Command::CreateGroup(NewGroup {
                name: "Engineers".to_owned(),
                ..NewGroup::default()
            }),
        )
        .await;
        let member = Command::AddMembers {
            group_id: group,
            user_ids: vec![ada.clone()],
        };
        apply(&hub, member).await;
        let app = Plain::new(&hub, "App").await;
        let skips_ada = ada.clone();
        app.say(move |events| {
            let of = |event: &rollcall_protocol::Event| {
                let kind = event.kind().map(|kind| kind.short()).unwrap_or_default();
                match kind.starts_with("ud:group:") || event.biz_id == skips_ada {
                    true => Of::Skipped,
                    false => Of::Success,
                }
            };
            Say::Each(events.iter().map(of).collect())
        });
        let delivery = deliver(&hub, hasty()).await;
        let told =
            "skipped by the endpoint: it does not handle ud:group:add_user, ud:group:create, ud:user:push";
        let text = run(folder.path(), &database, &["app", "sync", "App"]).await;
        assert!(text.contains(&format!("5 of 5 sent, 3 of them {told}")), "{text}");
        let json = run(folder.path(), &database, &["--json", "app", "sync", "App"]).await;
        let job: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(job["statistics"]["skips"]["ud:group:create"]["count"], 1);
        assert_eq!(job["statistics"]["skips"]["ud:user:push"]["code"], "auto_skipped");
        assert_eq!(job["statistics"]["users"]["skipped"], 1);
        let text = run(folder.path(), &database, &["why", "ada", "App"]).await;
        assert!(text.contains("did not take it: skipped auto_skipped"), "{text}");
        let text = run(folder.path(), &database, &["why", "bob", "App"]).await;
        assert!(!text.contains("did not take it") && text.contains(told), "{text}");
        // Also what is skipped as it happens.
        apply(&hub, described(&ada, "countess")).await;
        settled(&hub, &app.application).await;
        let text = run(folder.path(), &database, &["app", "show", "App"]).await;
        assert!(text.contains(&format!("3 of them {told}")), "{text}");
        let lately =
            "it does not handle ud:group:add_user, ud:group:create, ud:user:push, ud:user:update_info";
        assert!(text.contains(lately), "{text}");
        let text = run(folder.path(), &database, &["log", "--app", "App"]).await;
        assert!(text.contains("(1 skipped by the endpoint)"), "{text}");
        assert!(
            text.contains("ud:user:update_info skipped: auto_skipped"),
            "{text}"
        );
        let text = run(folder.path(), &database, &["why", "ada", "App"]).await;
        assert!(text.contains("passed it over: auto_skipped"), "{text}");
        delivery.stop().await;
    });
}
