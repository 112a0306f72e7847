//! The node agent: registers the node and lives its Pods through a [`coracle_runtime::Runtime`].

#![forbid(unsafe_code)]

mod amounts;
mod env;
mod fields;
mod objects;
mod volumes;
