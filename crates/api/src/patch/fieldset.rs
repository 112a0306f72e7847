//! Sets of field paths, as `metadata.managedFields` keeps them: compact sorted trees that borrow their names.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::codec::encode;

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Element<'a> {
    Field(Cow<'a, str>),
    /// An item of an associative list: its keys as compact JSON, names sorted.
    Key(Cow<'a, str>),
    /// An item of a set: the scalar as JSON.
    Value(Cow<'a, str>),
    Index(i64),
}

impl<'a> Element<'a> {
    pub fn field(name: &'a str) -> Element<'a> {
        Element::Field(Cow::Borrowed(name))
    }

    fn parse(text: &'a str) -> Option<Element<'a>> {
        let rest = text.get(2..)?;
        Some(match text.get(..2)? {
            "f:" => Element::Field(Cow::Borrowed(rest)),
            "k:" => Element::Key(Cow::Borrowed(rest)),
            "v:" => Element::Value(Cow::Borrowed(rest)),
            "i:" => Element::Index(rest.parse().ok()?),
            _ => return None,
        })
    }

    fn text(&self) -> String {
        match self {
            Element::Field(s) => ["f:", s].concat(),
            Element::Key(s) => ["k:", s].concat(),
            Element::Value(s) => ["v:", s].concat(),
            Element::Index(i) => format!("i:{i}"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Element::Field(_) => 0,
            Element::Key(_) => 1,
            Element::Value(_) => 2,
            Element::Index(_) => 3,
        }
    }
}

impl PartialOrd for Element<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Element<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Element::Field(a), Element::Field(b)) => a.cmp(b),
            (Element::Key(a), Element::Key(b)) | (Element::Value(a), Element::Value(b)) => {
                compare_json(a.as_bytes(), b.as_bytes())
            }
            (Element::Index(a), Element::Index(b)) => a.cmp(b),
            (a, b) => a.rank().cmp(&b.rank()),
        }
    }
}

/// Orders canonical JSON texts as their values: numbers by size and before all else. Clients may send texts that are no
/// JSON, and those have their place in the one order, too: sorting by what is no order may panic.
fn compare_json(a: &[u8], b: &[u8]) -> Ordering {
    let differ = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    let by_byte = a.get(differ).cmp(&b.get(differ));
    let Some(start) = token_start(&a[..differ]) else { return by_byte };
    match (leading_number(&a[start..]), leading_number(&b[start..])) {
        (Some(x), Some(y)) => x.total_cmp(&y).then(by_byte),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => by_byte,
    }
}

/// Where the word begins that what comes next belongs to; none inside of a string.
fn token_start(before: &[u8]) -> Option<usize> {
    let (mut start, mut in_string, mut is_escaped) = (0, false, false);
    for (i, c) in before.iter().enumerate() {
        match c {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_string => is_escaped = true,
            b'"' => (start, in_string) = (i + 1, !in_string),
            b':' | b',' | b'[' | b']' | b'{' | b'}' if !in_string => start = i + 1,
            _ => {}
        }
    }
    (!in_string).then_some(start)
}

fn leading_number(text: &[u8]) -> Option<f64> {
    let is_end = |c: &u8| matches!(c, b':' | b',' | b'[' | b']' | b'{' | b'}' | b'"');
    let word = &text[..text.iter().position(is_end).unwrap_or(text.len())];
    std::str::from_utf8(word).ok()?.parse().ok()
}

/// A set of paths: whether this very path is in it, and what is below, sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Set<'a> {
    pub member: bool,
    pub children: Vec<(Element<'a>, Set<'a>)>,
}

