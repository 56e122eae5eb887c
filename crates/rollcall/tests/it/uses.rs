//! Which modules of a crate use which, read from the text of its files.
//!
//! Paths count wherever they stand, in `use` declarations and in line (also in macros), if they begin with `crate`,
//! `super`, `self` or a module that the file declares. A compiler knows more, but this is enough to hold a direction.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A module, by the names on the way to it; the crate itself has none.
pub(crate) type Module = Vec<String>;

/// One place where a module is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Use {
    /// Whose file it is in.
    pub(crate) by: Module,
    /// What is used: the innermost module of the path.
    pub(crate) of: Module,
    /// The file and the line.
    pub(crate) place: String,
}

/// All uses in the files of a crate, given by their paths below `src` and their text.
pub(crate) fn read(files: &[(String, String)]) -> Vec<Use> {
    let modules: BTreeSet<Module> = files.iter().map(|(file, _)| module_of(file)).collect();
    let mut uses = Vec::new();
    for (file, text) in files {
        let by = module_of(file);
        let mut reader = Reader::new(&by, text);
        reader.read();
        for (path, line) in reader.paths {
            let mut of = path;
            while !modules.contains(&of) && of.pop().is_some() {}
            uses.push(Use {
                by: by.clone(),
                of,
                place: format!("{file}:{line}"),
            });
        }
    }
    uses
}

/// The module that a file holds.
pub(crate) fn module_of(file: &str) -> Module {
    let mut names: Module = file
        .trim_end_matches(".rs")
        .split('/')
        .map(str::to_owned)
        .collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        names.pop();
    }
    names
}

/// A circle among the modules directly below one, with the place of each of its steps, for people: `a uses b
/// (a.rs:1), b uses a (b.rs:2)`. The module's own file counts as one of them.
pub(crate) fn circle(uses: &[Use], below: &[&str]) -> Option<String> {
    let node = |module: &Module| -> Option<String> {
        let rest = module.strip_prefix(&below.iter().map(|&name| name.to_owned()).collect::<Module>()[..])?;
        Some(rest.first().map_or("mod.rs", String::as_str).to_owned())
    };
    let mut steps: BTreeMap<String, BTreeMap<String, &str>> = BTreeMap::new();
    for used in uses {
        if let (Some(by), Some(of)) = (node(&used.by), node(&used.of))
            && by != of
        {
            steps.entry(by).or_default().entry(of).or_insert(&used.place);
        }
    }
    steps
        .keys()
        .filter_map(|start| way_back(&steps, start))
        .min_by_key(Vec::len)
        .map(|circle| {
            let told: Vec<String> = circle
                .windows(2)
                .map(|step| format!("{} uses {} ({})", step[0], step[1], steps[&step[0]][&step[1]]))
                .collect();
            told.join(", ")
        })
}

/// The shortest way from a node to itself.
fn way_back(steps: &BTreeMap<String, BTreeMap<String, &str>>, start: &str) -> Option<Vec<String>> {
    let mut ways = VecDeque::from([vec![start.to_owned()]]);
    let mut seen = BTreeSet::new();
    while let Some(way) = ways.pop_front() {
        for next in steps.get(way.last()?).into_iter().flat_map(BTreeMap::keys) {
            let mut onward = way.clone();
            onward.push(next.clone());
            if next == start {
                return Some(onward);
            }
            if seen.insert(next.clone()) {
                ways.push_back(onward);
            }
        }
    }
    None
}

/// Reads the paths of one file.
struct Reader<'a> {
    /// The module that the file holds, and inside of it those that are written out in it.
    module: Module,
    /// How many braces were open where each written-out module began.
    nested: Vec<usize>,
    tokens: Vec<(&'a str, usize)>,
    at: usize,
    /// The modules that the file declares.
    declared: BTreeSet<&'a str>,
    paths: Vec<(Module, usize)>,
}

