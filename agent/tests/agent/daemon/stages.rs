//! An agent killed at each stage of a launch. The next one finds what belongs to nobody and removes it, takes over what
//! runs, and tells each end once. What is another agent's stays as it is.
//!
//! A launch is held where it is to be held by files that let nobody write before somebody reads (FIFOs), under the names
//! that agent and shim are about to write; before that, by a server that does not answer what the task fetches.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use mete_agent_core::task_dir::{
    PidFile, ProcStat, Process as Identity, Runner, TaskDir, TaskFile,
};
use mete_model::container::Network;
use mete_model::{ContainerSpec, FetchUri, Reason, TaskSpec, TaskState, TaskStatus};
use mete_proto::mete::v1 as wire;
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat, open};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::faults::quiet;
use super::groups;
use super::killed::{Process, leftovers};
use super::master::{Link, Master, status_of, task};
use super::world::Work;
use crate::containers::possible;
use crate::support::{soon, until};

/// A server that keeps waiting who fetches from it, until it is told otherwise.
struct Gate(TcpListener);

impl Gate {
    async fn new() -> Self {
        Self(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The task fetches from here before it starts.
    fn before(&self, mut spec: TaskSpec) -> TaskSpec {
        let address: SocketAddr = self.0.local_addr().unwrap();
        spec.command.uris.push(FetchUri {
            value: format!("http://{address}/gate"),
            extract: false,
            executable: false,
            cache: false,
            output_file: None,
        });
        spec
    }

    /// Somebody waits.
    async fn reached(&self) -> TcpStream {
        let mut waiting = soon(self.0.accept()).await.unwrap().0;
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            request.push(soon(waiting.read_u8()).await.unwrap());
        }
        waiting
    }
}

async fn pass(mut waiting: TcpStream) {
    let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nConnection: close\r\n\r\nx";
    waiting.write_all(answer).await.unwrap();
    waiting.shutdown().await.unwrap();
}

/// Where a launch is when its agent dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    /// The sandbox is made.
    Sandbox,
    /// The task directory is made.
    Directory,
    /// The control groups are made.
    Groups,
    /// The network namespace is made and linked to the bridge.
    Network,
    /// All that the shim reads is written, the shim is there and has claimed nothing.
    Shim,
}

impl Stage {
    const ALL: [Self; 5] = [
        Self::Sandbox,
        Self::Directory,
        Self::Groups,
        Self::Network,
        Self::Shim,
    ];

    /// The file that is written next.
    const fn next_file(self) -> Option<&'static str> {
        match self {
            Self::Sandbox | Self::Directory => None,
            Self::Groups => Some("network.json.new"),
            Self::Network => Some("launch.json.new"),
            Self::Shim => Some("pid.new"),
        }
    }
}

/// What holds a launch.
enum Held {
    /// An answer that does not come.
    ByServer(TcpStream),
    /// A FIFO in the task directory: its second name, by which it is found also when the directory is gone.
    ByFile(PathBuf),
}

impl Held {
    fn by_file(work: &Work, dir: &TaskDir, file: &str) -> Self {
        let fifo = dir.path().join(file);
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let second = work.beside().join("held");
        fs::hard_link(&fifo, &second).unwrap();
        Self::ByFile(second)
    }

    /// Lets go whoever is held; the file is to be kept until what is written to it is of no use any more.
    fn release(self) -> Option<fs::File> {
        match self {
            Self::ByServer(waiting) => {
                drop(waiting);
                None
            }
            Self::ByFile(fifo) => {
                assert!(fs::metadata(&fifo).unwrap().file_type().is_fifo());
                let flags = OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC;
                Some(open(&fifo, flags, Mode::empty()).unwrap().into())
            }
        }
    }
}

