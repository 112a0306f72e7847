//! Every function that expressions may call: a row with its name, its signatures and what it does.

pub mod authz;
pub(super) mod convert;
mod formats;
mod lists;
pub(super) mod network;
mod operators;
mod optional;
mod printf;
mod quantity;
pub(super) mod regex;
pub(super) mod semver;
mod strings;
pub(super) mod time;
pub(super) mod url;

use std::collections::HashMap;
use std::sync::LazyLock;

use super::Env;
use super::error::EvalError;
use super::types::{Type, split};
use super::value::Val;

pub(super) type Result<'a> = std::result::Result<Val<'a>, EvalError>;
pub(super) type Call = for<'a> fn(Vec<Val<'a>>) -> Result<'a>;

/// A name, its signatures (`string.(int) -> string` for what is called on a string), and what a call of it does.
pub(super) type Row = (&'static str, &'static [&'static str], Call);

const LIBRARIES: [&[Row]; 14] = [
    operators::ROWS,
    convert::ROWS,
    strings::ROWS,
    printf::ROWS,
    lists::ROWS,
    optional::ROWS,
    time::ROWS,
    regex::ROWS,
    url::ROWS,
    network::ROWS,
    quantity::ROWS,
    semver::ROWS,
    formats::ROWS,
    authz::ROWS,
];

/// Functions that only an environment which makes patches has.
const PATCHES: [&str; 1] = ["jsonpatch.escapeKey"];

pub(super) struct Function {
    pub name: &'static str,
    pub overloads: Vec<Overload>,
    pub call: Call,
}

#[derive(Debug)]
pub(super) struct Overload {
    /// Whether its first argument stands before the dot.
    pub is_method: bool,
    pub args: Vec<Type>,
    pub result: Type,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

static FUNCTIONS: LazyLock<HashMap<&'static str, Function>> = LazyLock::new(|| {
    let rows = LIBRARIES.into_iter().flatten();
    let function = |(name, signatures, call): &Row| {
        let overloads = signatures.iter().map(|s| overload(s)).collect();
        (*name, Function { name, overloads, call: *call })
    };
    rows.map(function).collect()
});

fn overload(signature: &'static str) -> Overload {
    let (given, result) = signature.split_once("->").expect("a signature says what comes of a call");
    let (before, args) =
        given.trim().split_once(if given.contains(".(") { ".(" } else { "(" }).expect("arguments");
    let is_method = !before.is_empty();
    let args = args.strip_suffix(')').expect("arguments end with a bracket");
    let receiver = is_method.then_some(before);
    let args = receiver.into_iter().chain(split(args)).map(Type::parse).collect();
    Overload { is_method, args, result: Type::parse(result) }
}

pub(super) fn find(name: &str, env: &Env) -> Option<&'static Function> {
    FUNCTIONS.get(name).filter(|f| env.makes_patches || !PATCHES.contains(&f.name))
}

pub(super) fn no_overload<'a>() -> Result<'a> {
    Err(EvalError::no_overload())
}

pub(super) fn fail<'a>(message: impl Into<String>) -> Result<'a> {
    Err(EvalError::new(message))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_has_one_row_and_every_signature_can_be_read() {
        let rows: Vec<_> = LIBRARIES.into_iter().flatten().collect();
        assert_eq!(rows.len(), FUNCTIONS.len(), "a name has two rows");
        for function in FUNCTIONS.values() {
            for overload in &function.overloads {
                assert!(!overload.args.contains(&Type::Error), "{}", function.name);
            }
        }
    }
}
