//! hostPath volumes: a path of the node, checked or made as its type says.

use std::fs::{self, Metadata, OpenOptions, Permissions};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::VolumeError;

pub(crate) fn prepare(path: &str, kind: &str) -> Result<PathBuf, VolumeError> {
    let path = Path::new(path);
    let refused = |what: &str| {
        VolumeError::Content(format!("hostPath type check failed: {} is not {what}", path.display()))
    };
    let found = fs::metadata(path).ok();
    let is = |test: fn(&Metadata) -> bool| found.as_ref().is_some_and(test);
    match kind {
        "" => {}
        "DirectoryOrCreate" if found.is_none() => make_directory(path)?,
        "FileOrCreate" if found.is_none() => make_file(path)?,
        "DirectoryOrCreate" | "Directory" if !is(Metadata::is_dir) => return Err(refused("a directory")),
        "FileOrCreate" | "File" if !is(Metadata::is_file) => return Err(refused("a file")),
        "Socket" if !is(|it| it.file_type().is_socket()) => return Err(refused("a socket file")),
        "CharDevice" if !is(|it| it.file_type().is_char_device()) => {
            return Err(refused("a character device"));
        }
        "BlockDevice" if !is(|it| it.file_type().is_block_device()) => return Err(refused("a block device")),
        "DirectoryOrCreate" | "Directory" | "FileOrCreate" | "File" | "Socket" | "CharDevice"
        | "BlockDevice" => {}
        other => return Err(VolumeError::Content(format!("{other} is an invalid volume type"))),
    }
    if kind.is_empty() && found.is_none() {
        // A container runtime makes what is missing, as a directory.
        make_directory(path)?;
    }
    Ok(path.to_owned())
}

fn make_directory(path: &Path) -> Result<(), VolumeError> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    Ok(())
}

fn make_file(path: &Path) -> Result<(), VolumeError> {
    OpenOptions::new().create(true).append(true).open(path)?;
    fs::set_permissions(path, Permissions::from_mode(0o644))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_checked() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        assert!(prepare(&at("d"), "Directory").is_err());
        prepare(&at("d"), "DirectoryOrCreate").unwrap();
        prepare(&at("d"), "Directory").unwrap();
        let error = prepare(&at("d"), "File").unwrap_err().to_string();
        assert_eq!(error, format!("hostPath type check failed: {} is not a file", at("d")));
        prepare(&at("f"), "FileOrCreate").unwrap();
        prepare(&at("f"), "File").unwrap();
        assert!(prepare(&at("f"), "Socket").is_err());
        prepare("/dev/null", "CharDevice").unwrap();
    }
}
