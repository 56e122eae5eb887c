//! Schemathesis sends what the OpenAPI document permits and forbids to a hub, and looks at every answer: whether it is a
//! failure of the hub, or one that the document does not describe.

use std::process::Command as Process;

use crate::strangers;

/// The program, which `cargo xtask test` installs.
const PROGRAM: &str = "ROLLCALL_TEST_SCHEMATHESIS";

/// For how many seconds requests are sent.
const SECONDS: &str = "60";

/// What fits the schema may still be refused: no schema knows which names are taken, or what there is.
const CONFIGURATION: &str = "\
[checks.positive_data_acceptance]
expected-statuses = [\"2xx\", 400, 401, 403, 404, 409, 412, 422, 428, 429]
";

/// Nobody reads the log of the hub meanwhile, so it may only say where it listens.
const SETTINGS: &str = "
[access]
requests_per_second = 0
[log]
level = \"error,rollcall::cli::serve=info\"
";

/// Something of everything, so that requests find something.
const THERE: [(&str, &str); 7] = [
    (
        "/organizational-units",
        r#"{"name":"Optics","parentId":"ou_root"}"#,
    ),
    (
        "/users",
        r#"{"username":"ada","displayName":"Ada","primaryOrganizationalUnitId":"ou_root"}"#,
    ),
    ("/groups", r#"{"name":"Staff"}"#),
    (
        "/applications",
        r#"{"name":"Wiki","settings":{"url":"http://127.0.0.1:1/events"}}"#,
    ),
    ("/accounts", r#"{"name":"bob","role":"auditor"}"#),
    ("/tokens", r#"{"name":"ci","role":"auditor"}"#),
    (
        "/connections",
        r#"{"name":"Okta","organizationalUnitId":"ou_root"}"#,
    ),
];

#[test]
fn whatever_is_sent_gets_an_answer_that_is_described() {
    let Some(program) = std::env::var_os(PROGRAM) else {
        let why = "the program st is not named by ROLLCALL_TEST_SCHEMATHESIS; cargo xtask test installs it";
        rollcall_db::testing::did_not_run("schemathesis", why);
        return;
    };
    let folder = strangers::folder(SETTINGS);
    let database = format!("sqlite:{}", folder.path().join("data/rollcall.db").display());
    let served = strangers::serve(folder.path(), &database);
    let bearer = format!("Bearer {}", strangers::token(folder.path()));
    let headers = format!("authorization: {bearer}\r\ncontent-type: application/json\r\n");
    for (path, body) in THERE {
        let answer = served.ask("POST", &format!("/api/v1{path}"), &headers, body);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let configuration = folder.path().join("schemathesis.toml");
    std::fs::write(&configuration, CONFIGURATION).unwrap();
    let seed = std::env::var("ROLLCALL_SEED").unwrap_or_else(|_| "1".to_owned());
    let sent = Process::new(program)
        .arg("--config-file")
        .arg(&configuration)
        .args(["run", &format!("http://{}/api/v1/openapi.json", served.address)])
        .args(["--header", &format!("Authorization: {bearer}")])
        .args(["--checks", "all", "--continue-on-failure", "--warnings", "off"])
        .args(["--max-time", SECONDS, "--seed", &seed])
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&sent.stdout);
    assert!(
        sent.status.success(),
        "{said}\n{}",
        String::from_utf8_lossy(&sent.stderr)
    );
    // That it ended well because it sent nothing would be no news.
    let count: u32 = said
        .split_once("Test cases:")
        .and_then(|(_, rest)| rest.split_whitespace().next()?.parse().ok())
        .unwrap_or_else(|| panic!("{said}"));
    assert!(count > 500, "{said}");
}
