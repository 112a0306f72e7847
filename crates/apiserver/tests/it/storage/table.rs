//! The cases of the reference's list test, a row each: over namespaces first (bar), second (bar, foo and, deleted, baz)
//! and third (barfoo, foo), asked with every combination of version, match, limit, continue token and selector.

use super::lists::continuing;
use super::*;

/// What there is to ask for. Versions 1 to 6 are of the creations, 7 of an update of the first object, 8 of the deletion
/// of the sixth, 9 of a write elsewhere; 0 is from before.
struct Seeded {
    versions: Vec<String>,
    /// The objects as created, then the first one as updated.
    objects: Vec<String>,
}

async fn seed(api: &Api) -> Seeded {
    api.namespaces(&["first", "second", "third"]).await;
    let (mut versions, mut objects) = (vec![api.present().await], Vec::new());
    for (namespace, name) in [
        ("first", "bar"),
        ("second", "bar"),
        ("second", "foo"),
        ("third", "barfoo"),
        ("third", "foo"),
        ("second", "baz"),
    ] {
        let made = api.create(namespace, name).await;
        versions.push(rv(&made));
        objects.push(place(&made));
    }
    let updated = api.put("first", "bar", &event("first", "bar", "fakeNode")).await;
    versions.push(rv(&updated));
    objects.push(place(&updated));
    api.delete("second", "baz").await;
    versions.push(api.present().await);
    versions.push(api.elsewhere().await);
    Seeded { versions, objects }
}

/// What a row expects.
#[derive(Clone, Copy)]
enum Expect {
    /// These objects (u: the first, updated), of this version where it is exact, this token and so many remaining.
    Page {
        objects: &'static str,
        at: Option<usize>,
        next: Option<&'static str>,
        remaining: Option<u64>,
    },
    Refused(u16),
}
use Expect::Refused;

const fn page(objects: &'static str) -> Expect {
    Expect::Page { objects, at: None, next: None, remaining: None }
}

const fn exactly(objects: &'static str, at: usize) -> Expect {
    Expect::Page { objects, at: Some(at), next: None, remaining: None }
}

const fn more(objects: &'static str, at: usize, next: &'static str, remaining: u64) -> Expect {
    Expect::Page { objects, at: Some(at), next: Some(next), remaining: Some(remaining) }
}

/// More pages follow a selected one; how much remains is not known then.
const fn selected(objects: &'static str) -> Expect {
    Expect::Page { objects, at: None, next: Some(""), remaining: None }
}

const SOME: Expect = Expect::Page { objects: "1", at: None, next: Some(""), remaining: Some(1) };
const FUTURE: &str = "9223372036854775807";
const ALL: &str = "u1234";

/// (namespace, query, what comes). In a query `@n` is version n, `%name:n%` a token for `name` at version n (`-` for −1).
type Row = (&'static str, &'static str, Expect);

const VERSIONS: &[Row] = &[
    ("", "rv=abc", Refused(400)),
    ("", "rv=1&limit=1&continue=%second/foo:8%", Refused(400)),
    ("", "rv=FUTURE", Refused(504)),
    ("first", "", page("u")),
    ("first", "rv=0", page("u")),
    ("first", "rv=@0&match=Exact", exactly("", 0)),
    ("first", "rv=0&match=NotOlderThan", page("u")),
    ("first", "rv=0&match=Invalid", Refused(422)),
    ("first", "rv=@0&match=NotOlderThan", page("u")),
    ("first", "rv=@0&match=Invalid", Refused(422)),
    ("first", "rv=@8", page("u")),
    ("first", "rv=@8&match=Exact", exactly("u", 8)),
    ("first", "rv=@8&match=NotOlderThan", page("u")),
    ("none", "", page("")),
    ("first", "fieldSelector=metadata.name!=bar", page("")),
    ("first", "fieldSelector=metadata.name!=bar&rv=@8&match=NotOlderThan", page("")),
    ("empty", "", exactly("", 9)),
    ("empty", "rv=0", page("")),
    // Combinations that are refused whatever there is.
    ("", "match=Exact", Refused(422)),
    ("", "match=NotOlderThan", Refused(422)),
    ("", "rv=0&match=Exact", Refused(422)),
    ("", "rv=@8&match=Exact&continue=%second/foo:8%", Refused(422)),
    ("", "rv=FUTURE&match=NotOlderThan", Refused(504)),
    ("", "rv=-1", Refused(400)),
];

