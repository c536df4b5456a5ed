//! What a launch costs: ACCEPT → TASK_RUNNING through the SDK, the master and one agent, one task after the other;
//! beside it, in the same minute, a bare fork and exec of the same command.
//!
//! The agent alone, without master and SDK, is measured by `agent/examples/launch_cost.rs`.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mete_benches::answers::percentile;
use mete_framework_sdk::{
    AgentId, Connection, Event, Filters, Framework, FrameworkSpec, Offer, Task, TaskState,
    TaskStatus,
};
use tokio::time::{Instant, timeout};

use crate::cluster::{Cluster, PATIENCE};
use crate::report::Report;

/// Writes a byte, so that a bare run of it can be seen to run.
const COMMAND: &str = "echo";
/// What is left of the offer comes back for the next task.
const AT_ONCE: Filters = Filters::refuse_for(Duration::ZERO);
/// Other agents are not wanted.
const NEVER: Filters = Filters::refuse_for(Duration::from_secs(3600));

pub(crate) async fn measure(cluster: &Cluster, launches: usize, report: &mut Report) -> Result<()> {
    let connection = Connection::to(&cluster.url("master")?)?;
    let mut launcher = Launcher {
        framework: Framework::connect(connection, FrameworkSpec::new("spine")),
        agent: None,
        offers: Vec::new(),
    };
    let client = launcher.framework.client();
    let (mut through_mete, mut ended) = (Vec::new(), Vec::new());
    let (mut bare, mut bare_exec) = (Vec::new(), Vec::new());
    for round in 0..launches {
        let offers = launcher.take_offers().await?;
        let task = Task::shell(format!("spine-{round}"), COMMAND)?;
        let task = task.cpus_milli(10).mem_mb(8);
        let begin = Instant::now();
        client.accept(&offers, [task], AT_ONCE)?;
        through_mete.push(launcher.until(TaskState::Running).await? - begin);
        ended.push(launcher.until(TaskState::Finished).await? - begin);
        let (exec, first_byte) = tokio::task::spawn_blocking(fork_and_exec).await??;
        bare_exec.push(exec);
        bare.push(first_byte);
    }
    client.teardown()?;
    let cost = percentile(&through_mete, 50).saturating_sub(percentile(&bare, 50));
    report.time("ACCEPT → TASK_RUNNING at the framework", through_mete);
    report.time("ACCEPT → TASK_FINISHED at the framework", ended);
    report.time("bare fork and exec → first byte of output", bare);
    report.time("bare fork and exec → exec has happened", bare_exec);
    report.time(
        "cost of a launch over a bare one (difference of the p50)",
        [cost],
    );
    Ok(())
}

/// A framework that launches on one agent: that of the first offer.
struct Launcher {
    framework: Framework,
    agent: Option<AgentId>,
    /// Of that agent, on the table.
    offers: Vec<Offer>,
}

impl Launcher {
    /// All offers of the agent; waits for one when there is none.
    async fn take_offers(&mut self) -> Result<Vec<Offer>> {
        while self.offers.is_empty() {
            if let Some(status) = self.next().await? {
                bail!("{} is {} though nothing runs", status.task, status.state);
            }
        }
        Ok(std::mem::take(&mut self.offers))
    }

    /// When the task's next state is told, which must be `wanted`.
    async fn until(&mut self, wanted: TaskState) -> Result<Instant> {
        loop {
            let Some(status) = self.next().await? else {
                continue;
            };
            let at = Instant::now();
            if status.state == wanted {
                return Ok(at);
            }
            if status.state.is_terminal() {
                bail!("{} is {}: {:?}", status.task, status.state, status.message);
            }
        }
    }

    /// Hears one event; the news of a task, if that is what it is.
    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what later versions tell besides is not needed here"
    )]
    async fn next(&mut self) -> Result<Option<TaskStatus>> {
        let event = timeout(PATIENCE, self.framework.next()).await;
        let event = event.context("no event")?;
        match event.context("the master has ended the framework")? {
            Event::Update(status) => return Ok(Some(status)),
            Event::Offers(offers) => {
                for offer in offers {
                    let agent = self.agent.get_or_insert_with(|| offer.agent.clone());
                    if offer.agent == *agent {
                        self.offers.push(offer);
                    } else {
                        self.framework.client().decline([&offer.id], NEVER)?;
                    }
                }
            }
            Event::Rescind(id) => self.offers.retain(|offer| offer.id != id),
            Event::Error(text) => bail!("the master refuses: {text}"),
            Event::Disconnected { reason } => bail!("no master: {reason}"),
            _ => {}
        }
        Ok(None)
    }
}

/// From nothing to exec, and to the first byte of output.
fn fork_and_exec() -> Result<(Duration, Duration)> {
    let begin = Instant::now();
    let mut child = Command::new("/bin/sh")
        .args(["-c", COMMAND])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let exec = begin.elapsed();
    let mut output = child.stdout.take().context("a pipe")?;
    output.read_exact(&mut [0])?;
    let first_byte = begin.elapsed();
    child.wait()?;
    Ok((exec, first_byte))
}
