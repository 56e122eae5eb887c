//! Connections in the console: making one, its tokens, what is set, what came from it, and its end.

use rollcall::access::{Caller, Role};
use rollcall::connection::{self, Command, Connection, ConnectionChanges, TakesOver};
use rollcall::hub::Hub;
use serde_json::json;

use super::browser::Look;
use super::forms::Form;
use super::webdriver::Browser;
use super::{Served, client};
use crate::access::PASSWORD;
use crate::world::{on_both, open_hub};

const NEW: &str = "/console/connections/new";

async fn found(hub: &Hub, name: &'static str) -> Connection {
    hub.db.read(|tx| connection::find(tx, name)).await.unwrap()
}

/// Sends a form that shows a secret once; the secret.
async fn secret(served: &Served, form: Form) -> String {
    let answer = served.submit(&form).await;
    assert_eq!(answer.status(), 200);
    let page = answer.text().await.unwrap();
    let (_, rest) = page.split_once("<div class=\"copy\"><code>").unwrap();
    rest.split('<').next().unwrap().to_owned()
}

fn person(name: &str) -> String {
    let person = json!({
        "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
        "userName": name,
        "displayName": "Ada Lovelace",
        "title": "Countess",
    });
    person.to_string()
}

impl Served {
    /// What a connection's other end asks for, and the status that it gets.
    async fn scim(&self, id: &str, token: &str, user: Option<&str>) -> u16 {
        let address = format!("{}/scim/v2/{id}/Users", self.address);
        let request = match user {
            Some(name) => client()
                .post(address)
                .header("Content-Type", "application/scim+json")
                .body(person(name)),
            None => client().get(address),
        };
        let answer = request.bearer_auth(token).send().await.unwrap();
        answer.status().as_u16()
    }
}

