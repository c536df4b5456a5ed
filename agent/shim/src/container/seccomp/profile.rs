//! The filter of system calls in the words of OCI runtimes.
//!
//! Their filters name calls and cannot speak of numbers that are newer than a list. So the list is the other way round
//! here: calls that have been looked at are allowed by name, and all others fail with `ENOSYS` as they do in the filter
//! of the shim's own code. What a runtime's library does not know by name yet fails so, too, and so do personalities that
//! no ordinary program asks for.

use std::collections::BTreeSet;

use rustix::io::Errno;
use serde_json::{Value, json};

use super::{Call, NEW_NAMESPACES, PERSONALITIES, STRANGE_SOCKETS, always, has};

/// Every call up to the newest one that has been looked at, of all architectures that Mete is built for.
const KNOWN: &str = "\
    _sysctl accept accept4 access acct add_key adjtimex afs_syscall alarm arch_prctl bind bpf brk cachestat capget \
    capset chdir chmod chown chroot clock_adjtime clock_getres clock_gettime clock_nanosleep clock_settime clone \
    clone3 close close_range connect copy_file_range creat create_module delete_module dup dup2 dup3 epoll_create \
    epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait epoll_wait_old eventfd eventfd2 \
    execve execveat exit exit_group faccessat faccessat2 fadvise64 fallocate fanotify_init fanotify_mark fchdir \
    fchmod fchmodat fchmodat2 fchown fchownat fcntl fdatasync fgetxattr finit_module flistxattr flock fork \
    fremovexattr fsconfig fsetxattr fsmount fsopen fspick fstat fstatfs fsync ftruncate futex futex_requeue \
    futex_wait futex_waitv futex_wake futimesat get_kernel_syms get_mempolicy get_robust_list get_thread_area \
    getcpu getcwd getdents getdents64 getegid geteuid getgid getgroups getitimer getpeername getpgid getpgrp \
    getpid getpmsg getppid getpriority getrandom getresgid getresuid getrlimit getrusage getsid getsockname \
    getsockopt gettid gettimeofday getuid getxattr getxattrat init_module inotify_add_watch inotify_init \
    inotify_init1 inotify_rm_watch io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit \
    io_uring_enter io_uring_register io_uring_setup ioctl ioperm iopl ioprio_get ioprio_set kcmp kexec_file_load \
    kexec_load keyctl kill landlock_add_rule landlock_create_ruleset landlock_restrict_self lchown lgetxattr link \
    linkat listen listmount listxattr listxattrat llistxattr lookup_dcookie lremovexattr lseek lsetxattr \
    lsm_get_self_attr lsm_list_modules lsm_set_self_attr lstat madvise map_shadow_stack mbind membarrier \
    memfd_create memfd_secret migrate_pages mincore mkdir mkdirat mknod mknodat mlock mlock2 mlockall mmap \
    modify_ldt mount mount_setattr move_mount move_pages mprotect mq_getsetattr mq_notify mq_open mq_timedreceive \
    mq_timedsend mq_unlink mremap mseal msgctl msgget msgrcv msgsnd msync munlock munlockall munmap \
    name_to_handle_at nanosleep newfstatat nfsservctl open open_by_handle_at open_tree openat openat2 pause \
    perf_event_open personality pidfd_getfd pidfd_open pidfd_send_signal pipe pipe2 pivot_root pkey_alloc \
    pkey_free pkey_mprotect poll ppoll prctl pread64 preadv preadv2 prlimit64 process_madvise process_mrelease \
    process_vm_readv process_vm_writev pselect6 ptrace putpmsg pwrite64 pwritev pwritev2 query_module quotactl \
    quotactl_fd read readahead readlink readlinkat readv reboot recvfrom recvmmsg recvmsg remap_file_pages \
    removexattr removexattrat rename renameat renameat2 request_key restart_syscall rmdir rseq rt_sigaction \
    rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo \
    sched_get_priority_max sched_get_priority_min sched_getaffinity sched_getattr sched_getparam \
    sched_getscheduler sched_rr_get_interval sched_setaffinity sched_setattr sched_setparam sched_setscheduler \
    sched_yield seccomp security select semctl semget semop semtimedop sendfile sendmmsg sendmsg sendto \
    set_mempolicy set_mempolicy_home_node set_robust_list set_thread_area set_tid_address setdomainname setfsgid \
    setfsuid setgid setgroups sethostname setitimer setns setpgid setpriority setregid setresgid setresuid \
    setreuid setrlimit setsid setsockopt settimeofday setuid setxattr setxattrat shmat shmctl shmdt shmget \
    shutdown sigaltstack signalfd signalfd4 socket socketpair splice stat statfs statmount statx swapoff swapon \
    symlink symlinkat sync sync_file_range syncfs sysfs sysinfo syslog tee tgkill time timer_create timer_delete \
    timer_getoverrun timer_gettime timer_settime timerfd_create timerfd_gettime timerfd_settime times tkill \
    truncate tuxcall umask umount2 uname unlink unlinkat unshare uselib userfaultfd ustat utime utimensat utimes \
    vfork vhangup vmsplice vserver wait4 waitid write writev";

/// Calls whose arguments are looked at, and `clone3`, whose arguments cannot be.
const BY_ARGUMENT: [&str; 4] = ["clone", "clone3", "personality", "socket"];

