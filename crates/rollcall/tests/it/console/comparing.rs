//! *Compare*: a comparison is begun, its differences are looked at page by page, and a repair is confirmed by its plan.

use std::time::Duration;

use rollcall::access::Role;
use rollcall::delivery::job::{self, JobKind};
use rollcall_scim::Object;
use serde_json::json;

use super::Served;
use crate::plain::user;
use crate::scim_push::{add_at, serve};
use crate::world::{new_user, on_both, open_hub};

#[test]
fn a_comparison_shows_what_differs_and_repairs_what_is_ticked() {
    on_both("console_compare", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let (app, base) = serve().await;
        let application = add_at(&hub, &base, "s3cret", |_| {}).await;
        user(&hub, "ada").await;
        let many = (0..60).map(|number| new_user(&format!("u{number:02}"), rollcall::id::ROOT_UNIT));
        crate::world::create_users(&hub, many.collect()).await;
        app.by_hand(|users| {
            let stranger = json!({ "id": "s1", "userName": "stranger<b>" });
            let stranger: Object = stranger.as_object().unwrap().clone();
            users.insert("s1".to_owned(), stranger);
        });
        // The application was told nothing, and the log is not under way either: its position is brought to the end.
        let id = application.id.clone();
        let at_end = hub.db.write(move |tx| {
            tx.execute(
                "UPDATE deliveries SET position = (SELECT seq FROM change_head) WHERE application_id = $1",
                rollcall_db::params![id.as_str()],
            )
        });
        at_end.await.unwrap();

        let path = format!("/console/applications/{}/comparison", application.id);
        let empty = served.page(&path).await;
        assert!(empty.contains("was not compared yet"), "{empty}");
        let csrf = served.csrf.clone();
        let begun = served.post(&path, &[("csrf", &csrf)]).await;
        assert!(
            begun.headers()["location"]
                .to_str()
                .unwrap()
                .ends_with("?done=compare")
        );
        let text = loop {
            let text = served.page(&path).await;
            if !text.contains("sse-connect") {
                break text;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        for part in ["Something differs", "To create", "/console/users/"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let ticks = |text: &str| text.matches("name=\"number\"").count();
        assert!(!text.contains("stranger"), "{text}");
        assert_eq!(ticks(&text), 50);
        let next = text.split("href=\"").find(|it| it.contains("after=51")).unwrap();
        let next = next.split('"').next().unwrap().replace("&#38;", "&");
        let rest = served.page(&next).await;
        assert_eq!(ticks(&rest), 11, "{rest}");
        let foreign = served.page(&format!("{path}?kind=foreign")).await;
        assert!(foreign.contains("stranger&#60;b&#62;"), "{foreign}");
        let chinese = served.ask(&path, "zh").await.text().await.unwrap();
        assert!(
            chinese.contains("存在差异") && chinese.contains("待创建"),
            "{chinese}"
        );

        // Nothing is done before its plan is confirmed.
        let comparison = text.split("name=\"comparison\" value=\"").nth(1).unwrap();
        let comparison = comparison.split('"').next().unwrap();
        let repair = format!("{path}/repair");
        let fields = [
            ("csrf", csrf.as_str()),
            ("comparison", comparison),
            ("which", "ticked"),
            ("number", "2"),
            ("number", "3"),
        ];
        let plan = served.post(&repair, &fields).await.text().await.unwrap();
        assert!(
            plan.contains("What is done") && plan.contains("<dd>2</dd>"),
            "{plan}"
        );
        let id = application.id.clone();
        let open = hub.db.read(move |tx| job::open_job(tx, &id));
        assert!(open.await.unwrap().is_none());
        let token = plan.split("name=\"token\" value=\"").nth(1).unwrap();
        let token = token.split('"').next().unwrap();
        let confirmed = [&fields[..], &[("token", token)]].concat();
        let done = served.post(&repair, &confirmed).await;
        let to = done.headers()["location"].to_str().unwrap().to_owned();
        assert!(to.ends_with("/synchronize?done=repair"), "{to}");
        let id = application.id.clone();
        let open = hub
            .db
            .read(move |tx| job::open_job(tx, &id))
            .await
            .unwrap()
            .unwrap();
        assert_eq!((open.kind, open.statistics.users.total), (JobKind::Repair, 2));
        let nothing = [
            ("csrf", csrf.as_str()),
            ("comparison", comparison),
            ("which", "ticked"),
        ];
        let refused = served.post(&repair, &nothing).await;
        assert_eq!(refused.status(), 409);

        // Whoever may only look is shown no buttons.
        let looking = Served::start(&hub, Some(Role::Auditor)).await;
        let text = looking.page(&path).await;
        assert!(
            text.contains("Something differs") && !text.contains("/repair\""),
            "{text}"
        );
        let refused = looking.post(&path, &[("csrf", &looking.csrf)]).await;
        assert_eq!(refused.status(), 403);
    });
}
