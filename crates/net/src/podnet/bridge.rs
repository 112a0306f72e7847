//! The bridge that holds the gateway address: made, taken over from an earlier run, removed.

use std::net::Ipv4Addr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::time::Duration;

use coracle_clock::Clock;

use super::forwarding;
use super::leases::Leases;
use super::links::{Link, Links};
use super::names::Names;
use crate::cidr::Cidr;
use crate::{Config, Error};

/// Pods a node: the kubelet's default is 110 Pods, which 253 addresses hold twice.
const NODE_PREFIX: u8 = 24;
/// The file in the state directory that remembers addresses.
pub(crate) const LEASES: &str = "leases.json";
/// How long to wait between attempts to become the only one that changes the machine's network.
const LOCK_RETRY: Duration = Duration::from_millis(2);
/// How long in all: another cluster needs some 10 ms a time.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);
/// Routes to the Services of several clusters may have the same range; a high number keeps out of the machine's own way.
const SERVICE_ROUTE_METRIC: u32 = 10_000;

/// Held while a range is chosen or forwarding is saved or restored: an abstract socket, which exists once in a network
/// namespace and vanishes with its process.
#[derive(Debug)]
pub(crate) struct Turn(#[expect(dead_code, reason = "held, not used")] UnixListener);

pub(crate) async fn turn(clock: &Clock) -> Result<Turn, Error> {
    let name = SocketAddr::from_abstract_name("coracle-net").map_err(Error::Netlink)?;
    let until = clock.elapsed() + LOCK_PATIENCE;
    loop {
        match UnixListener::bind_addr(&name) {
            Ok(listener) => return Ok(Turn(listener)),
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && clock.elapsed() < until => {
                clock.sleep(LOCK_RETRY).await;
            }
            Err(error) => return Err(Error::Netlink(error)),
        }
    }
}

/// The bridge of an earlier run with its addresses, or a new one in a range that the machine does not use.
pub(crate) async fn establish(links: &Links, names: &Names, config: &Config) -> Result<Leases, Error> {
    let _turn = turn(&config.clock).await?;
    let file = config.state_dir.as_ref().map(|dir| dir.join(LEASES));
    let earlier = file.as_deref().map(Leases::load).transpose()?.flatten();
    if let Some(bridge) = links.find(&names.bridge()).await? {
        if let Some(leases) = earlier
            && links.addresses(Some(bridge.index)).await?.iter().any(|(ip, _)| *ip == leases.gateway())
        {
            return Ok(leases);
        }
        // Nobody keeps an address of it: what is left of it is of no use.
        discard(links, &bridge).await?;
    }
    let mut occupied = occupied(links).await?;
    occupied.push(config.service_cidr);
    let range = choose(config.pod_cidr, &occupied).ok_or(Error::NoRange(config.pod_cidr))?;
    let leases = Leases::new(range, file);
    build(links, names, leases.gateway(), config.service_cidr).await?;
    leases.save()?;
    Ok(leases)
}

async fn build(links: &Links, names: &Names, gateway: Ipv4Addr, services: Cidr) -> Result<(), Error> {
    let saved = forwarding::save(links).await?;
    let bridge = links.add_bridge(&names.bridge(), &saved.alias()).await?;
    links.add_address(bridge.index, gateway, NODE_PREFIX).await?;
    links.up(bridge.index).await?;
    forwarding::enable(&saved, &bridge.name)?;
    // Gives a machine without a default route a way to Services, and its own packets to them a fitting source.
    let metric = SERVICE_ROUTE_METRIC + bridge.index;
    links.add_link_route(services, bridge.index, metric).await
}

async fn occupied(links: &Links) -> Result<Vec<Cidr>, Error> {
    let routes = links.routes().await?.into_iter().map(|(range, _)| range);
    let addresses = links.addresses(None).await?.into_iter().map(|(_, range)| range);
    // A default route says nothing about what is in use.
    Ok(routes.chain(addresses).filter(|range| range.prefix_len() > 0).collect())
}

/// The first range for a node in `preferred`, or else in its neighbours, that nothing occupies.
fn choose(preferred: Cidr, occupied: &[Cidr]) -> Option<Cidr> {
    let len = preferred.prefix_len();
    let neighbours = Cidr::around(preferred.addr(), len.min(8)).subnets(len).filter(move |n| *n != preferred);
    [preferred]
        .into_iter()
        .chain(neighbours)
        .flat_map(|range| range.subnets(NODE_PREFIX.max(len)))
        .find(|range| !occupied.iter().any(|used| used.overlaps(*range)))
}

/// Take note of interfaces that have become a way out since.
pub(crate) async fn refresh(links: &Links, names: &Names, clock: &Clock) -> Result<(), Error> {
    let _turn = turn(clock).await?;
    match links.find(&names.bridge()).await? {
        Some(bridge) => forwarding::follow(links, &bridge).await,
        None => Err(Error::Vanished(names.bridge())),
    }
}

/// Remove the bridge and undo what was done for it.
pub(crate) async fn remove(links: &Links, names: &Names, clock: &Clock) -> Result<(), Error> {
    let _turn = turn(clock).await?;
    match links.find(&names.bridge()).await? {
        Some(bridge) => discard(links, &bridge).await,
        None => Ok(()),
    }
}

async fn discard(links: &Links, bridge: &Link) -> Result<(), Error> {
    forwarding::restore(links, bridge).await?;
    links.delete(bridge.index).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_chosen_beside_what_is_in_use() {
        let check = |preferred: &str, occupied: &[&str]| {
            let occupied: Vec<_> = occupied.iter().map(|range| range.parse().unwrap()).collect();
            choose(preferred.parse().unwrap(), &occupied).map(|range| range.to_string())
        };
        let some = |range: &str| Some(range.to_owned());
        assert_eq!(check("10.244.0.0/16", &[]), some("10.244.0.0/24"));
        assert_eq!(check("10.244.0.0/16", &["192.168.0.0/16"]), some("10.244.0.0/24"));
        assert_eq!(check("10.244.0.0/16", &["10.244.0.0/24", "10.244.1.7/32"]), some("10.244.2.0/24"));
        assert_eq!(check("10.244.0.0/16", &["10.244.0.0/16"]), some("10.0.0.0/24"));
        assert_eq!(check("10.244.0.0/16", &["10.0.0.0/8"]), None);
        assert_eq!(check("10.9.9.0/24", &[]), some("10.9.9.0/24"));
    }
}
