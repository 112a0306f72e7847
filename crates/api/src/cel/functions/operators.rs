//! The operators: arithmetic, comparison, membership, and what macros are made of.

use std::cmp::Ordering;
use std::rc::Rc;

use super::{Result, Row, fail, no_overload};
use crate::cel::error::EvalError;
use crate::cel::value::{Entries, Key, Map, Val};

const ORDER: &[&str] = &[
    "(bool, bool) -> bool",
    "(int, int) -> bool",
    "(int, double) -> bool",
    "(int, uint) -> bool",
    "(uint, uint) -> bool",
    "(uint, double) -> bool",
    "(uint, int) -> bool",
    "(double, double) -> bool",
    "(double, int) -> bool",
    "(double, uint) -> bool",
    "(string, string) -> bool",
    "(bytes, bytes) -> bool",
    "(timestamp, timestamp) -> bool",
    "(duration, duration) -> bool",
];

/// `&&`, `||`, `?:` and indexing are run by the evaluator itself, which reads no more of them than it must.
pub(super) const ROWS: &[Row] = &[
    ("_?_:_", &["(bool, A, A) -> A"], |_| no_overload()),
    ("_&&_", &["(bool, bool) -> bool"], |_| no_overload()),
    ("_||_", &["(bool, bool) -> bool"], |_| no_overload()),
    ("@not_strictly_false", &["(bool) -> bool"], |_| no_overload()),
    (
        "_[_]",
        &[
            "(list(A), int) -> A",
            "(map(A, B), A) -> B",
            "(optional_type(list(A)), int) -> optional_type(A)",
            "(optional_type(map(A, B)), A) -> optional_type(B)",
        ],
        |_| no_overload(),
    ),
    (
        "_[?_]",
        &[
            "(list(A), int) -> optional_type(A)",
            "(optional_type(list(A)), int) -> optional_type(A)",
            "(map(A, B), A) -> optional_type(B)",
            "(optional_type(map(A, B)), A) -> optional_type(B)",
        ],
        |_| no_overload(),
    ),
    ("!_", &["(bool) -> bool"], not),
    ("-_", &["(int) -> int", "(double) -> double"], negate),
    ("_==_", &["(A, A) -> bool"], |a| Ok(Val::Bool(a[0].equals(&a[1])))),
    ("_!=_", &["(A, A) -> bool"], |a| Ok(Val::Bool(!a[0].equals(&a[1])))),
    ("_<_", ORDER, |a| compare(a, Ordering::is_lt)),
    ("_<=_", ORDER, |a| compare(a, Ordering::is_le)),
    ("_>_", ORDER, |a| compare(a, Ordering::is_gt)),
    ("_>=_", ORDER, |a| compare(a, Ordering::is_ge)),
    ("@in", &["(A, list(A)) -> bool", "(A, map(A, B)) -> bool"], is_in),
    (
        "_+_",
        &[
            "(int, int) -> int",
            "(uint, uint) -> uint",
            "(double, double) -> double",
            "(string, string) -> string",
            "(bytes, bytes) -> bytes",
            "(list(A), list(A)) -> list(A)",
            "(duration, duration) -> duration",
            "(duration, timestamp) -> timestamp",
            "(timestamp, duration) -> timestamp",
        ],
        add,
    ),
    (
        "_-_",
        &[
            "(int, int) -> int",
            "(uint, uint) -> uint",
            "(double, double) -> double",
            "(duration, duration) -> duration",
            "(timestamp, duration) -> timestamp",
            "(timestamp, timestamp) -> duration",
        ],
        subtract,
    ),
    ("_*_", &["(int, int) -> int", "(uint, uint) -> uint", "(double, double) -> double"], multiply),
    ("_/_", &["(int, int) -> int", "(uint, uint) -> uint", "(double, double) -> double"], divide),
    ("_%_", &["(int, int) -> int", "(uint, uint) -> uint"], modulo),
    ("size", SIZE, |a| size(&a[0])),
    ("type", &["(A) -> type(A)"], |a| Ok(Val::Type(Rc::new(a[0].ty())))),
    ("cel.@mapInsert", &["(map(A, B), A, B) -> map(A, B)", "(map(A, B), map(A, B)) -> map(A, B)"], insert),
];

const SIZE: &[&str] = &[
    "(string) -> int",
    "(bytes) -> int",
    "(list(A)) -> int",
    "(map(A, B)) -> int",
    "string.() -> int",
    "bytes.() -> int",
    "list(A).() -> int",
    "map(A, B).() -> int",
];

const INT: &str = "integer overflow";
const UINT: &str = "unsigned integer overflow";

fn int<'a>(n: Option<i64>) -> Result<'a> {
    n.map(Val::Int).ok_or_else(|| EvalError::new(INT))
}

fn uint<'a>(n: Option<u64>) -> Result<'a> {
    n.map(Val::Uint).ok_or_else(|| EvalError::new(UINT))
}

fn duration<'a>(n: Option<i64>) -> Result<'a> {
    n.map(Val::Duration).ok_or_else(|| EvalError::new("duration overflow"))
}

