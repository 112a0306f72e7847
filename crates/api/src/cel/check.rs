//! The checker: from what was parsed to a program, with every name resolved and every type found to fit.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cel::common::ast::{
    CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedEntryExpr, IdedExpr, ListExpr, LiteralValue,
    SelectExpr, SourceInfo, StructExpr,
};

use super::Env;
use super::functions::{self, Function};
use super::literals;
use super::program::{Access, Fold, Node};
use super::types::{Found, Type};

/// How deep an expression may go: it is run by recursion, on the stack of whoever runs it.
const DEPTH_MAX: usize = 250;

/// How many dots the name of a variable, a type or a function has at most: `google.protobuf.Timestamp`, and some to spare.
/// Every member of a chain is looked up as the name that ends with it, which must not cost the length of the chain.
const DOTS_MAX: usize = 8;

pub(super) struct Checker<'a> {
    env: &'a Env,
    info: &'a SourceInfo,
    found: Found,
    /// What comprehensions around here bind, in the order of the stack.
    locals: Vec<(String, Type)>,
    depth: usize,
    /// What is wrong, by the offset in characters at which it is.
    pub complaints: BTreeMap<usize, Vec<String>>,
    /// What has been named of the environment.
    pub variables: BTreeSet<String>,
    types: HashMap<u64, Type>,
}

/// A node and its type.
type Typed = (Node, Type);

