//! The last words of a container: its termination message, or the end of its log.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use coracle_runtime::ContainerStatus;
use coracle_runtime::log::Line;

use super::container_config::{MESSAGE_PATH, MESSAGE_POLICY};

/// The longest message, in bytes.
const MAX_MESSAGE: u64 = 4096;
/// Of a log that stands in for a message: its last lines and bytes.
const MAX_LOG_LINES: usize = 80;
const MAX_LOG_BYTES: usize = 2048;
/// Enough of a log file to hold that, timestamps included.
const LOG_TAIL: u64 = 32 * 1024;

pub(crate) fn termination_message(container: &ContainerStatus) -> String {
    let path = container.annotations.get(MESSAGE_PATH);
    let mount = path.and_then(|path| container.mounts.iter().find(|it| it.container_path == Path::new(path)));
    let message = mount.and_then(|mount| read_start(&mount.host_path)).unwrap_or_default();
    let fall_back = container.annotations.get(MESSAGE_POLICY).is_some_and(|it| it == "FallbackToLogsOnError");
    if message.is_empty() && fall_back && container.exit_code != 0 {
        return read_log_end(&container.log_path).unwrap_or_default();
    }
    message
}

fn read_start(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(MAX_MESSAGE).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

fn read_log_end(path: &Path) -> Option<String> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(LOG_TAIL))).ok()?;
    let mut bytes = Vec::new();
    file.take(LOG_TAIL).read_to_end(&mut bytes).ok()?;
    let mut text = Vec::new();
    let records: Vec<&[u8]> = bytes.split(|byte| *byte == b'\n').collect();
    let lines: Vec<Line<'_>> = records.into_iter().filter_map(Line::parse).collect();
    for line in lines.iter().skip(lines.len().saturating_sub(MAX_LOG_LINES)) {
        text.extend_from_slice(line.content);
        if !line.partial {
            text.push(b'\n');
        }
    }
    let start = text.len().saturating_sub(MAX_LOG_BYTES);
    Some(String::from_utf8_lossy(&text[start..]).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::plan::tests::container;

    #[test]
    fn the_log_stands_in_when_the_policy_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut status = container("s", "c", 0, "1");
        status.log_path = dir.path().join("0.log");
        std::fs::write(&status.log_path, "2026-01-01T00:00:00Z stderr F boom\n").unwrap();
        assert_eq!(termination_message(&status), "");
        status.annotations.insert(MESSAGE_POLICY.into(), "FallbackToLogsOnError".into());
        assert_eq!(termination_message(&status), "boom\n");
    }
}
