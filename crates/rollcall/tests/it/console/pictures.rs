//! The few pictures of the console that README shows. They are taken when `cargo xtask pictures` asks for them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::browser::{in_use, signed_in};
use super::webdriver::Browser;
use crate::world::open_hub;

/// Asks for the pictures of README.
const PICTURES: &str = "ROLLCALL_PICTURES";

/// The pages that README shows.
const SHOWN: [&str; 3] = ["home", "provisioning", "explain"];

/// How large a picture of README may be.
const LARGEST: usize = 150_000;

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_pictures_of_readme_are_taken_if_somebody_asks_for_them() {
    if std::env::var_os(PICTURES).is_none() {
        return;
    }
    let browser = Browser::with_axe("the pictures of README were not taken")
        .await
        .unwrap();
    let database = rollcall_db::testing::sqlite();
    let hub = open_hub(&database.url).await;
    let served = signed_in(&browser, &hub).await;
    let pages = in_use(&served, &hub).await.pages();
    let folder = repository().join("docs/pictures");
    std::fs::create_dir_all(&folder).unwrap();
    browser.resize(1_280, 800, false).await;
    for name in SHOWN {
        let (_, path) = pages.iter().find(|(page, _)| *page == name).unwrap();
        // Nothing has just been done.
        let path = path.split('?').next().unwrap();
        for theme in ["light", "dark"] {
            browser.theme(theme).await;
            browser.open(&format!("{}{path}", served.address)).await;
            browser.window(&folder.join(format!("{name}-{theme}.webp"))).await;
        }
    }
}

#[test]
fn readme_shows_pictures_that_there_are_and_that_are_small() {
    let readme = std::fs::read_to_string(repository().join("README.md")).unwrap();
    let named: BTreeSet<&str> = readme
        .split(['"', '(', ')', ' ', '\n'])
        .filter(|part| part.starts_with("docs/pictures/"))
        .collect();
    let expected: BTreeSet<String> = SHOWN
        .iter()
        .flat_map(|name| ["light", "dark"].map(|theme| format!("docs/pictures/{name}-{theme}.webp")))
        .collect();
    assert!(named.iter().eq(expected.iter()), "{named:?}");
    for file in named {
        let bytes = std::fs::read(repository().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"));
        assert!(bytes.starts_with(b"RIFF") && bytes[8..12] == *b"WEBP", "{file}");
        assert!(bytes.len() < LARGEST, "{file} has {} bytes", bytes.len());
    }
}
