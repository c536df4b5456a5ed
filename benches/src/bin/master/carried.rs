//! Many agents full of tasks that last: what they take, how fast they come back, what it costs to look at them, and how
//! soon what becomes free is offered, alone and while many look.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, ensure};
use mete_benches::answers::{Answers, percentile};
use mete_proto::mesos::v1::master;
use prost::Message as _;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::agents::{Agents, Life, ROOM};
use crate::framework::Framework;
use crate::link::{Link, Way};
use crate::world::{PATIENCE, World, read};
use crate::{Size, step};

/// How often a large answer is read, and the master restarted.
const ROUNDS: usize = 5;
/// Who poll `/state` at the same time.
const POLLERS: usize = 5;
/// Offers and `/health`s that are timed.
const SAMPLES: usize = 1_000;
/// From one to the next.
const RHYTHM: Duration = Duration::from_millis(5);

/// Asks all of it.
pub(crate) async fn measure(mete: &Path, size: Size, answers: &mut Answers) -> Result<()> {
    let mut world = World::start(mete).await?;
    let asked = questions(&mut world, size, answers).await;
    asked.with_context(|| world.master.log())
}

async fn questions(world: &mut World, size: Size, answers: &mut Answers) -> Result<()> {
    let mut agents = Agents::new(size.agents, size.connections);
    agents.live(Life::Lasting);
    memory(world, &mut agents, answers).await?;
    let framework = fill(world, &agents, answers).await?;
    let mut framework = come_back(world, &mut agents, framework, answers).await?;
    reads(world, answers).await?;
    step("offers of what becomes free, and /health, alone");
    let offers = freed(&agents, &mut framework).await?;
    answers.time("freed → offered, idle", offers);
    answers.time("/health, idle", health(world).await?);
    step("the same while five poll /state");
    let pollers = Pollers::start();
    let offers = freed(&agents, &mut framework).await;
    let healths = health(world).await;
    let polled = pollers.end().await?;
    let (offers, healths) = (offers?, healths?);
    let p99 = |took: &[Duration]| format!("{:.1} ms", percentile(took, 99).as_secs_f64() * 1e3);
    answers.figure("freed → offered beside five pollers, p99", p99(&offers));
    answers.figure("/health beside five pollers, p99", p99(&healths));
    answers.time("freed → offered beside five pollers", offers);
    answers.time("/health beside five pollers", healths);
    answers.time("/state, five at a time", polled);
    Ok(())
}

/// Agents without tasks: what a first arrival takes, of time and of memory. Streams are in it.
async fn memory(world: &World, agents: &mut Agents, answers: &mut Answers) -> Result<()> {
    step("agents register");
    let before = world.memory()?.private_kib();
    let took = agents.arrive().await?;
    let after = world.memory()?.private_kib();
    answers.time("all agents register for the first time", vec![took]);
    let each = (after.saturating_sub(before)) as f64 / agents.count() as f64;
    answers.figure(
        "private memory, an agent with its stream",
        format!("{each:.1} KiB"),
    );
    Ok(())
}

/// Every agent is full.
async fn fill(world: &World, agents: &Agents, answers: &mut Answers) -> Result<Framework> {
    step("agents are filled with tasks");
    let before = world.memory()?.private_kib();
    let mut framework = Framework::subscribe(Link::new(Way::Grpc), None, u64::MAX).await?;
    let wanted = (agents.count() * ROOM) as u64;
    let begin = Instant::now();
    while framework.counts.running < wanted {
        framework.next().await?;
        ensure!(
            begin.elapsed() < PATIENCE,
            "{:?} of {wanted}",
            framework.counts
        );
    }
    answers.time("agents are filled, ten tasks each", vec![begin.elapsed()]);
    let after = world.memory()?.private_kib();
    let each = (after.saturating_sub(before)) as f64 * 1_024.0 / wanted as f64;
    answers.figure("private memory, a task more", format!("{each:.0} B"));
    Ok(framework)
}