#[test]
fn a_connection_is_made_used_changed_and_deleted_in_the_browser() {
    on_both("console_connections", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        let page = served.page("/console/connections").await;
        assert!(page.contains("No directory feeds this one yet") && page.contains(NEW));
        crate::scim::connect(&hub, "Entra", &json!({})).await;
        for (field, value, words) in [
            ("name", "conn_mine", "must not begin with conn_"),
            ("name", "entra", "There is a connection “entra” already"),
            ("unit", "Nowhere", "There is no unit “Nowhere”"),
            ("rate", "0", "A number from 1 to 10,000"),
            ("rate", "many", "A number from 1 to 10,000"),
            ("map-username", "", "Every user needs this"),
            ("map-email", "lower(", "cannot be read"),
            ("map-email", "nothingOfTheKind", "cannot be read"),
            ("custom", "title", "is not of the form name = expression"),
            ("custom", "title = lower(", "cannot be read"),
        ] {
            let form = served
                .form(NEW, NEW)
                .await
                .fill("name", "Okta")
                .fill(field, value);
            let page = served.refused(form).await;
            assert!(page.contains(words), "{field}={value}: {page}");
            assert_eq!(Form::of(&page, NEW).value(field), value);
        }
        let form = served.form(NEW, NEW).await;
        assert_eq!(form.value("map-username"), "userName");
        let form = form.fill("name", "Okta").fill("custom", "title = title");
        let (at, page) = served.accepted(form).await;
        let okta = found(&hub, "Okta").await;
        let own = format!("/console/connections/{}", okta.id);
        assert!(at.starts_with(&own));
        // What is usual is not kept as a difference.
        assert_eq!(json!(okta.mapping), json!({ "customFields.title": "title" }));
        let address = format!("https://rollcall.example.com/scim/v2/{}", okta.id);
        // Once to be copied, and once at each provider.
        assert_eq!(page.matches(&format!("<code>{address}</code>")).count(), 4);
        assert!(page.contains("Nothing can be sent yet"));

        let make = format!("{own}/tokens/new");
        for (value, words) in [
            ("400", "A number from 1 to 366"),
            ("soon", "A number from 1 to 366"),
        ] {
            let form = served.form(&make, &make).await.fill("expiresInDays", value);
            assert!(served.refused(form).await.contains(words));
        }
        let token = secret(&served, served.form(&make, &make).await).await;
        assert!(token.starts_with("rcs_"));
        assert_eq!(served.scim(&okta.id, &token, Some("ada")).await, 201);
        let page = served.page(&own).await;
        assert!(page.contains(&token[..10]) && !page.contains(&token) && page.contains("In use"));
        let users = format!("{own}/users");
        assert!(page.contains(&users) && !page.contains(&format!("{own}/groups\"")));
        let page = served.page(&users).await;
        let ada = page.split("href=\"/console/users/").nth(1).unwrap();
        let ada = format!("/console/users/{}", ada.split('"').next().unwrap());
        let page = served.page(&ada).await;
        assert!(page.contains("Comes from") && page.contains(&format!("<a href=\"{own}\">Okta</a>")));
        assert!(page.contains("Countess"));
        let page = served.page(&format!("{own}/changes")).await;
        assert!(page.contains("User created") && page.contains(&format!("<a href=\"{ada}\">ada</a>")));
        let page = served.page(&format!("{own}/changes?before=1")).await;
        assert!(page.contains("There is nothing older"));
        let page = served.page("/console/audit").await;
        assert!(
            page.contains(&format!("href=\"{own}\"")),
            "the audit log leads nowhere"
        );

        // A second token may be made, and no third.
        let other = secret(&served, served.form(&make, &make).await).await;
        let page = served.refused(served.form(&make, &make).await).await;
        assert!(page.contains("Two tokens are good"));
        assert_eq!(served.scim(&okta.id, &other, None).await, 200);
        let first = found(&hub, "Okta").await.tokens[0].id.clone();
        let revoke = format!("{own}/tokens/{first}/revoke");
        let form = served.form(&revoke, &revoke).await;
        served.accepted(form.clone()).await;
        // Who was faster has done what was wanted.
        served.accepted(form).await;
        assert_eq!(served.scim(&okta.id, &token, None).await, 401);
        assert_eq!(served.scim(&okta.id, &other, None).await, 200);

        let disable = served.form(&own, &format!("{own}/disable")).await;
        let stale = disable.clone();
        served.accepted(disable).await;
        assert_eq!(served.scim(&okta.id, &other, None).await, 401);
        assert_eq!(served.submit(&stale).await.status(), 409);
        served
            .accepted(served.form(&own, &format!("{own}/enable")).await)
            .await;
        assert_eq!(served.scim(&okta.id, &other, None).await, 200);
        change_and_delete(&hub, &served, &own, &ada).await;
    });
}

/// Two change the same connection, and one of them is told; then it is deleted, and its user stays.
async fn change_and_delete(hub: &Hub, served: &Served, own: &str, ada: &str) {
    let settings = format!("{own}/settings");
    let form = served.form(&settings, &settings).await;
    assert_eq!(form.value("custom"), "title = title");
    let id = found(hub, "Okta").await.id;
    let changes = ConnectionChanges {
        takes_over: Some(TakesOver::Username),
        requests_per_second: Some(77),
        ..ConnectionChanges::default()
    };
    let command = Command::Update { id, changes };
    hub.apply_connection(Caller::system("test"), command)
        .await
        .unwrap();
    let form = form
        .fill("name", "Okta of the group")
        .fill("map-email", "")
        .fill("custom", "")
        .tick("takesOver", "email");
    let page = served.refused(form).await;
    for there_is in ["Now there is: 77", "Now there is: username", "Now there is: Okta"] {
        assert!(page.contains(there_is), "{there_is}: {page}");
    }
    served.accepted(Form::of(&page, &settings)).await;
    let changed = found(hub, "Okta of the group").await;
    assert_eq!(changed.takes_over, TakesOver::Email);
    assert_eq!(changed.requests_per_second, 50);
    assert_eq!(json!(changed.mapping), json!({ "email": "" }));

    let delete = format!("{own}/delete");
    let form = served.form(&delete, &delete).await;
    let page = served.refused(form.clone().fill("confirm", "Okta")).await;
    assert!(page.contains("Nothing was deleted"));
    let (at, _) = served.accepted(form.fill("confirm", "Okta of the group")).await;
    assert!(at.starts_with("/console/connections"));
    assert_eq!(served.ask(own, "en").await.status(), 404);
    let page = served.page(ada).await;
    assert!(page.contains("Countess") && !page.contains("Comes from"));
}

