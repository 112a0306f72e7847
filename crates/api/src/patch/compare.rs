//! What changed between two versions of an object, as sets of paths: the schema decides what one path covers.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::facts::{Facts, ListType};
use super::fieldset::{Element, Set};
use crate::codec::encode;
use crate::object;

/// The paths that differ.
#[derive(Debug, Default, PartialEq)]
pub struct Diff<'a> {
    /// Added or modified.
    pub changed: Set<'a>,
    pub removed: Set<'a>,
}

impl<'a> Diff<'a> {
    fn sort(&mut self) {
        self.changed.sort();
        self.removed.sort();
    }

    fn push(&mut self, element: Element<'a>, below: Diff<'a>) {
        if !below.removed.is_empty() {
            self.removed.push(element.clone(), below.removed);
        }
        self.changed.push(element, below.changed);
    }
}

/// How a value is seen: one thing, or one with parts that have paths of their own.
pub(super) enum Form<'a> {
    Leaf,
    Map(&'a Map<String, Value>),
    List(&'a [Value]),
    /// Null or missing: takes whatever form the other side has.
    Nothing,
}

pub(super) fn form<'a, F: Facts>(facts: Option<F>, value: Option<&'a Value>) -> Form<'a> {
    match value {
        None | Some(Value::Null) => Form::Nothing,
        Some(Value::Object(_)) if facts.is_some_and(Facts::is_atomic_map) => Form::Leaf,
        Some(Value::Object(map)) => Form::Map(map),
        Some(Value::Array(items)) if list_type(facts) != ListType::Atomic => Form::List(items),
        Some(_) => Form::Leaf,
    }
}

fn list_type<F: Facts>(facts: Option<F>) -> ListType {
    facts.map_or(ListType::Atomic, Facts::list_type)
}

/// Stands for a member that Go writes even when it is zero.
static ZERO: Value = Value::Null;

/// The members of a struct that is there but zero.
static NO_MEMBERS: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

/// Compares two versions of a value; at least one is there. Without facts, maps are taken apart and lists are not.
pub fn compare<'a, F: Facts>(facts: Option<F>, old: Option<&'a Value>, new: Option<&'a Value>) -> Diff<'a> {
    let mut diff = Diff::default();
    let was_leaf = match (form(facts, old), form(facts, new)) {
        (Form::Map(l), Form::Map(r)) if l.is_empty() && r.is_empty() => leaf(old, new, &mut diff),
        (Form::Map(l), Form::Map(r)) => maps(facts, Some(l), Some(r), &mut diff),
        (Form::Map(l), Form::Nothing) if !l.is_empty() => maps(facts, Some(l), None, &mut diff),
        (Form::Nothing, Form::Map(r)) if !r.is_empty() => {
            // A struct that is zero has its zero members; one that is not there has none.
            maps(facts, old.map(|_| &*NO_MEMBERS), Some(r), &mut diff)
        }
        (Form::List(l), Form::List(r)) if l.is_empty() && r.is_empty() => leaf(old, new, &mut diff),
        (Form::List(l), Form::List(r)) => lists(facts, l, r, &mut diff),
        (Form::List(l), Form::Nothing) if !l.is_empty() => lists(facts, l, &[], &mut diff),
        (Form::Nothing, Form::List(r)) if !r.is_empty() => lists(facts, &[], r, &mut diff),
        (Form::Map(_), Form::List(_)) | (Form::List(_), Form::Map(_)) => {
            diff.removed = compare(facts, old, None).removed;
            diff.removed.member = false;
            diff.changed = compare(facts, None, new).changed;
            true
        }
        _ => leaf(old, new, &mut diff),
    };
    if !was_leaf {
        diff.changed.member |= old.is_none();
        diff.removed.member |= new.is_none();
    }
    diff.sort();
    diff
}

/// One thing that is added, removed, modified or the same.
fn leaf<'a>(old: Option<&'a Value>, new: Option<&'a Value>, diff: &mut Diff<'a>) -> bool {
    match (old, new) {
        (None, _) => diff.changed.member = true,
        (_, None) => diff.removed.member = true,
        (Some(old), Some(new)) => diff.changed.member = old != new && !(is_zero(old) && is_zero(new)),
    }
    true
}

fn is_same_scalar(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::String(a), Value::String(b)) => a == b,
        (Value::Bool(a), Value::Bool(b)) => a == b,
        (Value::Number(a), Value::Number(b)) => a == b,
        _ => false,
    }
}

/// What Go leaves a field at that nobody set. Only null stands for "not set", so one side must be null.
fn is_zero(v: &Value) -> bool {
    match v {
        Value::Null => true,
        Value::Bool(b) => !b,
        Value::Number(n) => n.as_f64() == Some(0.0),
        Value::String(s) => s.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn maps<'a, F: Facts>(
    facts: Option<F>,
    old: Option<&'a Map<String, Value>>,
    new: Option<&'a Map<String, Value>>,
    diff: &mut Diff<'a>,
) -> bool {
    let zero =
        |facts: Option<F>, there: bool| (there && facts.is_some_and(Facts::always_written)).then_some(&ZERO);
    // Two versions of an object have mostly the same members in the same order, which takes no hashing to find out, and
    // most of what they hold is the same, whatever its schema.
    let mut beside = new.into_iter().flatten();
    let mut in_step = true;
    for (key, value) in old.into_iter().flatten() {
        let now = match beside.next() {
            Some((name, now)) if name == key => Some(now),
            _ => {
                in_step = false;
                new.and_then(|m| object::find(m, key))
            }
        };
        if now.is_some_and(|now| is_same_scalar(value, now)) {
            continue;
        }
        let below = facts.and_then(|f| f.field(key));
        let now = now.or_else(|| zero(below, new.is_some()));
        diff.push(Element::field(key), compare(below, Some(value), now));
    }
    if in_step && beside.next().is_none() {
        return false;
    }
    for (key, value) in new.into_iter().flatten() {
        if old.is_some_and(|m| m.contains_key(key)) {
            continue;
        }
        let below = facts.and_then(|f| f.field(key));
        diff.push(Element::field(key), compare(below, zero(below, old.is_some()), Some(value)));
    }
    false
}

/// The items of an associative list by their path elements, sorted; items that have none are left out.
pub(super) fn keyed<'a, F: Facts>(facts: Option<F>, items: &'a [Value]) -> Vec<(Element<'a>, &'a Value)> {
    let element = |item: &'a Value| Some((item_element(facts, item)?, item));
    let mut out: Vec<_> = items.iter().filter_map(element).collect();
    if !out.is_sorted_by(|a, b| a.0 <= b.0) {
        out.sort_by(|a, b| a.0.cmp(&b.0));
    }
    out
}

