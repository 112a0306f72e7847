//! Linux system calls that have no safe wrapper: mount objects, clones with namespaces, signals.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::unistd::Pid;

const EMPTY: &CStr = c"";

/// A copy of the mount tree at `path`, not attached anywhere.
pub(crate) fn open_tree(path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    let recursive = if recursive { libc::AT_RECURSIVE.cast_unsigned() } else { 0 };
    let flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC | recursive;
    // SAFETY: `path` ends in a zero byte and outlives the call.
    let fd = unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) };
    owned(fd)
}

/// Attach what [`open_tree`] has copied.
pub(crate) fn move_mount(tree: &OwnedFd, to: &Path) -> io::Result<()> {
    let to = CString::new(to.as_os_str().as_bytes())?;
    let fd = tree.as_raw_fd();
    let flags = libc::MOVE_MOUNT_F_EMPTY_PATH;
    // SAFETY: both paths end in a zero byte and outlive the call; `fd` is open.
    let result = unsafe {
        libc::syscall(libc::SYS_move_mount, fd, EMPTY.as_ptr(), libc::AT_FDCWD, to.as_ptr(), flags)
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Change attributes (`MOUNT_ATTR_*`) and propagation (`MS_*`) of a whole copied tree.
pub(crate) fn mount_setattr(tree: &OwnedFd, attr_set: u64, propagation: u64) -> io::Result<()> {
    let attributes = libc::mount_attr { attr_set, attr_clr: 0, propagation, userns_fd: 0 };
    let size = size_of::<libc::mount_attr>();
    let flags = libc::AT_EMPTY_PATH | libc::AT_RECURSIVE;
    // SAFETY: the path ends in a zero byte, `attributes` is valid for `size` bytes, and `tree` is open.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            tree.as_raw_fd(),
            EMPTY.as_ptr(),
            flags,
            &raw const attributes,
            size,
        )
    };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

fn owned(fd: libc::c_long) -> io::Result<OwnedFd> {
    let fd = Errno::result(fd).map_err(io::Error::from)?;
    let fd = RawFd::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `fork` with new namespaces for the child; `None` in the child.
///
/// # Safety
/// The calling process must have a single thread.
pub(crate) unsafe fn fork_into(namespaces: CloneFlags) -> io::Result<Option<Pid>> {
    let flags = libc::c_long::from(namespaces.bits() | libc::SIGCHLD);
    // SAFETY: without CLONE_VM and without a stack this is fork, and there are no other threads to leave locks held.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) };
    let pid = Errno::result(pid).map_err(io::Error::from)?;
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    Ok((pid != 0).then(|| Pid::from_raw(pid)))
}

/// Be killed when the parent dies.
pub(crate) fn die_with_parent() -> io::Result<()> {
    // SAFETY: PR_SET_PDEATHSIG takes one integer.
    let result = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// The signal mask and handlers that a program expects to start with. Rust ignores SIGPIPE and the shim blocks SIGCHLD;
/// both would be inherited over `execve`.
pub(crate) fn reset_signals() {
    // SAFETY: an empty mask and default handlers are valid for every signal; errors for SIGKILL and SIGSTOP (and for
    // those the C library keeps) mean there is nothing to reset.
    unsafe {
        let mut none = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
    }
}

/// Close every descriptor above standard error.
///
/// # Safety
/// Nothing in this process may use (or own) a descriptor above 2 afterwards.
pub(crate) unsafe fn close_above_stderr() {
    // SAFETY: the caller has promised that no descriptor is in use.
    unsafe { libc::syscall(libc::SYS_close_range, 3, libc::c_uint::MAX, 0) };
}

/// Bring up the loopback interface of the current network namespace.
pub(crate) fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: all-zero is a valid ifreq.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which is filled in and outlives the call.
    let result = unsafe { libc::ioctl(socket.as_fd().as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}

/// Tell the kernel the size of a terminal.
pub(crate) fn set_window_size(terminal: &impl AsFd, width: u16, height: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: height, ws_col: width, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCSWINSZ reads one winsize, which outlives the call.
    let result = unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSWINSZ, &raw const size) };
    Errno::result(result).map(drop).map_err(io::Error::from)
}
