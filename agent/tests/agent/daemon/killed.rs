//! An agent as a process of its own, which `kill -9` ends wherever it is, and what it leaves.

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use mete_agent::cgroups;
use rustix::process::{Pid, Signal, kill_process};

use super::world::Work;
use crate::support::until;

/// A running agent; it is killed when dropped.
pub(super) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    pub(super) fn start(work: &Work, master: SocketAddr) -> Self {
        let log = work.beside().join("log");
        let mut file = fs::OpenOptions::new();
        let file = file.create(true).append(true).open(&log).unwrap();
        let child = Command::new(crate::support::example("whole_agent"))
            .arg("--port=0")
            .arg(format!("--work-dir={}", work.path.display()))
            .arg(format!("--master=http://{master}"))
            .args(["--disk-reserve=2MiB", "--kill-grace=100ms"])
            // What tests launch is never too much, whatever the machine has.
            .arg("--resources=cpus:1000;mem:1000000;disk:1000000;ports:[20000-32000]")
            .arg("--stop-tasks-on-exit")
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// `kill -9`.
    pub(super) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// It does nothing from now on, until it is killed.
    pub(super) fn freeze(&self) {
        kill_process(self.as_pid(), Signal::STOP).unwrap();
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    fn as_pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap()
    }

    /// SIGTERM, and waits until it has ended.
    pub(super) async fn stop(mut self) {
        kill_process(self.as_pid(), Signal::TERM).unwrap();
        let mut ended = None;
        until(|| {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        })
        .await;
        assert!(ended.unwrap().success(), "{}", self.log());
    }

    /// How many files it has open.
    pub(super) fn open_files(&self) -> usize {
        let files = fs::read_dir(format!("/proc/{}/fd", self.child.id()));
        files.unwrap().count()
    }

    pub(super) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("{}", self.log());
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whatever there still is of the agent in `work`: processes, control groups, mounts, bridge, links, network namespaces and
/// rules, task directories.
pub(super) fn leftovers(work: &Work) -> BTreeSet<String> {
    let place = work.path.display().to_string();
    let scope = cgroups::scope_of("agent", &work.path.canonicalize().unwrap());
    let mut left = BTreeSet::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.parse::<u32>().is_err() {
            continue;
        }
        let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
        let words = [read("cmdline"), read("environ")].concat();
        if String::from_utf8_lossy(&words).contains(&place) {
            let said = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            left.insert(format!("process {name}: {said}"));
        }
    }
    for line in fs::read_to_string("/proc/self/mountinfo").unwrap().lines() {
        if line.contains(&place) {
            left.insert(format!("mount {line}"));
        }
    }
    for hierarchy in fs::read_dir("/sys/fs/cgroup")
        .into_iter()
        .flatten()
        .flatten()
    {
        find_groups(&hierarchy.path(), &scope, &mut left);
    }
    for trace in work.networks().traces() {
        left.insert(format!("network {trace}"));
    }
    for (folder, what) in [
        ("tasks", "task directory"),
        ("namespaces", "network of a group"),
    ] {
        let entries = fs::read_dir(work.path.join(folder));
        for entry in entries.into_iter().flatten().flatten() {
            left.insert(format!("{what} {}", entry.path().display()));
        }
    }
    left
}

/// Groups of the agent below its parent's, which other agents have groups in, too.
fn find_groups(place: &Path, scope: &str, left: &mut BTreeSet<String>) {
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        if path.to_string_lossy().contains(scope) {
            left.insert(format!("control group {}", path.display()));
        }
        find_groups(&path, scope, left);
    }
}
