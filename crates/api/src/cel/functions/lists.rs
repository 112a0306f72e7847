//! Lists: those of Kubernetes, those of CEL's extension `lists`, and `sets`.

use std::cmp::Ordering;

use super::{Result, Row, fail, no_overload, operators, strings};
use crate::cel::value::{List, Val};

pub(super) const ROWS: &[Row] = &[
    ("isSorted", &["list(A).() -> bool"], is_sorted),
    (
        "sum",
        &[
            "list(int).() -> int",
            "list(uint).() -> uint",
            "list(double).() -> double",
            "list(duration).() -> duration",
        ],
        sum,
    ),
    ("min", &["list(A).() -> A"], |a| extreme(&a, "min", Ordering::Less)),
    ("max", &["list(A).() -> A"], |a| extreme(&a, "max", Ordering::Greater)),
    ("indexOf", &["list(A).(A) -> int", "string.(string) -> int", "string.(string, int) -> int"], |a| {
        index(&a, false)
    }),
    ("lastIndexOf", &["list(A).(A) -> int", "string.(string) -> int", "string.(string, int) -> int"], |a| {
        index(&a, true)
    }),
    ("slice", &["list(A).(int, int) -> list(A)"], slice),
    ("flatten", &["list(list(A)).() -> list(A)", "list(dyn).(int) -> list(dyn)"], flatten),
    ("lists.range", &["(int) -> list(int)"], range),
    ("reverse", &["list(A).() -> list(A)"], reverse),
    ("distinct", &["list(A).() -> list(A)"], distinct),
    ("sort", &["list(A).() -> list(A)"], |a| sort(&a)),
    ("@sortByAssociatedKeys", &["list(A).(list(B)) -> list(A)"], |a| sort(&a)),
    ("first", &["list(A).() -> optional_type(A)"], |a| end(&a, false)),
    ("last", &["list(A).() -> optional_type(A)"], |a| end(&a, true)),
    ("sets.contains", &["(list(A), list(A)) -> bool"], |a| sets(&a, |a, b| b.iter().all(|v| a.contains(&v)))),
    ("sets.equivalent", &["(list(A), list(A)) -> bool"], |a| {
        sets(&a, |a, b| a.iter().all(|v| b.contains(&v)) && b.iter().all(|v| a.contains(&v)))
    }),
    ("sets.intersects", &["(list(A), list(A)) -> bool"], |a| {
        sets(&a, |a, b| a.iter().any(|v| b.contains(&v)))
    }),
];

/// The longest list that `lists.range` makes.
const RANGE_MAX: i64 = 1_000_000;

fn is_sorted(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::List(list)] = &args[..] else { return no_overload() };
    let mut before: Option<Val<'_>> = None;
    for item in list.iter() {
        match before.as_ref().map(|b| b.compare(&item)) {
            Some(None) => return no_overload(),
            Some(Some(Ordering::Greater)) => return Ok(Val::Bool(false)),
            _ => before = Some(item),
        }
    }
    Ok(Val::Bool(true))
}

fn sum(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::List(list)] = &args[..] else { return no_overload() };
    let mut items = list.iter();
    let Some(mut total) = items.next() else { return Ok(Val::Int(0)) };
    for item in items {
        total = operators::add(vec![total, item])?;
    }
    Ok(total)
}

fn extreme<'a>(args: &[Val<'a>], name: &str, wanted: Ordering) -> Result<'a> {
    let [Val::List(list)] = args else { return no_overload() };
    let mut items = list.iter();
    let Some(mut best) = items.next() else { return fail(format!("{name} called on empty list")) };
    for item in items {
        match item.compare(&best) {
            None => return no_overload(),
            Some(order) if order == wanted => best = item,
            Some(_) => {}
        }
    }
    Ok(best)
}

