//! Values that may not be there.

use super::{Result, Row, fail, no_overload};
use crate::cel::value::Val;

pub(super) const ROWS: &[Row] = &[
    ("optional.of", &["(A) -> optional_type(A)"], |a| Ok(Val::some(one(a)))),
    ("optional.ofNonZeroValue", &["(A) -> optional_type(A)"], |a| {
        let value = one(a);
        Ok(if value.is_zero() { Val::Optional(None) } else { Val::some(value) })
    }),
    ("optional.none", &["() -> optional_type(A)"], |_| Ok(Val::Optional(None))),
    ("optional.unwrap", &["(list(optional_type(A))) -> list(A)"], unwrap),
    ("unwrapOpt", &["list(optional_type(A)).() -> list(A)"], unwrap),
    // The checker resolves it to a selection; as a call it has no meaning of its own.
    ("_?._", &["(dyn, string) -> optional_type(dyn)"], |_| no_overload()),
    ("hasValue", &["optional_type(A).() -> bool"], |a| match &a[0] {
        Val::Optional(value) => Ok(Val::Bool(value.is_some())),
        _ => no_overload(),
    }),
    ("value", &["optional_type(A).() -> A"], |a| match &a[0] {
        Val::Optional(Some(value)) => Ok((**value).clone()),
        Val::Optional(None) => fail("optional.none() dereference"),
        _ => no_overload(),
    }),
    ("or", &["optional_type(A).(optional_type(A)) -> optional_type(A)"], |a| or(a, false)),
    ("orValue", &["optional_type(A).(A) -> A"], |a| or(a, true)),
];

fn one(args: Vec<Val<'_>>) -> Val<'_> {
    args.into_iter().next().unwrap_or(Val::Null)
}

fn or(args: Vec<Val<'_>>, unwraps: bool) -> Result<'_> {
    match super::operators::two(args) {
        (Val::Optional(None), other) => Ok(other),
        (Val::Optional(Some(value)), _) if unwraps => Ok((*value).clone()),
        (some @ Val::Optional(_), _) => Ok(some),
        _ => no_overload(),
    }
}

fn unwrap(args: Vec<Val<'_>>) -> Result<'_> {
    let [Val::List(list)] = &args[..] else { return no_overload() };
    let present = list.iter().filter_map(|v| match v {
        Val::Optional(inner) => inner.map(|v| (*v).clone()),
        other => Some(other),
    });
    Ok(Val::list(present.collect()))
}
