//! Every page from sample data, in both languages.

use std::collections::HashMap;

use rollcall::access::Role;

use super::Served;
use super::sample::fill;
use crate::world::{on_both, open_hub};

/// Prefixes of ids.
const IDS: [&str; 14] = [
    "user_", "ou_", "group_", "app_", "job_", "KEY", "idaas_", "evnt_", "acc_", "tok_", "ses_", "conn_",
    "ctok_", "csec_",
];

/// The same text, without what is different at every run: ids and times.
fn settled(text: &str) -> String {
    let mut known: HashMap<String, String> = HashMap::new();
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | ':');
        let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        if end == 0 {
            let c = rest.chars().next().unwrap();
            out.push(c);
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (word, after) = rest.split_at(end);
        rest = after;
        let number = known.len() + 1;
        if let Some(prefix) = IDS
            .iter()
            .find(|prefix| word.starts_with(**prefix) && word.len() > 18)
        {
            let name = known
                .entry(word.to_owned())
                .or_insert_with(|| format!("{prefix}{number}"));
            out.push_str(name);
        } else if word.len() == 13 && word.bytes().all(|byte| byte.is_ascii_digit()) {
            out.push_str("MILLIS");
        } else if word.starts_with("20") && word.matches('-').count() == 2 {
            out.push_str("DAY");
        } else if word.len() >= 5 && word.contains(':') && word.starts_with(|c: char| c.is_ascii_digit()) {
            out.push_str("TIME");
        } else {
            out.push_str(word);
        }
    }
    out
}

/// The same text without the token of a plan, which is made of ids.
fn without_plan(text: &str) -> String {
    const BEFORE: &str = "name=\"plan\" value=\"";
    match text.split_once(BEFORE) {
        None => text.to_owned(),
        Some((before, rest)) => {
            let (_, after) = rest.split_once('"').unwrap();
            format!("{before}{BEFORE}PLAN\"{after}")
        }
    }
}

/// What is within the page, beside what is the same on all.
pub(super) fn within(page: &str) -> String {
    let begin = page.find("<main").unwrap();
    let end = page.find("</main>").unwrap();
    let lines = page[begin..end].lines().map(str::trim_end);
    settled(
        &lines
            .filter(|line| !line.trim().is_empty())
            .collect::<Vec<_>>()
            .join("\n"),
    )
}

#[tokio::test]
async fn every_page_says_what_it_is_to_say_in_both_languages() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    for (name, path) in sample.pages() {
        for language in ["en", "zh-CN"] {
            let answer = served.ask(&path, language).await;
            let status = answer.status().as_u16();
            assert_eq!(status, if name == "not-found" { 404 } else { 200 }, "{path}");
            let text = answer.text().await.unwrap();
            assert!(text.contains(&format!("<html lang=\"{language}\">")), "{path}");
            let text = text.replace(&served.csrf, "CSRF");
            let text = text.replace(&sample.token_begins, "rct_PREFIX");
            let text = text.replace(&sample.connection_token_begins, "rcs_PREFIX");
            let text = text.replace(&sample.client_secret_begins, "rcc_PREFIX");
            insta::assert_snapshot!(format!("{name}.{language}"), within(&without_plan(&text)));
        }
    }
}

#[tokio::test]
async fn pages_are_private_and_assets_are_kept_for_good() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    for path in [
        "/console/",
        "/console/nothing",
        "/console/applications/app_nobody",
    ] {
        let answer = served.ask(path, "en").await;
        assert_eq!(answer.headers()["cache-control"], "no-store", "{path}");
        let policy = answer.headers()["content-security-policy"].to_str().unwrap();
        for part in [
            "default-src 'self'",
            "frame-ancestors 'none'",
            "form-action 'self'",
            "base-uri 'none'",
        ] {
            assert!(policy.contains(part), "{path}: {policy}");
        }
        let text = answer.text().await.unwrap();
        assert!(!text.contains("style=") && !text.contains("<style") && !text.contains("onclick"));
    }
    let first = served.ask("/", "en").await;
    assert_eq!(first.headers()["location"], "/console/");
}