/// The path element of one item; `None` for an object without any of its keys.
pub(super) fn item_element<'a, F: Facts>(facts: Option<F>, item: &'a Value) -> Option<Element<'a>> {
    let facts = facts?;
    if facts.list_type() == ListType::Set {
        let text = encode::compact(item);
        return Some(Element::Value(Cow::Owned(String::from_utf8(text).ok()?)));
    }
    let mut names: Vec<&str> = Vec::new();
    let mut i = 0;
    while let Some(name) = facts.list_key(i) {
        names.push(name);
        i += 1;
    }
    names.sort_unstable();
    let mut text = vec![b'{'];
    for name in names {
        let default;
        let value = match object::member(item, name) {
            Some(value) => value,
            None => match facts.key_default(name) {
                Some(value) => {
                    default = value;
                    &default
                }
                None => continue,
            },
        };
        if text.len() > 1 {
            text.push(b',');
        }
        encode::write_string(&mut text, name);
        text.push(b':');
        encode::write_value(&mut text, value);
    }
    text.push(b'}');
    (text.len() > 2).then(|| String::from_utf8(text).ok()).flatten().map(|t| Element::Key(Cow::Owned(t)))
}

fn lists<'a, F: Facts>(facts: Option<F>, old: &'a [Value], new: &'a [Value], diff: &mut Diff<'a>) -> bool {
    // Most are, and what tells their items apart need not be written out then. Only lists are looked at twice: such
    // lists nest as deep as a schema, and maps as deep as a body.
    if old.len() == new.len() && old.iter().zip(new).all(|(a, b)| object::equal(a, b)) {
        return false;
    }
    let below = facts.and_then(Facts::items);
    let (old, new) = (keyed(facts, old), keyed(facts, new));
    let (mut l, mut r) = (old.as_slice(), new.as_slice());
    loop {
        let element = match (l.first(), r.first()) {
            (None, None) => return false,
            (Some((a, _)), None) => a.clone(),
            (None, Some((b, _))) => b.clone(),
            (Some((a, _)), Some((b, _))) => a.min(b).clone(),
        };
        let lefts = l.iter().take_while(|(e, _)| *e == element).count();
        let rights = r.iter().take_while(|(e, _)| *e == element).count();
        let (left, right) = (&l[..lefts], &r[..rights]);
        (l, r) = (&l[lefts..], &r[rights..]);
        diff.push(element, items(below, left, right));
    }
}

/// Compares the items that share a path element; doubles are one thing together.
fn items<'a, F: Facts>(
    facts: Option<F>,
    old: &[(Element<'a>, &'a Value)],
    new: &[(Element<'a>, &'a Value)],
) -> Diff<'a> {
    let first = |items: &[(Element<'a>, &'a Value)]| items.first().map(|(_, v)| *v);
    let mut diff = Diff::default();
    match (old.len(), new.len()) {
        (0 | 1, 0 | 1) => return compare(facts, first(old), first(new)),
        (2.., 2..) => {
            let same = old.len() == new.len() && old.iter().zip(new).all(|(a, b)| a.1 == b.1);
            diff.changed.member = !same;
        }
        (2.., _) => {
            if !new.is_empty() {
                diff = compare(facts, None, first(new));
            }
            diff.removed.member = true;
        }
        (_, _) => {
            if !old.is_empty() {
                diff = compare(facts, first(old), None);
            }
            diff.changed.member = true;
        }
    }
    diff
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::patch::model::Model;

    #[test]
    fn members_are_found_wherever_they_stand() {
        let old = json!({"a": 1, "b": {"x": "1", "y": "2"}, "c": true});
        for (new, changed, removed) in [
            (json!({"a": 1, "b": {"x": "1", "y": "2"}, "c": true}), "", ""),
            (json!({"c": true, "b": {"y": "2", "x": "1"}, "a": 1}), "", ""),
            (json!({"a": 1, "b": {"x": "1", "y": "2"}}), "", ".c"),
            (json!({"b": {"x": "1", "y": "2"}, "c": true}), "", ".a"),
            (json!({"a": 1, "n": 0, "b": {"x": "1", "y": "3"}, "c": true}), ".b.y .n", ""),
            (json!({"a": 2, "b": {"x": "1", "y": "2"}, "c": true, "d": "e"}), ".a .d", ""),
            (json!({"a": "1", "c": false}), ".a .c", ".b .b.x .b.y"),
        ] {
            let diff = compare(None::<Model<'_>>, Some(&old), Some(&new));
            let said = (diff.changed.paths().join(" "), diff.removed.paths().join(" "));
            assert_eq!(said, (changed.to_owned(), removed.to_owned()), "{new}");
        }
    }
}
