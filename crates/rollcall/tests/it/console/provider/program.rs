//! The same with the real program: how it is configured, and what its log says.

use std::io::Read as _;

use rollcall::config::Config;

use super::*;
use crate::operate::{Served, done, rollcall};

const RIGHT: &str = r#"
[access.oidc]
issuer = "https://id.example.com/realms/company"
client_id = "rollcall"
console_url = "https://rollcall.example.com/"

[access.oidc.roles]
hub-admins = "administrator"
wiki-team = { role = "application_owner", applications = ["Wiki"] }
"#;

#[test]
fn settings_that_nobody_could_sign_in_with_are_refused_by_name() {
    Config::of_text(RIGHT).unwrap();
    let on = "issuer = \"http://[::1]:8080\"";
    Config::of_text(&RIGHT.replace("issuer = \"https://id.example.com/realms/company\"", on)).unwrap();
    let public = "public_url = \"https://rollcall.example.com\"\n";
    let without = RIGHT.replace("console_url = \"https://rollcall.example.com/\"\n", "");
    Config::of_text(&format!("{public}{without}")).unwrap();
    let wrong = |from: &str, to: &str| {
        assert!(RIGHT.contains(from), "{from}");
        let error = Config::of_text(&RIGHT.replace(from, to));
        format!("{:#}", error.expect_err(to))
    };
    for (from, to, says) in [
        ("https://id.", "http://id.", "access.oidc.issuer"),
        ("https://id.", "ftp://id.", "access.oidc.issuer"),
        ("realms/company", "?a", "access.oidc.issuer"),
        ("client_id = \"rollcall\"", "", "access.oidc.client_id"),
        (
            "console_url = \"https://rollcall.example.com/\"",
            "",
            "access.oidc.console_url",
        ),
        ("https://rollcall.", "rollcall.", "access.oidc.console_url"),
        (
            "client_id",
            "scopes = [\"profile\"]\nclient_id",
            "access.oidc.scopes",
        ),
        (
            "client_id",
            "session_lifetime = 0\nclient_id",
            "access.oidc.session_lifetime",
        ),
        ("\"administrator\"", "\"king\"", "a role, or"),
        ("\"administrator\"", "\"application_owner\"", "access.oidc.roles"),
        (
            "role = \"application_owner\"",
            "role = \"auditor\"",
            "access.oidc.roles",
        ),
        ("applications", "apps", "a role, or"),
        ("client_id", "client = 1\nclient_id", "access.oidc.client"),
    ] {
        let error = wrong(from, to);
        assert!(error.contains(says), "{to}: {error}");
    }
    let nobody = Config::of_text("[access.oidc]\npassword_sign_in = false\n");
    let error = format!("{:#}", nobody.expect_err("nobody could sign in"));
    assert!(error.contains("access.oidc.password_sign_in"), "{error}");
}

#[test]
fn the_program_signs_people_in_and_its_log_holds_no_secret() {
    on_both("provider_program", |database, _| async move {
        let fake = Fake::start(Clock::system()).await;
        let folder = tempfile::tempdir().unwrap();
        let secret = folder.path().join("secret");
        rollcall::private::make_folder(folder.path()).unwrap();
        std::fs::write(&secret, SECRET).unwrap();
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(&secret, closed).unwrap();
        let variables = [
            ("ISSUER", fake.issuer.clone()),
            ("CLIENT_ID", CLIENT.to_owned()),
            ("CLIENT_SECRET_FILE", secret.display().to_string()),
            ("SCOPES", "openid, profile".to_owned()),
            ("CONSOLE_URL", "http://rollcall.example".to_owned()),
            ("ROLES_CLAIM", "realm.roles".to_owned()),
            ("ROLES", r#"{"auditors": "auditor"}"#.to_owned()),
        ];
        let variables = variables.map(|(name, value)| (format!("ROLLCALL_ACCESS_OIDC_{name}"), value));
        let command = |arguments: &[&str]| {
            let mut process = rollcall(folder.path(), &[&["--database", &database], arguments].concat());
            process.envs(variables.clone());
            process
        };
        let mut serve = command(&["serve", "--listen", "127.0.0.1:0", "--log-format", "json"]);
        serve
            .env("ROLLCALL_LOG", "info,rollcall=trace")
            .stdout(std::process::Stdio::piped());
        let mut served = Served::run(serve);
        let mut browser = Browser::default();
        let base = format!("http://{}/console/sign-in", served.address);
        let mut secrets = Vec::new();
        for (roles, status) in [(["auditors"], 303), (["cooks"], 403)] {
            let left = browser.send(client().get(format!("{base}/provider"))).await;
            secrets.push(browser.cookies["rollcall_sign_in"].clone());
            let departure: Url = left.leads_to().parse().unwrap();
            secrets.extend(
                departure
                    .query_pairs()
                    .filter(|(name, _)| ["state", "nonce"].contains(&name.as_ref()))
                    .map(|(_, value)| value.into_owned()),
            );
            let mut back: Url = format!("{base}/return").parse().unwrap();
            back.query_pairs_mut()
                .extend_pairs(fake.agree(&departure, ada(&roles)));
            let said = browser.send(client().get(back)).await;
            assert_eq!(said.status, status, "{}", said.text);
            secrets.extend(browser.session().map(str::to_owned));
        }
        let linked = done(&command(&["account", "show", "ada"]).output().unwrap());
        let line = format!("signs in        at {} as subject-1", fake.issuer);
        assert!(linked.contains(&line), "{linked}");
        done(
            &command(&["account", "create", "grace", "--role", "auditor"])
                .output()
                .unwrap(),
        );
        let link = ["account", "link", "grace", "--subject", "subject-2"];
        done(&command(&link).output().unwrap());
        let again = ["account", "link", "admin", "--subject", "subject-2"];
        assert!(!command(&again).output().unwrap().status.success());
        let reset = command(&["account", "reset-password", "grace"]).output().unwrap();
        assert!(String::from_utf8_lossy(&reset.stderr).contains("signs in at the provider"));

        let rest = served.stop();
        let log = format!("{}{rest}", served.beginning);
        assert!(
            log.contains("a sign-in at the provider failed") && log.contains("/console/sign-in/return"),
            "{log}"
        );
        secrets.extend(fake.issued());
        secrets.extend([SECRET.to_owned(), "cooks".to_owned(), "subject-1".to_owned()]);
        assert!(secrets.len() > 8);
        for secret in secrets {
            assert!(!log.contains(&secret), "the log holds {secret}");
        }
        let mut out = String::new();
        served
            .child
            .stdout
            .take()
            .unwrap()
            .read_to_string(&mut out)
            .unwrap();
        assert!(out.contains("one-time password"));
    });
}
