//! Images made in the test: importing, unpacking, and refusing hostile ones.

use std::io::Write;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};

use expect_test::expect;
use serde_json::json;
use tar::{Builder, EntryType, Header};

use super::*;

fn entry(tar: &mut Builder<Vec<u8>>, kind: EntryType, path: &str, link: &str, content: &[u8]) {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(if kind == EntryType::Directory { 0o755 } else { 0o644 });
    header.set_size(content.len() as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    // Written as it is: the tests need paths that the tar crate would refuse to write.
    header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    tar.append(&header, content).unwrap();
}

fn layer(entries: &[(EntryType, &str, &str)]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (kind, path, content) in entries {
        match kind {
            EntryType::Regular => entry(&mut tar, *kind, path, "", content.as_bytes()),
            _ => entry(&mut tar, *kind, path, content, b""),
        }
    }
    tar.into_inner().unwrap()
}

fn sha(content: &[u8]) -> String {
    format!("sha256:{:x}", Sha256::digest(content))
}

/// What unpacking says, and whether anything appeared beside the layer's directory.
fn unpack_layer(tar: &[u8], limits: Limits) -> (tempfile::TempDir, Result<u64, UnpackError>) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("layer");
    fs::create_dir(&root).unwrap();
    fs::write(dir.path().join("outside"), "untouched").unwrap();
    let result = unpack::unpack(tar, &root, &sha(tar), limits);
    assert_eq!(fs::read_to_string(dir.path().join("outside")).unwrap(), "untouched");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    (dir, result)
}

