//! Expressions and what comes of them, as the reference answers.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::schema::Structural;

fn schema() -> Value {
    json!({"type": "object", "properties": {
        "n": {"type": "integer"}, "f": {"type": "number"}, "s": {"type": "string"}, "b": {"type": "boolean"},
        "when": {"type": "string", "format": "date-time"}, "long": {"type": "string", "format": "duration"},
        "raw": {"type": "string", "format": "byte"}, "port": {"x-kubernetes-int-or-string": true},
        "namespace": {"type": "string"}, "x-y": {"type": "string"},
        "list": {"type": "array", "items": {"type": "string"}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "items": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "integer"}},
        "inner": {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}}})
}

fn object() -> Value {
    json!({"n": 3, "f": 2.5, "s": "text", "b": true, "when": "2024-02-29T12:30:45.5Z", "long": "1h30m",
        "raw": "aGk=", "port": "http", "namespace": "ns", "x-y": "dashed", "list": ["a", "b", "c"],
        "set": ["x", "y"], "items": [{"k": "one", "v": 1}, {"k": "two", "v": 2}], "map": {"a": 1, "b": 2},
        "inner": {"a": "here"}, "apiVersion": "v1", "kind": "Test", "metadata": {"name": "it", "labels": {"l": "x"}}})
}

fn env() -> Env {
    let decl = Decl::from_schema(&Structural::read(&schema()).unwrap(), "self", true).expect("an object");
    Env::new().with("self", decl).with("object", Decl::Dyn).with_authorizer()
}

#[derive(Debug)]
struct OnlyPods;

impl Authorizer for OnlyPods {
    fn decide(&self, request: &Request, verb: &str) -> Decision {
        let is_allowed = request.resource == "pods" && verb == "get" || request.path == "/healthz";
        Decision { is_allowed, reason: format!("{:?}", request.service_account), error: None }
    }
}

fn run(env: &Env, source: &str) -> String {
    let program = match env.compile(source) {
        Ok(program) => program,
        Err(e) => return format!("{e}"),
    };
    let object = object();
    let request = Request { resource: "pods".into(), namespace: "ns".into(), ..Request::default() };
    let bindings =
        Bindings::new(env).json("self", &object).json("object", &object).authorizer(&OnlyPods, Some(request));
    match program.eval(&bindings, PER_CALL_LIMIT).value {
        Ok(value) => match value.to_json() {
            Some(json) => json.to_string(),
            None => format!("{value:?}"),
        },
        Err(e) => format!("error: {e}"),
    }
}

