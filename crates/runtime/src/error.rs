//! What can go wrong in a runtime, in the classes that the kubelet tells apart.

use thiserror::Error;

pub type Result<T, E = Error> = std::result::Result<T, E>;

#[derive(Clone, Debug, Error)]
pub enum Error {
    #[error("{what} {id:?} not found")]
    NotFound { what: &'static str, id: String },
    #[error("{what} {id:?} is {state}")]
    State { what: &'static str, id: String, state: String },
    #[error("image {0:?} not found on this node")]
    ImageNotPresent(String),
    /// The configuration asks for something that cannot be given (the kubelet's CreateContainerConfigError).
    #[error("{0}")]
    Config(String),
    /// The container was made but its process could not be started (the kubelet's RunContainerError).
    #[error("{0}")]
    Start(String),
    #[error("command did not finish in {0:?}")]
    Timeout(std::time::Duration),
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// An operating-system error, with what was being done when it happened.
    pub fn io(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Error {
        Error::Internal(format!("{doing}: {error}"))
    }

    pub fn is_not_found(&self) -> bool {
        matches!(self, Error::NotFound { .. } | Error::ImageNotPresent(_))
    }
}

/// Why an image could not be pulled.
#[derive(Clone, Debug, Error)]
pub enum PullError {
    /// The kubelet's InvalidImageName.
    #[error("couldn't parse image name {name:?}: {reason}")]
    InvalidName { name: String, reason: String },
    #[error("failed to pull image {name:?}: not found")]
    NotFound { name: String },
    #[error("failed to pull image {name:?}: authorization failed: {reason}")]
    Unauthorized { name: String, reason: String },
    #[error("failed to pull image {name:?}: registry not reachable: {reason}")]
    Unreachable { name: String, reason: String },
    /// The content is not what its digest says, breaks a limit, or holds entries that are refused.
    #[error("failed to pull image {name:?}: refused: {reason}")]
    Refused { name: String, reason: String },
    #[error("failed to pull image {name:?}: {reason}")]
    Other { name: String, reason: String },
}
