//! One page of the book as HTML.
//!
//! mdBook makes a site of the same files, so what it adds to Markdown is done here in the same way: `{{#include
//! file:anchor}}` stands for the lines of another file between `ANCHOR: anchor` and `ANCHOR_END: anchor`, and each
//! heading gets an id that links can name. Links between pages become addresses of this hub. What leads to a file of
//! the repository that is not served remains as its words alone.

use std::collections::BTreeMap;

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd, html};

use super::{address, files};

/// The HTML of a page, given with its path in the repository.
pub(super) fn page(path: &str, text: &str) -> String {
    let text = with_includes(path, text);
    let events: Vec<Event<'_>> = Parser::new_ext(&text, Options::ENABLE_TABLES).collect();
    let mut ids = ids(&events).into_iter();
    let mut dressed = Vec::with_capacity(events.len());
    let mut links = Vec::new();
    let mut is_head = false;
    let mut events = events.into_iter().peekable();
    while let Some(event) = events.next() {
        match event {
            Event::Start(Tag::Heading {
                level,
                classes,
                attrs,
                ..
            }) => dressed.push(Event::Start(Tag::Heading {
                level,
                id: ids.next().map(CowStr::from),
                classes,
                attrs,
            })),
            // How a column is aligned would become a style in the page, which its policy forbids.
            Event::Start(Tag::Table(alignments)) => {
                let plain = vec![pulldown_cmark::Alignment::None; alignments.len()];
                // It is scrolled where it is too wide, also by the keyboard; so are blocks of code.
                dressed.push(Event::Html("<div class=\"table\" tabindex=\"0\">".into()));
                dressed.push(Event::Start(Tag::Table(plain)));
            }
            Event::End(TagEnd::Table) => {
                dressed.push(Event::End(TagEnd::Table));
                dressed.push(Event::Html("</div>\n".into()));
            }
            Event::Start(Tag::TableHead) => {
                is_head = true;
                dressed.push(Event::Start(Tag::TableHead));
            }
            Event::End(TagEnd::TableHead) => {
                is_head = false;
                dressed.push(Event::End(TagEnd::TableHead));
            }
            // A heading without words names nothing, so it is none.
            Event::Start(Tag::TableCell)
                if is_head && matches!(events.peek(), Some(Event::End(TagEnd::TableCell))) =>
            {
                events.next();
                dressed.push(Event::Html("<td></td>".into()));
            }
            Event::Start(Tag::CodeBlock(_)) => {
                dressed.push(Event::Html("<pre tabindex=\"0\"><code>".into()));
            }
            Event::End(TagEnd::CodeBlock) => dressed.push(Event::Html("</code></pre>\n".into())),
            Event::Start(Tag::Link {
                link_type,
                dest_url,
                title,
                id,
            }) => {
                let leads = target(path, &dest_url);
                links.push(leads.is_some());
                dressed.extend(leads.map(|to| {
                    Event::Start(Tag::Link {
                        link_type,
                        dest_url: to.into(),
                        title,
                        id,
                    })
                }));
            }
            Event::End(TagEnd::Link) => {
                if links.pop() == Some(true) {
                    dressed.push(Event::End(TagEnd::Link));
                }
            }
            other => dressed.push(other),
        }
    }
    let mut made = String::with_capacity(text.len() * 2);
    html::push_html(&mut made, dressed.into_iter());
    made
}

