//! Volumes in memory: mounts a tmpfs where confidential files and `medium: Memory` directories live.

use std::io;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};

/// Whether volumes in memory are real mounts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Memory {
    Mounted,
    /// Plain directories, for a kubelet that may not mount.
    Disk,
}

/// Mounts a tmpfs at `dir` unless there is one.
pub(crate) fn ensure(dir: &Path, limit: Option<i64>, memory: Memory) -> io::Result<()> {
    if memory == Memory::Disk || mounts_below(dir)?.iter().any(|mounted| mounted == dir) {
        return Ok(());
    }
    let options = match limit {
        Some(limit) => format!("size={limit},mode=1777"),
        None => "mode=1777".to_owned(),
    };
    let flags = MsFlags::MS_NODEV | MsFlags::MS_NOSUID;
    mount(Some("tmpfs"), dir, Some("tmpfs"), flags, Some(options.as_str())).map_err(io::Error::from)
}

/// Unmounts everything at or below `dir`, the last mounted first.
pub(crate) fn unmount_below(dir: &Path) -> io::Result<()> {
    for mounted in mounts_below(dir)?.into_iter().rev() {
        match umount2(&mounted, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

fn mounts_below(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let table = std::fs::read_to_string("/proc/self/mountinfo")?;
    // Mount points in the table have no symlinks in them.
    let dir = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
    Ok(mount_points(&table).filter(|point| point.starts_with(&dir)).collect())
}

fn mount_points(table: &str) -> impl Iterator<Item = PathBuf> {
    table.lines().filter_map(|line| line.split(' ').nth(4)).map(|point| PathBuf::from(unescape(point)))
}

/// The kernel writes blanks, tabs, newlines and backslashes as three octal digits.
fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        match rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => {
                out.push(char::from(byte));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let table = "36 35 98:0 / /a\\040b rw - tmpfs tmpfs rw\n37 35 0:1 / /c rw - proc proc rw\n";
        let points: Vec<_> = mount_points(table).collect();
        assert_eq!(points, [PathBuf::from("/a b"), PathBuf::from("/c")]);
    }
}
