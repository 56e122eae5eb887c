//! Filters: what they mean, and what is said of those that mean nothing.

use rollcall_scim::filter::{FILTER_LIMIT, Literal, Operator};
use rollcall_scim::schema::user;
use rollcall_scim::{AttrPath, Filter, Strictness, SyntaxError};
use serde_json::json;

use crate::{barbara, object};

fn matches(text: &str) -> bool {
    let filter = Filter::parse(text, Strictness::Lenient).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.matches(&barbara(), user())
}

#[test]
fn filters_of_the_standard_mean_barbara() {
    for filter in [
        r#"userName eq "bjensen@example.com""#,
        r#"USERNAME Eq "BJensen@example.com""#,
        r#"name.familyName co "ens""#,
        r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "B""#,
        "title pr",
        r#"meta.lastModified gt "2011-05-13T04:42:33Z""#,
        r#"meta.lastModified ge "2011-05-13T06:42:34+02:00""#,
        r#"meta.lastModified eq "2011-05-13T04:42:34.000Z""#,
        r#"title eq "Tour Guide" and active eq true"#,
        r#"title sw "Nobody" or title ew "Guide""#,
        r#"not (title eq "Chief")"#,
        r#"title ne "Chief""#,
        r#"nickName ne "Babs""#,
        "nickName eq null",
        "title ne null",
        r#"emails[type eq "work" and value co "@example.com"]"#,
        r#"emails[not (type eq "work")] and emails[type eq "home"]"#,
        r#"emails co "jensen.example""#,
        r#"emails.type eq "home""#,
        r#"emails[primary eq true]"#,
        r#"userName sw "b" and (emails co "nobody" or emails.value co "babs")"#,
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:employeeNumber eq "701984""#,
        r#"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:manager eq "26118915""#,
        r#"schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User""#,
        r#"active eq "True""#,
        r#"emails[type eq "work"].value eq "bjensen@example.com""#,
        r#"emails[type eq "work"].primary pr"#,
        "  userName   pr  ",
        "not(nickName pr)",
    ] {
        assert!(matches(filter), "{filter}");
    }
}

#[test]
fn other_filters_do_not() {
    for filter in [
        r#"userName eq "bjensen""#,
        r#"externalId eq "BJENSEN""#,
        "nickName pr",
        r#"nickName eq "Babs""#,
        r#"emails[type eq "work" and value co "jensen.example"]"#,
        r#"emails[type eq "other"]"#,
        r#"emails[type eq "home"].value eq "bjensen@example.com""#,
        r#"meta.lastModified lt "2011-05-13T04:42:34Z""#,
        "active eq false",
        "active eq 1",
        "active eq \"yes\"",
        "userName eq 5",
        "title eq null",
        r#"employeeNumber eq "701984""#,
        "name eq \"Jensen\"",
    ] {
        assert!(!matches(filter), "{filter}");
    }
}

#[test]
fn a_name_that_nobody_knows_matches_nothing_whichever_way_it_is_turned() {
    for filter in [
        r#"shoeSize eq "9""#,
        r#"not (shoeSize eq "9")"#,
        r#"shoeSize ne "9""#,
        "shoeSize pr",
        "not (shoeSize pr)",
        r#"not (emails[color eq "red"])"#,
        r#"not (emails[color eq "red" and type eq "work"])"#,
        r#"urn:nobody:knows:userName pr or shoeSize pr"#,
        r#"userName.first pr"#,
        "title pr and not (shoeSize pr)",
    ] {
        assert!(!matches(filter), "{filter}");
    }
    // What is certain without it stays so.
    assert!(matches("title pr or shoeSize pr"));
    assert!(matches("not (nickName pr and shoeSize pr)"));
}

#[test]
fn values_that_are_empty_are_not_present() {
    let resource = object(json!({
        "userName": "", "emails": [], "name": { "givenName": null }, "phoneNumbers": [{ "type": "" }],
    }));
    for name in [
        "userName",
        "emails",
        "name",
        "name.givenName",
        "phoneNumbers",
        "phoneNumbers.type",
    ] {
        let filter: Filter = format!("{name} pr").parse().unwrap();
        assert!(!filter.matches(&resource, user()), "{name}");
        let filter: Filter = format!("not ({name} pr)").parse().unwrap();
        assert!(filter.matches(&resource, user()), "{name}");
    }
}

