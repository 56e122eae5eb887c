//! The structure that ARCHITECTURE.md describes, held against the files.

use std::path::{Path, PathBuf};

/// The modules from the ground up; a module uses only those on its own floor and below.
const FLOORS: [&[&str]; 9] = [
    &["clock", "id", "private", "secret", "schema"],
    &["access", "audit", "change", "instance", "meter", "owner"],
    &["directory", "application"],
    &["hub"],
    &["delivery"],
    &["backup", "compare", "config", "health", "import", "why"],
    &["bench", "export"],
    &["api"],
    &["cli"],
];

/// Where SQL may stand.
const ROOMS: [&str; 8] = [
    "audit",
    "change",
    "instance",
    "directory",
    "application",
    "delivery",
    "backup",
    "bench",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn sources() -> Vec<(String, String)> {
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path
                    .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
                    .unwrap();
                found.push((name.to_str().unwrap().to_owned(), text));
            }
        }
    }
    found
}

fn module_of(file: &str) -> &str {
    file.split('/').next().unwrap().trim_end_matches(".rs")
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn nobody_uses_what_stands_above() {
    let mut seen = 0;
    for (file, text) in sources() {
        let Some(own) = floor_of(module_of(&file)) else {
            assert!(
                matches!(file.as_str(), "lib.rs" | "main.rs"),
                "{file} has no floor"
            );
            continue;
        };
        for used in text.split("crate::").skip(1) {
            let module = used
                .split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()
                .unwrap();
            if let Some(floor) = floor_of(module) {
                seen += 1;
                assert!(floor <= own, "{file} uses crate::{module}, which stands above it");
            }
        }
    }
    assert!(seen > 100, "only {seen} uses were looked at");
}

#[test]
fn sql_stays_in_its_rooms() {
    for (file, text) in sources() {
        let has_sql = ["SELECT ", "INSERT INTO", "DELETE FROM", "UPDATE "]
            .iter()
            .any(|word| text.contains(word));
        let allowed = ROOMS.contains(&module_of(&file)) || file == "cli/demo.rs";
        assert!(!has_sql || allowed, "{file} has SQL");
    }
}

/// What takes the context of whoever comes in, and may be run in a transaction by the edges.
const DOORS: [&str; 3] = ["operate", "job", "import"];

#[test]
fn the_edges_write_through_the_doors_alone() {
    let mut doors = 0;
    for (file, text) in sources() {
        if !["api", "cli"].contains(&module_of(&file)) {
            continue;
        }
        let text: String = text.split_whitespace().collect();
        // It proves that a writing transaction can be had, and writes nothing.
        let exempt = file == "cli/doctor.rs";
        assert!(
            exempt || !text.contains("db.write"),
            "{file} writes past the doors"
        );
        for forbidden in ["tx.execute(", "write_blocking(", "audit::record("] {
            assert!(!text.contains(forbidden), "{file} has {forbidden}");
        }
        for call in text.split("write_as(").skip(1) {
            let (_, run) = call.split_once("|tx,ctx|").unwrap();
            let run = run.trim_start_matches('{');
            let door = run.split("::").next().unwrap();
            let takes_context = run
                .split_once('(')
                .is_some_and(|(_, rest)| rest.starts_with("tx,ctx"));
            assert!(
                DOORS.contains(&door) && takes_context,
                "{file} runs something else than a door: {}",
                run.chars().take(60).collect::<String>()
            );
            doors += 1;
        }
    }
    assert!(doors >= 7, "only {doors} doors were found");
}

#[test]
fn files_stay_readable() {
    for (file, text) in sources() {
        let lines = text.lines().count();
        assert!(lines <= 800, "{file} has {lines} lines");
    }
}

#[test]
fn the_paths_in_the_architecture_exist() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let paths: Vec<_> = text
        .split('`')
        .skip(1)
        .step_by(2)
        .filter(|word| word.starts_with("crates/") || *word == "xtask")
        .collect();
    assert!(paths.len() >= 10);
    for path in paths {
        assert!(root().join(path).exists(), "ARCHITECTURE.md names {path}");
    }
}
