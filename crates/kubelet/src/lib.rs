//! The node agent: registers the node and lives its Pods through a [`coracle_runtime::Runtime`].

#![forbid(unsafe_code)]

mod env;
mod fields;
mod kubelet;
mod node;
mod objects;
mod pod;
mod pods;
mod probes;
mod recorder;
mod server;
mod shared;
mod volumes;

pub use kubelet::{Config, Kubelet, ServerConfig, StartError};
pub use node::VERSION;

/// The streams of a process over a WebSocket.
pub mod streams {
    pub use crate::server::exec::{Purpose, connect};
    pub use crate::server::websocket::Protocol;
}

pub(crate) use shared::{PODS, Shared, log_directory_name};
