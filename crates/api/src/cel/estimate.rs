//! What an expression may cost at most, told from its types and from how large what it is given may be.
//!
//! A definition is refused whose rules could cost too much, so the numbers are those of cel-go's `checker/cost.go` and of
//! the reference's libraries, which must not change either.

use std::collections::HashMap;

use cel::common::ast::{CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr};

mod libraries;

use super::cost::{MAKE_LIST, MAKE_MAP, MAKE_OBJECT, PER_CHARACTER, PER_PATTERN_CHARACTER};
use super::macros::RESULT;
use super::types::Type;

/// How many elements or characters what stands at a path of fields, `@items`, `@values` and `@keys` may have.
pub type Sizes<'a> = dyn Fn(&[String]) -> Option<u64> + Sync + 'a;

/// The longest pattern of a named format.
const FORMAT_PATTERN_MAX: f64 = 128.0;
/// So dear that an expression has two of them at most.
const AUTHORIZATION: u64 = 350_000;
/// The bytes of an address.
const ADDRESS: Range = Range { min: 4, max: 16 };
/// Functions of authorization, addresses, quantities, versions and URLs that look at something small.
const SMALL: [&str; 39] = [
    "serviceAccount",
    "path",
    "group",
    "resource",
    "subresource",
    "namespace",
    "name",
    "allowed",
    "reason",
    "error",
    "errored",
    "masked",
    "prefixLength",
    "family",
    "isUnspecified",
    "isLoopback",
    "isLinkLocalMulticast",
    "isLinkLocalUnicast",
    "isGlobalUnicast",
    "format.named",
    "sign",
    "asInteger",
    "isInteger",
    "asApproximateFloat",
    "isGreaterThan",
    "isLessThan",
    "compareTo",
    "add",
    "sub",
    "major",
    "minor",
    "patch",
    "getScheme",
    "getHostname",
    "getHost",
    "getPort",
    "getEscapedPath",
    "getQuery",
    "ip",
];

/// The least and the most of a size or a cost.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Range {
    pub min: u64,
    pub max: u64,
}

const UNKNOWN: Range = Range { min: 0, max: u64::MAX };
const ONE: Range = Range::of(1);

impl Range {
    const fn of(n: u64) -> Range {
        Range { min: n, max: n }
    }

    fn plus(self, other: Range) -> Range {
        Range { min: self.min.saturating_add(other.min), max: self.max.saturating_add(other.max) }
    }

    fn times(self, other: Range) -> Range {
        Range { min: self.min.saturating_mul(other.min), max: self.max.saturating_mul(other.max) }
    }

    /// Rounded up; what is too large for a number is the largest one.
    fn factor(self, by: f64) -> Range {
        let scaled = |n: u64| (n as f64 * by).ceil() as u64;
        Range { min: scaled(self.min), max: scaled(self.max) }
    }

    fn union(self, other: Range) -> Range {
        Range { min: self.min.min(other.min), max: self.max.max(other.max) }
    }

    fn sum(of: &[Range]) -> Range {
        of.iter().fold(Range::default(), |sum, cost| sum.plus(*cost))
    }
}

/// How large the keys and values of a list or map are.
#[derive(Debug, Clone, Copy)]
struct Entry {
    is_list: bool,
    key: Range,
    value: Range,
}

#[derive(Debug, Clone)]
struct Local {
    path: Vec<String>,
    size: Option<Range>,
    entry: Option<Entry>,
}

/// What a call costs, and how large its result is.
struct Call {
    cost: Range,
    size: Option<Range>,
}

impl Call {
    fn of(cost: Range) -> Option<Call> {
        Some(Call { cost, size: None })
    }

    fn sized(cost: Range, size: Range) -> Option<Call> {
        Some(Call { cost, size: Some(size) })
    }
}

