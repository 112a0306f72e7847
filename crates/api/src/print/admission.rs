//! Admission webhooks and policies in tables.

use serde_json::Value;

use super::cell::{UNSET, age, count, name, string};
use super::{AGE, Columns, NAME, integer, text as column};
use crate::object::{at, text};

pub static MUTATING_WEBHOOK: Columns = WEBHOOKS;
pub static VALIDATING_WEBHOOK: Columns = WEBHOOKS;

const WEBHOOKS: Columns = Columns {
    columns: &[NAME, integer("Webhooks"), AGE],
    cells: |obj, now| vec![name(obj), count(obj, &["webhooks"]), age(obj, now)],
};

fn param_kind(obj: &Value) -> Value {
    let kind = at(obj, &["spec", "paramKind"]);
    string(match (kind.is_null(), text(kind, &["apiVersion"])) {
        (true, _) => UNSET.to_owned(),
        (false, "") => text(kind, &["kind"]).to_owned(),
        (false, version) => format!("{version}/{}", text(kind, &["kind"])),
    })
}

pub static VALIDATING_POLICY: Columns = Columns {
    columns: &[NAME, integer("Validations"), column("ParamKind"), AGE],
    cells: |obj, now| vec![name(obj), count(obj, &["spec", "validations"]), param_kind(obj), age(obj, now)],
};

pub static MUTATING_POLICY: Columns = Columns {
    columns: &[NAME, integer("Mutations"), column("ParamKind"), AGE],
    cells: |obj, now| vec![name(obj), count(obj, &["spec", "mutations"]), param_kind(obj), age(obj, now)],
};

/// The bindings of both kinds of policy.
pub static POLICY_BINDING: Columns = Columns {
    columns: &[NAME, column("PolicyName"), column("ParamRef"), AGE],
    cells: |obj, now| {
        let param = at(obj, &["spec", "paramRef"]);
        let shown = match (param.is_null(), text(param, &["namespace"]), text(param, &["name"])) {
            (true, ..) => UNSET.to_owned(),
            (_, "", "") => "*/<selector>".to_owned(),
            (_, "", name) => format!("*/{name}"),
            (_, ns, "") => format!("{ns}/<selector>"),
            (_, ns, name) => format!("{ns}/{name}"),
        };
        vec![name(obj), string(text(obj, &["spec", "policyName"])), string(shown), age(obj, now)]
    },
};
