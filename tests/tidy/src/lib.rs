//! The house rules, as tests: see `tests/it.rs`. This library only finds and reads the tree.

#![forbid(unsafe_code)]

use std::path::{Path, PathBuf};

/// A source file of the workspace.
#[derive(Debug)]
pub struct Source {
    /// Relative to the repository's root.
    pub path: String,
    pub text: String,
}

impl Source {
    /// Code that only tests reach: it may be longer and may unwrap.
    pub fn is_test(&self) -> bool {
        self.path.contains("/tests/") || self.path.starts_with("tests/") || self.path.contains("/examples/")
    }

    /// The lines before the file's `mod tests`.
    pub fn lines_without_tests(&self) -> usize {
        let lines: Vec<&str> = self.text.lines().collect();
        let tests = lines
            .windows(2)
            .position(|w| w[0] == "#[cfg(test)]" && w[1].contains("mod ") && w[1].ends_with('{'));
        tests.unwrap_or(lines.len())
    }
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file of the workspace, without build output.
pub fn rust_sources() -> Vec<Source> {
    files().into_iter().filter(|s| s.path.ends_with(".rs")).collect()
}

/// Every text file that git would keep.
pub fn files() -> Vec<Source> {
    let mut found = Vec::new();
    visit(&root(), &mut found);
    found.sort_by(|a: &Source, b| a.path.cmp(&b.path));
    found
}

fn visit(dir: &Path, found: &mut Vec<Source>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        let name = entry.file_name().to_string_lossy().into_owned();
        // A directory, or in a worktree of git's a file that says where that is.
        if name == ".git" {
            continue;
        }
        if path.is_dir() {
            if name != "target" && name != "node_modules" {
                visit(&path, found);
            }
        } else if let Ok(text) = std::fs::read_to_string(&path) {
            let path = path.strip_prefix(root()).unwrap_or(&path).to_string_lossy().into_owned();
            found.push(Source { path, text });
        }
    }
}
