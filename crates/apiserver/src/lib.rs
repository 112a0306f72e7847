//! The API server: HTTP in, the store out, one write path for every kind and every caller.

#![forbid(unsafe_code)]

mod addresses;
mod admission;
mod api_services;
mod body;
mod bootstrap;
mod component_statuses;
mod compress;
mod control;
mod crd;
mod directory;
mod expiry;
mod grants;
mod health;
mod kubernetes_service;
mod managed;
mod metrics;
pub mod negotiate;
mod openapi;
mod options;
mod paths;
mod peers;
mod pipeline;
mod registry;
mod respond;
mod reviews;
mod server;
mod serving;
mod socket;
mod subresources;
mod webhook;

pub use body::Body;
pub use control::forks::{Fork, Forks};
pub use registry::continuation;
pub use registry::select::meta_of;
pub use server::{Cidr, Config, ForkConfig, Local, Server};
