//! A Pod's own end of the network, set up from inside of its network namespace.

use std::fs::File;
use std::path::Path;

use super::PodAddress;
use super::links::Links;
use crate::Error;

/// The interface as the Pod sees it, by CNI's convention.
pub(crate) const INTERFACE: &str = "eth0";

pub(crate) fn open(netns: &Path) -> Result<File, Error> {
    File::open(netns).map_err(|source| Error::Namespace { path: netns.to_owned(), source })
}

/// Give the Pod its address and its routes. All but the gateway itself is behind the gateway, neighbours too, so that
/// the host sees both directions of every connection.
pub(crate) async fn configure(netns: &Path, address: PodAddress, gateway_mac: Vec<u8>) -> Result<(), Error> {
    within(netns, move || async move {
        let links = Links::open()?;
        let find = async |name: &str| links.find(name).await?.ok_or_else(|| Error::Vanished(name.to_owned()));
        links.up(find("lo").await?.index).await?;
        let interface = find(INTERFACE).await?.index;
        links.add_address(interface, address.ip, address.prefix).await?;
        links.up(interface).await?;
        links.add_host_route(address.gateway, interface, address.ip).await?;
        links.add_neighbour(interface, address.gateway, &gateway_mac).await?;
        links.add_default_route(address.gateway).await
    })
    .await
}

/// Run `work` in a network namespace: on a thread of its own, which ends there, since a thread that has been elsewhere
/// must not return to a pool.
async fn within<W, F>(netns: &Path, work: W) -> Result<(), Error>
where
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = Result<(), Error>>,
{
    let namespace = open(netns)?;
    let path = netns.to_owned();
    let (done, result) = tokio::sync::oneshot::channel();
    let enter = move || -> Result<(), Error> {
        nix::sched::setns(&namespace, nix::sched::CloneFlags::CLONE_NEWNET)
            .map_err(|errno| Error::Namespace { path: path.clone(), source: errno.into() })?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
        runtime.map_err(Error::Netlink)?.block_on(work())
    };
    let thread = std::thread::Builder::new().name("pod-netns".into());
    // The receiver is only gone when nobody waits for the answer any more.
    thread.spawn(move || drop(done.send(enter()))).map_err(Error::Netlink)?;
    result.await.unwrap_or_else(|_| Err(Error::Vanished(netns.display().to_string())))
}
