//! Who are you, and may you: certificates, tokens, impersonation, RBAC and node authorisation.
//!
//! The API server is asked for facts through [`directory::Directory`]; nothing here knows the store.

#![forbid(unsafe_code)]

pub mod attributes;
pub mod authn;
pub mod authorizer;
pub mod bootstrap;
pub mod directory;
pub mod escalation;
pub mod impersonate;
mod node;
pub mod node_restriction;
pub mod pki;
mod pod_references;
pub mod rbac;
pub mod review;
#[cfg(test)]
mod testing;
pub mod tokens;

pub use attributes::{Attributes, ResourceTarget, Target};
pub use authn::{Authenticated, Authenticator, Peer};
pub use authorizer::{Authorizer, Decision, Permit};
pub use directory::{Directory, Found};
pub use pki::Pki;
pub use rbac::{Policy, Rule};
pub use tokens::Tokens;
