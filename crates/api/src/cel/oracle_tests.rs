//! Random small expressions, held against an evaluator that does what the language says and nothing else: no types, no
//! costs, no sharing.

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use super::*;

/// How deep expressions are in each other.
const DEPTH: u32 = 3;

/// An expression over integers, booleans, texts and lists of integers. A local is an integer, named by how many are
/// bound around it.
#[derive(Debug, Clone)]
enum Expr {
    Int(i64),
    Bool(bool),
    Text(String),
    List(Vec<Expr>),
    Local(usize),
    Not(Box<Expr>),
    Binary(&'static str, Box<[Expr; 2]>),
    Choice(Box<[Expr; 3]>),
    Size(Box<Expr>),
    Index(Box<[Expr; 2]>),
    /// `startsWith` and its like.
    Method(&'static str, Box<[Expr; 2]>),
    /// `all` and its like: a list, and what is said of each of its items.
    Loop(&'static str, Box<[Expr; 2]>),
}

/// Why there is no value is not compared: which of two failures is told is up to the order of evaluation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Failed;

type Outcome = Result<Value, Failed>;

impl Expr {
    fn show(&self, bound: usize) -> String {
        let one = |e: &Expr| e.show(bound);
        match self {
            Expr::Int(n) => format!("({n})"),
            Expr::Bool(b) => b.to_string(),
            Expr::Text(text) => format!("'{}'", quoted(text)),
            Expr::List(items) => format!("[{}]", items.iter().map(one).collect::<Vec<_>>().join(", ")),
            Expr::Local(at) => format!("x{at}"),
            Expr::Not(of) => format!("!{}", one(of)),
            Expr::Binary(operator, of) => format!("({} {operator} {})", one(&of[0]), one(&of[1])),
            Expr::Choice(of) => format!("({} ? {} : {})", one(&of[0]), one(&of[1]), one(&of[2])),
            Expr::Size(of) => format!("size({})", one(of)),
            Expr::Index(of) => format!("{}[{}]", one(&of[0]), one(&of[1])),
            Expr::Method(name, of) => format!("{}.{name}({})", one(&of[0]), one(&of[1])),
            Expr::Loop(name, of) => format!("{}.{name}(x{bound}, {})", one(&of[0]), of[1].show(bound + 1)),
        }
    }

    fn eval(&self, locals: &mut Vec<Value>) -> Outcome {
        Ok(match self {
            Expr::Int(n) => json!(n),
            Expr::Bool(b) => json!(b),
            Expr::Text(text) => json!(text),
            Expr::List(items) => items.iter().map(|i| i.eval(locals)).collect::<Result<Value, Failed>>()?,
            Expr::Local(at) => locals[*at].clone(),
            Expr::Not(of) => json!(!is_true(&of.eval(locals)?)),
            Expr::Binary(operator @ ("&&" | "||"), of) => {
                return logical(*operator == "||", of[0].eval(locals), of[1].eval(locals));
            }
            Expr::Binary(operator, of) => binary(operator, of[0].eval(locals)?, of[1].eval(locals)?)?,
            Expr::Choice(of) => of[if is_true(&of[0].eval(locals)?) { 1 } else { 2 }].eval(locals)?,
            Expr::Size(of) => match of.eval(locals)? {
                Value::String(text) => json!(text.chars().count()),
                list => json!(items(&list).len()),
            },
            Expr::Index(of) => {
                let (list, at) = (of[0].eval(locals)?, of[1].eval(locals)?);
                let at = usize::try_from(int(&at)).map_err(|_| Failed)?;
                items(&list).get(at).cloned().ok_or(Failed)?
            }
            Expr::Method(name, of) => {
                let (text, other) = (of[0].eval(locals)?, of[1].eval(locals)?);
                let (text, other) = (text.as_str().unwrap(), other.as_str().unwrap());
                json!(match *name {
                    "startsWith" => text.starts_with(other),
                    "endsWith" => text.ends_with(other),
                    _ => text.contains(other),
                })
            }
            Expr::Loop(name, of) => {
                let range = of[0].eval(locals)?;
                let said = items(&range).iter().map(|item| {
                    locals.push(item.clone());
                    let said = of[1].eval(locals);
                    locals.pop();
                    (item.clone(), said)
                });
                looped(name, said.collect())?
            }
        })
    }
}

fn quoted(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'").replace('\n', "\\n")
}

fn is_true(v: &Value) -> bool {
    v.as_bool().unwrap()
}

fn int(v: &Value) -> i64 {
    v.as_i64().unwrap()
}

fn items(v: &Value) -> &[Value] {
    v.as_array().unwrap()
}

/// One side that decides does so, whatever is with the other.
fn logical(decides: bool, a: Outcome, b: Outcome) -> Outcome {
    if [&a, &b].into_iter().any(|side| side.as_ref().is_ok_and(|v| is_true(v) == decides)) {
        return Ok(json!(decides));
    }
    a.and(b).map(|_| json!(!decides))
}

fn binary(operator: &str, a: Value, b: Value) -> Outcome {
    let order = || match (&a, &b) {
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => int(&a).cmp(&int(&b)),
    };
    let sum = |f: fn(i64, i64) -> Option<i64>| f(int(&a), int(&b)).map(|n| json!(n)).ok_or(Failed);
    Ok(match (operator, &a) {
        ("==", _) => json!(a == b),
        ("!=", _) => json!(a != b),
        ("<", _) => json!(order().is_lt()),
        ("<=", _) => json!(order().is_le()),
        (">", _) => json!(order().is_gt()),
        (">=", _) => json!(order().is_ge()),
        ("in", _) => json!(items(&b).contains(&a)),
        ("+", Value::String(text)) => json!(text.clone() + b.as_str().unwrap()),
        ("+", Value::Array(list)) => json!([list.as_slice(), items(&b)].concat()),
        ("+", _) => sum(i64::checked_add)?,
        ("-", _) => sum(i64::checked_sub)?,
        ("*", _) => sum(i64::checked_mul)?,
        ("/", _) => sum(i64::checked_div)?,
        _ => sum(i64::checked_rem)?,
    })
}

fn looped(name: &str, said: Vec<(Value, Outcome)>) -> Outcome {
    // No failure ends it: a later item may decide all the same.
    let quantified = |decides: bool| {
        let mut so_far = Ok(json!(!decides));
        for (_, said) in &said {
            so_far = logical(decides, so_far, said.clone());
        }
        so_far
    };
    let taken = || {
        said.iter()
            .filter_map(|(item, said)| said.clone().map(|s| is_true(&s).then(|| item.clone())).transpose())
    };
    Ok(match name {
        "all" => quantified(false)?,
        "exists" => quantified(true)?,
        "exists_one" => json!(taken().collect::<Result<Vec<_>, _>>()?.len() == 1),
        "filter" => taken().collect::<Result<Value, _>>()?,
        _ => said.into_iter().map(|(_, said)| said).collect::<Result<Value, _>>()?,
    })
}

/// What is made where `bound` locals are.
#[derive(Debug, Clone, Copy)]
struct Place {
    depth: u32,
    bound: usize,
}

impl Place {
    fn below(self) -> Place {
        Place { depth: self.depth - 1, ..self }
    }

    fn two(
        self,
        make: fn(Place) -> BoxedStrategy<Expr>,
        operators: &'static [&'static str],
    ) -> impl Strategy<Value = Expr> {
        (select(operators), make(self.below()), make(self.below()))
            .prop_map(|(operator, a, b)| Expr::Binary(operator, Box::new([a, b])))
    }

    fn choice(self, make: fn(Place) -> BoxedStrategy<Expr>) -> impl Strategy<Value = Expr> {
        (bool(self.below()), make(self.below()), make(self.below()))
            .prop_map(|(condition, a, b)| Expr::Choice(Box::new([condition, a, b])))
    }

    fn looped(
        self,
        names: &'static [&'static str],
        make: fn(Place) -> BoxedStrategy<Expr>,
    ) -> impl Strategy<Value = Expr> {
        let body = make(Place { bound: self.bound + 1, ..self.below() });
        (select(names), list(self.below()), body)
            .prop_map(|(name, range, body)| Expr::Loop(name, Box::new([range, body])))
    }
}

fn int_literal() -> impl Strategy<Value = Expr> {
    const ODD: &[i64] = &[i64::MIN, i64::MIN + 1, -1, 0, 1, 2, i64::MAX];
    prop_oneof![(-9..10_i64).boxed(), select(ODD).boxed(), any::<i64>().boxed()].prop_map(Expr::Int)
}

fn number(place: Place) -> BoxedStrategy<Expr> {
    let local =
        if place.bound == 0 { int_literal().boxed() } else { (0..place.bound).prop_map(Expr::Local).boxed() };
    if place.depth == 0 {
        return prop_oneof![int_literal(), local].boxed();
    }
    let sized = prop_oneof![list(place.below()), text(place.below())].prop_map(|of| Expr::Size(Box::new(of)));
    let index = (list(place.below()), number(place.below())).prop_map(|(a, b)| Expr::Index(Box::new([a, b])));
    prop_oneof![
        2 => int_literal(),
        2 => local,
        4 => place.two(number, &["+", "-", "*", "/", "%"]),
        1 => place.choice(number),
        1 => sized,
        1 => index,
    ]
    .boxed()
}

fn bool(place: Place) -> BoxedStrategy<Expr> {
    if place.depth == 0 {
        return any::<bool>().prop_map(Expr::Bool).boxed();
    }
    const ORDERS: &[&str] = &["==", "!=", "<", "<=", ">", ">="];
    let method =
        (select(&["startsWith", "endsWith", "contains"][..]), text(place.below()), text(place.below()))
            .prop_map(|(name, a, b)| Expr::Method(name, Box::new([a, b])));
    let within = (number(place.below()), list(place.below()))
        .prop_map(|(item, list)| Expr::Binary("in", Box::new([item, list])));
    prop_oneof![
        1 => any::<bool>().prop_map(Expr::Bool),
        3 => place.two(number, ORDERS),
        1 => place.two(text, ORDERS),
        1 => place.two(list, &["==", "!="]),
        3 => place.two(bool, &["&&", "||", "==", "!=", "<"]),
        1 => bool(place.below()).prop_map(|of| Expr::Not(Box::new(of))),
        1 => place.choice(bool),
        1 => method,
        1 => within,
        3 => place.looped(&["all", "exists", "exists_one"], bool),
    ]
    .boxed()
}

fn text(place: Place) -> BoxedStrategy<Expr> {
    let literal = "[ab'\\\\\"\né😀]{0,3}".prop_map(Expr::Text);
    if place.depth == 0 {
        return literal.boxed();
    }
    prop_oneof![2 => literal, 1 => place.two(text, &["+"]), 1 => place.choice(text)].boxed()
}

fn list(place: Place) -> BoxedStrategy<Expr> {
    let leaf = Place { depth: place.depth.saturating_sub(1), ..place };
    let literal = prop::collection::vec(number(leaf), 0..4).prop_map(Expr::List);
    if place.depth == 0 {
        return literal.boxed();
    }
    prop_oneof![
        2 => literal,
        1 => place.two(list, &["+"]),
        1 => place.choice(list),
        1 => place.looped(&["filter"], bool),
        1 => place.looped(&["map"], number),
    ]
    .boxed()
}

fn any_expression() -> impl Strategy<Value = Expr> {
    let place = Place { depth: DEPTH, bound: 0 };
    prop_oneof![bool(place), number(place), text(place), list(place)]
}

proptest! {
    #[test]
    fn an_expression_comes_to_what_the_language_says(expr in any_expression()) {
        let source = expr.show(0);
        let env = Env::new();
        let program = env.compile(&source).map_err(|e| TestCaseError::fail(e.to_string()))?;
        let found = program.eval(&Bindings::new(&env), PER_CALL_LIMIT).value;
        let found = found.map(|v| v.to_json().unwrap()).map_err(|_| Failed);
        prop_assert_eq!(found, expr.eval(&mut Vec::new()), "{}", source);
    }
}