/// Estimates what a checked expression costs. `types` are those of its parts, `functions` tells a name with a dot that is
/// one function's.
pub(super) fn max_cost(
    expr: &IdedExpr,
    types: &HashMap<u64, Type>,
    sizes: &Sizes<'_>,
    is_function: &dyn Fn(&str) -> bool,
) -> u64 {
    let mut coster = Coster {
        types,
        sizes,
        is_function,
        paths: HashMap::new(),
        locals: Vec::new(),
        computed: HashMap::new(),
        entries: HashMap::new(),
    };
    coster.cost(expr).max
}

struct Coster<'a> {
    types: &'a HashMap<u64, Type>,
    sizes: &'a Sizes<'a>,
    is_function: &'a dyn Fn(&str) -> bool,
    paths: HashMap<u64, Vec<String>>,
    locals: Vec<(String, Local)>,
    computed: HashMap<u64, Range>,
    entries: HashMap<u64, Entry>,
}

impl Coster<'_> {
    fn ty(&self, expr: &IdedExpr) -> &Type {
        self.types.get(&expr.id).unwrap_or(&Type::Dyn)
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rfind(|(n, _)| n == name).map(|(_, local)| local)
    }

    fn path(&self, expr: &IdedExpr) -> Vec<String> {
        if let Expr::Ident(name) = &expr.expr
            && let Some(local) = self.local(name)
        {
            return local.path.clone();
        }
        self.paths.get(&expr.id).cloned().unwrap_or_default()
    }

    fn below(&self, expr: &IdedExpr, part: &str) -> Vec<String> {
        let mut path = self.path(expr);
        path.push(part.to_owned());
        path
    }

    fn cost(&mut self, expr: &IdedExpr) -> Range {
        match &expr.expr {
            Expr::Literal(_) | Expr::Unspecified => Range::default(),
            Expr::Ident(name) => {
                let path = self.local(name).map_or_else(|| vec![name.clone()], |local| local.path.clone());
                self.paths.insert(expr.id, path);
                ONE
            }
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => {
                let mut size = Range { min: if list.elements.is_empty() { 0 } else { u64::MAX }, max: 0 };
                let mut sum = Range::of(MAKE_LIST);
                for item in &list.elements {
                    sum = sum.plus(self.cost(item));
                    size = size.union(self.size_or_unknown(item));
                }
                self.entries.insert(expr.id, Entry { is_list: true, key: ONE, value: size });
                sum
            }
            Expr::Map(map) => self.map(expr.id, &map.entries),
            Expr::Struct(made) => {
                made.entries.iter().fold(Range::of(MAKE_OBJECT), |sum, entry| match &entry.expr {
                    EntryExpr::StructField(field) => sum.plus(self.cost(&field.value)),
                    EntryExpr::MapEntry(_) => sum,
                })
            }
            Expr::Comprehension(fold) if is_bind(fold) => self.bind(expr, fold),
            Expr::Comprehension(fold) => self.fold(expr, fold),
        }
    }

    fn map(&mut self, id: u64, entries: &[cel::common::ast::IdedEntryExpr]) -> Range {
        let least = if entries.is_empty() { 0 } else { u64::MAX };
        let (mut key, mut value) = (Range { min: least, max: 0 }, Range { min: least, max: 0 });
        let mut sum = Range::of(MAKE_MAP);
        for entry in entries {
            let EntryExpr::MapEntry(entry) = &entry.expr else { continue };
            sum = sum.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
            key = key.union(self.size_or_unknown(&entry.key));
            value = value.union(self.size_or_unknown(&entry.value));
        }
        self.entries.insert(id, Entry { is_list: false, key, value });
        sum
    }

    fn select(&mut self, expr: &IdedExpr, select: &SelectExpr) -> Range {
        let operand = self.cost(&select.operand);
        if select.test {
            // The reference lets the test of a field cost nothing.
            return operand;
        }
        let is_step = matches!(self.ty(&select.operand), Type::Map(..) | Type::Object(_));
        let path = self.below(&select.operand, &select.field);
        self.paths.insert(expr.id, path);
        if is_step { operand.plus(ONE) } else { operand }
    }

    fn fold(&mut self, expr: &IdedExpr, fold: &ComprehensionExpr) -> Range {
        let mut sum = self.cost(&fold.iter_range).plus(self.cost(&fold.accu_init));
        let before = self.locals.len();
        self.push_value(&fold.accu_var, &fold.accu_init);
        let entry = self.entry(&fold.iter_range);
        let is_list = match entry {
            Some(entry) => entry.is_list,
            None => matches!(self.ty(&fold.iter_range), Type::List(_)),
        };
        let mut push = |name: &str, part: &str, size: Option<Range>| {
            let path = self.below(&fold.iter_range, part);
            self.locals.push((name.to_owned(), Local { path, size, entry: None }));
        };
        let (keys, values) = if is_list { ("@indices", "@items") } else { ("@keys", "@values") };
        match &fold.iter_var2 {
            Some(second) => {
                push(&fold.iter_var, keys, entry.map(|e| e.key));
                push(second, values, entry.map(|e| e.value));
            }
            None if is_list => push(&fold.iter_var, values, entry.map(|e| e.value)),
            None => push(&fold.iter_var, keys, entry.map(|e| e.key)),
        }
        let step = self.cost(&fold.loop_cond).plus(self.cost(&fold.loop_step));
        self.locals.truncate(before + 1);
        sum = sum.plus(self.cost(&fold.result));
        self.locals.truncate(before);
        let count = self.size_or_unknown(&fold.iter_range);
        sum = sum.plus(count.times(step));
        match &fold.accu_init.expr {
            Expr::Literal(_) => {
                if let Some(size) = self.size(&fold.accu_init) {
                    self.computed.insert(expr.id, size);
                }
            }
            Expr::List(_) | Expr::Map(_) => {
                self.computed.insert(expr.id, count);
                if let Some(entry) = self.entry(&fold.loop_step) {
                    self.entries.insert(expr.id, entry);
                }
            }
            _ => {}
        }
        sum
    }

    fn bind(&mut self, expr: &IdedExpr, fold: &ComprehensionExpr) -> Range {
        let sum = self.cost(&fold.iter_range).plus(self.cost(&fold.accu_init));
        self.push_value(&fold.accu_var, &fold.accu_init);
        let sum = sum.plus(self.cost(&fold.result));
        self.locals.pop();
        self.copy_sizes(expr, &fold.result);
        sum
    }

    fn push_value(&mut self, name: &str, value: &IdedExpr) {
        let (path, size, entry) = (self.path(value), self.size(value), self.entry(value));
        self.locals.push((name.to_owned(), Local { path, size, entry }));
    }

    fn copy_sizes(&mut self, to: &IdedExpr, from: &IdedExpr) {
        if let Some(size) = self.size(from) {
            self.computed.insert(to.id, size);
        }
        if let Some(entry) = self.entry(from) {
            self.entries.insert(to.id, entry);
        }
    }

    fn entry(&self, expr: &IdedExpr) -> Option<Entry> {
        let computed = self.entries.get(&expr.id).copied();
        computed.or_else(|| match &expr.expr {
            Expr::Ident(name) => self.local(name)?.entry,
            _ => None,
        })
    }

    fn size_or_unknown(&mut self, expr: &IdedExpr) -> Range {
        self.size(expr).unwrap_or(UNKNOWN)
    }

    fn size(&mut self, expr: &IdedExpr) -> Option<Range> {
        if let Some(known) = self.computed.get(&expr.id) {
            return Some(*known);
        }
        if let Some(size) = literal_size(&expr.expr) {
            return Some(Range::of(size));
        }
        if let Some(max) = self.declared(&self.path(expr)) {
            self.computed.insert(expr.id, max);
            return Some(max);
        }
        if is_scalar(self.ty(expr)) {
            return Some(ONE);
        }
        match &expr.expr {
            Expr::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn declared(&self, path: &[String]) -> Option<Range> {
        if path.first().is_none_or(|root| root == RESULT) {
            return None;
        }
        (self.sizes)(path).map(|max| Range { min: 0, max })
    }

    fn call(&mut self, expr: &IdedExpr, call: &CallExpr) -> Range {
        let CallExpr { func_name, target, args } = call;
        if func_name == "dyn" && args.len() == 1 {
            let cost = self.cost(&args[0]).plus(ONE);
            self.copy_sizes(expr, &args[0]);
            return cost;
        }
        let dotted = target.as_ref().and_then(|t| super::check::qualified(t));
        let dotted = dotted.map(|q| format!("{}.{func_name}", q.trim_start_matches('.')));
        let dotted = dotted.filter(|name| (self.is_function)(name));
        let (name, target) = match &dotted {
            Some(name) => (name.as_str(), None),
            None => (func_name.as_str(), target.as_deref()),
        };
        let costs: Vec<Range> = args.iter().map(|arg| self.cost(arg)).collect();
        let before = target.map_or(Range::default(), |target| self.cost(target));
        let found = self.library(name, target, args);
        let found = found.map(|call| Call { cost: call.cost.plus(Range::sum(&costs)), ..call });
        let Call { cost, mut size } =
            found.unwrap_or_else(|| self.standard(expr, name, target, args, &costs));
        if name == "_[_]" {
            let part = if matches!(self.ty(&args[0]), Type::List(_)) { "@items" } else { "@values" };
            size = self.entry(&args[0]).map(|e| e.value);
            let path = self.below(&args[0], part);
            self.paths.insert(expr.id, path);
        }
        if let Some(size) = size.or_else(|| self.size(expr)) {
            self.computed.insert(expr.id, size);
        }
        before.plus(cost)
    }

    /// What CEL's own functions and operators cost, arguments included.
    fn standard(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        target: Option<&IdedExpr>,
        args: &[IdedExpr],
        costs: &[Range],
    ) -> Call {
        let sum = Range::sum(costs);
        let with = |cost: Range, size: Option<Range>| Call { cost: cost.plus(sum), size };
        let may_be_text = |c: &Self, of: &IdedExpr| {
            matches!(c.ty(of), Type::String | Type::Bytes | Type::Dyn | Type::Free(_))
        };
        match (name, args) {
            ("_&&_" | "_||_", [_, _]) => {
                let (a, b) = (costs[0], costs[1]);
                Call { cost: Range { min: a.min, max: a.plus(b).max }, size: None }
            }
            ("_?_:_", [_, yes, no]) => {
                let size = self.size_or_unknown(yes).union(self.size_or_unknown(no));
                self.unite_entries(expr, yes, no);
                Call { cost: costs[0].plus(costs[1].union(costs[2])), size: Some(size) }
            }
            ("format", _) if target.is_some() => {
                let size = target.map_or(UNKNOWN, |t| self.size_or_unknown(t));
                with(size.factor(PER_CHARACTER), None)
            }
            ("bytes", [of]) if *self.ty(of) == Type::String => {
                let size = self.size_or_unknown(of);
                let bytes = Range { min: size.min, max: size.max.saturating_mul(4) };
                with(size.factor(PER_CHARACTER), Some(bytes))
            }
            ("string", [of]) if *self.ty(of) == Type::Bytes => {
                let size = self.size_or_unknown(of);
                with(size.factor(PER_CHARACTER), Some(Range { min: size.min / 4, max: size.max }))
            }
            ("strings.quote", [of]) => {
                let size = self.size_or_unknown(of);
                let quoted = Range {
                    min: size.min.saturating_add(2),
                    max: size.max.saturating_mul(2).saturating_add(2),
                };
                with(size.factor(PER_CHARACTER), Some(quoted))
            }
            ("startsWith" | "endsWith", [part]) => {
                with(self.size_or_unknown(part).factor(PER_CHARACTER), None)
            }
            ("@in", [_, list]) if !matches!(self.ty(list), Type::Map(..)) => {
                with(self.size_or_unknown(list), None)
            }
            ("matches", [pattern]) if target.is_some() => {
                let text = target.map_or(UNKNOWN, |t| self.size_or_unknown(t));
                let text = text.plus(ONE).factor(PER_CHARACTER);
                with(text.times(self.size_or_unknown(pattern).factor(PER_PATTERN_CHARACTER)), None)
            }
            ("contains", [part]) if target.is_some() => {
                let text = target.map_or(UNKNOWN, |t| self.size_or_unknown(t)).factor(PER_CHARACTER);
                with(text.times(self.size_or_unknown(part).factor(PER_CHARACTER)), None)
            }
            ("_+_", [a, b]) => self.sum(expr, a, b, sum),
            ("_==_" | "_!=_", [a, b]) => with(self.comparison(a, b), None),
            ("_<_" | "_<=_" | "_>_" | "_>=_", [a, b]) if may_be_text(self, a) && may_be_text(self, b) => {
                let is_known = matches!(self.ty(a), Type::String | Type::Bytes);
                let cost = self.comparison(a, b);
                with(if is_known { cost } else { cost.union(ONE) }, None)
            }
            _ => with(ONE, None),
        }
    }

    fn comparison(&mut self, a: &IdedExpr, b: &IdedExpr) -> Range {
        let max = self.size_or_unknown(a).max.min(self.size_or_unknown(b).max);
        Range { min: u64::from(max > 0), max }.factor(PER_CHARACTER)
    }

    fn sum(&mut self, expr: &IdedExpr, a: &IdedExpr, b: &IdedExpr, costs: Range) -> Call {
        let size = self.size_or_unknown(a).plus(self.size_or_unknown(b));
        let cost = match self.ty(a) {
            Type::String | Type::Bytes => size.factor(PER_CHARACTER),
            Type::Dyn | Type::Free(_) => size.factor(PER_CHARACTER).union(ONE),
            Type::List(_) => ONE,
            _ => return Call { cost: ONE.plus(costs), size: None },
        };
        self.unite_entries(expr, a, b);
        Call { cost: cost.plus(costs), size: Some(size) }
    }

    fn unite_entries(&mut self, expr: &IdedExpr, a: &IdedExpr, b: &IdedExpr) {
        if let (Some(a), Some(b)) = (self.entry(a), self.entry(b)) {
            let entry = Entry { is_list: a.is_list, key: a.key.union(b.key), value: a.value.union(b.value) };
            self.entries.insert(expr.id, entry);
        }
    }
}

fn is_bind(fold: &ComprehensionExpr) -> bool {
    let is_false = matches!(&fold.loop_cond.expr, Expr::Literal(LiteralValue::Boolean(b)) if !*b.inner());
    let is_empty = matches!(&fold.iter_range.expr, Expr::List(list) if list.elements.is_empty());
    is_empty && is_false && fold.accu_var != RESULT
}

fn literal_size(expr: &Expr) -> Option<u64> {
    Some(match expr {
        Expr::Literal(LiteralValue::String(s)) => s.inner().chars().count() as u64,
        Expr::Literal(LiteralValue::Bytes(b)) => b.inner().len() as u64,
        Expr::Literal(_) => 1,
        Expr::List(list) => list.elements.len() as u64,
        Expr::Map(map) => map.entries.len() as u64,
        _ => return None,
    })
}

/// Whether a value of the type is always of the same size.
fn is_scalar(ty: &Type) -> bool {
    match ty {
        Type::Bool | Type::Double | Type::Duration | Type::Int | Type::Timestamp | Type::Uint => true,
        Type::Optional(of) => is_scalar(of),
        _ => false,
    }
}
