//! The last steps of a container's or exec's process before it becomes the program: run inside of the container, by
//! libcontainer.

use std::os::fd::{BorrowedFd, RawFd};
use std::path::{Path, PathBuf};

use libcontainer::capabilities::drop_privileges;
use libcontainer::oci_spec::runtime::{LinuxCapabilities, LinuxSeccomp, Spec};
use libcontainer::syscall::syscall::create_syscall;
use libcontainer::workload::{Executor, ExecutorError, ExecutorValidationError};
use nix::errno::Errno;
use nix::unistd::{AccessFlags, execv, faccessat};

use super::sys;

#[derive(Clone)]
pub(super) struct Workload {
    /// Gets the reason when the program cannot be started; closes itself when it can.
    pub(super) report: Option<RawFd>,
    pub(super) confinement: Option<Confinement>,
}

/// libcontainer does not confine the processes of an exec by seccomp. They come here with the privileges to load the
/// filter, and lose them here.
#[derive(Clone)]
pub(super) struct Confinement {
    pub(super) seccomp: Option<LinuxSeccomp>,
    /// `None`: they are right already.
    pub(super) capabilities: Option<LinuxCapabilities>,
}

impl Workload {
    fn fail(&self, message: String) -> ExecutorError {
        self.report(&message);
        ExecutorError::Other(message)
    }

    fn report(&self, message: &str) {
        if let Some(report) = self.report {
            // SAFETY: the shim made this descriptor for this purpose and it is open until `execve`.
            let report = unsafe { BorrowedFd::borrow_raw(report) };
            let _ = nix::unistd::write(report, message.as_bytes());
        }
    }
}

impl Executor for Workload {
    fn exec(&self, spec: &Spec) -> Result<(), ExecutorError> {
        let (args, path) = command(spec).map_err(|message| self.fail(message))?;
        let program = find(&args[0], &path).map_err(|message| self.fail(message))?;
        sys::reset_signals();
        sys::die_with_parent().map_err(|error| self.fail(format!("exec: {error}")))?;
        if let Some(confinement) = &self.confinement {
            confinement.apply().map_err(|message| self.fail(message))?;
        }
        let c_string = |text: &str| std::ffi::CString::new(text).unwrap_or_default();
        let args: Vec<_> = args.iter().map(|arg| c_string(arg)).collect();
        let Err(error) = execv(&c_string(&program.to_string_lossy()), &args);
        Err(self.fail(format!("exec: {program:?}: {}", words(error))))
    }

    fn validate(&self, spec: &Spec) -> Result<(), ExecutorValidationError> {
        let refused = ExecutorValidationError::ArgValidationError;
        let found = command(spec).and_then(|(args, path)| find(&args[0], &path));
        found.map(drop).map_err(|message| {
            self.report(&message);
            refused(message)
        })
    }
}

impl Confinement {
    fn apply(&self) -> Result<(), String> {
        if let Some(seccomp) = &self.seccomp {
            libcontainer::seccomp::initialize_seccomp(seccomp)
                .map_err(|error| format!("seccomp: {error}"))?;
        }
        let Some(capabilities) = &self.capabilities else { return Ok(()) };
        let syscall = create_syscall();
        drop_privileges(capabilities, syscall.as_ref()).map_err(|error| format!("drop capabilities: {error}"))
    }
}

/// Arguments, and the PATH that the program will have.
fn command(spec: &Spec) -> Result<(Vec<String>, String), String> {
    let process = spec.process().as_ref().ok_or("no process")?;
    let args = process.args().clone().filter(|args| !args.is_empty()).ok_or("no command specified")?;
    let env = process.env().clone().unwrap_or_default();
    let path = env.iter().rev().find_map(|variable| variable.strip_prefix("PATH=")).unwrap_or_default();
    Ok((args, path.to_owned()))
}

/// The program that `name` stands for, in the words that runc has for what is wrong with it.
fn find(name: &str, path: &str) -> Result<PathBuf, String> {
    if name.contains('/') {
        return match executable(Path::new(name)) {
            Ok(()) => Ok(name.into()),
            Err(error @ (Errno::ENOENT | Errno::ENOTDIR)) => {
                Err(format!("exec: {name:?}: stat {name}: {}", words(error)))
            }
            Err(error) => Err(format!("exec: {name:?}: {}", words(error))),
        };
    }
    let mut denied = false;
    for dir in path.split(':') {
        let candidate = Path::new(if dir.is_empty() { "." } else { dir }).join(name);
        match executable(&candidate) {
            Ok(()) => return Ok(candidate),
            Err(Errno::EACCES) => denied = true,
            Err(_) => {}
        }
    }
    Err(format!(
        "exec: {name:?}: {}",
        if denied { words(Errno::EACCES) } else { "executable file not found in $PATH" }
    ))
}

fn executable(path: &Path) -> Result<(), Errno> {
    faccessat(nix::fcntl::AT_FDCWD, path, AccessFlags::X_OK, nix::fcntl::AtFlags::AT_EACCESS)?;
    if path.is_dir() { Err(Errno::EACCES) } else { Ok(()) }
}

fn words(error: Errno) -> &'static str {
    match error {
        Errno::ENOENT => "no such file or directory",
        Errno::EACCES => "permission denied",
        Errno::ENOEXEC => "exec format error",
        Errno::ENOTDIR => "not a directory",
        Errno::ELOOP => "too many levels of symbolic links",
        Errno::E2BIG => "argument list too long",
        other => other.desc(),
    }
}
