//! A container's log: what comes out of it, cut into lines, stamped, written, rotated.

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use coracle_clock::Clock;

use crate::log::{Line, MAX_FILE, MAX_FILES, MAX_LINE, Stream};

pub(super) struct Log {
    path: PathBuf,
    file: File,
    written: u64,
    clock: Clock,
    /// The beginning of a line whose end has not come yet, of each stream.
    stdout: Vec<u8>,
    stderr: Vec<u8>,
    max_file: u64,
}

impl Log {
    pub(super) fn open(path: &Path, clock: &Clock) -> io::Result<Log> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir)?;
        }
        let file = append(path)?;
        let written = file.metadata()?.len();
        Ok(Log {
            path: path.into(),
            file,
            written,
            clock: clock.clone(),
            stdout: Vec::new(),
            stderr: Vec::new(),
            max_file: MAX_FILE,
        })
    }

    /// Errors (a full disk) must not stop the container: what cannot be written is lost.
    pub(super) fn write(&mut self, stream: Stream, bytes: &[u8]) {
        let timestamp = self.clock.now();
        let pending = if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr };
        let mut records = Vec::with_capacity(bytes.len() + 64);
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (content, ended) =
                piece.strip_suffix(b"\n").map_or((piece, false), |content| (content, true));
            let mut content = content;
            while pending.len() + content.len() > MAX_LINE {
                let (fits, rest) = content.split_at(MAX_LINE - pending.len());
                pending.extend_from_slice(fits);
                Line { timestamp, stream, partial: true, content: pending }.write_to(&mut records);
                pending.clear();
                content = rest;
            }
            if !ended {
                pending.extend_from_slice(content);
            } else if pending.is_empty() {
                Line { timestamp, stream, partial: false, content }.write_to(&mut records);
            } else {
                pending.extend_from_slice(content);
                Line { timestamp, stream, partial: false, content: pending }.write_to(&mut records);
                pending.clear();
            }
        }
        self.append(&records);
    }

    /// The stream has ended, perhaps in the middle of a line.
    pub(super) fn finish(&mut self, stream: Stream) {
        let pending =
            std::mem::take(if stream == Stream::Stdout { &mut self.stdout } else { &mut self.stderr });
        if !pending.is_empty() {
            let mut record = Vec::new();
            Line { timestamp: self.clock.now(), stream, partial: false, content: &pending }
                .write_to(&mut record);
            self.append(&record);
        }
    }

    fn append(&mut self, records: &[u8]) {
        if records.is_empty() {
            return;
        }
        if self.written > 0 && self.written + records.len() as u64 > self.max_file {
            // Better a long file than none.
            let _ = self.rotate();
        }
        if self.file.write_all(records).is_ok() {
            self.written += records.len() as u64;
        }
    }

    fn rotate(&mut self) -> io::Result<()> {
        let stamp = self.clock.now().strftime("%Y%m%d-%H%M%S.%6f").to_string();
        let mut rotated = self.path.clone().into_os_string();
        rotated.push(".");
        rotated.push(stamp);
        fs::rename(&self.path, rotated)?;
        self.file = append(&self.path)?;
        self.written = 0;
        self.prune()
    }

    fn prune(&self) -> io::Result<()> {
        let (Some(dir), Some(name)) = (self.path.parent(), self.path.file_name()) else { return Ok(()) };
        let prefix = format!("{}.", name.to_string_lossy());
        let rotated = fs::read_dir(dir)?.flatten().map(|entry| entry.path());
        let mut rotated: Vec<_> = rotated
            .filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(&prefix)))
            .collect();
        rotated.sort();
        let surplus = rotated.len().saturating_sub(MAX_FILES - 1);
        rotated.iter().take(surplus).try_for_each(fs::remove_file)
    }
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o640).custom_flags(libc::O_NOFOLLOW).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(path: &Path) -> Vec<String> {
        let text = fs::read_to_string(path).unwrap();
        text.lines().map(|line| line.split_once(' ').unwrap().1.to_owned()).collect()
    }

    #[test]
    fn lines_are_put_together_and_long_ones_cut() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("deep/0.log");
        let mut log = Log::open(&path, &Clock::system()).unwrap();
        log.write(Stream::Stdout, b"one\ntw");
        log.write(Stream::Stderr, b"oops\n");
        log.write(Stream::Stdout, b"o\n\nend");
        log.finish(Stream::Stdout);
        log.write(Stream::Stdout, &[b'x'; MAX_LINE + 1]);
        log.write(Stream::Stdout, b"\n");
        let long = format!("stdout P {}", "x".repeat(MAX_LINE));
        let expected = [
            "stdout F one",
            "stderr F oops",
            "stdout F two",
            "stdout F ",
            "stdout F end",
            &long,
            "stdout F x",
        ];
        assert_eq!(contents(&path), expected);
    }

    #[test]
    fn files_are_rotated_and_few_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0.log");
        let mut log = Log::open(&path, &Clock::system()).unwrap();
        log.max_file = 100;
        for number in 0..40 {
            log.write(Stream::Stdout, format!("line {number}\n").as_bytes());
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), MAX_FILES);
        assert_eq!(contents(&path).last().unwrap(), "stdout F line 39");
        for file in fs::read_dir(dir.path()).unwrap() {
            assert!(file.unwrap().metadata().unwrap().len() <= 100);
        }
    }

    #[test]
    fn a_symlink_in_the_place_of_the_log_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc/passwd", dir.path().join("0.log")).unwrap();
        assert!(Log::open(&dir.path().join("0.log"), &Clock::system()).is_err());
    }
}
