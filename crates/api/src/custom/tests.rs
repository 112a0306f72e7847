//! What rows of custom resources do to objects, written out.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::*;
use crate::catalog::Catalog;
use crate::field::Errors;
use crate::patch::apply;
use crate::patch::managed::Writer;
use crate::print::Now;
use crate::rules::Write;
use crate::schema::Schemas;

/// A definition of CronTabs whose `spec` has these properties.
fn definition(spec: Value) -> Value {
    let mut version = json!({"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
        "type": "object", "properties": {"spec": spec, "status": {"type": "object", "properties": {
            "replicas": {"type": "integer"}, "selector": {"type": "string"}}}}}},
        "subresources": {"status": {}, "scale": {"specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas", "labelSelectorPath": ".status.selector"}}});
    let old = json!({"name": "v1beta1", "served": true, "storage": false,
        "deprecated": true, "schema": version["schema"]});
    version["additionalPrinterColumns"] = json!([
        {"name": "Spec", "type": "string", "jsonPath": ".spec.cronSpec"},
        {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]);
    version["selectableFields"] = json!([{"jsonPath": ".spec.cronSpec"}]);
    let names = json!({"plural": "crontabs", "singular": "crontab", "kind": "CronTab", "listKind": "CronTabs",
        "shortNames": ["ct"], "categories": ["all"]});
    json!({"metadata": {"name": "crontabs.stable.example.com", "uid": "u"},
        "spec": {"group": "stable.example.com", "names": names, "scope": "Namespaced", "versions": [old, version]},
        "status": {"acceptedNames": names}})
}

fn properties(properties: Value) -> Value {
    definition(json!({"type": "object", "properties": properties}))
}

fn row(definition: &Value) -> Kind {
    rows(definition).unwrap().swap_remove(0)
}

fn object(spec: Value) -> Value {
    json!({"apiVersion": "stable.example.com/v1", "kind": "CronTab", "metadata": {"name": "a", "namespace": "d"}, "spec": spec})
}

/// Shapes and defaults an object as the write path does.
fn written(kind: &Kind, obj: Value) -> (Value, Vec<String>) {
    let shaped = Schemas::builtin().shape(kind, obj).unwrap();
    let mut value = shaped.value;
    kind.rules.default(&mut value);
    (value, shaped.unknown)
}