#[test]
fn connections_are_found_by_name_and_listed_page_by_page() {
    on_both("console_connections_list", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(Role::Auditor)).await;
        crate::scim::connections(&hub, 60).await;
        let page = served.page("/console/connections").await;
        assert!(page.contains("Connection 049") && !page.contains("Connection 050"));
        assert!(!page.contains(NEW), "an auditor makes none");
        let (_, next) = page.split_once("href=\"/console/connections?after=").unwrap();
        let next = next.split('"').next().unwrap();
        let page = served.page(&format!("/console/connections?after={next}")).await;
        assert!(page.contains("Connection 050") && page.contains("Connection 059"));
        let page = served.page("/console/connections?search=ION%20017").await;
        assert!(page.contains("Connection 017") && !page.contains("Connection 018"));
        let page = served.page("/console/connections?search=nobody").await;
        assert!(page.contains("No connection is called “nobody”"));
    });
}

/// Somebody sets a connection up in a browser, another directory uses it, and it is deleted; returns what keeps people
/// out.
async fn tell(browser: &Browser, language: &'static str, has_scripts: bool) -> Vec<String> {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    browser.chromium("Network.clearBrowserCookies", json!({})).await;
    let look = Look::new(browser, &served.address);
    look.in_language(language).await;
    browser.resize(1280, 800, false).await;
    browser.scripts(has_scripts).await;
    let open = async |path: &str| browser.open(&format!("{}{path}", served.address)).await;
    let mut wrong = Vec::new();
    let mut see = async |name: &str| {
        if has_scripts {
            let name = format!("story-connection-{name}");
            wrong.extend(look.as_it_is(&name, language).await);
        }
    };
    open("/console/connections").await;
    browser.fill("#name", "ada-administrator").await;
    browser.fill("#password", PASSWORD).await;
    browser
        .press("form[action='/console/sign-in'] button.primary")
        .await;
    browser.press(&format!(".empty a[href='{NEW}']")).await;
    browser.fill("#name", "Okta").await;
    // First with a mistake, which is mended where it is shown.
    browser.fill("#rate", "none").await;
    let send = format!("form[action='{NEW}'] button.primary");
    browser.press(&send).await;
    browser.wait_for("#rate-wrong").await;
    see("wrong").await;
    browser.fill("#rate", "20").await;
    browser.press(&send).await;
    browser.wait_for(".notice.good[role='status']").await;
    let id = found(&hub, "Okta").await.id;
    let own = format!("/console/connections/{id}");
    browser.press(&format!(".empty a[href='{own}/tokens/new']")).await;
    browser
        .press(&format!("form[action='{own}/tokens/new'] button.primary"))
        .await;
    let token = browser.text(".copy code").await;
    see("token").await;
    browser.press("main .card footer a.primary").await;
    assert_eq!(served.scim(&id, &token, Some("ada")).await, 201);
    open(&own).await;
    browser
        .click("section[aria-labelledby='steps'] details summary")
        .await;
    browser
        .wait_for("section[aria-labelledby='steps'] details[open] .copy")
        .await;
    see("steps").await;
    browser.press(&format!("a[href='{own}/users']")).await;
    browser.press("tbody tr:first-child th a").await;
    browser.press(&format!("dl a[href='{own}']")).await;
    browser.press(&format!("a[href='{own}/changes']")).await;
    browser.wait_for("tbody tr:first-child").await;
    see("changes").await;
    open(&format!("{own}/delete")).await;
    browser.fill("#confirm", "Okta").await;
    browser
        .press(&format!("form[action='{own}/delete'] button.danger"))
        .await;
    browser.wait_for(".notice.good[role='status']").await;
    assert_eq!(served.scim(&id, &token, None).await, 401);
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_set_up_wholly_in_the_browser() {
    let Some(browser) = Browser::with_axe("nobody has set up a connection in a browser").await else {
        return;
    };
    let mut wrong = Vec::new();
    for (language, has_scripts) in [("en", true), ("zh-CN", true), ("en", false)] {
        wrong.extend(tell(&browser, language, has_scripts).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