/// The profile of a container that keeps these capabilities, one bit each.
pub(in crate::container) fn profile(capabilities: u64) -> Value {
    let refused: BTreeSet<&str> = always(capabilities).map(name).collect();
    let allowed: Vec<&str> = KNOWN
        .split_ascii_whitespace()
        .filter(|call| !refused.contains(call) && !BY_ARGUMENT.contains(call))
        .collect();
    let mut rules = vec![
        json!({"names": allowed, "action": "SCMP_ACT_ALLOW"}),
        refusal(&refused.into_iter().collect::<Vec<_>>(), json!([])),
    ];
    rules.extend(clones(has(capabilities, "SYS_ADMIN")));
    rules.extend(sockets());
    rules.extend(
        PERSONALITIES
            .map(|known| permission("personality", json!([argument("SCMP_CMP_EQ", known, 0)]))),
    );
    json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": Errno::NOSYS.raw_os_error(),
        "architectures": [ARCHITECTURE],
        "syscalls": rules,
    })
}

/// As runtimes name it.
fn name((name, _): Call) -> &'static str {
    name.strip_prefix("SYS_").unwrap_or(name)
}

fn permission(call: &str, arguments: Value) -> Value {
    json!({"names": [call], "action": "SCMP_ACT_ALLOW", "args": arguments})
}

fn refusal(calls: &[&str], arguments: Value) -> Value {
    let errno = Errno::PERM.raw_os_error();
    json!({"names": calls, "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": arguments})
}

/// A condition on the first argument.
fn argument(operator: &str, value: u64, second: u64) -> Value {
    json!({"index": 0, "value": value, "valueTwo": second, "op": operator})
}

/// Without new namespaces, or any.
fn clones(any: bool) -> Vec<Value> {
    if any {
        return ["clone", "clone3"]
            .map(|call| permission(call, json!([])))
            .into();
    }
    let flags = NEW_NAMESPACES.map(|flag| u64::from(flag.cast_unsigned()));
    let all = flags.iter().fold(0, |all, flag| all | flag);
    let none = permission("clone", json!([argument("SCMP_CMP_MASKED_EQ", all, 0)]));
    let some = flags.map(|flag| {
        refusal(
            &["clone"],
            json!([argument("SCMP_CMP_MASKED_EQ", flag, flag)]),
        )
    });
    some.into_iter().chain([none]).collect()
}

/// All kinds but the strange ones. A rule takes one condition on an argument, so the gaps between them are named.
fn sockets() -> Vec<Value> {
    let strange: BTreeSet<u64> = STRANGE_SOCKETS
        .iter()
        .map(|kind| u64::from(kind.cast_unsigned()))
        .collect();
    let (first, last) = (strange.first().copied(), strange.last().copied());
    let (first, last) = (first.unwrap_or_default(), last.unwrap_or_default());
    let between = (first..last).filter(|kind| !strange.contains(kind));
    let fine = [
        argument("SCMP_CMP_LT", first, 0),
        argument("SCMP_CMP_GT", last, 0),
    ]
    .into_iter()
    .chain(between.map(|kind| argument("SCMP_CMP_EQ", kind, 0)))
    .map(|condition| permission("socket", json!([condition])));
    let refused = strange
        .iter()
        .map(|kind| refusal(&["socket"], json!([argument("SCMP_CMP_EQ", *kind, 0)])));
    fine.chain(refused).collect()
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: &str = "SCMP_ARCH_X86_64";
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: &str = "SCMP_ARCH_AARCH64";
#[cfg(target_arch = "riscv64")]
const ARCHITECTURE: &str = "SCMP_ARCH_RISCV64";

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(profile: &Value, call: &str) -> bool {
        let rules = profile["syscalls"].as_array().expect("rules");
        let names = |rule: &Value| {
            rule["names"]
                .as_array()
                .expect("names")
                .contains(&json!(call))
        };
        rules
            .iter()
            .any(|rule| rule["action"] == "SCMP_ACT_ALLOW" && names(rule))
    }

    #[test]
    fn every_refused_call_is_one_of_those_that_have_been_looked_at() {
        let known: Vec<_> = KNOWN.split_ascii_whitespace().collect();

        assert!(known.is_sorted(), "to be read by people");
        for call in always(0).map(name).chain(BY_ARGUMENT) {
            assert!(known.contains(&call), "{call}");
        }
    }

    #[test]
    fn a_capability_allows_what_depends_on_it() {
        let admin = 1 << mete_model::LinuxCapability::SYS_ADMIN.number();

        for call in ["mount", "unshare", "clone3"] {
            assert!(!allows(&profile(0), call), "{call}");
            assert!(allows(&profile(admin), call), "{call}");
        }
        for call in ["read", "clone", "socket", "personality"] {
            assert!(allows(&profile(0), call), "{call}");
        }
        assert!(!allows(&profile(admin), "kexec_load"));
    }

    #[test]
    fn kinds_of_sockets_around_the_strange_ones_are_allowed() {
        let fine: Vec<_> = sockets()
            .into_iter()
            .filter(|rule| rule["action"] == "SCMP_ACT_ALLOW")
            .map(|rule| {
                (
                    rule["args"][0]["op"].clone(),
                    rule["args"][0]["value"].clone(),
                )
            })
            .collect();

        assert_eq!(
            fine,
            [
                (json!("SCMP_CMP_LT"), json!(38)),
                (json!("SCMP_CMP_GT"), json!(40)),
                (json!("SCMP_CMP_EQ"), json!(39))
            ]
        );
    }
}
