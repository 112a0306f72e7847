//! IPv4 ranges: parsing, overlap, and the n-th address.

use std::net::Ipv4Addr;
use std::str::FromStr;

/// An IPv4 range; `addr` is its first address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Cidr {
    addr: Ipv4Addr,
    len: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an IPv4 range like 10.244.0.0/16")]
pub struct ParseCidrError(String);

impl Cidr {
    /// The range of `len` leading bits around `addr`.
    pub const fn around(addr: Ipv4Addr, len: u8) -> Cidr {
        let len = if len > 32 { 32 } else { len };
        Cidr { addr: Ipv4Addr::from_bits(addr.to_bits() & mask(len)), len }
    }

    pub fn addr(self) -> Ipv4Addr {
        self.addr
    }

    pub fn prefix_len(self) -> u8 {
        self.len
    }

    pub fn contains(self, addr: Ipv4Addr) -> bool {
        addr.to_bits() & mask(self.len) == self.addr.to_bits()
    }

    pub fn overlaps(self, other: Cidr) -> bool {
        self.contains(other.addr) || other.contains(self.addr)
    }

    /// How many addresses the range has.
    pub fn size(self) -> u64 {
        1 << (32 - self.len)
    }

    /// The `n`-th address, counted from 0.
    pub fn nth(self, n: u32) -> Option<Ipv4Addr> {
        let addr = self.addr.to_bits().checked_add(n)?;
        (u64::from(n) < self.size()).then_some(Ipv4Addr::from_bits(addr))
    }

    /// The ranges of `len` bits in this one.
    pub fn subnets(self, len: u8) -> impl Iterator<Item = Cidr> {
        let count = if len < self.len || len > 32 { 0 } else { 1_u64 << (len - self.len) };
        (0..count).map(move |n| {
            let offset = u32::try_from(n << (32 - len)).unwrap_or(0);
            Cidr::around(Ipv4Addr::from_bits(self.addr.to_bits() | offset), len)
        })
    }
}

const fn mask(len: u8) -> u32 {
    if len == 0 { 0 } else { u32::MAX << (32 - len) }
}

impl FromStr for Cidr {
    type Err = ParseCidrError;

    fn from_str(text: &str) -> Result<Cidr, ParseCidrError> {
        let parse = || {
            let (addr, len) = text.split_once('/')?;
            let len: u8 = len.parse().ok().filter(|len| *len <= 32)?;
            Some(Cidr::around(addr.parse().ok()?, len))
        };
        parse().ok_or_else(|| ParseCidrError(text.to_owned()))
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_know_what_they_hold() {
        let range: Cidr = "10.244.3.7/16".parse().unwrap();
        assert_eq!(range.to_string(), "10.244.0.0/16");
        assert_eq!(range.nth(10).unwrap().to_string(), "10.244.0.10");
        assert_eq!(range.nth(65536), None);
        assert!(range.contains("10.244.255.255".parse().unwrap()));
        assert!(!range.contains("10.245.0.0".parse().unwrap()));
        assert!(range.overlaps("10.0.0.0/8".parse().unwrap()));
        assert!(range.overlaps("0.0.0.0/0".parse().unwrap()));
        assert!(!range.overlaps("10.245.0.0/16".parse().unwrap()));
        let subnets: Vec<_> = range.subnets(24).map(|s| s.to_string()).collect();
        assert_eq!((subnets.len(), &*subnets[1], &*subnets[255]), (256, "10.244.1.0/24", "10.244.255.0/24"));
        for wrong in ["", "10.244.0.0", "10.244.0.0/33", "x/8", "10.244.0/8"] {
            assert!(wrong.parse::<Cidr>().is_err(), "{wrong}");
        }
    }
}
