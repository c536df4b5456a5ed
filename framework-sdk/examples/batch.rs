//! A framework that works off a list of short tasks: as many at a time as the cluster gives it.
//!
//! ```text
//! batch --master http://127.0.0.1:5050 --count 200 --cpus 0.5 --seconds 2 --role batch --share-report 20
//! ```
//! Failed tasks run again, up to `--attempts` times. The last line on stdout is for programs:
//! `summary finished=200 failed=0 relaunched=3 seconds=41.2`. Exits with 0 when all have finished, with 1 otherwise.
#![allow(
    clippy::wildcard_enum_match_arm,
    reason = "what later versions tell besides is not needed here"
)]

#[path = "batch/share.rs"]
mod share; // what the framework had, second by second
#[path = "batch/work.rs"]
mod work; // the list, and what became of each item

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use mete_framework_sdk::matching;
use mete_framework_sdk::{Client, Connection, Event, Filters, Framework, FrameworkSpec, Role};
use share::Share;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval};
use work::Work;

/// What an offer has left over comes back soon: tasks are short, and room for more of them opens all the time.
const WHILE_BUSY: Filters = Filters::refuse_for(Duration::from_secs(1));
/// A master that restarts has so long before the tasks are given up.
const FAILOVER_TIMEOUT: Duration = Duration::from_secs(60);

/// Works off a list of short tasks.
#[derive(Parser)]
pub(crate) struct Arguments {
    /// Address of the master.
    #[arg(long, env = "METE_MASTER", default_value = "http://127.0.0.1:5050")]
    master: String,
    /// File with the bearer token, where the master asks for one.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Name of the framework; the ids of its tasks begin with it.
    #[arg(long, default_value = "batch")]
    name: String,
    /// Role in which it takes resources.
    #[arg(long, default_value = "*")]
    role: Role,
    /// How many tasks.
    #[arg(long, default_value_t = 100)]
    count: u32,
    /// CPUs of each task.
    #[arg(long, default_value_t = 0.1)]
    cpus: f64,
    /// Memory of each task, in MB.
    #[arg(long, value_name = "MB", default_value_t = 32)]
    mem: u64,
    /// What each task runs with /bin/sh -c; by default it sleeps.
    #[arg(long, conflicts_with = "seconds")]
    command: Option<String>,
    /// How long each task sleeps.
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// How often a task is tried before it counts as failed.
    #[arg(long, default_value_t = 3)]
    attempts: u32,
    /// Prints what the framework had in its first SECONDS, second by second.
    #[arg(long, value_name = "SECONDS")]
    share_report: Option<u32>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("batch: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all tasks have finished.
async fn run(arguments: Arguments) -> Result<bool, Box<dyn Error>> {
    let mut connection = Connection::to(&arguments.master)?;
    if let Some(file) = &arguments.token_file {
        connection = connection.with_token(std::fs::read_to_string(file)?.trim())?;
    }
    let spec = FrameworkSpec::new(&arguments.name)
        .role(arguments.role.clone())
        .failover_timeout(FAILOVER_TIMEOUT);
    let mut work = Work::new(&arguments)?;
    let mut share = Share::new(&arguments);
    let mut framework = Framework::connect(connection, spec);
    let client = framework.client();
    client.demand_for(work.waiting());
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let began = Instant::now();
    loop {
        tokio::select! {
            event = framework.next() => match event {
                Some(Event::Error(text)) => return Err(text.into()),
                Some(event) => hear(event, &mut work, &client),
                None => break,
            },
            _ = seconds.tick() => share.sample(began.elapsed(), work.running()),
            _ = interrupt.recv() => leave(&client),
            _ = terminate.recv() => leave(&client),
        }
    }
    share.print();
    let (finished, failed, relaunched) = (work.finished, work.failed, work.relaunched);
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "summary finished={finished} failed={failed} relaunched={relaunched} seconds={seconds:.1}"
    );
    Ok(work.finished == arguments.count)
}

/// Errors of calls mean that there is no connection: what was to be launched still waits, and the rest is remembered by
/// the SDK or asked for again once it is back.
fn hear(event: Event, work: &mut Work, client: &Client) {
    match event {
        Event::Subscribed { framework, .. } => {
            println!("subscribed as {framework}");
            let _ = client.reconcile(work.running().map(|task| (task.id(), None)));
        }
        Event::Offers(offers) => {
            let plan = matching::plan(work.take_waiting(), &offers);
            let waiting = plan.carry_out(client, WHILE_BUSY);
            work.launched_all_but(waiting);
            if !work.is_waiting() {
                let _ = client.suppress();
            }
        }
        Event::Update(status) => {
            if work.hear(&status) {
                client.demand_for(work.waiting());
                let _ = client.revive();
            }
            if work.is_done() {
                let _ = client.teardown();
            }
        }
        Event::Disconnected { reason } => eprintln!("no master: {reason}"),
        _ => {}
    }
}

/// The tasks end with the framework.
fn leave(client: &Client) {
    let _ = client.teardown();
}