/// The ids of all headings, in their order.
fn ids(events: &[Event<'_>]) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let mut heading: Option<String> = None;
    for event in events {
        match (event, &mut heading) {
            (Event::Start(Tag::Heading { .. }), _) => heading = Some(String::new()),
            (Event::Text(words) | Event::Code(words), Some(heading)) => heading.push_str(words),
            (Event::End(TagEnd::Heading(_)), Some(words)) => {
                let id = id_of(words);
                let times = seen.entry(id.clone()).or_default();
                found.push(match *times {
                    0 => id,
                    times => format!("{id}-{times}"),
                });
                *times += 1;
                heading = None;
            }
            _ => {}
        }
    }
    found
}

/// The id of a heading, as mdBook and GitHub make it of its words.
fn id_of(words: &str) -> String {
    words
        .trim()
        .chars()
        .filter_map(|it| match it {
            it if it.is_alphanumeric() || it == '_' || it == '-' => Some(it),
            it if it.is_whitespace() => Some('-'),
            _ => None,
        })
        .flat_map(char::to_lowercase)
        .collect()
}

/// Where a link leads in the hub; `None` if to nothing that it serves.
fn target(from: &str, link: &str) -> Option<String> {
    if link.starts_with('#') || link.contains("://") || link.starts_with("mailto:") {
        return Some(link.to_owned());
    }
    let (file, anchor) = link.split_at(link.find('#').unwrap_or(link.len()));
    let path = beside(from, file);
    files::text(&path)?;
    let below = path.strip_prefix("docs/")?;
    Some(address(below) + anchor)
}

/// A path that is given from the folder of another one, from the top of the repository.
fn beside(from: &str, to: &str) -> String {
    let mut names: Vec<&str> = from.split('/').collect();
    names.pop();
    for name in to.split('/') {
        match name {
            "." | "" => {}
            ".." => drop(names.pop()),
            name => names.push(name),
        }
    }
    names.join("/")
}

const INCLUDE: &str = "{{#include ";

/// The page with the lines of other files where it includes them. An include that cannot be resolved stays as it is,
/// for a test to find.
fn with_includes(path: &str, text: &str) -> String {
    let mut made = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(INCLUDE) {
        made.push_str(before);
        let included = after
            .split_once("}}")
            .and_then(|(what, after)| Some((included(path, what.trim())?, after)));
        if let Some((lines, after)) = included {
            made.push_str(&lines);
            rest = after;
        } else {
            made.push_str(INCLUDE);
            rest = after;
        }
    }
    made + rest
}

/// The lines of a file, or of its part between an anchor's two marks; without marks.
fn included(from: &str, what: &str) -> Option<String> {
    let (file, anchor) = match what.split_once(':') {
        Some((file, anchor)) => (file, Some(anchor)),
        None => (what, None),
    };
    let text = files::text(&beside(from, file))?;
    let mut is_within = anchor.is_none();
    let mut was_there = is_within;
    let mut lines = Vec::new();
    for line in text.lines() {
        if let Some(name) = mark(line, "ANCHOR: ") {
            is_within |= anchor == Some(name);
            was_there |= is_within;
        } else if let Some(name) = mark(line, "ANCHOR_END: ") {
            is_within &= anchor != Some(name);
        } else if is_within {
            lines.push(line);
        }
    }
    was_there.then(|| lines.join("\n"))
}

/// The name in a line that marks where an anchor begins or ends.
fn mark<'a>(line: &'a str, kind: &str) -> Option<&'a str> {
    let (_, name) = line.split_once(kind)?;
    name.split_whitespace().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headings_have_the_ids_that_links_name() {
        assert_eq!(
            id_of("Why did this user (not) arrive?"),
            "why-did-this-user-not-arrive"
        );
        assert_eq!(id_of("2. Signature"), "2-signature");
        assert_eq!(id_of("接收 Events"), "接收-events");
        let made = page("docs/quick-start.md", "# A `b`\n\n## C\n\n## C\n");
        assert_eq!(
            made,
            "<h1 id=\"a-b\">A <code>b</code></h1>\n<h2 id=\"c\">C</h2>\n<h2 id=\"c-1\">C</h2>\n"
        );
    }

    #[test]
    fn links_lead_to_what_the_hub_serves_or_are_words() {
        let of = |link: &str| target("docs/receivers/python.md", link);
        assert_eq!(
            of("../RECEIVING.md#keys").as_deref(),
            Some("/docs/RECEIVING#keys")
        );
        assert_eq!(of("node.md").as_deref(), Some("/docs/receivers/node"));
        assert_eq!(
            of("../vectors/user.json").as_deref(),
            Some("/docs/vectors/user.json")
        );
        assert_eq!(of("#start").as_deref(), Some("#start"));
        assert_eq!(
            of("https://example.com/").as_deref(),
            Some("https://example.com/")
        );
        assert_eq!(of("../../contrib/receivers/README.md"), None);
        assert_eq!(of("../nothing.md"), None);
        let made = page("docs/quick-start.md", "[a **b**](../README.md) [c](API.md)");
        assert_eq!(made, "<p>a <strong>b</strong> <a href=\"/docs/API\">c</a></p>\n");
    }

    #[test]
    fn an_include_is_the_lines_between_its_marks() {
        let made = with_includes(
            "docs/receivers/python.md",
            "<{{#include ../../contrib/receivers/python/receiver.py:answer}}>",
        );
        assert!(made.contains("def "), "{made}");
        assert!(!made.contains("ANCHOR"), "{made}");
        let unknown = "{{#include ../../contrib/receivers/python/receiver.py:nothing}} {{#include no.md}}";
        assert_eq!(with_includes("docs/receivers/python.md", unknown), unknown);
    }

    #[test]
    fn tables_have_no_styles_of_their_own() {
        let made = page("docs/API.md", "|a|b|\n|-:|:-:|\n|1|2|\n");
        assert!(
            made.starts_with("<div class=\"table\" tabindex=\"0\"><table>"),
            "{made}"
        );
        assert!(!made.contains("style"), "{made}");
    }
}
