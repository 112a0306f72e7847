//! A container's file system, put together in a mount namespace that nobody else sees: nothing is left on the node,
//! however the container ends.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{OFlag, OpenHow, ResolveFlag, openat2};
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{Mode, mkdirat};

use super::{Failure, Result, sys};
use crate::Propagation;
use crate::embedded::record::Launch;
use crate::embedded::spec::Staged;

/// As the kubelet makes a subPath's directories.
const SUB_PATH_MODE: u32 = 0o750;
/// As runc makes a working directory that the image lacks.
const WORKING_DIR_MODE: u32 = 0o755;

/// While it lives, this process is in a copy of the node's mount namespace.
pub(super) struct Assembled<'a> {
    node: &'a File,
}

impl Drop for Assembled<'_> {
    fn drop(&mut self) {
        if let Err(error) = setns(self.node, CloneFlags::CLONE_NEWNS) {
            // Going on would show one container's files to the next one.
            eprintln!("shim: return to the node's mount namespace: {error}");
            std::process::abort();
        }
    }
}

/// Mount the layers at `bundle/rootfs` and volumes at their stages.
pub(super) fn assemble<'a>(node: &'a File, launch: &Launch, bundle: &Path) -> Result<Assembled<'a>> {
    // Looked up in the node's own namespace: what is copied keeps getting its mounts when that is asked for.
    let volumes =
        launch.staged.iter().map(|staged| Ok((staged, volume(staged)?))).collect::<Result<Vec<_>>>()?;
    let rootfs = bundle.join("rootfs");
    fs::create_dir_all(&rootfs)?;
    unshare(CloneFlags::CLONE_NEWNS)?;
    let assembled = Assembled { node };
    mount(None::<&str>, "/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)?;
    layers(launch, &rootfs)?;
    make_working_dir(&rootfs, &launch.cwd)?;
    for (staged, (tree, is_dir)) in volumes {
        let failed = |error: io::Error| Failure(format!("mount {:?}: {error}", staged.source));
        place(&staged.at, is_dir).map_err(failed)?;
        sys::move_mount(&tree, &staged.at).map_err(failed)?;
    }
    Ok(assembled)
}

fn layers(launch: &Launch, rootfs: &Path) -> Result<()> {
    let writable = &launch.writable;
    let (upper, work) = (writable.join("upper"), writable.join("work"));
    for dir in [&upper, &work] {
        fs::create_dir_all(dir)?;
    }
    // Relative names keep 127 layers within the page that mount options may have.
    std::env::set_current_dir(&launch.layers_dir)?;
    let mounted = overlay(launch, rootfs).or_else(|error| {
        if error != Errno::EINVAL {
            return Err(error);
        }
        // The file system of the state directory cannot be an upper layer (it is an overlay itself): write to memory.
        mount(Some("tmpfs"), writable, Some("tmpfs"), MsFlags::empty(), Some("mode=700"))?;
        for dir in [&upper, &work] {
            fs::create_dir_all(dir).map_err(|_| Errno::EIO)?;
        }
        overlay(launch, rootfs)
    });
    std::env::set_current_dir("/")?;
    mounted.map_err(|error| Failure(format!("mount the image's layers: {error}")))
}

fn overlay(launch: &Launch, rootfs: &Path) -> nix::Result<()> {
    let id = launch.writable.file_name().unwrap_or_default().to_string_lossy();
    let above = launch.writable.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let writable = format!("../{above}/{id}");
    let options =
        format!("lowerdir={},upperdir={writable}/upper,workdir={writable}/work", launch.layers.join(":"));
    let mount =
        |options: &str| mount(Some("overlay"), rootfs, Some("overlay"), MsFlags::empty(), Some(options));
    // A container's own files end with it: no need to sync them. Older kernels do not know the word.
    mount(&format!("{options},volatile")).or_else(|_| mount(&options))
}

/// A detached copy of the volume's mount (and whether it is a directory).
fn volume(staged: &Staged) -> Result<(OwnedFd, bool)> {
    let source = &staged.source;
    let failed = |error: io::Error| Failure(format!("volume {source:?}: {error}"));
    let file = open_volume(staged).map_err(failed)?;
    let is_dir = file.metadata().map_err(failed)?.is_dir();
    // By its descriptor: whatever happens to the path meanwhile, this is what was checked.
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    let tree = sys::open_tree(&path, true).map_err(failed)?;
    let propagation = match staged.propagation {
        Propagation::None => libc::MS_PRIVATE,
        Propagation::HostToContainer => libc::MS_SLAVE,
        Propagation::Bidirectional => 0,
    };
    sys::mount_setattr(&tree, 0, propagation).map_err(failed)?;
    Ok((tree, is_dir))
}

