//! Which system calls are refused in a container: those that change the machine, look into it, or have been a way out
//! of containers, and that no ordinary program needs. Close to Docker's default profile.
//!
//! Refused calls fail with `EPERM`; calls that are newer than this list, and `clone3`, whose flags no filter can see,
//! fail with `ENOSYS`, so that programs fall back on older ones. A capability that is the kernel's own condition for a
//! call lifts its refusal. Programs of another architecture (32 bit ones, say) are killed.

mod profile; // the same in the words of OCI runtimes

use std::collections::BTreeMap;

use mete_model::LinuxCapability;
use rustix::io::Errno;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

pub(super) use profile::profile;

use crate::report::Fault;

/// The programs, in the order in which they are installed.
pub(super) type Filters = [Vec<libc::sock_filter>; 2];

/// The newest system call that has been looked at: removexattrat of Linux 6.13. Numbers are the same everywhere.
const NEWEST: u32 = 466;

/// A system call: its name with the prefix of `libc`, and its number.
type Call = (&'static str, i64);

/// Calls by the names of `libc`'s constants.
macro_rules! calls {
    ($($(#[$only:meta])* $name:ident),* $(,)?) => {
        &[$($(#[$only])* (stringify!($name), libc::$name)),*]
    };
}

/// Refused always.
const NEVER: &[Call] = calls![
    SYS_add_key,
    SYS_io_uring_enter,
    SYS_io_uring_register,
    SYS_io_uring_setup,
    SYS_kexec_file_load,
    SYS_kexec_load,
    SYS_keyctl,
    SYS_nfsservctl,
    SYS_pivot_root,
    SYS_request_key,
    SYS_swapoff,
    SYS_swapon,
    SYS_userfaultfd,
    #[cfg(target_arch = "x86_64")]
    SYS__sysctl,
    #[cfg(target_arch = "x86_64")]
    SYS_modify_ldt,
    #[cfg(target_arch = "x86_64")]
    SYS_sysfs,
    #[cfg(target_arch = "x86_64")]
    SYS_uselib,
    #[cfg(target_arch = "x86_64")]
    SYS_ustat,
];

/// Refused without the capability of that name.
const UNLESS: &[(&str, &[Call])] = &[
    ("BPF", calls![SYS_bpf]),
    ("DAC_READ_SEARCH", calls![SYS_open_by_handle_at]),
    ("PERFMON", calls![SYS_perf_event_open]),
    (
        "SYS_ADMIN",
        calls![
            SYS_fanotify_init,
            SYS_fsconfig,
            SYS_fsmount,
            SYS_fsopen,
            SYS_fspick,
            SYS_lookup_dcookie,
            SYS_mount,
            SYS_mount_setattr,
            SYS_move_mount,
            SYS_name_to_handle_at,
            SYS_open_tree,
            SYS_quotactl,
            SYS_quotactl_fd,
            SYS_setns,
            SYS_umount2,
            SYS_unshare,
        ],
    ),
    ("SYS_BOOT", calls![SYS_reboot]),
    (
        "SYS_MODULE",
        calls![SYS_delete_module, SYS_finit_module, SYS_init_module,],
    ),
    (
        "SYS_NICE",
        calls![
            SYS_get_mempolicy,
            SYS_mbind,
            SYS_migrate_pages,
            SYS_move_pages,
            SYS_set_mempolicy,
            SYS_set_mempolicy_home_node,
        ],
    ),
    ("SYS_PACCT", calls![SYS_acct]),
    // Not ptrace and its like: since Linux 4.8 no filter is passed by with them, and the kernel asks whose process it is
    // (so in Docker).
    ("SYS_PTRACE", calls![SYS_kcmp, SYS_pidfd_getfd]),
    #[cfg(target_arch = "x86_64")]
    ("SYS_RAWIO", calls![SYS_ioperm, SYS_iopl]),
    ("SYS_TIME", calls![SYS_clock_settime, SYS_settimeofday]),
    ("SYS_TTY_CONFIG", calls![SYS_vhangup]),
    ("SYSLOG", calls![SYS_syslog]),
];

/// Flags of `clone` that make namespaces.
const NEW_NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Personalities that programs ask for: the usual one, that of 32 bit, with new names for old kernels, and the question
/// which one it is (Docker's list).
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

/// Kinds of sockets that reach the kernel's ciphers and the host of a virtual machine.
const STRANGE_SOCKETS: [libc::c_int; 2] = [libc::AF_ALG, libc::AF_VSOCK];

/// The programs for a container that keeps these capabilities, one bit each.
pub(super) fn filters(capabilities: u64) -> Result<Filters, Fault> {
    let refused =
        refused(capabilities).map_err(|_| Fault::of("the filter of system calls")(Errno::INVAL))?;
    // The same instruction, for the kernel in libc's words.
    let refused = refused
        .into_iter()
        .map(|one| libc::sock_filter {
            code: one.code,
            jt: one.jt,
            jf: one.jf,
            k: one.k,
        })
        .collect();
    Ok([refused, unknown(has(capabilities, "SYS_ADMIN"))])
}

/// The calls that are refused whatever their arguments are.
fn always(capabilities: u64) -> impl Iterator<Item = Call> {
    let without = UNLESS
        .iter()
        .filter(move |(name, _)| !has(capabilities, name));
    let unless = without.flat_map(|(_, calls)| calls.iter());
    NEVER.iter().chain(unless).copied()
}

fn has(capabilities: u64, name: &str) -> bool {
    let known = name.parse::<LinuxCapability>();
    known.is_ok_and(|one| capabilities & (1 << one.number()) != 0)
}

fn refused(capabilities: u64) -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    rules.extend(always(capabilities).map(|(_, call)| (call, Vec::new())));
    let first =
        |operator, value| SeccompCondition::new(0, SeccompCmpArgLen::Dword, operator, value);
    if !has(capabilities, "SYS_ADMIN") {
        let flag = |flag: &libc::c_int| {
            let flag = u64::from(flag.cast_unsigned());
            SeccompRule::new(vec![first(SeccompCmpOp::MaskedEq(flag), flag)?])
        };
        let flags = NEW_NAMESPACES.iter().map(flag).collect::<Result<_, _>>()?;
        rules.insert(libc::SYS_clone, flags);
    }
    let strange = |kind: &libc::c_int| {
        let kind = u64::from(kind.cast_unsigned());
        SeccompRule::new(vec![first(SeccompCmpOp::Eq, kind)?])
    };
    let strange = STRANGE_SOCKETS
        .iter()
        .map(strange)
        .collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, strange);
    let others = PERSONALITIES
        .iter()
        .map(|known| first(SeccompCmpOp::Ne, *known));
    let others = SeccompRule::new(others.collect::<Result<_, _>>()?)?;
    rules.insert(libc::SYS_personality, vec![others]);
    let eperm = Errno::PERM.raw_os_error().unsigned_abs();
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        SeccompAction::Errno(eperm),
        ARCHITECTURE,
    )?;
    filter.try_into()
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: TargetArch = TargetArch::riscv64;

/// Calls that nobody has looked at, and `clone3` where the flags of `clone` are looked at.
fn unknown(any_clone: bool) -> Vec<libc::sock_filter> {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter {
        // Codes have eight bits.
        code: (code & 0xff) as u16,
        jt,
        jf,
        k,
    };
    let load = instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, 0);
    let jump = libc::BPF_JMP | libc::BPF_K;
    let answer = |answer| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, answer);
    let enosys = libc::SECCOMP_RET_ERRNO | Errno::NOSYS.raw_os_error().unsigned_abs();
    let clone3 = u32::try_from(libc::SYS_clone3).unwrap_or(u32::MAX);
    vec![
        load,
        instruction(jump | libc::BPF_JGT, 2, 0, NEWEST),
        instruction(jump | libc::BPF_JEQ, u8::from(!any_clone), 0, clone3),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(enosys),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_that_of_a_capability() {
        for (name, _) in UNLESS {
            assert!(name.parse::<LinuxCapability>().is_ok(), "{name}");
        }
    }

    #[test]
    fn debuggers_may_look_at_processes_of_their_own() {
        let refused: Vec<&str> = always(0).map(|(name, _)| name).collect();

        for name in ["SYS_ptrace", "SYS_process_vm_readv"] {
            assert!(!refused.contains(&name), "{name}");
        }
        assert!(refused.contains(&"SYS_kcmp"));
    }

    #[test]
    fn a_capability_lifts_what_depends_on_it() {
        let all = refused(0).expect("compiles").len();
        let admin = 1 << LinuxCapability::SYS_ADMIN.number();

        assert!(refused(admin).expect("compiles").len() < all);
        assert!(all < 4_096, "the kernel takes no longer one");
    }
}
