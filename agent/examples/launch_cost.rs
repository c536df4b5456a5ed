//! What a task costs the agent: `cargo run --release -p mete-agent --example launch_cost`, after
//! `cargo build --release -p mete-agent --examples`. Prints the tenth and the fiftieth percentile of
//! [`ROUNDS`] rounds: the first is nearer to the truth on a machine that does other work, too. Run
//! `sync` before: pages of a file that has just been built count as dirty until they are on the disk.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a measurement that cannot go on says where"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command as Process, Stdio};
use std::time::Duration;

use mete_agent::cgroups::{Cgroups, Hierarchies, Limits, Options};
use mete_agent::containerizer::process::ProcessContainerizer;
use mete_agent::containerizer::{Containerizer, Start};
use mete_agent::shims::Executable;
use mete_agent::{processes, sandbox};
use mete_agent_core::task_dir::{Command, OutputLimits};
use mete_model::ContainerId;
use rustix::process::Signal;
use tokio::time::Instant;

const ROUNDS: usize = 200;

/// Medians of one way to run tasks.
#[derive(Default)]
struct Measured {
    started: Vec<Duration>,
    exit_noticed: Vec<Duration>,
    destroyed: Vec<Duration>,
    private_dirty_kib: Vec<u64>,
}

#[tokio::main]
async fn main() {
    print_times(
        "bare fork and exec",
        (0..ROUNDS).map(|_| fork_and_exec()).collect(),
    );
    for (name, hierarchies) in [
        ("no control groups", Hierarchies::default()),
        ("control groups", Hierarchies::of_this_host()),
    ] {
        let work = tempfile::tempdir().unwrap();
        let options = Options::new(format!("measure-{}", std::process::id()));
        let cgroups = Cgroups::set_up(&hierarchies, options);
        let shim = Executable::at(&shim_program(), &[]).unwrap();
        let tasks = ProcessContainerizer::new(work.path().join("tasks"), cgroups, shim).unwrap();
        let mut measured = Measured::default();
        for round in 0..ROUNDS {
            measure(&tasks, work.path(), round, &mut measured).await;
        }
        tasks.tear_down();
        println!("{name}:");
        print_times("  start until running", measured.started);
        print_times("  exit until noticed", measured.exit_noticed);
        print_times("  destroy", measured.destroyed);
        measured.private_dirty_kib.sort_unstable();
        println!(
            "  Private_Dirty of a shim: {} KiB",
            measured.private_dirty_kib[ROUNDS / 2]
        );
    }
}

/// Until `/bin/sleep` runs; its end is not measured.
fn fork_and_exec() -> Duration {
    let start = Instant::now();
    let mut child = Process::new("/bin/sleep")
        .arg("1000")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let took = start.elapsed();
    child.kill().unwrap();
    child.wait().unwrap();
    took
}

async fn measure(tasks: &ProcessContainerizer, work: &Path, round: usize, measured: &mut Measured) {
    let container = ContainerId::new(format!("c{round}")).unwrap();
    let place = work.join(format!("s{round}"));
    sandbox::create(&place, None).unwrap();
    let task = Start {
        container: container.clone(),
        sandbox: place,
        command: Command::Program {
            path: "/bin/sleep".into(),
            arguments: vec!["sleep".into(), "1000".into()],
        },
        environment: BTreeMap::new(),
        user: None,
        limits: Limits::new(100, 32 << 20),
        output: OutputLimits::default(),
        around: None,
        terminal: None,
        docker: None,
    };

    let start = Instant::now();
    let shim = tasks.start(task).await.unwrap();
    measured.started.push(start.elapsed());

    let runner = shim.runner();
    measured
        .private_dirty_kib
        .push(private_dirty_kib(runner.shim.pid));
    let watching = tokio::spawn(shim.ended());
    tokio::task::yield_now().await;
    let killed = Instant::now();
    assert!(processes::signal(runner.task, Signal::KILL));
    watching.await.unwrap().unwrap();
    measured.exit_noticed.push(killed.elapsed());

    let start = Instant::now();
    tasks.destroy(container).await.unwrap();
    measured.destroyed.push(start.elapsed());
}

fn shim_program() -> PathBuf {
    std::env::args().nth(1).map_or_else(
        || {
            std::env::current_exe()
                .unwrap()
                .with_file_name("agent_shim")
        },
        PathBuf::from,
    )
}

fn private_dirty_kib(pid: i32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Private_Dirty:"))
        .unwrap();
    line.trim().trim_end_matches("kB").trim().parse().unwrap()
}

fn print_times(what: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    println!(
        "{what:<28}{:>10.2?}{:>10.2?}",
        times[times.len() / 10],
        times[times.len() / 2]
    );
}