impl<'a> Set<'a> {
    pub fn leaf() -> Set<'a> {
        Set { member: true, children: Vec::new() }
    }

    pub fn is_empty(&self) -> bool {
        !self.member && self.children.iter().all(|(_, s)| s.is_empty())
    }

    /// Adds a child while building; [`Set::sort`] must follow. Empty sets are left out.
    pub fn push(&mut self, element: Element<'a>, child: Set<'a>) {
        if child.member || !child.children.is_empty() {
            self.children.push((element, child));
        }
    }

    pub fn sort(&mut self) {
        if !self.children.is_sorted_by(|a, b| a.0 <= b.0) {
            self.children.sort_by(|a, b| a.0.cmp(&b.0));
        }
    }

    pub fn child(&self, element: &Element<'_>) -> Option<&Set<'a>> {
        let at = self.children.binary_search_by(|(e, _)| e.cmp(element)).ok()?;
        Some(&self.children[at].1)
    }

    /// Reads a `fieldsV1`; `None` where it is none.
    pub fn parse(fields: &'a Value) -> Option<Set<'a>> {
        let map = fields.as_object()?;
        let mut set = Set::default();
        set.children.reserve(map.len());
        for (key, below) in map {
            if key == "." {
                set.member = true;
                continue;
            }
            let mut child = Set::parse(below)?;
            child.member |= child.children.is_empty();
            set.children.push((Element::parse(key)?, child));
        }
        set.sort();
        Some(set)
    }

    /// As `fieldsV1`.
    pub fn encode(&self) -> Value {
        let has_own = self.member && !self.children.is_empty();
        // Most are leaves, whose empty map then takes no memory.
        let mut map = Map::with_capacity(self.children.len() + usize::from(has_own));
        if has_own {
            map.insert(".".to_owned(), Value::Object(Map::new()));
        }
        for (element, child) in &self.children {
            map.insert(element.text(), child.encode());
        }
        Value::Object(map)
    }

    /// Without the very paths that are in `other`; what lies below them stays.
    pub fn minus(self, other: &Set<'_>) -> Set<'a> {
        let member = self.member && !other.member;
        Set { member, children: subtract(self.children, other, Set::minus) }
    }

    /// Without the paths that are in `other` and everything below them.
    pub fn minus_below(self, other: &Set<'_>) -> Set<'a> {
        if other.member {
            return Set::default();
        }
        Set { member: self.member, children: subtract(self.children, other, Set::minus_below) }
    }

    /// Whether the two have a path in common.
    pub fn meets(&self, other: &Set<'_>) -> bool {
        if self.member && other.member {
            return true;
        }
        let mut others = other.children.iter().peekable();
        self.children.iter().any(|(element, child)| {
            while others.next_if(|(e, _)| e.cmp(element) == Ordering::Less).is_some() {}
            others
                .next_if(|(e, _)| e.cmp(element) == Ordering::Equal)
                .is_some_and(|(_, other)| child.meets(other))
        })
    }

    pub fn intersection(&self, other: &Set<'_>) -> Set<'a> {
        let mut out = Set { member: self.member && other.member, children: Vec::new() };
        let mut others = other.children.iter().peekable();
        for (element, child) in &self.children {
            while others.next_if(|(e, _)| e.cmp(element) == Ordering::Less).is_some() {}
            if let Some((_, o)) = others.next_if(|(e, _)| e.cmp(element) == Ordering::Equal) {
                out.push(element.clone(), child.intersection(o));
            }
        }
        out
    }

    pub fn union(self, other: Set<'a>) -> Set<'a> {
        let mut out = Set { member: self.member || other.member, children: Vec::new() };
        out.children.reserve(self.children.len().max(other.children.len()));
        let mut right = other.children.into_iter().peekable();
        for (element, child) in self.children {
            while let Some(smaller) = right.next_if(|(e, _)| e.cmp(&element) == Ordering::Less) {
                out.children.push(smaller);
            }
            match right.next_if(|(e, _)| e.cmp(&element) == Ordering::Equal) {
                Some((_, o)) => out.children.push((element, child.union(o))),
                None => out.children.push((element, child)),
            }
        }
        out.children.extend(right);
        out
    }

    /// A path of plain fields: `spec.replicas`.
    pub fn of_path(path: &'a str) -> Set<'a> {
        let mut set = Set::leaf();
        for name in path.rsplit('.') {
            set = Set { member: false, children: vec![(Element::field(name), set)] };
        }
        set
    }

    /// Every path in the set, as conflicts print it: `.spec.containers[name="a"].image`.
    pub fn paths(&self) -> Vec<String> {
        let mut found = Vec::new();
        self.collect_paths("", &mut found);
        found
    }

    fn collect_paths(&self, at: &str, found: &mut Vec<String>) {
        if self.member {
            found.push(at.to_owned());
        }
        for (element, child) in &self.children {
            child.collect_paths(&format!("{at}{}", display(element)), found);
        }
    }
}

/// The children that are left when `minus` has been applied to each that `other` has too.
fn subtract<'a>(
    children: Vec<(Element<'a>, Set<'a>)>,
    other: &Set<'_>,
    minus: impl Fn(Set<'a>, &Set<'_>) -> Set<'a>,
) -> Vec<(Element<'a>, Set<'a>)> {
    if other.children.is_empty() {
        return children;
    }
    let mut others = other.children.iter().peekable();
    let mut kept = Set::default();
    for (element, child) in children {
        while others.next_if(|(e, _)| e.cmp(&element) == Ordering::Less).is_some() {}
        match others.next_if(|(e, _)| e.cmp(&element) == Ordering::Equal) {
            Some((_, o)) => kept.push(element, minus(child, o)),
            None => kept.children.push((element, child)),
        }
    }
    kept.children
}

/// One step as paths print it.
pub fn display(element: &Element<'_>) -> String {
    match element {
        Element::Field(name) => format!(".{name}"),
        Element::Value(json) => format!("[={json}]"),
        Element::Index(i) => format!("[{i}]"),
        Element::Key(json) => {
            let keys: Map<String, Value> = serde_json::from_str(json).unwrap_or_default();
            let mut out = String::from("[");
            for (i, (name, value)) in keys.iter().enumerate() {
                let comma = if i > 0 { "," } else { "" };
                let _ = write!(out, "{comma}{name}={}", String::from_utf8_lossy(&encode::compact(value)));
            }
            out.push(']');
            out
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(v: &Value) -> Set<'_> {
        Set::parse(v).unwrap()
    }

    #[test]
    fn round_trips_and_sorts() {
        let v = json!({"f:b": {}, "f:a": {"k:{\"p\":443}": {"f:x": {}}, "k:{\"p\":80}": {".": {}, "f:x": {}}, "v:\"s\"": {}}});
        let want =
            r#"{"f:a":{"k:{\"p\":80}":{".":{},"f:x":{}},"k:{\"p\":443}":{"f:x":{}},"v:\"s\"":{}},"f:b":{}}"#;
        assert_eq!(set(&v).encode().to_string(), want);
        assert!(Set::parse(&json!({"x": {}})).is_none());
        assert!(Set::parse(&json!({"f:a": 1})).is_none());
    }

    /// Clients send these texts: an order that contradicts itself makes sorting panic.
    #[test]
    fn elements_are_in_one_order_whatever_they_are() {
        let texts = [
            "-10",
            "-2",
            "-1",
            "0",
            "1",
            "1.0",
            "1e5",
            "1d",
            "2",
            "10",
            "\"1\"",
            "\"10\"",
            "\"a:1\"",
            "\"a:10\"",
            "\"a:9\"",
            "nan",
            "nap",
            "",
            "[1]",
            "[10]",
            "{\"p\":1}",
            "{\"p\":10}",
            "{\"p\":\"1\"}",
            "{\"p\":9,\"q\":1}",
            "\"\\\"1",
            "a1",
            "a10",
        ];
        let all: Vec<Element<'_>> = texts.iter().map(|text| Element::Key((*text).into())).collect();
        for a in &all {
            for b in &all {
                assert_eq!(a.cmp(b), b.cmp(a).reverse(), "{a:?} {b:?}");
                assert_eq!(a.cmp(b) == Ordering::Equal, a == b, "{a:?} {b:?}");
                let between = all.iter().filter(|c| a <= b && b <= *c && a > *c);
                assert_eq!(between.count(), 0, "{a:?} {b:?}");
            }
        }
        let mut sorted = all.clone();
        sorted.sort();
        let place = |text: &str| sorted.iter().position(|e| *e == Element::Key(text.into())).unwrap();
        assert!(place("-10") < place("-2") && place("-2") < place("2") && place("2") < place("10"));
        assert!(place("{\"p\":1}") < place("{\"p\":9,\"q\":1}") && place("10") < place("\"1\""));
    }

    #[test]
    fn combines_sets() {
        let a = json!({"f:a": {".": {}, "f:x": {}, "f:y": {}}, "f:b": {}});
        let b = json!({"f:a": {"f:x": {}, "f:z": {}}, "f:b": {}, "f:c": {}});
        assert_eq!(set(&a).minus(&set(&b)).encode(), json!({"f:a": {".": {}, "f:y": {}}}));
        assert_eq!(set(&a).intersection(&set(&b)).encode(), json!({"f:a": {"f:x": {}}, "f:b": {}}));
        assert!(set(&a).meets(&set(&b)));
        let apart = json!({"f:a": {"f:w": {}, "f:x": {"f:y": {}}}, "f:c": {}});
        assert!(!set(&a).meets(&set(&apart)) && !set(&apart).meets(&set(&a)));
        let union = set(&a).union(set(&b)).encode();
        assert_eq!(union, json!({"f:a": {".": {}, "f:x": {}, "f:y": {}, "f:z": {}}, "f:b": {}, "f:c": {}}));
        assert_eq!(set(&a).minus_below(&Set::of_path("a")).encode(), json!({"f:b": {}}));
        assert_eq!(Set::of_path("metadata.name").encode(), json!({"f:metadata": {"f:name": {}}}));
    }

    #[test]
    fn prints_paths() {
        let v = json!({"f:spec": {"f:c": {"k:{\"name\":\"a\",\"n\":1}": {"f:image": {}}}, "f:s": {"v:\"x\"": {}}}});
        assert_eq!(set(&v).paths(), [".spec.c[name=\"a\",n=1].image", ".spec.s[=\"x\"]"]);
    }
}
