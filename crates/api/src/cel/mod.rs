//! The Common Expression Language as Kubernetes speaks it: its types, its libraries, its limits and its words.
//!
//! The crate `cel` reads expressions; what Kubernetes asks for beyond that is here: every expression is checked against
//! declared types before it runs ([`Env::compile`]), and costs something when it does ([`Program::eval`]). Nothing here
//! reads a clock or does IO: what an expression asks of the world, it asks of its [`Bindings`].

pub mod admission;
mod check;
mod cost;
pub mod declare;
mod error;
mod estimate;
mod eval;
pub mod functions;
mod literals;
mod macros;
#[cfg(test)]
mod oracle_tests;
mod program;
#[cfg(test)]
mod tests;
mod types;
pub mod typing;
mod value;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;

pub use declare::Decl;
pub use error::{CompileError, Complaint, EvalError};
pub use estimate::Sizes;
pub use functions::authz::{Authorizer, Decision, Request};
use program::Node;
pub use types::{ObjectType, Type};
pub use value::{List, Map, Struct, Text, Val};

/// What one evaluation of one expression may cost.
pub const PER_CALL_LIMIT: u64 = 1_000_000;
/// What all rules of a custom resource may cost for one object, and all of a policy for one request.
pub const BUDGET: u64 = 10_000_000;
/// The longest expression that is read, in characters.
const SOURCE_MAX: usize = 100_000;
/// The stack on which expressions are read: a chain of additions as long as [`SOURCE_MAX`] is as deep. Pages of it that
/// are not used cost nothing.
const READING_STACK: usize = 512 << 20;

/// The variable that holds the others of a policy.
const VARIABLES: &str = "variables";

/// What is wrong with a pattern, if it is none.
pub(crate) fn pattern_error(text: &str) -> Option<String> {
    functions::regex::complaint(text)
}

/// A pattern as the reference reads it.
pub(crate) fn pattern(text: &str) -> Result<regex::Regex, EvalError> {
    functions::regex::compile(text)
}

/// Whether a text is an absolute URI or path.
pub(crate) fn is_uri(text: &str) -> bool {
    functions::url::Url::parse(text).is_ok()
}

/// Whether a text is a length of time as Go writes it.
pub(crate) fn is_duration(text: &str) -> bool {
    functions::time::read_duration(text).is_some()
}

pub(crate) use functions::convert::show_double;

/// What expressions may name.
#[derive(Debug, Clone, Default)]
pub struct Env {
    variables: Vec<(String, Declared)>,
    lazy: Option<Vec<(String, Type)>>,
    makes_patches: bool,
}

#[derive(Debug, Clone)]
enum Declared {
    Json(Decl),
    Typed(Type),
    Authorizer(&'static str),
}

impl Env {
    pub fn new() -> Env {
        Env::default()
    }

    /// With a variable whose values are JSON.
    pub fn with(mut self, name: &str, decl: Decl) -> Env {
        self.variables.push((name.to_owned(), Declared::Json(decl)));
        self
    }

    /// With a variable whose values are bound by [`Bindings::value`].
    pub fn with_value(mut self, name: &str, ty: Type) -> Env {
        self.variables.push((name.to_owned(), Declared::Typed(ty)));
        self
    }

    /// With `authorizer`, and with `authorizer.requestResource` for the request that is decided on.
    pub fn with_authorizer(mut self) -> Env {
        for (name, ty) in functions::authz::VARIABLES {
            self.variables.push((name.to_owned(), Declared::Authorizer(ty)));
        }
        self
    }

    /// With `variables`, none of which is declared yet.
    pub fn with_variables(mut self) -> Env {
        self.lazy = Some(Vec::new());
        self
    }

    /// Declares `variables.<name>` for the expressions compiled from now on.
    pub fn declare_variable(&mut self, name: &str, ty: Type) {
        self.lazy.get_or_insert_default().push((name.to_owned(), ty));
    }

    /// With the types that mutations are made of: `Object{}`, `JSONPatch{}`.
    pub fn with_patches(mut self) -> Env {
        self.makes_patches = true;
        self
    }

    fn variable(&self, name: &str) -> Option<Type> {
        let (_, declared) = self.variables.iter().rfind(|(n, _)| n == name)?;
        Some(match declared {
            Declared::Json(decl) => decl.ty(),
            Declared::Typed(ty) => ty.clone(),
            Declared::Authorizer(ty) => Type::Opaque(ty),
        })
    }

    fn decl(&self, name: &str) -> &Decl {
        match self.variables.iter().rfind(|(n, _)| n == name) {
            Some((_, Declared::Json(decl))) => decl,
            _ => &value::UNDECLARED,
        }
    }

    /// A type of which expressions may make objects.
    fn made_type(&self, name: &str) -> Option<Arc<ObjectType>> {
        if !self.makes_patches {
            return None;
        }
        if name == "JSONPatch" {
            let fields =
                [("op", Type::String), ("path", Type::String), ("from", Type::String), ("value", Type::Dyn)];
            return match Type::object(name, fields) {
                Type::Object(object) => Some(object),
                _ => None,
            };
        }
        let is_object = name == "Object" || name.starts_with("Object.");
        is_object.then(|| {
            Arc::new(ObjectType { name: name.to_owned(), fields: Default::default(), is_open: true })
        })
    }

