//! The expressions of a ValidatingAdmissionPolicy against the types of what it matches: warnings, never refusals.

use serde_json::Value;

use super::{Decl, Env, admission};
use crate::field::Path;
use crate::object;

/// So many types are looked at for each rule.
pub const TYPES_MAX: usize = 10;

/// A kind that a policy is for, as warnings call it (`apps/v1, Kind=Deployment`), and what is known of its objects.
#[derive(Debug, Clone)]
pub struct Typed {
    pub kind: String,
    pub object: Decl,
}

/// A resource that a rule of a policy names.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub group: String,
    pub version: String,
    pub resource: String,
}

/// What the rules of a policy name one by one; wildcards and subresources are left out. One list a rule.
pub fn named(spec: &Value) -> Vec<Vec<Named>> {
    object::items(spec, &["matchConstraints", "resourceRules"]).iter().map(named_by).collect()
}

fn named_by(rule: &Value) -> Vec<Named> {
    let texts = |key: &str| -> Vec<&str> {
        let mut all: Vec<&str> = object::items(rule, &[key]).iter().filter_map(Value::as_str).collect();
        all.sort_unstable();
        all
    };
    let (groups, versions) = (texts("apiGroups"), texts("apiVersions"));
    if groups.iter().chain(&versions).any(|text| text.contains('*')) {
        return Vec::new();
    }
    let mut out = Vec::new();
    for group in &groups {
        for version in &versions {
            for resource in texts("resources").into_iter().filter(|r| !r.contains(['*', '/'])) {
                let [group, version, resource] = [*group, *version, resource].map(str::to_owned);
                out.push(Named { group, version, resource });
            }
        }
    }
    out
}

/// What is wrong with a policy's expressions, as its status lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    pub field: String,
    pub words: String,
}

/// Checks the validations of a policy with each of the types.
pub fn check(spec: &Value, types: &[Typed], params: Option<&Decl>) -> Vec<Warning> {
    let envs: Vec<(&str, Env)> =
        types.iter().map(|typed| (&*typed.kind, env(spec, typed, params.cloned()))).collect();
    let mut warnings = Vec::new();
    for (i, validation) in object::items(spec, &["validations"]).iter().enumerate() {
        for key in ["expression", "messageExpression"] {
            let source = object::text(validation, &[key]);
            if source.is_empty() && key == "messageExpression" {
                continue;
            }
            let wrong = envs.iter().filter_map(|(kind, env)| {
                let complaint = env.compile(source).err()?;
                Some(format!("{kind}: {complaint}\n"))
            });
            let words = wrong.collect::<Vec<_>>().join("\n");
            if !words.is_empty() {
                let field = Path::new("spec.validations").index(i).child(key).to_string();
                warnings.push(Warning { field, words });
            }
        }
    }
    warnings
}

fn env(spec: &Value, typed: &Typed, params: Option<Decl>) -> Env {
    let mut env = admission::env(typed.object.clone(), params, true).with_variables();
    for variable in object::items(spec, &["variables"]) {
        if let Ok(program) = env.compile(object::text(variable, &["expression"])) {
            env.declare_variable(object::text(variable, &["name"]), program.ty().clone());
        }
    }
    env
}

#[cfg(test)]
mod tests {
    use expect_test::{Expect, expect};
    use serde_json::json;

    use super::*;
    use crate::schema::Schemas;

    fn builtin(kind: &str, schema: &str) -> Typed {
        let object = Decl::builtin(&Schemas::builtin(), schema).unwrap();
        Typed { kind: kind.to_owned(), object }
    }

    fn check_all(spec: Value, params: Option<&Decl>, expect: Expect) {
        let types = [
            builtin("apps/v1, Kind=Deployment", "io.k8s.api.apps.v1.Deployment"),
            builtin("/v1, Kind=Pod", "io.k8s.api.core.v1.Pod"),
        ];
        let warnings = check(&spec, &types, params);
        let shown: Vec<String> = warnings.iter().map(|w| format!("{}: {}", w.field, w.words)).collect();
        expect.assert_eq(&shown.join("---\n"));
    }

    #[test]
    fn expressions_are_held_against_the_types_that_a_policy_is_for() {
        check_all(
            json!({"validations": [{"expression": "object.metadata.name.size() > 1"}]}),
            None,
            expect![""],
        );
        check_all(
            json!({"validations": [{"expression": "object.spec.replicas > 1"}]}),
            None,
            expect![[r#"
                spec.validations[0].expression: /v1, Kind=Pod: ERROR: <input>:1:12: undefined field 'replicas'
                 | object.spec.replicas > 1
                 | ...........^
            "#]],
        );
        check_all(
            json!({"validations": [{"expression": "true", "messageExpression": "object.nope"}]}),
            None,
            expect![[r#"
                spec.validations[0].messageExpression: apps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'nope'
                 | object.nope
                 | ......^

                /v1, Kind=Pod: ERROR: <input>:1:7: undefined field 'nope'
                 | object.nope
                 | ......^
            "#]],
        );
        let variables = json!({"variables": [{"name": "n", "expression": "object.metadata.name"}],
            "validations": [{"expression": "variables.n == 'x'"}]});
        check_all(variables, None, expect![""]);
        let config = Decl::builtin(&Schemas::builtin(), "io.k8s.api.core.v1.ConfigMap").unwrap();
        check_all(
            json!({"validations": [{"expression": "params.data['a'] == 'b'"}]}),
            Some(&config),
            expect![""],
        );
    }

    #[test]
    fn rules_name_resources_one_by_one() {
        let rule = |groups: Value, resources: Value| {
            json!({"matchConstraints": {"resourceRules": [
                {"apiGroups": groups, "apiVersions": ["v1"], "resources": resources}]}})
        };
        let shown = |spec: Value| -> Vec<String> {
            let all = named(&spec).concat();
            all.iter().map(|n| format!("{}/{}/{}", n.group, n.version, n.resource)).collect()
        };
        assert_eq!(shown(rule(json!(["b", "a"]), json!(["x", "y/status", "*"]))), ["a/v1/x", "b/v1/x"]);
        assert!(shown(rule(json!(["*"]), json!(["x"]))).is_empty());
    }
}
