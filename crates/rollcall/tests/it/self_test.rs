//! `rollcall self-test`, the real program.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::process::geteuid;
use serde_json::Value;

use crate::operate::rollcall;

fn run(folder: &Path, arguments: &[&str]) -> (i32, String, String) {
    let output = rollcall(folder, arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (
        output.status.code().unwrap(),
        text(output.stdout),
        text(output.stderr),
    )
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn every_step_passes_and_nothing_is_left_behind() {
    let folder = tempfile::tempdir().unwrap();
    // Where there is no data folder yet, none is made.
    let (code, told, beside) = run(folder.path(), &["self-test"]);
    assert_eq!(code, 0, "{told}\n{beside}");
    assert!(told.contains("10 users arrived, equal field by field"), "{told}");
    assert!(told.ends_with("this machine can run a hub\n"), "{told}");
    assert_eq!(names(folder.path()), [""; 0]);

    // What is there stays as it is.
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    std::fs::write(data.join("rollcall.db"), "somebody's").unwrap();
    let (code, told, beside) = run(folder.path(), &["self-test", "--json"]);
    assert_eq!(code, 0, "{told}\n{beside}");
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["passed"], true);
    let steps = report["steps"].as_array().unwrap();
    let steps: Vec<&str> = steps.iter().map(|step| step["name"].as_str().unwrap()).collect();
    let expected = [
        "folder",
        "permissions",
        "clock",
        "entropy",
        "keys",
        "database",
        "ports",
        "start",
        "delivery",
        "removal",
    ];
    assert_eq!(steps, expected);
    assert_eq!(names(&data), ["rollcall.db"]);
    assert_eq!(
        std::fs::read_to_string(data.join("rollcall.db")).unwrap(),
        "somebody's"
    );
}

#[test]
fn a_step_that_fails_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    std::fs::create_dir(&data).unwrap();
    // Root may write everywhere but where nobody may.
    let unwritable = match geteuid().is_root() {
        true => Path::new("/proc/self").to_owned(),
        false => {
            std::fs::set_permissions(&data, std::fs::Permissions::from_mode(0o500)).unwrap();
            data
        }
    };
    let words = ["self-test", "--json", "--data-dir", unwritable.to_str().unwrap()];
    let (code, told, beside) = run(folder.path(), &words);
    assert_eq!(code, 1, "{told}\n{beside}");
    let report: Value = serde_json::from_str(&told).unwrap();
    assert_eq!(report["passed"], false);
    let step = &report["steps"][0];
    assert_eq!(
        (&step["name"], &step["passed"]),
        (&"folder".into(), &false.into())
    );
    assert!(step["advice"].as_str().unwrap().contains("--data-dir"), "{step}");
}
