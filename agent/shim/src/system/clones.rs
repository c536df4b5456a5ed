//! New processes: copies of this one, and such as use its memory until they become another program.
//!
//! Both begin inside a version 2 control group if one is given: moving a process later takes a system-wide lock.

use std::ffi::{c_int, c_long};
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::process::Pid;

use super::errno;

/// From linux/sched.h; the constant of `libc` is cut to 32 bits.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Runs `child` in a new process, inside the version 2 control group if one is given, in new namespaces
/// (`CLONE_NEW…`) if there are any.
///
/// # Errors
/// What the system says; with a group it may be that the kernel cannot fork into it.
pub(crate) fn fork(
    cgroup: Option<BorrowedFd<'_>>,
    namespaces: c_int,
    child: impl FnOnce() -> c_int,
) -> Result<Pid, Errno> {
    // SAFETY: this process has one thread, so the copy has no lock held by a thread that is gone.
    let pid = unsafe {
        match cgroup {
            None if namespaces == 0 => c_long::from(libc::fork()),
            group => {
                let mut arguments: libc::clone_args = std::mem::zeroed();
                arguments.flags = u64::from(namespaces.cast_unsigned());
                arguments.exit_signal = libc::SIGCHLD as u64;
                if let Some(group) = group {
                    arguments.flags |= CLONE_INTO_CGROUP;
                    arguments.cgroup = group.as_raw_fd() as u64;
                }
                libc::syscall(
                    libc::SYS_clone3,
                    &raw const arguments,
                    size_of::<libc::clone_args>(),
                )
            }
        }
    };
    match pid {
        0 => {
            let code = child();
            // SAFETY: ends this copy without running anything that belongs to the parent.
            unsafe { libc::_exit(code) }
        }
        pid => {
            let pid = i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .filter(|pid| pid.as_raw_nonzero().get() > 0);
            pid.ok_or_else(errno)
        }
    }
}

/// Bytes of the stack on which a process runs that shares this one's memory; only what is touched of it is ever there. Less
/// than the 128 KiB from which on the C library maps memory: once it has freed a piece that it had mapped, it takes the
/// next one of that size from the heap and clears it, and that would be the buffer of a shim's whole life.
const SHARED_STACK_BYTES: usize = 96 << 10;

/// Runs `child` in a new process that shares the memory of this one and nothing else of it, inside the version 2 control
/// group if one is given. This one stands still until the child has become its program or has ended.
///
/// # Errors
/// What the system says; it may be that it cannot do that, and [`fork`] can.
pub(crate) fn fork_sharing<F: FnOnce() -> c_int>(
    cgroup: Option<BorrowedFd<'_>>,
    child: F,
) -> Result<Pid, Errno> {
    extern "C" fn enter<F: FnOnce() -> c_int>(child: *mut libc::c_void) -> c_int {
        // SAFETY: the pointer below, to a value that outlives the child's use of this memory and is used by nobody else.
        let child = unsafe { &mut *child.cast::<Option<F>>() }.take();
        child.map_or(libc::EXIT_FAILURE, |child| child())
    }
    let mut child = Some(child);
    let mut stack = Vec::<u128>::with_capacity(SHARED_STACK_BYTES / size_of::<u128>());
    // SAFETY: the kernel takes all zeros for "nothing special".
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from((libc::CLONE_VM | libc::CLONE_VFORK).cast_unsigned());
    arguments.exit_signal = libc::SIGCHLD as u64;
    arguments.stack = stack.spare_capacity_mut().as_mut_ptr().expose_provenance() as u64;
    arguments.stack_size = SHARED_STACK_BYTES as u64;
    if let Some(group) = cgroup {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    // SAFETY: the stack is aligned and lives until the child no longer uses this memory, which is when the call returns;
    // this process has one thread, which waits, so nothing is used by two at once.
    let result = unsafe { clone_onto_stack(&arguments, enter::<F>, (&raw mut child).cast()) };
    let failed = c_long::from(-4095_i32)..0;
    if failed.contains(&result) {
        return Err(i32::try_from(-result).map_or(Errno::IO, Errno::from_raw_os_error));
    }
    let pid = i32::try_from(result).ok().and_then(Pid::from_raw);
    pid.ok_or(Errno::IO)
}

/// `clone3` whose child runs `enter(argument)` on the stack that `arguments` name, and ends with its result. Returns the
/// child's number, or an error's below zero. The C library has a function like this for `clone` alone, which knows no
/// control groups.
///
/// # Safety
/// The stack must be unused, and aligned for a call, at its end; what `enter` uses must live until it is done with this memory.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_onto_stack(
    arguments: &libc::clone_args,
    enter: extern "C" fn(*mut libc::c_void) -> c_int,
    argument: *mut libc::c_void,
) -> c_long {
    let result;
    // SAFETY: the child begins behind the first `syscall` with an empty stack and copies of all registers, and never
    // comes to the end; the parent goes there with nothing but `rax`, `rcx` and `r11` changed.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 2f",
            "xor ebp, ebp",
            "mov rdi, r12",
            "call r13",
            "mov edi, eax",
            "mov eax, {exit}",
            "syscall",
            "ud2",
            "2:",
            exit = const libc::SYS_exit_group,
            inlateout("rax") libc::SYS_clone3 => result,
            in("rdi") std::ptr::from_ref(arguments),
            in("rsi") size_of::<libc::clone_args>(),
            in("r12") argument,
            in("r13") enter,
            lateout("rcx") _,
            lateout("r11") _,
        );
    }
    result
}

/// Not there for other processors: a copy serves as well, only slower.
#[cfg(not(target_arch = "x86_64"))]
unsafe fn clone_onto_stack(
    _: &libc::clone_args,
    _: extern "C" fn(*mut libc::c_void) -> c_int,
    _: *mut libc::c_void,
) -> c_long {
    -c_long::from(libc::ENOSYS)
}
