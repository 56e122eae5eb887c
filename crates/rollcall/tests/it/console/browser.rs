//! Every page in a real browser: wide and on a phone, light and dark, in both languages. Pictures go to
//! `target/screenshots`, and axe-core must find nothing that keeps somebody out.

use std::path::{Path, PathBuf};

use rollcall::access::Role;
use rollcall::hub::Hub;
use serde_json::{Value, json};

use super::Served;
use super::sample::{Sample, fill};
use super::webdriver::Browser;
use crate::world::open_hub;

/// What axe-core looks at: the rules of WCAG 2.2 AA, and what is good practice.
const AXE: &str = r#"
    const done = arguments[arguments.length - 1];
    axe.run(document, { resultTypes: ["violations"] }).then((result) => done({
        violations: result.violations.map((it) => ({
            id: it.id, help: it.help, nodes: it.nodes.slice(0, 3).map((node) => node.html + " " + node.failureSummary),
        })),
        over: document.documentElement.scrollWidth - window.innerWidth,
    }), (error) => done({ violations: [{ id: "axe", help: String(error), nodes: [] }], over: 0 }));
"#;

#[tokio::test(flavor = "multi_thread")]
async fn every_page_is_usable_for_everybody_in_every_dress() {
    let what = "no page of the console was looked at in a browser";
    let Some(browser) = Browser::with_axe(what).await else {
        return;
    };
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = signed_in(&browser, &hub).await;
    let look = Look::new(&browser, &served.address);
    let mut wrong = look.at("empty", "/console/").await;
    for page in ["directory", "groups", "applications", "tokens"] {
        let (name, path) = (format!("empty-{page}"), format!("/console/{page}"));
        wrong.extend(look.at(&name, &path).await);
    }
    let sample = in_use(&served, &hub).await;
    let only = std::env::var("ROLLCALL_LOOK_AT").unwrap_or_default();
    for (name, path) in sample.pages() {
        if name.contains(&only) {
            wrong.extend(look.at(name, &path).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The console, of which the browser has the session of an administrator.
pub(super) async fn signed_in(browser: &Browser, hub: &Hub) -> Served {
    let served = Served::start(hub, Some(Role::Administrator)).await;
    let cookie = json!({
        "name": "rollcall_session", "value": served.session, "url": served.address,
    });
    browser.chromium("Network.setCookie", cookie).await;
    served
}

/// A hub that has been used for a while.
pub(super) async fn in_use(served: &Served, hub: &Hub) -> Sample {
    served.console.note().await.unwrap();
    let sample = fill(hub).await;
    served.console.note().await.unwrap();
    for id in [&sample.wiki, &sample.payroll] {
        let test = format!("/console/applications/{id}/test");
        assert_eq!(served.post(&test, &[("csrf", &served.csrf)]).await.status(), 303);
    }
    sample
}

/// Widths of windows: what they are called, how large they are, and whether they are those of a phone.
const SIZES: [(&str, u32, u32, bool); 2] = [("wide", 1280, 800, false), ("phone", 390, 844, true)];

/// Takes pictures of pages, and looks for what keeps somebody out.
pub(super) struct Look<'a> {
    browser: &'a Browser,
    address: &'a str,
    folder: PathBuf,
}

impl<'a> Look<'a> {
    pub(super) fn new(browser: &'a Browser, address: &'a str) -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        Self {
            browser,
            address,
            folder,
        }
    }

    /// Says in which language pages are wanted from now on.
    pub(super) async fn in_language(&self, language: &str) {
        let headers = json!({ "headers": { "Accept-Language": language } });
        self.browser.chromium("Network.enable", json!({})).await;
        self.browser
            .chromium("Network.setExtraHTTPHeaders", headers)
            .await;
    }

    /// Looks at the page in light and dark, in a window as it is.
    async fn in_both_lights(&self, dress: &str, language: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for theme in ["light", "dark"] {
            self.browser.theme(theme).await;
            let dress = format!("{dress}-{theme}-{language}");
            let file = self.folder.join(format!("{dress}.png"));
            self.browser.picture(&file).await;
            let found = self.browser.run(AXE).await;
            wrong.extend(violations(&dress, &found));
        }
        wrong
    }

    /// Looks at the page as it is now, without loading it again, in every dress; returns what is wrong with it.
    pub(super) async fn as_it_is(&self, name: &str, language: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for (size, width, height, is_phone) in SIZES.into_iter().rev() {
            self.browser.resize(width, height, is_phone).await;
            wrong.extend(self.in_both_lights(&format!("{name}-{size}"), language).await);
        }
        wrong
    }

    /// Looks at a page in every dress; returns what is wrong with it.
    async fn at(&self, name: &str, path: &str) -> Vec<String> {
        let mut wrong = Vec::new();
        for language in ["en", "zh-CN"] {
            let address = format!("{}{path}", self.address);
            self.in_language(language).await;
            for (size, width, height, is_phone) in SIZES {
                self.browser.resize(width, height, is_phone).await;
                self.browser.open(&address).await;
                wrong.extend(self.in_both_lights(&format!("{name}-{size}"), language).await);
            }
        }
        wrong
    }
}

fn violations(dress: &str, found: &Value) -> Vec<String> {
    let mut wrong: Vec<String> = found["violations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| format!("{dress}: {} ({}): {}", it["id"], it["help"], it["nodes"]))
        .collect();
    if found["over"].as_i64().is_some_and(|over| over > 0) {
        wrong.push(format!(
            "{dress} is {} pixels wider than its window",
            found["over"]
        ));
    }
    wrong
}
