//! Interfaces, addresses and routes of one network namespace, by netlink.

use std::net::{IpAddr, Ipv4Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use futures::{StreamExt, TryStreamExt};
use rtnetlink::packet_route::address::AddressAttribute;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkAttribute, LinkMessage};
use rtnetlink::packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteScope};
use rtnetlink::{
    Handle, LinkBridge, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder, new_connection,
};

use crate::Error;
use crate::cidr::Cidr;

/// A netlink connection into the network namespace of the thread that opened it.
#[derive(Debug)]
pub(crate) struct Links {
    handle: Handle,
    connection: tokio::task::JoinHandle<()>,
}

/// An interface as far as we care.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) alias: String,
    pub(crate) mtu: u32,
    pub(crate) mac: Vec<u8>,
}

impl Links {
    pub(crate) fn open() -> Result<Links, Error> {
        let (connection, handle, _) = new_connection().map_err(Error::Netlink)?;
        Ok(Links { handle, connection: tokio::spawn(connection) })
    }

    pub(crate) async fn list(&self) -> Result<Vec<Link>, Error> {
        let links: Result<Vec<_>, _> =
            self.handle.link().get().execute().map_ok(read_link).try_collect().await;
        links.map_err(Error::link("list interfaces"))
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<Link>, Error> {
        let found = self.handle.link().get().match_name(name).execute().try_next().await;
        match found {
            Ok(message) => Ok(message.map(read_link)),
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => Ok(None),
            Err(source) => Err(Error::link("find an interface")(source)),
        }
    }

    pub(crate) async fn add_bridge(&self, name: &str, alias: &str) -> Result<Link, Error> {
        self.add(LinkBridge::new(name).build(), name).await?;
        let link = self.find(name).await?.ok_or_else(|| Error::Vanished(name.to_owned()))?;
        self.set_alias(link.index, alias).await?;
        Ok(link)
    }

    pub(crate) async fn set_alias(&self, index: u32, alias: &str) -> Result<(), Error> {
        let message = LinkUnspec::new_with_index(index)
            .append_extra_attribute(LinkAttribute::IfAlias(alias.to_owned()));
        self.set(message.build()).await
    }

    /// A veth pair: `name` here, `peer` in the namespace `netns`.
    pub(crate) async fn add_veth(
        &self,
        name: &str,
        peer: &str,
        netns: BorrowedFd<'_>,
        mtu: u32,
    ) -> Result<Link, Error> {
        let peer = LinkUnspec::new_with_name(peer).setns_by_fd(netns.as_raw_fd()).mtu(mtu).build();
        let pair = LinkMessageBuilder::<LinkVeth>::new(name, "")
            .mtu(mtu)
            .set_info_data(InfoData::Veth(InfoVeth::Peer(peer)))
            .build();
        self.add(pair, name).await?;
        self.find(name).await?.ok_or_else(|| Error::Vanished(name.to_owned()))
    }

    /// `ip` on interface `index` is at the hardware address `mac`, for good: nobody need ask for it.
    pub(crate) async fn add_neighbour(&self, index: u32, ip: Ipv4Addr, mac: &[u8]) -> Result<(), Error> {
        let add = self.handle.neighbours().add(index, IpAddr::V4(ip)).link_layer_address(mac).replace();
        add.execute().await.map_err(Error::link("add a neighbour"))
    }

    pub(crate) async fn up(&self, index: u32) -> Result<(), Error> {
        self.set(LinkUnspec::new_with_index(index).up().build()).await
    }

    /// An interface that has gone meanwhile is deleted: the kernel takes a veth along with the last process of a Pod's
    /// network namespace, some time after that process has ended.
    pub(crate) async fn delete(&self, index: u32) -> Result<(), Error> {
        match self.handle.link().del(index).execute().await {
            Err(rtnetlink::Error::NetlinkError(error)) if error.raw_code() == -libc::ENODEV => Ok(()),
            deleted => deleted.map_err(Error::link("delete an interface")),
        }
    }

    pub(crate) async fn add_address(&self, index: u32, ip: Ipv4Addr, prefix: u8) -> Result<(), Error> {
        let add = self.handle.address().add(index, IpAddr::V4(ip), prefix).replace();
        add.execute().await.map_err(Error::link("add an address"))
    }

    /// The ranges of the addresses of interface `index`, or of all.
    pub(crate) async fn addresses(&self, index: Option<u32>) -> Result<Vec<(Ipv4Addr, Cidr)>, Error> {
        let all: Result<Vec<_>, _> = self.handle.address().get().execute().try_collect().await;
        let all = all.map_err(Error::link("list addresses"))?;
        let wanted = all.iter().filter(|m| index.is_none_or(|index| m.header.index == index));
        Ok(wanted
            .filter_map(|m| {
                let ip = m.attributes.iter().find_map(|a| match a {
                    AddressAttribute::Local(IpAddr::V4(ip)) => Some(*ip),
                    _ => None,
                })?;
                Some((ip, Cidr::around(ip, m.header.prefix_len)))
            })
            .collect())
    }

    /// `range dev index`: the range is on the link.
    pub(crate) async fn add_link_route(&self, range: Cidr, index: u32, metric: u32) -> Result<(), Error> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(range.addr(), range.prefix_len())
            .output_interface(index)
            .scope(RouteScope::Link)
            .priority(metric);
        self.add_route(route.build()).await
    }

