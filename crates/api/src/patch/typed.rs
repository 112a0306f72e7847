//! Values seen through their types: which paths they set, how two of them merge, and what is left without some paths.

use std::collections::{HashMap, HashSet};
use std::fmt;

use serde_json::{Map, Value};

use super::compare::{Form, form, item_element, keyed};
use super::facts::{Facts, ListType};
use super::fieldset::{Element, Set, display};
use crate::object;

/// The paths that a value sets.
pub(super) fn field_set<'a, F: Facts>(facts: Option<F>, v: &'a Value) -> Set<'a> {
    match form(facts, Some(v)) {
        Form::Leaf => Set::leaf(),
        Form::Nothing => Set::default(),
        Form::Map(map) => {
            let mut set = Set::default();
            for (key, value) in map {
                let mut below = field_set(facts.and_then(|f| f.field(key)), value);
                let is_empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                below.member |= is_empty || !facts.is_some_and(|f| f.declares(key));
                set.push(Element::field(key), below);
            }
            set.sort();
            set
        }
        Form::List(items) => {
            let mut set: Set<'a> = Set::default();
            for (element, item) in keyed(facts, items) {
                let mut below = field_set(facts.and_then(Facts::items), item);
                below.member = true;
                match set.children.last_mut() {
                    Some((last, known)) if *last == element => *known = std::mem::take(known).union(below),
                    _ => set.push(element, below),
                }
            }
            set
        }
    }
}

/// The set with every declared field that leads to a member: who sets `a.b` has a hand in `a`.
pub(super) fn with_named_fields<'a, F: Facts>(facts: Option<F>, mut set: Set<'a>) -> Set<'a> {
    for (element, child) in &mut set.children {
        let below = match element {
            Element::Field(name) => {
                child.member |= facts.is_some_and(|f| f.declares(name));
                facts.and_then(|f| f.field(name))
            }
            _ => facts.and_then(Facts::items),
        };
        *child = with_named_fields(below, std::mem::take(child));
    }
    set
}

/// The value without the paths of a set; null where nothing is left.
pub(super) fn without<F: Facts>(facts: Option<F>, v: &Value, gone: &Set<'_>) -> Value {
    match form(facts, Some(v)) {
        Form::Map(map) => {
            let mut kept = Map::with_capacity(map.len());
            for (key, value) in map {
                match gone.child(&Element::field(key)) {
                    None => drop(kept.insert(key.clone(), value.clone())),
                    Some(child) if child.member => {}
                    Some(child) => {
                        let below = facts.and_then(|f| f.field(key));
                        kept.insert(key.clone(), without(below, value, child));
                    }
                }
            }
            if kept.is_empty() { Value::Null } else { Value::Object(kept) }
        }
        Form::List(items) => {
            let mut kept = Vec::with_capacity(items.len());
            for item in items {
                match item_element(facts, item).and_then(|e| gone.child(&e)) {
                    None => kept.push(item.clone()),
                    Some(child) if child.member => {}
                    Some(child) => kept.push(without(facts.and_then(Facts::items), item, child)),
                }
            }
            if kept.is_empty() { Value::Null } else { Value::Array(kept) }
        }
        Form::Leaf | Form::Nothing => v.clone(),
    }
}

/// Lays what is applied over what is live.
pub(super) fn merge<F: Facts>(facts: Option<F>, live: &mut Value, applied: &Value) {
    match (form(facts, Some(live)), form(facts, Some(applied))) {
        (Form::Map(_), Form::Map(applied)) => {
            let Value::Object(live) = live else { return };
            for (key, value) in applied {
                match object::find_mut(live, key) {
                    Some(old) => merge(facts.and_then(|f| f.field(key)), old, value),
                    None => drop(live.insert(key.clone(), value.clone())),
                }
            }
        }
        (Form::List(l), Form::List(r)) if !l.is_empty() || !r.is_empty() => {
            let Value::Array(l) = live else { return };
            *live = Value::Array(merge_lists(facts, std::mem::take(l), r));
        }
        (Form::Map(l), Form::Nothing) if !l.is_empty() => {}
        (Form::List(l), Form::Nothing) if !l.is_empty() => {}
        _ if live == applied => {}
        _ => *live = applied.clone(),
    }
}

