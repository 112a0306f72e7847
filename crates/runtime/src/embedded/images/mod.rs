//! The content store: which images are on this node, their configurations, and their layers as directories.
//!
//! Everything is on disk, so that `coracle image import` in another process is seen at once. Layers are named by the
//! digest of their uncompressed content and shared between images.

mod host;
mod import;
mod pull;
mod unpack;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{Flock, FlockArg};
use oci_client::Reference;
use oci_spec::image::ImageConfiguration;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

pub(crate) use host::HOST_IMAGE;
pub(crate) use pull::Registries;
pub use unpack::Limits;
use unpack::UnpackError;

use crate::Image;

/// Manifests and configurations beyond this are refused; registries themselves stop at 4 MiB.
const MAX_DOCUMENT: u64 = 4 << 20;

/// overlayfs mount options must fit into one page together with the names of all layers; Docker's limit too.
const MAX_LAYERS: usize = 127;

/// Names the layers that a container stands on, one a line, in its directory.
const CLAIM: &str = "layers";

/// Characters of the digest in a layer's directory name: 112 bits, and 127 such names fit into a page.
const LAYER_NAME: usize = 28;

#[derive(Debug, Error)]
pub(crate) enum StoreError {
    #[error("{doing}: {error}")]
    Io { doing: String, error: io::Error },
    #[error("{0}")]
    Refused(String),
    #[error("{0}")]
    Name(String),
}

impl StoreError {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> StoreError {
        let doing = doing.into();
        move |error| StoreError::Io { doing, error }
    }
}

impl From<UnpackError> for StoreError {
    fn from(error: UnpackError) -> StoreError {
        match error {
            UnpackError::Io { .. } => {
                StoreError::Io { doing: "unpack layer".into(), error: io::Error::other(error) }
            }
            refused => StoreError::Refused(format!("layer: {refused}")),
        }
    }
}

type Result<T, E = StoreError> = std::result::Result<T, E>;

#[derive(Debug, Default, Serialize, Deserialize)]
struct Index {
    images: BTreeMap<String, Entry>,
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Entry {
    tags: BTreeSet<String>,
    digests: BTreeSet<String>,
    /// Names of layer directories, the lowest first.
    layers: Vec<String>,
    size: u64,
    /// Directories of the node to show read-only: (on the node, in the container).
    #[serde(default)]
    binds: Vec<(PathBuf, PathBuf)>,
}

/// An image that a container can be made from.
#[derive(Clone, Debug)]
pub(crate) struct Usable {
    pub(crate) image_ref: String,
    pub(crate) config: ImageConfiguration,
    /// Names below [`Images::layers_dir`], the uppermost first.
    pub(crate) layers: Vec<String>,
    pub(crate) binds: Vec<(PathBuf, PathBuf)>,
}

#[derive(Debug)]
pub(crate) struct Images {
    root: PathBuf,
    limits: Limits,
    host_image: bool,
    /// The userland that the host image was last made from.
    host_made: Mutex<Option<host::Stamp>>,
    next: AtomicU64,
}

impl Images {
    pub(crate) fn open(root: &Path, limits: Limits, host_image: bool) -> Result<Images> {
        let (host_made, next) = (Mutex::default(), AtomicU64::new(0));
        let images = Images { root: root.into(), limits, host_image, host_made, next };
        for dir in ["blobs/sha256", "layers", "tmp"] {
            let dir = root.join(dir);
            fs::create_dir_all(&dir).map_err(StoreError::io(format!("make {dir:?}")))?;
        }
        images.sweep()?;
        Ok(images)
    }

    pub(crate) fn layers_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// For containers' own files, by container.
    pub(crate) fn containers_dir(&self) -> PathBuf {
        self.root.join("containers")
    }

    /// Remove what a process that was killed while unpacking has left.
    fn sweep(&self) -> Result<()> {
        let tmp = self.root.join("tmp");
        for left in fs::read_dir(&tmp).map_err(StoreError::io("list tmp"))?.flatten() {
            // The name starts with the process's ID.
            let name = left.file_name().to_string_lossy().into_owned();
            let owner = name.split('-').next().unwrap_or_default().to_owned();
            if !Path::new("/proc").join(owner).exists() {
                let _ = fs::remove_dir_all(left.path()).or_else(|_| fs::remove_file(left.path()));
            }
        }
        Ok(())
    }