    /// `ip dev index src source`: one host.
    pub(crate) async fn add_host_route(
        &self,
        ip: Ipv4Addr,
        index: u32,
        source: Ipv4Addr,
    ) -> Result<(), Error> {
        let route = RouteMessageBuilder::<Ipv4Addr>::new()
            .destination_prefix(ip, 32)
            .output_interface(index)
            .scope(RouteScope::Link)
            .pref_source(source);
        self.add_route(route.build()).await
    }

    pub(crate) async fn add_default_route(&self, gateway: Ipv4Addr) -> Result<(), Error> {
        self.add_route(RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).build()).await
    }

    async fn add_route(&self, route: RouteMessage) -> Result<(), Error> {
        self.handle.route().add(route).replace().execute().await.map_err(Error::link("add a route"))
    }

    /// All IPv4 routes: range and outgoing interface.
    pub(crate) async fn routes(&self) -> Result<Vec<(Cidr, Option<u32>)>, Error> {
        let all = self.handle.route().get(RouteMessageBuilder::<Ipv4Addr>::new().build()).execute();
        let all: Vec<_> = all.collect().await;
        let all: Result<Vec<_>, _> = all.into_iter().collect();
        Ok(all.map_err(Error::link("list routes"))?.iter().map(read_route).collect())
    }

    async fn add(&self, message: LinkMessage, name: &str) -> Result<(), Error> {
        let added = self.handle.link().add(message).execute().await;
        added.map_err(|source| Error::Link { what: format!("add interface {name}"), source })
    }

    async fn set(&self, message: LinkMessage) -> Result<(), Error> {
        self.handle.link().set(message).execute().await.map_err(Error::link("change an interface"))
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

fn read_link(message: LinkMessage) -> Link {
    let mut link = Link { index: message.header.index, ..Link::default() };
    for attribute in message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name = name,
            LinkAttribute::IfAlias(alias) => link.alias = alias,
            LinkAttribute::Mtu(mtu) => link.mtu = mtu,
            LinkAttribute::Address(mac) => link.mac = mac,
            _ => {}
        }
    }
    link
}

fn read_route(message: &RouteMessage) -> (Cidr, Option<u32>) {
    let mut to = Ipv4Addr::UNSPECIFIED;
    let mut interface = None;
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(RouteAddress::Inet(addr)) => to = *addr,
            RouteAttribute::Oif(index) => interface = Some(*index),
            _ => {}
        }
    }
    (Cidr::around(to, message.header.destination_prefix_length), interface)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn root_an_interface_that_has_gone_is_deleted() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("left out: needs root");
            return;
        }
        let links = Links::open().unwrap();
        // No machine has so many interfaces; nothing of this one's is touched.
        links.delete(2_000_000_000).await.unwrap();
    }
}
