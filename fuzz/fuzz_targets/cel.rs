//! CEL: whatever compiles runs within its cost, comes to the same twice, and is equal to itself.

#![no_main]

use std::sync::LazyLock;

use coracle_api::cel::{
    Authorizer, Bindings, Decision, Decl, Env, EvalError, PER_CALL_LIMIT, Program, Request,
};
use coracle_api::schema::Structural;
use coracle_fuzz::{stretched, text};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};

/// What one call may cost beyond the limit that stops it.
const OVERDRAFT: u64 = 1_000_000_000;

static ENV: LazyLock<Env> = LazyLock::new(|| {
    let schema = json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "f": {"type": "number"}, "s": {"type": "string"}, "b": {"type": "boolean"},
        "when": {"type": "string", "format": "date-time"}, "long": {"type": "string", "format": "duration"},
        "raw": {"type": "string", "format": "byte"}, "port": {"x-kubernetes-int-or-string": true},
        "list": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}}}});
    let schema = Structural::read(&schema).expect("a structural schema");
    let declared = Decl::from_schema(&schema, "self", true).expect("an object");
    Env::new().with("self", declared).with("object", Decl::Dyn).with_authorizer().with_patches()
});

static OBJECT: LazyLock<Value> = LazyLock::new(|| {
    json!({"n": 3, "f": 2.5, "s": "text", "b": true, "when": "2024-02-29T12:30:45.5Z", "long": "1h30m",
        "raw": "aGk=", "port": "http", "list": ["a", "b", "c"], "set": ["x", "y"], "map": {"a": 1, "b": 2},
        "items": [{"k": "one", "v": 1}, {"k": "two", "v": 2}]})
});

#[derive(Debug)]
struct OnlyPods;

impl Authorizer for OnlyPods {
    fn decide(&self, request: &Request, verb: &str) -> Decision {
        let is_allowed = request.resource == "pods" && verb == "get";
        Decision { is_allowed, reason: String::new(), error: None }
    }
}

/// Longer sources are run once, and not written twice into one.
const SHORT: usize = 1024;

fuzz_target!(|data: &[u8]| {
    let data = stretched(data);
    let Some(source) = text(&data) else { return };
    let Some(first) = run(source) else { return };
    let is_a_value = source.len() <= SHORT && !first.contains("NaN");
    if is_a_value && let Some(shown) = run(&format!("({source}\n) == ({source}\n)")) {
        assert_eq!(shown, "Bool(true)", "{source} is not what it is");
    }
});

/// What an expression comes to, if it compiles and has a value.
fn run(source: &str) -> Option<String> {
    let program = match ENV.compile(source) {
        Ok(program) => program,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return None;
        }
    };
    let first = eval(source, &program);
    if source.len() <= SHORT {
        assert_eq!(eval(source, &program), first, "{source}");
    }
    first
}

fn eval(source: &str, program: &Program) -> Option<String> {
    let request = Request { resource: "pods".into(), namespace: "ns".into(), ..Request::default() };
    let bindings = Bindings::new(&ENV).json("self", &OBJECT).json("object", &OBJECT);
    let bindings = bindings.authorizer(&OnlyPods, Some(request));
    let outcome = program.eval(&bindings, PER_CALL_LIMIT);
    let cost = outcome.cost;
    match outcome.value {
        Ok(value) => {
            assert!(cost <= PER_CALL_LIMIT, "{source} cost {cost}");
            value.to_json();
            Some(format!("{value:?}"))
        }
        Err(EvalError::Cost) => {
            assert!(cost > PER_CALL_LIMIT && cost < OVERDRAFT, "{source} cost {cost}");
            None
        }
        Err(EvalError::Failed(_)) => None,
    }
}
