//! The whole story in a real browser: an application is added, set up, tested and synchronized; somebody is changed,
//! the endpoint breaks and is mended, an event is refused and sent again, and the audit log tells all of it. In both
//! languages, and once without JavaScript.

use std::time::{Duration, Instant};

use rollcall::access::{Caller, Role};
use rollcall::delivery::Delivery;
use rollcall::directory::{Command, NewUnit, UserChanges};
use rollcall::hub::Hub;
use rollcall::id::ROOT_UNIT;
use rollcall_protocol::EncryptionKey;
use serde_json::json;

use super::Served;
use super::browser::Look;
use super::webdriver::Browser;
use crate::access::PASSWORD;
use crate::world::{Endpoint, Fault, egress, hasty, new_user, open_hub};

/// For how long something is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

struct Story<'a> {
    browser: &'a Browser,
    served: &'a Served,
    hub: &'a Hub,
    endpoint: &'a Endpoint,
    language: &'static str,
    has_scripts: bool,
    wrong: Vec<String>,
}

/// Who is changed, and in how many ways that was done already.
struct Somebody {
    id: String,
    times: u32,
}

impl Story<'_> {
    async fn open(&self, path: &str) {
        self.browser.open(&format!("{}{path}", self.served.address)).await;
    }

    /// Waits until a page shows something: by itself, or, without JavaScript, by being loaded again.
    async fn watch(&self, path: &str, selector: &str) {
        let begun = Instant::now();
        while !self.browser.has(selector).await {
            assert!(begun.elapsed() < PATIENCE, "{path} does not show {selector}");
            tokio::time::sleep(Duration::from_millis(200)).await;
            if !self.has_scripts {
                self.open(path).await;
            }
        }
    }

    /// Waits until a page that is loaded again and again shows something, or does not any more.
    async fn reload_until(&self, path: &str, selector: &str, is_there: bool) {
        let begun = Instant::now();
        loop {
            self.open(path).await;
            if self.browser.has(selector).await == is_there {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "{path}: {selector} {is_there}");
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    /// Takes pictures of the page as it is now, and looks for what keeps somebody out.
    async fn look(&mut self, name: &str) {
        if self.has_scripts {
            let look = Look::new(self.browser, &self.served.address);
            let wrong = look.as_it_is(&format!("story-{name}"), self.language).await;
            self.wrong.extend(wrong);
        }
    }

    async fn sign_in(&self) {
        self.open("/console/applications").await;
        self.browser.fill("#name", "ada-administrator").await;
        self.browser.fill("#password", PASSWORD).await;
        self.browser
            .press("form[action='/console/sign-in'] button.primary")
            .await;
    }

    /// Adds the application with a key that is made; returns the path of its pages.
    async fn add_application(&mut self) -> String {
        let browser = self.browser;
        browser.press(".empty a[href='/console/applications/new']").await;
        browser.fill("#name", "Wiki").await;
        // First with a mistake, which is mended where it is shown.
        browser.fill("#url", "ftp://wiki.example/").await;
        let send = "form[action='/console/applications/new'] button.primary";
        browser.press(send).await;
        browser.wait_for("#url-wrong").await;
        self.look("application-wrong").await;
        browser.fill("#url", &self.endpoint.url).await;
        browser.press(send).await;
        let key = browser.text(".copy code").await;
        self.look("key-shown-once").await;
        let application = self
            .hub
            .db
            .read(|tx| rollcall::application::store::find(tx, "Wiki"))
            .await
            .unwrap();
        let key = EncryptionKey::from_hex(&key).unwrap();
        self.endpoint.serve(self.hub, &application, Some(key)).await;
        browser.press("main .card footer a.primary").await;
        format!("/console/applications/{}", application.id)
    }

    /// Chooses the scope in the tree that is open, and confirms the plan.
    async fn choose_scope(&mut self, unit: &str) {
        let browser = self.browser;
        browser
            .click(&format!("input[name='unit'][value='{unit}']"))
            .await;
        // How many that covers follows by itself; without scripts there is a button.
        if self.has_scripts {
            let begun = Instant::now();
            while browser.text("[data-counted]").await.contains('0') {
                assert!(begun.elapsed() < PATIENCE, "nobody counts");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            assert!(browser.has("button[value='count'][hidden]").await);
        } else {
            browser.press("button[value='count']").await;
        }
        browser
            .wait_for(&format!("input[name='unit'][value='{unit}']:checked"))
            .await;
        browser.press("button[value='plan']").await;
        self.look("scope-plan").await;
        browser.press("button[value='confirm']").await;
        browser.wait_for(".notice.good[role='status']").await;
        assert!(browser.address().await.contains("/synchronize?done=scope"));
    }

    async fn set_parameters(&mut self, app: &str) {
        let browser = self.browser;
        self.open(app).await;
        browser.press(&format!("a[href='{app}/settings']")).await;
        browser.fill("#maxEvents", "20").await;
        browser.fill("#rate", "500").await;
        browser.click("#passwords").await;
        browser.press("main form button.primary").await;
        browser.wait_for(".notice.good[role='status']").await;
        browser.press(&format!("a[href='{app}/subscription']")).await;
        browser.click("input[name='event'][value='ud:user:lock']").await;
        browser.press("button[value='plan']").await;
        self.look("subscription-plan").await;
        browser.press("button[value='confirm']").await;
        browser.wait_for(".notice.good[role='status']").await;
    }

    async fn test(&mut self, app: &str) {
        let form = format!("form[action='{app}/test'] button.primary");
        self.open(&format!("{app}/receive")).await;
        self.browser.press(&form).await;
        self.browser.wait_for(".body .notice.good").await;
        self.look("tested").await;
    }

    /// Synchronizes; the bar is there as long as the application asks to be asked again.
    async fn synchronize(&mut self, app: &str) {
        let path = format!("{app}/synchronize");
        // What the change of scope has begun ends first.
        self.open(&path).await;
        self.watch(&path, "section[aria-labelledby='ended'] .badge.good")
            .await;
        self.endpoint.fail_always(Some(Fault::Busy(1)));
        let form = format!("form[action='{path}'] button.primary");
        self.reload_until(&path, &form, true).await;
        self.browser.press(&form).await;
        self.watch(&path, "svg.progress").await;
        self.look("synchronizing").await;
        self.endpoint.fail_always(None);
        self.watch(&path, &form).await;
        self.browser
            .wait_for("section[aria-labelledby='ended'] .badge.good")
            .await;
    }

    /// Changes somebody by the form of the console.
    async fn change(&self, somebody: &mut Somebody) {
        somebody.times += 1;
        let path = format!("/console/users/{}/edit", somebody.id);
        self.open(&path).await;
        let name = format!("Ada {}", somebody.times);
        self.browser.fill("#displayName", &name).await;
        let form = format!("form[action='{path}'] button.primary");
        self.browser.press(&form).await;
        self.browser.wait_for(".notice.good[role='status']").await;
    }

    /// The same while a page of the console is being looked at.
    async fn change_meanwhile(&self, somebody: &mut Somebody) {
        somebody.times += 1;
        let changes = UserChanges {
            description: Some(Some(format!("the {}th change", somebody.times))),
            ..UserChanges::default()
        };
        let id = somebody.id.clone();
        let command = Command::UpdateUser { id, changes };
        self.hub.apply(Caller::system("test"), command).await.unwrap();
    }

    /// Sees a delivery arrive in the list that is open.
    async fn see_it_arrive(&mut self, app: &str, somebody: &mut Somebody) {
        let path = format!("{app}/deliveries");
        self.change(somebody).await;
        self.open(&path).await;
        self.browser.wait_for("tbody tr:first-child th a").await;
        let newest = "tbody tr:first-child th a";
        let before = self.browser.attribute(newest, "href").await;
        self.change_meanwhile(somebody).await;
        let begun = Instant::now();
        while self.browser.attribute(newest, "href").await == before {
            assert!(begun.elapsed() < PATIENCE, "no delivery arrives");
            tokio::time::sleep(Duration::from_millis(200)).await;
            if !self.has_scripts {
                self.open(&path).await;
            }
        }
        self.look("arrived").await;
        self.browser.press(newest).await;
        self.look("attempt").await;
    }

    /// The endpoint breaks, the application is suspended, and catches up once it is mended.
    async fn break_and_mend(&mut self, app: &str, somebody: &mut Somebody) {
        let path = format!("{app}/synchronize");
        self.open(&path).await;
        self.endpoint.fail_always(Some(Fault::Status(500)));
        self.change_meanwhile(somebody).await;
        self.watch(&path, ".title-row .badge.bad").await;
        self.look("suspended").await;
        self.endpoint.fail_always(None);
        self.watch(&path, ".title-row .badge.good").await;
    }

    /// An event is refused, set aside, ticked and sent again.
    async fn refuse_and_resend(&mut self, app: &str, somebody: &mut Somebody) {
        let path = format!("{app}/deliveries");
        self.endpoint.fail_next([Fault::Refuse(somebody.id.clone())]);
        self.change_meanwhile(somebody).await;
        let aside = "input[form='aside-chosen']";
        self.reload_until(&path, aside, true).await;
        self.browser.click(aside).await;
        self.look("set-aside").await;
        self.browser.press("#aside-chosen button.primary").await;
        self.browser.wait_for(".notice.good[role='status']").await;
        self.reload_until(&path, aside, false).await;
        self.reload_until(&path, "tbody tr:first-child .badge.good", true)
            .await;
    }

    async fn read_the_audit_log(&mut self) {
        self.open("/console/audit").await;
        let text = self.browser.text("main").await;
        for action in [
            "create",
            "set_scope",
            "update",
            "set_subscription",
            "synchronize",
            "resend",
        ] {
            assert!(
                text.contains(action),
                "the audit log does not have {action}: {text}"
            );
        }
        self.look("audit").await;
    }
}

async fn tell(browser: &Browser, language: &'static str, has_scripts: bool) -> Vec<String> {
    let (database, copy) = (rollcall_db::testing::sqlite(), rollcall_db::testing::sqlite());
    let hub = open_hub(&database.url).await;
    let unit = NewUnit {
        name: "Engineering".into(),
        parent_id: ROOT_UNIT.into(),
        ..NewUnit::default()
    };
    let caller = || Caller::system("test");
    let unit = hub.apply(caller(), Command::CreateUnit(unit)).await.unwrap().id;
    let ada = Command::CreateUser(new_user("ada", &unit));
    let id = hub.apply(caller(), ada).await.unwrap().id;
    let delivery = Delivery::start(hub.clone(), egress(), hasty()).await.unwrap();
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    let endpoint = Endpoint::start(&copy.url).await;
    browser.chromium("Network.clearBrowserCookies", json!({})).await;
    Look::new(browser, &served.address).in_language(language).await;
    browser.resize(1280, 800, false).await;
    browser.scripts(has_scripts).await;
    let mut story = Story {
        browser,
        served: &served,
        hub: &hub,
        endpoint: &endpoint,
        language,
        has_scripts,
        wrong: Vec::new(),
    };
    let mut ada = Somebody { id, times: 0 };
    story.sign_in().await;
    let app = story.add_application().await;
    story.choose_scope(&unit).await;
    story.set_parameters(&app).await;
    story.test(&app).await;
    story.synchronize(&app).await;
    story.see_it_arrive(&app, &mut ada).await;
    story.break_and_mend(&app, &mut ada).await;
    story.refuse_and_resend(&app, &mut ada).await;
    story.read_the_audit_log().await;
    let wrong = std::mem::take(&mut story.wrong);
    // The application has come to know what the hub has.
    let users = endpoint.mirror.snapshot().await.unwrap().users;
    assert_eq!(users.len(), 1);
    served.console.end();
    delivery.stop().await;
    endpoint.kill().await;
    wrong
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_set_up_and_kept_in_step_wholly_in_the_browser() {
    let Some(browser) = Browser::with_axe("nobody has set up an application in a browser").await else {
        return;
    };
    let mut wrong = Vec::new();
    for (language, has_scripts) in [("en", true), ("zh-CN", true), ("en", false)] {
        wrong.extend(tell(&browser, language, has_scripts).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