impl<'a> Checker<'a> {
    pub(super) fn new(env: &'a Env, info: &'a SourceInfo) -> Checker<'a> {
        Checker {
            env,
            info,
            found: Found::default(),
            locals: Vec::new(),
            depth: 0,
            complaints: BTreeMap::new(),
            variables: BTreeSet::new(),
            types: HashMap::new(),
        }
    }

    pub(super) fn whole(&mut self, expr: &IdedExpr) -> Typed {
        let (node, ty) = self.check(expr);
        let ty = self.found.resolve(&ty, true);
        (node, ty)
    }

    pub(super) fn complain(&mut self, id: u64, message: impl Into<String>) {
        let offset = self.info.offset_for(id).map_or(0, |(start, _)| start as usize);
        let (message, here) = (message.into(), self.complaints.entry(offset).or_default());
        if !here.contains(&message) {
            here.push(message);
        }
    }

    fn error(&mut self, id: u64, message: impl Into<String>) -> Typed {
        self.complain(id, message);
        (Node::Null, Type::Error)
    }

    fn check(&mut self, expr: &IdedExpr) -> Typed {
        if self.depth >= DEPTH_MAX {
            return self.error(expr.id, format!("expression recursion limit exceeded: {DEPTH_MAX}"));
        }
        self.depth += 1;
        let typed = match &expr.expr {
            Expr::Literal(literal) => constant(literal),
            Expr::Ident(name) => self.identifier(expr.id, name),
            Expr::Select(select) => self.select(expr.id, select),
            Expr::Call(call) => self.call(expr.id, call),
            Expr::List(list) => self.list(list),
            Expr::Map(map) => self.map(&map.entries),
            Expr::Struct(made) => self.made(expr.id, made),
            Expr::Comprehension(fold) => self.fold(fold),
            Expr::Unspecified => self.error(expr.id, "unexpected expression"),
        };
        self.depth -= 1;
        self.types.insert(expr.id, typed.1.clone());
        typed
    }

    /// The type of every part, as far as it has been found out.
    pub(super) fn types(&self) -> HashMap<u64, Type> {
        self.types.iter().map(|(id, ty)| (*id, self.found.resolve(ty, true))).collect()
    }

    fn boxed(&mut self, expr: &IdedExpr) -> (Box<Node>, Type) {
        let (node, ty) = self.check(expr);
        (Box::new(node), ty)
    }

    fn name(&mut self, name: &str) -> Option<Typed> {
        if let Some(slot) = self.locals.iter().rposition(|(n, _)| n == name) {
            return Some((Node::Local(slot), self.locals[slot].1.clone()));
        }
        let global = name.strip_prefix('.').unwrap_or(name);
        if let Some(decl) = self.env.variable(global) {
            self.variables.insert(global.to_owned());
            return Some((Node::Variable(global.to_owned()), decl));
        }
        let ty = named_type(global)?;
        Some((Node::Type(ty.clone()), Type::Type(ty.into())))
    }

    fn undeclared(&mut self, id: u64, name: &str) -> Typed {
        self.error(id, format!("undeclared reference to '{name}' (in container '')"))
    }

    fn identifier(&mut self, id: u64, name: &str) -> Typed {
        self.name(name).unwrap_or_else(|| self.undeclared(id, name))
    }

    fn select(&mut self, id: u64, select: &SelectExpr) -> Typed {
        if let Some(lazy) = self.lazy(id, select) {
            return lazy;
        }
        if let Some(found) = self.dotted(select) {
            return found;
        }
        let (operand, ty) = self.boxed(&select.operand);
        let field = select.field.clone();
        let (ty, how) = match (self.member(id, &ty, &field), select.test) {
            (_, true) => (Type::Bool, Access::Test),
            (ty, false) => (ty, Access::Plain),
        };
        (Node::Select { operand, field, how }, ty)
    }

    /// A name with dots in it that is declared as a whole.
    fn dotted(&mut self, select: &SelectExpr) -> Option<Typed> {
        let name = qualified(&select.operand).filter(|_| !select.test)?;
        let first = name.split('.').next().unwrap_or_default();
        if self.locals.iter().any(|(n, _)| n == first) {
            return None;
        }
        self.name(&format!("{name}.{}", select.field))
    }

    /// `variables.x`, where a policy has variables.
    fn lazy(&mut self, id: u64, select: &SelectExpr) -> Option<Typed> {
        let Expr::Ident(name) = &select.operand.expr else { return None };
        if name != super::VARIABLES || self.locals.iter().any(|(n, _)| n == name) {
            return None;
        }
        let known = self.env.lazy.as_ref()?;
        Some(match known.iter().find(|(n, _)| *n == select.field) {
            None => self.error(id, format!("undefined field '{}'", select.field)),
            Some(_) if select.test => (Node::Bool(true), Type::Bool),
            Some((_, ty)) => (Node::Lazy(select.field.clone()), ty.clone()),
        })
    }

    /// The type of a member of something of type `of`.
    fn member(&mut self, id: u64, of: &Type, field: &str) -> Type {
        match self.found.resolve(of, false) {
            Type::Map(_, value) => (*value).clone(),
            Type::Object(object) => match object.fields.get(field) {
                Some(ty) => ty.clone(),
                None if object.is_open => Type::Dyn,
                None => self.error(id, format!("undefined field '{field}'")).1,
            },
            Type::Optional(inner) => Type::optional(self.member(id, &inner, field)),
            Type::Free(_) | Type::Dyn | Type::Error => Type::Dyn,
            other => self.error(id, format!("type '{other}' does not support field selection")).1,
        }
    }

    fn call(&mut self, id: u64, call: &CallExpr) -> Typed {
        let CallExpr { func_name, target, args } = call;
        if func_name == "_?._"
            && let [operand, field] = &args[..]
            && let Expr::Literal(LiteralValue::String(field)) = &field.expr
        {
            return self.optional_select(id, operand, field.inner());
        }
        if let Some(target) = target {
            let name = qualified(target).map(|q| format!("{}.{func_name}", q.trim_start_matches('.')));
            if let Some(function) = name.as_deref().and_then(|n| functions::find(n, self.env)) {
                let typed: Vec<_> = args.iter().map(|a| self.check(a)).collect();
                return self.resolve(id, function, typed, args, false);
            }
        }
        let typed: Vec<_> = target.iter().map(|t| &**t).chain(args).map(|a| self.check(a)).collect();
        match functions::find(func_name.strip_prefix('.').unwrap_or(func_name), self.env) {
            Some(function) => self.resolve(id, function, typed, args, target.is_some()),
            None => self.undeclared(id, func_name),
        }
    }

    fn optional_select(&mut self, id: u64, operand: &IdedExpr, field: &str) -> Typed {
        let (operand, ty) = self.boxed(operand);
        let found = self.member(id, &ty, field);
        let ty = if let Type::Optional(_) = found { found } else { Type::optional(found) };
        (Node::Select { operand, field: field.to_owned(), how: Access::Optional }, ty)
    }

    /// The first overload that the arguments fit decides; where more do and say otherwise, anything may come of it.
    fn resolve(
        &mut self,
        id: u64,
        function: &'static Function,
        typed: Vec<Typed>,
        args: &[IdedExpr],
        is_method: bool,
    ) -> Typed {
        let (nodes, types): (Vec<_>, Vec<_>) = typed.into_iter().unzip();
        let types: Vec<_> = types.iter().map(|t| self.found.resolve(t, false)).collect();
        let mut result: Option<Type> = None;
        for overload in function.overloads.iter().filter(|o| o.is_method == is_method) {
            if overload.args.len() != types.len() {
                continue;
            }
            let (before, mut letters) = (self.found.clone(), Vec::new());
            let wanted: Vec<_> = overload.args.iter().map(|a| self.found.instance(a, &mut letters)).collect();
            if !types.iter().zip(&wanted).all(|(from, to)| self.found.assign(from, to)) {
                self.found = before;
                continue;
            }
            let instance = self.found.instance(&overload.result, &mut letters);
            let ty = self.found.resolve(&instance, false);
            result = Some(match result {
                Some(known) if !known.is_dyn() && known != ty => Type::Dyn,
                Some(known) => known,
                None => ty,
            });
        }
        match result {
            Some(ty) => {
                literals::check(self, function.name, args);
                (operation(function, nodes), ty)
            }
            None => self.no_overload(id, function.name, &types, is_method),
        }
    }

    fn no_overload(&mut self, id: u64, name: &str, types: &[Type], is_method: bool) -> Typed {
        let shown: Vec<String> = types.iter().map(|t| self.found.resolve(t, true).to_string()).collect();
        let applied = match &shown[..] {
            [target, rest @ ..] if is_method => format!("{target}.({})", rest.join(", ")),
            all => format!("({})", all.join(", ")),
        };
        self.error(id, format!("found no matching overload for '{name}' applied to '{applied}'"))
    }

    /// The one type of a literal's items.
    fn join(&mut self, id: u64, before: Option<Type>, now: Type) -> Type {
        let Some(before) = before else { return now };
        let saved = self.found.clone();
        if self.found.assign(&before, &now) {
            return self.found.more_general(&before, &now);
        }
        self.found = saved;
        let (before, now) = (self.found.resolve(&before, true), self.found.resolve(&now, true));
        self.error(id, format!("expected type '{before}' but found '{now}'")).1
    }

    /// What an optional item holds.
    fn unwrapped(&mut self, id: u64, ty: &Type) -> Type {
        match self.found.resolve(ty, false) {
            Type::Optional(inner) => (*inner).clone(),
            ty if ty.is_dyn() => Type::Dyn,
            ty => self.error(id, format!("expected type 'optional_type({ty})' but found '{ty}'")).1,
        }
    }

    fn list(&mut self, list: &ListExpr) -> Typed {
        let (mut items, mut of) = (Vec::with_capacity(list.elements.len()), None);
        for (i, element) in list.elements.iter().enumerate() {
            let (node, mut ty) = self.check(element);
            let is_optional = list.optional_indices.contains(&i);
            if is_optional {
                ty = self.unwrapped(element.id, &ty);
            }
            of = Some(self.join(element.id, of, ty));
            items.push((node, is_optional));
        }
        let of = of.unwrap_or_else(|| self.found.fresh());
        let is_constant = items.iter().all(|(node, optional)| node.is_constant() && !optional);
        (folded(Node::List(items), is_constant), Type::list(of))
    }

    fn map(&mut self, entries: &[IdedEntryExpr]) -> Typed {
        let (mut nodes, mut keys, mut values) = (Vec::with_capacity(entries.len()), None, None);
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            let (key, key_type) = self.check(&entry.key);
            keys = Some(self.join(entry.key.id, keys, key_type));
            let (value, mut value_type) = self.check(&entry.value);
            if entry.optional {
                value_type = self.unwrapped(entry.value.id, &value_type);
            }
            values = Some(self.join(entry.value.id, values, value_type));
            nodes.push((key, value, entry.optional));
        }
        let key = keys.unwrap_or_else(|| self.found.fresh());
        let value = values.unwrap_or_else(|| self.found.fresh());
        let is_constant =
            nodes.iter().all(|(k, v, optional)| k.is_constant() && v.is_constant() && !optional);
        (folded(Node::Map(nodes), is_constant), Type::map(key, value))
    }

    fn made(&mut self, id: u64, made: &StructExpr) -> Typed {
        let name = made.type_name.strip_prefix('.').unwrap_or(&made.type_name);
        let Some(ty) = self.env.made_type(name) else {
            return self.undeclared(id, name);
        };
        let mut fields = Vec::with_capacity(made.entries.len());
        for entry in &made.entries {
            let EntryExpr::StructField(field) = &entry.expr else { continue };
            let (node, mut given) = self.check(&field.value);
            if field.optional {
                given = self.unwrapped(field.value.id, &given);
            }
            let wanted = self.member(entry.id, &Type::Object(ty.clone()), &field.field);
            if !self.found.assign(&given, &wanted) {
                let given = self.found.resolve(&given, true);
                let words = format!(
                    "expected type of field '{}' is '{wanted}' but provided type is '{given}'",
                    field.field
                );
                self.complain(entry.id, words);
            }
            fields.push((field.field.clone(), node, field.optional));
        }
        (Node::Struct(name.to_owned(), fields), Type::Object(ty))
    }

    fn wants(&mut self, id: u64, ty: &Type, wanted: &Type) {
        if !self.found.assign(ty, wanted) {
            let (ty, wanted) = (self.found.resolve(ty, true), self.found.resolve(wanted, true));
            self.complain(id, format!("expected type '{wanted}' but found '{ty}'"));
        }
    }

    fn fold(&mut self, fold: &ComprehensionExpr) -> Typed {
        let (range, range_type) = self.check(&fold.iter_range);
        let (init, init_type) = self.check(&fold.accu_init);
        let (first, second) = self.range_types(fold.iter_range.id, &range_type);
        let slot = self.locals.len();
        self.locals.push((fold.accu_var.clone(), init_type.clone()));
        let has_two = fold.iter_var2.is_some();
        match &fold.iter_var2 {
            Some(name) => {
                self.locals.push((fold.iter_var.clone(), first));
                self.locals.push((name.clone(), second));
            }
            None => {
                let is_list = matches!(self.found.resolve(&range_type, false), Type::List(_));
                self.locals.push((fold.iter_var.clone(), if is_list { second } else { first }));
            }
        }
        let (condition, condition_type) = self.check(&fold.loop_cond);
        self.wants(fold.loop_cond.id, &condition_type, &Type::Bool);
        let (step, step_type) = self.check(&fold.loop_step);
        self.wants(fold.loop_step.id, &step_type, &init_type);
        self.locals.truncate(slot + 1);
        let (result, ty) = self.check(&fold.result);
        self.locals.truncate(slot);
        let step = taking(step, slot);
        (Node::Fold(Box::new(Fold { range, init, has_two, condition, step, result })), ty)
    }

    /// What a loop over a range binds: the key (or index) and the value.
    fn range_types(&mut self, id: u64, range: &Type) -> (Type, Type) {
        match self.found.resolve(range, false) {
            Type::List(of) => (Type::Int, (*of).clone()),
            Type::Map(key, value) => ((*key).clone(), (*value).clone()),
            Type::Dyn | Type::Error | Type::Free(_) => (Type::Dyn, Type::Dyn),
            other => {
                let words = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.complain(id, words);
                (Type::Error, Type::Error)
            }
        }
    }
}

