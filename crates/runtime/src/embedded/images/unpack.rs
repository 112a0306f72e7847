//! Unpacking one layer into a directory that overlayfs takes as a lower one.
//!
//! A layer is hostile input: every path is resolved by the kernel below the layer's own directory, without symlinks,
//! and entries that could reach outside (or be devices) make the whole layer refused.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::{Mode, SFlag, UtimensatFlags, fchmodat, mkdirat, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchownat, linkat, symlinkat, unlinkat};
use sha2::{Digest, Sha256};
use tar::{Entry, EntryType};
use thiserror::Error;

/// Prefix of a file that says "the file named by the rest is deleted" (OCI image specification).
const WHITEOUT: &[u8] = b".wh.";
/// A file of this name says "nothing of the layers below shows in this directory".
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What one layer may cost. A bomb stops here, not when the disk is full.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub layer_bytes: u64,
    pub layer_entries: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        // 32 GiB: twice the largest layers seen in the field (machine-learning images).
        // Four million entries: ten times a full desktop distribution.
        Limits { layer_bytes: 32 << 30, layer_entries: 4_000_000 }
    }
}

#[derive(Debug, Error)]
pub(crate) enum UnpackError {
    #[error("entry {path:?}: {why}")]
    Refused { path: PathBuf, why: String },
    #[error("layer is larger than the limit of {0} bytes")]
    TooLarge(u64),
    #[error("layer has more than {0} entries")]
    TooMany(u64),
    #[error("layer digest is {found}, expected {expected}")]
    Digest { expected: String, found: String },
    #[error("unknown compression")]
    Compression,
    #[error("{doing} {path:?}: {error}")]
    Io { doing: &'static str, path: PathBuf, error: io::Error },
    #[error("read layer: {0}")]
    Read(#[from] io::Error),
}

type Result<T, E = UnpackError> = std::result::Result<T, E>;

/// Unpack `layer` (plain, gzip or zstd tar) into the existing empty directory `dir`. Returns the bytes it holds.
/// `diff_id` is the digest of the uncompressed tar, which is verified to its very end.
pub(crate) fn unpack(layer: impl Read, dir: &Path, diff_id: &str, limits: Limits) -> Result<u64> {
    let mut plain = Hashed { inner: decompress(layer)?, hash: Sha256::new(), left: limits.layer_bytes };
    let result = Unpacker::open(dir).and_then(|mut unpacker| {
        unpacker.entries(&mut tar::Archive::new(&mut plain), limits)?;
        unpacker.finish()
    });
    let drained = result.and_then(|size| {
        // Padding after the end mark is part of the digest.
        io::copy(&mut plain, &mut io::sink())?;
        Ok(size)
    });
    let size = match drained {
        _ if plain.left == 0 => return Err(UnpackError::TooLarge(limits.layer_bytes)),
        other => other?,
    };
    let found = format!("sha256:{:x}", plain.hash.finalize());
    if found != diff_id {
        return Err(UnpackError::Digest { expected: diff_id.into(), found });
    }
    Ok(size)
}

/// By its first bytes: media types in the field are not to be relied on.
pub(super) fn decompress<'a>(layer: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut reader = BufReader::with_capacity(1 << 16, layer);
    let head = io::BufRead::fill_buf(&mut reader)?;
    match head {
        [0x1f, 0x8b, ..] => Ok(Box::new(flate2::bufread::MultiGzDecoder::new(reader))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => Ok(Box::new(zstd::Decoder::with_buffer(reader)?)),
        [b'B', b'Z', b'h', ..] | [0xfd, b'7', b'z', b'X', b'Z', ..] => Err(UnpackError::Compression),
        _ => Ok(Box::new(reader)),
    }
}

/// Hashes what is read through it, and ends with an error once the limit is used up.
struct Hashed<R> {
    inner: R,
    hash: Sha256,
    left: u64,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.hash.update(&buffer[..read]);
        self.left = self.left.saturating_sub(read as u64);
        if self.left == 0 {
            return Err(io::Error::other("layer limit reached"));
        }
        Ok(read)
    }
}

struct Unpacker {
    root: OwnedFd,
    /// Directory that the last entry was in: entries come sorted by directory.
    parent: Option<(PathBuf, OwnedFd)>,
    /// Set at the end, since every file made inside changes them.
    times: Vec<(PathBuf, i64)>,
    made: HashSet<PathBuf>,
    size: u64,
    privileged: bool,
}

impl Unpacker {
    fn open(dir: &Path) -> Result<Unpacker> {
        let root =
            File::open(dir).map_err(|error| UnpackError::Io { doing: "open", path: dir.into(), error })?;
        Ok(Unpacker {
            root: root.into(),
            parent: None,
            times: Vec::new(),
            made: HashSet::new(),
            size: 0,
            privileged: nix::unistd::geteuid().is_root(),
        })
    }