    fn temporary(&self) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.root.join("tmp").join(format!("{}-{number}", std::process::id()))
    }

    fn lock(&self) -> Result<Flock<File>> {
        let file = File::create(self.root.join("lock")).map_err(StoreError::io("open image lock"))?;
        Flock::lock(file, FlockArg::LockExclusive)
            .map_err(|(_, errno)| StoreError::Io { doing: "lock images".into(), error: errno.into() })
    }

    fn index(&self) -> Result<Index> {
        match fs::read(self.root.join("images.json")) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|error| StoreError::Io { doing: "read images.json".into(), error: error.into() }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Index::default()),
            Err(error) => Err(StoreError::io("read images.json")(error)),
        }
    }

    fn change(&self, change: impl FnOnce(&mut Index) -> Result<()>) -> Result<()> {
        let lock = self.lock()?;
        self.change_locked(&lock, change)
    }

    fn change_locked(
        &self,
        _lock: &Flock<File>,
        change: impl FnOnce(&mut Index) -> Result<()>,
    ) -> Result<()> {
        let mut index = self.index()?;
        change(&mut index)?;
        let text = serde_json::to_vec_pretty(&index)
            .map_err(|error| StoreError::Io { doing: "write images.json".into(), error: error.into() })?;
        let temporary = self.temporary();
        fs::write(&temporary, text).map_err(StoreError::io("write images.json"))?;
        // Layers must be on disk before an image names them: one sync for all of it.
        let synced = File::open(&temporary).map_err(StoreError::io("open images.json"))?;
        nix::unistd::syncfs(&synced).map_err(|errno| StoreError::io("sync images")(errno.into()))?;
        fs::rename(&temporary, self.root.join("images.json")).map_err(StoreError::io("replace images.json"))
    }

    /// Store a small document under its digest.
    fn put_blob(&self, content: &[u8]) -> Result<String> {
        let hex = format!("{:x}", Sha256::digest(content));
        let path = self.root.join("blobs/sha256").join(&hex);
        if !path.exists() {
            let temporary = self.temporary();
            fs::write(&temporary, content).map_err(StoreError::io("write blob"))?;
            fs::rename(&temporary, &path).map_err(StoreError::io("store blob"))?;
        }
        Ok(format!("sha256:{hex}"))
    }

    fn config(&self, id: &str) -> Result<ImageConfiguration> {
        let hex = id.strip_prefix("sha256:").unwrap_or(id);
        let content =
            fs::read(self.root.join("blobs/sha256").join(hex)).map_err(StoreError::io("read image"))?;
        parse_config(&content)
    }

    fn has_layer(&self, diff_id: &str) -> Option<String> {
        let name = layer_name(diff_id).ok()?;
        self.layers_dir().join(&name).is_dir().then_some(name)
    }

    /// Unpack a layer unless it is there; returns its name.
    fn add_layer(&self, diff_id: &str, layer: impl Read) -> Result<String> {
        let name = layer_name(diff_id)?;
        if self.has_layer(diff_id).is_some() {
            return Ok(name);
        }
        let temporary = self.temporary();
        fs::create_dir(&temporary).map_err(StoreError::io("make layer"))?;
        let unpacked = unpack::unpack(layer, &temporary, diff_id, self.limits).map_err(StoreError::from);
        let placed = unpacked.and_then(|_| {
            match fs::rename(&temporary, self.layers_dir().join(&name)) {
                // Someone else was faster.
                Err(_) if self.has_layer(diff_id).is_some() => Ok(()),
                other => other.map_err(StoreError::io("place layer")),
            }
        });
        let _ = fs::remove_dir_all(&temporary);
        placed.map(|()| name)
    }

    /// Make an image known whose layers are all there.
    fn add_image(&self, config: &[u8], layers: Vec<String>, size: u64, names: &Names) -> Result<String> {
        let id = self.put_blob(config)?;
        self.change(|index| {
            // Whoever removed an image that had one of these layers did not know of this one.
            if let Some(lost) = layers.iter().find(|layer| !self.layers_dir().join(layer).is_dir()) {
                let lost = io::Error::other(format!("layer {lost} was removed meanwhile"));
                return Err(StoreError::io("add image")(lost));
            }
            for entry in index.images.values_mut() {
                entry.tags.retain(|tag| !names.tags.contains(tag));
            }
            let entry = index.images.entry(id.clone()).or_default();
            entry.layers = layers;
            entry.size = size + config.len() as u64;
            entry.tags.extend(names.tags.iter().cloned());
            entry.digests.extend(names.digests.iter().cloned());
            // An image that lost its last name to another one is of no use to anybody.
            index.images.retain(|_, entry| !entry.tags.is_empty() || !entry.digests.is_empty());
            Ok(())
        })?;
        Ok(id)
    }

    fn find(&self, index: &Index, image: &str) -> Option<String> {
        let by_id = image.strip_prefix("sha256:").unwrap_or(image);
        if by_id.len() >= 12 && by_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            let mut found = index.images.keys().filter(|id| id["sha256:".len()..].starts_with(by_id));
            if let (Some(id), None) = (found.next(), found.next()) {
                return Some(id.clone());
            }
        }
        let name = canonical(image).ok()?;
        let has = |entry: &Entry| entry.tags.contains(&name) || entry.digests.contains(&name);
        index.images.iter().find(|(_, entry)| has(entry)).map(|(id, _)| id.clone())
    }

    fn look_up(&self, image: &str) -> Result<Option<(String, Entry)>> {
        if self.host_image && canonical(image).is_ok_and(|name| name == HOST_IMAGE) {
            self.ensure_host_image()?;
        }
        let mut index = self.index()?;
        let Some(id) = self.find(&index, image) else { return Ok(None) };
        Ok(index.images.remove(&id).map(|entry| (id, entry)))
    }

    pub(crate) fn status(&self, image: &str) -> Result<Option<Image>> {
        self.look_up(image)?.map(|(id, entry)| self.describe(&id, &entry)).transpose()
    }

    pub(crate) fn list(&self) -> Result<Vec<Image>> {
        if self.host_image {
            self.ensure_host_image()?;
        }
        self.index()?.images.iter().map(|(id, entry)| self.describe(id, entry)).collect()
    }

    fn describe(&self, id: &str, entry: &Entry) -> Result<Image> {
        let config = self.config(id)?;
        let user = config.config().as_ref().and_then(|config| config.user().clone()).unwrap_or_default();
        let user = user.split(':').next().unwrap_or_default();
        let uid = if user.is_empty() { None } else { user.parse().ok() };
        Ok(Image {
            id: id.into(),
            tags: entry.tags.iter().cloned().collect(),
            digests: entry.digests.iter().cloned().collect(),
            size: entry.size,
            uid,
            username: if uid.is_some() { String::new() } else { user.into() },
        })
    }

    pub(crate) fn usable(&self, image: &str) -> Result<Option<Usable>> {
        let Some((id, entry)) = self.look_up(image)? else { return Ok(None) };
        let image_ref = entry.digests.first().cloned().unwrap_or_else(|| id.clone());
        let config = self.config(&id)?;
        let layers = entry.layers.iter().rev().cloned().collect();
        Ok(Some(Usable { image_ref, config, layers, binds: entry.binds }))
    }

    /// Note beside a container's own files which layers it stands on, for all processes to see. `false`: they are
    /// not there any more.
    pub(crate) fn claim(&self, image: &Usable, container: &str) -> Result<bool> {
        let _lock = self.lock()?;
        if !image.layers.iter().all(|layer| self.layers_dir().join(layer).is_dir()) {
            return Ok(false);
        }
        let claim = self.containers_dir().join(container).join(CLAIM);
        fs::write(claim, image.layers.join("\n")).map_err(StoreError::io("claim layers"))?;
        Ok(true)
    }

    fn claimed(&self) -> BTreeSet<String> {
        let containers = fs::read_dir(self.containers_dir()).into_iter().flatten().flatten();
        let claims = containers.filter_map(|dir| fs::read_to_string(dir.path().join(CLAIM)).ok());
        claims.flat_map(|claim| claim.lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Forget an image; its layers go too unless another image or a container has them.
    pub(crate) fn remove(&self, image: &str) -> Result<()> {
        let Some((id, entry)) = self.look_up(image)? else { return Ok(()) };
        let lock = self.lock()?;
        let mut kept = self.claimed();
        self.change_locked(&lock, |index| {
            index.images.remove(&id);
            kept.extend(index.images.values().flat_map(|entry| entry.layers.iter().cloned()));
            Ok(())
        })?;
        let _ = fs::remove_file(self.root.join("blobs/sha256").join(&id["sha256:".len()..]));
        for layer in entry.layers.iter().filter(|layer| !kept.contains(*layer)) {
            let temporary = self.temporary();
            if fs::rename(self.layers_dir().join(layer), &temporary).is_ok() {
                let _ = fs::remove_dir_all(&temporary);
            }
        }
        Ok(())
    }
}

#[derive(Debug, Default)]
struct Names {
    tags: BTreeSet<String>,
    digests: BTreeSet<String>,
}

/// What is wrong with a name that no image can have, in the words that users know.
pub fn image_name_error(image: &str) -> Option<String> {
    let error = Reference::from_str(image).err()?;
    let name = image.split('@').next().unwrap_or(image);
    let name = match name.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => name,
        _ => name,
    };
    let name = if name.contains('/') { name.to_owned() } else { format!("library/{name}") };
    Some(match Reference::from_str(&image.to_lowercase()) {
        Ok(_) => format!("invalid reference format: repository name ({name}) must be lowercase"),
        Err(_) => error.to_string(),
    })
}

