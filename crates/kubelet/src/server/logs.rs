//! `/containerLogs/NAMESPACE/POD/CONTAINER`: a container's log, as far as asked for, and as it grows.

use std::io::{self, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use coracle_runtime::log::{Line, Stream, format_timestamp};
use coracle_runtime::{ContainerState, Runtime};
use jiff::Timestamp;
use tokio::fs::File;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncSeekExt, BufReader};
use tokio::sync::mpsc;

use super::query::Query;
use crate::Shared;

/// Output is sent in pieces of about this size.
const CHUNK: usize = 32 * 1024;
/// A log is read backwards in blocks of this size to find its last lines.
const BLOCK: u64 = 64 * 1024;
/// How often a followed log is looked at.
const POLL: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) follow: bool,
    pub(crate) previous: bool,
    pub(crate) timestamps: bool,
    pub(crate) tail: Option<u64>,
    pub(crate) since: Option<Timestamp>,
    pub(crate) limit: Option<u64>,
    pub(crate) stream: Option<Stream>,
}

impl Options {
    pub(crate) fn parse(query: &Query, now: Timestamp) -> Result<Options, String> {
        let number = |name: &str| match query.first(name).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(value)) => Ok(Some(value)),
            Some(Err(_)) => Err(format!("invalid {name}")),
        };
        let ago =
            number("sinceSeconds")?.and_then(|seconds| now.checked_sub(Duration::from_secs(seconds)).ok());
        let at = match query.first("sinceTime").map(str::parse::<Timestamp>) {
            None => None,
            Some(Ok(at)) => Some(at),
            Some(Err(_)) => return Err("invalid sinceTime".to_owned()),
        };
        Ok(Options {
            follow: query.is_set("follow"),
            previous: query.is_set("previous"),
            timestamps: query.is_set("timestamps"),
            tail: number("tailLines")?,
            since: at.or(ago),
            limit: number("limitBytes")?,
            stream: match query.first("stream") {
                Some("Stdout") => Some(Stream::Stdout),
                Some("Stderr") => Some(Stream::Stderr),
                _ => None,
            },
        })
    }
}

/// Turns records of the log into what the client reads.
#[derive(Debug)]
struct Printer {
    options: Options,
    left: Option<u64>,
    /// The last record ended a line, so that the next one begins with its time.
    fresh: bool,
}

impl Printer {
    fn new(options: Options) -> Printer {
        Printer { left: options.limit, options, fresh: true }
    }

    /// Returns whether more may be written.
    fn print(&mut self, record: &[u8], out: &mut Vec<u8>) -> bool {
        let Some(line) = Line::parse(record) else { return true };
        let early = self.options.since.is_some_and(|since| line.timestamp < since);
        if early || self.options.stream.is_some_and(|stream| stream != line.stream) {
            return true;
        }
        let start = out.len();
        if self.options.timestamps && self.fresh {
            out.extend_from_slice(format_timestamp(line.timestamp).as_bytes());
            out.push(b' ');
        }
        out.extend_from_slice(line.content);
        if !line.partial {
            out.push(b'\n');
        }
        self.fresh = !line.partial;
        let Some(left) = &mut self.left else { return true };
        let written = (out.len() - start) as u64;
        if written >= *left {
            out.truncate(start + usize::try_from(*left).unwrap_or(usize::MAX));
            *left = 0;
            return false;
        }
        *left -= written;
        true
    }
}

/// What is sent to the client, until it goes away.
pub(crate) type Sender = mpsc::Sender<io::Result<Bytes>>;

/// The log of one container attempt.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) shared: Arc<Shared>,
    pub(crate) container_id: String,
    pub(crate) path: PathBuf,
}

impl Log {
    /// Sends what `options` ask for; ends when the client has gone or, if following, the container has.
    pub(crate) async fn send(self, options: Options, sender: Sender) {
        if let Err(error) = self.copy(options, &sender).await {
            let _ = sender.send(Err(error)).await;
        }
    }

