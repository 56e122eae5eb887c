//! What an application answers (wire contract, section 6).
//!
//! Answers are written by many hands, so they are read leniently: nulls, numbers for codes, unknown
//! members, a list that occurs twice, items that are nothing but an id. What cannot be read is never
//! taken for a success of events that the same answer may have refused: [`read_answer`] tells an answer
//! of the protocol from something foreign, and both from what looks like an answer and cannot be read.

use std::collections::HashSet;
use std::fmt;

use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

/// The longest code that is kept, in characters.
pub const CODE_LIMIT: usize = 128;
/// The longest message that is kept, in characters.
pub const MESSAGE_LIMIT: usize = 1_024;

/// What became of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventResult {
    /// The event.
    pub event_id: String,
    /// `SUCCESS`, `auto_skipped`, `exception`, or a code of the application's own.
    #[serde(default)]
    pub event_code: String,
    /// What the application says about it.
    #[serde(default)]
    pub event_message: String,
}

/// The answer to a request: each of its events in one of four lists.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Answer {
    /// Done; final.
    #[serde(rename = "successEvents", default)]
    pub success: Vec<EventResult>,
    /// Passed over; final.
    #[serde(rename = "skippedEvents", default)]
    pub skipped: Vec<EventResult>,
    /// Refused; final.
    #[serde(rename = "failedEvents", default)]
    pub failed: Vec<EventResult>,
    /// To be sent again.
    #[serde(rename = "retriedEvents", default)]
    pub retried: Vec<EventResult>,
}

/// One of the four lists of an answer, the strictest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AnswerList {
    /// `successEvents`: done; final.
    Success,
    /// `skippedEvents`: passed over; final.
    Skipped,
    /// `failedEvents`: refused; final.
    Failed,
    /// `retriedEvents`: to be sent again.
    Retried,
}

impl AnswerList {
    /// The four lists, the strictest last.
    pub const ALL: [Self; 4] = [Self::Success, Self::Skipped, Self::Failed, Self::Retried];

    /// The list's name on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Success => "successEvents",
            Self::Skipped => "skippedEvents",
            Self::Failed => "failedEvents",
            Self::Retried => "retriedEvents",
        }
    }
}

impl Answer {
    /// The events of a list.
    pub fn list(&self, list: AnswerList) -> &[EventResult] {
        match list {
            AnswerList::Success => &self.success,
            AnswerList::Skipped => &self.skipped,
            AnswerList::Failed => &self.failed,
            AnswerList::Retried => &self.retried,
        }
    }

    /// What the answer says of an event; `None` if it does not mention it. Of several lists that name
    /// the event, the strictest counts: retried over failed over skipped over success.
    pub fn result_of(&self, event_id: &str) -> Option<(AnswerList, &EventResult)> {
        AnswerList::ALL.into_iter().rev().find_map(|list| {
            let item = self.list(list).iter().find(|item| item.event_id == event_id)?;
            Some((list, item))
        })
    }

    /// Leaves each event in the strictest of the lists that name it, once.
    fn keep_strictest(&mut self) {
        let mut seen = HashSet::new();
        for list in [
            &mut self.retried,
            &mut self.failed,
            &mut self.skipped,
            &mut self.success,
        ] {
            list.retain(|item| seen.insert(item.event_id.clone()));
        }
    }
}

/// What the body of a 200 says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// It is an answer of the protocol. Each event stands in one list only.
    Understood(Answer),
    /// It is empty or foreign. By the wire contract the events count as received, but the application
    /// has confirmed nothing.
    Assumed(Foreign),
    /// It looks like an answer of the protocol and cannot be read wholly, so it may have refused events:
    /// the request must be sent again. The text says why, for people; it holds nothing of the body.
    Unreadable(String),
}

/// A body that is no answer of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Foreign {
    /// No bytes but white space.
    Empty,
    /// An HTML page, such as a login page.
    Html,
    /// Other XML.
    Xml,
    /// JSON without any of the four lists.
    Json,
    /// Text.
    Text,
    /// Bytes that are not UTF-8.
    Binary,
}

impl Foreign {
    /// What a body is that is known to be no answer of the protocol.
    pub fn of(body: &[u8]) -> Self {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        std::str::from_utf8(body).map_or(Self::Binary, |text| foreign(text.trim_ascii()))
    }