/// Whether a thread of the process waits for somebody to read what it wants to write.
fn is_held(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task"));
    let mut threads = threads.into_iter().flatten().flatten();
    threads.any(|thread| {
        let place = fs::read_to_string(thread.path().join("wchan"));
        place.is_ok_and(|place| place == "wait_for_partner" || place == "fifo_open")
    })
}

/// The shim of a task directory, by its command line.
fn shim_of(dir: &TaskDir) -> Option<u32> {
    let place = dir.path().to_str().unwrap();
    let mut processes = fs::read_dir("/proc").unwrap().flatten();
    processes.find_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let words = fs::read_to_string(entry.path().join("cmdline")).ok()?;
        let is_shim = words.split('\0').any(|word| word == place);
        // What it has forked has the same command line.
        (is_shim && is_held(pid)).then_some(pid)
    })
}

/// The task directory of the newest run of a task, which need not be there yet.
fn dir_of(work: &Work, task: &str) -> TaskDir {
    let run = fs::read_link(work.sandbox(task)).unwrap();
    let work = work.path.canonicalize().unwrap();
    TaskDir::new(work.join("tasks").join(run.file_name().unwrap()))
}

/// A task in a container on the bridge where there can be one.
fn spec_of(work: &Work, line: &str) -> TaskSpec {
    let mut spec = task("t", line);
    if possible() && work.networks().bridge().is_ok() {
        let network = Network::Bridge { ports: vec![] };
        spec.container = Some(Box::new(ContainerSpec {
            network,
            ..ContainerSpec::default()
        }));
    }
    spec
}

/// Launches a task, and holds the launch at a stage.
async fn launch_until(
    stage: Stage,
    work: &Work,
    agent: &Process,
    link: &Link,
    spec: TaskSpec,
) -> Held {
    let gate = Gate::new().await;
    link.run(&gate.before(spec)).await;
    let waiting = gate.reached().await;
    let dir = dir_of(work, "t");
    if stage != Stage::Sandbox {
        fs::create_dir(dir.path()).unwrap();
    }
    let Some(file) = stage.next_file() else {
        return Held::ByServer(waiting);
    };
    let held = Held::by_file(work, &dir, file);
    pass(waiting).await;
    match stage {
        Stage::Shim => until(|| shim_of(&dir).is_some()).await,
        Stage::Sandbox | Stage::Directory | Stage::Groups | Stage::Network => {
            until(|| is_held(agent.pid())).await;
        }
    }
    held
}

/// What there must be, so that the test shows something.
fn witness(stage: Stage, work: &Work) {
    let there = leftovers(work);
    let has = |what: &str| there.iter().any(|one| one.starts_with(what));
    let bridged = possible() && work.networks().bridge().is_ok();
    let at_least = |least: Stage| Stage::ALL.iter().position(|one| *one == least);
    let reached = |least| at_least(stage) >= at_least(least);
    let in_groups = fs::metadata("/sys/fs/cgroup").is_ok() && rustix::process::geteuid().is_root();
    assert_eq!(
        has("task directory"),
        reached(Stage::Directory),
        "{there:?}"
    );
    if reached(Stage::Network) && bridged {
        assert!(has("network"), "{there:?}");
    }
    if reached(Stage::Groups) && in_groups {
        let dir = dir_of(work, "t");
        let name = dir.path().file_name().unwrap().to_str().unwrap();
        let groups = there.iter().filter(|one| one.starts_with("control group"));
        assert!(
            groups.into_iter().any(|one| one.contains(name)),
            "{there:?}"
        );
    }
}

/// Every report that a new agent has, each acknowledged, until the task has ended.
async fn told(link: &mut Link, register: &wire::Register) -> Vec<TaskStatus> {
    let mut all = Vec::new();
    let first = register.unacknowledged.first();
    let first = first.map(|update| TaskStatus::try_from(&status_of(update)).unwrap());
    if let Some(status) = first {
        link.acknowledge(&status).await;
        all.push(status);
    }
    while !all.last().is_some_and(|last| last.state.is_terminal()) {
        let status = link.report().await;
        link.acknowledge(&status).await;
        all.push(status);
    }
    all
}

