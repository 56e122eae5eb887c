//! The book of `docs/`, and the other pages that people read in the repository: what they lead to is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, HeadingLevel, Options, Parser, Tag, TagEnd};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .canonicalize()
        .unwrap()
}

/// All files below a folder that have this name or ending, as paths in the repository.
fn below(folder: &str, ending: &str) -> BTreeSet<String> {
    let mut folders = vec![root().join(folder)];
    let mut found = BTreeSet::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
            if path.is_dir() && !name.ends_with("node_modules") && !name.ends_with(".venv") {
                folders.push(path);
            } else if name.ends_with(ending) {
                found.insert(name);
            }
        }
    }
    found
}

/// The pages that `SUMMARY.md` names, as paths in the repository, in their order.
pub(crate) fn pages() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/SUMMARY.md")).unwrap();
    let links = Parser::new(&text).filter_map(|event| match event {
        Event::Start(Tag::Link { dest_url, .. }) => Some(format!("docs/{dest_url}")),
        _ => None,
    });
    links.collect()
}

/// Everything whose links are followed.
fn read_by_people() -> BTreeSet<String> {
    let mut all = below("docs", ".md");
    all.extend(below("contrib", "README.md"));
    all.extend(["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(str::to_owned));
    all
}

/// Where a path leads that is written in a file.
fn resolve(from: &str, to: &str) -> PathBuf {
    let path = root().join(from);
    path.parent().unwrap().join(to)
}

/// The lines that an include stands for.
fn included(from: &str, what: &str) -> String {
    let (file, anchor) = what
        .split_once(':')
        .map_or((what, None), |(file, anchor)| (file, Some(anchor)));
    let path = resolve(from, file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|_| panic!("{from} includes {what}"));
    let Some(anchor) = anchor else { return text };
    let at = |kind: &str| {
        let mark = format!("{kind}: {anchor}");
        let places: Vec<usize> = text
            .lines()
            .enumerate()
            .filter(|(_, line)| line.trim_end_matches("-->").trim_end().ends_with(&mark))
            .map(|(index, _)| index)
            .collect();
        assert_eq!(places.len(), 1, "{from}: {kind} of {what}");
        places[0]
    };
    let (begin, end) = (at("ANCHOR"), at("ANCHOR_END"));
    assert!(begin + 1 < end, "{from}: nothing in {what}");
    let lines: Vec<&str> = text.lines().collect();
    lines[begin + 1..end].join("\n")
}

/// A file with what it includes, and how many includes that were.
fn whole(file: &str) -> (String, usize) {
    let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|_| panic!("{file} is missing"));
    let mut made = String::new();
    let mut count = 0;
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once("{{#include ") {
        let (what, after) = after.split_once("}}").unwrap();
        made += before;
        made += &included(file, what);
        rest = after;
        count += 1;
    }
    (made + rest, count)
}

/// What a page is made of.
#[derive(Default)]
struct Outline {
    headings: Vec<(HeadingLevel, String)>,
    ids: BTreeSet<String>,
    links: Vec<String>,
    code_blocks: usize,
    rows: usize,
}

fn outline(text: &str) -> Outline {
    let mut found = Outline::default();
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    let mut heading: Option<(HeadingLevel, String)> = None;
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::Heading { level, .. }) => heading = Some((level, String::new())),
            Event::Text(words) | Event::Code(words) => {
                if let Some((_, text)) = &mut heading {
                    *text += &words;
                }
            }
            Event::End(TagEnd::Heading(_)) => {
                let (level, words) = heading.take().unwrap();
                let kept = words.to_lowercase().replace(' ', "-");
                let id: String = kept
                    .chars()
                    .filter(|it| it.is_alphanumeric() || "-_".contains(*it))
                    .collect();
                let times = seen.entry(id.clone()).or_default();
                found
                    .ids
                    .insert(if *times == 0 { id } else { format!("{id}-{times}") });
                *times += 1;
                found.headings.push((level, words));
            }
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                found.links.push(dest_url.into_string());
            }
            Event::Start(Tag::CodeBlock(_)) => found.code_blocks += 1,
            Event::Start(Tag::TableRow) => found.rows += 1,
            _ => {}
        }
    }
    found
}

#[test]
fn every_link_leads_to_a_file_and_to_a_heading_of_it() {
    let mut followed = 0;
    for file in read_by_people() {
        let (text, _) = whole(&file);
        for link in outline(&text).links {
            if link.contains("://") {
                continue;
            }
            let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
            let target = match path {
                "" => root().join(&file),
                path => resolve(&file, path),
            };
            assert!(target.exists(), "{file} leads to {link}, which is not there");
            if !anchor.is_empty() {
                let target = target.canonicalize().unwrap();
                let (text, _) = whole(target.strip_prefix(root()).unwrap().to_str().unwrap());
                assert!(
                    outline(&text).ids.contains(anchor),
                    "{file} leads to {link}, and there is no such heading"
                );
            }
            followed += 1;
        }
    }
    assert!(followed > 80, "only {followed} links were followed");
}

#[test]
fn pages_of_the_book_lead_to_nothing_outside_of_it() {
    let docs = root().join("docs");
    for page in pages() {
        for link in outline(&whole(&page).0).links {
            let path = link.split('#').next().unwrap();
            if !link.contains("://") && !path.is_empty() {
                let target = resolve(&page, path).canonicalize().unwrap();
                assert!(
                    target.starts_with(&docs),
                    "{page} leads to {link}, which the book does not have"
                );
            }
        }
    }
}

#[test]
fn the_summary_names_every_page_once() {
    let named = pages();
    let mut there = below("docs", ".md");
    there.remove("docs/SUMMARY.md");
    assert_eq!(named.iter().cloned().collect::<BTreeSet<_>>(), there);
    assert_eq!(named.len(), there.len(), "a page is named twice");
}

#[test]
fn the_receivers_are_shown_from_their_own_sources() {
    for language in ["python", "node", "java", "go", "rust"] {
        let page = format!("docs/receivers/{language}.md");
        let source = std::fs::read_to_string(root().join(&page)).unwrap();
        for part in ["verify", "decrypt", "apply", "answer"] {
            assert!(
                source.contains(&format!(":{part}}}}}")),
                "{page} does not show {part}"
            );
        }
        let (text, includes) = whole(&page);
        assert_eq!(includes, 5, "{page}");
        assert!(text.len() > source.len() + 1000, "{page}");
    }
}

#[test]
fn the_chinese_pages_are_built_like_the_english_ones() {
    for (english, chinese) in [
        ("docs/quick-start.md", "docs/zh-CN/quick-start.md"),
        ("docs/RECEIVING.md", "docs/zh-CN/receiving.md"),
    ] {
        let (english_text, chinese_text) = (whole(english).0, whole(chinese).0);
        let (left, right) = (outline(&english_text), outline(&chinese_text));
        let levels = |outline: &Outline| -> Vec<HeadingLevel> {
            outline.headings.iter().map(|(level, _)| *level).collect()
        };
        assert_eq!(levels(&left), levels(&right), "{chinese}");
        assert_eq!(left.code_blocks, right.code_blocks, "code in {chinese}");
        assert_eq!(left.rows, right.rows, "rows of tables in {chinese}");
        assert_eq!(left.links.len(), right.links.len(), "links in {chinese}");
        for (_, heading) in &right.headings {
            assert!(!heading.is_ascii(), "{chinese}: {heading} is not translated");
        }
    }
}