/// Items that both have stand in the applied order; the others keep their neighbours.
fn merge_lists<F: Facts>(facts: Option<F>, mut live: Vec<Value>, applied: &[Value]) -> Vec<Value> {
    let elements = |items: &[Value]| -> Vec<Option<Element<'static>>> {
        items.iter().map(|i| item_element(facts, i).map(owned)).collect()
    };
    let (left, right) = (elements(&live), elements(applied));
    // By hash: a list may be as long as a body is, and looking each item up in the other would cost the square of it.
    let (in_left, in_right) = (positions(&left), positions(&right));
    let mut shared = right.iter().flatten().filter(|r| in_left.contains_key(r)).peekable();
    let mut taken = vec![false; right.len()];
    let mut merged = Vec::with_capacity(live.len() + applied.len());
    let are_distinct = in_right.len() == right.len();
    let below = facts.and_then(Facts::items);
    let (mut l, mut r) = (0, 0);
    while l < left.len() || r < right.len() {
        if l < left.len() {
            match left[l].as_ref().and_then(|e| in_right.get(e).map(|at| (e, *at))) {
                None => {
                    merged.push(std::mem::take(&mut live[l]));
                    l += 1;
                    continue;
                }
                Some((e, at)) if taken[at] || shared.peek().is_some_and(|next| *next != e) => {
                    // It has come already, or another shared item must come first.
                    l += 1;
                    continue;
                }
                Some(_) => {}
            }
        }
        if r < right.len() {
            taken[r] = true;
            merged.push(match right[r].as_ref().and_then(|e| in_left.get(e)) {
                None => applied[r].clone(),
                Some(at) => {
                    // An item that is applied twice is laid over the same one twice.
                    let live = &mut live[*at];
                    let mut item = if are_distinct { std::mem::take(live) } else { live.clone() };
                    merge(below, &mut item, &applied[r]);
                    item
                }
            });
            shared.next_if(|next| Some(*next) == right[r].as_ref());
            r += 1;
        }
    }
    merged
}

/// Where each element stands first.
fn positions<'e>(elements: &'e [Option<Element<'static>>]) -> HashMap<&'e Element<'static>, usize> {
    let mut found = HashMap::with_capacity(elements.len());
    for (i, element) in elements.iter().enumerate() {
        if let Some(element) = element {
            found.entry(element).or_insert(i);
        }
    }
    found
}

fn owned(e: Element<'_>) -> Element<'static> {
    match e {
        Element::Field(s) => Element::Field(s.into_owned().into()),
        Element::Key(s) => Element::Key(s.into_owned().into()),
        Element::Value(s) => Element::Value(s.into_owned().into()),
        Element::Index(i) => Element::Index(i),
    }
}

/// Where a value stands in the applied object; put into words only where something is wrong there.
#[derive(Clone, Copy)]
enum Place<'a> {
    Root,
    Field(&'a Place<'a>, &'a str),
    Item(&'a Place<'a>, usize),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Root => Ok(()),
            Place::Field(outer, name) => write!(f, "{outer}.{name}"),
            Place::Item(outer, at) => write!(f, "{outer}[{at}]"),
        }
    }
}

/// What an applied object has that its type has not, in the reference's words.
pub(super) fn check<F: Facts>(facts: F, applied: &Value) -> Vec<String> {
    let mut errors = Vec::new();
    check_at(facts, applied, Place::Root, &mut errors);
    errors
}

fn check_at<F: Facts>(facts: F, v: &Value, place: Place<'_>, errors: &mut Vec<String>) {
    if facts.is_untyped() {
        return;
    }
    match v {
        Value::Object(map) => {
            for (key, value) in map {
                let at = Place::Field(&place, key);
                match facts.field(key) {
                    Some(below) => check_at(below, value, at, errors),
                    None => errors.push(format!("{at}: field not declared in schema")),
                }
            }
        }
        Value::Array(items) => {
            let below = facts.items();
            let mut seen = HashSet::new();
            for (i, item) in items.iter().enumerate() {
                if facts.list_type() != ListType::Atomic {
                    match item_element(Some(facts), item) {
                        Some(element) if seen.contains(&element) => {
                            errors.push(format!("{place}: duplicate entries for key {}", display(&element)));
                        }
                        Some(element) => drop(seen.insert(element)),
                        None => errors.push(format!(
                            "{place}: element {i}: associative list with keys has an element that omits all key fields (and doesn't have default values for any key fields)"
                        )),
                    }
                }
                if let Some(below) = below {
                    check_at(below, item, Place::Item(&place, i), errors);
                }
            }
        }
        _ => {}
    }
}
