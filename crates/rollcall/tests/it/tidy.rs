//! The structure that ARCHITECTURE.md describes, held against the files.

use std::path::{Path, PathBuf};

use crate::uses::{self, Module, module_of};

/// The modules from the ground up; a module uses only those on its own floor and below.
const FLOORS: [&[&str]; 14] = [
    &["clock", "id", "pace", "placement", "private", "secret", "schema"],
    &["access", "audit", "change", "instance", "meter", "once", "owner"],
    &["directory", "application", "accounts"],
    &["connection"],
    &["hub"],
    &["delivery", "developer", "scim", "signin"],
    &["maintenance", "management"],
    &[
        "backup", "compare", "config", "health", "import", "listen", "listing", "why",
    ],
    &["export"],
    &["api"],
    &["console"],
    &["sender"],
    &["bench", "check", "trigger"],
    &["cli"],
];

/// The modules whose parts must not use each other in a circle: the crate itself, and delivery.
const WITHOUT_CIRCLES: [&[&str]; 2] = [&[], &["delivery"]];

/// Where SQL may stand.
const ROOMS: [&str; 14] = [
    "accounts/",
    "application/",
    "audit.rs",
    "backup/",
    "bench/",
    "change",
    // What they tell people to type.
    "cli/check.rs",
    "cli/demo.rs",
    "connection/",
    "delivery/comparison/",
    "delivery/ledger/",
    "directory/",
    "instance.rs",
    "once.rs",
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The sources of this crate, by their paths below `src`.
fn sources() -> Vec<(String, String)> {
    sources_below(&root().join("crates/rollcall/src"))
}

fn sources_below(top: &Path) -> Vec<(String, String)> {
    let mut folders = vec![top.to_owned()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).unwrap();
                let name = path.strip_prefix(top).unwrap();
                found.push((name.to_str().unwrap().to_owned(), text));
            }
        }
    }
    found
}

fn top(module: &Module) -> Option<&str> {
    module.first().map(String::as_str)
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

#[test]
fn nobody_uses_what_stands_above() {
    let files = sources();
    for (file, _) in &files {
        let module = module_of(file);
        assert!(
            top(&module).is_none_or(|top| floor_of(top).is_some()),
            "{file} has no floor"
        );
    }
    let uses = uses::read(&files);
    let mut seen = 0;
    for used in &uses {
        if let (Some(by), Some(of)) = (top(&used.by), top(&used.of)) {
            seen += usize::from(by != of);
            assert!(
                floor_of(of) <= floor_of(by),
                "{} uses {of}, which stands above {by}",
                used.place
            );
        }
    }
    assert!(seen > 500, "only {seen} uses were looked at");
}

#[test]
fn modules_do_not_use_each_other_in_a_circle() {
    let uses = uses::read(&sources());
    for below in WITHOUT_CIRCLES {
        if let Some(circle) = uses::circle(&uses, below) {
            panic!("a circle among the modules of `{}`: {circle}", below.join("::"));
        }
    }
}

/// What planning may know of: what it is given, and nothing that reads, sends or stores.
const PLANNED_WITH: [&str; 5] = [
    "application",
    "change",
    "clock",
    "delivery::model",
    "delivery::plan",
];

#[test]
fn planning_knows_nothing_that_reads_sends_or_stores() {
    let plan = ["delivery", "plan"].map(str::to_owned);
    let uses = uses::read(&sources());
    let made: Vec<_> = uses.iter().filter(|used| used.by.starts_with(&plan)).collect();
    assert!(made.len() > 20, "only {} uses were looked at", made.len());
    for used in made {
        let of = used.of.join("::");
        let known = PLANNED_WITH.iter().any(|known| {
            of.strip_prefix(known)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        });
        assert!(known, "{} uses {of}", used.place);
    }
}

#[test]
fn sql_stays_in_its_rooms() {
    for (file, text) in sources() {
        let has_sql = ["SELECT ", "INSERT INTO", "DELETE FROM", "UPDATE "]
            .iter()
            .any(|word| text.contains(word));
        let allowed = ROOMS.iter().any(|room| file.starts_with(room));
        assert!(!has_sql || allowed, "{file} has SQL");
    }
}

/// The tables of the directory: every write to them has a change in the log.
const DIRECTORY: [&str; 5] = [
    "users",
    "unit_members",
    "organizational_units",
    "groups",
    "group_members",
];

#[test]
fn only_the_directory_writes_what_the_log_tells_of() {
    // A restored database is new to everybody, and a benchmark's is its own.
    let rooms = ["directory/", "backup/restore.rs", "bench/"];
    let mut writes = 0;
    for (file, text) in sources() {
        let no_word = |c: char| !(c.is_ascii_alphanumeric() || c == '_');
        let words: Vec<&str> = text.split(no_word).filter(|word| !word.is_empty()).collect();
        for three in words.windows(3) {
            let table = match three {
                ["INSERT", "INTO", table] | ["DELETE", "FROM", table] | ["UPDATE", table, _] => table,
                _ => continue,
            };
            if DIRECTORY.contains(table) {
                writes += 1;
                let allowed = rooms.iter().any(|room| file.starts_with(room));
                assert!(
                    allowed,
                    "{file} writes {table}, of which the log tells nothing then"
                );
            }
        }
    }
    assert!(writes > 10, "only {writes} writes were found");
}

/// What takes the context of whoever comes in, and may be run in a transaction by the edges.
const DOORS: [&str; 5] = ["operate", "job", "comparison", "import", "accounts"];

#[test]
fn the_edges_write_through_the_doors_alone() {
    let mut doors = 0;
    for (file, text) in sources() {
        if !["api/", "cli/", "console/"]
            .iter()
            .any(|edge| file.starts_with(edge))
        {
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
    for (file, text) in sources_below(&root().join("crates")) {
        let lines = text.lines().count();
        assert!(lines <= 600, "{file} has {lines} lines");
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

#[test]
fn no_two_migrations_have_the_same_number_and_both_databases_have_the_same() {
    let numbered = |folder: &str| -> Vec<(u32, String)> {
        let files = std::fs::read_dir(root().join(folder)).unwrap();
        let mut found: Vec<(u32, String)> = files
            .map(|file| {
                let name = file.unwrap().file_name().into_string().unwrap();
                let (number, _) = name.strip_prefix('V').unwrap().split_once("__").unwrap();
                (number.parse().unwrap(), name)
            })
            .collect();
        found.sort();
        found
    };
    for program in ["rollcall", "receiver"] {
        let of = |dialect: &str| numbered(&format!("crates/{program}/migrations/{dialect}"));
        let (sqlite, postgres) = (of("sqlite"), of("postgres"));
        assert!(sqlite.len() >= 3);
        assert_eq!(sqlite, postgres, "the migrations of {program}");
        for pair in sqlite.windows(2) {
            assert!(pair[0].0 < pair[1].0, "{} and {}", pair[0].1, pair[1].1);
        }
    }
}
