//! How long the spine takes, measured on real processes: a cluster of `mete up`, real agents, a real HAProxy.
//!
//! ```text
//! cargo build --release -p mete-cli && cargo run --release -p mete-benches --bin spine -- [--rounds 20] [--json]
//! ```
//! Stands up a cluster of its own under a temporary directory, away from the usual ports, asks one question after the
//! other and takes the cluster down again, also when it fails or is interrupted. Every wait has a deadline.

mod app; // definitions, and waiting until they run
mod cluster; // `mete up`, REST, HAProxy's admin socket; ended with everything it started
mod exit; // a task dies → its status is told
mod health; // an instance says it fails → HAProxy sends it nothing more
mod launch; // ACCEPT → TASK_RUNNING, beside a bare fork and exec
mod memory; // private memory and idle CPU, per process
mod post; // POST of an app → first request through HAProxy
mod report; // percentiles, as a table or as JSON
mod stream; // server-sent events with the time at which they came

use std::fs::File;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::Parser;
use mete_benches::interruption::interrupted;
use tokio::time::timeout;

use crate::cluster::Cluster;
use crate::report::Report;

/// The whole run: twenty rounds take about four minutes.
const RUN_TIMEOUT: Duration = Duration::from_secs(20 * 60);
/// Launches for the cost of one: enough that the median stands still, done within a minute.
const LAUNCHES: usize = 100;

/// Measures the spine of Mete on a cluster of its own.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/mete")]
    mete: PathBuf,
    /// How often each question is asked; also how many sleeping tasks there are to look at.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=100))]
    rounds: u16,
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = tokio::select! {
        outcome = timeout(RUN_TIMEOUT, run(&arguments)) => {
            outcome.unwrap_or_else(|_| bail_late())
        }
        interrupted = interrupted() => interrupted,
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("spine: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bail_late() -> Result<()> {
    bail!("not done within {RUN_TIMEOUT:?}")
}

async fn run(arguments: &Arguments) -> Result<()> {
    let mete = arguments.mete.canonicalize().with_context(|| {
        format!(
            "no {}: `cargo build --release -p mete-cli` makes it",
            arguments.mete.display()
        )
    })?;
    // Pages of a file that has just been built count as dirty in every process until they are on the disk.
    File::open(&mete)?.sync_all()?;
    let rounds = usize::from(arguments.rounds);
    let mut report = Report::new(rounds);
    step("a cluster starts");
    let mut cluster = Cluster::start(&mete).await?;
    questions(&cluster, rounds, &mut report)
        .await
        .inspect_err(|_| eprintln!("{}", cluster.logs()))?;
    step("the cluster ends");
    report.time(
        "SIGTERM → `mete up` and all it started are gone",
        [cluster.down().await?],
    );
    report.print(arguments.json)
}

async fn questions(cluster: &Cluster, rounds: usize, report: &mut Report) -> Result<()> {
    step("idle daemons");
    memory::daemons(cluster, "nothing has run yet", report).await?;
    step("POST of an app → first request");
    post::measure(cluster, rounds, report).await?;
    step("health change → HAProxy");
    health::measure(cluster, rounds, report).await?;
    step("launches");
    launch::measure(cluster, LAUNCHES, report).await?;
    step("memory of shims");
    let sleepers = exit::Sleepers::start(cluster, rounds).await?;
    memory::shims(cluster, report)?;
    memory::daemons(cluster, "after all of the above, sleeping tasks", report).await?;
    step("task exit → status");
    sleepers.measure(cluster, report).await
}

/// Says on standard error what is going on; standard output is the answer's.
fn step(what: &str) {
    eprintln!("spine: {what}");
}
