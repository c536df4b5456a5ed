//! Processes of this machine as `/proc` shows them, and signals that reach the right one.
//!
//! A process is named by pid and start time ([`Process`]); every signal goes through a pidfd that
//! was opened before the start time was looked at, so a pid that is used again is never hit.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::{ProcStat, Process};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// How often the processes of a task are looked for and killed again before that is given up: a
/// process that forks as fast as it can is caught by one of the first rounds; 250 rounds of
/// [`KILL_PAUSE`] are 5 s, and who is left then hangs in the kernel.
pub const KILL_ROUNDS: u32 = 250;

/// Pause between two rounds of killing.
pub const KILL_PAUSE: Duration = Duration::from_millis(20);

/// Which boot of the machine this is; start times count from it.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn boot_id() -> io::Result<String> {
    Ok(fs::read_to_string("/proc/sys/kernel/random/boot_id")?
        .trim()
        .to_owned())
}

/// What is known of the process that has `pid` now; `None` when there is none.
pub fn stat(pid: i32) -> Option<ProcStat> {
    ProcStat::parse(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// Whether exactly this process still runs; a zombie does not.
pub fn is_running(process: Process) -> bool {
    stat(process.pid).is_some_and(|now| now.process == process && !matches!(now.state, 'Z' | 'X'))
}

/// A descriptor of exactly this process, readable when it ends; `None` when it has gone.
pub fn open(process: Process) -> Option<OwnedFd> {
    let fd = pidfd_open(Pid::from_raw(process.pid)?, PidfdFlags::empty()).ok()?;
    // Looked at after opening: the descriptor holds whoever had the pid, and this tells who it was.
    stat(process.pid)
        .is_some_and(|now| now.process == process)
        .then_some(fd)
}

/// Sends a signal to exactly this process; whether there was such a process.
pub fn signal(process: Process, signal: Signal) -> bool {
    open(process).is_some_and(|fd| pidfd_send_signal(fd, signal).is_ok())
}

/// Everything below `root`, itself not included: children, their children, and so on.
pub fn descendants(root: i32) -> Vec<Process> {
    let parents = ParentsIfNeeded::default();
    let mut found: Vec<Process> = Vec::new();
    let mut next = vec![root];
    while let Some(pid) = next.pop() {
        for child in parents.children(pid) {
            // A process that dies and is replaced while we look may turn up twice.
            if let Some(stat) = stat(child).filter(|stat| !found.contains(&stat.process)) {
                found.push(stat.process);
                next.push(child);
            }
        }
    }
    found
}

/// Everything in the session that `leader` opened, zombies not included. Empty when the session's
/// number belongs to somebody else by now.
pub fn session_of(leader: Process) -> Vec<Process> {
    if stat(leader.pid).is_some_and(|now| now.process != leader) {
        return Vec::new();
    }
    let member = |stat: &ProcStat| {
        stat.session == leader.pid
            && stat.process.start_ticks >= leader.start_ticks
            && stat.state != 'Z'
    };
    all().filter(member).map(|stat| stat.process).collect()
}

/// Kills what `members` lists, again and again until it lists nothing. Blocks for up to 5 s;
/// returns how many are left.
pub fn kill_until_gone(members: impl Fn() -> Vec<Process>) -> usize {
    let mut left = Vec::new();
    for _ in 0..KILL_ROUNDS {
        left = members();
        left.retain(|process| is_running(*process));
        if left.is_empty() {
            return 0;
        }
        for process in &left {
            signal(*process, Signal::KILL);
        }
        thread::sleep(KILL_PAUSE);
    }
    left.len()
}

/// Every process of the machine.
fn all() -> impl Iterator<Item = ProcStat> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(stat)
}

/// Children by parent: from the kernel where it lists them, else from a look at every process, made
/// once.
#[derive(Default)]
struct ParentsIfNeeded(std::cell::OnceCell<BTreeMap<i32, Vec<i32>>>);

impl ParentsIfNeeded {
    fn children(&self, pid: i32) -> Vec<i32> {
        let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
            return Vec::new();
        };
        let mut children = Vec::new();
        for thread in threads.flatten() {
            match fs::read_to_string(thread.path().join("children")) {
                Ok(text) => children.extend(
                    text.split_ascii_whitespace()
                        .filter_map(|pid| pid.parse::<i32>().ok()),
                ),
                Err(error) if error.kind() == io::ErrorKind::NotFound && thread.path().exists() => {
                    return self.scanned().get(&pid).cloned().unwrap_or_default();
                }
                Err(_) => {}
            }
        }
        children
    }

    /// For kernels without `CONFIG_PROC_CHILDREN`.
    fn scanned(&self) -> &BTreeMap<i32, Vec<i32>> {
        self.0.get_or_init(|| {
            let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
            for stat in all() {
                children
                    .entry(stat.parent)
                    .or_default()
                    .push(stat.process.pid);
            }
            children
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_with_another_start_time_is_another_process() {
        let mut child = std::process::Command::new("sleep")
            .arg("1000")
            .spawn()
            .unwrap();
        let process = stat(i32::try_from(child.id()).unwrap()).unwrap().process;
        let earlier = Process {
            start_ticks: process.start_ticks - 1,
            ..process
        };

        assert!(!is_running(earlier) && open(earlier).is_none() && !signal(earlier, Signal::KILL));
        assert!(is_running(process));

        assert!(signal(process, Signal::KILL));
        child.wait().unwrap();
        assert!(!is_running(process) && open(process).is_none());
    }

    #[test]
    fn descendants_are_found_through_all_generations() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "sh -c 'sleep 1000 & wait' & wait"])
            .spawn()
            .unwrap();
        let root = i32::try_from(child.id()).unwrap();

        while descendants(root).len() < 2 {
            thread::sleep(Duration::from_millis(2));
        }
        let all = descendants(root);

        assert_eq!(kill_until_gone(|| all.clone()), 0);
        child.wait().unwrap();
    }
}
