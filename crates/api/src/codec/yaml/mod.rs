//! YAML as `sigs.k8s.io/yaml` reads and writes it: JSON values, YAML 1.1 scalars, sorted keys.

mod read;
mod scalar;
mod text;
mod write;

pub use read::{Document, parse, parse_all};
pub use write::encode;

/// Why a text is not YAML, in the words of the reference's parser.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("yaml: {0}")]
pub struct YamlError(String);
