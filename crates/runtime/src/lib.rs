//! Running Pods: the [`Runtime`] trait, shaped like CRI, and its implementations.
//!
//! The kubelet knows only this trait. [`fake`] keeps everything in memory for tests of the kubelet.

#![expect(
    unsafe_code,
    reason = "mounts, namespaces and processes need system calls that have no safe wrapper"
)]

pub mod embedded;
mod error;
pub mod fake;
pub mod log;
mod network;
mod runtime;
mod types;

pub use embedded::image_name_error;
pub use error::{Error, PullError, Result};
pub use network::{NoNetwork, PodAddress, PodNetwork};
pub use runtime::Runtime;
pub use types::*;