/// `a.b.c`, where an expression is no more than a name with dots, and not longer than any that is declared.
pub(super) fn qualified(expr: &IdedExpr) -> Option<String> {
    let (mut names, mut at) = (Vec::new(), expr);
    loop {
        match &at.expr {
            Expr::Ident(name) => {
                names.push(name.as_str());
                names.reverse();
                return Some(names.join("."));
            }
            Expr::Select(select) if !select.test && names.len() < DOTS_MAX => {
                names.push(select.field.as_str());
                at = &select.operand;
            }
            _ => return None,
        }
    }
}

fn constant(literal: &LiteralValue) -> Typed {
    match literal {
        LiteralValue::Null => (Node::Null, Type::Null),
        LiteralValue::Boolean(b) => (Node::Bool(*b.inner()), Type::Bool),
        LiteralValue::Int(n) => (Node::Int(*n.inner()), Type::Int),
        LiteralValue::UInt(n) => (Node::Uint(*n.inner()), Type::Uint),
        LiteralValue::Double(d) => (Node::Double(*d.inner()), Type::Double),
        LiteralValue::String(s) => (Node::String(s.inner().to_owned()), Type::String),
        LiteralValue::Bytes(b) => (Node::Bytes(b.inner().to_vec()), Type::Bytes),
    }
}

