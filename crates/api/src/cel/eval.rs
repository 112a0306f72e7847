//! Runs a checked expression, and counts what that costs.

use std::rc::Rc;

use super::Bindings;
use super::cost;
use super::error::EvalError;
use super::functions::Function;
use super::program::{Access, Fold, Node};
use super::value::{Entries, Key, Map, Struct, Text, Val};

type Result<T> = std::result::Result<T, EvalError>;

pub(super) struct Run<'b, 'a> {
    bindings: &'b Bindings<'a>,
    /// What the comprehensions around here have bound.
    /// An error, too, since a later step may decide all the same.
    locals: Vec<Result<Val<'a>>>,
    cost: u64,
    limit: u64,
}

impl<'b, 'a> Run<'b, 'a> {
    pub(super) fn new(bindings: &'b Bindings<'a>, limit: u64) -> Run<'b, 'a> {
        Run { bindings, locals: Vec::new(), cost: 0, limit }
    }

    pub(super) fn cost(&self) -> u64 {
        self.cost
    }

    fn charge(&mut self, cost: u64) -> Result<()> {
        self.cost = self.cost.saturating_add(cost);
        if self.cost > self.limit { Err(EvalError::Cost) } else { Ok(()) }
    }

    pub(super) fn eval(&mut self, node: &'a Node) -> Result<Val<'a>> {
        match node {
            Node::Null => Ok(Val::Null),
            Node::Bool(b) => Ok(Val::Bool(*b)),
            Node::Int(n) => Ok(Val::Int(*n)),
            Node::Uint(n) => Ok(Val::Uint(*n)),
            Node::Double(d) => Ok(Val::Double(*d)),
            Node::String(s) => Ok(Val::String(Text::Borrowed(s))),
            Node::Bytes(b) => Ok(Val::Bytes(b.as_slice().into())),
            Node::Type(ty) => Ok(Val::Type(Rc::new(ty.clone()))),
            Node::Variable(name) => {
                self.charge(1)?;
                self.bindings
                    .find(name)
                    .ok_or_else(|| EvalError::new(format!("no such attribute(s): {name}")))
            }
            Node::Lazy(name) => {
                self.charge(2)?;
                self.bindings.variable(name)
            }
            Node::Local(slot) => {
                self.charge(1)?;
                self.locals[*slot].clone()
            }
            Node::Take(slot) => {
                self.charge(1)?;
                std::mem::replace(&mut self.locals[*slot], Ok(Val::Null))
            }
            Node::Select { operand, field, how } => self.select(operand, field, *how),
            Node::Index { operand, index, how } => self.index(operand, index, *how),
            Node::Call { function, args } => self.call(function, args),
            Node::Matches { args, pattern } => {
                let values = args.iter().map(|arg| self.eval(arg)).collect::<Result<Vec<_>>>()?;
                self.charge(cost::of_call("matches", &values))?;
                match values.first() {
                    Some(Val::String(text)) => Ok(Val::Bool(pattern.is_match(text))),
                    _ => Err(EvalError::no_overload()),
                }
            }
            Node::And(a, b) => self.logical(a, b, false),
            Node::Or(a, b) => self.logical(a, b, true),
            Node::Choice(parts) => {
                let [condition, yes, no] = &**parts;
                match self.eval(condition)? {
                    Val::Bool(true) => self.eval(yes),
                    Val::Bool(false) => self.eval(no),
                    _ => Err(EvalError::no_overload()),
                }
            }
            Node::List(items) => self.list(items),
            Node::Map(entries) => self.map(entries),
            Node::Struct(name, fields) => self.made(name, fields),
            Node::Fold(fold) => self.fold(fold),
            Node::Constant(inner) => {
                let before = self.cost;
                let value = self.eval(inner);
                self.cost = before;
                value
            }
        }
    }

    /// A member of what is no name itself costs one more: the name that stands for it.
    fn charge_member(&mut self, operand: &Node) -> Result<()> {
        let is_name = matches!(
            operand,
            Node::Variable(_) | Node::Lazy(_) | Node::Local(_) | Node::Select { .. } | Node::Index { .. }
        );
        self.charge(if is_name { 1 } else { 2 })
    }

    fn select(&mut self, operand: &'a Node, field: &'a str, how: Access) -> Result<Val<'a>> {
        let of = self.eval(operand)?;
        if how != Access::Test {
            self.charge_member(operand)?;
        }
        select(&of, field, how)
    }

