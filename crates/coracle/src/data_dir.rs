//! Where a cluster keeps itself: the layout of the data directory.

use std::fs::{File, TryLockError};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

#[derive(Debug, Clone)]
pub(crate) struct DataDir(PathBuf);

impl DataDir {
    /// Make the directory, for its owner alone; one that belongs to somebody else is refused.
    pub(crate) fn open(path: &Path) -> anyhow::Result<DataDir> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true).mode(0o700);
        builder.create(path).with_context(|| format!("cannot make the data directory {}", path.display()))?;
        let path = path.canonicalize().with_context(|| format!("cannot open {}", path.display()))?;
        let owner = path.metadata().with_context(|| format!("cannot read {}", path.display()))?.uid();
        let me = nix::unistd::geteuid();
        if owner != me.as_raw() {
            bail!(
                "the data directory {} belongs to user {owner}, not to {me}: choose another with --data-dir",
                path.display()
            );
        }
        Ok(DataDir(path))
    }

    /// Keep other clusters out for as long as the lock is held: even one that keeps its objects in memory has its bridge,
    /// control groups and Pods by the directory's name. The kernel lets go of it however the process ends.
    pub(crate) fn lock(&self) -> anyhow::Result<File> {
        let shown = self.0.display();
        let dir = File::open(&self.0).with_context(|| format!("cannot open {shown}"))?;
        match dir.try_lock() {
            Ok(()) => Ok(dir),
            Err(TryLockError::WouldBlock) => {
                bail!(
                    "the data directory {shown} is in use by another cluster: choose another with --data-dir"
                )
            }
            Err(TryLockError::Error(error)) => Err(error).with_context(|| format!("cannot lock {shown}")),
        }
    }

    /// Root's clusters live where system services live, others in the user's own state directory.
    pub(crate) fn default_path() -> PathBuf {
        if nix::unistd::geteuid().is_root() {
            return PathBuf::from("/var/lib/coracle");
        }
        let home = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("/tmp"));
        let state = std::env::var_os("XDG_STATE_HOME").map(PathBuf::from).filter(|p| p.is_absolute());
        state.unwrap_or_else(|| home().join(".local/state")).join("coracle")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.0.join("store")
    }

    pub(crate) fn pki(&self) -> PathBuf {
        self.0.join("pki")
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.0.join("kubeconfig")
    }

    pub(crate) fn network(&self) -> PathBuf {
        self.0.join("network")
    }

    pub(crate) fn kubelet(&self) -> PathBuf {
        self.0.join("kubelet")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.0.join("logs")
    }

    pub(crate) fn images(&self) -> PathBuf {
        self.0.join("images")
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.0.join("runtime")
    }

    /// A short name that tells this cluster's bridges, tables and cgroups from every other's on the machine: FNV-1a of
    /// the path, because it must come out the same in every build for as long as the directory lives.
    pub(crate) fn cluster_id(&self) -> String {
        let (offset, prime) = (0xcbf2_9ce4_8422_2325_u64, 0x0100_0000_01b3_u64);
        let hash = self
            .0
            .as_os_str()
            .as_encoded_bytes()
            .iter()
            .fold(offset, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(prime));
        format!("{:06x}", hash & 0xff_ffff)
    }
}
