//! What a browser loads: little the first time, and only the page itself after that.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

use flate2::read::GzDecoder;
use rollcall::access::Role;
use rollcall::application::Scope;
use rollcall::delivery::ledger::parked;

use super::sample::{aside, sql};
use super::{Served, client};
use crate::world::{add_application, open_hub};

/// How many bytes the first load may take.
const MOST: usize = 100_000;

impl Served {
    /// Asks as a browser does, which reads what is compressed.
    async fn load(&self, path: &str) -> reqwest::Response {
        let request = client().get(format!("{}{path}", self.address));
        let request = self
            .with_cookie(request)
            .header("Accept-Encoding", "gzip, deflate, br, zstd");
        let answer = request.send().await.unwrap();
        assert_eq!(answer.status(), 200, "{path}");
        answer
    }
}

/// The addresses that a page, a style sheet or a drawing names as something to load.
fn loads(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for before in [
        "src=\"",
        "<link rel=\"icon\"",
        "<link rel=\"stylesheet\"",
        "url(",
        "@import",
    ] {
        for rest in text.split(before).skip(1) {
            let named = match before {
                "src=\"" => rest,
                "url(" | "@import" => rest.trim_start().trim_start_matches(['"', '\'']),
                _ => rest.split_once("href=\"").unwrap().1,
            };
            let end = named.find(['"', '\'', ')']).unwrap();
            found.insert(named[..end].to_owned());
        }
    }
    found.retain(|address| !address.starts_with("data:"));
    found
}

/// What a page takes with everything that it loads: bytes by address, as they are sent.
async fn first_load(served: &Served, path: &str) -> BTreeMap<String, usize> {
    let page = served.load(path).await;
    assert!(!page.headers().contains_key("content-encoding"), "{path}");
    let text = page.text().await.unwrap();
    let mut taken = BTreeMap::from([(path.to_owned(), text.len())]);
    let mut left: Vec<String> = loads(&text).into_iter().collect();
    while let Some(address) = left.pop() {
        assert!(address.starts_with("/console/assets/"), "{path} loads {address}");
        if taken.contains_key(&address) {
            continue;
        }
        let answer = served.load(&address).await;
        // So the second load takes nothing but the page.
        let keep = &answer.headers()["cache-control"];
        assert_eq!(keep, "public, max-age=31536000, immutable", "{address}");
        assert_eq!(answer.headers()["content-encoding"], "gzip", "{address}");
        assert_eq!(answer.headers()["vary"], "accept-encoding", "{address}");
        let bytes = answer.bytes().await.unwrap();
        let mut text = String::new();
        GzDecoder::new(&bytes[..]).read_to_string(&mut text).unwrap();
        let plain = served.ask(&address, "en").await;
        assert!(!plain.headers().contains_key("content-encoding"), "{address}");
        assert_eq!(plain.text().await.unwrap(), text, "{address}");
        if address.ends_with(".css") || address.ends_with(".svg") {
            left.extend(loads(&text));
        }
        taken.insert(address, bytes.len());
    }
    taken
}

#[tokio::test]
async fn the_first_load_is_small_and_the_second_is_the_page_alone() {
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let now = hub.clock.now();
    // More applications than Home shows, each of which needs somebody in two ways.
    for number in 0..24 {
        let name = format!("Application {number:02} with a name that is as long as such names are");
        let made = add_application(
            &hub,
            &name,
            "http://127.0.0.1:1/events",
            None,
            Scope::everything(),
        )
        .await;
        let suspended = format!(
            r#"{{"since":{},"tries":8,"nextProbe":{now},"reason":"payroll.internal.example.com refuses connections on port 8443"}}"#,
            now - 3_600_000
        );
        let statement = "UPDATE deliveries SET suspended = $2 WHERE application_id = $1";
        sql(&hub, statement, &made.id, move || suspended.clone().into()).await;
        hub.db
            .write(move |tx| parked::store(tx, &made.id, &aside("ev_aside", "user_nobody", 1, now)))
            .await
            .unwrap();
    }
    let stranger = Served::start(&hub, None).await;
    let served = Served::start(&hub, Some(Role::Administrator)).await;
    // As many minutes as the charts show.
    for _ in 0..61 {
        served.console.note().await.unwrap();
    }
    for (served, path) in [(&stranger, "/console/sign-in"), (&served, "/console/")] {
        let taken = first_load(served, path).await;
        assert!(taken.len() >= 4, "{taken:?}");
        let bytes: usize = taken.values().sum();
        assert!(bytes < MOST, "{path} loads {bytes} bytes: {taken:#?}");
    }
}
