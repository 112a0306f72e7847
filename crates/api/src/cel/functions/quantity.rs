//! Amounts: `100m`, `1.5Gi`.

use super::{Result, Row, fail, no_overload};
use crate::cel::value::Val;
use crate::quantity::Quantity;

const ONE: &str = "kubernetes.Quantity.() -> bool";

pub(super) const ROWS: &[Row] = &[
    ("quantity", &["(string) -> kubernetes.Quantity"], |a| match &a[0] {
        Val::String(s) => match Quantity::parse(s) {
            Ok(q) => Ok(Val::Quantity(q)),
            Err(e) => fail(e.to_string()),
        },
        _ => no_overload(),
    }),
    ("isQuantity", &["(string) -> bool"], |a| match &a[0] {
        Val::String(s) => Ok(Val::Bool(Quantity::parse(s).is_ok())),
        _ => no_overload(),
    }),
    ("sign", &["kubernetes.Quantity.() -> int"], |a| of(&a, |q| Ok(Val::Int(q.nano().signum() as i64)))),
    ("isInteger", &[ONE], |a| of(&a, |q| Ok(Val::Bool(whole(q).is_some())))),
    ("asInteger", &["kubernetes.Quantity.() -> int"], |a| {
        of(&a, |q| whole(q).map_or_else(|| fail("cannot convert value to integer"), |n| Ok(Val::Int(n))))
    }),
    ("asApproximateFloat", &["kubernetes.Quantity.() -> double"], |a| {
        of(&a, |q| Ok(Val::Double(q.nano() as f64 / 1e9)))
    }),
    (
        "add",
        &[
            "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity",
            "kubernetes.Quantity.(int) -> kubernetes.Quantity",
        ],
        |a| sum(&a, |a, b| a + b),
    ),
    (
        "sub",
        &[
            "kubernetes.Quantity.(kubernetes.Quantity) -> kubernetes.Quantity",
            "kubernetes.Quantity.(int) -> kubernetes.Quantity",
        ],
        |a| sum(&a, |a, b| a - b),
    ),
];

fn of<'a>(args: &[Val<'a>], f: fn(Quantity) -> Result<'a>) -> Result<'a> {
    match args {
        [Val::Quantity(q)] => f(*q),
        _ => no_overload(),
    }
}

fn whole(q: Quantity) -> Option<i64> {
    const NANO: i128 = 1_000_000_000;
    if q.nano() % NANO == 0 { i64::try_from(q.nano() / NANO).ok() } else { None }
}

fn sum<'a>(args: &[Val<'_>], f: fn(Quantity, Quantity) -> Quantity) -> Result<'a> {
    match args {
        [Val::Quantity(a), Val::Quantity(b)] => Ok(Val::Quantity(f(*a, *b))),
        [Val::Quantity(a), Val::Int(b)] => Ok(Val::Quantity(f(*a, Quantity::from_int(*b)))),
        _ => no_overload(),
    }
}