fn open_volume(staged: &Staged) -> io::Result<File> {
    // Only a handle: volumes may be sockets, devices, or files that must not be opened.
    let root = File::options().read(true).custom_flags(libc::O_PATH).open(&staged.source)?;
    let Some(sub_path) = &staged.sub_path else { return Ok(root) };
    match open_beneath(&root, sub_path) {
        Err(Errno::ENOENT) if staged.create => {
            make_dirs(&root, sub_path, SUB_PATH_MODE, open_beneath)?;
            Ok(open_beneath(&root, sub_path)?)
        }
        Err(Errno::EXDEV) => Err(io::Error::other(format!("subPath {sub_path:?} leads out of the volume"))),
        other => Ok(other?),
    }
}

fn open_beneath(root: &File, path: &Path) -> nix::Result<File> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how).map(File::from)
}

/// As a process whose root directory is `root` would open it.
fn open_in_root(root: &File, path: &Path) -> nix::Result<File> {
    let how = OpenHow::new()
        .flags(OFlag::O_PATH | OFlag::O_CLOEXEC)
        .resolve(ResolveFlag::RESOLVE_IN_ROOT | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    openat2(root, path, how).map(File::from)
}

fn make_working_dir(rootfs: &Path, cwd: &Path) -> Result<()> {
    let root = File::options().read(true).custom_flags(libc::O_PATH).open(rootfs)?;
    if open_in_root(&root, cwd).is_ok() {
        return Ok(());
    }
    make_dirs(&root, cwd, WORKING_DIR_MODE, open_in_root)
        .map_err(|error| Failure(format!("mkdir {}: {error}", cwd.display())))
}

fn make_dirs(
    root: &File,
    path: &Path,
    mode: u32,
    open: fn(&File, &Path) -> nix::Result<File>,
) -> io::Result<()> {
    let mut done = PathBuf::new();
    let mut parent = root.try_clone()?;
    for component in path.components() {
        let Component::Normal(name) = component else { continue };
        match mkdirat(&parent, name, Mode::from_bits_truncate(mode)) {
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(error) => return Err(error.into()),
        }
        done.push(name);
        parent = open(root, &done)?;
    }
    Ok(())
}

/// Something to mount over.
fn place(at: &Path, is_dir: bool) -> io::Result<()> {
    if is_dir {
        return fs::create_dir_all(at);
    }
    fs::create_dir_all(at.parent().unwrap_or(at))?;
    File::options().create(true).append(true).open(at).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn open(volume: &Path, sub_path: &str, create: bool) -> io::Result<File> {
        open_volume(&Staged {
            source: volume.into(),
            sub_path: Some(sub_path.into()),
            create,
            at: PathBuf::new(),
            propagation: Propagation::None,
        })
    }

    #[test]
    fn a_working_directory_stays_in_its_container() {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = dir.path().join("rootfs");
        fs::create_dir_all(rootfs.join("real")).unwrap();
        symlink("/real", rootfs.join("link")).unwrap();
        symlink("../../..", rootfs.join("up")).unwrap();
        for cwd in ["/a/b", "/link/c", "/up/d"] {
            make_working_dir(&rootfs, Path::new(cwd)).unwrap();
        }
        for made in ["a/b", "real/c", "d"] {
            assert!(rootfs.join(made).is_dir(), "{made}");
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        fs::write(rootfs.join("file"), "").unwrap();
        let error = make_working_dir(&rootfs, Path::new("/file/x")).unwrap_err();
        assert!(error.0.starts_with("mkdir /file/x: Not a directory"), "{}", error.0);
    }

    #[test]
    fn a_sub_path_stays_in_its_volume() {
        let dir = tempfile::tempdir().unwrap();
        let volume = dir.path().join("volume");
        fs::create_dir_all(volume.join("..data")).unwrap();
        fs::write(volume.join("..data/key"), "value").unwrap();
        fs::write(dir.path().join("secret"), "secret").unwrap();
        symlink("..data/key", volume.join("key")).unwrap();
        symlink("/etc", volume.join("absolute")).unwrap();
        symlink("../secret", volume.join("relative")).unwrap();
        symlink("..", volume.join("up")).unwrap();
        assert!(open(&volume, "key", false).unwrap().metadata().unwrap().is_file());
        for escape in ["absolute", "absolute/passwd", "relative", "up/secret", "up/made"] {
            let error = open(&volume, escape, true).unwrap_err().to_string();
            assert!(
                error.contains("leads out of the volume") || error.contains("cross-device"),
                "{escape}: {error}"
            );
        }
        assert!(!dir.path().join("made").exists());
        assert!(open(&volume, "a/b", false).is_err());
        assert!(open(&volume, "a/b", true).unwrap().metadata().unwrap().is_dir());
    }
}
