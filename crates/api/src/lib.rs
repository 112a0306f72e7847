//! What Kubernetes means: kinds, schemas, patches, selectors, errors. Pure: no tokio, no IO, no clock.
//!
//! Objects are `serde_json::Value`s whose keys keep their order. Everything that knows a kind's name derives it from
//! the one table in [`kinds`].

#![forbid(unsafe_code)]

pub mod at;
pub mod catalog;
pub mod cel;
mod certificate_request;
pub mod cidr;
pub mod codec;
pub mod custom;
pub mod discovery;
pub mod field;
#[cfg(test)]
mod golden;
pub mod kinds;
pub mod meta;
pub mod names;
pub mod object;
pub mod openapi;
pub mod patch;
pub mod path;
pub mod print;
pub mod quantity;
pub mod quota;
pub mod resources;
pub mod rules;
pub mod schema;
pub mod selector;
pub mod status;
pub mod table;
pub mod user;

pub use catalog::Catalog;
pub use certificate_request::{CertificateRequest, certificate_ends};
pub use kinds::{Kind, Scope, Subresource};
pub use path::RequestInfo;
pub use rules::Rules;
pub use status::Status;
pub use user::User;
