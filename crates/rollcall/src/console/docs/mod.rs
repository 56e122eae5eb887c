//! The book of `docs/`, as the hub serves it at `/docs/`: the pages that belong to this very version, also where
//! nobody reaches another place to read them.
//!
//! [`files`] embeds the Markdown files and the sources that they include, [`summary`] reads in which order the pages
//! stand, and [`markdown`] makes HTML of one. All pages are made once, at the first request for one of them. They
//! tell nothing of the hub or of its directory, so nobody has to sign in for them, and browsers may keep them as long
//! as the hub says that they are what they were.

mod files;
mod markdown;
mod summary;

use std::sync::LazyLock;

use askama::Template;
use aws_lc_rs::digest::{SHA256, digest};
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::tz::TimeZone;

use super::error::Failure;
use super::locale::{Html, Language, Reader};
use super::page::Page;
use files::FILES;
use summary::Part;

/// What stands before the name of each page in its address.
const ROOT: &str = "/docs/";

/// The first page of each language, to which the console leads.
pub(super) fn first(language: Language) -> &'static str {
    match language {
        Language::English => "/docs/quick-start",
        Language::Chinese => "/docs/zh-CN/quick-start",
    }
}

/// A page, or a file that pages lead to, as it is sent.
struct Sent {
    /// Below [`ROOT`].
    name: String,
    kind: &'static str,
    body: String,
    tag: String,
}

impl Sent {
    fn new(name: String, kind: &'static str, body: String) -> Self {
        let hash = base16ct::lower::encode_string(&digest(&SHA256, body.as_bytes()).as_ref()[..12]);
        Self {
            name,
            kind,
            body,
            tag: format!("\"{hash}\""),
        }
    }
}

/// Everything that is below [`ROOT`].
static BOOK: LazyLock<Result<Vec<Sent>, askama::Error>> = LazyLock::new(bind);

/// An entry of the contents, or a page before or after another one.
struct Entry<'a> {
    title: &'a str,
    address: String,
    is_nested: bool,
    is_here: bool,
}

/// A part of the contents.
struct Contents<'a> {
    title: &'a str,
    language: Language,
    entries: Vec<Entry<'a>>,
}

#[derive(Template)]
#[template(path = "docs.html")]
struct DocsPage<'a> {
    page: Page,
    title: &'a str,
    content: Html,
    contents: Vec<Contents<'a>>,
    before: Option<Entry<'a>>,
    after: Option<Entry<'a>>,
    /// The same page in the other language.
    other: Option<(Language, String)>,
}

/// The language of a page. Only the folder says it.
fn language_of(file: &str) -> Language {
    match file.starts_with("zh-CN/") {
        true => Language::Chinese,
        false => Language::English,
    }
}

/// The address of a page, given by its file below `docs/`.
fn address(file: &str) -> String {
    format!("{ROOT}{}", file.trim_end_matches(".md"))
}

/// The same page in the other language, if there is one: it has the same name, in whatever case.
fn counterpart(file: &str, all: &[&summary::Entry]) -> Option<(Language, String)> {
    let plain = |file: &str| file.trim_start_matches("zh-CN/").to_ascii_lowercase();
    let other = all
        .iter()
        .find(|entry| language_of(&entry.file) != language_of(file) && plain(&entry.file) == plain(file))?;
    Some((language_of(&other.file), address(&other.file)))
}

/// Makes all pages.
fn bind() -> Result<Vec<Sent>, askama::Error> {
    let parts = summary::read(files::text("docs/SUMMARY.md").unwrap_or_default());
    let all: Vec<&summary::Entry> = parts.iter().flat_map(|part| &part.entries).collect();
    let mut sent = Vec::new();
    for (index, entry) in all.iter().enumerate() {
        let path = format!("docs/{}", entry.file);
        let text = files::text(&path).unwrap_or_default();
        let around = |at: Option<usize>| {
            let entry = all.get(at?)?;
            Some(Entry {
                title: &entry.title,
                address: address(&entry.file),
                is_nested: false,
                is_here: false,
            })
        };
        let reader = Reader::new(language_of(&entry.file), TimeZone::UTC, 0);
        let body = DocsPage {
            page: Page::of(reader, address(&entry.file)),
            title: &entry.title,
            content: Html::new(markdown::page(&path, text)),
            contents: contents(&parts, &entry.file),
            before: around(index.checked_sub(1)),
            after: around(index.checked_add(1)),
            other: counterpart(&entry.file, &all),
        }
        .render()?;
        let name = entry.file.trim_end_matches(".md").to_owned();
        sent.push(Sent::new(name, "text/html; charset=utf-8", body));
    }
    let others = FILES.iter().filter_map(|(path, text)| {
        let name = path.strip_prefix("docs/")?;
        let kind = match name.rsplit_once('.')?.1 {
            "json" => "application/json",
            "pem" => "text/plain; charset=utf-8",
            _ => return None,
        };
        Some(Sent::new(name.to_owned(), kind, (*text).to_owned()))
    });
    sent.extend(others);
    Ok(sent)
}

fn contents<'a>(parts: &'a [Part], here: &str) -> Vec<Contents<'a>> {
    parts
        .iter()
        .map(|part| Contents {
            title: &part.title,
            language: part
                .entries
                .first()
                .map_or(Language::English, |entry| language_of(&entry.file)),
            entries: part
                .entries
                .iter()
                .map(|entry| Entry {
                    title: &entry.title,
                    address: address(&entry.file),
                    is_nested: entry.is_nested,
                    is_here: entry.file == here,
                })
                .collect(),
        })
        .collect()
}

/// Leads to the first page, in the reader's language.
pub(super) async fn begin(headers: HeaderMap) -> Redirect {
    Redirect::to(first(Reader::of(&headers, 0).language()))
}

/// Serves a page.
pub(super) async fn serve(Path(name): Path<String>, asked: HeaderMap) -> Result<Response, Failure> {
    let book = match &*BOOK {
        Ok(book) => book,
        Err(error) => return Err(Failure::Internal(error.to_string())),
    };
    let Some(sent) = book.iter().find(|sent| sent.name == name) else {
        return Err(Failure::NotFound);
    };
    let headers = [
        (header::CONTENT_TYPE, sent.kind),
        (header::CACHE_CONTROL, "public, no-cache"),
        (header::ETAG, sent.tag.as_str()),
    ];
    let known = asked
        .get_all(header::IF_NONE_MATCH)
        .into_iter()
        .filter_map(|tags| tags.to_str().ok())
        .flat_map(|tags| tags.split(','))
        .any(|tag| tag.trim().trim_start_matches("W/") == sent.tag);
    Ok(match known {
        true => (StatusCode::NOT_MODIFIED, headers).into_response(),
        false => (headers, sent.body.as_str()).into_response(),
    })
}
