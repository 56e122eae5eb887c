//! In which language and time zone a page speaks, and how it says texts, numbers, times and spans of time.
//!
//! All texts are in `locales/`, one file for each language. A test holds that every key that is used exists in all of
//! them with the same arguments, and that none is there that nobody uses.

use std::fmt;
use std::sync::LazyLock;

use axum::http::{HeaderMap, header};
use fluent_bundle::concurrent::FluentBundle;
use fluent_bundle::{FluentArgs, FluentResource, FluentValue};
use jiff::tz::TimeZone;
use unic_langid::LanguageIdentifier;

use crate::clock::Millis;

/// A language that the console speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Language {
    /// English.
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::English, Self::Chinese];

    /// As HTML and HTTP name it.
    pub(super) fn tag(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Chinese => "zh-CN",
        }
    }

    /// Its own name.
    pub(super) fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Chinese => "简体中文",
        }
    }

    /// The language of a tag, such as `zh-Hans-CN`.
    pub(super) fn of(tag: &str) -> Option<Self> {
        let first = tag.trim().split('-').next().unwrap_or_default();
        match first.to_ascii_lowercase().as_str() {
            "en" => Some(Self::English),
            "zh" => Some(Self::Chinese),
            _ => None,
        }
    }

    fn source(self) -> &'static str {
        match self {
            Self::English => include_str!("../../locales/en.ftl"),
            Self::Chinese => include_str!("../../locales/zh-CN.ftl"),
        }
    }

    fn texts(self) -> &'static FluentBundle<FluentResource> {
        match self {
            Self::English => &TEXTS[0],
            Self::Chinese => &TEXTS[1],
        }
    }
}

static TEXTS: LazyLock<[FluentBundle<FluentResource>; 2]> = LazyLock::new(|| Language::ALL.map(load));

fn load(language: Language) -> FluentBundle<FluentResource> {
    let id: LanguageIdentifier = language.tag().parse().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![id]);
    // The marks that set arguments apart are for texts of both directions, which these are not.
    bundle.set_use_isolating(false);
    bundle.set_formatter(Some(|value, _| match value {
        FluentValue::Number(number) => Some(grouped(number.as_string().as_ref())),
        _ => None,
    }));
    // A test holds that the files are without mistakes.
    let (Ok(resource) | Err((resource, _))) = FluentResource::try_new(language.source().to_owned());
    drop(bundle.add_resource(resource));
    bundle
}

/// A number with commas between its thousands, as both languages write it.
fn grouped(number: &str) -> String {
    let (whole, rest) = number.split_at(number.find('.').unwrap_or(number.len()));
    let digits = whole.trim_start_matches('-');
    let mut text = whole[..whole.len() - digits.len()].to_owned();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text + rest
}

/// What stands in a text where it names an argument.
pub(super) trait Argument {
    /// As a text is given it.
    fn value(&self) -> FluentValue<'static>;
}

impl Argument for str {
    fn value(&self) -> FluentValue<'static> {
        FluentValue::from(self.to_owned())
    }
}

impl Argument for String {
    fn value(&self) -> FluentValue<'static> {
        FluentValue::from(self.clone())
    }
}

macro_rules! numbers {
    ($($number:ty),*) => {
        $(impl Argument for $number {
            fn value(&self) -> FluentValue<'static> {
                FluentValue::from(*self)
            }
        })*
    };
}

numbers!(u16, u32, u64, usize, i64);

impl<T: Argument + ?Sized> Argument for &T {
    fn value(&self) -> FluentValue<'static> {
        T::value(self)
    }
}

/// A piece of HTML that was put together by us, and is not escaped again.
#[derive(Clone, Debug, Default)]
pub(super) struct Html(String);

