//! Addresses and blocks of them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use super::{Result, Row, fail, no_overload};
use crate::cel::value::Val;
use crate::cidr::Cidr;

const TEST: &[&str] = &["net.IP.() -> bool"];

pub(super) const ROWS: &[Row] = &[
    ("ip", &["(string) -> net.IP", "net.CIDR.() -> net.IP"], |a| match &a[0] {
        Val::String(s) => read_ip(s).map_or_else(fail, |ip| Ok(Val::Ip(ip))),
        Val::Cidr(cidr) => Ok(Val::Ip(Ip(cidr.address))),
        _ => no_overload(),
    }),
    ("isIP", &["(string) -> bool"], |a| text(&a, |s| read_ip(s).is_ok())),
    ("ip.isCanonical", &["(string) -> bool"], |a| match &a[0] {
        Val::String(s) => read_ip(s).map_or_else(fail, |ip| Ok(Val::Bool(ip.to_string() == **s))),
        _ => no_overload(),
    }),
    ("family", &["net.IP.() -> int"], |a| match &a[0] {
        Val::Ip(ip) => Ok(Val::Int(if ip.0.is_ipv4() { 4 } else { 6 })),
        _ => no_overload(),
    }),
    ("isUnspecified", TEST, |a| test(&a, |ip| ip.is_unspecified())),
    ("isLoopback", TEST, |a| test(&a, |ip| ip.is_loopback())),
    ("isLinkLocalMulticast", TEST, |a| {
        test(&a, |ip| match ip {
            IpAddr::V4(v4) => v4.octets()[..3] == [224, 0, 0],
            IpAddr::V6(v6) => v6.segments()[0] & 0xff0f == 0xff02,
        })
    }),
    ("isLinkLocalUnicast", TEST, |a| test(&a, is_link_local)),
    ("isGlobalUnicast", TEST, |a| {
        test(&a, |ip| {
            let broadcast = ip == IpAddr::V4(Ipv4Addr::BROADCAST);
            !(broadcast || ip.is_unspecified() || ip.is_loopback() || ip.is_multicast() || is_link_local(ip))
        })
    }),
    ("cidr", &["(string) -> net.CIDR"], |a| match &a[0] {
        Val::String(s) => read_cidr(s).map_or_else(fail, |cidr| Ok(Val::Cidr(cidr))),
        _ => no_overload(),
    }),
    ("isCIDR", &["(string) -> bool"], |a| text(&a, |s| read_cidr(s).is_ok())),
    ("containsIP", &["net.CIDR.(string) -> bool", "net.CIDR.(net.IP) -> bool"], |a| match &a[..] {
        [Val::Cidr(cidr), Val::Ip(ip)] => Ok(Val::Bool(cidr.contains(ip.0))),
        [Val::Cidr(cidr), Val::String(s)] => {
            read_ip(s).map_or_else(fail, |ip| Ok(Val::Bool(cidr.contains(ip.0))))
        }
        _ => no_overload(),
    }),
    ("containsCIDR", &["net.CIDR.(string) -> bool", "net.CIDR.(net.CIDR) -> bool"], |a| match &a[..] {
        [Val::Cidr(cidr), Val::Cidr(other)] => Ok(Val::Bool(cidr.holds(*other))),
        [Val::Cidr(cidr), Val::String(s)] => {
            read_cidr(s).map_or_else(fail, |other| Ok(Val::Bool(cidr.holds(other))))
        }
        _ => no_overload(),
    }),
    ("masked", &["net.CIDR.() -> net.CIDR"], |a| match &a[0] {
        Val::Cidr(cidr) => Ok(Val::Cidr(cidr.masked())),
        _ => no_overload(),
    }),
    ("prefixLength", &["net.CIDR.() -> int"], |a| match &a[0] {
        Val::Cidr(cidr) => Ok(Val::Int(i64::from(cidr.bits))),
        _ => no_overload(),
    }),
];

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ip(IpAddr);

fn bytes(ip: IpAddr) -> u64 {
    if ip.is_ipv4() { 4 } else { 16 }
}

impl Ip {
    pub(crate) fn size(self) -> u64 {
        bytes(self.0)
    }
}

impl fmt::Display for Ip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// As the reference counts it: the bytes that the prefix covers.
pub(crate) fn cidr_size(cidr: Cidr) -> u64 {
    u64::from(cidr.bits).div_ceil(8)
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.segments()[0] & 0xffc0 == 0xfe80,
    }
}

fn test<'a>(args: &[Val<'_>], holds: fn(IpAddr) -> bool) -> Result<'a> {
    match args {
        [Val::Ip(ip)] => Ok(Val::Bool(holds(ip.0))),
        _ => no_overload(),
    }
}

fn text<'a>(args: &[Val<'_>], holds: fn(&str) -> bool) -> Result<'a> {
    match args {
        [Val::String(s)] => Ok(Val::Bool(holds(s))),
        _ => no_overload(),
    }
}

fn read_ip(text: &str) -> std::result::Result<Ip, String> {
    if text.contains('%') {
        return Err(format!("IP address {text:?} with zone value is not allowed"));
    }
    let why = || {
        format!(
            "IP Address {text:?} parse error during conversion from string: ParseAddr({text:?}): unable to parse IP"
        )
    };
    match text.parse().map_err(|_| why())? {
        IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some() => {
            Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"))
        }
        ip => Ok(Ip(ip)),
    }
}

fn read_cidr(text: &str) -> std::result::Result<Cidr, String> {
    let why = || {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): no '/'"
        )
    };
    let (address, bits) = text.split_once('/').ok_or_else(why)?;
    let bad = || {
        format!(
            "network address parse error during conversion from string: netip.ParsePrefix({text:?}): bad prefix"
        )
    };
    if address.contains('%') {
        return Err(format!("CIDR {text:?} with zone value is not allowed"));
    }
    let address: IpAddr = address.parse().map_err(|_| bad())?;
    if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        return Err(format!("IPv4-mapped IPv6 address {text:?} is not allowed"));
    }
    let plain = bits == "0" || (!bits.starts_with('0') && bits.bytes().all(|b| b.is_ascii_digit()));
    let bits: u8 = if plain { bits.parse().map_err(|_| bad())? } else { return Err(bad()) };
    if u64::from(bits) > 8 * bytes(address) {
        return Err(bad());
    }
    Ok(Cidr { address, bits })
}
