//! The program that shims run: this one, in a form that containers cannot write to.
//!
//! A process about to become a container's still has this program as its executable, and a hostile container may get
//! hold of it there and overwrite it on the node (CVE-2019-5736). Shims therefore run from a copy of the program's
//! mount that is read-only and attached nowhere.

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::sys;

#[derive(Debug)]
pub(crate) struct ShimProgram {
    program: OsString,
    args: Vec<OsString>,
    read_only: Option<OwnedFd>,
}

impl ShimProgram {
    /// `command`: program and first arguments.
    pub(crate) fn new(command: &[OsString]) -> io::Result<ShimProgram> {
        let (program, args) =
            command.split_first().ok_or_else(|| io::Error::other("no shim program is given"))?;
        // A path such as /proc/self/exe must mean this process, not a later one.
        let resolved = Path::new(program).canonicalize()?;
        let read_only = sys::open_tree(&resolved, false).and_then(|tree| {
            sys::mount_setattr(&tree, libc::MOUNT_ATTR_RDONLY, 0)?;
            Ok(tree)
        });
        if let Err(error) = &read_only {
            tracing::warn!(%error, "shims run from a writable program: this kernel is older than 5.12");
        }
        Ok(ShimProgram { program: resolved.into(), args: args.into(), read_only: read_only.ok() })
    }

    /// Start a shim and wait until it is ready to be spoken to.
    pub(crate) fn start(&self, sandbox_dir: &Path) -> io::Result<()> {
        let program = match &self.read_only {
            // Closed on `execve`, which has the program by then.
            Some(fd) => PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())),
            None => PathBuf::from(&self.program),
        };
        let log = std::fs::File::create(sandbox_dir.join("shim.log"))?;
        let mut child = Command::new(program)
            .args(&self.args)
            .arg(sandbox_dir)
            .current_dir("/")
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()?;
        let mut said = String::new();
        if let Some(mut stdout) = child.stdout.take() {
            stdout.read_to_string(&mut said)?;
        }
        child.wait()?;
        if said == "ready\n" {
            return Ok(());
        }
        let log = std::fs::read_to_string(sandbox_dir.join("shim.log")).unwrap_or_default();
        Err(io::Error::other(format!("shim has not started: {}", log.trim())))
    }
}
