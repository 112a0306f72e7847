//! Taking in images from files: OCI layouts (directory or tar) and `docker save` archives.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

use oci_spec::image::{Arch, Descriptor, ImageIndex, ImageManifest, MediaType, Os};
use serde::Deserialize;

use super::{Images, MAX_DOCUMENT, Names, Result, StoreError, canonical, parse_config, unpack, verify};

/// Index in an index in an index: real archives nest once.
const MAX_NESTING: usize = 3;
/// Files in an archive: far beyond 127 layers for each of a dozen platforms.
const MAX_FILES: usize = 10_000;

/// `manifest.json` of a `docker save` archive.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: PathBuf,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    layers: Vec<PathBuf>,
}

/// The files of an archive, wherever they are.
struct Files {
    dir: PathBuf,
    /// `docker save` of old writes a layer once and symlinks to it.
    links: HashMap<PathBuf, PathBuf>,
}

impl Files {
    fn open(&self, name: &Path) -> Result<File> {
        let name = self.links.get(name).map_or(name, PathBuf::as_path);
        if !name.components().all(|component| matches!(component, Component::Normal(_))) {
            return Err(StoreError::Refused(format!("archive names {name:?}, which is outside of it")));
        }
        let path = self.dir.join(name);
        let file = File::open(&path).map_err(|_| StoreError::Refused(format!("archive has no {name:?}")))?;
        let inside = path.canonicalize().is_ok_and(|path| path.starts_with(&self.dir));
        if !inside || !file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            return Err(StoreError::Refused(format!("{name:?} is not a file of the archive")));
        }
        Ok(file)
    }

    fn document(&self, name: &Path) -> Result<Vec<u8>> {
        let mut content = Vec::new();
        self.open(name)?
            .take(MAX_DOCUMENT + 1)
            .read_to_end(&mut content)
            .map_err(StoreError::io("read archive"))?;
        if content.len() as u64 > MAX_DOCUMENT {
            return Err(StoreError::Refused(format!("{name:?} is larger than {MAX_DOCUMENT} bytes")));
        }
        Ok(content)
    }

    fn blob(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let content = self.document(&blob_path(descriptor)?)?;
        verify(descriptor.digest().as_ref(), &content)?;
        Ok(content)
    }
}

fn blob_path(descriptor: &Descriptor) -> Result<PathBuf> {
    let digest: &str = descriptor.digest().as_ref();
    super::layer_name(digest)?;
    Ok(Path::new("blobs/sha256").join(&digest["sha256:".len()..]))
}

impl Images {
    /// Returns the names that the archive brought.
    pub(crate) fn import(&self, archive: &Path) -> Result<Vec<String>> {
        let metadata = fs::metadata(archive).map_err(StoreError::io(format!("open {archive:?}")))?;
        if metadata.is_dir() {
            let dir = archive.canonicalize().map_err(StoreError::io(format!("open {archive:?}")))?;
            return self.import_files(&Files { dir, links: HashMap::new() }, archive);
        }
        let dir = self.temporary();
        fs::create_dir(&dir).map_err(StoreError::io("make directory"))?;
        let dir = dir.canonicalize().map_err(StoreError::io("resolve directory"))?;
        let imported = self.extract(archive, &dir).and_then(|files| self.import_files(&files, archive));
        let _ = fs::remove_dir_all(&dir);
        imported
    }

    fn extract(&self, archive: &Path, dir: &Path) -> Result<Files> {
        let file = File::open(archive).map_err(StoreError::io(format!("open {archive:?}")))?;
        let mut files = Files { dir: dir.into(), links: HashMap::new() };
        let plain = unpack::decompress(file)?.take(self.limits.layer_bytes);
        let mut tar = tar::Archive::new(plain);
        let bad =
            |error: io::Error| StoreError::Refused(format!("{archive:?} is not an image archive: {error}"));
        for (number, entry) in tar.entries().map_err(bad)?.enumerate() {
            let mut entry = entry.map_err(bad)?;
            if number > MAX_FILES {
                return Err(StoreError::Refused(format!("{archive:?} holds more than {MAX_FILES} files")));
            }
            let path = unpack::entry_path(&entry.path_bytes())?;
            match entry.header().entry_type() {
                tar::EntryType::Regular => {
                    let to = dir.join(&path);
                    fs::create_dir_all(to.parent().unwrap_or(dir)).map_err(StoreError::io("extract"))?;
                    let mut out = File::create(to).map_err(StoreError::io("extract"))?;
                    io::copy(&mut entry, &mut out).map_err(bad)?;
                }
                tar::EntryType::Symlink => {
                    let target = entry.link_name().map_err(bad)?.unwrap_or_default().into_owned();
                    files
                        .links
                        .insert(path.clone(), lexical(path.parent().unwrap_or(Path::new("")), &target));
                }
                _ => {}
            }
        }
        Ok(files)
    }