/// The master is killed and started again, and everybody comes at once.
async fn come_back(
    world: &mut World,
    agents: &mut Agents,
    framework: Framework,
    answers: &mut Answers,
) -> Result<Framework> {
    let id = framework.id();
    drop(framework);
    let (mut took, mut cpu) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        step("the master is killed, all agents come back with their tasks");
        world.master.kill()?;
        agents.leave().await;
        world.begin().await?;
        let before = world.cpu()?;
        took.push(agents.arrive().await?);
        cpu.push(world.cpu()? - before);
    }
    ensure!(
        agents.with_tasks(ROOM) == agents.count(),
        "tasks were lost on the way"
    );
    answers.time("all agents are back with their tasks", took);
    answers.time("CPU of the master for it", cpu);
    let memory = world.memory()?;
    let mib = |kib: u64| kib as f64 / 1_024.0;
    let figure = format!(
        "{:.0} MiB, resident {:.0}",
        mib(memory.private_kib()),
        mib(memory.resident_kib)
    );
    answers.figure("private memory after a return of all", figure);
    Framework::subscribe(Link::new(Way::Grpc), Some(id), u64::MAX).await
}

async fn reads(world: &World, answers: &mut Answers) -> Result<()> {
    step("large answers");
    let get_state = master::Call {
        r#type: Some(master::call::Type::GetState.into()),
        ..master::Call::default()
    }
    .encode_to_vec();
    for path in [
        "/state",
        "GET_STATE",
        "/state-summary",
        "/tasks",
        "/metrics",
    ] {
        let (mut took, mut cpu, mut bytes) = (Vec::new(), Vec::new(), 0);
        for _ in 0..ROUNDS {
            let before = world.cpu()?;
            let (span, length) = match path {
                "GET_STATE" => world.ask(get_state.clone()).await?,
                path => world.get(path).await?,
            };
            took.push(span);
            cpu.push(world.cpu()? - before);
            bytes = length;
        }
        answers.time(path, took);
        answers.time(&format!("{path}, CPU of the master"), cpu);
        answers.figure(
            &format!("{path}, length"),
            format!("{:.1} MB", bytes as f64 / 1e6),
        );
    }
    Ok(())
}

/// One task after the other finishes: from the update that its agent sends to the offer that its framework gets. The
/// offer is taken, and the agent is full again.
async fn freed(agents: &Agents, framework: &mut Framework) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(SAMPLES);
    let mut rhythm = interval(RHYTHM);
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for sample in 0..SAMPLES {
        rhythm.tick().await;
        let begin = Instant::now();
        let agent = agents.finish_one(sample * 7 % agents.count()).await?;
        let running = framework.counts.running;
        let mut is_offered = false;
        while !is_offered {
            let offers = framework.next().await?;
            is_offered = offers.contains(&agent);
        }
        took.push(begin.elapsed());
        while framework.counts.running == running {
            framework.next().await?;
        }
    }
    Ok(took)
}

async fn health(world: &World) -> Result<Vec<Duration>> {
    let mut took = Vec::with_capacity(SAMPLES);
    let mut rhythm = interval(RHYTHM);
    rhythm.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..SAMPLES {
        rhythm.tick().await;
        took.push(world.get("/health").await?.0);
    }
    Ok(took)
}

/// Read `/state` again and again, each on a thread of its own as if it were another program: what is timed meanwhile does
/// not wait for them in here.
struct Pollers {
    threads: Vec<JoinHandle<Result<Vec<Duration>>>>,
    ended: Arc<AtomicBool>,
}

impl Pollers {
    fn start() -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let one = || {
            let ended = Arc::clone(&ended);
            thread::spawn(move || poll(&ended))
        };
        let threads = std::iter::repeat_with(one).take(POLLERS).collect();
        Self { threads, ended }
    }

    /// Waits for the last answers; how long each took.
    async fn end(self) -> Result<Vec<Duration>> {
        self.ended.store(true, Ordering::Relaxed);
        let all = tokio::task::spawn_blocking(|| {
            let mut took = Vec::new();
            for thread in self.threads {
                let polled = thread.join();
                took.extend(polled.map_err(|_| anyhow!("a poller panicked"))??);
            }
            anyhow::Ok(took)
        });
        all.await?
    }
}

fn poll(ended: &AtomicBool) -> Result<Vec<Duration>> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_all().build()?.block_on(async {
        let client = mete_daemon::http_client::plain()
            .timeout(PATIENCE)
            .build()?;
        let mut took = Vec::new();
        while !ended.load(Ordering::Relaxed) {
            took.push(read(client.get(World::url("/state"))).await?.0);
        }
        Ok(took)
    })
}