fn index<'a>(args: &[Val<'a>], last: bool) -> Result<'a> {
    match args {
        [Val::String(s), Val::String(part)] => strings::position(s, part, None, last),
        [Val::String(s), Val::String(part), Val::Int(from)] => strings::position(s, part, Some(*from), last),
        [Val::List(list), wanted] => {
            let mut at = (0..list.len()).filter(|&at| list.get(at).is_some_and(|v| v.equals(wanted)));
            let found = if last { at.next_back() } else { at.next() };
            Ok(Val::Int(found.map_or(-1, |at| at as i64)))
        }
        _ => no_overload(),
    }
}

fn slice(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::List(list), Val::Int(start), Val::Int(end)] = &args[..] else { return no_overload() };
    if *start < 0 || *end < 0 {
        return fail(format!("cannot slice({start}, {end}), negative indexes not supported"));
    }
    if start > end {
        return fail(format!(
            "cannot slice({start}, {end}), start index must be less than or equal to end index"
        ));
    }
    if *end > list.len() as i64 {
        return fail(format!("cannot slice({start}, {end}), list is length {}", list.len()));
    }
    Ok(Val::list((*start as usize..*end as usize).filter_map(|at| list.get(at)).collect()))
}

fn flatten(args: Vec<Val<'_>>) -> Result<'_> {
    let (list, depth) = match &args[..] {
        [Val::List(list)] => (list, 1),
        [Val::List(list), Val::Int(depth)] if *depth >= 0 => (list, *depth),
        [Val::List(_), Val::Int(_)] => return fail("level must be non-negative"),
        _ => return no_overload(),
    };
    let mut out = Vec::new();
    flatten_into(list, depth, &mut out);
    Ok(Val::list(out))
}

fn flatten_into<'a>(list: &List<'a>, depth: i64, out: &mut Vec<Val<'a>>) {
    for item in list.iter() {
        match item {
            Val::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, out),
            other => out.push(other),
        }
    }
}

fn range(args: Vec<Val<'_>>) -> Result<'_> {
    match args[0] {
        Val::Int(n) if n > RANGE_MAX => fail(format!("lists.range argument must be at most {RANGE_MAX}")),
        Val::Int(n) => Ok(Val::list((0..n).map(Val::Int).collect())),
        _ => no_overload(),
    }
}

fn reverse(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::List(list)] = &args[..] else { return no_overload() };
    Ok(Val::list((0..list.len()).rev().filter_map(|at| list.get(at)).collect()))
}

fn distinct(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::List(list)] = &args[..] else { return no_overload() };
    let mut out: Vec<Val<'_>> = Vec::new();
    for item in list.iter() {
        if !out.iter().any(|seen| seen.equals(&item)) {
            out.push(item);
        }
    }
    Ok(Val::list(out))
}

/// Sorted by the items themselves, or by the keys in a second list.
fn sort<'a>(args: &[Val<'a>]) -> Result<'a> {
    let (list, keys) = match args {
        [Val::List(list)] => (list, list),
        [Val::List(list), Val::List(keys)] if keys.len() == list.len() => (list, keys),
        _ => return no_overload(),
    };
    let mut pairs: Vec<_> = keys.iter().zip(list.iter()).collect();
    let comparable = |pair: &[(Val<'a>, Val<'a>)]| pair[0].0.compare(&pair[1].0).is_some();
    if !pairs.windows(2).all(comparable) {
        return fail("list elements must have the same type and be comparable");
    }
    pairs.sort_by(|(a, _), (b, _)| a.compare(b).unwrap_or(Ordering::Equal));
    Ok(Val::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

fn end<'a>(args: &[Val<'a>], last: bool) -> Result<'a> {
    let [Val::List(list)] = args else { return no_overload() };
    let at = if last { list.len().wrapping_sub(1) } else { 0 };
    Ok(list.get(at).map_or(Val::Optional(None), Val::some))
}

fn sets<'a>(args: &[Val<'a>], holds: fn(&List<'_>, &List<'_>) -> bool) -> Result<'a> {
    match args {
        [Val::List(a), Val::List(b)] => Ok(Val::Bool(holds(a, b))),
        _ => no_overload(),
    }
}