/// `busybox` → `docker.io/library/busybox:latest`
pub(crate) fn canonical(image: &str) -> Result<String> {
    // The parser keeps 10 MiB from its first use on, and that use takes longer than starting a container. Most
    // clusters need no name but this one.
    if image == HOST_IMAGE || HOST_IMAGE.strip_suffix(":latest") == Some(image) {
        return Ok(HOST_IMAGE.to_owned());
    }
    let reference = Reference::from_str(image).map_err(|error| StoreError::Name(error.to_string()))?;
    Ok(canonical_reference(&reference))
}

fn canonical_reference(reference: &Reference) -> String {
    let repository = format!("{}/{}", reference.registry(), reference.repository());
    match (reference.digest(), reference.tag()) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, Some(tag)) => format!("{repository}:{tag}"),
        (None, None) => format!("{repository}:latest"),
    }
}

fn layer_name(diff_id: &str) -> Result<String> {
    let hex = diff_id.strip_prefix("sha256:").unwrap_or_default();
    if hex.len() != 64 || !hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
        return Err(StoreError::Refused(format!(
            "layer digest {diff_id:?} is not sha256 and 64 hexadecimal digits"
        )));
    }
    Ok(hex[..LAYER_NAME].into())
}

fn parse_config(content: &[u8]) -> Result<ImageConfiguration> {
    if content.len() as u64 > MAX_DOCUMENT {
        return Err(StoreError::Refused(format!("image configuration is larger than {MAX_DOCUMENT} bytes")));
    }
    let config: ImageConfiguration = serde_json::from_slice(content)
        .map_err(|error| StoreError::Refused(format!("image configuration: {error}")))?;
    if config.rootfs().diff_ids().len() > MAX_LAYERS {
        return Err(StoreError::Refused(format!("image has more than {MAX_LAYERS} layers")));
    }
    Ok(config)
}

fn verify(digest: &str, content: &[u8]) -> Result<()> {
    let found = format!("sha256:{:x}", Sha256::digest(content));
    if found == digest {
        return Ok(());
    }
    Err(StoreError::Refused(format!("content has digest {found}, expected {digest}")))
}

#[cfg(test)]
mod tests;
