//! Protobuf's wire format: tags, varints, and runs of bytes.

use super::Error;

pub(super) const VARINT: u8 = 0;
pub(super) const FIXED64: u8 = 1;
pub(super) const BYTES: u8 = 2;
const FIXED32: u8 = 5;

pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Reader<'a> {
        Reader { rest: data }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    /// The next field's number and wire type; none at the end.
    pub(super) fn tag(&mut self) -> Result<Option<(u32, u8)>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        match u32::try_from(tag >> 3) {
            Ok(number) if number != 0 => Ok(Some((number, (tag & 7) as u8))),
            _ => Err(Error::Tag(tag)),
        }
    }

    pub(super) fn varint(&mut self) -> Result<u64, Error> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first().ok_or(Error::Truncated)?;
            self.rest = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Error::Truncated)
    }

    pub(super) fn fixed64(&mut self) -> Result<[u8; 8], Error> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(*taken)
    }

    /// A length and that many bytes: a message, a text, raw bytes.
    pub(super) fn bytes(&mut self, wire: u8, field: &str) -> Result<&'a [u8], Error> {
        if wire != BYTES {
            return Err(Error::WireType { wire, field: field.to_owned() });
        }
        let length = usize::try_from(self.varint()?).map_err(|_| Error::Truncated)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(Error::Truncated)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn text(&mut self, wire: u8, field: &str) -> Result<String, Error> {
        let bytes = self.bytes(wire, field)?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Error::Text(field.to_owned()))
    }

    pub(super) fn skip(&mut self, wire: u8) -> Result<(), Error> {
        match wire {
            VARINT => self.varint().map(drop),
            FIXED64 => self.fixed64().map(drop),
            BYTES => self.bytes(wire, "").map(drop),
            FIXED32 => {
                let (_, rest) = self.rest.split_at_checked(4).ok_or(Error::Truncated)?;
                self.rest = rest;
                Ok(())
            }
            other => Err(Error::Tag(other.into())),
        }
    }
}

fn put_raw_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

pub(crate) fn put_varint(out: &mut Vec<u8>, number: u32, value: u64) {
    put_raw_varint(out, u64::from(number) << 3 | u64::from(VARINT));
    put_raw_varint(out, value);
}

pub(crate) fn put_fixed64(out: &mut Vec<u8>, number: u32, value: [u8; 8]) {
    put_raw_varint(out, u64::from(number) << 3 | u64::from(FIXED64));
    out.extend_from_slice(&value);
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, number: u32, value: &[u8]) {
    put_head(out, number, value.len());
    out.extend_from_slice(value);
}

/// What comes before a run of so many bytes.
pub(crate) fn put_head(out: &mut Vec<u8>, number: u32, length: usize) {
    put_raw_varint(out, u64::from(number) << 3 | u64::from(BYTES));
    put_raw_varint(out, length as u64);
}
