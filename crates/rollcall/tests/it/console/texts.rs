//! The texts: every key that is used exists in all languages with the same arguments, and none is there for nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use fluent_syntax::ast::{Entry, Expression, InlineExpression, Pattern, PatternElement};

fn crate_folder() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The keys of a language, each with the arguments that its text names.
fn texts(file: &str) -> BTreeMap<String, BTreeSet<String>> {
    let text = std::fs::read_to_string(crate_folder().join("locales").join(file)).unwrap();
    let resource =
        fluent_syntax::parser::parse(text).unwrap_or_else(|(_, errors)| panic!("{file}: {errors:?}"));
    let mut found = BTreeMap::new();
    for entry in resource.body {
        if let Entry::Message(message) = entry {
            let mut names = BTreeSet::new();
            arguments(message.value.as_ref().unwrap(), &mut names);
            let twice = found.insert(message.id.name.clone(), names);
            assert!(twice.is_none(), "{file} has {} twice", message.id.name);
        }
    }
    found
}

fn arguments(pattern: &Pattern<String>, names: &mut BTreeSet<String>) {
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            let (Expression::Inline(inline) | Expression::Select { selector: inline, .. }) = expression;
            if let InlineExpression::VariableReference { id } = inline {
                names.insert(id.name.clone());
            }
            if let Expression::Select { variants, .. } = expression {
                for variant in variants {
                    arguments(&variant.value, names);
                }
            }
        }
    }
}

/// Everything in which a key can stand.
fn sources() -> Vec<(String, String)> {
    let mut folders = vec![
        crate_folder().join("templates"),
        crate_folder().join("src/console"),
    ];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => folders.push(path),
                false => found.push((
                    path.display().to_string(),
                    std::fs::read_to_string(&path).unwrap(),
                )),
            }
        }
    }
    found
}

#[test]
fn all_languages_have_the_same_keys_with_the_same_arguments() {
    let (english, chinese) = (texts("en.ftl"), texts("zh-CN.ftl"));
    assert!(english.len() > 300);
    assert_eq!(
        english.keys().collect::<Vec<_>>(),
        chinese.keys().collect::<Vec<_>>()
    );
    for (key, names) in &english {
        assert_eq!(names, &chinese[key], "{key}");
    }
}

#[test]
fn every_key_that_is_used_exists_and_none_is_unused() {
    let texts = texts("en.ftl");
    let sources = sources();
    let mut used = BTreeSet::new();
    for (file, source) in &sources {
        for word in source.split('"').skip(1) {
            if texts.contains_key(word) {
                used.insert(word);
            }
        }
        // Every call by a key that stands there names one that exists, and gives it what it asks for.
        for call in ["t(\"", "t1(\"", "t2(\""] {
            for (at, _) in source.match_indices(call) {
                if source[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_') {
                    continue;
                }
                let rest = &source[at + call.len()..];
                let key = rest.split('"').next().unwrap();
                let names = texts
                    .get(key)
                    .unwrap_or_else(|| panic!("{file}: there is no text {key}"));
                let end = rest.find(['\n', '}', ';']).unwrap_or(rest.len());
                let given: BTreeSet<&str> = rest[..end].split('"').skip(1).step_by(1).collect();
                for name in names {
                    let is_one_line = rest[..end].contains(')');
                    assert!(
                        !is_one_line || given.contains(name.as_str()),
                        "{file}: {key} is not given {name}"
                    );
                }
            }
        }
    }
    let unused: Vec<_> = texts.keys().filter(|key| !used.contains(key.as_str())).collect();
    assert!(unused.is_empty(), "nobody uses {unused:?}");
}

#[test]
fn every_command_that_a_page_names_exists() {
    let mut texts: Vec<(String, String)> = sources();
    for file in ["en.ftl", "zh-CN.ftl"] {
        let text = std::fs::read_to_string(crate_folder().join("locales").join(file)).unwrap();
        texts.push((file.to_owned(), text));
    }
    let mut commands = BTreeSet::new();
    for (file, text) in &texts {
        if file.ends_with(".rs") {
            continue;
        }
        for (at, _) in text.match_indices("rollcall ") {
            let words = text[at + "rollcall ".len()..].split(|c: char| !(c.is_ascii_lowercase() || c == ' '));
            let words = words.take(1).flat_map(str::split_whitespace).take(2);
            commands.insert(words.map(str::to_owned).collect::<Vec<_>>());
        }
    }
    assert!(commands.len() >= 3, "{commands:?}");
    for words in commands {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_rollcall"));
        // What stands behind a file's command is a file.
        let words: Vec<&str> = match words.first().map(String::as_str) {
            Some("import") => vec!["import"],
            _ => words.iter().map(String::as_str).collect(),
        };
        let ran = command.args(&words).arg("--help").output().unwrap();
        assert!(ran.status.success(), "there is no rollcall {}", words.join(" "));
    }
}