fn said(errs: &Errors) -> String {
    errs.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(spec_schema: Value, spec: Value, expect: Expect) {
    let kind = row(&definition(spec_schema));
    let (obj, _) = written(&kind, object(spec));
    let mut errs = Errors::default();
    kind.rules.validate(&obj, &mut errs);
    expect.assert_eq(&said(&errs));
}

#[track_caller]
fn check_change(spec_schema: Value, old: Value, new: Value, expect: Expect) {
    let kind = row(&definition(spec_schema));
    let (old, new) = (written(&kind, object(old)).0, written(&kind, object(new)).0);
    let mut errs = Errors::default();
    let warnings = kind.rules.validate_change(&new, &old, Write::Main, &mut errs);
    let warnings: Vec<String> = warnings.iter().map(|w| format!("warning: {w}")).collect();
    let all = [said(&errs), warnings.join("\n")];
    expect.assert_eq(all.join("\n").trim());
}

#[test]
fn a_definition_becomes_rows() {
    let rows = rows(&properties(json!({"cronSpec": {"type": "string"}}))).unwrap();
    let shown: Vec<String> = rows.iter().map(|k| format!("{k:?}")).collect();
    assert_eq!(shown, ["stable.example.com/v1.CronTab", "stable.example.com/v1beta1.CronTab"]);
    let row = &rows[0];
    assert_eq!((row.list_kind(), &*row.storage), ("CronTabs".to_owned(), "stable.example.com/crontabs"));
    assert_eq!(row.schema, "com.example.stable.v1.CronTab");
    assert!(row.has(Subresource::Scale) && row.has(Subresource::Status) && !rows[1].has(Subresource::Status));
    assert_eq!(row.rules.scale().unwrap().replicas, "spec.replicas");
    assert_eq!(row.rules.selectable(), ["spec.cronSpec"]);
    let custom = rows[1].custom.as_ref().unwrap();
    let words = "stable.example.com/v1beta1 CronTab is deprecated; use stable.example.com/v1 CronTab";
    assert_eq!(custom.deprecation.as_deref(), Some(words));
    assert_eq!(custom.storage_version, "v1");
    let catalog = Catalog::with_custom(rows.into_iter().map(Arc::new).collect());
    assert_eq!(catalog.group("stable.example.com").unwrap().versions, ["v1", "v1beta1"]);
    let old = catalog.find("stable.example.com", "v1beta1", "crontabs").unwrap();
    assert_eq!(catalog.stored_as(&old).version, "v1beta1");
}

#[test]
fn what_is_stored_in_need_not_be_served() {
    let mut definition = properties(json!({}));
    definition["spec"]["versions"][1]["served"] = json!(false);
    let rows = rows(&definition).unwrap();
    assert!(!rows[0].is_served() && rows[1].custom.as_ref().unwrap().storage_version == "v1");
    let catalog = Catalog::with_custom(rows.into_iter().map(Arc::new).collect());
    assert!(catalog.find("stable.example.com", "v1", "crontabs").is_none());
    assert_eq!(catalog.group("stable.example.com").unwrap().versions, ["v1beta1"]);
    assert!(catalog.find("stable.example.com", "v1beta1", "crontabs").is_some());
}

#[test]
fn versions_are_in_the_references_order() {
    let mut versions =
        ["foo1", "v1", "v10", "v11beta2", "v3beta1", "v12alpha1", "v11alpha2", "foo10", "v2", "v11beta10"];
    versions.sort_by_key(|v| Reverse(version_rank(v)));
    assert_eq!(
        versions,
        ["v10", "v2", "v1", "v11beta10", "v11beta2", "v3beta1", "v12alpha1", "v11alpha2", "foo1", "foo10"]
    );
}

#[test]
fn objects_are_pruned_sorted_and_filled() {
    let kind = row(&properties(json!({
        "replicas": {"type": "integer", "default": 1},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
            "properties": {"known": {"type": "object", "properties": {"a": {"type": "string"}}}}},
        "nothing": {"type": "string", "nullable": true},
        "something": {"type": "string"},
        "list": {"type": "array", "items": {"type": "object", "properties": {
            "port": {"x-kubernetes-int-or-string": true}, "protocol": {"type": "string", "default": "TCP"}}}},
        "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"v": {"type": "integer"}}}},
        "inner": {"type": "object", "x-kubernetes-embedded-resource": true, "properties": {"x": {"type": "string"}}}
    })));
    let sent = json!({"zzz": 1, "free": {"z": {"b": 1, "a": 2}, "known": {"a": "x", "b": 1}}, "nothing": null,
        "something": null, "list": [{"port": 80, "extra": true}], "map": {"k": {"v": 1, "w": 2}},
        "inner": {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "zip": 1}, "x": "1", "y": "2"}});
    let (value, unknown) = written(&kind, object(sent));
    expect![[r#"{"free":{"known":{"a":"x"},"z":{"a":2,"b":1}},"inner":{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"x":"1"},"list":[{"port":80,"protocol":"TCP"}],"map":{"k":{"v":1}},"nothing":null,"replicas":1}"#]]
        .assert_eq(&value["spec"].to_string());
    expect![
        "spec.free.known.b, spec.inner.metadata.zip, spec.inner.y, spec.list[0].extra, spec.map.k.w, spec.zzz"
    ]
    .assert_eq(&unknown.join(", "));
    let error = Schemas::builtin().shape(&kind, json!({"metadata": {"labels": {"a": 1}}})).unwrap_err();
    expect!["json: cannot unmarshal number into Go struct field ObjectMeta.labels of type string"]
        .assert_eq(&error.to_string());
}

#[test]
fn values_are_held_to_the_schema_in_the_references_words() {
    let schema = || {
        json!({"type": "object", "required": ["name"], "maxProperties": 9, "properties": {
            "name": {"type": "string", "maxLength": 3, "minLength": 2, "pattern": "^a"},
            "n": {"type": "integer", "minimum": 1, "maximum": 10, "multipleOf": 2},
            "f": {"type": "number", "exclusiveMinimum": true, "minimum": 0.5},
            "color": {"type": "string", "enum": ["red", "blue"]},
            "list": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string"}},
            "port": {"x-kubernetes-int-or-string": true},
            "when": {"type": "string", "format": "date-time"},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "byKey": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
            "map": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "integer"}}}})
    };
    check(schema(), json!({"name": "ab", "n": 2, "f": 1, "port": "x"}), expect![""]);
    check(schema(), json!({}), expect!["spec.name: Required value"]);
    check(
        schema(),
        json!({"name": "abcd", "n": 11, "f": 0.5, "color": "green"}),
        expect![[r#"
            spec.color: Unsupported value: "green": supported values: "red", "blue"
            spec.f: Invalid value: 0.5: spec.f in body should be greater than 0.5
            spec.n: Invalid value: 11: spec.n in body should be a multiple of 2
            spec.n: Invalid value: 11: spec.n in body should be less than or equal to 10
            spec.name: Too long: may not be more than 3 bytes"#]],
    );
    check(
        schema(),
        json!({"name": "b", "n": "x", "list": ["a", 1, "c"], "port": true, "when": "soon", "map": {"a": "x", "b": 1}}),
        expect![[r#"
            spec.list[1]: Invalid value: "integer": spec.list[1] in body must be of type string: "integer"
            spec.list: Too many: 3: must have at most 2 items
            spec.map: Too many: 2: must have at most 1 items
            spec.n: Invalid value: "string": spec.n in body must be of type integer: "string"
            spec.name: Invalid value: "b": spec.name in body should be at least 2 chars long
            spec.port: Invalid value: "boolean": spec.port in body must be of type integer,string: "boolean"
            spec.when: Invalid value: "soon": spec.when in body must be of type date-time: "soon""#]],
    );
    check(
        schema(),
        json!({"name": "bb", "list": [], "set": ["a", "b", "a"], "byKey": [{"k": "x"}, {"k": "y"}, {"k": "x", "v": 1}]}),
        expect![[r#"
            spec.list: Invalid value: 0: spec.list in body should have at least 1 items
            spec.name: Invalid value: "bb": spec.name in body should match '^a'
            spec.byKey[2]: Duplicate value: {"k":"x"}
            spec.set[2]: Duplicate value: "a""#]],
    );
    check(
        json!({"type": "string"}),
        json!({}),
        expect![[r#"spec: Invalid value: "object": spec in body must be of type string: "object""#]],
    );
}

#[test]
fn junctors_blame_the_best_alternative() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "string"}},
        "oneOf": [{"required": ["a"]}, {"required": ["b"]}], "not": {"required": ["c"]}});
    check(
        schema.clone(),
        json!({}),
        expect![[r#"
            <nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid
            spec.a: Required value"#]],
    );
    check(
        schema,
        json!({"a": "1", "b": "2"}),
        expect![[
            r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#
        ]],
    );
}

fn ruled(rules: Value) -> Value {
    json!({"type": "object", "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer"}, "name": {"type": "string"},
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "required": ["k"], "properties": {"k": {"type": "string"}, "v": {
                "type": "integer", "x-kubernetes-validations": [{"rule": "self >= oldSelf", "message": "grow"}]}}}}},
        "x-kubernetes-validations": rules})
}

