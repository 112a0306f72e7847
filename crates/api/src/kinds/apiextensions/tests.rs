//! What the rules of CustomResourceDefinitions say, written out.

use expect_test::{Expect, expect};
use serde_json::{Value, json};

use super::CustomResourceDefinition;
use crate::field::Errors;
use crate::kinds::KINDS;
use crate::rules::{Rules, Write};
use crate::schema::Schemas;

fn definition(schema: Value) -> Value {
    json!({"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "crontabs.stable.example.com", "resourceVersion": "1"},
        "spec": {"group": "stable.example.com", "scope": "Namespaced",
            "names": {"plural": "crontabs", "kind": "CronTab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}]}})
}

/// A schema whose `spec` has these properties.
fn spec(properties: Value) -> Value {
    json!({"type": "object", "properties": {"spec": {"type": "object", "properties": properties}}})
}

fn written(obj: Value) -> Value {
    let kind = KINDS.iter().find(|k| k.kind == "CustomResourceDefinition").unwrap();
    let mut obj = Schemas::builtin().shape(kind, obj).unwrap().value;
    CustomResourceDefinition.default(&mut obj);
    obj
}

fn said(errs: &Errors) -> String {
    errs.0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[track_caller]
fn check(obj: Value, expect: Expect) {
    let mut errs = Errors::default();
    CustomResourceDefinition.validate(&written(obj), &mut errs);
    expect.assert_eq(&said(&errs));
}

#[track_caller]
fn check_schema(schema: Value, expect: Expect) {
    check(definition(schema), expect);
}

/// What complaints about one rule of `spec` say after its path.
#[track_caller]
fn check_rule(properties: Value, rule: Value, expect: Expect) {
    let mut schema = spec(properties);
    schema["properties"]["spec"]["x-kubernetes-validations"] = json!([rule]);
    check_schema(schema, expect);
}

#[test]
fn defaults_are_filled_in() {
    let obj = written(definition(spec(json!({}))));
    expect![[r#"{"plural":"crontabs","singular":"crontab","kind":"CronTab","listKind":"CronTabList"}"#]]
        .assert_eq(&obj["spec"]["names"].to_string());
    assert_eq!(obj["spec"]["conversion"], json!({"strategy": "None"}));
    assert_eq!(obj["status"]["storedVersions"], json!(["v1"]));
    check_schema(spec(json!({"a": {"type": "string"}})), expect![""]);
}

#[test]
fn names_group_and_versions_in_the_references_words() {
    let mut obj = definition(spec(json!({})));
    obj["metadata"]["name"] = json!("x.example.com");
    obj["spec"]["group"] = json!("example");
    obj["spec"]["scope"] = json!("Galaxy");
    obj["spec"]["names"]["kind"] = json!("Cron_Tab");
    obj["spec"]["names"]["shortNames"] = json!(["c.t"]);
    obj["spec"]["versions"][0]["storage"] = json!(false);
    obj["spec"]["versions"][0]["deprecationWarning"] = json!("old");
    check(
        obj,
        expect![[r#"
        metadata.name: Invalid value: "x.example.com": must be spec.names.plural+"."+spec.group
        spec.group: Invalid value: "example": should be a domain with at least one dot
        spec.scope: Unsupported value: "Galaxy": supported values: "Cluster", "Namespaced"
        spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions
        spec.versions: Invalid value: [{"Name":"v1","Served":true,"Storage":false,"Deprecated":false,"DeprecationWarning":"old","Schema":null,"Subresources":null,"AdditionalPrinterColumns":null,"SelectableFields":null}]: must have exactly one version marked as storage version
        spec.names.singular: Invalid value: "cron_tab": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
        spec.names.kind: Invalid value: "Cron_Tab": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
        spec.names.listKind: Invalid value: "Cron_TabList": may have mixed case, but should otherwise match: a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')
        spec.names.shortNames[0]: Invalid value: "c.t": a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"#]],
    );
    let mut obj = definition(spec(json!({})));
    obj["spec"]["versions"][0].as_object_mut().unwrap().remove("schema");
    obj["spec"]["preserveUnknownFields"] = json!(true);
    check(
        obj,
        expect![[r#"
        spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required
        spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"#]],
    );
}

#[test]
fn columns_subresources_and_selectable_fields() {
    let mut obj = definition(spec(
        json!({"color": {"type": "string"}, "list": {"type": "array", "items": {"type": "string"}}}),
    ));
    let version = &mut obj["spec"]["versions"][0];
    version["additionalPrinterColumns"] =
        json!([{"name": "", "type": "text", "jsonPath": "spec", "format": "x"}]);
    version["subresources"] = json!({"scale": {"specReplicasPath": ".status.x", "statusReplicasPath": "x", "labelSelectorPath": ".metadata.x"}});
    version["selectableFields"] = json!([{"jsonPath": ".spec.color"}, {"jsonPath": ".spec.color"}, {"jsonPath": ".spec.list"}, {"jsonPath": ".nothing"}]);
    check(
        obj,
        expect![[r#"
        spec.subresources.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under .spec
        spec.subresources.scale.statusReplicasPath: Invalid value: "x": must be a simple json path starting with .
        spec.subresources.scale.labelSelectorPath: Invalid value: ".metadata.x": should be a json path under either .spec or .status
        spec.additionalPrinterColumns[0].name: Required value
        spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string
        spec.additionalPrinterColumns[0].format: Invalid value: "x": must be one of byte,date,date-time,double,float,int32,int64,name,password
        spec.additionalPrinterColumns[0].JSONPath: Invalid value: "spec": must be a simple json path starting with .
        spec.selectableFields[1].jsonPath: Duplicate value: ".spec.color"
        spec.selectableFields[2].jsonPath: Invalid value: ".spec.list": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.
        spec.selectableFields[3].jsonPath: Invalid value: ".nothing": is an invalid path: does not refer to a valid field"#]],
    );
}

#[test]
fn schemas_must_be_structural() {
    check_schema(
        json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {
            "untyped": {}, "list": {"type": "array"}, "metadata": {"type": "object", "properties": {"labels": {"type": "object"}}},
            "embedded": {"type": "object", "x-kubernetes-embedded-resource": true},
            "mixed": {"x-kubernetes-int-or-string": true, "x-kubernetes-preserve-unknown-fields": true}},
            "anyOf": [{"type": "object", "properties": {"elsewhere": {"minimum": 1}}}]}),
        expect![[r#"
            spec.validation.openAPIV3Schema.additionalProperties: Forbidden: must not be used at the root
            spec.validation.openAPIV3Schema.anyOf[0].type: Forbidden: must be empty to be structural
            spec.validation.openAPIV3Schema.properties[elsewhere]: Required value: because it is defined in spec.validation.openAPIV3Schema.anyOf[0].properties[elsewhere]
            spec.validation.openAPIV3Schema.properties[embedded].properties: Required value: must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields
            spec.validation.openAPIV3Schema.properties[list].items: Required value: must be specified
            spec.validation.openAPIV3Schema.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified
            spec.validation.openAPIV3Schema.properties[mixed].x-kubernetes-preserve-unknown-fields: Invalid value: true: must be false if x-kubernetes-int-or-string is true
            spec.validation.openAPIV3Schema.properties[untyped].type: Required value: must not be empty for specified object fields
            spec.validation.openAPIV3Schema.additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"#]],
    );
    check_schema(
        spec(
            json!({"a": {"type": "string", "nullable": true, "pattern": "("}, "b": {"x-kubernetes-int-or-string": true,
            "anyOf": [{"type": "integer"}, {"type": "string"}]}}),
        ),
        expect![[
            r#"spec.validation.openAPIV3Schema.properties[spec].properties[a].pattern: Invalid value: "(": must be a valid regular expression, but isn't: error parsing regexp: missing closing ): `(`"#
        ]],
    );
}

#[test]
fn forbidden_parts_and_combinations() {
    check_schema(
        spec(json!({
            "a": {"type": "frob", "uniqueItems": true, "x-kubernetes-list-type": "set"},
            "b": {"type": "object", "$ref": "#/x", "id": "b", "x-kubernetes-preserve-unknown-fields": false},
            "c": {"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "set"},
            "d": {"type": "array", "items": {"type": "object", "nullable": true, "properties": {"k": {"type": "string"}}},
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k", "k", "z"]},
            "e": {"type": "object", "properties": {"x": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "f": {"type": "string", "x-kubernetes-map-type": "odd"}})),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].properties[a].type: Unsupported value: "frob": supported values: "array", "boolean", "integer", "number", "object", "string"
            spec.validation.openAPIV3Schema.properties[spec].properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic
            spec.validation.openAPIV3Schema.properties[spec].properties[a].type: Invalid value: "frob": must be array if x-kubernetes-list-type is specified
            spec.validation.openAPIV3Schema.properties[spec].properties[b].id: Forbidden: id is not supported
            spec.validation.openAPIV3Schema.properties[spec].properties[b].$ref: Forbidden: $ref is not supported
            spec.validation.openAPIV3Schema.properties[spec].properties[b].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined
            spec.validation.openAPIV3Schema.properties[spec].properties[c].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set
            spec.validation.openAPIV3Schema.properties[spec].properties[d].x-kubernetes-list-map-keys: Invalid value: ["k","k","z"]: must not contain duplicate entries
            spec.validation.openAPIV3Schema.properties[spec].properties[d].x-kubernetes-list-map-keys: Invalid value: ["k","k","z"]: entries must all be names of item properties
            spec.validation.openAPIV3Schema.properties[spec].properties[d].items.nullable: Forbidden: cannot be nullable when x-kubernetes-list-type is map
            spec.validation.openAPIV3Schema.properties[spec].properties[d].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property
            spec.validation.openAPIV3Schema.properties[spec].properties[d].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property
            spec.validation.openAPIV3Schema.properties[spec].properties[e].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive
            spec.validation.openAPIV3Schema.properties[spec].properties[f].type: Invalid value: "string": must be object if x-kubernetes-map-type is specified
            spec.validation.openAPIV3Schema.properties[spec].properties[f].x-kubernetes-map-type: Unsupported value: "odd": supported values: "atomic", "granular""#]],
    );
}

#[test]
fn defaults_hold_to_their_schema() {
    check_schema(
        spec(json!({
            "a": {"type": "string", "default": 5},
            "b": {"type": "object", "properties": {"x": {"type": "string"}}, "default": {"x": "1", "y": "2"}},
            "c": {"type": "array", "items": {"type": "string", "maxLength": 1}, "default": ["ab"]}})),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].properties[a].default: Invalid value: "integer":  in body must be of type string: "integer"
            spec.validation.openAPIV3Schema.properties[spec].properties[b].default: Invalid value: {"x":"1","y":"2"}: must not have unknown fields
            spec.validation.openAPIV3Schema.properties[spec].properties[c].default.[0]: Too long: may not be more than 1 bytes"#]],
    );
}

#[test]
fn rules_compile_and_say_what_they_must() {
    let properties = || json!({"a": {"type": "string", "maxLength": 10}, "n": {"type": "integer"}});
    check_rule(properties(), json!({"rule": "self.a.size() > self.n", "message": "m"}), expect![""]);
    check_rule(
        properties(),
        json!({"rule": "self.none == 1"}),
        expect![[r#"
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.none == 1","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: compilation failed: ERROR: <input>:1:5: undefined field 'none'
         | self.none == 1
         | ....^"#]],
    );
    check_rule(
        properties(),
        json!({"rule": "self.n"}),
        expect![[
            r#"spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Invalid value: {"Rule":"self.n","Message":"","MessageExpression":"","Reason":null,"FieldPath":"","OptionalOldSelf":null}: cel expression must evaluate to a bool"#
        ]],
    );
    check_rule(
        properties(),
        json!({"rule": " ", "reason": "Odd", "fieldPath": ".none"}),
        expect![[r#"
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Required value: rule is not specified
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].reason: Unsupported value: "Odd": supported values: "FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].fieldPath: Invalid value: ".none": fieldPath must be a valid path"#]],
    );
    check_rule(
        properties(),
        json!({"rule": "true", "messageExpression": "self.n", "optionalOldSelf": true}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].messageExpression: Invalid value: {"Rule":"true","Message":"","MessageExpression":"self.n","Reason":null,"FieldPath":"","OptionalOldSelf":true}: messageExpression must evaluate to a string
            spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"#]],
    );
    let schema = spec(json!({"list": {"type": "array", "items": {"type": "string",
        "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}}));
    check_schema(
        schema,
        expect![[r#"
        spec.validation.openAPIV3Schema.properties[spec].properties[list].items.x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
        spec.validation.openAPIV3Schema.properties[spec].properties[list].items.x-kubernetes-validations[0].rule: Invalid value: "self == oldSelf": oldSelf cannot be used on the uncorrelatable portion of the schema within spec.validation.openAPIV3Schema.properties[spec].properties[list]
        spec.validation.openAPIV3Schema.properties[spec].properties[list].items.x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
        spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
}

#[test]
fn rules_that_could_cost_too_much_are_refused() {
    let list = |item: Value| json!({"list": {"type": "array", "items": item}});
    check_rule(
        list(json!({"type": "string"})),
        json!({"rule": "self.list.all(a, self.list.all(b, a != b))"}),
        expect![[r#"
            spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)
            spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
            spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
    check_rule(
        json!({"list": {"type": "array", "maxItems": 10, "items": {"type": "string", "maxLength": 10}}}),
        json!({"rule": "self.list.all(a, self.list.all(b, a != b))"}),
        expect![""],
    );
    let many: Vec<Value> = (0..40).map(|_| json!({"rule": "self.list.all(a, a.contains('x'))"})).collect();
    let mut schema = spec(
        json!({"list": {"type": "array", "maxItems": 1000, "items": {"type": "string", "maxLength": 8000}}}),
    );
    schema["properties"]["spec"]["x-kubernetes-validations"] = json!(many);
    check_schema(
        schema,
        expect![[r#"
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[1].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[2].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
        spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[3].rule: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema
        spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of 1.281601x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"#]],
    );
}

#[test]
fn conversion_needs_a_webhook() {
    let mut obj = definition(spec(json!({})));
    obj["spec"]["conversion"] = json!({"strategy": "Webhook"});
    check(
        obj.clone(),
        expect![[r#"
        spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook
        spec.conversion.conversionReviewVersions: Required value"#]],
    );
    obj["spec"]["conversion"] = json!({"strategy": "None", "webhook": {"conversionReviewVersions": ["v1"]}});
    check(
        obj.clone(),
        expect![
            "spec.conversion.conversionReviewVersions: Forbidden: should not be set when strategy is not set to Webhook"
        ],
    );
    obj["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v9"],
        "clientConfig": {"url": "http://x", "service": {"name": "s", "namespace": "n"}}}});
    check(
        obj,
        expect![[r#"
        spec.conversion.webhookClientConfig: Required value: exactly one of url or service is required
        spec.conversion.conversionReviewVersions: Invalid value: ["v9"]: must include at least one of v1, v1beta1"#]],
    );
}

#[test]
fn what_has_been_established_stays() {
    let mut old = written(definition(spec(json!({}))));
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    old["status"]["storedVersions"] = json!(["v0", "v1"]);
    let mut new = old.clone();
    new["spec"]["scope"] = json!("Cluster");
    new["spec"]["group"] = json!("other.example.com");
    new["spec"]["names"]["kind"] = json!("Other");
    let mut errs = Errors::default();
    CustomResourceDefinition.validate_change(&new, &old, Write::Main, &mut errs);
    expect![[r#"
        spec.scope: Invalid value: "Cluster": field is immutable
        spec.names.kind: Invalid value: "Other": field is immutable
        spec.group: Invalid value: "other.example.com": field is immutable
        status.storedVersions[0]: Invalid value: "v0": missing from spec.versions; v0 was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in v0 and removes v0 from status.storedVersions"#]].assert_eq(&said(&errs));
    let mut own = definition(spec(json!({})));
    own["spec"]["group"] = json!("x.k8s.io");
    own["metadata"]["name"] = json!("crontabs.x.k8s.io");
    check(
        own.clone(),
        expect![[
            r#"metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111"#
        ]],
    );
    own["metadata"]["annotations"] =
        json!({"api-approved.kubernetes.io": "https://github.com/kubernetes/kubernetes/pull/1"});
    check(own, expect![""]);
}

#[test]
fn unknown_formats_are_worth_a_warning() {
    let old = definition(spec(
        json!({"a": {"type": "string", "format": "odd"}, "n": {"type": "integer", "format": "int32"}}),
    ));
    let new = definition(spec(
        json!({"a": {"type": "string", "format": "odd"}, "b": {"type": "string", "format": "other"}}),
    ));
    assert_eq!(CustomResourceDefinition.warnings(&old, None), [r#"unrecognized format "odd""#]);
    assert_eq!(CustomResourceDefinition.warnings(&new, Some(&old)), [r#"unrecognized format "other""#]);
}

/// As deep as a body may be, on a stack like the server's.
#[test]
fn a_schema_may_be_as_deep_as_a_body() {
    const STACK_BYTES: usize = 8 << 20;
    let deep = || {
        let mut schema =
            json!({"type": "string", "x-kubernetes-validations": [{"rule": "self != 'x'"}], "maxLength": 5});
        for _ in 0..crate::codec::json::MAX_DEPTH - 10 {
            schema = json!({"type": "array", "items": schema, "maxItems": 1});
        }
        let mut errs = Errors::default();
        let mut obj = written(definition(json!({"type": "object", "properties": {"spec": schema}})));
        CustomResourceDefinition.validate(&obj, &mut errs);
        CustomResourceDefinition.warnings(&obj, None);
        assert_eq!(said(&errs), "");
        obj["status"]["acceptedNames"] = obj["spec"]["names"].clone();
        let row = crate::custom::rows(&obj).unwrap().swap_remove(0);
        let mut object = json!({"metadata": {"name": "a"}, "spec": "x"});
        for _ in 0..crate::codec::json::MAX_DEPTH - 10 {
            object["spec"] = json!([object["spec"].take()]);
        }
        let shaped = Schemas::builtin().shape(&row, object).unwrap();
        row.rules.validate_change(&shaped.value, &shaped.value, Write::Main, &mut errs);
        assert!(!errs.is_empty() || !shaped.value.is_null());
    };
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(deep).unwrap().join().unwrap();
}

#[test]
fn bad_certificates_do_not_replace_good_ones() {
    let mut old = written(definition(spec(json!({}))));
    let bundle = json!({"caBundle": "bm9uc2Vuc2U=", "url": "https://x"});
    let mut new = old.clone();
    new["spec"]["conversion"] = json!({"strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": bundle}});
    let said_of = |old: &Value| {
        let mut errs = Errors::default();
        CustomResourceDefinition.validate_change(&new, old, Write::Main, &mut errs);
        said(&errs)
    };
    assert_eq!(said_of(&old), "");
    old["status"]["conditions"] = json!([{"type": "Established", "status": "True"}]);
    expect![[r#"spec.conversion.webhookClientConfig.caBundle: Invalid value: "bm9uc2Vuc2U=": unable to load root certificates: unable to parse bytes as PEM block"#]]
        .assert_eq(&said_of(&old));
}
