//! Where the programs under test are.

use std::path::{Path, PathBuf};

/// The repository's root.
pub fn workspace() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    here.canonicalize().unwrap_or(here)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace().join("target"), PathBuf::from)
}

/// The program: `CORACLE_BIN`, or the debug build of this workspace.
pub fn coracle() -> PathBuf {
    let path = std::env::var_os("CORACLE_BIN").map_or_else(|| target().join("debug/coracle"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run cargo build -p coracle, or set CORACLE_BIN", path.display());
    path
}

/// What `tests/e2e/get-clients` has put in place.
pub fn clients_dir() -> PathBuf {
    let path = workspace().join("target/clients");
    assert!(path.exists(), "{} is missing: run tests/e2e/get-clients", path.display());
    path
}

/// The stock kubectl.
pub fn kubectl() -> PathBuf {
    let path = clients_dir().join("kubectl");
    assert!(path.exists(), "{} is missing: run tests/e2e/get-clients", path.display());
    path
}