    fn entries<R: Read>(&mut self, archive: &mut tar::Archive<R>, limits: Limits) -> Result<()> {
        for (number, entry) in (1..).zip(archive.entries()?) {
            if number > limits.layer_entries {
                return Err(UnpackError::TooMany(limits.layer_entries));
            }
            let mut entry = entry?;
            let path = entry_path(&entry.path_bytes())?;
            self.entry(&path, &mut entry)?;
        }
        Ok(())
    }

    fn entry<R: Read>(&mut self, path: &Path, entry: &mut Entry<'_, R>) -> Result<()> {
        let kind = entry.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader | EntryType::XHeader) {
            return Ok(());
        }
        let Some(name) = path.file_name().map(OsStr::to_owned) else {
            // The root of the layer itself.
            return self.metadata_of_root(entry);
        };
        let parent = self.parent_of(path)?;
        let io =
            |doing| move |errno: Errno| UnpackError::Io { doing, path: path.into(), error: errno.into() };
        if name.as_bytes() == OPAQUE {
            return set_xattr(&parent, OsStr::new("."), "trusted.overlay.opaque", b"y")
                .map_err(io("mark opaque"));
        }
        if let Some(hidden) = name.as_bytes().strip_prefix(WHITEOUT) {
            return self.whiteout(&parent, OsStr::from_bytes(hidden), path);
        }
        if kind != EntryType::Directory {
            remove_file(&parent, &name).map_err(io("replace"))?;
        }
        match kind {
            EntryType::Directory => make_directory(&parent, &name).map_err(io("make directory"))?,
            EntryType::Regular | EntryType::Continuous | EntryType::GNUSparse => {
                self.file(&parent, &name, path, entry)?;
            }
            EntryType::Symlink => {
                let target = link_name(path, entry)?;
                symlinkat(target.as_os_str(), &parent, name.as_os_str()).map_err(io("make symlink"))?;
            }
            EntryType::Link => return self.hard_link(&parent, &name, path, &link_name(path, entry)?),
            EntryType::Fifo => mknodat(&parent, name.as_os_str(), SFlag::S_IFIFO, Mode::S_IRUSR, 0)
                .map_err(io("make fifo"))?,
            EntryType::Char | EntryType::Block => return Err(refused(path, "is a device node")),
            other => return Err(refused(path, &format!("has type {other:?}"))),
        }
        self.made.insert(path.into());
        self.metadata(&parent, &name, path, entry)
    }

