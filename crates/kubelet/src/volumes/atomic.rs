//! Publishes a set of files into a directory in one atomic step, so that a reader sees the old set or the new one.
//!
//! Names in the directory are symlinks to `..data/NAME`; `..data` is a symlink to a directory with a time in its name,
//! and an update renames a new `..data` over the old one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;

const DATA: &str = "..data";
const NEW_DATA: &str = "..data_tmp";
/// The longest path inside a volume that the reference accepts.
const MAX_PATH: usize = 4096;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) data: Vec<u8>,
    pub(crate) mode: u32,
    /// The user who is to own it when that is not root.
    pub(crate) owner: Option<u32>,
}

pub(crate) type Payload = BTreeMap<String, File>;

/// Makes `target` hold exactly `payload`; returns whether anything changed. With `group`, files and directories belong
/// to that group, which may read them.
pub(crate) fn publish(
    target: &Path,
    payload: &Payload,
    group: Option<u32>,
    now: Timestamp,
) -> io::Result<bool> {
    for path in payload.keys() {
        check_path(path)?;
    }
    let data = target.join(DATA);
    let old = fs::read_link(&data).ok().map(|link| target.join(link));
    if let Some(old) = &old
        && holds_exactly(old, payload)?
    {
        link_names(target, payload)?;
        return Ok(false);
    }
    let new = make_timestamped(target, now)?;
    for (path, file) in payload {
        write_file(&new, Path::new(path), file)?;
    }
    if let Some(group) = group {
        super::ownership::give_to_group(&new, group, super::ownership::Access::ReadOnly)?;
    }
    let name = new.file_name().ok_or_else(|| io::Error::other("a timestamped directory has a name"))?;
    let link = target.join(NEW_DATA);
    remove_if_there(&link)?;
    symlink(name, &link)?;
    fs::rename(&link, &data)?;
    link_names(target, payload)?;
    remove_stale_names(target, payload)?;
    if let Some(old) = old.filter(|old| *old != new) {
        match fs::remove_dir_all(&old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(true)
}

fn check_path(path: &str) -> io::Result<()> {
    let relative = Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    if path.is_empty() || path.len() > MAX_PATH || !relative || path.starts_with("..") {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("invalid path {path:?}")));
    }
    Ok(())
}

fn holds_exactly(dir: &Path, payload: &Payload) -> io::Result<bool> {
    let mut found = BTreeSet::new();
    collect_files(dir, Path::new(""), &mut found)?;
    if found.len() != payload.len() {
        return Ok(false);
    }
    for (path, file) in payload {
        if !found.contains(Path::new(path)) || fs::read(dir.join(path))? != file.data {
            return Ok(false);
        }
    }
    Ok(true)
}

fn collect_files(dir: &Path, below: &Path, found: &mut BTreeSet<PathBuf>) -> io::Result<()> {
    let entries = match fs::read_dir(dir.join(below)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        other => other?,
    };
    for entry in entries {
        let entry = entry?;
        let path = below.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            collect_files(dir, &path, found)?;
        } else {
            found.insert(path);
        }
    }
    Ok(())
}

fn make_timestamped(target: &Path, now: Timestamp) -> io::Result<PathBuf> {
    let time = now.strftime("%Y_%m_%d_%H_%M_%S").to_string();
    loop {
        let dir = target.join(format!("..{time}.{}", rand::random::<u32>()));
        match fs::create_dir(&dir) {
            Ok(()) => {
                fs::set_permissions(&dir, Permissions::from_mode(0o755))?;
                return Ok(dir);
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}

fn write_file(dir: &Path, path: &Path, file: &File) -> io::Result<()> {
    let full = dir.join(path);
    if let Some(parent) = full.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(&full, &file.data)?;
    fs::set_permissions(&full, Permissions::from_mode(file.mode))?;
    if let Some(owner) = file.owner {
        chown(&full, Some(owner), None)?;
    }
    Ok(())
}

fn top_names(payload: &Payload) -> BTreeSet<&str> {
    payload.keys().filter_map(|path| path.split('/').next()).collect()
}

fn link_names(target: &Path, payload: &Payload) -> io::Result<()> {
    for name in top_names(payload) {
        let link = target.join(name);
        if fs::symlink_metadata(&link).is_err() {
            symlink(Path::new(DATA).join(name), &link)?;
        }
    }
    Ok(())
}

fn remove_stale_names(target: &Path, payload: &Payload) -> io::Result<()> {
    let wanted = top_names(payload);
    for entry in fs::read_dir(target)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if !name.starts_with("..") && !wanted.contains(name.as_ref()) && entry.file_type()?.is_symlink() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn remove_if_there(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(files: &[(&str, &str)]) -> Payload {
        let file = |text: &str| File { data: text.as_bytes().to_vec(), mode: 0o644, owner: None };
        files.iter().map(|(path, text)| ((*path).to_owned(), file(text))).collect()
    }

    #[test]
    fn files_are_published_behind_symlinks() {
        let dir = tempfile::tempdir().unwrap();
        let now: Timestamp = "2026-03-04T05:06:07Z".parse().unwrap();
        assert!(publish(dir.path(), &payload(&[("token", "t1"), ("sub/a", "x")]), None, now).unwrap());
        assert_eq!(fs::read_link(dir.path().join("token")).unwrap(), Path::new("..data/token"));
        assert_eq!(fs::read_link(dir.path().join("sub")).unwrap(), Path::new("..data/sub"));
        let first = fs::read_link(dir.path().join("..data")).unwrap();
        assert!(first.to_str().unwrap().starts_with("..2026_03_04_05_06_07."), "{first:?}");
        assert_eq!(fs::read_to_string(dir.path().join("sub/a")).unwrap(), "x");
    }

    #[test]
    fn an_update_swaps_the_directory_and_removes_what_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        publish(dir.path(), &payload(&[("a", "1"), ("b", "2")]), None, now).unwrap();
        let first = fs::read_link(dir.path().join("..data")).unwrap();
        assert!(!publish(dir.path(), &payload(&[("a", "1"), ("b", "2")]), None, now).unwrap());
        assert_eq!(fs::read_link(dir.path().join("..data")).unwrap(), first);
        assert!(publish(dir.path(), &payload(&[("a", "3")]), None, now).unwrap());
        assert!(!dir.path().join(first).exists());
        assert!(fs::symlink_metadata(dir.path().join("b")).is_err());
        assert_eq!(fs::read_to_string(dir.path().join("a")).unwrap(), "3");
        let names = fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(names, 3, "a, ..data and one timestamped directory");
    }

    #[test]
    fn paths_cannot_leave_the_volume() {
        let dir = tempfile::tempdir().unwrap();
        for path in ["../x", "/x", "a/../b", "..x", ""] {
            assert!(
                publish(dir.path(), &payload(&[(path, "")]), None, Timestamp::UNIX_EPOCH).is_err(),
                "{path}"
            );
        }
    }
}
