//! `--www`: files of one directory, and nothing outside of it.

use std::path::Path;

use bytes::Bytes;
use http::StatusCode;

use crate::forward::{Answer, bytes_answer, text};

/// Larger files are not what a page beside an API is made of.
const BYTES_MAX: u64 = 64 << 20;

pub(crate) fn serve(directory: &Path, file: &str) -> Answer {
    let file = if file.is_empty() { "index.html" } else { file };
    match read(directory, file) {
        Some(bytes) => bytes_answer(StatusCode::OK, content_type(file), bytes),
        None => text(StatusCode::NOT_FOUND, "404 page not found"),
    }
}

/// The file's bytes, where it resolves (links and all) to a plain file inside the directory.
fn read(directory: &Path, file: &str) -> Option<Bytes> {
    let root = directory.canonicalize().ok()?;
    let path = root.join(file).canonicalize().ok().filter(|p| p.starts_with(&root))?;
    let metadata = path.metadata().ok()?;
    if !metadata.is_file() || metadata.len() > BYTES_MAX {
        return None;
    }
    std::fs::read(path).ok().map(Bytes::from)
}

fn content_type(file: &str) -> &'static str {
    match file.rsplit('.').next().unwrap_or("") {
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_directory_is_served() {
        let dir = tempfile::tempdir().unwrap();
        let site = dir.path().join("site");
        std::fs::create_dir(&site).unwrap();
        std::fs::write(site.join("a.txt"), "in").unwrap();
        std::fs::write(dir.path().join("secret"), "out").unwrap();
        std::os::unix::fs::symlink(dir.path().join("secret"), site.join("link")).unwrap();
        assert_eq!(read(&site, "a.txt").as_deref(), Some(b"in".as_slice()));
        assert_eq!(read(&site, "link"), None);
        assert_eq!(read(&site, "../secret"), None);
    }
}
