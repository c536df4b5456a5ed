//! The daemons as processes: started, watched, started again when they die, ended in the order that lets each finish.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use mete_daemon::auth::Credentials;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use super::layout::{Daemon, Layout};
use super::restarts::{Next, Pauses};
use crate::client::Api;

/// When, from the beginning of the end, a daemon that has not ended by itself is killed: everything is down within 10 s.
/// Agents first end their tasks, which they give 5 s.
const END_OF_SYNC: Duration = Duration::from_secs(2);
const END_OF_SERVICES: Duration = Duration::from_secs(3);
const END_OF_AGENTS: Duration = Duration::from_millis(8_800);
const END_OF_MASTER: Duration = Duration::from_millis(9_500);
/// How long what a former cluster has left may take to end by itself.
const LEFTOVERS_PATIENCE: Duration = Duration::from_secs(6);
/// Of what a daemon that ended has said last: an error with its causes is shorter.
const MAX_LINE_CHARS: usize = 600;

/// All daemons of this cluster.
#[derive(Debug)]
pub(super) struct Children {
    program: PathBuf,
    logs: PathBuf,
    running: BTreeMap<String, (Daemon, Child)>,
    /// Those that have ended, and when each is started again; `None`: never.
    ended: BTreeMap<String, (Daemon, Option<Instant>)>,
    pauses: Pauses,
    /// When each was started last.
    started: BTreeMap<String, Instant>,
    /// Of each as it was started last; a dead one keeps its pid here until it is started again.
    pids: BTreeMap<String, u32>,
    /// How long the log of each was when it was started last.
    log_starts: BTreeMap<String, u64>,
}

