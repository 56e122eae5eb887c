//! Signing in at a provider in a real browser: the whole way, and how its pages look.

use super::super::browser::Look;
use super::super::webdriver;
use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn somebody_signs_in_at_the_provider_in_a_browser() {
    let what = "nobody has signed in at a provider in a browser";
    let Some(browser) = webdriver::Browser::with_axe(what).await else {
        return;
    };
    let database = rollcall_db::testing::sqlite();
    let house = House::start_with(&database.url, |options| Options {
        label: Some("Sign in with Example".to_owned()),
        ..options
    })
    .await;
    let look = Look::new(&browser, &house.address);
    let at = |path: &str| format!("{}{path}", house.address);
    let mut wrong = Vec::new();
    for language in ["en", "zh-CN"] {
        browser.chromium("Network.clearBrowserCookies", json!({})).await;
        look.in_language(language).await;
        browser.resize(1280, 800, false).await;
        browser.open(&at("/console/audit")).await;
        wrong.extend(look.as_it_is("provider-sign-in", language).await);
        for roles in [["cooks"], ["auditors"]] {
            browser.open(&at("/console/sign-in?next=/console/audit")).await;
            browser.press("a[href^='/console/sign-in/provider']").await;
            // The provider asks nobody anything here: what it would send its visitor back with is known.
            let departure: Url = browser.address().await.parse().unwrap();
            assert!(departure.as_str().starts_with(&house.fake.issuer), "{departure}");
            let mut back: Url = at("/console/sign-in/return").parse().unwrap();
            let query = house.fake.agree(&departure, ada(&roles));
            back.query_pairs_mut().extend_pairs(&query);
            browser.open(back.as_str()).await;
            if roles == ["cooks"] {
                browser.wait_for("main").await;
                assert!(!browser.has(".rail").await, "somebody without a role got in");
                wrong.extend(look.as_it_is("provider-no-role", language).await);
            }
        }
        browser.wait_for(".rail").await;
        assert!(browser.address().await.ends_with("/console/audit"));
        browser.open(&at("/console/signed-out")).await;
        wrong.extend(look.as_it_is("provider-signed-out", language).await);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
