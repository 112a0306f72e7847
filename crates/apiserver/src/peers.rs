//! The servers that share a store: each says again and again that it is there, and the Service `kubernetes` names those
//! that do. As with kube-apiserver, whoever falls silent is gone when its lease ends.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use coracle_api::Status;
use coracle_store::{Draft, Expect, Meta, Txn};

use crate::kubernetes_service;
use crate::registry::versions;
use crate::server::Core;

/// Where kube-apiservers keep the same.
const PREFIX: &str = "/registry/masterleases/";
/// How long a server is believed to be there after it has said so.
const LIFE: Duration = Duration::from_secs(15);
/// How often it says so, and looks who else does.
const EVERY: Duration = Duration::from_secs(10);

fn key(core: &Core) -> Option<String> {
    core.advertise.map(|(address, port)| format!("{PREFIX}{address}:{port}"))
}

/// Say that this server is there.
pub(crate) async fn announce(core: &Core) -> Result<(), Status> {
    let Some(key) = key(core) else { return Ok(()) };
    let tail = format!(r#""}},"renewTime":"{}"}}"#, core.clock.now_micro());
    let draft = Draft {
        head: br#"{"metadata":{"resourceVersion":""#.to_vec(),
        tail: tail.into_bytes(),
        meta: Arc::new(Meta { ttl: Some(LIFE), ..Meta::default() }),
    };
    let put = core.store.commit(Txn::put(key, Expect::Any, draft)).await;
    put.map(|_| ()).map_err(versions::store_failed)
}

/// Say that this server is there no more.
pub(crate) async fn leave(core: &Core) -> Result<(), Status> {
    let Some(key) = key(core) else { return Ok(()) };
    let gone = core.store.commit(Txn::delete(key, Expect::Any)).await;
    gone.map(|_| ()).map_err(versions::store_failed)
}

/// Those that are there, in the order of their addresses.
pub(crate) fn present(core: &Core) -> Vec<(Ipv4Addr, u16)> {
    let state = core.store.snapshot();
    let mut found: Vec<(Ipv4Addr, u16)> =
        state.range(PREFIX, None).filter_map(|version| place(version.key.strip_prefix(PREFIX)?)).collect();
    found.sort_unstable();
    found
}

fn place(text: &str) -> Option<(Ipv4Addr, u16)> {
    let (address, port) = text.split_once(':')?;
    Some((address.parse().ok()?, port.parse().ok()?))
}

/// Go on announcing until the server stops.
pub(crate) fn start(core: &Arc<Core>) {
    let (core, stopping) = (Arc::downgrade(core), core.stopping.clone());
    tokio::spawn(async move {
        loop {
            let Some(clock) = core.upgrade().map(|core| core.clock.clone()) else { return };
            if stopping.run_until_cancelled(clock.sleep(EVERY)).await.is_none() {
                return;
            }
            let Some(core) = core.upgrade() else { return };
            if let Err(status) = kubernetes_service::keep(&core).await {
                tracing::warn!(%status, "the endpoints of the Service kubernetes were not kept");
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_names_an_address_and_a_port() {
        assert_eq!(place("10.0.0.1:6443"), Some((Ipv4Addr::new(10, 0, 0, 1), 6443)));
        assert_eq!((place("10.0.0.1"), place("x:1"), place("10.0.0.1:70000")), (None, None, None));
    }
}
