//! The system calls that have no safe wrapper: fork into a control group, exec, signals, and
//! closing everything at once. All `unsafe` of the shim is in this file and in `clones`.
//!
//! What makes them sound is one fact: a shim has one thread, from its first instruction on.

#![allow(
    unsafe_code,
    reason = "fork, clone3, execve and signal masks exist only as raw system calls"
)]

mod clones; // new processes: copies of this one, and such as share its memory

use std::ffi::{CStr, c_char, c_int, c_uint};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::io::Errno;
use rustix::mount::MountAttrFlags;
use rustix::thread::{capabilities, set_capabilities};
use rustix::time::{ClockId, clock_gettime};

pub(crate) use clones::{fork, fork_sharing};

/// Signals are 1 to 64 on every architecture that Rust's Linux targets share this layout with.
const LAST_SIGNAL: c_int = 64;

/// Bytes of the kernel's signal set.
const SIGNAL_SET_BYTES: usize = 8;

fn errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Microseconds of the wall clock since the epoch, for the record only: nothing is decided by it.
pub(crate) fn wall_clock_us() -> u64 {
    let now = clock_gettime(ClockId::Realtime);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let micros = u64::try_from(now.tv_nsec / 1_000).unwrap_or(0);
    seconds.saturating_mul(1_000_000).saturating_add(micros)
}

/// Milliseconds of a clock that never goes back.
pub(crate) fn monotonic_ms() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec * 1_000 + now.tv_nsec / 1_000_000
}

/// Closes every file descriptor from `first` on.
pub(crate) fn close_from(first: c_uint) {
    // SAFETY: called before this process has opened anything above the standard three, so no owned
    // descriptor is closed behind its owner's back.
    unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) };
}

/// Closes every file descriptor above the standard three but these.
pub(crate) fn close_all_but<'a>(kept: impl IntoIterator<Item = &'a OwnedFd>) {
    let kept = kept.into_iter();
    let mut numbers: Vec<c_uint> = kept.map(|fd| fd.as_raw_fd().unsigned_abs()).collect();
    numbers.sort_unstable();
    let mut first: c_uint = 3;
    for number in numbers {
        if number > first {
            // SAFETY: called in a forked child, which ends by exec or `_exit` and never drops other owners.
            unsafe { libc::syscall(libc::SYS_close_range, first, number - 1, 0) };
        }
        first = first.max(number + 1);
    }
    // SAFETY: as above.
    unsafe { libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) };
}

/// Closes a forked child's copy of a descriptor that belongs to its parent.
pub(crate) fn close_copy(fd: &OwnedFd) {
    // SAFETY: called in the child only, which ends by exec or `_exit` and never drops the owner.
    unsafe { libc::close(fd.as_raw_fd()) };
}

/// Blocks every signal, so that none ends or disturbs the shim, and makes children waitable again
/// in case the parent ignored `SIGCHLD`.
pub(crate) fn hold_signals() {
    // SAFETY: plain system calls on a signal set that sigfillset has filled.
    unsafe {
        let mut all = MaybeUninit::uninit();
        libc::sigfillset(all.as_mut_ptr());
        libc::sigprocmask(libc::SIG_SETMASK, all.as_ptr(), ptr::null_mut());
        libc::signal(libc::SIGCHLD, libc::SIG_DFL);
    }
}

/// A descriptor that is readable when a child has ended; `SIGCHLD` must be blocked.
///
/// # Errors
/// What the system says.
pub(crate) fn child_signals() -> Result<OwnedFd, Errno> {
    // SAFETY: the set is filled by sigemptyset before it is used; the descriptor is new and ours.
    unsafe {
        let mut set = MaybeUninit::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        let fd = libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
        if fd < 0 {
            Err(errno())
        } else {
            Ok(OwnedFd::from_raw_fd(fd))
        }
    }
}

