//! What one agent can do, measured on real processes: a master, an agent, and a framework of the SDK in this program.
//!
//! ```text
//! cargo build --release -p mete-cli && cargo run --release -p mete-benches --bin node -- [--containers 500]
//! ```
//! Stands up both under a temporary directory, away from the usual ports, asks one question after the other, and takes
//! all of it down again, also when it fails. Every wait has a deadline. Needs root for control groups and containers.

mod bundle; // a root file system, as an image and for `crun`
mod look; // what /proc and the agent's HTTP say
mod post; // an app of many instances over REST
mod tasks; // a framework that launches and kills on one agent
mod world; // the processes

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::{Parser, ValueEnum};
use mete_benches::answers::{Answers, percentile};
use mete_benches::interruption::interrupted;
use mete_benches::process::{Memory, cpu_time};
use mete_framework_sdk::TaskState;
use tokio::time::{Instant, sleep};

use crate::tasks::{Kind, Launcher};
use crate::world::World;

/// Launches one after the other: enough that the median stands still.
const ROUNDS: usize = 100;
/// Tasks of a burst without containers.
const PLAIN_BURST: usize = 200;
/// Tasks of a burst with containers.
const CONTAINER_BURST: usize = 100;
/// Each burst is asked so often.
const BURSTS: usize = 3;
/// Deaths that are waited for one by one.
const DEATHS: usize = 40;
/// How often an agent with many tasks is killed.
const RECOVERIES: usize = 5;
/// Between two of anything that is measured alone.
const PAUSE: Duration = Duration::from_millis(20);
/// Before an agent counts as idle.
const REST: Duration = Duration::from_secs(5);
/// How long its CPU time is watched.
const WATCH: Duration = Duration::from_secs(10);

/// Measures one agent of Mete.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/mete")]
    mete: PathBuf,
    /// Tasks that run when memory, idle CPU and recovery are measured.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u16).range(1..=2000))]
    containers: u16,
    /// What is asked; all of it when nothing is said.
    #[arg(long, value_enum, value_delimiter = ',')]
    ask: Vec<Question>,
    /// Measures `crun` with a bundle made in this directory, and nothing else: how this program calls itself.
    #[arg(long, hide = true)]
    only_crun_in: Option<PathBuf>,
}

impl Arguments {
    fn asks(&self, question: Question) -> bool {
        self.ask.is_empty() || self.ask.contains(&question)
    }
}

/// What can be asked alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Launches and kills one after the other.
    Single,
    /// Many launches and kills at once.
    Burst,
    /// An app of many instances over REST.
    Post,
    /// `crun run` beside it.
    Crun,
    /// How soon a death is heard of.
    Death,
    /// An agent with many tasks: memory, rest, recovery.
    Full,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    if let Some(dir) = arguments.only_crun_in {
        return only_crun(dir);
    }
    let mete = arguments.mete.canonicalize();
    let mete = mete.with_context(|| format!("no {}", arguments.mete.display()))?;
    // Pages of a file that has just been built count as dirty until they are on the disk.
    std::fs::File::open(&mete)?.sync_all()?;
    let mut world = World::start(&mete).await?;
    let mut answers = Answers::default();
    let asked = tokio::select! {
        asked = questions(&mut world, &arguments, &mut answers) => asked,
        interrupted = interrupted() => interrupted,
    };
    // What is known is known, also when the rest failed.
    answers.print();
    asked.inspect_err(|_| eprintln!("{}", world.logs()))?;
    world.end().await
}