    fn import_files(&self, files: &Files, archive: &Path) -> Result<Vec<String>> {
        if let Ok(saved) = files.document(Path::new("manifest.json")) {
            return self.import_saved(files, &saved);
        }
        let index = files.document(Path::new("index.json")).map_err(|_| {
            StoreError::Refused(format!(
                "{archive:?} has neither index.json nor manifest.json: it is no image archive"
            ))
        })?;
        let index: ImageIndex = parse(&index, "index.json")?;
        let stem = archive.file_stem().unwrap_or_default().to_string_lossy().to_lowercase();
        let mut names = Vec::new();
        for descriptor in index.manifests() {
            let annotations = descriptor.annotations().clone().unwrap_or_default();
            let named = annotations.get("io.containerd.image.name");
            let named = named.or_else(|| annotations.get("org.opencontainers.image.ref.name")).cloned();
            let name = match named {
                Some(name) if name.contains(['/', ':']) => canonical(&name)?,
                Some(tag) => canonical(&format!("{stem}:{tag}"))?,
                None => canonical(&stem)?,
            };
            if self.import_manifest(files, descriptor, &name, 0)? {
                names.push(name);
            }
        }
        if names.is_empty() {
            return Err(StoreError::Refused(format!("{archive:?} holds no image for this platform")));
        }
        Ok(names)
    }

    /// `false`: for another platform.
    fn import_manifest(
        &self,
        files: &Files,
        descriptor: &Descriptor,
        name: &str,
        depth: usize,
    ) -> Result<bool> {
        if !for_this_platform(descriptor) {
            return Ok(false);
        }
        let content = files.blob(descriptor)?;
        if matches!(descriptor.media_type(), MediaType::ImageIndex)
            || descriptor.media_type().to_string().ends_with("manifest.list.v2+json")
        {
            if depth >= MAX_NESTING {
                return Err(StoreError::Refused("image index is nested too deeply".into()));
            }
            let index: ImageIndex = parse(&content, "image index")?;
            for descriptor in index.manifests() {
                if self.import_manifest(files, descriptor, name, depth + 1)? {
                    return Ok(true);
                }
            }
            return Ok(false);
        }
        let manifest: ImageManifest = parse(&content, "image manifest")?;
        let config = files.blob(manifest.config())?;
        let layers = manifest.layers().iter().map(blob_path).collect::<Result<Vec<_>>>()?;
        let mut names = Names::default();
        names.tags.insert(name.into());
        let repository = name.rsplit_once(':').map_or(name, |(repository, _)| repository);
        names.digests.insert(format!("{repository}@{}", descriptor.digest()));
        self.import_layers(files, &config, &layers, &names)?;
        Ok(true)
    }

    fn import_saved(&self, files: &Files, manifest: &[u8]) -> Result<Vec<String>> {
        let mut brought = Vec::new();
        for saved in parse::<Vec<Saved>>(manifest, "manifest.json")? {
            let config = files.document(&saved.config)?;
            let mut names = Names::default();
            for tag in saved.repo_tags.unwrap_or_default() {
                names.tags.insert(canonical(&tag)?);
            }
            if names.tags.is_empty() {
                let id = format!("{:x}", <sha2::Sha256 as sha2::Digest>::digest(&config));
                names.tags.insert(canonical(&format!("localhost/imported:{}", &id[..12]))?);
            }
            self.import_layers(files, &config, &saved.layers, &names)?;
            brought.extend(names.tags);
        }
        Ok(brought)
    }

    fn import_layers(&self, files: &Files, config: &[u8], layers: &[PathBuf], names: &Names) -> Result<()> {
        let parsed = parse_config(config)?;
        let diff_ids = parsed.rootfs().diff_ids();
        if diff_ids.len() != layers.len() {
            let (layers, diffs) = (layers.len(), diff_ids.len());
            return Err(StoreError::Refused(format!(
                "image has {layers} layers but its configuration {diffs}"
            )));
        }
        let (mut placed, mut size) = (Vec::new(), 0);
        for (diff_id, layer) in diff_ids.iter().zip(layers) {
            let file = files.open(layer)?;
            size += file.metadata().map_or(0, |metadata| metadata.len());
            placed.push(self.add_layer(diff_id, file)?);
        }
        self.add_image(config, placed, size, names).map(drop)
    }
}

fn parse<'a, T: Deserialize<'a>>(content: &'a [u8], what: &str) -> Result<T> {
    serde_json::from_slice(content).map_err(|error| StoreError::Refused(format!("{what}: {error}")))
}

fn for_this_platform(descriptor: &Descriptor) -> bool {
    descriptor
        .platform()
        .as_ref()
        .is_none_or(|platform| *platform.os() == Os::Linux && *platform.architecture() == Arch::default())
}

/// `target` as seen from `dir`, by names alone. What leads outside is kept as it is and refused when opened.
fn lexical(dir: &Path, target: &Path) -> PathBuf {
    let mut path = dir.to_path_buf();
    for component in target.components() {
        match component {
            Component::ParentDir if path.pop() => {}
            Component::CurDir => {}
            other => path.push(other),
        }
    }
    path
}
