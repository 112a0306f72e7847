//! What the embedded runtime asks of a Pod network.

use std::net::IpAddr;
use std::path::Path;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

/// Where a Pod can be reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodAddress {
    /// The primary address first.
    pub ips: Vec<IpAddr>,
}

/// Connects Pod sandboxes. Both calls can be repeated: attaching twice gives the same address, detaching what is not
/// attached is no error.
#[async_trait]
pub trait PodNetwork: Send + Sync + std::fmt::Debug {
    /// Give the network namespace at `netns` an interface and addresses. The loopback interface is already up.
    async fn attach(&self, sandbox_id: &str, netns: &Path) -> Result<PodAddress, String>;
    /// Take back everything that `attach` made.
    async fn detach(&self, sandbox_id: &str) -> Result<(), String>;
}

/// A network of nothing but loopback: for tests and for nodes without a network.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoNetwork;

#[async_trait]
impl PodNetwork for NoNetwork {
    async fn attach(&self, _sandbox_id: &str, _netns: &Path) -> Result<PodAddress, String> {
        Ok(PodAddress::default())
    }

    async fn detach(&self, _sandbox_id: &str) -> Result<(), String> {
        Ok(())
    }
}
