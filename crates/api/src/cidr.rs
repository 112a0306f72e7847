//! Blocks of IP addresses, as `10.96.0.0/12` writes them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cidr {
    pub address: IpAddr,
    pub bits: u8,
}

/// Not an address block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl FromStr for Cidr {
    type Err = Malformed;

    fn from_str(text: &str) -> Result<Cidr, Malformed> {
        let (address, bits) = text.split_once('/').ok_or(Malformed)?;
        let address: IpAddr = address.parse().map_err(|_| Malformed)?;
        let is_number = bits.bytes().all(|b| b.is_ascii_digit());
        let bits = bits.parse::<u8>().ok().filter(|n| is_number && *n <= width(address)).ok_or(Malformed)?;
        Ok(Cidr { address, bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

fn width(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

impl Cidr {
    /// The block itself, whichever of its addresses it was written with.
    pub fn masked(self) -> Cidr {
        let address = match self.address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                Ipv4Addr::from(u32::from(v4) & mask).into()
            }
            IpAddr::V6(v6) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                Ipv6Addr::from(u128::from(v6) & mask).into()
            }
        };
        Cidr { address, bits: self.bits }
    }

    pub fn contains(self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.address.is_ipv4()
            && Cidr { address: ip, bits: self.bits }.masked().address == self.masked().address
    }

    /// Whether all of `other` lies within.
    pub fn holds(self, other: Cidr) -> bool {
        other.bits >= self.bits && self.contains(other.masked().address)
    }

    /// Whether a Service may have this address from here: neither the block's first, its network, nor the last of an
    /// IPv4 block, its broadcast address.
    pub fn can_give(self, ip: IpAddr) -> bool {
        let last = match (self.masked().address, ip) {
            (IpAddr::V4(base), IpAddr::V4(v4)) => {
                let hosts = u32::MAX.checked_shr(u32::from(self.bits)).unwrap_or(0);
                u32::from(v4) == u32::from(base) | hosts
            }
            _ => false,
        };
        self.contains(ip) && self.masked().address != ip && !last
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_read_and_written() {
        for good in ["10.96.0.0/12", "0.0.0.0/0", "::/0", "fd00::/112", "10.0.0.7/8"] {
            assert_eq!(good.parse::<Cidr>().map(|c| c.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", "10.0.0.0", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/+8", "::/129", "010.0.0.0/8", "a/8"]
        {
            assert_eq!(bad.parse::<Cidr>(), Err(Malformed), "{bad}");
        }
    }

    #[test]
    fn what_a_block_holds_and_gives() {
        let cidr = |text: &str| text.parse::<Cidr>().unwrap();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let small = cidr("10.0.0.8/29");
        assert_eq!(cidr("10.0.0.13/29").masked(), small);
        assert!(cidr("10.0.0.0/8").holds(small) && small.holds(small) && !small.holds(cidr("10.0.0.0/8")));
        let given = ["10.0.0.8", "10.0.0.9", "10.0.0.14", "10.0.0.15", "10.0.0.16", "::1"];
        assert_eq!(given.map(|a| small.can_give(ip(a))), [false, true, true, false, false, false]);
        assert_eq!(
            ["fd00::", "fd00::1", "fd00::ff"].map(|a| cidr("fd00::/120").can_give(ip(a))),
            [false, true, true]
        );
        assert!(
            !cidr("0.0.0.0/0").can_give(ip("255.255.255.255"))
                && !cidr("10.0.0.1/32").can_give(ip("10.0.0.1"))
        );
    }
}