/// Gives every signal its default again and unblocks all: what a program expects at its start. By
/// raw calls, because the C library keeps 32 and 33 for itself and its `posix_spawn` leaves them
/// ignored.
pub(crate) fn default_signals() {
    // The kernel's own form of a signal's action; all zero is the default action.
    let default_action = [0_u64; 4];
    // SAFETY: the action and the empty set outlive the calls, and have the size the kernel reads;
    // no handler of this process is left that could be missed.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            let action = default_action.as_ptr();
            libc::syscall(
                libc::SYS_rt_sigaction,
                signal,
                action,
                ptr::null_mut::<u64>(),
                SIGNAL_SET_BYTES,
            );
        }
        let none = 0_u64;
        libc::syscall(
            libc::SYS_rt_sigprocmask,
            libc::SIG_SETMASK,
            &raw const none,
            ptr::null_mut::<u64>(),
            SIGNAL_SET_BYTES,
        );
    }
}

/// Replaces this program. Returns only when that failed.
pub(crate) fn exec(
    program: &CStr,
    argv: &CStringArray<'_>,
    environment: &CStringArray<'_>,
) -> Errno {
    // SAFETY: all three are null-terminated and borrowed for the time of the call.
    unsafe { libc::execve(program.as_ptr(), argv.0.as_ptr(), environment.0.as_ptr()) };
    errno()
}

/// The place of this process's arguments, which is what `ps` shows.
pub(crate) struct Title {
    start: usize,
    bytes: usize,
}

impl Title {
    /// Found in `/proc`; `None` when that is not there. The arguments must not be asked for any more.
    pub(crate) fn of_this_process() -> Option<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
        // The name in parentheses may hold anything; arg_start and arg_end are the 46th and 47th word behind it.
        let (_, behind) = stat.rsplit_once(')')?;
        let mut places = behind.split_whitespace().skip(45).map(str::parse::<usize>);
        let (start, end) = (places.next()?.ok()?, places.next()?.ok()?);
        let bytes = end.checked_sub(start).filter(|_| start != 0)?;
        Some(Self { start, bytes })
    }

    /// Shows `words` instead, as far as there is room.
    pub(crate) fn set(&self, words: &[&[u8]]) {
        let text = words.join(&0);
        // The last byte stays what it is, zero.
        let shown = text.len().min(self.bytes.saturating_sub(1));
        let place = ptr::with_exposed_provenance_mut::<u8>(self.start);
        // SAFETY: the kernel has put the arguments there, at the top of this process's stack, writable and `bytes`
        // long; they were copied when the program began and nobody reads them again.
        unsafe {
            ptr::write_bytes(place, 0, self.bytes);
            ptr::copy_nonoverlapping(text.as_ptr(), place, shown);
        }
    }
}

/// Texts as exec wants them: pointers, the last one null.
pub(crate) struct CStringArray<'a>(Vec<*const c_char>, std::marker::PhantomData<&'a CStr>);

impl<'a> CStringArray<'a> {
    /// Of these texts, which stay borrowed.
    pub(crate) fn new(texts: &'a [std::ffi::CString]) -> Self {
        let pointers = texts
            .iter()
            .map(|text| text.as_ptr())
            .chain([ptr::null()])
            .collect();
        Self(pointers, std::marker::PhantomData)
    }
}

/// Gives this process a view of control groups in which its own are the topmost. A kernel that has no such view is fine.
pub(crate) fn own_view_of_groups() {
    // SAFETY: a plain system call; control groups share nothing with the memory or files of this process.
    unsafe { libc::unshare(libc::CLONE_NEWCGROUP) };
}

/// Sets attributes of a mount: at `path` below `place`, or of `place` itself when `path` is empty.
///
/// # Errors
/// What the system says; `NOSYS` before Linux 5.12.
pub(crate) fn mount_attributes(
    place: impl AsFd,
    path: &CStr,
    attributes: MountAttrFlags,
) -> Result<(), Errno> {
    set_mount(place, path, |wanted| {
        wanted.attr_set = u64::from(attributes.bits());
    })
}

/// Changes a mount as `say` fills in.
fn set_mount(
    place: impl AsFd,
    path: &CStr,
    say: impl FnOnce(&mut libc::mount_attr),
) -> Result<(), Errno> {
    // SAFETY: the kernel takes all zeros for "nothing to change".
    let mut wanted: libc::mount_attr = unsafe { std::mem::zeroed() };
    say(&mut wanted);
    // SAFETY: path and structure outlive the call, and the size is that of the structure.
    let done = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            place.as_fd().as_raw_fd(),
            path.as_ptr(),
            libc::AT_EMPTY_PATH,
            &raw const wanted,
            size_of::<libc::mount_attr>(),
        )
    };
    if done < 0 { Err(errno()) } else { Ok(()) }
}

