//! The image that the tests run: the machine's static busybox.

use std::fs;
use std::path::{Path, PathBuf};

/// What the tests' scripts call.
const APPLETS: &str = "sh cat echo sleep id ls stat mkdir touch hostname ps kill head mount tty stty grep \
    wc nc dd mknod unshare true tr readlink test";

pub(crate) fn busybox() -> Option<PathBuf> {
    ["/bin/busybox", "/usr/bin/busybox"].iter().map(PathBuf::from).find(|path| path.exists())
}

/// A root file system with busybox, as the tar of a layer.
pub(crate) fn layer() -> Vec<u8> {
    let mut layer = tar::Builder::new(Vec::new());
    for (path, mode) in [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777), ("root/", 0o700)] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_mode(mode);
        header.set_size(0);
        layer.append_data(&mut header, path, std::io::empty()).unwrap();
    }
    layer.append_path_with_name(busybox().unwrap(), "bin/busybox").unwrap();
    for applet in APPLETS.split_whitespace() {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        layer.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    add_file(&mut layer, "etc/passwd", b"root:x:0:0:root:/root:/bin/sh\nweb:x:33:34::/tmp:/bin/sh\n");
    layer.into_inner().unwrap()
}

/// An image's configuration: `config` is what containers get from it.
pub(crate) fn config(layer: &[u8], config: &serde_json::Value) -> Vec<u8> {
    let rootfs = serde_json::json!({"type": "layers", "diff_ids": [digest(layer)]});
    let architecture = oci_spec::image::Arch::default();
    serde_json::json!({"architecture": architecture, "os": "linux", "config": config, "rootfs": rootfs})
        .to_string()
        .into_bytes()
}

pub(crate) fn digest(content: &[u8]) -> String {
    use sha2::{Digest, Sha256};
    format!("sha256:{:x}", Sha256::digest(content))
}

fn add_file(tar: &mut tar::Builder<Vec<u8>>, path: &str, content: &[u8]) {
    let mut header = tar::Header::new_gnu();
    header.set_mode(0o644);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content).unwrap();
}

/// An archive as `docker save` writes it.
pub(crate) fn archive(dir: &Path) -> PathBuf {
    let layer = layer();
    let config = config(&layer, &serde_json::json!({"Env": ["PATH=/bin", "FROM=image"], "Cmd": ["/bin/sh"]}));
    let mut archive = tar::Builder::new(Vec::new());
    add_file(&mut archive, "layer.tar", &layer);
    add_file(&mut archive, "config.json", &config);
    let manifest =
        serde_json::json!([{"Config": "config.json", "RepoTags": ["busybox:test"], "Layers": ["layer.tar"]}]);
    add_file(&mut archive, "manifest.json", manifest.to_string().as_bytes());
    let path = dir.join("busybox.tar");
    fs::write(&path, archive.into_inner().unwrap()).unwrap();
    path
}