    fn file<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        entry: &mut Entry<'_, R>,
    ) -> Result<()> {
        let how = OpenHow::new()
            .flags(OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC)
            .mode(Mode::S_IRUSR | Mode::S_IWUSR)
            .resolve(ResolveFlag::RESOLVE_BENEATH);
        let file = openat2(parent, name, how).map_err(|errno| UnpackError::Io {
            doing: "make file",
            path: path.into(),
            error: errno.into(),
        })?;
        let written = io::copy(entry, &mut File::from(file))?;
        self.size += written;
        Ok(())
    }

    fn hard_link(&mut self, parent: &OwnedFd, name: &OsStr, path: &Path, target: &OsStr) -> Result<()> {
        let target = entry_path(target.as_bytes())?;
        let target_name = target.file_name().ok_or_else(|| refused(path, "links to the root"))?;
        if !self.made.contains(&target) {
            return Err(refused(path, &format!("links to {target:?}, which is not an entry before it")));
        }
        let target_parent = self.open_directory(target.parent().unwrap_or(Path::new("")), false)?;
        linkat(&target_parent, target_name, parent, name, AtFlags::empty())
            .map_err(|errno| UnpackError::Io { doing: "link", path: path.into(), error: errno.into() })?;
        self.made.insert(path.into());
        Ok(())
    }

    fn whiteout(&mut self, parent: &OwnedFd, hidden: &OsStr, path: &Path) -> Result<()> {
        if hidden.is_empty() || matches!(hidden.as_bytes(), b"." | b"..") || hidden.as_bytes().contains(&b'/')
        {
            return Err(refused(path, "is a whiteout of nothing"));
        }
        // Names of the storage driver that wrote the layer, such as `.wh..wh.plnk`: nothing to hide.
        if hidden.as_bytes().starts_with(WHITEOUT) {
            return Ok(());
        }
        // What this layer itself brings stays, whatever the order of entries.
        match mknodat(parent, hidden, SFlag::S_IFCHR, Mode::empty(), 0) {
            Ok(()) | Err(Errno::EEXIST) => Ok(()),
            Err(errno) => Err(UnpackError::Io { doing: "hide", path: path.into(), error: errno.into() }),
        }
    }

    fn metadata_of_root<R: Read>(&mut self, entry: &mut Entry<'_, R>) -> Result<()> {
        let root = self.root.try_clone()?;
        self.metadata(&root, OsStr::new("."), Path::new("."), entry)
    }

    fn metadata<R: Read>(
        &mut self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        entry: &mut Entry<'_, R>,
    ) -> Result<()> {
        let io =
            |doing| move |errno: Errno| UnpackError::Io { doing, path: path.into(), error: errno.into() };
        let header = entry.header();
        let old = header.as_old();
        let (kind, mode) = (header.entry_type(), or_blank(&old.mode, || header.mode())?);
        let mtime = or_blank(&old.mtime, || header.mtime())?;
        let (uid, gid) = (or_blank(&old.uid, || header.uid())?, or_blank(&old.gid, || header.gid())?);
        if self.privileged {
            let id = |id: u64| u32::try_from(id).map_err(|_| refused(path, "has an owner out of range"));
            let (uid, gid) = (Uid::from_raw(id(uid)?), Gid::from_raw(id(gid)?));
            fchownat(parent, name, Some(uid), Some(gid), AtFlags::AT_SYMLINK_NOFOLLOW)
                .map_err(io("chown"))?;
        }
        if kind != EntryType::Symlink {
            // The entry was made by us a moment ago and is no symlink.
            let mode = Mode::from_bits_truncate(mode & 0o7777);
            fchmodat(parent, name, mode, nix::sys::stat::FchmodatFlags::FollowSymlink)
                .map_err(io("chmod"))?;
        }
        self.extended_attributes(parent, name, path, entry)?;
        let mtime = i64::try_from(mtime).unwrap_or(0);
        if kind == EntryType::Directory {
            self.times.push((path.into(), mtime));
            return Ok(());
        }
        set_time(parent, name, mtime).map_err(io("set time of"))
    }

    /// File capabilities and the user's own attributes; never `trusted.*`, which overlayfs itself goes by.
    fn extended_attributes<R: Read>(
        &self,
        parent: &OwnedFd,
        name: &OsStr,
        path: &Path,
        entry: &mut Entry<'_, R>,
    ) -> Result<()> {
        let Some(extensions) = entry.pax_extensions()? else { return Ok(()) };
        for extension in extensions {
            let extension = extension?;
            let Some(key) = extension.key().ok().and_then(|key| key.strip_prefix("SCHILY.xattr.")) else {
                continue;
            };
            if !(key == "security.capability" || key.starts_with("user.")) || key.contains('\0') {
                continue;
            }
            match set_xattr(parent, name, key, extension.value_bytes()) {
                Ok(()) | Err(Errno::ENOTSUP | Errno::EPERM) => {}
                Err(errno) => {
                    return Err(UnpackError::Io {
                        doing: "set attribute of",
                        path: path.into(),
                        error: errno.into(),
                    });
                }
            }
        }
        Ok(())
    }

    fn parent_of(&mut self, path: &Path) -> Result<OwnedFd> {
        let wanted = path.parent().unwrap_or(Path::new(""));
        if let Some((last, fd)) = &self.parent
            && last == wanted
        {
            return Ok(fd.try_clone()?);
        }
        let fd = self.open_directory(wanted, true)?;
        self.parent = Some((wanted.into(), fd.try_clone()?));
        Ok(fd)
    }

    /// Without following a symlink anywhere on the way.
    fn open_directory(&self, path: &Path, make: bool) -> Result<OwnedFd> {
        if path.as_os_str().is_empty() {
            return Ok(self.root.try_clone()?);
        }
        let how = OpenHow::new()
            .flags(OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS);
        match openat2(&self.root, path, how) {
            Ok(fd) => Ok(fd),
            Err(Errno::ENOENT) if make => {
                let above = self.open_directory(path.parent().unwrap_or(Path::new("")), true)?;
                let name = path.file_name().unwrap_or_default();
                make_directory(&above, name).map_err(|errno| UnpackError::Io {
                    doing: "make directory",
                    path: path.into(),
                    error: errno.into(),
                })?;
                self.open_directory(path, false)
            }
            Err(Errno::ELOOP | Errno::EXDEV) => Err(refused(path, "leads through a symlink")),
            Err(Errno::ENOTDIR) => Err(refused(path, "leads through a file")),
            Err(errno) => Err(UnpackError::Io { doing: "open", path: path.into(), error: errno.into() }),
        }
    }

    fn finish(&mut self) -> Result<u64> {
        for (path, mtime) in self.times.drain(..).rev().collect::<Vec<_>>() {
            // A later entry may have replaced the directory by something else.
            if let Ok(dir) =
                self.open_directory(if path == Path::new(".") { Path::new("") } else { &path }, false)
            {
                set_time(&dir, OsStr::new("."), mtime).map_err(|errno| UnpackError::Io {
                    doing: "set time of",
                    path,
                    error: errno.into(),
                })?;
            }
        }
        Ok(self.size)
    }
}