impl Children {
    pub(super) fn new(state_dir: &Path) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let logs = state_dir.join("logs");
        std::fs::create_dir_all(&logs)
            .with_context(|| format!("cannot make {}", logs.display()))?;
        Ok(Self {
            program,
            logs,
            running: BTreeMap::new(),
            ended: BTreeMap::new(),
            pauses: Pauses::default(),
            started: BTreeMap::new(),
            pids: BTreeMap::new(),
            log_starts: BTreeMap::new(),
        })
    }

    /// Starts a daemon; what it says goes to a file of its own.
    pub(super) fn start(&mut self, daemon: &Daemon) -> Result<()> {
        let log = self.log(&daemon.name);
        let open = || OpenOptions::new().create(true).append(true).open(&log);
        let log: File = open().with_context(|| format!("cannot write {}", log.display()))?;
        let written = log.metadata().map_or(0, |found| found.len());
        self.log_starts.insert(daemon.name.clone(), written);
        let mut command = Command::new(&self.program);
        command
            .args(&daemon.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        // Ctrl-C goes to the whole process group of the terminal; here `mete up` says who ends when.
        command.process_group(0);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {}", daemon.name))?;
        let pid = child.id().map(|pid| (daemon.name.clone(), pid));
        self.pids.extend(pid);
        self.started.insert(daemon.name.clone(), Instant::now());
        self.ended.remove(&daemon.name);
        self.running
            .insert(daemon.name.clone(), (daemon.clone(), child));
        Ok(())
    }

    /// Waits for the first answer of a daemon.
    pub(super) async fn answers(&mut self, daemon: &Daemon, patience: Duration) -> Result<()> {
        let deadline = Instant::now() + patience;
        let api = Api::new(
            "daemon",
            &format!("http://{}", daemon.address),
            &Credentials::default(),
            "`mete up`",
        )?;
        loop {
            if api.bytes("/health", &[]).await.is_ok() {
                return Ok(());
            }
            let Some((_, child)) = self.running.get_mut(&daemon.name) else {
                bail!("{} was not started", daemon.name)
            };
            if let Some(status) = child.try_wait()? {
                let said = self.last_words(&daemon.name);
                bail!("{} ended with {status}:\n{said}", daemon.name);
            }
            if Instant::now() >= deadline {
                bail!(
                    "{} does not answer on {} after {patience:?}:\n{}",
                    daemon.name,
                    daemon.address,
                    self.last_words(&daemon.name)
                );
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Pids by name.
    pub(super) const fn pids(&self) -> &BTreeMap<String, u32> {
        &self.pids
    }

    /// The next daemon that dies, and how. Cancel-safe.
    pub(super) async fn next_death(&mut self) -> Result<(String, ExitStatus)> {
        let mut deaths: FuturesUnordered<_> = self
            .running
            .iter_mut()
            .map(|(name, (_, child))| async move { (name, child.wait().await) })
            .collect();
        let Some((name, status)) = deaths.next().await else {
            // None runs; those that are to be started again may still come.
            return std::future::pending().await;
        };
        let status = status.with_context(|| format!("cannot wait for {name}"))?;
        Ok((name.clone(), status))
    }

    /// Says in one line how a daemon has ended and what becomes of it, and sees to that.
    pub(super) fn bury(&mut self, name: &str, status: ExitStatus) -> String {
        let Some((daemon, _)) = self.running.remove(name) else {
            return format!("{name} ended with {status}");
        };
        let ran = self.started.get(name).map(Instant::elapsed);
        let next = self
            .pauses
            .ended(name, status.code(), ran.unwrap_or_default());
        let why = self.last_line(name);
        let (start, what) = match next {
            Next::Never => (
                None,
                format!(
                    "it is left alone, since starting it again does not help: mend that and start `mete up` again (its log is {})",
                    self.log(name).display()
                ),
            ),
            Next::After(pause) => (
                Some(Instant::now() + pause),
                format!("it is started again in {} s", pause.as_secs()),
            ),
        };
        self.ended.insert(name.to_owned(), (daemon, start));
        format!("{name} ended with {status}, {what}; {why}")
    }

    /// When the next of those that have ended is to be started.
    pub(super) fn next_start(&self) -> Option<Instant> {
        self.ended.values().filter_map(|(_, start)| *start).min()
    }

    /// Starts those again whose time has come; their names.
    pub(super) fn start_due(&mut self) -> Result<Vec<String>> {
        let now = Instant::now();
        let due = self.ended.values();
        let due = due.filter(|(_, start)| start.is_some_and(|start| start <= now));
        let due: Vec<Daemon> = due.map(|(daemon, _)| daemon.clone()).collect();
        due.iter().try_for_each(|daemon| self.start(daemon))?;
        Ok(due.into_iter().map(|daemon| daemon.name).collect())
    }

    /// Whether a daemon that was started has ended since.
    pub(super) fn has_ended(&mut self, name: &str) -> Result<bool> {
        match self.running.get_mut(name) {
            Some((_, child)) => Ok(child.try_wait()?.is_some()),
            None => Ok(true),
        }
    }

    /// Waits for the first answer of a daemon that was started again.
    pub(super) async fn answers_again(&mut self, name: &str) -> Result<()> {
        let Some((daemon, _)) = self.running.get(name) else {
            bail!("{name} was not started")
        };
        let daemon = daemon.clone();
        self.answers(&daemon, super::START_TIMEOUT).await
    }

    /// What there is to say of a daemon that ended.
    pub(super) fn obituary(&self, name: &str) -> anyhow::Error {
        anyhow!("{name} ended:\n{}", self.last_words(name))
    }

    /// Ends everything: first who sends traffic, then who starts tasks, then the tasks with their agents, the master last.
    /// `at_once` cuts the waiting short.
    pub(super) async fn end(&mut self, layout: &Layout, at_once: &CancellationToken) -> Result<()> {
        let of = |prefix: &str| {
            let names = self.running.keys().filter(|name| name.starts_with(prefix));
            names.cloned().collect::<Vec<_>>()
        };
        let [sync, services, agents, master] =
            ["haproxy-sync", "services", "agent", "master"].map(of);
        let begun = Instant::now();
        let mut late = self.end_all(sync, begun + END_OF_SYNC, at_once).await;
        super::proxy::end(&layout.haproxy_dir()).await;
        late.extend(
            self.end_all(services, begun + END_OF_SERVICES, at_once)
                .await,
        );
        let killed = self.end_all(agents, begun + END_OF_AGENTS, at_once).await;
        // Nor could those that have ended before.
        let before = self.ended.keys().filter(|name| name.starts_with("agent"));
        for name in killed.iter().chain(before) {
            end_tasks(name, layout.work_dir(name)).await;
        }
        late.extend(killed);
        late.extend(self.end_all(master, begun + END_OF_MASTER, at_once).await);
        if late.is_empty() {
            Ok(())
        } else {
            bail!("had to be killed: {}", late.join(", "))
        }
    }

    /// Ends some side by side; the names of those that had to be killed.
    async fn end_all(
        &mut self,
        names: Vec<String>,
        deadline: Instant,
        at_once: &CancellationToken,
    ) -> Vec<String> {
        let mut late = Vec::new();
        for name in &names {
            self.signal(name, Signal::TERM);
        }
        for name in names {
            let Some((_, child)) = self.running.get_mut(&name) else {
                continue;
            };
            let ended = tokio::select! {
                ended = timeout_at(deadline, child.wait()) => ended.is_ok(),
                () = at_once.cancelled() => false,
            };
            if !ended {
                late.push(name.clone());
                self.signal(&name, Signal::KILL);
            }
            if let Some((_, mut child)) = self.running.remove(&name) {
                // Ended or killed: there is nothing to wait for but its exit status.
                let _ = child.wait().await;
            }
        }
        late
    }

    fn signal(&self, name: &str, signal: Signal) {
        let pid = self.running.get(name).and_then(|(_, child)| child.id());
        let pid = pid
            .and_then(|pid| i32::try_from(pid).ok())
            .and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, signal);
        }
    }

    /// The last that a daemon has said since it was started, for the error of one that did not come up.
    fn last_words(&self, name: &str) -> String {
        let said = std::fs::read(self.log(name)).unwrap_or_default();
        let start = self.log_starts.get(name).copied().unwrap_or_default();
        let start = usize::try_from(start).map_or(0, |start| start.min(said.len()));
        let text = String::from_utf8_lossy(&said[start..]);
        let lines: Vec<&str> = text.lines().rev().take(10).collect();
        lines
            .into_iter()
            .rev()
            .map(|line| format!("  {line}"))
            .collect::<Vec<_>>()
            .join("\n")
    }

    /// The last line of it.
    fn last_line(&self, name: &str) -> String {
        let words = self.last_words(name);
        let line = words.lines().next_back().unwrap_or_default().trim();
        match line {
            "" => "it has said nothing".to_owned(),
            line => format!(
                "its last words: {}",
                line.chars().take(MAX_LINE_CHARS).collect::<String>()
            ),
        }
    }

    fn log(&self, name: &str) -> PathBuf {
        self.logs.join(format!("{name}.log"))
    }
}

impl Drop for Children {
    /// Whatever becomes of `mete up`, its daemons do not run on without it. Nothing is left to do after a good end.
    fn drop(&mut self) {
        for name in self.running.keys() {
            self.signal(name, Signal::TERM);
        }
    }
}

/// Ends the tasks of an agent that was killed before it could do so itself.
async fn end_tasks(agent: &str, work_dir: PathBuf) {
    let name = agent.to_owned();
    let ending =
        tokio::task::spawn_blocking(move || mete_agent::remains::end_tasks(&name, &work_dir));
    match ending.await {
        Ok(0) => {}
        Ok(left) => crate::complain!("mete: {left} processes of tasks of {agent} cannot be killed"),
        Err(error) => crate::complain!("mete: tasks of {agent} may still run: {error}"),
    }
}

/// Ends daemons that a `mete up` on this state directory has left behind when it was killed; whether there were any.
pub(super) async fn end_leftovers(state_dir: &Path) -> bool {
    let mut found = false;
    let deadline = Instant::now() + LEFTOVERS_PATIENCE;
    let mut told = BTreeSet::new();
    loop {
        let left = leftovers(state_dir);
        if left.is_empty() {
            break;
        }
        found = true;
        let late = Instant::now() >= deadline;
        for pid in left {
            if told.insert(pid.as_raw_nonzero()) || late {
                // It may have ended by itself meanwhile.
                let _ = kill_process(pid, if late { Signal::KILL } else { Signal::TERM });
            }
        }
        sleep(Duration::from_millis(50)).await;
    }
    super::proxy::end(&state_dir.join("haproxy")).await;
    found
}

/// Daemons of this binary's kind that keep their state below `state_dir`.
fn leftovers(state_dir: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).into_owned();
        let words: Vec<&str> = line.split('\0').collect();
        let daemon = words
            .first()
            .is_some_and(|program| program.ends_with("mete"))
            && words
                .get(1)
                .is_some_and(|word| ["master", "agent", "services", "haproxy-sync"].contains(word));
        let below = |word: &&str| {
            let path = word
                .strip_prefix("--state-dir=")
                .or_else(|| word.strip_prefix("--work-dir="));
            path.is_some_and(|path| Path::new(path).parent() == Some(state_dir))
        };
        if let (true, true, Some(pid)) = (daemon, words.iter().any(below), Pid::from_raw(pid)) {
            found.push(pid);
        }
    }
    found
}