fn not(args: Vec<Val<'_>>) -> Result<'_> {
    match args[0] {
        Val::Bool(b) => Ok(Val::Bool(!b)),
        _ => no_overload(),
    }
}

fn negate(args: Vec<Val<'_>>) -> Result<'_> {
    match args[0] {
        Val::Int(n) => int(n.checked_neg()),
        Val::Double(d) => Ok(Val::Double(-d)),
        _ => no_overload(),
    }
}

fn compare(args: Vec<Val<'_>>, holds: fn(Ordering) -> bool) -> Result<'_> {
    match args[0].compare(&args[1]) {
        Some(order) => Ok(Val::Bool(holds(order))),
        // Nothing is less, equal or greater than what is no number.
        None if args[0].is_number() && args[1].is_number() => Ok(Val::Bool(false)),
        None => no_overload(),
    }
}

fn is_in(args: Vec<Val<'_>>) -> Result<'_> {
    match &args[1] {
        Val::List(list) => Ok(Val::Bool(list.contains(&args[0]))),
        Val::Map(map) => Ok(Val::Bool(map.get(&args[0]).is_some())),
        _ => no_overload(),
    }
}

pub(super) fn two(args: Vec<Val<'_>>) -> (Val<'_>, Val<'_>) {
    let mut args = args.into_iter();
    (args.next().unwrap_or(Val::Null), args.next().unwrap_or(Val::Null))
}

pub(super) fn add(args: Vec<Val<'_>>) -> Result<'_> {
    let moved = |t: jiff::Timestamp, by| super::time::moved(t, by);
    match two(args) {
        (Val::Int(a), Val::Int(b)) => int(a.checked_add(b)),
        (Val::Uint(a), Val::Uint(b)) => uint(a.checked_add(b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a + b)),
        (Val::String(a), Val::String(b)) => Ok(Val::text(format!("{}{}", &*a, &*b))),
        (Val::Bytes(a), Val::Bytes(b)) => Ok(Val::Bytes([&*a, &*b].concat().into())),
        (Val::List(a), Val::List(b)) => Ok(Val::List(a.plus(&b))),
        (Val::Duration(a), Val::Duration(b)) => duration(a.checked_add(b)),
        (Val::Timestamp(t), Val::Duration(d)) | (Val::Duration(d), Val::Timestamp(t)) => moved(t, d),
        _ => no_overload(),
    }
}

fn subtract(args: Vec<Val<'_>>) -> Result<'_> {
    match two(args) {
        (Val::Int(a), Val::Int(b)) => int(a.checked_sub(b)),
        (Val::Uint(a), Val::Uint(b)) => uint(a.checked_sub(b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a - b)),
        (Val::Duration(a), Val::Duration(b)) => duration(a.checked_sub(b)),
        (Val::Timestamp(t), Val::Duration(d)) => match d.checked_neg() {
            Some(d) => super::time::moved(t, d),
            None => fail("duration overflow"),
        },
        (Val::Timestamp(a), Val::Timestamp(b)) => {
            duration(i64::try_from(a.as_nanosecond() - b.as_nanosecond()).ok())
        }
        _ => no_overload(),
    }
}

fn multiply(args: Vec<Val<'_>>) -> Result<'_> {
    match two(args) {
        (Val::Int(a), Val::Int(b)) => int(a.checked_mul(b)),
        (Val::Uint(a), Val::Uint(b)) => uint(a.checked_mul(b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a * b)),
        _ => no_overload(),
    }
}

fn divide(args: Vec<Val<'_>>) -> Result<'_> {
    match two(args) {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => fail("division by zero"),
        (Val::Int(a), Val::Int(b)) => int(a.checked_div(b)),
        (Val::Uint(a), Val::Uint(b)) => uint(a.checked_div(b)),
        (Val::Double(a), Val::Double(b)) => Ok(Val::Double(a / b)),
        _ => no_overload(),
    }
}

fn modulo(args: Vec<Val<'_>>) -> Result<'_> {
    match two(args) {
        (Val::Int(_), Val::Int(0)) | (Val::Uint(_), Val::Uint(0)) => fail("modulus by zero"),
        (Val::Int(a), Val::Int(b)) => int(a.checked_rem(b)),
        (Val::Uint(a), Val::Uint(b)) => uint(a.checked_rem(b)),
        _ => no_overload(),
    }
}

fn size<'a>(of: &Val<'a>) -> Result<'a> {
    match of {
        Val::String(_) | Val::Bytes(_) | Val::List(_) | Val::Map(_) => Ok(Val::Int(of.size() as i64)),
        _ => no_overload(),
    }
}

/// One step of a macro that makes a map.
fn insert(args: Vec<Val<'_>>) -> Result<'_> {
    let mut args = args.into_iter();
    let Some(Val::Map(map)) = args.next() else { return no_overload() };
    let mut entries = match map {
        Map::Made(entries) => entries,
        json => {
            let made = json.entries().into_iter().filter_map(|(k, v)| Some((Key::of(&k)?, (k, v))));
            Rc::new(made.collect::<Entries<'_>>())
        }
    };
    let new = match (args.next(), args.next()) {
        (Some(key), Some(value)) => vec![(key, value)],
        (Some(Val::Map(entry)), None) => entry.entries(),
        _ => return no_overload(),
    };
    let out = Rc::make_mut(&mut entries);
    for (key, value) in new {
        let Some(index) = Key::of(&key) else { return fail("unsupported key type") };
        if out.contains_key(&index) {
            return fail(format!("insert failed: key {} already exists", super::printf::shown(&key)));
        }
        out.insert(index, (key, value));
    }
    Ok(Val::Map(Map::Made(entries)))
}
