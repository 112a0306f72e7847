//! One operation: a method on a path, what it takes and what it answers.

use serde_json::{Map, Value, json};

use super::{Edition, parameters};
use crate::kinds::GroupVersionKind;

/// What an answer may be encoded as.
const ANSWERS: [&str; 4] =
    ["application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/cbor"];
const STREAMS: [&str; 3] = [
    "application/json;stream=watch",
    "application/vnd.kubernetes.protobuf;stream=watch",
    "application/cbor-seq",
];
const PATCHES: [&str; 5] = [
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    "application/apply-patch+cbor",
];

pub(super) struct Operation<'a> {
    /// As `x-kubernetes-action` names it.
    pub action: &'a str,
    pub id: String,
    pub tag: &'a str,
    pub description: String,
    /// The definition of the request's body; "" where there is none.
    pub takes: String,
    /// The definition of the answer; "" for plain text.
    pub answers: String,
    pub gvk: GroupVersionKind,
    /// Custom resources are JSON, and have no strategic patches.
    pub is_custom: bool,
}

impl Operation<'_> {
    pub(super) fn write(&self, edition: Edition) -> Value {
        let mut out = Map::new();
        out.insert("tags".into(), json!([self.tag]));
        out.insert("description".into(), json!(self.description));
        out.insert("operationId".into(), json!(self.id));
        let mut parameters = parameters::of_action(edition, self.action);
        match edition {
            Edition::V3 => {
                if !self.takes.is_empty() {
                    out.insert("requestBody".into(), self.request_body());
                }
            }
            Edition::V2 => {
                if !self.takes.is_empty() {
                    let schema = edition.reference(&self.takes);
                    let required = self.body_is_required();
                    parameters.insert(
                        0,
                        json!({"name": "body", "in": "body", "required": required, "schema": schema}),
                    );
                }
                out.insert("consumes".into(), json!(self.takes_types()));
                out.insert("produces".into(), json!(self.media_types()));
                out.insert("schemes".into(), json!(["https"]));
            }
        }
        if !parameters.is_empty() {
            out.insert("parameters".into(), Value::Array(parameters));
        }
        out.insert("responses".into(), self.responses(edition));
        out.insert("x-kubernetes-action".into(), json!(self.action));
        let gvk = &self.gvk;
        out.insert(
            "x-kubernetes-group-version-kind".into(),
            json!({"group": gvk.group, "version": gvk.version, "kind": gvk.kind}),
        );
        Value::Object(out)
    }

    /// A deletion may come without options.
    fn body_is_required(&self) -> bool {
        !matches!(self.action, "delete" | "deletecollection")
    }

    fn request_body(&self) -> Value {
        let mut body = Map::new();
        body.insert("content".into(), content(&self.takes_types(), &self.takes));
        if self.body_is_required() {
            body.insert("required".into(), json!(true));
        }
        Value::Object(body)
    }

    /// What a body may be encoded as.
    fn takes_types(&self) -> Vec<&'static str> {
        match self.action {
            "patch" => self.spoken(&PATCHES),
            _ => vec!["*/*"],
        }
    }

    fn media_types(&self) -> Vec<&'static str> {
        match self.action {
            _ if self.answers.is_empty() => vec!["*/*"],
            "list" | "watch" | "watchlist" => {
                self.spoken(&ANSWERS).into_iter().chain(self.spoken(&STREAMS)).collect()
            }
            _ => self.spoken(&ANSWERS),
        }
    }

    fn spoken(&self, of: &[&'static str]) -> Vec<&'static str> {
        let is_foreign =
            |media: &str| ["protobuf", "cbor", "strategic"].iter().any(|word| media.contains(word));
        of.iter().copied().filter(|media| !(self.is_custom && is_foreign(media))).collect()
    }

    fn responses(&self, edition: Edition) -> Value {
        let codes: &[(&str, &str)] = match self.action {
            "post" => &[("200", "OK"), ("201", "Created"), ("202", "Accepted")],
            "put" | "patch" => &[("200", "OK"), ("201", "Created")],
            "delete" => &[("200", "OK"), ("202", "Accepted")],
            _ => &[("200", "OK")],
        };
        let answer = |description: &str| match edition {
            _ if self.answers.is_empty() => self.plain_answer(edition, description),
            Edition::V2 => json!({"description": description, "schema": edition.reference(&self.answers)}),
            Edition::V3 => {
                json!({"description": description, "content": content(&self.media_types(), &self.answers)})
            }
        };
        let mut out: Map<String, Value> = codes.iter().map(|(c, d)| ((*c).to_owned(), answer(d))).collect();
        out.insert("401".into(), json!({"description": "Unauthorized"}));
        Value::Object(out)
    }

    fn plain_answer(&self, edition: Edition, description: &str) -> Value {
        let schema = json!({"type": "string"});
        match edition {
            Edition::V2 => json!({"description": description, "schema": schema}),
            Edition::V3 => json!({"description": description, "content": {"*/*": {"schema": schema}}}),
        }
    }
}

/// Only v3 speaks of a body's content.
fn content(media: &[&str], definition: &str) -> Value {
    let schema = Edition::V3.reference(definition);
    let content: Map<String, Value> =
        media.iter().map(|m| ((*m).to_owned(), json!({"schema": schema}))).collect();
    Value::Object(content)
}
