//! Changing an object by a document: JSON patch, merge patch, strategic merge patch, apply.

pub mod apply;
mod compare;
pub mod facts;
pub mod fieldset;
pub mod json;
pub mod managed;
pub mod merge;
#[cfg(test)]
mod model;
mod order;
pub mod strategic;
mod typed;

pub use facts::{Facts, ListType};

use serde_json::{Map, Value};

use crate::Status;
use crate::status::Details;

/// Why a patch was not applied.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum PatchError {
    /// The document is no patch of its type.
    #[error("error decoding patch: {0}")]
    Decode(String),
    /// As `Decode`, where the reference says no more than why.
    #[error("{0}")]
    Malformed(String),
    #[error("The allowed maximum operations in a JSON patch is {limit}, got {got}")]
    TooManyOperations { limit: usize, got: usize },
    /// A JSON patch does not fit the object. The reference says why to nobody.
    #[error("{0}")]
    DoesNotApply(String),
    /// A strategic patch contradicts the schema or itself.
    #[error("{0}")]
    Internal(String),
}

impl From<PatchError> for Status {
    fn from(e: PatchError) -> Status {
        match e {
            PatchError::Decode(_) | PatchError::Malformed(_) => Status::bad_request(e.to_string()),
            PatchError::TooManyOperations { .. } => {
                Status::new(413, "RequestEntityTooLarge", format!("Request entity is too large: {e}"))
            }
            PatchError::DoesNotApply(_) => {
                let words = "the server rejected our request due to an error in our request";
                Status::new(422, "Invalid", words).with_details(Details::default())
            }
            // A plain Go error: code 500 and no reason.
            PatchError::Internal(why) => Status::new(500, "", why),
        }
    }
}

/// `live` with what `applied` says laid over it, as an apply does, without an account of who owns what.
pub fn lay_over<F: facts::Facts>(facts: Option<F>, live: &Value, applied: &Value) -> Value {
    let mut laid = live.clone();
    typed::merge(facts, &mut laid, applied);
    laid
}

/// A parsed patch document and what a strict decoding has against it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded<T> {
    pub patch: T,
    /// `duplicate field "data.a"`, `json patch unknown field "[0].frob"`.
    pub strict_errors: Vec<String>,
}

/// Reads a patch that must be an object: a merge patch, strategic or not. `null` changes nothing.
fn decode_object(bytes: &[u8]) -> Result<Decoded<Map<String, Value>>, String> {
    let parsed = crate::codec::json::parse(bytes).map_err(|e| e.to_string())?;
    let strict_errors = parsed.strict_errors().collect();
    match parsed.value {
        Value::Object(patch) => Ok(Decoded { patch, strict_errors }),
        Value::Null => Ok(Decoded { patch: Map::new(), strict_errors }),
        other => {
            let found = go_type(&other);
            Err(format!("json: cannot unmarshal {found} into Go value of type map[string]interface {{}}"))
        }
    }
}

/// What Go calls the type of a JSON value in an unmarshal error.
fn go_type(v: &serde_json::Value) -> &'static str {
    match v {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "bool",
        serde_json::Value::Number(_) => "number",
        serde_json::Value::String(_) => "string",
        serde_json::Value::Array(_) => "array",
        serde_json::Value::Object(_) => "object",
    }
}