impl Html {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Display for Html {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl askama::filters::HtmlSafe for Html {}

/// The cookie that holds the language that somebody chose.
pub(super) const LANGUAGE_COOKIE: &str = "rollcall_language";
/// The cookie in which a script tells the reader's time zone.
const ZONE_COOKIE: &str = "rollcall_zone";

/// For whom a page is written.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    language: Language,
    zone: TimeZone,
    now: Millis,
}

impl Reader {
    /// A reader of this language in this time zone.
    pub(super) fn new(language: Language, zone: TimeZone, now: Millis) -> Self {
        Self { language, zone, now }
    }

    /// Whoever sends these headers.
    pub(super) fn of(headers: &HeaderMap, now: Millis) -> Self {
        let chosen = cookie(headers, LANGUAGE_COOKIE).and_then(|tag| Language::of(&tag));
        let zone = cookie(headers, ZONE_COOKIE)
            .and_then(|name| TimeZone::get(&name.replace("%2F", "/").replace("%2B", "+")).ok());
        Self {
            language: chosen.unwrap_or_else(|| accepted(headers)),
            zone: zone.unwrap_or(TimeZone::UTC),
            now,
        }
    }

    /// The same reader at another time.
    #[must_use]
    pub(super) fn at(&self, now: Millis) -> Self {
        Self { now, ..self.clone() }
    }

    /// The language.
    pub(super) fn language(&self) -> Language {
        self.language
    }

    /// The time at which the page is written.
    pub(super) fn now(&self) -> Millis {
        self.now
    }

    /// A text with any number of arguments.
    pub(super) fn say(&self, key: &str, arguments: &[(&str, &dyn Argument)]) -> String {
        let texts = self.language.texts();
        let Some(pattern) = texts.get_message(key).and_then(|message| message.value()) else {
            return key.to_owned();
        };
        let mut given = FluentArgs::with_capacity(arguments.len());
        for (name, value) in arguments {
            given.set(*name, value.value());
        }
        let mut errors = Vec::new();
        texts
            .format_pattern(pattern, Some(&given), &mut errors)
            .into_owned()
    }

    /// A text.
    pub(super) fn t(&self, key: &str) -> String {
        self.say(key, &[])
    }

    /// A text with an argument.
    pub(super) fn t1(&self, key: &str, name: &str, value: impl Argument) -> String {
        self.say(key, &[(name, &value)])
    }

    /// A text with two arguments.
    pub(super) fn t2(
        &self,
        key: &str,
        first: &str,
        a: impl Argument,
        second: &str,
        b: impl Argument,
    ) -> String {
        self.say(key, &[(first, &a), (second, &b)])
    }

    /// A number.
    pub(super) fn number(&self, number: impl fmt::Display) -> String {
        grouped(&number.to_string())
    }

    /// A time to the minute, in the reader's zone; the attribute has it exactly, in UTC.
    pub(super) fn time(&self, at: &Millis) -> Html {
        self.marked(*at, "%Y-%m-%d %H:%M")
    }

    /// A time to the second.
    pub(super) fn moment(&self, at: &Millis) -> Html {
        self.marked(*at, "%Y-%m-%d %H:%M:%S")
    }

    /// The time of a day.
    pub(super) fn clock(&self, at: Millis) -> String {
        self.local(at, "%H:%M").unwrap_or_default()
    }

    /// The time that a form's field of the type `datetime-local` says.
    pub(super) fn read_field(&self, text: &str) -> Option<Millis> {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        let zoned = civil.to_zoned(self.zone.clone()).ok()?;
        Some(zoned.timestamp().as_millisecond())
    }

    /// A time as a form's field of that type has it.
    pub(super) fn field(&self, at: Millis) -> String {
        self.local(at, "%Y-%m-%dT%H:%M").unwrap_or_default()
    }

    fn local(&self, at: Millis, format: &str) -> Option<String> {
        let at = jiff::Timestamp::from_millisecond(at).ok()?;
        Some(at.to_zoned(self.zone.clone()).strftime(format).to_string())
    }

