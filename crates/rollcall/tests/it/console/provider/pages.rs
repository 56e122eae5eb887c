//! How it looks, in both languages.

use super::super::pages::within;
use super::*;
use crate::access::fresh_account;

#[tokio::test]
async fn pages_about_the_provider_say_what_they_are_to_say() {
    for passwords in [true, false] {
        let database = rollcall_db::testing::sqlite();
        let house = House::start_with(&database.url, |options| Options {
            passwords,
            label: passwords.then(|| "Sign in with Example".to_owned()),
            contact: None,
            ..options
        });
        let house = house.await;
        fresh_account(&house.hub, "ada", Role::Auditor).await;
        let mut browser = Browser::default();
        let kind = if passwords { "beside" } else { "alone" };
        for language in ["en", "zh-CN"] {
            browser
                .cookies
                .insert("rollcall_language".to_owned(), language.to_owned());
            let say = |name: &str, said: Said| {
                let text = within(&said.text);
                insta::assert_snapshot!(format!("provider-{name}-{kind}.{language}"), text);
            };
            say("sign-in", house.get(&mut browser, "/console/sign-in").await);
            say(
                "no-role",
                house.sign_in(&mut browser, ada(&["cooks", "bakers"])).await,
            );
            say(
                "name-taken",
                house.sign_in(&mut browser, ada(&["auditors"])).await,
            );
            let page = house.get(&mut browser, "/console/signed-out").await;
            let text = page.text.replace(&house.fake.issuer, "ISSUER");
            let text = text.replace(&house.address["http://".len()..].replace(':', "%3A"), "HOST");
            say("signed-out", Said { text, ..page });
        }
    }
}