    fn index(&mut self, operand: &'a Node, index: &'a Node, how: Access) -> Result<Val<'a>> {
        let of = self.eval(operand)?;
        let key = self.eval(index)?;
        self.charge_member(operand)?;
        at_index(&of, &key, how)
    }

    fn call(&mut self, function: &'static Function, args: &'a [Node]) -> Result<Val<'a>> {
        if function.name == "@not_strictly_false" {
            let value = self.eval(&args[0]);
            self.charge(1)?;
            return match value {
                Err(EvalError::Cost) => Err(EvalError::Cost),
                other => Ok(Val::Bool(!matches!(other, Ok(Val::Bool(false))))),
            };
        }
        let mut values = Vec::with_capacity(args.len());
        for arg in args {
            values.push(self.eval(arg)?);
        }
        // To be in a list of constants is one look, which costs nothing.
        let is_free = function.name == "@in" && matches!(args[1], Node::Constant(_));
        if !is_free {
            self.charge(cost::of_call(function.name, &values))?;
        }
        let value = (function.call)(values)?;
        self.charge(cost::of_result(function.name, &value))?;
        Ok(value)
    }

    /// `&&` and `||`: one side that decides does so, even if the other fails.
    fn logical(&mut self, a: &'a Node, b: &'a Node, decides: bool) -> Result<Val<'a>> {
        let side = |value: Result<Val<'a>>| match value {
            Err(EvalError::Cost) => Err(EvalError::Cost),
            Ok(Val::Bool(b)) => Ok(Ok(b)),
            Ok(_) => Ok(Err(EvalError::no_overload())),
            Err(e) => Ok(Err(e)),
        };
        let left = side(self.eval(a))?;
        if left == Ok(decides) {
            return Ok(Val::Bool(decides));
        }
        let right = side(self.eval(b))?;
        match (left, right) {
            (_, Ok(right)) if right == decides => Ok(Val::Bool(decides)),
            (Err(e), _) | (_, Err(e)) => Err(e),
            _ => Ok(Val::Bool(!decides)),
        }
    }

    fn list(&mut self, items: &'a [(Node, bool)]) -> Result<Val<'a>> {
        let mut made = Vec::with_capacity(items.len());
        for (node, is_optional) in items {
            let value = self.eval(node)?;
            if let Some(value) = present(value, *is_optional)? {
                made.push(value);
            }
        }
        self.charge(cost::MAKE_LIST)?;
        Ok(Val::list(made))
    }

    fn map(&mut self, entries: &'a [(Node, Node, bool)]) -> Result<Val<'a>> {
        let mut made = Entries::default();
        for (key, value, is_optional) in entries {
            let key = self.eval(key)?;
            let value = self.eval(value)?;
            if let Some(value) = present(value, *is_optional)? {
                let index = Key::of(&key).ok_or_else(|| EvalError::new("unsupported key type"))?;
                if made.contains_key(&index) {
                    return Err(EvalError::new("Failed with repeated key"));
                }
                made.insert(index, (key, value));
            }
        }
        self.charge(cost::MAKE_MAP)?;
        Ok(Val::Map(Map::Made(Rc::new(made))))
    }

    fn made(&mut self, name: &str, fields: &'a [(String, Node, bool)]) -> Result<Val<'a>> {
        let mut made = Vec::with_capacity(fields.len());
        for (field, node, is_optional) in fields {
            let value = self.eval(node)?;
            if let Some(value) = present(value, *is_optional)? {
                made.push((field.clone(), value));
            }
        }
        self.charge(cost::MAKE_OBJECT)?;
        Ok(Val::Struct(Rc::new(Struct { name: name.to_owned(), fields: made })))
    }

    fn fold(&mut self, fold: &'a Fold) -> Result<Val<'a>> {
        let range = self.eval(&fold.range)?;
        let init = self.eval(&fold.init)?;
        let slot = self.locals.len();
        self.locals.push(Ok(init));
        let result = self.steps(fold, &range, slot).and_then(|()| {
            self.locals.truncate(slot + 1);
            self.eval(&fold.result)
        });
        self.locals.truncate(slot);
        result
    }

    fn steps(&mut self, fold: &'a Fold, range: &Val<'a>, slot: usize) -> Result<()> {
        match range {
            Val::List(list) => {
                for at in 0..list.len() {
                    let Some(item) = list.get(at) else { break };
                    let index = fold.has_two.then_some(Val::Int(at as i64));
                    if !self.step(fold, slot, index.into_iter().chain([item]))? {
                        break;
                    }
                }
            }
            Val::Map(map) if fold.has_two => {
                for (key, value) in map.entries() {
                    if !self.step(fold, slot, [key, value])? {
                        break;
                    }
                }
            }
            Val::Map(map) => {
                for key in map.keys() {
                    if !self.step(fold, slot, [key])? {
                        break;
                    }
                }
            }
            _ => return Err(EvalError::no_overload()),
        }
        Ok(())
    }

    /// One step; whether another one may follow.
    fn step(
        &mut self,
        fold: &'a Fold,
        slot: usize,
        bound: impl IntoIterator<Item = Val<'a>>,
    ) -> Result<bool> {
        self.locals.truncate(slot + 1);
        self.locals.extend(bound.into_iter().map(Ok));
        match self.eval(&fold.condition) {
            Ok(Val::Bool(false)) => return Ok(false),
            Err(EvalError::Cost) => return Err(EvalError::Cost),
            _ => {}
        }
        let value = self.eval(&fold.step);
        if let Err(EvalError::Cost) = value {
            return value.map(|_| false);
        }
        self.locals[slot] = value;
        Ok(true)
    }
}

/// An optional item's value, if there is one.
fn present(value: Val<'_>, is_optional: bool) -> Result<Option<Val<'_>>> {
    match value {
        value if !is_optional => Ok(Some(value)),
        Val::Optional(inner) => Ok(inner.map(|v| (*v).clone())),
        _ => Err(EvalError::new("cannot initialize optional entry from non-optional value")),
    }
}

fn select<'a>(of: &Val<'a>, field: &str, how: Access) -> Result<Val<'a>> {
    if let Val::Optional(inner) = of {
        return match (inner, how) {
            (Some(inner), Access::Test) => select(inner, field, how),
            (Some(inner), _) => select(inner, field, Access::Optional),
            (None, Access::Test) => Ok(Val::Bool(false)),
            (None, _) => Ok(Val::Optional(None)),
        };
    }
    let found = match of {
        Val::Map(map) => map.property(field),
        Val::Struct(made) => made.fields.iter().find(|(n, _)| n == field).map(|(_, v)| v.clone()),
        _ => return Err(EvalError::no_overload()),
    };
    outcome(found, how, || EvalError::no_key(field))
}

fn outcome<'a>(found: Option<Val<'a>>, how: Access, missing: impl FnOnce() -> EvalError) -> Result<Val<'a>> {
    match (found, how) {
        (found, Access::Test) => Ok(Val::Bool(found.is_some())),
        (Some(value), Access::Optional) => Ok(Val::some(value)),
        (None, Access::Optional) => Ok(Val::Optional(None)),
        (Some(value), Access::Plain) => Ok(value),
        (None, Access::Plain) => Err(missing()),
    }
}

fn at_index<'a>(of: &Val<'a>, key: &Val<'a>, how: Access) -> Result<Val<'a>> {
    match of {
        Val::Optional(Some(inner)) => at_index(inner, key, Access::Optional),
        Val::Optional(None) => Ok(Val::Optional(None)),
        Val::Map(map) => outcome(map.get(key), how, || EvalError::no_key(shown(key))),
        Val::List(list) => {
            let Some(Key::Int(at)) = Key::of(key) else {
                return Err(EvalError::new(format!(
                    "unsupported index type '{}' in list",
                    key.ty().value_name()
                )));
            };
            let found = usize::try_from(at).ok().and_then(|at| list.get(at));
            outcome(found, how, || EvalError::new(format!("index out of bounds: {at}")))
        }
        _ => Err(EvalError::no_overload()),
    }
}

fn shown(key: &Val<'_>) -> String {
    match key {
        Val::String(s) => s.to_string(),
        Val::Int(n) => n.to_string(),
        Val::Uint(n) => n.to_string(),
        Val::Bool(b) => b.to_string(),
        Val::Double(d) => d.to_string(),
        other => other.ty().value_name().to_owned(),
    }
}