#[test]
fn hostile_entries_are_refused() {
    use EntryType::{Block, Char, Directory, Link, Regular, Symlink};
    let check = |entries: &[(EntryType, &str, &str)], expected: expect_test::Expect| {
        let (_dir, result) = unpack_layer(&layer(entries), Limits::default());
        expected.assert_eq(&result.unwrap_err().to_string());
    };
    check(&[(Regular, "../outside", "x")], expect![[r#"entry "../outside": has ".." in its path"#]]);
    check(
        &[(Regular, "a/../../outside", "x")],
        expect![[r#"entry "a/../../outside": has ".." in its path"#]],
    );
    check(&[(Regular, "/etc/outside", "x")], expect![[r#"entry "/etc/outside": has an absolute path"#]]);
    check(
        &[(Symlink, "d", ".."), (Regular, "d/outside", "x")],
        expect![[r#"entry "d": leads through a symlink"#]],
    );
    check(
        &[(Symlink, "d", "/"), (Directory, "d/made", "")],
        expect![[r#"entry "d": leads through a symlink"#]],
    );
    check(
        &[(Link, "h", "../outside"), (Regular, "h", "x")],
        expect![[r#"entry "../outside": has ".." in its path"#]],
    );
    check(
        &[(Symlink, "s", "../outside"), (Link, "h", "outside")],
        expect![[r#"entry "h": links to "outside", which is not an entry before it"#]],
    );
    check(&[(Char, "null", "")], expect![[r#"entry "null": is a device node"#]]);
    check(&[(Block, "sda", "")], expect![[r#"entry "sda": is a device node"#]]);
    check(&[(Regular, ".wh...", "")], expect![[r#"entry ".wh...": is a whiteout of nothing"#]]);
}

#[test]
fn a_file_never_goes_through_the_symlink_before_it() {
    let (dir, result) = unpack_layer(
        &layer(&[(EntryType::Symlink, "f", "../outside"), (EntryType::Regular, "f", "written")]),
        Limits::default(),
    );
    result.unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("layer/f")).unwrap(), "written");
}

#[test]
fn a_bomb_stops_at_the_limit() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut header = Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(8 << 20);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_cksum();
    gzip.write_all(header.as_bytes()).unwrap();
    gzip.write_all(&vec![0; 8 << 20]).unwrap();
    let limits = Limits { layer_bytes: 1 << 20, layer_entries: 3 };
    let (_dir, result) = unpack_layer(&gzip.finish().unwrap(), limits);
    expect!["layer is larger than the limit of 1048576 bytes"].assert_eq(&result.unwrap_err().to_string());
    let many: Vec<_> = (0..4).map(|i| (EntryType::Regular, format!("f{i}"))).collect();
    let many: Vec<_> = many.iter().map(|(kind, name)| (*kind, name.as_str(), "")).collect();
    let (_dir, result) = unpack_layer(&layer(&many), limits);
    expect!["layer has more than 3 entries"].assert_eq(&result.unwrap_err().to_string());
}

#[test]
fn a_layer_of_another_digest_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tar = layer(&[(EntryType::Regular, "f", "x")]);
    let error = unpack::unpack(&tar[..], dir.path(), &sha(b"other"), Limits::default()).unwrap_err();
    assert!(matches!(error, UnpackError::Digest { .. }), "{error}");
}

#[test]
fn unpacks_what_overlayfs_understands() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: whiteouts need root");
        return;
    }
    use EntryType::{Directory, Link, Regular, Symlink};
    let (dir, result) = unpack_layer(
        &layer(&[
            (Directory, "./", ""),
            (Directory, "./a/", ""),
            (Regular, "./a/file", "content"),
            (Link, "a/hard", "a/file"),
            (Symlink, "a/soft", "/absolute"),
            (Regular, "implied/parent/file", ""),
            (Regular, "a/.wh.gone", ""),
            (Regular, "b/.wh..wh..opq", ""),
        ]),
        Limits::default(),
    );
    assert_eq!(result.unwrap(), 7);
    let root = dir.path().join("layer");
    assert_eq!(fs::metadata(root.join("a/file")).unwrap().nlink(), 2);
    assert_eq!(fs::read_link(root.join("a/soft")).unwrap(), Path::new("/absolute"));
    assert!(root.join("implied/parent/file").is_file());
    let gone = fs::symlink_metadata(root.join("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    assert_eq!(fs::metadata(root.join("a")).unwrap().permissions().mode() & 0o7777, 0o755);
}

fn write_blob(dir: &Path, content: &[u8]) -> serde_json::Value {
    let digest = sha(content);
    fs::create_dir_all(dir.join("blobs/sha256")).unwrap();
    fs::write(dir.join("blobs/sha256").join(&digest[7..]), content).unwrap();
    json!({"digest": digest, "size": content.len()})
}

fn descriptor(media_type: &str, mut blob: serde_json::Value) -> serde_json::Value {
    blob["mediaType"] = media_type.into();
    blob
}

fn oci_layout(dir: &Path, reference: &str) {
    let tar = layer(&[(EntryType::Regular, "hello", "world")]);
    let config = json!({"architecture": oci_spec::image::Arch::default(), "os": "linux",
        "config": {"User": "1000:100", "Cmd": ["/hello"]}, "rootfs": {"type": "layers", "diff_ids": [sha(&tar)]}});
    let config = descriptor(
        "application/vnd.oci.image.config.v1+json",
        write_blob(dir, config.to_string().as_bytes()),
    );
    let layers = [descriptor("application/vnd.oci.image.layer.v1.tar", write_blob(dir, &tar))];
    let manifest = json!({"schemaVersion": 2, "config": config, "layers": layers}).to_string();
    let mut manifest =
        descriptor("application/vnd.oci.image.manifest.v1+json", write_blob(dir, manifest.as_bytes()));
    manifest["annotations"] = json!({"org.opencontainers.image.ref.name": reference});
    fs::write(dir.join("index.json"), json!({"schemaVersion": 2, "manifests": [manifest]}).to_string())
        .unwrap();
    fs::write(dir.join("oci-layout"), r#"{"imageLayoutVersion":"1.0.0"}"#).unwrap();
}

#[test]
fn imports_an_oci_layout_as_directory_and_as_tar() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("greeter");
    fs::create_dir(&layout).unwrap();
    oci_layout(&layout, "v1");
    let images = Images::open(&dir.path().join("store"), Limits::default(), false).unwrap();
    assert_eq!(images.import(&layout).unwrap(), ["docker.io/library/greeter:v1"]);
    let image = images.status("greeter:v1").unwrap().unwrap();
    assert_eq!((image.uid, image.username.as_str()), (Some(1000), ""));
    assert_eq!(images.status(&image.id).unwrap().unwrap(), image);
    assert_eq!(images.status(&image.digests[0]).unwrap().unwrap(), image);
    assert_eq!(images.status("greeter:v2").unwrap(), None);
    let usable = images.usable("greeter:v1").unwrap().unwrap();
    let file = images.layers_dir().join(&usable.layers[0]).join("hello");
    assert_eq!(fs::read_to_string(file).unwrap(), "world");

    oci_layout(&layout, "registry.example:5000/team/greeter:v2");
    let archive = dir.path().join("greeter.tar");
    let mut tar = Builder::new(File::create(&archive).unwrap());
    tar.append_dir_all(".", &layout).unwrap();
    tar.finish().unwrap();
    assert_eq!(images.import(&archive).unwrap(), ["registry.example:5000/team/greeter:v2"]);
    assert_eq!(images.list().unwrap().len(), 1, "the same content is the same image");

    let store = dir.path().join("store");
    fs::create_dir_all(store.join("containers/running")).unwrap();
    assert!(images.claim(&usable, "running").unwrap());
    images.remove(&image.id).unwrap();
    assert_eq!(images.list().unwrap(), []);
    assert!(images.layers_dir().join(&usable.layers[0]).is_dir(), "a container stands on it");
    fs::remove_dir_all(store.join("containers/running")).unwrap();
    images.import(&archive).unwrap();
    images.remove(&image.id).unwrap();
    assert!(!images.claim(&usable, "late").unwrap());
    assert_eq!(images.list().unwrap(), []);
    assert_eq!(fs::read_dir(images.layers_dir()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(dir.path().join("store/tmp")).unwrap().count(), 0);
}

#[test]
fn imports_what_docker_save_writes() {
    let dir = tempfile::tempdir().unwrap();
    let tar = layer(&[(EntryType::Regular, "hello", "world")]);
    let config = json!({"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha(&tar), sha(&tar)]}});
    let config = config.to_string();
    let manifest =
        json!([{"Config": "c.json", "RepoTags": ["greeter:old"], "Layers": ["1/layer.tar", "2/layer.tar"]}]);
    let mut archive = Builder::new(Vec::new());
    entry(&mut archive, EntryType::Regular, "1/layer.tar", "", &tar);
    entry(&mut archive, EntryType::Symlink, "2/layer.tar", "../1/layer.tar", b"");
    entry(&mut archive, EntryType::Regular, "c.json", "", config.as_bytes());
    entry(&mut archive, EntryType::Regular, "manifest.json", "", manifest.to_string().as_bytes());
    let path = dir.path().join("saved.tar");
    fs::write(&path, archive.into_inner().unwrap()).unwrap();
    let images = Images::open(&dir.path().join("store"), Limits::default(), false).unwrap();
    assert_eq!(images.import(&path).unwrap(), ["docker.io/library/greeter:old"]);
    assert_eq!(images.usable("greeter:old").unwrap().unwrap().layers.len(), 2);
}

#[test]
fn a_changed_blob_is_refused_and_nothing_stays() {
    let dir = tempfile::tempdir().unwrap();
    let layout = dir.path().join("greeter");
    fs::create_dir(&layout).unwrap();
    oci_layout(&layout, "v1");
    for blob in fs::read_dir(layout.join("blobs/sha256")).unwrap() {
        let path = blob.unwrap().path();
        let original = fs::read(&path).unwrap();
        let mut changed = original.clone();
        let middle = changed.len() / 2;
        changed[middle] ^= 1;
        fs::write(&path, changed).unwrap();
        let store = tempfile::tempdir().unwrap();
        let images = Images::open(store.path(), Limits::default(), false).unwrap();
        let error = images.import(&layout).unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error}");
        assert_eq!(images.list().unwrap(), []);
        assert_eq!(fs::read_dir(images.layers_dir()).unwrap().count(), 0);
        fs::write(&path, original).unwrap();
    }
}

#[test]
fn the_host_image_is_made_once() {
    let dir = tempfile::tempdir().unwrap();
    let images = Images::open(dir.path(), Limits::default(), true).unwrap();
    let first = images.usable("coracle.local/host").unwrap().unwrap();
    assert_eq!(images.usable("coracle.local/host:latest").unwrap().unwrap().image_ref, first.image_ref);
    assert_eq!(images.list().unwrap().len(), 1);
    assert!(first.binds.iter().any(|(from, to)| from == Path::new("/usr") && to == Path::new("/usr")));
    let root = images.layers_dir().join(&first.layers[0]);
    assert!(root.join("etc/passwd").is_file());
    assert_eq!(fs::read_dir(root.join("root")).unwrap().count(), 0);
}

#[test]
fn bad_names_are_told_in_known_words() {
    let check = |image, expected: expect_test::Expect| {
        expected.assert_eq(&image_name_error(image).unwrap_or_default());
    };
    check("busybox", expect![""]);
    check("registry.example:5000/a/b:c", expect![""]);
    check("UPPER", expect!["invalid reference format: repository name (library/UPPER) must be lowercase"]);
    check("a/B:1", expect!["invalid reference format: repository name (a/B) must be lowercase"]);
    check("a b", expect!["invalid reference format"]);
    check("", expect!["repository name must have at least one component"]);
    check("a@sha256:12", expect!["invalid reference format"]);
}