    /// `empty`, `html`, `xml`, `json`, `text` or `binary`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Empty => "empty",
            Self::Html => "html",
            Self::Xml => "xml",
            Self::Json => "json",
            Self::Text => "text",
            Self::Binary => "binary",
        }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "an empty body",
            Self::Html => "an HTML page",
            Self::Xml => "an XML document",
            Self::Json => "JSON without any of the four lists",
            Self::Text => "plain text",
            Self::Binary => "bytes that are not UTF-8 text",
        })
    }
}

/// Reads the body of a 200. `complete` is false if the body was longer than what was read: then it is
/// unreadable, whatever it is, since what was left out may have refused events.
///
/// What it promises of an answer that refuses events or wants them again: with any one byte of it
/// replaced, it is either unreadable, or understood with as many events in each list, of which at most
/// one has another id. Cut off anywhere after its opening brace, it is unreadable.
pub fn read_answer(body: &[u8], complete: bool) -> Reading {
    if !complete {
        return Reading::Unreadable("the answer is too long to be read whole".to_owned());
    }
    if let Some(coding) = coding(body) {
        return Reading::Unreadable(format!("the answer is {coding}, which was not asked for"));
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let Ok(text) = std::str::from_utf8(body) else {
        return if resembles_answer(body) {
            Reading::Unreadable("the answer is not UTF-8".to_owned())
        } else {
            Reading::Assumed(Foreign::Binary)
        };
    };
    let text = text.trim_ascii();
    let unreadable =
        |why: &str| Reading::Unreadable(format!("the answer cannot be read: {}", clean(why, 200)));
    let problem = match serde_json::from_str::<Members<'_>>(text) {
        Ok(members) => match read_lists(&members) {
            Ok(Some(mut answer)) => {
                answer.keep_strictest();
                return Reading::Understood(answer);
            }
            Ok(None) => None,
            Err(why) => return unreadable(&why),
        },
        Err(error) => Some(error),
    };
    if resembles_answer(body) {
        // Broken, or the lists are somewhere inside: wrapped by a gateway, or JSON in a string.
        return match problem {
            Some(error) if !error.is_data() => unreadable(&error.to_string()),
            _ => unreadable("the lists are not at its top level"),
        };
    }
    if problem.is_some_and(|error| error.is_eof()) && text.starts_with('{') {
        return unreadable("it is cut off");
    }
    Reading::Assumed(foreign(text))
}

/// How bytes are encoded that hide an answer from being seen.
fn coding(body: &[u8]) -> Option<&'static str> {
    match body {
        [0x1f, 0x8b, ..] => Some("compressed with gzip"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Some("compressed with zstd"),
        [0x78, 0x01 | 0x5e | 0x9c | 0xda, rest @ ..] if std::str::from_utf8(rest).is_err() => {
            Some("compressed with deflate")
        }
        [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [b'{' | b'[', 0, ..] | [0, b'{' | b'[', ..] => Some("UTF-16"),
        _ => None,
    }
}

fn foreign(text: &str) -> Foreign {
    let start: String = text.chars().take(512).collect::<String>().to_ascii_lowercase();
    if text.is_empty() {
        Foreign::Empty
    } else if start.starts_with('<') && (start.contains("<html") || start.starts_with("<!doctype html")) {
        Foreign::Html
    } else if start.starts_with("<?xml") {
        Foreign::Xml
    } else if serde_json::from_str::<&RawValue>(text).is_ok() {
        Foreign::Json
    } else {
        Foreign::Text
    }
}

/// Whether the name of one of the four lists occurs in the bytes, with at most one other byte in it and
/// in whatever case.
fn resembles_answer(body: &[u8]) -> bool {
    AnswerList::ALL.iter().any(|list| {
        let name = list.as_str().as_bytes();
        body.windows(name.len()).any(|window| nearly(window, name))
    })
}

fn nearly(text: &[u8], name: &[u8]) -> bool {
    let mut others = 0;
    text.len() == name.len()
        && text.iter().zip(name).all(|(a, b)| {
            others += usize::from(!a.eq_ignore_ascii_case(b));
            others <= 1
        })
}

/// The list that a misspelt member is meant as: `failed_events`, `FailedEvents`, `failedEvent`, or a name with
/// one byte missing and another one changed, as an escape sequence makes of one that was damaged on its way.
fn misspelt(key: &str) -> Option<AnswerList> {
    let bare: Vec<u8> = key.bytes().filter(|byte| !matches!(byte, b'_' | b'-')).collect();
    let one_less = |name: &[u8], text: &[u8]| {
        (0..name.len()).any(|left_out| {
            let (before, after) = (&name[..left_out], &name[left_out + 1..]);
            nearly(text, &[before, after].concat())
        })
    };
    AnswerList::ALL.into_iter().find(|list| {
        let name = list.as_str().as_bytes();
        [key.as_bytes(), &bare]
            .into_iter()
            .any(|text| nearly(text, name) || one_less(name, text))
    })
}

/// Text that any database can store and any terminal can show.
fn clean(text: &str, limit: usize) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(limit)
        .collect()
}