impl<'a> Reader<'a> {
    fn new(module: &Module, text: &'a str) -> Self {
        let tokens = tokens(text);
        let declared = tokens
            .windows(3)
            .filter(|three| three[0].0 == "mod" && three[2].0 == ";")
            .map(|three| three[1].0)
            .collect();
        Self {
            module: module.clone(),
            nested: Vec::new(),
            tokens,
            at: 0,
            declared,
            paths: Vec::new(),
        }
    }

    fn token(&self, ahead: usize) -> &'a str {
        self.tokens.get(self.at + ahead).map_or("", |(token, _)| token)
    }

    fn read(&mut self) {
        let mut depth = 0;
        let mut before = "";
        while self.at < self.tokens.len() {
            let token = self.token(0);
            match token {
                // Who may see something is not a use.
                "pub" if self.token(1) == "(" => {
                    while !matches!(self.token(0), ")" | "") {
                        self.at += 1;
                    }
                }
                "mod" if self.token(2) == "{" => {
                    self.nested.push(depth);
                    self.module.push(self.token(1).to_owned());
                    self.at += 1;
                }
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if self.nested.last() == Some(&depth) {
                        self.nested.pop();
                        self.module.pop();
                    }
                }
                _ => {}
            }
            let begins = matches!(token, "crate" | "super" | "self")
                || (self.nested.is_empty() && self.declared.contains(token));
            if begins && self.token(1) == "::" && !matches!(before, "::" | "." | "$") {
                self.path(None);
            } else {
                self.at += 1;
            }
            before = token;
        }
    }

    /// Reads a path, or what follows one: names, and braces with more of them.
    fn path(&mut self, prefix: Option<Module>) {
        let begun = self.at;
        let mut path = prefix;
        loop {
            let token = self.token(0);
            match token {
                "{" => {
                    self.at += 1;
                    while !matches!(self.token(0), "}" | "") {
                        let begun = self.at;
                        self.path(path.clone());
                        // A comma, or something that belongs to no path.
                        self.at += usize::from(self.token(0) == "," || self.at == begun);
                    }
                    self.at += 1;
                    return;
                }
                "crate" => path = Some(Module::new()),
                "super" => {
                    let mut above = path.unwrap_or_else(|| self.module.clone());
                    above.pop();
                    path = Some(above);
                }
                // In braces, it is what stands before them.
                "self" => path = Some(path.unwrap_or_else(|| self.module.clone())),
                _ if is_name(token) => {
                    path.get_or_insert_with(|| self.module.clone())
                        .push(token.to_owned());
                }
                _ => {
                    self.at += usize::from(token == "*");
                    break;
                }
            }
            self.at += 1;
            if self.token(0) != "::" {
                break;
            }
            self.at += 1;
        }
        if let Some(path) = path
            && self.at > begun
        {
            self.paths.push((path, self.tokens[self.at - 1].1));
        }
        if self.token(0) == "as" {
            self.at += 2;
        }
    }
}

fn is_name(token: &str) -> bool {
    token.chars().all(|c| c.is_alphanumeric() || c == '_') && !token.is_empty()
}

