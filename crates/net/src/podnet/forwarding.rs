//! Forwarding, switched on for the interfaces that Pods' traffic crosses and put back when the last cluster leaves.
//!
//! What an interface had before is written in our bridge's alias, where it survives a kill and where other clusters on
//! this machine find it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::links::{Link, Links};
use super::names::BRIDGE_PREFIX;
use crate::Error;

/// What introduces the saved values in a bridge's alias: `coracle forwarding eth0=0 eth1=1`.
const ALIAS: &str = "coracle forwarding";

/// The forwarding switch of interfaces as it was before us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved(BTreeMap<String, bool>);

impl Saved {
    fn parse(alias: &str) -> Saved {
        let words = alias.strip_prefix(ALIAS).unwrap_or_default().split_whitespace();
        let pairs = words.filter_map(|word| word.rsplit_once('='));
        Saved(pairs.map(|(name, value)| (name.to_owned(), value == "1")).collect())
    }

    pub(crate) fn alias(&self) -> String {
        let values = self.0.iter().map(|(name, on)| format!(" {name}={}", u8::from(*on)));
        ALIAS.to_owned() + &values.collect::<String>()
    }
}

/// What the interfaces of the default routes have now, or had before another cluster came.
pub(crate) async fn save(links: &Links) -> Result<Saved, Error> {
    let all = links.list().await?;
    let others: Vec<_> = bridges(&all).map(|bridge| Saved::parse(&bridge.alias)).collect();
    let mut saved = Saved::default();
    for (_, index) in links.routes().await?.into_iter().filter(|(to, _)| to.prefix_len() == 0) {
        let Some(link) = all.iter().find(|link| Some(link.index) == index) else { continue };
        let before = others.iter().find_map(|other| other.0.get(&link.name).copied());
        let before = before.map_or_else(|| read(&link.name), Ok)?;
        saved.0.insert(link.name.clone(), before);
    }
    Ok(saved)
}

/// Let through what comes back from outside to Pods.
pub(crate) fn enable(saved: &Saved, bridge: &str) -> Result<(), Error> {
    for uplink in saved.0.keys() {
        match allow(uplink) {
            // An interface may go at any time; then nothing comes in by it.
            Err(Error::Switch { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    allow(bridge)
}

/// Do the same for interfaces that have become a way out since the bridge was made.
pub(crate) async fn follow(links: &Links, bridge: &Link) -> Result<(), Error> {
    let mut saved = Saved::parse(&bridge.alias);
    let before = saved.0.len();
    for (name, value) in save(links).await?.0 {
        saved.0.entry(name).or_insert(value);
    }
    if saved.0.len() > before {
        links.set_alias(bridge.index, &saved.alias()).await?;
    }
    enable(&saved, &bridge.name)
}

/// Let through what comes in by `interface`.
pub(crate) fn allow(interface: &str) -> Result<(), Error> {
    write(interface, true)
}

/// Put back what `bridge` remembers, except where another cluster's bridge still needs it.
pub(crate) async fn restore(links: &Links, bridge: &Link) -> Result<(), Error> {
    let all = links.list().await?;
    let others: Vec<_> =
        bridges(&all).filter(|b| b.name != bridge.name).map(|b| Saved::parse(&b.alias)).collect();
    for (name, before) in Saved::parse(&bridge.alias).0 {
        let needed = others.iter().any(|other| other.0.contains_key(&name));
        let exists = all.iter().any(|link| link.name == name);
        if !needed && exists {
            write(&name, before)?;
        }
    }
    Ok(())
}

fn bridges(all: &[Link]) -> impl Iterator<Item = &Link> {
    all.iter().filter(|link| link.name.starts_with(BRIDGE_PREFIX))
}

fn path(interface: &str) -> PathBuf {
    PathBuf::from(format!("/proc/sys/net/ipv4/conf/{interface}/forwarding"))
}

fn read(interface: &str) -> Result<bool, Error> {
    let path = path(interface);
    let text = std::fs::read_to_string(&path).map_err(|source| Error::Switch { path, source })?;
    Ok(text.trim() == "1")
}

fn write(interface: &str, on: bool) -> Result<(), Error> {
    let path = path(interface);
    std::fs::write(&path, if on { "1" } else { "0" }).map_err(|source| Error::Switch { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_says_what_was_saved() {
        let saved = Saved(BTreeMap::from([("eth0".to_owned(), false), ("wlan0".to_owned(), true)]));
        assert_eq!(saved.alias(), "coracle forwarding eth0=0 wlan0=1");
        assert_eq!(Saved::parse(&saved.alias()), saved);
        assert_eq!(Saved::parse("somebody else's eth0=1"), Saved::default());
    }
}