#[test]
fn rules_are_run_on_objects() {
    let rules = json!([
        {"rule": "self.min <= self.max", "messageExpression": "'min ' + string(self.min) + ' is over'"},
        {"rule": "!has(self.name) || self.name != 'bad'", "reason": "FieldValueForbidden", "fieldPath": ".name"},
        {"rule": "self.max < 100", "message": "too much"}]);
    check(ruled(rules.clone()), json!({"min": 1, "max": 2, "name": "ok"}), expect![""]);
    check(
        ruled(rules.clone()),
        json!({"min": 3, "max": 200, "name": "bad"}),
        expect![[r#"
            spec.name: Forbidden: failed rule: !has(self.name) || self.name != 'bad'
            spec: Invalid value: too much"#]],
    );
    check(ruled(rules.clone()), json!({"min": 3, "max": 2}), expect!["spec: Invalid value: min 3 is over"]);
    check(
        ruled(rules),
        json!({"max": 2}),
        expect![[r#"spec: Invalid value: "object": no such key: min evaluating rule: self.min <= self.max"#]],
    );
    check(
        ruled(json!([{"rule": "true"}])),
        json!({"min": "x"}),
        expect![[r#"
            spec.min: Invalid value: "string": spec.min in body must be of type integer: "string"
            <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"#]],
    );
}

#[test]
fn transition_rules_see_the_old_object() {
    let list = |v: i64| json!({"min": 1, "max": 2, "list": [{"k": "a", "v": v}]});
    check_change(ruled(json!([])), list(2), list(3), expect![""]);
    check_change(ruled(json!([])), list(2), list(1), expect!["spec.list[0].v: Invalid value: 1: grow"]);
    let born = json!([{"rule": "oldSelf.hasValue() || self.min == 0", "optionalOldSelf": true, "message": "born at 0"}]);
    check(ruled(born.clone()), json!({"min": 1}), expect!["spec: Invalid value: born at 0"]);
    check_change(ruled(born), json!({"min": 0}), json!({"min": 5}), expect![""]);
}

#[test]
fn what_was_wrong_before_and_has_not_changed_is_tolerated() {
    let schema = || {
        json!({"type": "object", "properties": {
            "name": {"type": "string", "maxLength": 2},
            "inner": {"type": "object", "properties": {"n": {"type": "integer"}},
                "x-kubernetes-validations": [{"rule": "self.n < 5", "message": "small"}]}}})
    };
    let old = || json!({"name": "abc", "inner": {"n": 9}});
    check_change(
        schema(),
        old(),
        json!({"name": "abc", "inner": {"n": 9}, "more": 1}),
        expect!["warning: spec.inner: Invalid value: small"],
    );
    check_change(
        schema(),
        old(),
        json!({"name": "abcd", "inner": {"n": 9}}),
        expect![[r#"
            spec.name: Too long: may not be more than 2 bytes
            <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"#]],
    );
    check_change(
        schema(),
        old(),
        json!({"name": "ab", "inner": {"n": 8}}),
        expect!["spec.inner: Invalid value: small"],
    );
}

#[test]
fn rules_may_cost_only_so_much() {
    let schema = json!({"type": "object", "properties": {"list": {"type": "array", "items": {"type": "integer"}}},
        "x-kubernetes-validations": [{"rule": "self.list.all(a, self.list.all(b, self.list.all(c, a + b != c + 1000)))"}]});
    let list: Vec<i64> = (0..100).map(|n| n % 7).collect();
    check(
        schema,
        json!({"list": list}),
        expect![[
            r#"spec: Invalid value: "object": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.list.all(a, self.list.all(b, self.list.all(c, a + b != c + 1000)))"#
        ]],
    );
}

#[test]
fn embedded_objects_are_objects() {
    let schema = json!({"type": "object", "properties": {"inner": {"type": "object",
        "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true}}});
    check(
        schema,
        json!({"inner": {"kind": "A_b", "metadata": {"labels": {"a b": "x"}}}}),
        expect![[r#"
            spec.inner.apiVersion: Required value: must not be empty
            spec.inner.kind: Invalid value: "A_b": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
            spec.inner.metadata.labels: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"#]],
    );
}

#[test]
fn tables_show_the_columns() {
    let kind = row(&properties(json!({"cronSpec": {"type": "string"}, "replicas": {"type": "integer"}})));
    let names: Vec<String> =
        kind.print.columns().iter().map(|c| format!("{}:{}", c.name, c.priority)).collect();
    assert_eq!(names, ["Name:0", "Spec:0", "Replicas:1", "Age:0"]);
    let mut obj = object(json!({"cronSpec": "* *", "replicas": 3}));
    obj["metadata"]["creationTimestamp"] = json!("1970-01-01T00:00:00Z");
    assert_eq!(kind.print.cells(&obj, Now::At(60)), [json!("a"), json!("* *"), json!(3), json!("60s")]);
    let mut plain = properties(json!({}));
    plain["spec"]["versions"][1]["additionalPrinterColumns"] = json!(null);
    let plain = row(&plain);
    assert_eq!(plain.print.cells(&object(json!({})), Now::At(60)), [json!("a"), Value::Null]);
}

#[test]
fn applied_lists_merge_by_their_keys() {
    let kind = row(&properties(json!({
        "list": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "whole": {"type": "object", "x-kubernetes-map-type": "atomic", "additionalProperties": {"type": "string"}}})));
    let schemas = Schemas::builtin();
    let apply = |manager: &str, live: Option<&Value>, spec: Value| {
        let by = Writer {
            manager,
            subresource: "",
            api_version: "stable.example.com/v1",
            now: "2026-01-01T00:00:00Z",
            ignored: &[],
        };
        apply::apply(schemas.of(&kind), live, &object(spec), by, false)
    };
    let one =
        apply("one", None, json!({"list": [{"k": "a", "v": 1}], "set": ["x"], "whole": {"a": "1"}})).unwrap();
    let two = apply("two", Some(&one), json!({"list": [{"k": "b", "v": 2}], "set": ["y"]})).unwrap();
    expect![[r#"{"list":[{"k":"a","v":1},{"k":"b","v":2}],"set":["x","y"],"whole":{"a":"1"}}"#]]
        .assert_eq(&two["spec"].to_string());
    let fields = two["metadata"]["managedFields"][1]["fieldsV1"].to_string();
    expect![[
        r#"{"f:spec":{"f:list":{"k:{\"k\":\"b\"}":{".":{},"f:k":{},"f:v":{}}},"f:set":{"v:\"y\"":{}}}}"#
    ]]
    .assert_eq(&fields);
    let conflict =
        apply("two", Some(&one), json!({"list": [{"k": "a", "v": 3}], "whole": {"b": "2"}})).unwrap_err();
    expect![[r#"
        Apply failed with 2 conflicts: conflicts with "one":
        - .spec.list[k="a"].v
        - .spec.whole"#]]
    .assert_eq(&conflict.to_string());
    let unknown = apply("two", Some(&one), json!({"frob": 1})).unwrap_err().to_string();
    assert!(unknown.ends_with(".spec.frob: field not declared in schema"), "{unknown}");
}

/// What the reference estimates, so that it takes the same definitions.
#[test]
fn estimates_are_the_references() {
    let most = |schema: Value, rule: &str| {
        let schema = Structural::read(&schema).unwrap();
        let decl = crate::cel::Decl::from_schema(&schema, "self", false).unwrap();
        let (env, _) = expressions::environments(&decl);
        env.max_cost(rule, &|path: &[String]| sizes::max_elements(&schema, false, path))
    };
    let list = |of: &str| json!({"type": "array", "items": {"type": of}});
    let map = |of: &str| json!({"type": "object", "additionalProperties": {"type": of}});
    for (schema, rule, want) in [
        (list("number"), "self.all(x, true)", 4718591),
        (json!({"type": "array", "maxItems": 10, "items": {"type": "number"}}), "self.all(x, true)", 32),
        (list("boolean"), "self.all(x, true)", 1887437),
        (list("string"), "self.all(x, true)", 3145727),
        (list("object"), "self.all(x, true)", 3145727),
        (map("number"), "self.all(x, true)", 1348169),
        (map("string"), "self.all(x, true)", 1179647),
        (json!({"type": "string"}), "self.startsWith('abc')", 2),
        (json!({"type": "string", "maxLength": 10}), "self.contains('abc')", 5),
        (json!({"type": "integer"}), "self == 1", 1),
    ] {
        assert_eq!(most(schema.clone(), rule), want, "{schema} {rule}");
    }
}

#[test]
fn finalizers_without_a_path_are_worth_a_warning() {
    let kind = row(&properties(json!({})));
    let mut obj = object(json!({}));
    obj["metadata"]["finalizers"] = json!(["example.com/a", "foregroundDeletion", "mine"]);
    let words = "prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers";
    assert_eq!(kind.rules.warnings(&obj, None), [format!("metadata.finalizers: \"mine\": {words}")]);
    assert!(kind.rules.warnings(&obj, Some(&obj)).is_empty());
}
