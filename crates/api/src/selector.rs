//! Label and field selectors: parsed once, matched often, refused in the reference's words.

mod field;
mod label;

pub use field::{FieldSelector, FieldTerm};
pub use label::{LabelSelector, Lookup, Operator, Requirement};

/// Why a text or an object is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct SelectorError(pub(crate) String);

impl From<SelectorError> for crate::Status {
    fn from(e: SelectorError) -> crate::Status {
        crate::Status::bad_request(e.0)
    }
}