/// The members of a JSON object in their order, also those whose name occurs twice.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// Reads the four lists; `None` if there is none of them.
fn read_lists(members: &Members<'_>) -> Result<Option<Answer>, String> {
    let mut found = None;
    for (key, value) in &members.0 {
        let Some(list) = AnswerList::ALL.into_iter().find(|list| list.as_str() == key) else {
            match misspelt(key) {
                Some(list) => return Err(format!("a member is nearly called {}", list.as_str())),
                None => continue,
            }
        };
        let items = read_items(value).map_err(|why| format!("{}: {why}", list.as_str()))?;
        let answer = found.get_or_insert_with(Answer::default);
        match list {
            AnswerList::Success => answer.success.extend(items),
            AnswerList::Skipped => answer.skipped.extend(items),
            AnswerList::Failed => answer.failed.extend(items),
            AnswerList::Retried => answer.retried.extend(items),
        }
    }
    Ok(found)
}

fn read_items(list: &RawValue) -> Result<Vec<EventResult>, &'static str> {
    serde_json::from_str::<Option<Vec<&RawValue>>>(list.get())
        .map_err(|_| "it is not a list")?
        .unwrap_or_default()
        .into_iter()
        .map(read_item)
        .collect()
}

fn read_item(item: &RawValue) -> Result<EventResult, &'static str> {
    const NO_ID: &str = "an event has no eventId that is a text";
    let id = |raw: &RawValue| {
        serde_json::from_str::<String>(raw.get())
            .ok()
            .filter(|id| !id.is_empty())
            .ok_or(NO_ID)
    };
    if item.get().starts_with('"') {
        return Ok(EventResult {
            event_id: id(item)?,
            ..EventResult::default()
        });
    }
    let members: Members<'_> =
        serde_json::from_str(item.get()).map_err(|_| "it holds something else than events")?;
    let mut event_id: Option<String> = None;
    let mut result = EventResult::default();
    for (key, value) in members.0 {
        match key.as_str() {
            "eventId" => {
                let told = id(value)?;
                if event_id.as_ref().is_some_and(|known| *known != told) {
                    return Err("an event has two ids");
                }
                event_id = Some(told);
            }
            "eventCode" => result.event_code = lenient_text(value, CODE_LIMIT),
            "eventMessage" => result.event_message = lenient_text(value, MESSAGE_LIMIT),
            _ => {}
        }
    }
    result.event_id = event_id.ok_or(NO_ID)?;
    Ok(result)
}

/// A text, or whatever else stands in its place: nothing for null, otherwise the JSON itself.
fn lenient_text(value: &RawValue, limit: usize) -> String {
    match value.get() {
        "null" => String::new(),
        text if text.starts_with('"') => clean(&lossy_text(text), limit),
        other => clean(other, limit),
    }
}

/// A JSON string, also one with half of a surrogate pair, which JavaScript and Java write where they cut
/// a text within an emoji.
fn lossy_text(json: &str) -> String {
    struct Bytes;

    impl Visitor<'_> for Bytes {
        type Value = String;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a text")
        }

        fn visit_bytes<E>(self, bytes: &[u8]) -> Result<String, E> {
            Ok(String::from_utf8_lossy(bytes).into_owned())
        }
    }

    serde_json::Deserializer::from_str(json)
        .deserialize_bytes(Bytes)
        .unwrap_or_default()
}

/// The body of a refusal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ErrorAnswer {
    /// `bad_request`, `internal_error` …
    pub error: String,
    /// What is wrong, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_description: Option<String>,
}

impl ErrorAnswer {
    /// Reads the body of a refusal, if it is one of the protocol's.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice(body).ok()
    }
}
