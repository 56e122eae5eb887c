//! What may go wrong at a provider and on the way, by accident or on purpose: nobody is signed in.

use std::sync::atomic::Ordering;

use super::fake::Mood;
use super::*;
use crate::access::fresh_account;

const DISTRUSTED: &str = "answer cannot be trusted";
const UNAVAILABLE: &str = "The provider cannot be reached";
const STALE: &str = "belongs to no sign-in that this browser has begun";

/// That somebody who has met with this is not signed in, and that it was nobody's fault but the provider's.
async fn nobody_is_in(house: &House, browser: &mut Browser) {
    assert_eq!(browser.session(), None);
    assert!(house.accounts().await.is_empty());
    assert_eq!(house.get(browser, "/console/").await.status, 303);
}

#[test]
fn a_token_that_says_something_else_signs_nobody_in() {
    in_a_house("provider_claims", |house| async move {
        let now = house.hub.clock.now() / 1_000;
        let mut browser = Browser::default();
        for (claim, value) in [
            ("nonce", json!("another")),
            ("nonce", Value::Null),
            ("aud", json!("another client")),
            ("aud", json!([])),
            ("aud", json!([CLIENT, "another client"])),
            ("azp", json!("another client")),
            ("iss", json!("https://accounts.example.com")),
            ("iss", json!(format!("{}/", house.fake.issuer))),
            ("exp", json!(now - 61)),
            ("exp", Value::Null),
            ("exp", json!("soon")),
            ("iat", json!(now + 120)),
            ("nbf", json!(now + 120)),
            ("sub", Value::Null),
            ("sub", json!("")),
        ] {
            let mut claims = ada(&["admins"]);
            claims[claim] = value.clone();
            let said = house.sign_in(&mut browser, claims).await;
            assert!(
                said.status == 502 && said.text.contains(DISTRUSTED),
                "{claim} {value}"
            );
            nobody_is_in(&house, &mut browser).await;
        }
        // What a correct provider may say as well.
        let mut claims = ada(&["admins"]);
        claims["aud"] = json!(["another client", CLIENT]);
        claims["azp"] = json!(CLIENT);
        claims["exp"] = json!(now - 30);
        claims["nbf"] = json!(now + 30);
        house.sign_in(&mut browser, claims).await.leads_to();
    });
}

#[test]
fn a_token_that_the_provider_has_not_signed_signs_nobody_in() {
    in_a_house("provider_keys", |house| async move {
        let mut browser = Browser::default();
        for mood in [
            Mood::NoAlgorithm,
            Mood::PublicAsSecret,
            Mood::Critical,
            Mood::OtherKey,
            Mood::UnknownKey,
        ] {
            house.fake.is(mood.clone());
            let said = house.sign_in(&mut browser, ada(&["admins"])).await;
            assert!(said.status == 502 && said.text.contains(DISTRUSTED), "{mood:?}");
            nobody_is_in(&house, &mut browser).await;
        }
        house.fake.is(Mood::Good);

        // A new key is good at once, and nobody makes the hub fetch keys again and again.
        house.clock.set(11_000);
        house.fake.rotate("second");
        let before = house.fake.keys.load(Ordering::SeqCst);
        house.sign_in(&mut browser, ada(&["admins"])).await.leads_to();
        assert_eq!(house.fake.keys.load(Ordering::SeqCst), before + 1);
        house.fake.is(Mood::UnknownKey);
        for _ in 0..5 {
            let said = house.sign_in(&mut Browser::default(), ada(&["admins"])).await;
            said.refused(502, DISTRUSTED);
        }
        assert_eq!(house.fake.keys.load(Ordering::SeqCst), before + 1);
    });
}

