//! The image `coracle.local/host`: the machine's own userland, read-only, so that a first Pod needs no registry.
//!
//! It is one small layer (the root's symlinks, a few directories, and the bits of `/etc` that programs need, never
//! secrets or home directories) and read-only bind mounts of `/usr` and its kin.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::{Images, LAYER_NAME, Result, StoreError};

pub(crate) const HOST_IMAGE: &str = "coracle.local/host:latest";

/// Shown as they are on the machine: symlinks stay symlinks, directories are bound read-only.
const USERLAND: &[&str] = &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/// Copied from `/etc`: what programs look up about names, certificates, libraries and languages. Only files that
/// everyone on the machine may read anyway.
const ETC: &[&str] = &[
    "alternatives",
    "bash.bashrc",
    "ca-certificates",
    "ca-certificates.conf",
    "debian_version",
    "default/locale",
    "gai.conf",
    "group",
    "host.conf",
    "inputrc",
    "ld.so.cache",
    "ld.so.conf",
    "ld.so.conf.d",
    "locale.alias",
    "locale.conf",
    "localtime",
    "magic",
    "mime.types",
    "mke2fs.conf",
    "nsswitch.conf",
    "os-release",
    "passwd",
    "perl",
    "pki/ca-trust",
    "pki/tls/certs",
    "pki/tls/cert.pem",
    "profile",
    "protocols",
    "python3",
    "python3.11",
    "python3.12",
    "python3.13",
    "rpc",
    "services",
    "shells",
    "ssl/certs",
    "ssl/openssl.cnf",
    "terminfo",
    "timezone",
    "vim",
    "wgetrc",
];

/// A file of `/etc` beyond this is not configuration.
const MAX_ETC_FILE: u64 = 4 << 20;
/// Directories below one of the entries of [`ETC`].
const MAX_DEPTH: usize = 6;

/// Empty directories, with their modes.
const DIRECTORIES: &[(&str, u32)] = &[
    ("dev", 0o755),
    ("etc", 0o755),
    ("home", 0o755),
    ("media", 0o755),
    ("mnt", 0o755),
    ("opt", 0o755),
    ("proc", 0o555),
    ("root", 0o700),
    ("run", 0o755),
    ("run/lock", 0o1777),
    ("srv", 0o755),
    ("sys", 0o555),
    ("tmp", 0o1777),
    ("var", 0o755),
    ("var/cache", 0o755),
    ("var/lib", 0o755),
    ("var/log", 0o755),
    ("var/spool", 0o755),
    ("var/tmp", 0o1777),
];

/// It ends at once when asked to, as a container without a signal handler would not (its process is number 1).
const COMMAND: &[&str] = &["/bin/sh", "-c", "trap exit TERM INT; sleep infinity & wait"];

enum Node {
    Directory(u32),
    Symlink(PathBuf),
    File(Vec<u8>, u32),
}

/// What the layer will hold, by path.
type Tree = BTreeMap<PathBuf, Node>;

/// When each entry was last changed, and how large it is.
pub(super) type Stamp = Vec<Option<(i64, i64, u64)>>;

/// Tells at little cost whether packages have changed the userland: reading all of it takes as long as starting a Pod.
fn stamp() -> Stamp {
    let userland = USERLAND.iter().map(PathBuf::from);
    let etc = ETC.iter().map(|name| Path::new("/etc").join(name));
    let look = |path: PathBuf| {
        let found = fs::metadata(path).ok()?;
        Some((found.mtime(), found.mtime_nsec(), found.len()))
    };
    userland.chain(etc).map(look).collect()
}

impl Images {
    /// The machine's userland changes with its packages, so that this is made anew when it differs.
    pub(super) fn ensure_host_image(&self) -> Result<()> {
        let stamp = stamp();
        let mut made = self.host_made.lock().unwrap_or_else(PoisonError::into_inner);
        if made.as_ref() == Some(&stamp) && self.find(&self.index()?, HOST_IMAGE).is_some() {
            return Ok(());
        }
        self.make_host_image()?;
        *made = Some(stamp);
        Ok(())
    }

    fn make_host_image(&self) -> Result<()> {
        let mut tree = Tree::new();
        for (path, mode) in DIRECTORIES {
            tree.insert(path.into(), Node::Directory(*mode));
        }
        tree.insert("var/run".into(), Node::Symlink("/run".into()));
        tree.insert("var/lock".into(), Node::Symlink("/run/lock".into()));
        let binds = userland(&mut tree);
        for name in ETC {
            collect(&mut tree, Path::new("/etc").join(name), &Path::new("etc").join(name), 0);
        }
        let layer = self.place_tree(&tree)?;
        let config = config_of(&layer);
        let id = self.put_blob(&config)?;
        let known = self.index()?;
        if known.images.get(&id).is_some_and(|entry| entry.tags.contains(HOST_IMAGE) && entry.binds == binds)
        {
            return Ok(());
        }
        self.change(|index| {
            index.images.retain(|_, entry| !entry.tags.remove(HOST_IMAGE));
            let entry = index.images.entry(id).or_default();
            entry.tags.insert(HOST_IMAGE.into());
            entry.layers = vec![layer];
            entry.binds = binds;
            Ok(())
        })
    }