/// Shows what is in a mount as that of other users: those of a user namespace who have the numbers on disk.
///
/// # Errors
/// What the system says; `INVAL` for file systems that cannot do it, and before Linux 5.12.
pub(crate) fn map_users(tree: &OwnedFd, namespace: &OwnedFd) -> Result<(), Errno> {
    set_mount(tree, c"", |wanted| {
        wanted.attr_set = libc::MOUNT_ATTR_IDMAP;
        wanted.userns_fd = u64::from(namespace.as_raw_fd().unsigned_abs());
    })
}

/// Makes what this process makes in file systems belong to a user and the group of the same number, without giving up any
/// power over what is there. For root only.
///
/// # Errors
/// What the system says; `PERM` when it has not been done.
pub(crate) fn make_files_as(id: u32) -> Result<(), Errno> {
    // SAFETY: these change numbers of this thread, which is the only one. They cannot tell that they have failed; asked for
    // a user who cannot be, the last one tells who it is now.
    let now = unsafe {
        libc::setfsgid(id);
        libc::setfsuid(id);
        libc::setfsuid(u32::MAX)
    };
    if now.cast_unsigned() != id {
        return Err(Errno::PERM);
    }
    // The kernel has taken those away that are about files.
    let mut powers = capabilities(None)?;
    powers.effective = powers.permitted;
    set_capabilities(None, powers)
}

/// Leaves the network of the machine for one without any device but a loopback that is down.
pub(crate) fn own_network() -> Result<(), Errno> {
    // SAFETY: only the network changes, and only for this process of one thread.
    match unsafe { libc::unshare(libc::CLONE_NEWNET) } {
        0 => Ok(()),
        _ => Err(errno()),
    }
}

/// Brings the loopback device of this network namespace up.
///
/// # Errors
/// What the system says.
pub(crate) fn loopback_up() -> Result<(), Errno> {
    use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
    let socket = socket_with(
        AddressFamily::INET,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        None,
    )?;
    // SAFETY: the kernel's structure of an interface; all zeros is a good one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(*b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as _;
    // SAFETY: the structure is the one this request takes, and outlives the call.
    let done = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if done < 0 { Err(errno()) } else { Ok(()) }
}

/// Has the kernel ask `program` before every system call from now on, in whatever this process becomes too.
///
/// # Errors
/// What the system says; without `CAP_SYS_ADMIN` there must be no new privileges.
pub(crate) fn filter_calls(program: &[libc::sock_filter]) -> Result<(), Errno> {
    let length = u16::try_from(program.len()).map_err(|_| Errno::INVAL)?;
    let filter = libc::sock_fprog {
        len: length,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: the program outlives the call; the kernel copies it and changes nothing.
    let done = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const filter,
        )
    };
    if done < 0 { Err(errno()) } else { Ok(()) }
}

/// Sets a limit of this process by its number.
///
/// # Errors
/// What the system says.
pub(crate) fn limit(resource: c_int, soft: Option<u64>, hard: Option<u64>) -> Result<(), Errno> {
    let limit = libc::rlimit64 {
        rlim_cur: soft.unwrap_or(libc::RLIM64_INFINITY),
        rlim_max: hard.unwrap_or(libc::RLIM64_INFINITY),
    };
    // SAFETY: the structure outlives the call; process 0 is this one.
    let done = unsafe {
        libc::syscall(
            libc::SYS_prlimit64,
            0,
            resource,
            &raw const limit,
            ptr::null_mut::<libc::rlimit64>(),
        )
    };
    if done < 0 { Err(errno()) } else { Ok(()) }
}

/// Has the kernel end this process, or what it becomes by exec, with `SIGALRM` after `seconds`.
pub(crate) fn end_after(seconds: c_uint) {
    // SAFETY: a plain system call.
    unsafe { libc::alarm(seconds) };
}
