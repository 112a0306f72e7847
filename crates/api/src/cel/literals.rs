//! What is looked at beyond types: literal texts that must be a duration, a timestamp or a pattern.

use cel::common::ast::{Expr, IdedExpr, LiteralValue};

use super::check::Checker;
use super::functions::{regex, time};

/// Complains about the literal argument of a call of `name` that cannot be what it must be.
pub(super) fn check(checker: &mut Checker<'_>, name: &str, args: &[IdedExpr]) {
    let Some(last) = args.last() else { return };
    let Expr::Literal(LiteralValue::String(text)) = &last.expr else { return };
    let text = text.inner();
    let is_wrong = match name {
        "duration" => time::read_duration(text).is_none(),
        "timestamp" => time::read_timestamp(text).is_none(),
        "matches" => regex::compile(text).is_err(),
        _ => false,
    };
    if is_wrong {
        checker.complain(last.id, format!("invalid {name} argument"));
    }
}