    fn place_tree(&self, tree: &Tree) -> Result<String> {
        let digest = digest(tree);
        let name = digest[..LAYER_NAME].to_owned();
        if self.layers_dir().join(&name).is_dir() {
            return Ok(name);
        }
        let temporary = self.temporary();
        let written =
            write_tree(tree, &temporary).and_then(|()| fs::rename(&temporary, self.layers_dir().join(&name)));
        let _ = fs::remove_dir_all(&temporary);
        match written {
            Err(_) if self.layers_dir().join(&name).is_dir() => Ok(name),
            other => other.map(|()| name).map_err(StoreError::io("write the host image")),
        }
    }
}

fn config_of(layer: &str) -> Vec<u8> {
    let architecture = oci_spec::image::Arch::default().to_string();
    let config = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/root"],
            "Cmd": COMMAND,
            "WorkingDir": "/",
            // Makes the image's ID change with its content.
            "Labels": {"coracle.local/layer": layer},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    });
    config.to_string().into_bytes()
}

/// Symlinks of the root into the tree; returns what is to be bound.
fn userland(tree: &mut Tree) -> Vec<(PathBuf, PathBuf)> {
    let mut binds = Vec::new();
    for path in USERLAND.iter().map(Path::new) {
        let inside = path.strip_prefix("/").unwrap_or(path).to_path_buf();
        match fs::symlink_metadata(path) {
            Ok(metadata) if metadata.is_symlink() => {
                if let Ok(target) = fs::read_link(path) {
                    tree.insert(inside, Node::Symlink(target));
                }
            }
            Ok(metadata) if metadata.is_dir() => {
                tree.insert(inside, Node::Directory(0o755));
                binds.push((path.into(), path.into()));
            }
            _ => {}
        }
    }
    binds
}

/// `from` on the machine as `to` in the tree, when everyone may read it.
fn collect(tree: &mut Tree, from: PathBuf, to: &Path, depth: usize) {
    let Ok(metadata) = fs::symlink_metadata(&from) else { return };
    let mode = metadata.permissions().mode();
    let node = if metadata.is_symlink() {
        fs::read_link(&from).ok().map(Node::Symlink)
    } else if metadata.is_dir() && mode & 0o005 == 0o005 && depth < MAX_DEPTH {
        for entry in fs::read_dir(&from).into_iter().flatten().flatten() {
            collect(tree, entry.path(), &to.join(entry.file_name()), depth + 1);
        }
        Some(Node::Directory(0o755))
    } else if metadata.is_file() && mode & 0o004 != 0 && metadata.len() <= MAX_ETC_FILE {
        fs::read(&from)
            .ok()
            .filter(|content| !is_secret(content))
            .map(|content| Node::File(content, mode & 0o755))
    } else {
        None
    };
    let Some(mut node) = node else { return };
    if let (Node::File(content, _), Some("passwd")) =
        (&mut node, to.file_name().and_then(|name| name.to_str()))
    {
        *content = without_passwords(content);
    }
    for ancestor in to.ancestors().skip(1).filter(|path| !path.as_os_str().is_empty()) {
        tree.entry(ancestor.into()).or_insert(Node::Directory(0o755));
    }
    tree.insert(to.into(), node);
}

/// A private key that somebody left readable for all is still a private key.
fn is_secret(content: &[u8]) -> bool {
    content.windows(b"PRIVATE KEY-----".len()).any(|window| window == b"PRIVATE KEY-----")
}

fn without_passwords(passwd: &[u8]) -> Vec<u8> {
    let text = String::from_utf8_lossy(passwd);
    let lines = text.lines().map(|line| {
        let mut fields: Vec<&str> = line.split(':').collect();
        if let Some(password) = fields.get_mut(1) {
            *password = "x";
        }
        fields.join(":") + "\n"
    });
    lines.collect::<String>().into_bytes()
}

fn digest(tree: &Tree) -> String {
    let mut hash = Sha256::new();
    for (path, node) in tree {
        let _ = match node {
            Node::Directory(mode) => writeln!(hash, "d {path:?} {mode:o}"),
            Node::Symlink(target) => writeln!(hash, "l {path:?} {target:?}"),
            Node::File(content, mode) => writeln!(hash, "f {path:?} {mode:o} {:x}", Sha256::digest(content)),
        };
    }
    format!("{:x}", hash.finalize())
}

fn write_tree(tree: &Tree, dir: &Path) -> std::io::Result<()> {
    fs::create_dir(dir)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
    // A directory comes before what is in it: paths are sorted by their components.
    for (path, node) in tree {
        let path = dir.join(path);
        let mode = match node {
            Node::Directory(mode) => {
                fs::create_dir(&path)?;
                *mode
            }
            Node::Symlink(target) => {
                std::os::unix::fs::symlink(target, &path)?;
                continue;
            }
            Node::File(content, mode) => {
                fs::write(&path, content)?;
                *mode
            }
        };
        fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_no_secret() {
        let mut tree = Tree::new();
        for name in ETC {
            collect(&mut tree, Path::new("/etc").join(name), &Path::new("etc").join(name), 0);
        }
        for (path, node) in &tree {
            let name = path.to_string_lossy();
            assert!(!name.contains("shadow") && !name.contains("ssl/private"), "{name}");
            if let Node::File(content, _) = node {
                assert!(!is_secret(content), "{name}");
            }
        }
    }

    #[test]
    fn passwords_of_old_passwd_files_are_left_out() {
        assert_eq!(
            without_passwords(b"root:$6$hash:0:0:root:/root:/bin/bash\n"),
            b"root:x:0:0:root:/root:/bin/bash\n"
        );
    }
}
