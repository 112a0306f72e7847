//! What calls cost: the same numbers as in the reference, so that what runs there runs here and the other way round.

use super::value::{Map, Val};

/// What making a list, a map or an object costs.
pub(super) const MAKE_LIST: u64 = 10;
pub(super) const MAKE_MAP: u64 = 30;
pub(super) const MAKE_OBJECT: u64 = 40;
/// What going through a text costs for each character.
pub(super) const PER_CHARACTER: f64 = 0.1;
/// What each character of a pattern multiplies that by.
pub(super) const PER_PATTERN_CHARACTER: f64 = 0.25;
/// So dear that an expression has two of them at most.
const AUTHORIZATION: u64 = 350_000;

fn text(size: u64, factor: f64) -> u64 {
    (size as f64 * factor).ceil() as u64
}

fn matching(args: &[Val<'_>]) -> u64 {
    let [subject, pattern, ..] = args else { return 1 };
    text(subject.size() + 1, PER_CHARACTER) * text(pattern.size(), PER_PATTERN_CHARACTER)
}

/// What one call costs, but for what depends on its result.
pub(super) fn of_call(name: &str, args: &[Val<'_>]) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Val::size);
    match name {
        "check" => AUTHORIZATION,
        "isSorted" | "sum" | "max" | "min" | "indexOf" | "lastIndexOf" => args.first().map_or(0, traversal),
        "url"
        | "lowerAscii"
        | "upperAscii"
        | "substring"
        | "trim"
        | "cidr"
        | "isIP"
        | "isCIDR"
        | "quantity"
        | "isQuantity"
        | "startsWith"
        | "endsWith"
        | "semver"
        | "isSemver"
        | "jsonpatch.escapeKey" => text(size(0), PER_CHARACTER),
        "ip" if !matches!(args.first(), Some(Val::Cidr(_))) => text(size(0), PER_CHARACTER),
        "bytes" | "string" if matches!(args.first(), Some(Val::String(_) | Val::Bytes(_))) => {
            let converts = matches!((name, &args[0]), ("bytes", Val::String(_)) | ("string", Val::Bytes(_)));
            if converts { text(size(0), PER_CHARACTER) } else { 1 }
        }
        "replace" | "split" | "ip.isCanonical" => text(size(0), 2.0 * PER_CHARACTER),
        "join" => 0,
        "find" | "findAll" | "matches" => matching(args),
        "contains" => text(size(0), PER_CHARACTER) * text(size(1), PER_CHARACTER),
        "containsIP" | "containsCIDR" => of_containment(name, args),
        "@in" if matches!(args.get(1), Some(Val::List(_))) => size(1),
        "_==_" | "_!=_" => text(size(0).min(size(1)), PER_CHARACTER),
        "_<_" | "_<=_" | "_>_" | "_>=_" if matches!(args.first(), Some(Val::String(_) | Val::Bytes(_))) => {
            text(size(0).min(size(1)), PER_CHARACTER)
        }
        "_+_" if matches!(args.first(), Some(Val::String(_) | Val::Bytes(_))) => {
            text(size(0) + size(1), PER_CHARACTER)
        }
        "validate" => text(size(1), PER_CHARACTER) * VALIDATION_STEPS,
        "format" => text(size(0), PER_CHARACTER),
        "sets.contains" | "sets.equivalent" | "sets.intersects" => size(0) * size(1) + 1,
        _ => 1,
    }
}

/// Named formats are patterns of about so many states.
const VALIDATION_STEPS: u64 = 8;

fn of_containment(name: &str, args: &[Val<'_>]) -> u64 {
    let size = |at: usize| args.get(at).map_or(1, Val::size);
    let mut cost = text(2 * size(0), PER_CHARACTER);
    if name == "containsCIDR" {
        cost += text(size(0), PER_CHARACTER) + 1;
    }
    if matches!(args.get(1), Some(Val::String(_))) {
        cost += text(size(1), PER_CHARACTER);
    }
    cost
}

/// What a call's result adds to its cost.
pub(super) fn of_result(name: &str, result: &Val<'_>) -> u64 {
    if name == "join" { text(result.size(), 2.0 * PER_CHARACTER) } else { 0 }
}

/// What going through a whole value costs.
fn traversal(value: &Val<'_>) -> u64 {
    match value {
        Val::String(s) => (s.len() as f64 * PER_CHARACTER) as u64,
        Val::Bytes(b) => (b.len() as f64 * PER_CHARACTER) as u64,
        Val::List(list) => list.iter().map(|v| traversal(&v)).sum(),
        Val::Map(map) => entries(map),
        _ => 1,
    }
}

fn entries(map: &Map<'_>) -> u64 {
    map.entries().iter().map(|(k, v)| traversal(k) + traversal(v)).sum()
}