    async fn copy(&self, options: Options, sender: &Sender) -> io::Result<()> {
        let follow = options.follow;
        let mut file = File::open(&self.path).await?;
        let start = match options.tail {
            Some(lines) => tail_offset(&mut file, lines).await?,
            None => 0,
        };
        file.seek(SeekFrom::Start(start)).await?;
        let mut reader = BufReader::new(file);
        let mut printer = Printer::new(options);
        let (mut record, mut out) = (Vec::new(), Vec::new());
        let mut over = false;
        loop {
            let read = reader.read_until(b'\n', &mut record).await?;
            if record.last() == Some(&b'\n') {
                record.pop();
                let more = printer.print(&record, &mut out);
                record.clear();
                if !more {
                    return flush(&mut out, sender).await.map(drop);
                }
                if out.len() >= CHUNK && !flush(&mut out, sender).await? {
                    return Ok(());
                }
                continue;
            }
            if read > 0 {
                continue;
            }
            if !flush(&mut out, sender).await? || !follow {
                return Ok(());
            }
            if let Some(next) = rotated(reader.get_ref(), &self.path).await? {
                reader = BufReader::new(next);
                record.clear();
            } else if over {
                return Ok(());
            } else {
                // What it wrote before its end may come after this look at the file: read once more.
                over = !self.is_running().await;
                if !over {
                    tokio::select! {
                        () = self.shared.clock.sleep(POLL) => {}
                        () = sender.closed() => return Ok(()),
                    }
                }
            }
        }
    }

    async fn is_running(&self) -> bool {
        let status = Runtime::container_status(&*self.shared.runtime, &self.container_id).await;
        status.is_ok_and(|status| matches!(status.state, ContainerState::Running | ContainerState::Created))
    }
}

/// Returns whether the client still listens.
async fn flush(out: &mut Vec<u8>, sender: &Sender) -> io::Result<bool> {
    if out.is_empty() {
        return Ok(!sender.is_closed());
    }
    Ok(sender.send(Ok(Bytes::from(std::mem::take(out)))).await.is_ok())
}

/// The new file, when the log has been renamed away from under the open one.
async fn rotated(open: &File, path: &Path) -> io::Result<Option<File>> {
    let present = match tokio::fs::metadata(path).await {
        Ok(present) => present,
        // Between the renaming and the making of the new file.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    if present.ino() == open.metadata().await?.ino() {
        return Ok(None);
    }
    File::open(path).await.map(Some)
}

/// Where the last `lines` records begin.
async fn tail_offset(file: &mut File, lines: u64) -> io::Result<u64> {
    let length = file.metadata().await?.len();
    if lines == 0 {
        return Ok(length);
    }
    // The newline at the very end closes the last record.
    let mut wanted = lines + 1;
    let mut end = length;
    let mut block = Vec::new();
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        file.seek(SeekFrom::Start(start)).await?;
        block.clear();
        let size = end - start;
        (&mut *file).take(size).read_to_end(&mut block).await?;
        if end == length && block.last() != Some(&b'\n') {
            wanted -= 1;
        }
        for (at, byte) in block.iter().enumerate().rev() {
            if *byte == b'\n' {
                wanted -= 1;
                if wanted == 0 {
                    return Ok(start + at as u64 + 1);
                }
            }
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "2026-01-01T00:00:01.000000000Z stdout F one\n\
        2026-01-01T00:00:02.000000000Z stderr P tw\n\
        2026-01-01T00:00:03.000000000Z stderr F o\n\
        2026-01-01T00:00:04.000000000Z stdout F three\n";

    fn print(query: &str) -> String {
        let now = "2026-01-01T00:00:05Z".parse().unwrap();
        let mut printer = Printer::new(Options::parse(&Query::parse(query), now).unwrap());
        let mut out = Vec::new();
        for record in LOG.lines() {
            if !printer.print(record.as_bytes(), &mut out) {
                break;
            }
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn records_become_lines() {
        assert_eq!(print(""), "one\ntwo\nthree\n");
        assert_eq!(print("sinceSeconds=1"), "three\n");
        assert_eq!(print("sinceTime=2026-01-01T00:00:04Z"), "three\n");
        assert_eq!(print("limitBytes=6"), "one\ntw");
        assert_eq!(print("stream=Stderr"), "two\n");
        assert_eq!(
            print("timestamps=true"),
            "2026-01-01T00:00:01.000000000Z one\n2026-01-01T00:00:02.000000000Z two\n\
             2026-01-01T00:00:04.000000000Z three\n"
        );
        assert!(Options::parse(&Query::parse("tailLines=-1"), Timestamp::UNIX_EPOCH).is_err());
    }

    #[tokio::test]
    async fn the_tail_is_found_from_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "a\nbb\nccc\n").unwrap();
        let mut file = File::open(&path).await.unwrap();
        for (lines, want) in [(0, 9), (1, 5), (2, 2), (3, 0), (9, 0)] {
            assert_eq!(tail_offset(&mut file, lines).await.unwrap(), want, "{lines}");
        }
        std::fs::write(&path, "x\n".repeat(100_000)).unwrap();
        let mut file = File::open(&path).await.unwrap();
        assert_eq!(tail_offset(&mut file, 60_000).await.unwrap(), 80_000);
    }
}
