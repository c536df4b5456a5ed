//! What the service framework can carry, measured on a real process of its own: its master and agents are simulated in
//! this program, so that tasks cost nothing.
//!
//! ```text
//! cargo build --release -p mete-cli && cargo run --release -p mete-benches --bin services -- [--apps 5000]
//! ```
//! Asks one question after the other and ends what it has started, also when it fails. Every wait has a deadline. The
//! program and the process share the machine: what the simulated master takes is in every figure.

mod listeners; // many who follow the events
mod many; // thousands of apps: memory, a restart, a large answer
mod one; // one app: its launch, many instances, an upgrade
mod world; // the process, its master, REST

use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Parser, ValueEnum};
use mete_benches::answers::Answers;
use mete_benches::questions::asked;

/// Measures the service framework of Mete.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/mete")]
    mete: PathBuf,
    /// Apps of ten instances each, when there are many.
    #[arg(long, default_value_t = 5_000, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    apps: u16,
    /// Who follows the events.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u16).range(1..=2_000))]
    listeners: u16,
    /// What is asked; all of it when nothing is said.
    #[arg(long, value_enum, value_delimiter = ',')]
    ask: Vec<Question>,
}

/// What can be asked alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// POST of an app → its launch.
    Launch,
    /// POST of 1,000 instances → all run.
    Burst,
    /// A rolling upgrade of 500 instances.
    Upgrade,
    /// Many subscribers of events.
    Listeners,
    /// Thousands of apps.
    Many,
}

impl Arguments {
    fn asks(&self, question: Question) -> bool {
        self.ask.is_empty() || self.ask.contains(&question)
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let questions =
        async |mete: &Path, answers: &mut Answers| questions(mete, &arguments, answers).await;
    asked(&arguments.mete, questions).await
}

async fn questions(mete: &Path, arguments: &Arguments, answers: &mut Answers) -> Result<()> {
    if arguments.asks(Question::Launch) {
        one::launches(mete, answers).await?;
    }
    if arguments.asks(Question::Burst) {
        one::bursts(mete, answers).await?;
    }
    if arguments.asks(Question::Upgrade) {
        one::upgrades(mete, answers).await?;
    }
    if arguments.asks(Question::Listeners) {
        listeners::measure(mete, arguments.listeners, answers).await?;
    }
    if arguments.asks(Question::Many) {
        many::measure(mete, arguments.apps, answers).await?;
    }
    Ok(())
}

/// Says on standard error what is going on; standard output is the answer's.
fn step(what: &str) {
    eprintln!("services: {what}");
}
