//! Which sandbox has which address, on disk, so that running Pods keep theirs when the agent restarts.

use std::collections::BTreeMap;
use std::io::Write;
use std::net::Ipv4Addr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cidr::Cidr;

/// The network's own address, the gateway and the broadcast address are nobody's.
const FIRST_POD: u32 = 2;

#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    #[error("no address is left in {0}")]
    Exhausted(Cidr),
    #[error("address {ip} is not free in {range}")]
    Taken { ip: Ipv4Addr, range: Cidr },
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{} does not hold addresses", path.display())]
    Unreadable { path: PathBuf },
}

#[derive(Clone, Debug)]
pub(crate) struct Leases {
    range: Cidr,
    by_sandbox: BTreeMap<String, Ipv4Addr>,
    /// Where the next search starts: an address rests as long as possible before it is given again, so that nobody
    /// talks to a new Pod believing it the old one.
    next: u32,
    file: Option<PathBuf>,
}

impl Leases {
    pub(crate) fn new(range: Cidr, file: Option<PathBuf>) -> Leases {
        Leases { range, by_sandbox: BTreeMap::new(), next: FIRST_POD, file }
    }

    /// What an earlier run left in `file`, if it did.
    pub(crate) fn load(file: &Path) -> Result<Option<Leases>, LeaseError> {
        let text = match std::fs::read_to_string(file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LeaseError::Io { path: file.to_owned(), source }),
        };
        let leases = serde_json::from_str(&text).ok().and_then(|value| Leases::parse(&value, file));
        leases.map(Some).ok_or_else(|| LeaseError::Unreadable { path: file.to_owned() })
    }

    fn parse(value: &Value, file: &Path) -> Option<Leases> {
        let mut leases = Leases::new(value["range"].as_str()?.parse().ok()?, Some(file.to_owned()));
        for (sandbox, ip) in value["leases"].as_object()? {
            leases.by_sandbox.insert(sandbox.clone(), ip.as_str()?.parse().ok()?);
        }
        leases.next = u32::try_from(value["next"].as_u64()?).ok()?;
        Some(leases)
    }

    pub(crate) fn range(&self) -> Cidr {
        self.range
    }

    pub(crate) fn gateway(&self) -> Ipv4Addr {
        self.range.nth(1).unwrap_or(self.range.addr())
    }

    pub(crate) fn sandboxes(&self) -> impl Iterator<Item = &str> {
        self.by_sandbox.keys().map(String::as_str)
    }

    /// The address of `sandbox`: the one it has, or a free one.
    pub(crate) fn take(&mut self, sandbox: &str) -> Result<Ipv4Addr, LeaseError> {
        if let Some(ip) = self.by_sandbox.get(sandbox) {
            return Ok(*ip);
        }
        let last = u32::try_from(self.range.size().saturating_sub(1)).unwrap_or(u32::MAX);
        let turn = (self.next.max(FIRST_POD)..last).chain(FIRST_POD..self.next.min(last));
        let free = turn.filter_map(|n| Some((n, self.range.nth(n)?))).find(|(_, ip)| self.is_free(*ip));
        let (n, ip) = free.ok_or(LeaseError::Exhausted(self.range))?;
        self.next = n + 1;
        self.by_sandbox.insert(sandbox.to_owned(), ip);
        self.save()?;
        Ok(ip)
    }

    /// Note that `sandbox` has `ip` already.
    pub(crate) fn adopt(&mut self, sandbox: &str, ip: Ipv4Addr) -> Result<(), LeaseError> {
        if self.by_sandbox.get(sandbox) == Some(&ip) {
            return Ok(());
        }
        if !self.range.contains(ip) || ip == self.gateway() || !self.is_free(ip) {
            return Err(LeaseError::Taken { ip, range: self.range });
        }
        self.by_sandbox.insert(sandbox.to_owned(), ip);
        self.save()
    }

    pub(crate) fn release(&mut self, sandbox: &str) -> Result<(), LeaseError> {
        if self.by_sandbox.remove(sandbox).is_some() { self.save() } else { Ok(()) }
    }

    fn is_free(&self, ip: Ipv4Addr) -> bool {
        !self.by_sandbox.values().any(|taken| *taken == ip)
    }

    pub(crate) fn save(&self) -> Result<(), LeaseError> {
        let Some(file) = &self.file else { return Ok(()) };
        let leases: serde_json::Map<_, _> =
            self.by_sandbox.iter().map(|(sandbox, ip)| (sandbox.clone(), json!(ip.to_string()))).collect();
        let text = json!({"range": self.range.to_string(), "next": self.next, "leases": leases}).to_string();
        replace(file, text.as_bytes()).map_err(|source| LeaseError::Io { path: file.clone(), source })
    }
}

/// Replace a file whole or not at all.
fn replace(file: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(dir) = file.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let new = file.with_extension("new");
    let options = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).to_owned();
    options.open(&new)?.write_all(content)?;
    // Not fsynced: after a power cut there are no sandboxes that could hold an address.
    std::fs::rename(&new, file)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(text: &str) -> Cidr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_given_once_and_rest_before_they_return() {
        let mut leases = Leases::new(range("10.0.0.0/29"), None);
        let ip = |n: u8| Ipv4Addr::new(10, 0, 0, n);
        assert_eq!(leases.gateway(), ip(1));
        assert_eq!((leases.take("a").unwrap(), leases.take("b").unwrap()), (ip(2), ip(3)));
        assert_eq!(leases.take("a").unwrap(), ip(2), "asking again changes nothing");
        leases.release("a").unwrap();
        let rest: Vec<_> = ["c", "d", "e", "f"].map(|s| leases.take(s).unwrap()).into();
        assert_eq!(rest, [ip(4), ip(5), ip(6), ip(2)]);
        assert!(matches!(leases.take("g"), Err(LeaseError::Exhausted(_))));
    }

    #[test]
    fn adopted_addresses_are_kept() {
        let mut leases = Leases::new(range("10.0.0.0/29"), None);
        leases.adopt("old", Ipv4Addr::new(10, 0, 0, 2)).unwrap();
        leases.adopt("old", Ipv4Addr::new(10, 0, 0, 2)).unwrap();
        assert_eq!(leases.take("new").unwrap(), Ipv4Addr::new(10, 0, 0, 3));
        for wrong in [Ipv4Addr::new(10, 0, 0, 3), Ipv4Addr::new(10, 0, 0, 1), Ipv4Addr::new(10, 0, 1, 2)] {
            assert!(matches!(leases.adopt("other", wrong), Err(LeaseError::Taken { .. })), "{wrong}");
        }
    }

    #[test]
    fn leases_survive_on_disk() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("net/leases.json");
        assert!(Leases::load(&file).unwrap().is_none());
        let mut leases = Leases::new(range("10.0.0.0/24"), Some(file.clone()));
        let ip = leases.take("a").unwrap();
        let mut again = Leases::load(&file).unwrap().unwrap();
        assert_eq!((again.range(), again.take("a").unwrap()), (range("10.0.0.0/24"), ip));
        assert_ne!(again.take("b").unwrap(), ip);
        std::fs::write(&file, "{").unwrap();
        assert!(matches!(Leases::load(&file), Err(LeaseError::Unreadable { .. })));
    }
}
