//! Signing in at a provider that others have written: npm's `oidc-provider`, which `cargo xtask test` installs.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use super::*;

/// Where the provider is installed; nowhere, if the test does not run.
fn installed() -> Option<PathBuf> {
    let folder = std::env::var_os("ROLLCALL_TEST_OIDC_PROVIDER");
    if folder.is_none() {
        let why = "ROLLCALL_TEST_OIDC_PROVIDER names no folder; cargo xtask test installs it, for Node.js 20 or newer";
        rollcall_db::testing::did_not_run("oidc-provider", why);
    }
    Some(Path::new(&folder?).join("node_modules/oidc-provider/lib/index.js"))
}

/// The provider's process, which ends with this.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(module: &Path, console_url: &str) -> (Running, String) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/data/oidc-provider.mjs");
    let mut child = Command::new("node")
        .arg(script)
        .arg(module)
        .args([SECRET, console_url])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let running = Running(child);
    let mut lines = lines.map_while(Result::ok);
    let issuer = lines.find(|line| line.starts_with("http://"));
    // It goes on writing, and must not find the pipe closed.
    std::thread::spawn(move || lines.for_each(drop));
    (running, issuer.expect("the provider listens"))
}

/// The address that a form on a page is posted to.
fn action(page: &str) -> &str {
    let (_, rest) = page.split_once("action=\"").unwrap_or_else(|| panic!("{page}"));
    rest.split('"').next().unwrap()
}

/// Follows a provider's pages until it sends the browser back to the hub.
async fn agree(browser: &mut Browser, issuer: &str, departure: &str, name: &str) -> String {
    let mut next = departure.to_owned();
    for _ in 0..12 {
        if !next.starts_with(issuer) {
            return next;
        }
        let said = browser.send(client().get(&next)).await;
        if let Some(location) = said.location {
            next = absolute(issuer, &location);
            continue;
        }
        let form = match said.text.contains("value=\"login\"") {
            true => format!("prompt=login&login={name}&password=any"),
            false => "prompt=consent".to_owned(),
        };
        let request = client()
            .post(absolute(issuer, action(&said.text)))
            .header("Content-Type", "application/x-www-form-urlencoded");
        let said = browser.send(request.body(form)).await;
        next = absolute(issuer, said.leads_to());
    }
    panic!("the provider leads nowhere: {next}");
}

fn absolute(issuer: &str, place: &str) -> String {
    let base: Url = issuer.parse().unwrap();
    base.join(place).unwrap().into()
}

#[test]
fn somebody_signs_in_at_a_provider_that_others_have_written() {
    let Some(module) = installed() else {
        return;
    };
    on_both("provider_real", |database, _| {
        let module = module.clone();
        async move {
            let mut running = None;
            let house = House::start_with(&database, |options| {
                let (process, issuer) = run(&module, &options.console_url);
                running = Some((process, issuer.clone()));
                Options {
                    issuer,
                    patience: Duration::from_secs(10),
                    ..options
                }
            });
            let house = house.await;
            let (process, issuer) = running.unwrap();
            let mut browser = Browser::default();
            let left = house.leave(&mut browser).await;
            let back = agree(&mut browser, &issuer, left.as_str(), "ada").await;
            let said = browser.send(client().get(&back)).await;
            assert_eq!(said.leads_to(), "/console/", "{}", said.text);
            let account = house.account("ada").await;
            assert_eq!(account.role, Role::Auditor);
            assert_eq!(account.display_name.as_deref(), Some("Somebody"));
            assert_eq!(house.get(&mut browser, "/console/").await.status, 200);
            let page = house.get(&mut browser, "/console/signed-out").await;
            let place = format!("href=\"{issuer}/session/end?");
            assert!(page.text.contains(&place), "{}", page.text);

            // Its code is good once, also for the browser that it was made for.
            let kept = house.leave(&mut browser).await;
            let back = agree(&mut browser, &issuer, kept.as_str(), "ada").await;
            let sign_in = browser.cookies["rollcall_sign_in"].clone();
            browser.send(client().get(&back)).await.leads_to();
            browser.cookies.clear();
            browser.cookies.insert("rollcall_sign_in".to_owned(), sign_in);
            let said = browser.send(client().get(&back)).await;
            said.refused(403, "invalid_grant");
            drop(process);
        }
    });
}
