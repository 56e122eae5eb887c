//! Sign-ins that fail.

use rollcall::access::Role;
use rollcall::clock::Millis;
use serde_json::json;

use super::{MINUTE, PASSWORD, Said, Site, on_each};

async fn from(site: &Site, address: &str, name: &str, password: &str) -> Said {
    let headers = [("x-forwarded-for", address.to_owned())];
    let body = json!({ "name": name, "password": password });
    site.ask("POST", "/session", &headers, &body).await
}

fn waits(said: &Said) -> i64 {
    assert_eq!(said.refused(), (429, "too_many_sign_ins"));
    said.headers["retry-after"].to_str().unwrap().parse().unwrap()
}

#[test]
fn each_failure_doubles_the_pause_and_nobody_is_locked_out_for_good() {
    on_each("throttle_account", |site| async move {
        site.account("ada", Role::Auditor).await;
        // A name that nobody has is treated as one that somebody has.
        for (name, address) in [("ada", "192.0.2.1"), ("nobody", "198.51.100.1")] {
            let mut ahead: Millis = 0;
            for number in 1..=5 {
                let said = from(&site, address, name, "not the password").await;
                assert_eq!(said.refused(), (401, "sign_in"), "{name} {number}");
            }
            for pause in [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] {
                // Trying meanwhile, even with the right password, changes nothing.
                for _ in 0..2 {
                    let wait = waits(&from(&site, "203.0.113.1", &name.to_uppercase(), PASSWORD).await);
                    assert!((pause - 2..=pause + 1).contains(&wait), "{wait} for {pause}");
                }
                ahead += pause * 1_000 + 50;
                site.clock.set(ahead);
                let said = from(&site, address, name, "not the password").await;
                assert_eq!(said.refused(), (401, "sign_in"), "{name} after {pause}");
            }
            site.clock.set(ahead + 301_000);
            if name == "ada" {
                assert_eq!(from(&site, address, "ada", PASSWORD).await.status, 200);
                // It begins anew.
                for _ in 0..5 {
                    assert_eq!(from(&site, address, "ada", "not the password").await.status, 401);
                }
                assert!(waits(&from(&site, address, "ada", PASSWORD).await) <= 2);
            }
            site.clock.set(0);
        }
    });
}

#[test]
fn an_address_that_tries_many_names_is_slowed_down_too() {
    on_each("throttle_address", |site| async move {
        site.account("ada", Role::Auditor).await;
        for number in 0..30 {
            let said = from(&site, "192.0.2.7", &format!("name{number}"), "x").await;
            assert_eq!(said.status, 401, "{number}");
        }
        assert!(waits(&from(&site, "192.0.2.7", "ada", PASSWORD).await) <= 2);
        assert_eq!(
            from(&site, "192.0.2.8", "ada", PASSWORD).await.status,
            200,
            "others are not"
        );
        // An hour without failures forgets them, and maintenance removes what is forgotten.
        site.clock.set(61 * MINUTE);
        for _ in 0..3 {
            assert_eq!(from(&site, "192.0.2.7", "ada", PASSWORD).await.status, 200);
        }
        assert!(
            !site.database().await.contains("192.0.2.7\n192.0.2.7"),
            "addresses are hashed there"
        );
    });
}

#[test]
fn many_tries_at_once_get_no_further_than_as_many_in_a_row() {
    on_each("throttle_at_once", |site| async move {
        site.account("ada", Role::Auditor).await;
        let tries = (0..24).map(|number| {
            let (address, password) = (format!("192.0.2.{number}"), format!("guess number {number}"));
            let site = &site;
            async move { from(site, &address, "ada", &password).await.status }
        });
        let mut tries: Vec<_> = tries.map(Box::pin).collect();
        let mut statuses = Vec::new();
        // All of them are under way before the first is answered.
        std::future::poll_fn(|context| {
            tries.retain_mut(|one| match one.as_mut().poll(context) {
                std::task::Poll::Ready(status) => {
                    statuses.push(status);
                    false
                }
                std::task::Poll::Pending => true,
            });
            match tries.is_empty() {
                true => std::task::Poll::Ready(()),
                false => std::task::Poll::Pending,
            }
        })
        .await;
        let looked_at = statuses.iter().filter(|status| **status == 401).count();
        assert!((1..=6).contains(&looked_at), "{statuses:?}");
        assert!(statuses.iter().all(|status| [401, 429, 503].contains(status)));
    });
}