#[track_caller]
fn each(cases: &[(&str, &str)]) {
    let env = env();
    let wrong: Vec<_> = cases
        .iter()
        .map(|(source, wanted)| (source, wanted, run(&env, source)))
        .filter(|(_, wanted, got)| *wanted != got)
        .map(|(source, wanted, got)| format!("{source}\n   wanted {wanted}\n   got    {got}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// All of these are true.
#[track_caller]
fn holds(sources: &[&str]) {
    each(&sources.iter().map(|s| (*s, "true")).collect::<Vec<_>>());
}

#[test]
fn operators() {
    holds(&[
        "1 + 2 * 3 == 7 && (1 + 2) * 3 == 9",
        "7 / 2 == 3 && -7 / 2 == -3 && 7 % 4 == 3 && -7 % 4 == -3",
        "dyn(1) == 1.0 && dyn(1u) == 1 && 2 > 1.5 && 1u < 2 && dyn(1) == dyn(1u)",
        "'a' + 'b' == 'ab' && b'a' + b'b' == b'ab' && [1] + [2] == [1, 2]",
        "'a' < 'b' && !('b' <= 'a') && false < true",
        "2 in [1, 2] && !(3 in [1, 2]) && 'k' in {'k': 1} && dyn(1.0) in {1: 2}",
        "true ? true : 1 / 0 == 1",
        "true || 1 / 0 == 1",
        "1 / 0 == 1 || true",
        "!(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)",
        "{'a': dyn(1), 'b': [2]} == {'b': dyn([2]), 'a': 1}",
        "[1, 2][1] == 2 && {'a': 3}['a'] == 3 && {'a': 3}.a == 3",
        "null == null && type(1) == int && type('') == string && type([]) == list && type(null) == null_type",
        "type(type(1)) == type && 'é\\u00e9\\x41'.size() == 3 && r'\\d' == '\\\\d'",
        "-(-3) == 3 && !!true && size('héllo') == 5 && b'h\\303\\251'.size() == 3",
    ]);
    each(&[
        ("1 / 0", "error: division by zero"),
        ("1 % 0", "error: modulus by zero"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("1u - 2u", "error: unsigned integer overflow"),
        ("{'a': 1}.b", "error: no such key: b"),
        ("[1][3]", "error: index out of bounds: 3"),
        ("object.n.x", "error: no such overload"),
        ("object.n + 'x'", "error: no such overload"),
        ("{'a': 1, 'a': 2}", "error: Failed with repeated key"),
        ("1 / 0 == 1 || false", "error: division by zero"),
    ]);
}

#[test]
fn macros() {
    holds(&[
        "has(self.n) && !has(self.inner.b) && has(object.metadata.labels.l) && !has(object.nothing)",
        "[1, 2].all(x, x > 0) && ![1, 2].all(x, x > 1) && [].all(x, false)",
        "[1, 2].exists(x, x == 2) && [1, 2].exists_one(x, x == 2) && ![2, 2].exists_one(x, x == 2)",
        "[0, 1].exists(x, 1 / x == 1)",
        "![0, 1].all(x, 1 / x > 1)",
        "[1, 2, 3].map(x, x * 2) == [2, 4, 6] && [1, 2, 3].map(x, x > 1, x * 2) == [4, 6]",
        "[1, 2, 3].filter(x, x > 1) == [2, 3] && {'a': 1}.map(k, k) == ['a']",
        "[1, 2].all(i, v, v == i + 1) && {'a': 1}.exists(k, v, k == 'a' && v == 1)",
        "[1, 2].existsOne(i, v, i == 0) && ['a', 'b'].transformList(i, v, string(i) + v) == ['0a', '1b']",
        "{'a': 1, 'b': 2}.transformMap(k, v, v > 1, v * 10) == {'b': 20}",
        "['x', 'y'].transformMapEntry(i, v, {v: i}) == {'x': 0, 'y': 1}",
        "[[1, 2], [3]].map(l, l.map(x, x + 1)) == [[2, 3], [4]]",
        "[1, 2].map(x, [3, 4].map(y, x * y)) == [[3, 4], [6, 8]]",
        "[{'n': 3}, {'n': 1}].sortBy(e, e.n) == [{'n': 1}, {'n': 3}]",
    ]);
    each(&[
        ("[1, 2].map(x, 1 / (x - 1))", "error: division by zero"),
        ("['x', 'x'].transformMapEntry(i, v, {v: i})", "error: insert failed: key x already exists"),
    ]);
}

#[test]
fn optionals() {
    holds(&[
        "self.?inner.?b == optional.none() && self.?inner.a == optional.of('here')",
        "self.?inner.?b.orValue(7) == 7 && object.?metadata.labels.?l.orValue('') == 'x'",
        "{?'a': self.?n, ?'b': self.inner.?b} == {'a': 3} && [?self.?n, ?self.inner.?b] == [3]",
        "object[?'nothing'].hasValue() == false && self.list[?1].value() == 'b' && self.list[?9].orValue('-') == '-'",
        "optional.of(2).optMap(x, x * 2).value() == 4 && !optional.none().optMap(x, x).hasValue()",
        "optional.of([1]).optFlatMap(x, x[?0]).orValue(0) == 1",
        "optional.ofNonZeroValue('').or(optional.of('d')).value() == 'd'",
        "optional.unwrap([optional.of(1), optional.none()]) == [1] && [1, 2].last().value() == 2",
    ]);
    each(&[("optional.none().value() == 1", "error: optional.none() dereference")]);
}

#[test]
fn declared_values() {
    holds(&[
        "self.when.getFullYear() == 2024 && self.when.getDate() == 29 && self.when < timestamp('2024-03-01T00:00:00Z')",
        "self.when.getHours('+02:00') == 14 && self.when.getMilliseconds() == 500 && self.when.getDayOfWeek() == 4",
        "self.long == duration('90m') && self.long.getMinutes() == 90 && string(self.long) == '5400s'",
        "self.raw == b'hi' && self.port == 'http' && self.__namespace__ == 'ns' && self.x__dash__y == 'dashed'",
        "self.set == ['y', 'x'] && self.set + ['x', 'z'] == ['x', 'y', 'z'] && self.list != ['b', 'a', 'c']",
        "self.items.filter(i, i.v > 1)[0].k == 'two' && self.map.all(k, self.map[k] > 0) && 'a' in self.map",
        "self.metadata.name == 'it' && self.kind == 'Test' && object.metadata.labels.l == 'x'",
        "self.f + 0.5 == 3.0 && self.map.b == 2 && size(self.map) == 2",
    ]);
}

#[test]
fn libraries() {
    holds(&[
        "'Hello'.lowerAscii() == 'hello' && ' x '.trim() == 'x' && 'abc'.charAt(1) == 'b' && 'ab'.charAt(2) == ''",
        "'a,b,c'.split(',') == ['a', 'b', 'c'] && 'a,b,c'.split(',', 2) == ['a', 'b,c'] && 'ab'.split('') == ['a', 'b']",
        "'hello'.replace('l', 'L', 1) == 'heLlo' && 'tacocat'.substring(4) == 'cat' && 'tacocat'.substring(0, 4) == 'taco'",
        "'hello mellow'.indexOf('ello', 2) == 7 && 'hello mellow'.lastIndexOf('ello') == 7 && 'x'.indexOf('y') == -1",
        "['a', 'b'].join('-') == 'a-b' && 'abc'.startsWith('ab') && 'abc'.endsWith('bc') && 'abc'.contains('b')",
        "'%s is %d, %.2f %x %b'.format([dyn('x'), 3, 1.5, 255, true]) == 'x is 3, 1.50 ff 1'",
        "'a1b22'.find('[0-9]+') == '1' && 'a1b22'.findAll('[0-9]+') == ['1', '22'] && 'abc'.matches('^a.c$')",
        "[1, 3, 2].max() == 3 && [1, 2].sum() == 3 && [1, 2].isSorted() && ['b', 'a'].min() == 'a' && [1, 1].lastIndexOf(1) == 1",
        "[dyn(1), [dyn(2), [3]]].flatten(2) == [1, 2, 3] && [3, 1].sort() == [1, 3] && [1, 2, 3].slice(1, 2) == [2] && lists.range(2) == [0, 1]",
        "[1, 1, 2].distinct() == [1, 2] && [1, 2].reverse() == [2, 1]",
        "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1]) && !sets.intersects([1], [2])",
        "url('https://u@example.com:80/p%20q?k=v&k=w').getHost() == 'example.com:80' && isURL('/path') && !isURL('a b')",
        "url('https://[::1]:80/a?k=v&k=w').getHostname() == '::1' && url('https://h/?k=v&k=w').getQuery() == {'k': ['v', 'w']}",
        "ip('127.0.0.1').family() == 4 && isIP('::1') && ip('::1').isLoopback() && !isIP('1.2.3') && ip.isCanonical('::1')",
        "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16')) && cidr('10.1.2.3/8').masked() == cidr('10.0.0.0/8')",
        "string(cidr('10.0.0.0/8').ip()) == '10.0.0.0' && cidr('::/0').prefixLength() == 0 && !isCIDR('10.0.0.0/33')",
        "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('1k').asInteger() == 1000 && quantity('1').add(2) == quantity('3')",
        "quantity('50m').isInteger() == false && quantity('1').compareTo(quantity('2')) == -1 && isQuantity('x') == false",
        "semver('1.2.3').isLessThan(semver('1.10.0')) && semver('v1.2', true).patch() == 0 && semver('1.0.0-a').compareTo(semver('1.0.0')) == -1",
        "format.dns1123Label().validate('A').hasValue() && !format.named('uuid').value().validate('8ca21a9c-8a5c-4a2b-9d1a-8a5c4a2b9d1a').hasValue()",
        "authorizer.group('').resource('pods').namespace('x').check('get').allowed() && !authorizer.path('/x').check('get').allowed()",
        "authorizer.requestResource.check('get').allowed() && authorizer.serviceAccount('ns', 'sa').path('/healthz').check('get').reason() == 'Some((\"ns\", \"sa\"))'",
        "duration('1.5h').getMinutes() == 90 && timestamp('2024-01-01T00:00:00Z') + duration('24h') == timestamp('2024-01-02T00:00:00Z')",
        "int('12') == 12 && double('1.5') == 1.5 && string(1.0) == '1' && bool('true') && uint(3) == 3u && string(b'a') == 'a' && int(1.9) == 1",
        "strings.quote('a\"b') == '\"a\\\\\"b\"'",
    ]);
    each(&[
        ("'abc'.substring(2, 1)", "error: invalid substring range. start: 2, end: 1"),
        ("[].max()", "error: max called on empty list"),
        (
            "quantity('x')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("int('x')", "error: strconv.ParseInt: parsing \"x\": invalid syntax"),
        ("string(timestamp('2024-01-01T00:00:00Z'))", "\"2024-01-01T00:00:00Z\""),
    ]);
}

#[test]
fn complaints_are_worded_and_placed_as_the_reference_does() {
    let env = env();
    let check = |source: &str, expect: Expect| expect.assert_eq(&run(&env, source));
    check(
        "self.x > 1",
        expect![[r#"
        ERROR: <input>:1:5: undefined field 'x'
         | self.x > 1
         | ....^"#]],
    );
    check(
        "nothing.x",
        expect![[r#"
        ERROR: <input>:1:1: undeclared reference to 'nothing' (in container '')
         | nothing.x
         | ^"#]],
    );
    check(
        "self.n == 'a'",
        expect![[r#"
        ERROR: <input>:1:8: found no matching overload for '_==_' applied to '(int, string)'
         | self.n == 'a'
         | .......^"#]],
    );
    check(
        "self.s + 1 > 0 && self.n",
        expect![[r#"
        ERROR: <input>:1:8: found no matching overload for '_+_' applied to '(string, int)'
         | self.s + 1 > 0 && self.n
         | .......^
        ERROR: <input>:1:16: found no matching overload for '_&&_' applied to '(bool, int)'
         | self.s + 1 > 0 && self.n
         | ...............^"#]],
    );
    check(
        "self.n.x",
        expect![[r#"
        ERROR: <input>:1:7: type 'int' does not support field selection
         | self.n.x
         | ......^"#]],
    );
    check(
        "self.s.nofunc()",
        expect![[r#"
        ERROR: <input>:1:14: undeclared reference to 'nofunc' (in container '')
         | self.s.nofunc()
         | .............^"#]],
    );
    check(
        "[1, 'a'].size() > 0",
        expect![[r#"
        ERROR: <input>:1:5: expected type 'int' but found 'string'
         | [1, 'a'].size() > 0
         | ....^"#]],
    );
    check(
        "self.n.all(x, x)",
        expect![[r#"
        ERROR: <input>:1:5: expression of type 'int' cannot be range of a comprehension (must be list, map, or dynamic)
         | self.n.all(x, x)
         | ....^"#]],
    );
}

/// Found by the fuzz target `cel`: finding each place anew took the square of the length.
#[test]
fn each_of_many_complaints_has_its_place() {
    let why = env().compile(&vec!["nothing"; 5_000].join("\n&& ")).expect_err("there is no such name");
    assert_eq!(why.complaints.len(), 5_000);
    let place = |i: usize| (why.complaints[i].line, why.complaints[i].column);
    assert_eq!([place(0), place(1), place(4_999)], [(1, 0), (2, 3), (5_000, 3)]);
    assert!(why.to_string().ends_with("\n4900 more errors were truncated"));
}

#[test]
fn complaints_about_what_cannot_be_read() {
    let env = env();
    let check = |source: &str, expect: Expect| expect.assert_eq(&run(&env, source));
    check(
        "self.n >",
        expect![[r#"
        ERROR: <input>:1:9: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
         | self.n >
         | ........^"#]],
    );
    check(
        "self.n == 1)",
        expect![[r#"
        ERROR: <input>:1:12: Syntax error: extraneous input ')' expecting <EOF>
         | self.n == 1)
         | ...........^"#]],
    );
    check(
        "self.s.matches('(')",
        expect![[r#"
        ERROR: <input>:1:16: invalid matches argument
         | self.s.matches('(')
         | ...............^"#]],
    );
    check(
        "duration('x') == duration('1s')",
        expect![[r#"
        ERROR: <input>:1:10: invalid duration argument
         | duration('x') == duration('1s')
         | .........^"#]],
    );
}

#[test]
fn complaints_about_what_macros_and_names_may_not_be() {
    let env = env();
    let check = |source: &str, expect: Expect| expect.assert_eq(&run(&env, source));
    check(
        "has(self)",
        expect![[r#"
        ERROR: <input>:1:5: invalid argument to has() macro
         | has(self)
         | ....^"#]],
    );
    check(
        "self.\n  x",
        expect![[r#"
        ERROR: <input>:1:5: undefined field 'x'
         | self.
         | ....^"#]],
    );
    check(
        "[1].map(1, 2)",
        expect![[r#"
        ERROR: <input>:1:9: argument must be a simple name
         | [1].map(1, 2)
         | ........^"#]],
    );
    check(
        "'a' ? 1 : 2",
        expect![[r#"
        ERROR: <input>:1:5: found no matching overload for '_?_:_' applied to '(string, int, int)'
         | 'a' ? 1 : 2
         | ....^"#]],
    );
    check(
        "if == 1",
        expect![[r#"
        ERROR: <input>:1:1: reserved identifier: if
         | if == 1
         | ^"#]],
    );
    check(
        "",
        expect![[r#"
        ERROR: <input>:1:1: Syntax error: mismatched input '<EOF>' expecting {'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}
         | 
         | ^"#]],
    );
    check(
        "Object{}",
        expect![[r#"
        ERROR: <input>:1:7: undeclared reference to 'Object' (in container '')
         | Object{}
         | ......^"#]],
    );
}

#[test]
fn costs_are_counted() {
    let env = env();
    let object = object();
    let cost = |source: &str| {
        let program = env.compile(source).expect(source);
        let bindings = Bindings::new(&env).json("self", &object).json("object", &object);
        program.eval(&bindings, PER_CALL_LIMIT).cost
    };
    for (source, wanted) in [
        ("true", 0),
        ("self.n", 2),
        ("self.inner.a", 3),
        ("self.n == 3", 3),
        ("has(self.n)", 1),
        ("'text' == self.s", 3),
        ("self.s in ['a', 'b']", 2),
        ("[1, self.n]", 12),
        ("{'a': self.n}", 32),
        ("self.list.all(x, true)", 3 + 3 * 3),
        ("self.list.exists(x, false)", 3 + 3 * 4),
        ("self.list[0]", 3),
        ("self.n + 1", 3),
        ("self.s.startsWith('t')", 3),
        ("self.s.contains('t')", 3),
    ] {
        assert_eq!(cost(source), wanted, "{source}");
    }
}

#[test]
fn what_costs_too_much_is_stopped() {
    let env = env();
    let source = "lists.range(1000).all(a, lists.range(1000).all(b, a + b >= 0))";
    assert_eq!(run(&env, source), "error: operation cancelled: actual cost limit exceeded");
    let program = env.compile("self.list.all(x, true)").expect("it compiles");
    let object = object();
    let bindings = Bindings::new(&env).json("self", &object);
    assert!(matches!(program.eval(&bindings, 5).value, Err(EvalError::Cost)));
}

#[test]
fn a_long_map_takes_time_in_proportion() {
    let env = env();
    assert_eq!(run(&env, "lists.range(50000).map(x, x + 1).size()"), "50000");
}

#[test]
fn deep_and_long_expressions_are_refused_or_run() {
    let env = env();
    let nested = |n: usize| format!("{}1{}", "(".repeat(n), ")".repeat(n));
    assert_eq!(run(&env, &nested(100)), "1");
    assert!(run(&env, &nested(3000)).starts_with("ERROR: <input>:"), "{}", run(&env, &nested(3000)));
    let sum = |n: usize| vec!["1"; n].join("+");
    assert_eq!(run(&env, &sum(200)), "200");
    assert!(run(&env, &sum(49_000)).contains("expression recursion limit exceeded: 250"));
    assert!(run(&env, &"a.".repeat(49_000)).starts_with("ERROR: <input>:"));
    let members = format!("object{}", ".a".repeat(5_000));
    assert!(run(&env, &members).contains("expression recursion limit exceeded: 250"));
    let any = vec!["self.n == 3"; 2000].join(" || ");
    assert_eq!(run(&env, &any), "true");
    let long = format!("'{}'", "a".repeat(100_000));
    assert!(
        run(&env, &long).contains("expression code point size exceeds limit: size: 100002, limit 100000")
    );
}

#[test]
fn variables_are_run_when_they_are_asked_for_and_once() {
    let mut env = Env::new().with("object", Decl::Dyn).with_variables();
    let mut variables = Vec::new();
    for (name, source) in [("n", "object.n + 1"), ("twice", "variables.n * 2"), ("bad", "1 / 0")] {
        let program = env.compile(source).expect(source);
        env.declare_variable(name, program.ty().clone());
        variables.push((name.to_owned(), program));
    }
    let object = object();
    let eval = |source: &str| {
        let program = match env.compile(source) {
            Ok(program) => program,
            Err(e) => return e.to_string(),
        };
        let bindings = Bindings::new(&env).json("object", &object).variables(&variables);
        match program.eval(&bindings, PER_CALL_LIMIT).value {
            Ok(value) => value.to_json().expect("JSON").to_string(),
            Err(e) => format!("error: {e}"),
        }
    };
    assert_eq!(eval("variables.twice + variables.twice"), "16");
    assert_eq!(eval("false && variables.bad == 1"), "false");
    assert_eq!(eval("variables.bad == 1"), "error: division by zero");
    assert_eq!(
        eval("variables.none"),
        "ERROR: <input>:1:10: undefined field 'none'\n | variables.none\n | .........^"
    );
}

#[test]
fn patches_are_made() {
    let env = Env::new().with("object", Decl::Dyn).with_patches();
    assert_eq!(
        run(&env, "Object{metadata: Object.metadata{labels: {'a': object.s}}, ?spec: optional.none()}"),
        r#"{"metadata":{"labels":{"a":"text"}}}"#
    );
    assert_eq!(
        run(
            &env,
            "[JSONPatch{op: 'add', path: '/metadata/labels/' + jsonpatch.escapeKey('a/b~'), value: 1}]"
        ),
        r#"[{"op":"add","path":"/metadata/labels/a~1b~0","value":1}]"#
    );
    assert_eq!(
        run(&env, "JSONPatch{op: 1}"),
        "ERROR: <input>:1:13: expected type of field 'op' is 'string' but provided type is 'int'\n | JSONPatch{op: 1}\n | ............^"
    );
}

#[test]
fn any_text_is_read_without_harm() {
    let env = env();
    let pieces = [
        "self", ".", "?", "[", "]", "(", ")", "{", "}", "a", "1", "'", "\"", ":", ",", "&&", "has", "map",
        "in", "\n", "é", "-", "!", "\\", "`", "b", "r",
    ];
    let mut seed: usize = 7;
    for _ in 0..400 {
        let mut source = String::new();
        for _ in 0..seed % 14 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            source.push_str(pieces[(seed >> 33) % pieces.len()]);
        }
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        assert_ne!(run(&env, &source), "", "{source}");
    }
}