async fn questions(world: &mut World, arguments: &Arguments, answers: &mut Answers) -> Result<()> {
    let archive = world.dir().join("image.tar");
    bundle::save(&archive)?;
    world.import_image(&archive)?;
    // First, because the other framework holds what it is offered.
    if arguments.asks(Question::Post) {
        posts(world, answers).await?;
    }
    let mut launcher = Launcher::connect(&world.master_url(), world.dir()).await?;
    let kinds = [
        (Kind::Plain, PLAIN_BURST),
        (Kind::Contained, CONTAINER_BURST),
    ];
    if arguments.asks(Question::Single) {
        for (kind, _) in kinds {
            one_by_one(&mut launcher, kind, answers).await?;
        }
        let bare = (0..ROUNDS).map(|_| look::fork_and_exec());
        let bare = bare.collect::<Result<_>>()?;
        answers.time("fork, exec → the program's first word", bare);
    }
    if arguments.asks(Question::Crun) {
        crun(world, answers)?;
    }
    if arguments.asks(Question::Burst) {
        for (kind, count) in kinds {
            bursts(&mut launcher, kind, count, answers).await?;
        }
    }
    if arguments.asks(Question::Death) {
        deaths(&mut launcher, world, answers).await?;
    }
    if arguments.asks(Question::Full) {
        full(
            &mut launcher,
            world,
            usize::from(arguments.containers),
            answers,
        )
        .await?;
    }
    launcher.end()
}

/// One launch at a time, and its kill.
async fn one_by_one(launcher: &mut Launcher, kind: Kind, answers: &mut Answers) -> Result<()> {
    step(&format!("{kind} launches, one by one"));
    let (mut spoken, mut up, mut down) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let begin = Instant::now();
        let tasks = launcher.launch_speaking(kind).await?;
        spoken.push(launcher.until_spoken().await? - begin);
        up.push(launcher.until(&tasks, TaskState::Running).await? - begin);
        let begin = Instant::now();
        launcher.kill(&tasks)?;
        down.push(launcher.until(&tasks, TaskState::Killed).await? - begin);
        sleep(PAUSE).await;
    }
    answers.time(
        &format!("{kind}: ACCEPT → the program's first word"),
        spoken,
    );
    answers.time(&format!("{kind}: ACCEPT → TASK_RUNNING"), up);
    answers.time(&format!("{kind}: KILL → TASK_KILLED"), down);
    Ok(())
}

/// The same root in containers of `crun`, where there is one.
fn crun(world: &World, answers: &mut Answers) -> Result<()> {
    step("containers of crun, one by one");
    let dir = world.dir().join("bundle").display().to_string();
    let measured = bundle::without_v2(&["--only-crun-in", &dir])?.output()?;
    let said = String::from_utf8_lossy(&measured.stderr);
    ensure!(measured.status.success(), "{said}");
    let micros = String::from_utf8(measured.stdout)?;
    let took = micros.lines().map(|line| Ok(line.parse()?));
    let took: Vec<u64> = took.collect::<Result<_>>()?;
    if took.is_empty() {
        step("there is no crun here");
        return Ok(());
    }
    let took = took.into_iter().map(Duration::from_micros).collect();
    answers.time("crun run → the program's first word", took);
    Ok(())
}

/// Prints microseconds, a line each; none when there is no `crun`.
fn only_crun(dir: PathBuf) -> Result<()> {
    let bundle = bundle::Bundle::make(dir)?;
    for round in 0..ROUNDS {
        let id = format!("node-{}-{round}", std::process::id());
        let Some(took) = bundle.run(&id)? else {
            break;
        };
        println!("{}", took.as_micros());
    }
    Ok(())
}