/// A type's name where it stands for the type itself.
fn named_type(name: &str) -> Option<Type> {
    let named = [
        Type::Bool,
        Type::Int,
        Type::Uint,
        Type::Double,
        Type::String,
        Type::Bytes,
        Type::Null,
        Type::list(Type::Dyn),
        Type::map(Type::Dyn, Type::Dyn),
        Type::Type(Type::Dyn.into()),
        Type::optional(Type::Dyn),
        Type::Timestamp,
        Type::Duration,
        Type::Opaque("net.IP"),
        Type::Opaque("net.CIDR"),
    ];
    named.into_iter().find(|ty| ty.value_name() == name)
}

fn folded(node: Node, is_constant: bool) -> Node {
    if is_constant { Node::Constant(Box::new(node)) } else { node }
}

/// A call, as the operator that it is if it is one.
fn operation(function: &'static Function, args: Vec<Node>) -> Node {
    const CONVERSIONS: [&str; 8] =
        ["bool", "bytes", "double", "duration", "int", "string", "timestamp", "uint"];
    let index = |args: Vec<Node>, how| {
        let [operand, index] = <[Node; 2]>::try_from(args).expect("an index has two arguments");
        Node::Index { operand: Box::new(operand), index: Box::new(index), how }
    };
    let pair = |args: Vec<Node>| {
        let [a, b] = <[Node; 2]>::try_from(args).expect("a binary operator has two arguments");
        (Box::new(a), Box::new(b))
    };
    match function.name {
        "_&&_" => {
            let (a, b) = pair(args);
            Node::And(a, b)
        }
        "_||_" => {
            let (a, b) = pair(args);
            Node::Or(a, b)
        }
        "_?_:_" => Node::Choice(Box::new(<[Node; 3]>::try_from(args).expect("a choice has three arguments"))),
        "matches" => {
            let pattern = match args.last() {
                Some(Node::String(pattern)) => functions::regex::compile(pattern).ok(),
                _ => None,
            };
            match pattern {
                Some(pattern) => Node::Matches { args, pattern },
                None => Node::Call { function, args },
            }
        }
        "_[_]" => index(args, Access::Plain),
        "_[?_]" => index(args, Access::Optional),
        name => {
            let is_constant = CONVERSIONS.contains(&name) && args.iter().all(Node::is_constant);
            folded(Node::Call { function, args }, is_constant)
        }
    }
}

/// A loop's step that adds to what was collected: it may take that off the stack, since nobody sees it again.
fn taking(step: Node, slot: usize) -> Node {
    let taken = |node: Node| match node {
        Node::Local(at) if at == slot => Node::Take(slot),
        other => other,
    };
    match step {
        Node::Call { function, mut args } if matches!(function.name, "_+_" | "cel.@mapInsert") => {
            let rest = args.split_off(1);
            let args = args.into_iter().map(taken).chain(rest).collect();
            Node::Call { function, args }
        }
        Node::Choice(parts) => {
            let [condition, yes, no] = *parts;
            Node::Choice(Box::new([condition, taking(yes, slot), taken(no)]))
        }
        other => other,
    }
}
