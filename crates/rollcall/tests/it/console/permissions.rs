//! What each role sees and may do, and that nobody sees anything without having signed in.

use std::collections::BTreeSet;

use rollcall::access::Role;

use super::Served;
use super::sample::fill;
use crate::world::open_hub;

#[tokio::test]
async fn nobody_sees_anything_without_having_signed_in() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let served = Served::start(&hub, None).await;
    for (name, path) in sample.pages() {
        let answer = served.ask(&path, "en").await;
        match name {
            "sign-in" => assert_eq!(answer.status(), 200),
            // It says nothing that is not known to everybody.
            "not-found" => assert_eq!(answer.status(), 404),
            _ => {
                assert_eq!(answer.status(), 303, "{path}");
                let to = answer.headers()["location"].to_str().unwrap();
                assert!(to.starts_with("/console/sign-in?next=%2Fconsole"), "{path}: {to}");
                assert!(answer.text().await.unwrap().is_empty());
            }
        }
    }
    for live in [
        "live/home".to_owned(),
        format!("applications/{}/live/deliveries", sample.wiki),
    ] {
        assert_eq!(served.ask(&format!("/console/{live}"), "en").await.status(), 303);
    }
    let post = format!("/console/applications/{}/pause", sample.wiki);
    assert_eq!(served.post(&post, &[("csrf", &served.csrf)]).await.status(), 303);
}

#[tokio::test]
async fn each_role_sees_and_does_what_it_may() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let own = Role::ApplicationOwner(BTreeSet::from([sample.chat.clone()]));
    let others = |id: &str| format!("/console/applications/{id}");
    let connection = |what: &str| format!("/console/connections/{}{what}", sample.connection);
    // Page, and the statuses for administrator, operator, auditor, owner.
    let pages = [
        ("/console/".to_owned(), [200, 200, 200, 200]),
        ("/console/applications".to_owned(), [200, 200, 200, 200]),
        (others(&sample.chat), [200, 200, 200, 200]),
        (others(&sample.wiki), [200, 200, 200, 404]),
        (
            format!("{}/deliveries", others(&sample.wiki)),
            [200, 200, 200, 404],
        ),
        (
            format!("{}/live/jobs", others(&sample.wiki)),
            [200, 200, 200, 404],
        ),
        ("/console/applications/new".to_owned(), [200, 403, 403, 403]),
        ("/console/applications/new/scim".to_owned(), [200, 403, 403, 403]),
        (format!("{}/settings", others(&sample.chat)), [200, 403, 403, 403]),
        (
            format!("{}/developer-api", others(&sample.chat)),
            [200, 200, 200, 200],
        ),
        (
            format!("{}/client-secrets/new", others(&sample.chat)),
            [200, 403, 403, 403],
        ),
        (format!("{}/scim", others(&sample.chat)), [200, 403, 403, 403]),
        (format!("{}/callback", others(&sample.chat)), [200, 403, 403, 403]),
        (
            format!("{}/encryption", others(&sample.chat)),
            [200, 403, 403, 403],
        ),
        (format!("{}/scope", others(&sample.chat)), [200, 403, 403, 403]),
        (format!("{}/delete", others(&sample.chat)), [200, 403, 403, 403]),
        (
            format!("{}/subscription", others(&sample.chat)),
            [200, 403, 403, 403],
        ),
        ("/console/directory".to_owned(), [200, 200, 200, 200]),
        (format!("/console/users/{}", sample.user), [200, 200, 200, 200]),
        (
            format!("/console/users/{}/{}", sample.user, sample.chat),
            [200, 200, 200, 200],
        ),
        (
            format!("/console/users/{}/{}", sample.user, sample.wiki),
            [200, 200, 200, 404],
        ),
        ("/console/groups".to_owned(), [200, 200, 200, 200]),
        ("/console/connections".to_owned(), [200, 403, 200, 403]),
        (connection(""), [200, 403, 200, 403]),
        (connection("/changes"), [200, 403, 200, 403]),
        (connection("/users"), [200, 403, 200, 403]),
        (connection("/groups"), [200, 403, 200, 403]),
        ("/console/connections/new".to_owned(), [200, 403, 403, 403]),
        (connection("/settings"), [200, 403, 403, 403]),
        (connection("/tokens/new"), [200, 403, 403, 403]),
        (
            connection(&format!("/tokens/{}/revoke", sample.connection_token)),
            [200, 403, 403, 403],
        ),
        (connection("/delete"), [200, 403, 403, 403]),
        ("/console/audit".to_owned(), [200, 403, 200, 403]),
        ("/console/audit.csv".to_owned(), [200, 403, 200, 403]),
    ];
    let roles = [Role::Administrator, Role::Operator, Role::Auditor, own];
    for (index, role) in roles.into_iter().enumerate() {
        let served = Served::start(&hub, Some(role.clone())).await;
        for (path, statuses) in &pages {
            let status = served.ask(path, "en").await.status();
            assert_eq!(status.as_u16(), statuses[index], "{path} as {role:?}");
        }
        let home = served.ask("/console/", "en").await.text().await.unwrap();
        assert_eq!(home.contains("Wiki"), index < 3, "{role:?}");
        for entry in ["audit", "connections"] {
            let entry = format!("/console/{entry}\"");
            assert_eq!(home.contains(&entry), index % 2 == 0, "{role:?} {entry}");
        }
        let pause = |id: &str| format!("{}/pause", others(id));
        let stale = served.post(&pause(&sample.chat), &[("csrf", "another")]).await;
        assert_eq!(stale.status(), 403, "{role:?}");
        let done = served.post(&pause(&sample.chat), &[("csrf", &served.csrf)]).await;
        assert_eq!(done.status().as_u16(), [303, 303, 403, 303][index], "{role:?}");
        let disable = served
            .post(&connection("/disable"), &[("csrf", &served.csrf)])
            .await;
        assert_eq!(disable.status().as_u16(), [303, 403, 403, 403][index], "{role:?}");
        let other = served.post(&pause(&sample.wiki), &[("csrf", &served.csrf)]).await;
        assert_eq!(other.status().as_u16(), [303, 303, 403, 404][index], "{role:?}");
    }
}