const LIMITS: &[Row] = &[
    ("second", "limit=1", more("1", 9, "bar\0", 1)),
    ("second", "limit=1&rv=@8", more("1", 8, "bar\0", 1)),
    ("second", "limit=1&rv=@8&match=Exact", more("1", 8, "bar\0", 1)),
    ("second", "limit=1&rv=@8&match=NotOlderThan", SOME),
    ("second", "limit=1&rv=0", SOME),
    ("second", "limit=1&rv=0&match=NotOlderThan", SOME),
    ("second", "limit=1&rv=@0&match=Exact", exactly("", 0)),
    ("second", "limit=1&continue=%foo:8%", page("2")),
    ("second", "limit=1&continue=%foo:8%&rv=0", page("2")),
    ("second", "", page("12")),
    ("second", "rv=@8&match=NotOlderThan", page("12")),
];

const SELECTED: &[Row] = &[
    ("", "fieldSelector=metadata.name=barfoo&limit=1", selected("3")),
    ("", "fieldSelector=metadata.name=barfoo&limit=1&rv=@8&match=NotOlderThan", selected("3")),
    ("", "fieldSelector=metadata.name=barfoo&limit=2", page("3")),
    ("", "fieldSelector=metadata.name=barfoo&limit=2&rv=@8&match=NotOlderThan", page("3")),
    ("", "fieldSelector=metadata.name=barfoo&limit=2&rv=0", page("3")),
    ("", "fieldSelector=metadata.name=bar&limit=2", selected("u1")),
    ("", "fieldSelector=metadata.name=bar&limit=2&rv=@8&match=NotOlderThan", selected("u1")),
    ("", "fieldSelector=metadata.name=foo&limit=2", page("24")),
    ("", "fieldSelector=metadata.name=foo&limit=2&rv=@8&match=NotOlderThan", page("24")),
    ("", "fieldSelector=metadata.name=foo&limit=2&continue=%third/barfoo:8%", page("4")),
    ("", "fieldSelector=metadata.name=foo&limit=1&continue=%third/barfoo:8%", page("4")),
    ("", "fieldSelector=metadata.name=foo&limit=2&continue=%third/foo:8%", page("4")),
    ("", "fieldSelector=metadata.name=foo&limit=5", page("24")),
    ("", "fieldSelector=metadata.name=foo&limit=5&rv=@8&match=NotOlderThan", page("24")),
    ("", "fieldSelector=metadata.name=barfoo&limit=5", page("3")),
    ("", "fieldSelector=metadata.name=barfoo&limit=5&rv=@8&match=NotOlderThan", page("3")),
    ("", "", page(ALL)),
    ("", "rv=@8&match=NotOlderThan", page(ALL)),
    ("", "fieldSelector=reason=fakeNode&limit=5&rv=@8&match=NotOlderThan", page("u")),
    ("", "fieldSelector=metadata.name=baz&limit=5&rv=@8&match=NotOlderThan", page("")),
];

const EXACT: &[Row] = &[
    ("", "rv=@0&match=Exact", exactly("", 0)),
    ("", "rv=@1&match=Exact", exactly("0", 1)),
    ("", "rv=@2&match=Exact", exactly("01", 2)),
    ("", "rv=@3&match=Exact", exactly("012", 3)),
    ("", "rv=@4&match=Exact", exactly("0123", 4)),
    ("", "rv=@5&match=Exact", exactly("01234", 5)),
    ("", "rv=@6&match=Exact", exactly("015234", 6)),
    ("", "rv=@7&match=Exact", exactly("u15234", 7)),
    ("", "rv=@8&match=Exact", exactly(ALL, 8)),
    ("", "rv=@9&match=Exact", exactly(ALL, 9)),
    ("", "rv=FUTURE&match=Exact", Refused(504)),
    ("", "limit=1&rv=@2&match=Exact", more("0", 2, "first/bar\0", 1)),
    ("", "limit=2&rv=@3&match=Exact", more("01", 3, "second/bar\0", 1)),
    ("", "limit=4&rv=@4&match=Exact", exactly("0123", 4)),
    ("", "limit=1&rv=@5&match=Exact", more("0", 5, "first/bar\0", 4)),
    ("", "limit=2&rv=@6&match=Exact", more("01", 6, "second/bar\0", 4)),
    ("", "limit=4&rv=@7&match=Exact", more("u152", 7, "second/foo\0", 2)),
    ("", "limit=8&rv=@8&match=Exact", exactly(ALL, 8)),
    ("", "limit=1&rv=@9&match=Exact", more("u", 9, "first/bar\0", 4)),
];