/// Another agent comes, has nothing to tell, ends, and leaves nothing.
async fn nothing_more(work: &Work, master: &mut Master, (agent, port): (Process, i32)) {
    quiet(port).await;
    agent.kill();
    let agent = Process::start(work, master.address);
    let (link, register) = master.admit().await;
    assert_eq!(register.unacknowledged, [], "each end is told once");
    assert_eq!(register.tasks, []);
    drop(link);
    agent.stop().await;
    let mut left = leftovers(work);
    until(|| {
        left = leftovers(work);
        left.is_empty()
    })
    .await;
}

#[tokio::test]
async fn whatever_a_launch_had_made_when_its_agent_was_killed_is_removed_by_the_next() {
    let (mut neighbours, neighbour) = (Master::start().await, Work::new());
    let other = Process::start(&neighbour, neighbours.address);
    let (mut neighbour_link, _) = neighbours.admit().await;
    let spec = spec_of(&neighbour, "echo $$; exec sleep 1000");
    neighbour_link.run(&spec).await;
    neighbour_link.until(TaskState::Running).await;
    let theirs = leftovers(&neighbour);

    for stage in Stage::ALL {
        let (mut master, work) = (Master::start().await, Work::new());
        let agent = Process::start(&work, master.address);
        let (link, _) = master.admit().await;
        let spec = spec_of(&work, "touch ran; exec sleep 1000");
        if stage == Stage::Groups && spec.container.is_none() {
            continue; // Nothing is written between groups and launch.json.
        }
        let held = launch_until(stage, &work, &agent, &link, spec).await;
        witness(stage, &work);
        agent.kill();

        let agent = Process::start(&work, master.address);
        let (mut link, register) = master.admit().await;
        let reports = told(&mut link, &register).await;
        let released = held.release();

        let last = reports.last().unwrap();
        assert_eq!(
            (last.state, last.reason),
            (TaskState::Dropped, Some(Reason::AgentRestarted)),
            "{stage:?}: {reports:?}"
        );
        nothing_more(&work, &mut master, (agent, register.agent_info.port())).await;
        drop(released);
        assert!(
            !work.sandbox("t").join("ran").exists(),
            "{stage:?}: it never runs"
        );
    }

    assert_eq!(leftovers(&neighbour), theirs, "another agent's stays");
    neighbour_link.kill("t").await;
    neighbour_link.until(TaskState::Killed).await;
    drop(neighbour_link);
    other.stop().await;
}

fn identity(pid: u32) -> Identity {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    ProcStat::parse(&text).unwrap().process
}

/// The one child of a process.
fn child_of(pid: u32) -> u32 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap();
    children.trim().parse().unwrap()
}

/// Writes what the shim is about to write, and has it find that in place of the FIFO it is held by.
fn let_shim_go_on(dir: &TaskDir, held: Held, shim: u32) -> Option<fs::File> {
    let runner = Runner {
        shim: identity(shim),
        task: identity(child_of(shim)),
    };
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    let file = PidFile {
        version: mete_agent_core::task_dir::FORMAT_VERSION,
        boot_id: boot_id.trim().to_owned(),
        runner: Some(runner),
    };
    let slot = dir.path().join("pid.new");
    fs::remove_file(&slot).unwrap();
    fs::write(&slot, file.encode()).unwrap();
    held.release()
}

