//! The CRI log format: `TIMESTAMP STREAM TAG CONTENT`, one line each.

use std::io::Write;

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A longer line is cut into parts tagged `P`; 16 KiB is what containerd and CRI-O use.
pub const MAX_LINE: usize = 16 * 1024;

/// A log file is renamed to `NAME.TIMESTAMP` beyond this size: the kubelet's containerLogMaxSize default.
pub const MAX_FILE: u64 = 10 * 1024 * 1024;

/// Files kept of a container, the current one included: the kubelet's containerLogMaxFiles default.
pub const MAX_FILES: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    pub fn as_str(self) -> &'static str {
        match self {
            Stream::Stdout => "stdout",
            Stream::Stderr => "stderr",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    pub timestamp: Timestamp,
    pub stream: Stream,
    /// The line goes on in the next record of the same stream.
    pub partial: bool,
    /// Without the newline.
    pub content: &'a [u8],
}

impl<'a> Line<'a> {
    /// From one record without its newline; `None` when it is not one.
    pub fn parse(record: &'a [u8]) -> Option<Line<'a>> {
        let mut fields = record.splitn(4, |byte| *byte == b' ');
        let timestamp = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        let stream = match fields.next()? {
            b"stdout" => Stream::Stdout,
            b"stderr" => Stream::Stderr,
            _ => return None,
        };
        let tag = fields.next()?;
        let partial = tag.split(|byte| *byte == b':').next() == Some(b"P");
        Some(Line { timestamp, stream, partial, content: fields.next().unwrap_or_default() })
    }

    /// Append the record, newline included.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        let tag = if self.partial { 'P' } else { 'F' };
        write!(out, "{} {} {tag} ", format_timestamp(self.timestamp), self.stream.as_str())
            .expect("writing to a Vec does not fail");
        out.extend_from_slice(self.content);
        out.push(b'\n');
    }
}

/// RFC 3339 with nanoseconds, always nine digits so that records sort by text.
pub fn format_timestamp(timestamp: Timestamp) -> String {
    timestamp.to_zoned(TimeZone::UTC).strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_round_trip() {
        let timestamp: Timestamp = "2026-01-02T03:04:05.060708091Z".parse().unwrap();
        for (stream, partial, content) in [
            (Stream::Stdout, false, &b"a b  c"[..]),
            (Stream::Stderr, true, b""),
            (Stream::Stdout, false, b" "),
        ] {
            let line = Line { timestamp, stream, partial, content };
            let mut record = Vec::new();
            line.write_to(&mut record);
            assert_eq!(Line::parse(record.strip_suffix(b"\n").unwrap()), Some(line));
        }
    }

    #[test]
    fn writes_what_kubectl_logs_reads() {
        let mut record = Vec::new();
        let timestamp = "2026-01-02T03:04:05Z".parse().unwrap();
        Line { timestamp, stream: Stream::Stdout, partial: false, content: b"hello" }.write_to(&mut record);
        assert_eq!(record, b"2026-01-02T03:04:05.000000000Z stdout F hello\n");
    }

    #[test]
    fn refuses_what_is_no_record() {
        for record in [&b""[..], b"hello", b"2026-01-02T03:04:05Z stdin F x", b"yesterday stdout F x"] {
            assert_eq!(Line::parse(record), None, "{:?}", String::from_utf8_lossy(record));
        }
    }
}