#[test]
fn and_binds_more_than_or_and_not_more_than_both() {
    let read = |text: &str| text.parse::<Filter>().unwrap();
    let present = |name: &str| Filter::Present(AttrPath::new(name));
    assert_eq!(
        read("a pr or b pr and not (c pr) or d pr"),
        Filter::Or(vec![
            present("a"),
            Filter::And(vec![present("b"), Filter::Not(Box::new(present("c")))]),
            present("d"),
        ])
    );
    assert_eq!(
        read("(a pr or b pr) and c pr"),
        Filter::And(vec![Filter::Or(vec![present("a"), present("b")]), present("c")])
    );
    assert_eq!(
        read(r#"NOT (not eq -1.5e3)"#),
        Filter::Not(Box::new(Filter::Compare {
            path: AttrPath::new("not"),
            operator: Operator::Eq,
            value: Literal::Number(serde_json::Number::from_f64(-1500.0).unwrap()),
        }))
    );
}

#[test]
fn filters_are_written_as_they_are_read() {
    for (read, written) in [
        ("(a pr)", "a pr"),
        ("A Pr  AND  b EQ TRUE", "A pr and b eq true"),
        ("(a pr and b pr) and c pr", "(a pr and b pr) and c pr"),
        ("a[b eq \"\\u0041\\\"\"]", "a[b eq \"A\\\"\"]"),
        ("urn:x:2.0:U:a.b lt 1.50", "urn:x:2.0:U:a.b lt 1.5"),
        ("a[x pr or y pr].z eq null", "a[(x pr or y pr) and z eq null]"),
        ("a[x pr and y pr].z pr", "a[x pr and y pr and z pr]"),
    ] {
        assert_eq!(
            Filter::parse(read, Strictness::Lenient).unwrap().to_string(),
            written
        );
    }
}

#[test]
fn what_is_wrong_is_said_with_its_place() {
    for (text, message) in [
        (
            "",
            "at character 1: expected the name of an attribute, such as userName or name.familyName, found the end",
        ),
        (
            "userName",
            "at character 9: expected an operator: eq, ne, co, sw, ew, gt, ge, lt, le or pr, found the end",
        ),
        (
            "userName is 5",
            "at character 10: expected an operator: eq, ne, co, sw, ew, gt, ge, lt, le or pr, found `is 5`",
        ),
        (
            "userName eq bjensen",
            "at character 13: expected a value: \"text\" in quotation marks, a number, true, false or null, found `bjensen`",
        ),
        (
            "userName eq \"b",
            "at character 13: this text has no closing quotation mark",
        ),
        (
            "ünder eq 1",
            "at character 1: expected the name of an attribute, such as userName or name.familyName, found `ünder eq 1`",
        ),
        (
            "a eq \"ü\" und b pr",
            "at character 10: expected `and`, `or` or the end, found `und b pr`",
        ),
        (
            "(a pr",
            "at character 6: expected `and`, `or` or `)`, found the end",
        ),
        (
            "a[b pr",
            "at character 7: expected `and`, `or` or `]`, found the end",
        ),
        (
            "a[b[c pr]]",
            "at character 4: expected an operator such as eq, or pr, found `[c pr]]`",
        ),
        (
            "a.b[c pr]",
            "at character 4: expected an operator such as eq, or pr, found `[c pr]`",
        ),
        (
            "a eq 1e999",
            "at character 6: this is no JSON number, or too large a one",
        ),
        (
            "a eq 01",
            "at character 6: this is no JSON number, or too large a one",
        ),
        (
            "a..b pr",
            "at character 1: expected the name of an attribute, such as userName or name.familyName, found `a..b pr`",
        ),
        (
            "a pr)",
            "at character 5: expected `and`, `or` or the end, found `)`",
        ),
        (
            "a[b pr].c pr",
            "at character 8: expected `and`, `or` or the end, found `.c pr`",
        ),
    ] {
        assert_eq!(text.parse::<Filter>().unwrap_err().to_string(), message, "{text}");
    }
}

#[test]
fn size_and_depth_are_bounded() {
    let deep = |depth: usize| format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth)).parse::<Filter>();
    assert!(deep(32).is_ok());
    assert_eq!(deep(33).unwrap_err(), SyntaxError::TooDeep { at: 33, limit: 32 });
    assert!(deep(4000).unwrap_err().is_limit());
    let nots = format!("{}a pr{}", "not (".repeat(1000), ")".repeat(1000));
    assert!(nots.parse::<Filter>().unwrap_err().is_limit());
    let long = format!("a eq \"{}\"", "x".repeat(FILTER_LIMIT));
    assert_eq!(
        long.parse::<Filter>().unwrap_err(),
        SyntaxError::TooLong { limit: FILTER_LIMIT }
    );
    // Many comparisons beside each other are not deep.
    let wide = vec!["a pr"; 900].join(" or ");
    assert!(matches!(wide.parse().unwrap(), Filter::Or(parts) if parts.len() == 900));
}

#[test]
fn what_cannot_be_compared_is_said() {
    for (text, message) in [
        (
            "active gt false",
            "400 (invalidFilter): `active gt false`: `gt` cannot be asked of true or false",
        ),
        (
            "emails[primary co \"t\"]",
            "400 (invalidFilter): `primary co \"t\"`: `co` cannot be asked of true or false",
        ),
        (
            "not (x509Certificates.value lt \"a\")",
            "400 (invalidFilter): `x509Certificates.value lt \"a\"`: `lt` cannot be asked of bytes in base64",
        ),
    ] {
        let filter: Filter = text.parse().unwrap();
        assert_eq!(filter.check(user()).unwrap_err().to_string(), message);
    }
    for fine in [
        "shoeSize gt 9",
        "title gt \"a\"",
        "meta.created ge \"2011\"",
        "active ne true",
        "emails co \"x\"",
    ] {
        fine.parse::<Filter>().unwrap().check(user()).unwrap();
    }
}
