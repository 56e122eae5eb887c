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
    for page in ["directory", "groups", "applications", "tokens", "connections"] {
        let (name, path) = (format!("empty-{page}"), format!("/console/{page}"));
        wrong.extend(look.at(&name, &path).await);
    }
    let sample = in_use(&served, &hub).await;
    let only = std::env::var("ROLLCALL_LOOK_AT").unwrap_or_default();
    let book = BOOK.map(|(name, path)| (name, path.to_owned()));
    for (name, path) in sample.pages().into_iter().chain(book) {
        if name.contains(&only) {
            wrong.extend(look.at(name, &path).await);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Pages of the book that have everything which there is on one: code, tables, lists, long words.
const BOOK: [(&str, &str); 5] = [
    ("docs-quick-start", "/docs/quick-start"),
    ("docs-python", "/docs/receivers/python"),
    ("docs-access", "/docs/access"),
    ("docs-vectors", "/docs/vectors/README"),
    ("docs-receiving-in-chinese", "/docs/zh-CN/receiving"),
];

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
    pub(super) async fn at(&self, name: &str, path: &str) -> Vec<String> {
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

/// What is reached from where the focus is, and whether people see that it is there.
const FOCUSED: &str = r#"
    const done = arguments[arguments.length - 1];
    const it = document.activeElement, style = getComputedStyle(it), box = it.getBoundingClientRect();
    it.dataset.walked = "yes";
    done({
        is_end: it === document.body,
        what: it.outerHTML.slice(0, 160),
        is_marked: style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2,
        is_in_sight: box.width > 1 && box.height > 1 && box.bottom > 0 && box.top < innerHeight,
    });
"#;

/// What could have the focus, and was not reached.
const MISSED: &str = r#"
    const done = arguments[arguments.length - 1];
    const all = document.querySelectorAll("a[href], button, input, select, textarea, summary");
    done([...all].filter((it) => it.tabIndex >= 0 && !it.disabled && it.type !== "hidden" && it.checkVisibility()
        && !it.dataset.walked).map((it) => it.outerHTML.slice(0, 160)));
"#;

#[tokio::test(flavor = "multi_thread")]
async fn everything_is_reached_by_the_keyboard_and_the_focus_is_seen() {
    let what = "nobody went through a page of the console by the keyboard";
    let Some(browser) = Browser::with_axe(what).await else {
        return;
    };
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    let cookie = json!({
        "name": "rollcall_session", "value": served.session, "url": served.address,
    });
    browser.chromium("Network.setCookie", cookie).await;
    let walked = [
        "home",
        "deliveries-aside",
        "scope",
        "user",
        "user-edit",
        "audit",
        "transfer",
    ];
    for (name, path) in sample.pages() {
        if !walked.contains(&name) {
            continue;
        }
        for (size, width, height, is_phone) in SIZES {
            browser.resize(width, height, is_phone).await;
            browser.open(&format!("{}{path}", served.address)).await;
            let (mut steps, mut outside) = (0, 0);
            loop {
                browser.key("Tab", 9).await;
                let at = browser.run(FOCUSED).await;
                // Behind the last element the focus leaves the page, where it may have been since the page before.
                if at["is_end"] == true && steps > 0 {
                    break;
                }
                if at["is_end"] == true {
                    outside += 1;
                    assert!(outside < 5, "{name}, {size}: nothing has the focus");
                    continue;
                }
                for how in ["is_marked", "is_in_sight"] {
                    assert_eq!(at[how], true, "{name}, {size}: {how}: {}", at["what"]);
                }
                let is_skip_link = at["what"].as_str().unwrap().contains("skip-link");
                assert!(
                    steps > 0 || is_skip_link,
                    "{name}, {size}: first comes {}",
                    at["what"]
                );
                if steps > 0 && is_skip_link {
                    break;
                }
                steps += 1;
                assert!(
                    steps < 600,
                    "{name}, {size}: the focus is caught at {}",
                    at["what"]
                );
            }
            assert_eq!(browser.run(MISSED).await, json!([]), "{name}, {size}");
        }
    }
    // The skip link leads past the navigation.
    browser
        .open(&format!("{}/console/applications", served.address))
        .await;
    browser.key("Tab", 9).await;
    browser.key("Enter", 13).await;
    browser.key("Tab", 9).await;
    let at = browser.run(FOCUSED).await;
    assert!(
        at["what"].as_str().unwrap().contains("/console/applications/new"),
        "{at}"
    );
}
