//! What is wrong with a mapping, in the reader's language.

use rollcall_scim::mapping::MappingError;
use rollcall_scim::{PathError, SyntaxError};

use super::locale::Reader;

/// What is wrong with a rule, and which one it is.
pub(super) fn of_rule(reader: &Reader, error: &MappingError) -> String {
    let (target, why) = match error {
        MappingError::Path { target, error } => (target, of_path(reader, error)),
        MappingError::Unknown { target } => (target, reader.t("mistake-attribute")),
        MappingError::Expr { target, error } => (target, of_text(reader, error)),
        MappingError::TooLarge { target, .. } => (target, reader.t("mistake-too-large")),
        // What a value must be is said by the schema, in English.
        MappingError::Value { target, error } => (target, error.detail.clone()),
    };
    reader.t2("mistake-of", "target", target, "why", why)
}

fn of_path(reader: &Reader, error: &PathError) -> String {
    match error {
        PathError::Path(error) => reader.t1("mistake-path", "why", of_text(reader, error)),
        PathError::Filter(error) => reader.t1("mistake-filter", "why", of_text(reader, error)),
    }
}

/// What is wrong with an expression, a path or a filter, and where.
pub(super) fn of_text(reader: &Reader, error: &SyntaxError) -> String {
    let word = |english: &str| word(english).map_or_else(|| english.to_owned(), |key| reader.t(key));
    match error {
        SyntaxError::Expected { at, expected, found } => {
            let (expected, found) = (word(expected), word(found));
            reader.say(
                "mistake-expected",
                &[("at", at), ("expected", &expected), ("found", &found)],
            )
        }
        SyntaxError::Literal { at, what } => reader.t2("mistake-literal", "at", *at, "what", word(what)),
        SyntaxError::Unknown { at, kind, name } => reader.say(
            "mistake-unknown",
            &[("at", at), ("kind", &word(kind)), ("name", name)],
        ),
        SyntaxError::Arguments {
            at,
            function,
            takes,
            given,
        } => {
            let (function, takes) = ((*function).to_owned(), word(takes));
            reader.say(
                "mistake-arguments",
                &[
                    ("at", at),
                    ("function", &function),
                    ("takes", &takes),
                    ("given", given),
                ],
            )
        }
        SyntaxError::TooDeep { at, limit } => reader.t2("mistake-too-deep", "at", *at, "limit", *limit),
        SyntaxError::TooLong { limit } => reader.t1("mistake-too-long", "limit", *limit),
    }
}

/// The key of what the parsers name in English; `None` of what they quote.
fn word(english: &str) -> Option<&'static str> {
    Some(match english {
        "`+` or the end" => "syntax-plus-or-end",
        "`+` or `)`" => "syntax-plus-or-close",
        "the closing ` of the name" => "syntax-backtick",
        "a name such as username or name.givenName" => "syntax-name",
        "`,`, `+` or `)`" => "syntax-comma",
        "a name, a function, \"text\" in quotation marks, a number, true, false or null" => {
            "syntax-expression"
        }
        "the name of an attribute, such as userName or name.familyName" => "syntax-attribute",
        "an operator: eq, ne, co, sw, ew, gt, ge, lt, le or pr" => "syntax-operators",
        "the end of the name" => "syntax-name-end",
        "the name of a part, such as value" => "syntax-part",
        "the end of the path" => "syntax-path-end",
        "`and`, `or` or the end" => "syntax-and-or-end",
        "an operator such as eq, or pr" => "syntax-operator",
        "`and`, `or` or `)`" => "syntax-and-or-close",
        "`and`, `or` or `]`" => "syntax-and-or-bracket",
        "a value: \"text\" in quotation marks, a number, true, false or null" => "syntax-value",
        "the end" => "syntax-end",
        "field" => "syntax-field",
        "function" => "syntax-function",
        "one argument" => "syntax-one",
        "two arguments" => "syntax-two",
        "three arguments" => "syntax-three",
        "two or three arguments" => "syntax-two-or-three",
        "at least one argument" => "syntax-least-one",
        "at least two arguments" => "syntax-least-two",
        "at least three arguments" => "syntax-least-three",
        "this text has no closing quotation mark" => "syntax-unclosed",
        "this is no JSON string (control characters and lone \\ must be escaped)" => "syntax-string",
        "this is no JSON number, or too large a one" => "syntax-number",
        "this is no whole number, or too large a one" => "syntax-whole",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderMap, HeaderValue, header};
    use rollcall_scim::mapping::Outward;
    use rollcall_scim::schema;

    use super::*;

    fn reader(language: &'static str) -> Reader {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT_LANGUAGE, HeaderValue::from_static(language));
        Reader::of(&headers, 0)
    }

    #[test]
    fn english_says_what_the_parser_says_and_chinese_says_it_in_chinese() {
        let deep = format!("{}1{}", "not(".repeat(40), ")".repeat(40));
        let long = "x".repeat(100_000);
        for (target, expression) in [
            ("title", "lower(username"),
            ("title", "username +"),
            ("title", "nickname"),
            ("title", "shout(username)"),
            ("title", "lower(username, username)"),
            ("title", "\"open"),
            ("title", "99999999999999999999"),
            ("title", deep.as_str()),
            ("title", long.as_str()),
            ("nothing", "username"),
            ("emails[", "username"),
            ("emails[type eq]", "username"),
            ("emails[type is 1]", "username"),
        ] {
            let parsed = Outward::parse([(target, expression)], schema::user(), |name| name == "username");
            let error = parsed.unwrap_err();
            // The console groups the digits of numbers.
            let english = of_rule(&reader("en"), &error).replace("4,096", "4096");
            assert_eq!(english, error.to_string());
            let chinese = of_rule(&reader("zh-CN"), &error);
            // Words of the language of expressions may stand there, and sentences may not.
            let ours = chinese.split('`').step_by(2).collect::<String>();
            let words: Vec<&str> = ours.split(' ').collect();
            let is_english = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_alphabetic());
            let sentence = words
                .windows(2)
                .find(|pair| pair.iter().all(|word| is_english(word)));
            assert_eq!(sentence, None, "{chinese}");
        }
    }

    #[test]
    fn all_that_the_parsers_name_has_a_word() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scim/src");
        let mut seen = 0;
        for file in [
            "mapping/parse.rs",
            "mapping/function.rs",
            "text.rs",
            "path.rs",
            "name.rs",
            "filter/parse.rs",
        ] {
            let source = std::fs::read_to_string(format!("{folder}/{file}")).unwrap();
            // A call may be broken into lines.
            let source = source
                .split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .replace("( \"", "(\"");
            for before in [
                "expected(\"",
                "EXPECTED: &str = \"",
                "wrong(\"",
                "what: \"",
                "kind: \"",
                "1, \"",
                "2, \"",
                "3, \"",
                "MAX, \"",
            ] {
                for (at, _) in source.match_indices(before) {
                    let rest = source[at + before.len()..].replace("\\\"", "\u{1}");
                    let literal = rest.split('"').next().unwrap();
                    let english = literal.replace('\u{1}', "\"").replace("\\\\", "\\");
                    assert!(word(&english).is_some(), "{file}: {english}");
                    seen += 1;
                }
            }
        }
        assert!(seen > 20, "{seen}");
    }
}