    /// Reads and checks an expression.
    pub fn compile(&self, source: &str) -> Result<Program, CompileError> {
        let size = source.chars().count();
        if size > SOURCE_MAX {
            let message =
                format!("expression code point size exceeds limit: size: {size}, limit {SOURCE_MAX}");
            let complaint = Complaint { line: 1, column: 0, message };
            return Err(CompileError::new(source, vec![complaint]));
        }
        on_large_stack(|| self.read(source)).unwrap_or_else(|| {
            let complaint = Complaint { line: 1, column: 0, message: "expression cannot be read".to_owned() };
            Err(CompileError::new(source, vec![complaint]))
        })
    }

    /// What an expression that compiles may cost at most, where what it is given may have so many parts.
    pub fn max_cost(&self, source: &str, sizes: &Sizes<'_>) -> u64 {
        let estimate = || {
            let (expr, info) = macros::parse(source).ok()?;
            let mut checker = check::Checker::new(self, &info);
            checker.whole(&expr);
            let is_function = |name: &str| functions::find(name, self).is_some();
            Some(estimate::max_cost(&expr, &checker.types(), sizes, &is_function))
        };
        on_large_stack(estimate).flatten().unwrap_or(u64::MAX)
    }

    fn read(&self, source: &str) -> Result<Program, CompileError> {
        let (expr, info) = macros::parse(source).map_err(|errors| {
            let complaints = errors.errors.into_iter().map(|e| Complaint {
                line: usize::try_from(e.pos.0).unwrap_or(1).max(1),
                column: usize::try_from(e.pos.1 - 1).unwrap_or(0),
                message: e.msg,
            });
            CompileError::new(source, complaints.collect())
        })?;
        let mut checker = check::Checker::new(self, &info);
        let (root, ty) = checker.whole(&expr);
        if checker.complaints.is_empty() {
            let variables = checker.variables.into_iter().collect();
            Ok(Program { root, ty, variables })
        } else {
            Err(CompileError::at_offsets(source, checker.complaints))
        }
    }
}

/// Reading recurses as deep as the expression is long, which the caller's stack need not be made for. None where there is
/// no such stack.
fn on_large_stack<T: Send>(read: impl FnOnce() -> T + Send) -> Option<T> {
    std::thread::scope(|scope| {
        let reading = std::thread::Builder::new().stack_size(READING_STACK);
        let thread = reading.spawn_scoped(scope, read).ok()?;
        thread.join().ok()
    })
}

/// An expression that can be run.
#[derive(Debug)]
pub struct Program {
    root: Node,
    ty: Type,
    /// What it names of its environment.
    variables: Vec<String>,
}

/// What came of an expression, and at what cost.
#[derive(Debug)]
pub struct Outcome<'a> {
    pub value: Result<Val<'a>, EvalError>,
    pub cost: u64,
}

impl Program {
    /// The type of what it evaluates to.
    pub fn ty(&self) -> &Type {
        &self.ty
    }

    /// Whether it names a variable of its environment.
    pub fn uses(&self, variable: &str) -> bool {
        self.variables.iter().any(|v| v == variable)
    }

    /// Runs it; it may cost no more than `limit`, and never more than [`PER_CALL_LIMIT`].
    pub fn eval<'a>(&'a self, bindings: &Bindings<'a>, limit: u64) -> Outcome<'a> {
        let before = bindings.spent.get();
        let mut run = eval::Run::new(bindings, limit.min(PER_CALL_LIMIT));
        let value = run.eval(&self.root);
        Outcome { value, cost: run.cost() + (bindings.spent.get() - before) }
    }
}

/// What the names of an environment stand for in one evaluation, or in several about the same things.
#[derive(Debug)]
pub struct Bindings<'a> {
    env: &'a Env,
    values: Vec<(&'a str, Val<'a>)>,
    variables: &'a [(String, Program)],
    /// What variables have come to.
    known: RefCell<HashMap<&'a str, Result<Val<'a>, EvalError>>>,
    /// What they have cost.
    spent: Cell<u64>,
}

impl<'a> Bindings<'a> {
    pub fn new(env: &'a Env) -> Bindings<'a> {
        Bindings { env, values: Vec::new(), variables: &[], known: RefCell::default(), spent: Cell::new(0) }
    }

    /// Binds a JSON value, seen as its declaration says.
    pub fn json(mut self, name: &'a str, json: &'a Value) -> Bindings<'a> {
        let decl = self.env.decl(name);
        self.values.push((name, Val::of(json, decl)));
        self
    }

    pub fn value(mut self, name: &'a str, value: Val<'a>) -> Bindings<'a> {
        self.values.push((name, value));
        self
    }

    /// Binds `authorizer` and `authorizer.requestResource`.
    pub fn authorizer(mut self, ask: &'a dyn Authorizer, request: Option<Request>) -> Bindings<'a> {
        self.values.extend(functions::authz::bind(ask, request));
        self
    }

    /// Binds what `variables` holds: each is run when it is first asked for.
    pub fn variables(mut self, variables: &'a [(String, Program)]) -> Bindings<'a> {
        self.variables = variables;
        self
    }

    fn find(&self, name: &str) -> Option<Val<'a>> {
        self.values.iter().rfind(|(n, _)| *n == name).map(|(_, v)| v.clone())
    }

    fn variable(&self, name: &str) -> Result<Val<'a>, EvalError> {
        if let Some(known) = self.known.borrow().get(name) {
            return known.clone();
        }
        let (name, program) =
            self.variables.iter().find(|(n, _)| n == name).ok_or_else(|| EvalError::no_key(name))?;
        let mut run = eval::Run::new(self, PER_CALL_LIMIT);
        let value = run.eval(&program.root);
        self.spent.set(self.spent.get() + run.cost());
        self.known.borrow_mut().insert(name, value.clone());
        value
    }
}
