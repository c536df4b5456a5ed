//! Tasks a second: each is launched, runs, finishes, and both are told and acknowledged one by one.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use mete_benches::answers::Answers;
use mete_benches::process::cpu_time;
use tokio::time::Instant;

use crate::agents::{Agents, Life};
use crate::framework::{Counts, Framework};
use crate::link::{Link, Way};
use crate::world::World;
use crate::{Size, step};

/// Before tasks are counted.
const WARM_UP: Duration = Duration::from_secs(3);
/// Tasks that are not over, at most: enough that nobody waits for anybody, few enough that the first ends soon.
const TASKS: u64 = 4_000;

/// Counts for so long.
pub(crate) async fn measure(
    mete: &Path,
    size: Size,
    (name, way): (&str, Way),
    span: Duration,
    answers: &mut Answers,
) -> Result<()> {
    step(&format!("{} agents, tasks over {name}", size.agents));
    let world = World::start(mete).await?;
    let mut agents = Agents::new(size.agents, size.connections);
    agents.live(Life::Short);
    agents.arrive().await?;
    let mut framework = Framework::subscribe(Link::new(way), None, TASKS).await?;
    let run = counted(&world, &mut framework, span).await;
    let (counts, took, master, own) = run.with_context(|| world.master.log())?;
    let seconds = took.as_secs_f64();
    let per_task = |cpu: Duration| cpu.as_secs_f64() * 1e6 / counts.finished as f64;
    let figure = format!(
        "{:.0}; {:.1} in an ACCEPT; CPU of the master {:.0} µs a task, {:.0} % of one core; of this program {:.0} µs",
        counts.finished as f64 / seconds,
        counts.launched as f64 / counts.accepts as f64,
        per_task(master),
        master.as_secs_f64() / seconds * 100.0,
        per_task(own),
    );
    answers.figure(&format!("tasks a second over {name}"), figure);
    Ok(())
}

async fn counted(
    world: &World,
    framework: &mut Framework,
    span: Duration,
) -> Result<(Counts, Duration, Duration, Duration)> {
    framework.run_for(WARM_UP).await?;
    framework.counts = Counts::default();
    let times = || anyhow::Ok((world.cpu()?, cpu_time(std::process::id())?));
    let (begin, before) = (Instant::now(), times()?);
    framework.run_for(span).await?;
    let (took, after) = (begin.elapsed(), times()?);
    let counts = framework.counts;
    anyhow::ensure!(counts.finished > 0, "no task has finished: {counts:?}");
    Ok((counts, took, after.0 - before.0, after.1 - before.1))
}