/// Many in one ACCEPT, and all killed together.
async fn bursts(
    launcher: &mut Launcher,
    kind: Kind,
    count: usize,
    answers: &mut Answers,
) -> Result<()> {
    step(&format!("{count} {kind} launches at once"));
    let (mut up, mut down) = (Vec::new(), Vec::new());
    for _ in 0..BURSTS {
        let begin = Instant::now();
        let tasks = launcher.launch(kind, count).await?;
        up.push(launcher.until(&tasks, TaskState::Running).await? - begin);
        let begin = Instant::now();
        launcher.kill(&tasks)?;
        down.push(launcher.until(&tasks, TaskState::Killed).await? - begin);
        sleep(REST).await;
    }
    let per_second = |took: &[Duration]| {
        let median = percentile(took, 50).as_secs_f64();
        format!("{:.0} a second", count as f64 / median)
    };
    answers.figure(&format!("{count} {kind}: launches"), per_second(&up));
    answers.figure(&format!("{count} {kind}: kills"), per_second(&down));
    answers.time(&format!("{count} {kind}: ACCEPT → all run"), up);
    answers.time(&format!("{count} {kind}: KILL → all are dead"), down);
    Ok(())
}

/// An app of many instances, from POST until all of them run.
async fn posts(world: &mut World, answers: &mut Answers) -> Result<()> {
    step(&format!("{PLAIN_BURST} instances by POST"));
    world.start_services().await?;
    let mut took = Vec::new();
    for _ in 0..BURSTS {
        took.push(post::many(world, PLAIN_BURST).await?);
        sleep(REST).await;
    }
    answers.time(&format!("POST of {PLAIN_BURST} instances → all run"), took);
    world.end_services()
}

/// From SIGKILL of a task's process to the framework's news of it.
async fn deaths(launcher: &mut Launcher, world: &World, answers: &mut Answers) -> Result<()> {
    step("deaths, one by one");
    let tasks = launcher.launch(Kind::Plain, DEATHS).await?;
    launcher.until(&tasks, TaskState::Running).await?;
    let mut heard = Vec::new();
    for task in tasks {
        let process = look::process_of(&task, world.dir())?;
        sleep(PAUSE).await;
        let begin = Instant::now();
        look::kill(process);
        heard.push(launcher.until(&[task], TaskState::Failed).await? - begin);
    }
    answers.time("SIGKILL of a task → TASK_FAILED", heard);
    Ok(())
}

/// An agent with many tasks: its memory, its rest, and how it comes back.
async fn full(
    launcher: &mut Launcher,
    world: &mut World,
    many: usize,
    answers: &mut Answers,
) -> Result<()> {
    step(&format!("{many} tasks run"));
    let tasks = launcher.launch(Kind::Plain, many).await?;
    launcher.until(&tasks, TaskState::Running).await?;
    sleep(REST).await;
    let agent = world.agent_pid()?;
    let memory = Memory::of(agent)?;
    answers.figure(
        &format!("agent with {many} tasks: memory"),
        format!(
            "{} KiB private, {} KiB resident",
            memory.private_kib(),
            memory.resident_kib
        ),
    );
    let shims = look::shims(world.dir())?;
    let mut dirty: Vec<u64> = shims.iter().map(|shim| shim.private_dirty_kib).collect();
    dirty.sort_unstable();
    let median = dirty.get(dirty.len() / 2).context("no shims")?;
    answers.figure(
        &format!("Private_Dirty of a shim, median of {}", dirty.len()),
        format!("{median} KiB"),
    );
    let before = cpu_time(agent)?;
    sleep(WATCH).await;
    let spent = cpu_time(agent)?.saturating_sub(before);
    let share = spent.as_secs_f64() / WATCH.as_secs_f64() * 100.0;
    answers.figure("CPU of that agent at rest", format!("{share:.1} %"));
    let mut back = Vec::new();
    for _ in 0..RECOVERIES {
        step("the agent is killed");
        world.kill_agent()?;
        let begin = Instant::now();
        world.start_agent()?;
        world.until_registered(many).await?;
        back.push(begin.elapsed());
    }
    answers.time(
        &format!("agent with {many} tasks: start → all adopted, registered"),
        back,
    );
    launcher.kill(&tasks)?;
    launcher.until(&tasks, TaskState::Killed).await?;
    Ok(())
}

/// Says on standard error what is going on; standard output is the answer's.
fn step(what: &str) {
    eprintln!("node: {what}");
}
