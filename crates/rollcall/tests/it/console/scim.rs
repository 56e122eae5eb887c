//! Applications that take SCIM: made and changed by the forms, with a preview on real users.

use rollcall::access::Role;
use rollcall::application::scim::{Action, Authentication, Leavers, Scim};
use rollcall::application::{Application, store};
use rollcall::hub::Hub;
use rollcall_scim::client::{GroupUpdate, Preset};

use super::Served;
use crate::plain::user;
use crate::world::{on_both, open_hub};

async fn crm(hub: &Hub) -> Application {
    hub.db.read(|tx| store::find(tx, "Crm")).await.unwrap()
}

fn scim(application: &Application) -> &Scim {
    application.settings.scim().unwrap()
}

#[test]
fn an_application_that_takes_scim_is_made_changed_and_switched() {
    on_both("console_scim", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        user(&hub, "ada").await;
        let path = "/console/applications/new/scim";
        let form = served.form(path, path).await;
        let wrong = form
            .clone()
            .fill("name", "Crm")
            .fill("url", "http://crm.example/scim")
            .fill("secret", "s3cr3t")
            .fill("membersAtOnce", "0");
        let text = served.refused(wrong).await;
        for part in ["id=\"url-wrong\"", "id=\"membersAtOnce-wrong\"", "from 1 to 10"] {
            assert!(text.contains(part), "{part}");
        }
        assert!(!text.contains("s3cr3t"));
        let without = form
            .clone()
            .fill("name", "Crm")
            .fill("url", "https://203.0.114.1/scim");
        let text = served.refused(without.clone()).await;
        assert!(text.contains("id=\"secret-wrong\""), "{text}");
        let made = without
            .fill("secret", "s3cr3t")
            .fill("preset", "aws_identity_center")
            .tick("extent", "everything");
        let (location, text) = served.accepted(made).await;
        let application = crm(&hub).await;
        assert!(application.has_secret);
        let one = format!("/console/applications/{}", application.id);
        assert!(location.starts_with(&one), "{location}");
        assert_eq!(scim(&application).preset, Preset::AwsIdentityCenter);
        for part in [
            "https://203.0.114.1/scim",
            "SCIM 2.0",
            "A secret is stored",
            "name.familyName",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
        // What is not signed needs no keys, and what is not received no receiver.
        for part in ["/keys\"", "/receive\"", "Public Key Endpoint"] {
            assert!(!text.contains(part), "{part}");
        }

        // The preview shows what would be, and saves nothing.
        let path = format!("{one}/scim");
        let form = served.form(&path, &path).await;
        let mapping = form.value("mapping").to_owned();
        assert!(mapping.contains("userName = username\n"), "{mapping}");
        let typed = mapping.replace("displayName = displayName", "displayName = upper(username)");
        let typed = format!("{typed}\ntitle = \"Countess\"");
        let tried = form.clone().fill("mapping", &typed).tick("do", "preview");
        let text = served.submit(&tried).await.text().await.unwrap();
        assert!(text.contains("Countess") && text.contains("ADA"), "{text}");
        assert!(scim(&crm(&hub).await).mapping.is_empty());
        let unknown = form.clone().fill("previewUsers", "nobody").tick("do", "preview");
        let text = served.submit(&unknown).await.text().await.unwrap();
        assert!(text.contains("id=\"previewUsers-wrong\""), "{text}");
        for (line, said) in [("title", "has no ="), ("title = nickname", "nickname")] {
            let typed = format!("{mapping}\n{line}");
            let text = served.refused(form.clone().fill("mapping", &typed)).await;
            assert!(
                text.contains("id=\"mapping-wrong\"") && text.contains(said),
                "{line}: {text}"
            );
        }

        // Only what differs is saved.
        let typed = typed.replace("active = enabled\n", "");
        let changed = form
            .clone()
            .fill("mapping", &typed)
            .fill("groupsBy", "replace")
            .fill("rateRequests", "10")
            .fill("rateSeconds", "30")
            .tick("leavers", "delete")
            .untick("create", "yes");
        served.accepted(changed).await;
        let application = crm(&hub).await;
        let changed = scim(&application);
        let mapping: Vec<_> = changed
            .mapping
            .iter()
            .map(|(a, b)| (a.as_str(), b.as_str()))
            .collect();
        assert_eq!(
            mapping,
            [
                ("active", ""),
                ("displayName", "upper(username)"),
                ("title", "\"Countess\"")
            ]
        );
        assert_eq!(changed.leavers, Leavers::Delete);
        assert!(!changed.does(Action::Create) && changed.does(Action::Update));
        assert_eq!(changed.profile.groups, GroupUpdate::Replace);
        assert_eq!(changed.profile.rate.unwrap().requests, 10);
        assert_eq!(changed.profile.members_at_once, 100);
        // An old form puts nothing back, and is told what others have changed.
        let text = served.refused(form.fill("pageSize", "50")).await;
        assert!(text.contains("What others have changed meanwhile"), "{text}");
        assert_eq!(scim(&crm(&hub).await).profile.page_size, 100);

        // The secret is asked for again where it would go to somebody else.
        let form = served.form(&path, &path).await;
        let moved = form.clone().fill("url", "https://203.0.114.2/scim");
        let text = served.refused(moved).await;
        assert!(text.contains("id=\"secret-wrong\""), "{text}");
        let client = form
            .tick("authentication", "client_credentials")
            .fill("tokenUrl", "https://203.0.114.3/token")
            .fill("clientId", "hub")
            .fill("secretIn", "body")
            .fill("secret", "0ther");
        let (_, text) = served.accepted(client).await;
        assert!(text.contains("https://203.0.114.3/token"), "{text}");
        assert!(matches!(
            scim(&crm(&hub).await).authentication,
            Authentication::ClientCredentials { .. }
        ));
        let chinese = served.ask(&one, "zh").await.text().await.unwrap();
        assert!(
            chinese.contains("客户端凭据") && chinese.contains("已保存密钥"),
            "{chinese}"
        );
        for page in [&one, &path, "/console/audit"] {
            let text = served.page(page).await;
            assert!(!text.contains("s3cr3t") && !text.contains("0ther"), "{page}");
        }

        // To event callbacks, and back.
        let path = format!("{one}/callback");
        let form = served.form(&path, &path).await;
        served.refused(form.clone()).await;
        served
            .accepted(form.fill("url", "https://203.0.114.1/events"))
            .await;
        let application = crm(&hub).await;
        assert!(application.settings.scim().is_none() && !application.has_secret);
        let path = format!("{one}/scim");
        let form = served.form(&path, &path).await;
        let back = form
            .fill("url", "https://203.0.114.1/scim")
            .fill("secret", "s3cr3t");
        served.accepted(back).await;
        assert!(crm(&hub).await.settings.scim().is_some());
    });
}