#[test]
fn an_answer_is_good_for_the_browser_that_left_and_once() {
    in_a_house("provider_state", |house| async move {
        let mut browser = Browser::default();
        let set = |query: &[(String, String)], name: &str, value: Option<&str>| {
            let rest = query.iter().filter(|(other, _)| other != name).cloned();
            let new = value.map(|value| (name.to_owned(), value.to_owned()));
            rest.chain(new).collect::<Vec<_>>()
        };
        for (name, value, status, says) in [
            ("state", Some("another"), 403, STALE),
            ("state", None, 403, STALE),
            ("code", None, 403, STALE),
            ("code", Some("another"), 403, "invalid_grant"),
            ("iss", Some("https://accounts.example.com"), 502, DISTRUSTED),
            ("error", Some("access_denied"), 403, "access_denied"),
        ] {
            let departure = house.leave(&mut browser).await;
            let query = set(&house.fake.agree(&departure, ada(&["admins"])), name, value);
            house.come_back(&mut browser, &query).await.refused(status, says);
            nobody_is_in(&house, &mut browser).await;
            assert!(browser.cookies.is_empty(), "{name}");
        }

        // In another browser, or with what another one keeps.
        let departure = house.leave(&mut browser).await;
        let query = house.fake.agree(&departure, ada(&["admins"]));
        let mut other = Browser::default();
        house.come_back(&mut other, &query).await.refused(403, STALE);
        house.leave(&mut other).await;
        house.come_back(&mut other, &query).await.refused(403, STALE);
        let kept = browser.cookies["rollcall_sign_in"].clone();
        let forged = kept.replace(&kept[20..24], "AAAA");
        for cookie in [forged, "x".to_owned(), kept.repeat(20)] {
            other.cookies.insert("rollcall_sign_in".to_owned(), cookie);
            house.come_back(&mut other, &query).await.refused(403, STALE);
        }

        // Once; then neither without what was kept, nor with it.
        house.come_back(&mut browser, &query).await.leads_to();
        let mut again = Browser::default();
        house.come_back(&mut again, &query).await.refused(403, STALE);
        again.cookies.insert("rollcall_sign_in".to_owned(), kept.clone());
        house
            .come_back(&mut again, &query)
            .await
            .refused(403, "invalid_grant");
        assert_eq!(again.session(), None);
        house.clock.set(10 * MINUTE + 1_000);
        again.cookies.insert("rollcall_sign_in".to_owned(), kept);
        house.come_back(&mut again, &query).await.refused(403, STALE);

        // A provider that says that it names itself has to.
        house
            .fake
            .says("authorization_response_iss_parameter_supported", true.into());
        house.clock.set(2 * HOUR);
        let departure = house.leave(&mut again).await;
        let query = set(&house.fake.agree(&departure, ada(&["admins"])), "iss", None);
        house.come_back(&mut again, &query).await.refused(502, DISTRUSTED);
    });
}

#[test]
fn a_provider_that_cannot_be_asked_keeps_nobody_else_out() {
    in_a_house("provider_down", |house| async move {
        let mut browser = Browser::default();
        let mut ahead = 0;
        for mood in [Mood::Broken, Mood::Slow, Mood::Endless] {
            house.fake.is(mood);
            let left = house.get(&mut browser, "/console/sign-in/provider").await;
            left.refused(502, UNAVAILABLE);
            left.refused(502, "type=\"password\"");
            // A crowd does not wait in turns for one that is silent.
            let before = house.fake.documents.load(Ordering::SeqCst);
            let left = house.get(&mut browser, "/console/sign-in/provider").await;
            left.refused(502, UNAVAILABLE);
            assert_eq!(house.fake.documents.load(Ordering::SeqCst), before);
            ahead += 6_000;
            house.clock.set(ahead);
        }
        let fresh = fresh_account(&house.hub, "grace", Role::Auditor).await;
        let one_time = fresh.one_time_password.unwrap();
        let one_time = rollcall::secret::ExposeSecret::expose_secret(&one_time);
        let form = format!("name=grace&password={one_time}");
        let said = house
            .post(&mut Browser::default(), "/console/sign-in", &form)
            .await;
        assert_eq!(said.leads_to(), "/console/");

        // It goes while somebody is there.
        for mood in [Mood::Broken, Mood::Slow, Mood::Endless, Mood::Garbage] {
            house.fake.is(Mood::Good);
            let departure = house.leave(&mut browser).await;
            let query = house.fake.agree(&departure, ada(&["admins"]));
            house.fake.is(mood);
            house
                .come_back(&mut browser, &query)
                .await
                .refused(502, UNAVAILABLE);
            assert_eq!(browser.session(), None);
        }
        house.fake.is(Mood::Good);
        house.sign_in(&mut browser, ada(&["admins"])).await.leads_to();
    });
}

#[test]
fn a_provider_that_says_what_it_must_not_is_not_used() {
    in_a_house("provider_documents", |house| async move {
        let issuer = house.fake.issuer.clone();
        let mut ahead = 0;
        for (name, wrong, right) in [
            ("issuer", "https://accounts.example.com", issuer.clone()),
            (
                "token_endpoint",
                "http://accounts.example.com/token",
                format!("{issuer}/token"),
            ),
            ("jwks_uri", "file:///etc/passwd", format!("{issuer}/keys")),
            ("authorization_endpoint", "nowhere", format!("{issuer}/authorize")),
        ] {
            house.fake.says(name, wrong.into());
            let left = house
                .get(&mut Browser::default(), "/console/sign-in/provider")
                .await;
            left.refused(502, UNAVAILABLE);
            house.fake.says(name, right.into());
            ahead += 6_000;
            house.clock.set(ahead);
        }
        house
            .sign_in(&mut Browser::default(), ada(&["admins"]))
            .await
            .leads_to();
    });
}

#[test]
fn attempts_that_fail_are_slowed_down_by_address() {
    in_a_house("provider_throttle", |house| async move {
        let query = [
            ("state".to_owned(), "x".to_owned()),
            ("code".to_owned(), "x".to_owned()),
        ];
        for _ in 0..30 {
            let said = house.come_back(&mut Browser::default(), &query).await;
            said.refused(403, STALE);
        }
        let said = house.come_back(&mut Browser::default(), &query).await;
        said.refused(429, "Too many sign-ins have failed");
        house.clock.set(MINUTE + 1_000);
        house
            .sign_in(&mut Browser::default(), ada(&["admins"]))
            .await
            .leads_to();
    });
}