/// The words and signs of a source, each with its line; comments and what stands in quotes are left out.
fn tokens(text: &str) -> Vec<(&str, usize)> {
    let mut tokens = Vec::new();
    let mut rest = text;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let (length, keep) = token(rest, first);
        let (token, after) = rest.split_at(length);
        if keep {
            tokens.push((token, line));
        }
        line += token.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of the token at the beginning of a text, and whether it is more than a gap.
fn token(text: &str, first: char) -> (usize, bool) {
    let until = |end: &str, from: usize| {
        text[from..]
            .find(end)
            .map_or(text.len(), |at| from + at + end.len())
    };
    if text.starts_with("//") {
        return (until("\n", 0), false);
    }
    if text.starts_with("/*") {
        return (until("*/", 2), false);
    }
    let word = text
        .find(|c: char| !(c.is_alphanumeric() || c == '_'))
        .unwrap_or(text.len());
    let (prefix, behind) = text.split_at(word);
    if matches!(prefix, "r" | "br" | "cr") && behind.starts_with(['"', '#']) {
        let hashes = behind.len() - behind.trim_start_matches('#').len();
        if behind[hashes..].starts_with('"') {
            let end = format!("\"{}", "#".repeat(hashes));
            return (until(&end, word + hashes + 1), false);
        }
    }
    if matches!(prefix, "" | "b" | "c") && behind.starts_with('"') {
        return (word + quoted(behind, '"'), false);
    }
    if first == '\'' {
        let mut chars = text.chars().skip(1);
        let lifetime =
            chars.next().is_some_and(|c| c.is_alphabetic() || c == '_') && chars.next() != Some('\'');
        return (if lifetime { 1 } else { quoted(text, '\'') }, false);
    }
    if word > 0 {
        return (word, true);
    }
    if text.starts_with("::") {
        return (2, true);
    }
    (first.len_utf8(), !first.is_whitespace())
}

/// The length of what stands in quotes at the beginning of a text.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

fn made_up(files: &[(&str, &str)]) -> Vec<Use> {
    let files: Vec<(String, String)> = files
        .iter()
        .map(|(file, text)| ((*file).to_owned(), (*text).to_owned()))
        .collect();
    read(&files)
}

#[test]
fn every_way_to_write_a_path_is_read() {
    let uses = made_up(&[
        ("lib.rs", "mod a;\nmod b;\n"),
        (
            "a/mod.rs",
            "mod deep;\n\
             use crate::b::{self, inner::{One, Two as Three}, *};\n\
             pub(in crate::b) struct S<'a>(&'a str);\n\
             // crate::b::comment\n\
             fn f() { deep::run(\"crate::b::text\", r#\"crate::b\"#, 'x', b'\\''); println!(\"{}\", crate::b::NUMBER) }\n",
        ),
        (
            "a/deep.rs",
            "use super::super::b::inner;\nmod tests { use super::*; use super::super::f; }\n",
        ),
        (
            "b/mod.rs",
            "mod inner;\nstruct X; impl X { fn g(self) { self.h() } }\n",
        ),
        ("b/inner.rs", "use super::NUMBER;\n"),
    ]);
    let told: Vec<String> = uses
        .iter()
        .map(|used| format!("{} {}", used.place, used.of.join("::")))
        .collect();
    assert_eq!(
        told,
        [
            "a/mod.rs:2 b",
            "a/mod.rs:2 b::inner",
            "a/mod.rs:2 b::inner",
            "a/mod.rs:2 b",
            "a/mod.rs:5 a::deep",
            "a/mod.rs:5 b",
            "a/deep.rs:1 b::inner",
            "a/deep.rs:2 a::deep",
            "a/deep.rs:2 a",
            "b/inner.rs:1 b",
        ]
    );
}

#[test]
fn a_circle_is_found_and_told_with_its_places() {
    let mut files = vec![
        ("lib.rs", "pub mod a;\npub mod b;\npub mod c;\n"),
        ("a.rs", "use crate::b::B;\npub struct A;\n"),
        ("b.rs", "\nfn f(_: crate::c::C) {}\npub struct B;\n"),
        ("c.rs", "pub struct C;\n"),
    ];
    assert_eq!(circle(&made_up(&files), &[]), None);
    files[3].1 = "pub struct C(super::a::A);\n";
    assert_eq!(
        circle(&made_up(&files), &[]).as_deref(),
        Some("a uses b (a.rs:1), b uses c (b.rs:2), c uses a (c.rs:1)")
    );
    // Inside of a module, its own file is one of those that must not be used by what it uses.
    let nested = made_up(&[
        ("lib.rs", "mod a;"),
        ("a/mod.rs", "mod b;\nuse b::B;\npub struct A;"),
        ("a/b.rs", "use super::A;"),
    ]);
    assert_eq!(circle(&nested, &[]), None);
    assert_eq!(
        circle(&nested, &["a"]).as_deref(),
        Some("b uses mod.rs (a/b.rs:1), mod.rs uses b (a/mod.rs:2)")
    );
}
