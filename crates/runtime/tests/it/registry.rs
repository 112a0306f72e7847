//! A registry of the test's own: Debian's `docker-registry` on a loopback port, and what is pushed to it.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64::Engine;
use serde_json::{Value, json};

use super::image;

const PROGRAMS: [&str; 2] = ["/usr/bin/docker-registry", "/usr/local/bin/docker-registry"];
/// The one account of a protected registry, and its line in the password file (bcrypt, the least cost).
pub(crate) const USER: &str = "robot";
pub(crate) const PASSWORD: &str = "correct horse";
const HTPASSWD: &str = "robot:$2b$04$UvJw8d8PCAldO17X.ShsweACOFBmrh/KhiIcBX.Ew5y7P9f6isBzu\n";

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

/// Gone with its content when dropped.
pub(crate) struct Registry {
    dir: tempfile::TempDir,
    process: Child,
    address: SocketAddr,
    protected: bool,
}

impl Registry {
    pub(crate) fn program() -> Option<PathBuf> {
        PROGRAMS.iter().map(PathBuf::from).find(|path| path.exists())
    }

    pub(crate) fn start(protected: bool) -> Registry {
        let dir = tempfile::tempdir().unwrap();
        let mut config = json!({"version": "0.1", "log": {"level": "info"},
            "http": {"addr": "127.0.0.1:0"},
            "storage": {"filesystem": {"rootdirectory": dir.path().join("content")}}});
        if protected {
            let path = dir.path().join("htpasswd");
            fs::write(&path, HTPASSWD).unwrap();
            config["auth"] = json!({"htpasswd": {"realm": "test", "path": path}});
        }
        let file = dir.path().join("config.yml");
        fs::write(&file, config.to_string()).unwrap();
        let mut command = Command::new(Registry::program().unwrap());
        command.arg("serve").arg(&file).env("OTEL_TRACES_EXPORTER", "none");
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines().map_while(Result::ok);
        let address = lines.by_ref().find_map(|line| {
            let rest = line.split_once("listening on ")?.1;
            rest.split(['"', ' ', ',']).next()?.parse().ok()
        });
        // A pipe that nobody reads would stop the registry.
        std::thread::spawn(move || lines.for_each(drop));
        let address = address.expect("the registry says where it listens");
        Registry { dir, process, address, protected }
    }

    /// `HOST:PORT/repository`
    pub(crate) fn name(&self, repository: &str) -> String {
        format!("{}/{repository}", self.address)
    }

    /// Push an image of busybox; returns its manifest's digest.
    pub(crate) fn push(&self, repository: &str, tag: &str, config: &Value) -> String {
        let layer = image::layer();
        let config = self.blob(repository, CONFIG, &image::config(&layer, config));
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&layer).unwrap();
        let layer = self.blob(repository, LAYER, &gzip.finish().unwrap());
        let manifest =
            json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [layer]});
        self.manifest(repository, tag, MANIFEST, &manifest)
    }

    /// Push an index in which this platform has the manifest `digest`, after one for another platform.
    pub(crate) fn push_index(&self, repository: &str, tag: &str, digest: &str) -> String {
        let path = self.blob_path(digest);
        let size = fs::metadata(path).unwrap().len();
        let entry = |architecture: &str, os: &str| {
            json!({"mediaType": MANIFEST, "digest": digest, "size": size,
                "platform": {"architecture": architecture, "os": os}})
        };
        let here = oci_spec::image::Arch::default().to_string();
        let manifests = [entry("s390x", "windows"), entry(&here, "linux")];
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests});
        self.manifest(repository, tag, INDEX, &index)
    }

    fn manifest(&self, repository: &str, tag: &str, media_type: &str, manifest: &Value) -> String {
        let content = manifest.to_string().into_bytes();
        let (status, _) =
            self.request("PUT", &format!("/v2/{repository}/manifests/{tag}"), media_type, &content);
        assert_eq!(status, 201, "manifest {tag}");
        image::digest(&content)
    }

    /// Push a blob; returns its descriptor.
    fn blob(&self, repository: &str, media_type: &str, content: &[u8]) -> Value {
        let digest = image::digest(content);
        let (status, location) =
            self.request("POST", &format!("/v2/{repository}/blobs/uploads/"), "text/plain", b"");
        assert_eq!(status, 202, "upload");
        let location = location.expect("an upload has a place");
        let path = &location[location.find("/v2/").unwrap()..];
        let path = format!("{path}&digest={digest}");
        assert_eq!(self.request("PUT", &path, "application/octet-stream", content).0, 201, "blob");
        json!({"mediaType": media_type, "digest": digest, "size": content.len()})
    }

    /// Status and `Location` of the answer.
    fn request(&self, method: &str, path: &str, media_type: &str, body: &[u8]) -> (u16, Option<String>) {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n", self.address);
        head += &format!("Content-Type: {media_type}\r\nContent-Length: {}\r\n", body.len());
        if self.protected {
            let text = format!("{USER}:{PASSWORD}");
            let text = base64::engine::general_purpose::STANDARD.encode(text);
            head += &format!("Authorization: Basic {text}\r\n");
        }
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(b"\r\n").unwrap();
        stream.write_all(body).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8_lossy(&answer);
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        let location = answer.lines().find_map(|line| line.strip_prefix("Location: "));
        (status, location.map(|text| text.trim().to_owned()))
    }

    fn blob_path(&self, digest: &str) -> PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = Path::new("content/docker/registry/v2/blobs/sha256");
        self.dir.path().join(blobs).join(&hex[..2]).join(hex).join("data")
    }

    /// Every blob that an image is made of, with its digest: manifest, configuration, layer.
    pub(crate) fn blobs_of(&self, digest: &str) -> Vec<(String, PathBuf)> {
        let path = self.blob_path(digest);
        let manifest: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        let of = |descriptor: &Value| descriptor["digest"].as_str().unwrap().to_owned();
        let digests = [digest.to_owned(), of(&manifest["config"]), of(&manifest["layers"][0])];
        digests.into_iter().map(|digest| (digest.clone(), self.blob_path(&digest))).collect()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