const CONTINUED: &[Row] = &[
    ("", "limit=1&continue=%first/bar\0:2%", exactly("1", 2)),
    ("", "limit=2&continue=%second/bar\0:3%", exactly("2", 3)),
    ("", "limit=1&continue=%first/bar\0:5%", more("1", 5, "second/bar\0", 3)),
    ("", "limit=2&continue=%second/bar\0:6%", more("52", 6, "second/foo\0", 2)),
    ("", "limit=4&continue=%second/foo\0:7%", exactly("34", 7)),
    ("", "limit=1&continue=%first/bar\0:9%", more("1", 9, "second/bar\0", 3)),
    ("", "continue=%first/bar\0:-%", exactly("1234", 9)),
    ("", "limit=2&continue=%first/bar\0:-%", more("12", 9, "second/foo\0", 2)),
    ("", "continue=%second/foo\0:-%", exactly("34", 9)),
    ("", "continue=%:8%", Refused(400)),
    ("", "continue=%first/bar\0:none%", Refused(400)),
    ("first", "continue=%../second/bar\0:8%", Refused(400)),
];

const TABLES: [&[Row]; 5] = [VERSIONS, LIMITS, SELECTED, EXACT, CONTINUED];
pub(crate) const ROWS: usize = VERSIONS.len() + LIMITS.len() + SELECTED.len() + EXACT.len() + CONTINUED.len();

pub(crate) async fn run(api: &Api) {
    let seeded = seed(api).await;
    for (namespace, query, expect) in TABLES.concat() {
        let within = if namespace.is_empty() { String::new() } else { format!("namespaces/{namespace}/") };
        let uri = format!("/api/v1/{within}events?{}", spelled(query, &seeded));
        let (code, answer) = api.get(&uri).await;
        check(code, &answer, expect, &seeded, &format!("{namespace} {query:?}: {answer}"));
    }
}

fn spelled(query: &str, seeded: &Seeded) -> String {
    let query = query.replace("fieldSelector=metadata.name=", "fieldSelector=metadata.name%3D");
    let query = query.replace("!=", "!%3D").replace("reason=", "reason%3D").replace("FUTURE", FUTURE);
    let mut out = query.replace("rv=", "resourceVersion=").replace("match=", "resourceVersionMatch=");
    for (n, version) in seeded.versions.iter().enumerate() {
        out = out.replace(&format!("@{n}"), version);
    }
    let Some((before, token)) = out.split_once("continue=%") else { return out };
    let (token, after) = token.split_once("%").expect("a token ends");
    let (start, at) = token.split_once(':').expect("a token has a version");
    let at = match at {
        "-" => -1,
        "none" => 0,
        at => seeded.versions[at.parse::<usize>().unwrap()].parse().unwrap(),
    };
    format!("{before}continue={}{after}", continuing(start, at))
}

fn check(code: u16, answer: &Value, expect: Expect, seeded: &Seeded, what: &str) {
    let Expect::Page { objects, at, next, remaining } = expect else {
        let Refused(expected) = expect else { unreachable!() };
        return assert_eq!(code, expected, "{what}");
    };
    assert_eq!(code, 200, "{what}");
    let named = objects.chars().map(|c| match c {
        'u' => 6,
        digit => digit as usize - '0' as usize,
    });
    assert_eq!(items(answer), named.map(|n| seeded.objects[n].clone()).collect::<Vec<_>>(), "{what}");
    let newest = number(&seeded.versions[9]);
    match at {
        // The present, and nobody else writes here.
        Some(9) => assert!(number(&rv(answer)) >= newest, "{what}"),
        Some(n) => assert_eq!(rv(answer), seeded.versions[n], "{what}"),
        None => assert!(number(&rv(answer)) >= number(&seeded.versions[0]), "{what}"),
    }
    let token = text(&answer["metadata"]["continue"]);
    match next {
        None => assert_eq!(token, "", "{what}"),
        Some("") => assert!(!token.is_empty(), "{what}"),
        Some(start) => assert_eq!(token, continuing(start, rv(answer).parse().unwrap()), "{what}"),
    }
    assert_eq!(answer["metadata"]["remainingItemCount"].as_u64(), remaining, "{what}");
}