    fn marked(&self, at: Millis, format: &str) -> Html {
        let (Ok(utc), Some(local)) = (jiff::Timestamp::from_millisecond(at), self.local(at, format)) else {
            return Html(self.t("time-never"));
        };
        let exact = utc.strftime("%Y-%m-%d %H:%M:%S UTC");
        Html(format!(
            r#"<time datetime="{}" title="{exact}">{local}</time>"#,
            utc.strftime("%Y-%m-%dT%H:%M:%SZ")
        ))
    }

    /// How long it is from a time until now.
    pub(super) fn since(&self, at: &Millis) -> String {
        self.span(&(self.now - at))
    }

    /// A span of time in its largest unit.
    pub(super) fn span(&self, millis: &Millis) -> String {
        let seconds = (*millis).max(0) / 1_000;
        match seconds {
            0..60 => self.t1("span-seconds", "count", seconds),
            60..3_600 => self.t1("span-minutes", "count", seconds / 60),
            3_600..172_800 => self.t1("span-hours", "count", seconds / 3_600),
            _ => self.t1("span-days", "count", seconds / 86_400),
        }
    }

    /// How long something lasted.
    pub(super) fn lasted(&self, millis: &Millis) -> String {
        #[expect(clippy::cast_precision_loss, reason = "it is less than a minute")]
        match millis {
            0..60_000 => self.took(&(*millis as f64)),
            _ => self.span(millis),
        }
    }

    /// A short span, in milliseconds.
    pub(super) fn took(&self, millis: &f64) -> String {
        if *millis >= 10_000.0 {
            return self.t1("took-seconds", "count", format!("{:.1}", millis / 1_000.0));
        }
        let digits = usize::from(*millis < 10.0);
        self.t1("took-millis", "count", format!("{millis:.digits$}"))
    }
}

/// The value of a cookie.
pub(super) fn cookie(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| {
            let (key, value) = pair.trim().split_once('=')?;
            (key == name).then(|| value.to_owned())
        })
}

/// The language that a browser would rather have.
fn accepted(headers: &HeaderMap) -> Language {
    let wanted = headers
        .get(header::ACCEPT_LANGUAGE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let mut best = (Language::English, 0.0);
    for range in wanted.split(',') {
        let (tag, quality) = range.split_once(";q=").unwrap_or((range, "1"));
        let quality = quality.trim().parse::<f32>().unwrap_or(0.0);
        if let Some(language) = Language::of(tag).filter(|_| quality > best.1) {
            best = (language, quality);
        }
    }
    best.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(language: Language) -> Reader {
        Reader::new(
            language,
            TimeZone::get("Asia/Shanghai").unwrap(),
            1_800_000_000_000,
        )
    }

    #[test]
    fn the_language_is_the_one_that_the_browser_would_rather_have() {
        for (wanted, language) in [
            ("", Language::English),
            ("fr", Language::English),
            ("zh-CN,zh;q=0.9,en;q=0.8", Language::Chinese),
            ("en-GB,zh;q=0.9", Language::English),
            ("de, zh-Hans;q=0.5, en;q=0.3", Language::Chinese),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_LANGUAGE, wanted.parse().unwrap());
            assert_eq!(Reader::of(&headers, 0).language(), language, "{wanted}");
            let chosen = format!("other=1; {LANGUAGE_COOKIE}=zh-CN");
            headers.insert(header::COOKIE, chosen.parse().unwrap());
            assert_eq!(Reader::of(&headers, 0).language(), Language::Chinese);
        }
    }

    #[test]
    fn times_are_those_of_the_readers_zone_and_name_utc() {
        let reader = reader(Language::English);
        assert_eq!(
            reader.time(&1_800_000_000_000).to_string(),
            r#"<time datetime="2027-01-15T08:00:00Z" title="2027-01-15 08:00:00 UTC">2027-01-15 16:00</time>"#
        );
        assert_eq!(reader.read_field("2027-01-15T16:00"), Some(1_800_000_000_000));
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, text) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (-1_234_567, "-1,234,567"),
        ] {
            assert_eq!(reader(Language::Chinese).number(number), text);
        }
    }
}
