//! The form of a Pod's spec that the reference shows in a diff.

use serde_json::Value;

/// Which value it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    PodSpec,
    EphemeralContainer,
}

pub const POD_SPEC: Form = Form::PodSpec;
pub const EPHEMERAL_CONTAINER: Form = Form::EphemeralContainer;

/// The value as the diff prints it.
pub fn value(_form: Form, v: &Value) -> Value {
    v.clone()
}