/// Archives may leave a number blank, which is zero.
fn or_blank<N: Default>(field: &[u8], number: impl FnOnce() -> io::Result<N>) -> Result<N> {
    if field.iter().all(|byte| matches!(byte, 0 | b' ')) { Ok(N::default()) } else { Ok(number()?) }
}

fn refused(path: &Path, why: &str) -> UnpackError {
    UnpackError::Refused { path: path.into(), why: why.into() }
}

fn link_name<R: Read>(path: &Path, entry: &Entry<'_, R>) -> Result<OsString> {
    let name = entry.link_name_bytes().ok_or_else(|| refused(path, "links to nothing"))?;
    Ok(OsStr::from_bytes(&name).to_owned())
}

/// The path of an entry relative to the root of its layer. `..` and absolute paths are refused, not mended.
pub(super) fn entry_path(bytes: &[u8]) -> Result<PathBuf> {
    let path = Path::new(OsStr::from_bytes(bytes));
    let mut clean = PathBuf::new();
    for component in path.components() {
        match component {
            Component::Normal(name) if !name.as_bytes().contains(&0) => clean.push(name),
            Component::CurDir => {}
            Component::Normal(_) => return Err(refused(path, "has a zero byte in its name")),
            Component::ParentDir => return Err(refused(path, "has \"..\" in its path")),
            Component::RootDir | Component::Prefix(_) => return Err(refused(path, "has an absolute path")),
        }
    }
    Ok(clean)
}

fn make_directory(parent: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    let mode = Mode::from_bits_truncate(0o755);
    match mkdirat(parent, name, mode) {
        Err(Errno::EEXIST) => {
            let found = nix::sys::stat::fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
            if SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT == SFlag::S_IFDIR {
                return Ok(());
            }
            // The same path twice in one layer: the later entry counts.
            unlinkat(parent, name, UnlinkatFlags::NoRemoveDir)?;
            mkdirat(parent, name, mode)
        }
        other => other,
    }
}

/// What an earlier entry of the layer left at this place; a directory only when it is empty.
fn remove_file(parent: &OwnedFd, name: &OsStr) -> nix::Result<()> {
    match unlinkat(parent, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(Errno::EISDIR) => unlinkat(parent, name, UnlinkatFlags::RemoveDir),
        Err(errno) => Err(errno),
    }
}

fn set_time(parent: &impl AsFd, name: &OsStr, mtime: i64) -> nix::Result<()> {
    let time = TimeSpec::new(mtime, 0);
    utimensat(parent, name, &time, &time, UtimensatFlags::NoFollowSymlink)
}

fn set_xattr(parent: &OwnedFd, name: &OsStr, key: &str, value: &[u8]) -> nix::Result<()> {
    let c_string = |bytes: Vec<u8>| std::ffi::CString::new(bytes).map_err(|_| Errno::EINVAL);
    let mut path = format!("/proc/self/fd/{}/", parent.as_raw_fd()).into_bytes();
    path.extend_from_slice(name.as_bytes());
    let (path, key) = (c_string(path)?, c_string(key.into())?);
    // SAFETY: both strings end in a zero byte, `value` is readable for its length, and the kernel keeps none of them.
    let result =
        unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), value.as_ptr().cast(), value.len(), 0) };
    Errno::result(result).map(drop)
}