#[test]
fn everything_that_can_be_pressed_does_it_and_leads_back() {
    on_both("console_actions", |database, _| async move {
        let hub = open_hub(&database).await;
        let sample = fill(&hub).await;
        let served = Served::start(&hub, Some(Role::Operator)).await;
        let (chat, payroll) = (&sample.chat, &sample.payroll);
        for (path, form, lead) in [
            (
                format!("{chat}/resend"),
                vec![("event", "ev_aside_2")],
                "/deliveries?done=resend&count=1",
            ),
            (
                format!("{chat}/dismiss"),
                vec![("event", "ev_aside_1")],
                "/deliveries?done=dismiss&count=1",
            ),
            (format!("{payroll}/resume"), vec![], "?done=resume&count=1"),
            (format!("{payroll}/pause"), vec![], "?done=pause&count=1"),
            (
                format!("{chat}/synchronize"),
                vec![],
                "/synchronize?done=synchronize&count=1",
            ),
            (
                format!("{chat}/cancel"),
                vec![],
                "/synchronize?done=cancel&count=1",
            ),
            (format!("{chat}/skip"), vec![], "/deliveries?done=skip&count=1"),
        ] {
            let path = format!("/console/applications/{path}");
            let mut form = form;
            form.push(("csrf", &served.csrf));
            let answer = served.post(&path, &form).await;
            assert_eq!(answer.status(), 303, "{path}");
            let location = answer.headers()["location"].to_str().unwrap().to_owned();
            assert!(location.ends_with(lead), "{path} leads to {location}");
            let text = served.ask(&location, "en").await.text().await.unwrap();
            assert!(text.contains("role=\"status\""), "{location} says nothing");
        }
        let push = format!("/console/applications/{chat}/push");
        let answer = served
            .post(&push, &[("csrf", &served.csrf), ("user", &sample.user)])
            .await;
        assert_eq!(answer.status(), 303);
        // What cannot be done says why, and changes nothing.
        let path = format!("/console/applications/{chat}/dismiss");
        let answer = served
            .post(&path, &[("csrf", &served.csrf), ("event", "ev_nobody")])
            .await;
        assert_eq!(answer.status(), 409);
        assert!(answer.text().await.unwrap().contains("ev_nobody"));
        // A failed test is shown with what to do.
        let test = format!("/console/applications/{chat}/test");
        assert_eq!(served.post(&test, &[("csrf", &served.csrf)]).await.status(), 303);
        let text = served.ask(&test, "en").await.text().await.unwrap();
        assert!(text.contains("The connection does not work") && text.contains("class=\"advice"));
    });
}

#[test]
fn long_lists_are_read_page_by_page_and_nothing_is_left_out() {
    on_both("console_lists", |database, _| async move {
        let hub = open_hub(&database).await;
        let new =
            (0..120).map(|index| crate::world::new_user(&format!("user{index:03}"), rollcall::id::ROOT_UNIT));
        crate::world::create_users(&hub, new.collect()).await;
        let served = Served::start(&hub, Some(Role::Administrator)).await;
        for first in ["/console/directory", "/console/audit"] {
            let (mut next, mut seen, mut pages) = (Some(first.to_owned()), String::new(), 0);
            while let Some(path) = next {
                let text = served.ask(&path, "en").await.text().await.unwrap();
                pages += 1;
                assert!(pages < 10, "{first} does not end");
                next = text
                    .split("href=\"")
                    .skip(1)
                    .map(|rest| {
                        rest.split('"')
                            .next()
                            .unwrap()
                            .replace("&#38;", "&")
                            .replace("&amp;", "&")
                    })
                    .find(|href| href.contains("after=") || href.contains("change="));
                seen.push_str(&text);
            }
            assert!(pages >= 3, "{first}: {pages}");
            for index in 0..120 {
                let name = format!("user{index:03}");
                assert!(seen.contains(&name), "{first} leaves out {name}");
            }
        }
        let text = served
            .ask("/console/directory?search=R117", "en")
            .await
            .text()
            .await
            .unwrap();
        assert!(text.contains("user117") && !text.contains("user116"));
    });
}

#[tokio::test]
async fn a_live_part_sends_the_same_fragment_and_sends_it_again_when_it_changes() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let sample = fill(&hub).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    let path = format!("/console/applications/{}/live/jobs", sample.wiki);
    let mut answer = served.ask(&path, "en").await;
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let first = String::from_utf8(answer.chunk().await.unwrap().unwrap().to_vec()).unwrap();
    let page = format!("/console/applications/{}/synchronize", sample.wiki);
    let page = served.ask(&page, "en").await.text().await.unwrap();
    let fragment: Vec<&str> = first
        .lines()
        .filter_map(|line| line.strip_prefix("data: "))
        .collect();
    assert!(fragment.len() > 20);
    for line in fragment {
        assert!(page.contains(line.trim()), "the page does not have {line}");
    }
    let post = format!("/console/applications/{}/synchronize", sample.wiki);
    assert_eq!(served.post(&post, &[("csrf", &served.csrf)]).await.status(), 303);
    let second = answer.chunk().await.unwrap().unwrap();
    assert!(String::from_utf8_lossy(&second).contains("Cancel synchronization"));
    served.console.end();
    assert!(
        answer.chunk().await.unwrap().is_none(),
        "the hub ends, and somebody still watches"
    );
}

#[tokio::test]
async fn the_charts_have_a_table_that_says_the_same() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    served.console.note().await.unwrap();
    fill(&hub).await;
    served.console.note().await.unwrap();
    let head = hub.db.read(rollcall::change::head).await.unwrap().seq;
    let text = served.ask("/console/", "en").await.text().await.unwrap();
    let rows = text.matches("<rect class=\"bar").count();
    assert_eq!(rows, 1);
    // Two changes were there before: the hub made its root.
    assert!(
        text.contains(&format!("<td class=\"number\">{}</td>", head - 1))
            || text.contains(&format!("<td class=\"number\">{head}</td>")),
        "{head}"
    );
}
