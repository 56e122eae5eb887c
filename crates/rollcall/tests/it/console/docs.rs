//! The book, as the hub serves it.

use std::collections::{BTreeMap, BTreeSet};

use reqwest::StatusCode;

use super::{Served, client};
use crate::docs::pages;
use crate::world::{on_both, open_hub};

/// What stands in an attribute, wherever it is.
fn values(html: &str, attribute: &str) -> BTreeSet<String> {
    html.split(&format!(" {attribute}=\""))
        .skip(1)
        .map(|rest| rest.split('"').next().unwrap().to_owned())
        .collect()
}

/// The address of a page, given by its path in the repository.
fn address(page: &str) -> String {
    format!("/{}", page.trim_end_matches(".md"))
}

/// The id that a link names, which has other letters than those of ASCII written in percents.
fn decoded(anchor: &str) -> String {
    let pair = format!("id={anchor}");
    let (_, id) = form_urlencoded::parse(pair.as_bytes()).next().unwrap();
    id.into_owned()
}

#[test]
fn every_page_is_served_and_leads_to_what_is_there() {
    on_both("console_docs", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, None).await;
        let mut bodies = BTreeMap::new();
        for page in pages() {
            let answer = served.ask(&address(&page), "en").await;
            assert_eq!(answer.status(), StatusCode::OK, "{page}");
            assert!(answer.headers().contains_key("content-security-policy"), "{page}");
            let body = answer.text().await.unwrap();
            assert!(!body.contains("{{#include"), "{page}");
            assert!(!body.contains("<script"), "{page}");
            assert!(!body.contains(" style="), "{page}");
            assert_eq!(body.matches("<h1 ").count(), 1, "{page}");
            assert_eq!(body.matches("aria-current=\"page\"").count(), 2, "{page}");
            let lang = if page.contains("zh-CN") { "zh-CN" } else { "en" };
            assert!(body.contains(&format!("<html lang=\"{lang}\">")), "{page}");
            bodies.insert(address(&page), body);
        }
        let mut asked = BTreeSet::new();
        for (page, body) in &bodies {
            for link in values(body, "href").union(&values(body, "src")) {
                if link.contains("://") || !asked.insert(format!("{page} {link}")) {
                    continue;
                }
                let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
                let path = if path.is_empty() { page } else { path };
                assert!(path.starts_with('/'), "{page} leads to {link}");
                if let Some(target) = bodies.get(path) {
                    let is_there = anchor.is_empty() || values(target, "id").contains(&decoded(anchor));
                    assert!(is_there, "{page} leads to {link}, where there is no such heading");
                } else if path != "/console/" && asked.insert(path.to_owned()) {
                    let status = served.ask(path, "en").await.status();
                    assert!(
                        status == StatusCode::OK || path == "/docs/",
                        "{page} leads to {link}: {status}"
                    );
                }
            }
        }
        assert!(asked.len() > 100, "only {} links were followed", asked.len());
        let python = &bodies["/docs/receivers/python"];
        assert!(python.contains("def ") && !python.contains("ANCHOR"));
    });
}

#[test]
fn a_browser_keeps_a_page_and_comes_in_by_its_language() {
    on_both("console_docs_kept", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, None).await;
        for (language, first) in [("en", "/docs/quick-start"), ("zh-CN", "/docs/zh-CN/quick-start")] {
            for address in ["/docs", "/docs/"] {
                let answer = served.ask(address, language).await;
                assert_eq!(answer.status(), StatusCode::SEE_OTHER);
                assert_eq!(answer.headers()["location"], first);
            }
        }
        let answer = served.ask("/docs/security", "en").await;
        assert_eq!(answer.headers()["cache-control"], "public, no-cache");
        let tag = answer.headers()["etag"].to_str().unwrap().to_owned();
        for (shown, status) in [
            (tag.clone(), StatusCode::NOT_MODIFIED),
            (format!("\"other\", W/{tag}"), StatusCode::NOT_MODIFIED),
            ("\"other\"".to_owned(), StatusCode::OK),
        ] {
            let request = client()
                .get(format!("{}/docs/security", served.address))
                .header("If-None-Match", shown);
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status(), status);
            assert_eq!(answer.headers()["etag"], tag.as_str());
        }
        for nothing in [
            "/docs/nothing",
            "/docs/SUMMARY",
            "/docs/../Cargo.toml",
            "/docs/book.toml",
        ] {
            let status = served.ask(nothing, "en").await.status();
            assert_eq!(status, StatusCode::NOT_FOUND, "{nothing}");
        }
        let json = served.ask("/docs/vectors/request.json", "en").await;
        assert_eq!(json.headers()["content-type"], "application/json");
        serde_json::from_str::<serde_json::Value>(&json.text().await.unwrap()).unwrap();
    });
}

#[test]
fn the_console_leads_to_the_book_in_the_readers_language() {
    on_both("console_docs_link", |database, _| async move {
        let hub = open_hub(&database).await;
        let served = Served::start(&hub, Some(rollcall::access::Role::Auditor)).await;
        for (language, first) in [("en", "/docs/quick-start"), ("zh-CN", "/docs/zh-CN/quick-start")] {
            let home = served.ask("/console/", language).await.text().await.unwrap();
            assert!(values(&home, "href").contains(first), "{language}");
        }
    });
}
