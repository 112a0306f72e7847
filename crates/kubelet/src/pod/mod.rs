//! A Pod's life on the node.

mod backoff;
mod conditions;
mod container_config;
mod container_status;
pub(crate) mod dns;
mod execute;
mod hooks;
mod hosts;
mod images;
mod messages;
pub(crate) mod observed;
mod plan;
pub(crate) mod spec;
mod status;
mod status_writer;
mod worker;

pub(crate) use backoff::Backoff;
pub(crate) use container_config::UID_LABEL;
pub(crate) use worker::{Update, Worker};