#[tokio::test]
async fn a_task_that_began_to_run_when_its_agent_was_dead_is_taken_over() {
    let (mut master, work) = (Master::start().await, Work::new());
    let agent = Process::start(&work, master.address);
    let (link, _) = master.admit().await;
    let spec = spec_of(&work, "echo up $$; exec sleep 1000");
    let held = launch_until(Stage::Shim, &work, &agent, &link, spec).await;
    agent.freeze();
    let dir = dir_of(&work, "t");
    let shim = shim_of(&dir).unwrap();

    let released = let_shim_go_on(&dir, held, shim);
    let said = work.said("t", "stdout").await;
    agent.kill();
    drop(released);
    let agent = Process::start(&work, master.address);
    let (mut link, register) = master.admit().await;

    let mut running = 0;
    let mut unacknowledged = register.unacknowledged.iter();
    if let Some(first) = unacknowledged.next() {
        let status = TaskStatus::try_from(&status_of(first)).unwrap();
        running += usize::from(status.state == TaskState::Running);
        link.acknowledge(&status).await;
    }
    if running == 0 {
        link.until(TaskState::Running).await;
    }
    assert_eq!(work.said("t", "stdout").await, said, "the same process");
    link.kill("t").await;
    link.until(TaskState::Killed).await;
    nothing_more(&work, &mut master, (agent, register.agent_info.port())).await;
}

#[tokio::test]
async fn an_end_that_was_written_down_and_not_reported_is_told_once() {
    let (mut master, work) = (Master::start().await, Work::new());
    let agent = Process::start(&work, master.address);
    let (mut link, _) = master.admit().await;
    let line = "echo up; while [ ! -e go ]; do sleep 0.02; done; exit 7";
    link.run(&spec_of(&work, line)).await;
    link.until(TaskState::Running).await;
    work.said("t", "stdout").await;
    agent.freeze();

    fs::write(work.sandbox("t").join("go"), "").unwrap();
    let dir = dir_of(&work, "t");
    until(|| dir.exit().exists()).await;
    agent.kill();
    let agent = Process::start(&work, master.address);
    let (mut link, register) = master.admit().await;

    let reports = told(&mut link, &register).await;
    let last = reports.last().unwrap();
    assert_eq!(last.state, TaskState::Failed);
    assert_eq!(
        last.message.as_deref(),
        Some("Command exited with status 7")
    );
    nothing_more(&work, &mut master, (agent, register.agent_info.port())).await;
}

/// Mounts of namespaces of executors.
fn namespaces(work: &Path) -> usize {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let place = work.join("namespaces").display().to_string();
    mounts.lines().filter(|line| line.contains(&place)).count()
}

#[tokio::test]
async fn the_network_of_a_group_that_never_began_is_removed() {
    if !possible() {
        return;
    }
    let (mut master, work) = (Master::start().await, Work::new());
    let agent = Process::start(&work, master.address);
    let (link, _) = master.admit().await;
    let gate = Gate::new().await;
    let member = gate.before(task("t", "touch ran; exec sleep 1000"));
    groups::run(&link, &groups::executor(Network::None), &[member]).await;
    let _waiting = gate.reached().await;
    let place = work.path.canonicalize().unwrap();
    assert_eq!(namespaces(&place), 1);
    agent.kill();

    let agent = Process::start(&work, master.address);
    let (mut link, register) = master.admit().await;
    let reports = told(&mut link, &register).await;

    assert_eq!(reports.last().unwrap().state, TaskState::Dropped);
    until(|| namespaces(&place) == 0).await;
    nothing_more(&work, &mut master, (agent, register.agent_info.port())).await;
}

#[tokio::test]
async fn tasks_that_fetch_for_long_do_not_hold_up_others() {
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &[]);
    let (mut link, _) = master.admit().await;
    let gate = Gate::new().await;
    for number in 0..70 {
        let slow = task(&format!("slow{number}"), "true");
        link.run(&gate.before(slow)).await;
    }
    let _waiting = gate.reached().await;

    link.run(&task("plain", "exec sleep 1000")).await;

    loop {
        let status = link.report().await;
        link.acknowledge(&status).await;
        assert!(!status.state.is_terminal(), "{status:?}");
        if status.task.as_str() == "plain" && status.state == TaskState::Running {
            return;
        }
    }
}
