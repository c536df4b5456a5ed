//! What the master can carry, measured on a real process of its own: its agents, its framework and those who ask are
//! simulated in this program, so that tasks cost nothing.
//!
//! ```text
//! cargo build --release -p mete-cli && cargo run --release -p mete-benches --bin master -- [--agents 10000]
//! ```
//! Asks one question after the other and ends what it has started, also when it fails. Every wait has a deadline. The
//! program and the process share the machine: what the program takes is in every figure, and said beside it.

mod agents; // thousands of them, and executors that take no time
mod carried; // many agents with many tasks: memory, a restart, large answers, offers meanwhile
mod framework; // takes every offer
mod link; // gRPC, or Mesos' HTTP API
mod rate; // tasks a second
mod tasks; // what runs
mod wire; // what is said and heard
mod world; // the process, and questions over HTTP

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use mete_benches::answers::Answers;
use mete_benches::questions::asked;
use mete_proto::media::Media;

use tikv_jemallocator::Jemalloc;

use self::link::Way;

/// What this program takes is in every figure: it has the heap of the master.
#[global_allocator]
static HEAP: Jemalloc = Jemalloc;

/// Measures the master of Mete.
#[derive(Debug, Parser)]
struct Arguments {
    /// The binary to measure.
    #[arg(long, default_value = "target/release/mete")]
    mete: PathBuf,
    /// Agents, with room for ten tasks each.
    #[arg(long, default_value_t = 10_000, value_parser = clap::value_parser!(u16).range(1..=20_000))]
    agents: u16,
    /// Connections that they share.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    connections: u16,
    /// How long tasks are counted.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// What is asked; all of it when nothing is said.
    #[arg(long, value_enum, value_delimiter = ',')]
    ask: Vec<Question>,
}

/// What can be asked alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Question {
    /// Tasks a second over gRPC.
    Grpc,
    /// Tasks a second over Mesos' HTTP API, in protobuf.
    Protobuf,
    /// The same in JSON.
    Json,
    /// Many agents full of tasks: memory, a restart, large answers, offers meanwhile.
    Carried,
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
    let size = Size {
        agents: arguments.agents.into(),
        connections: arguments.connections.into(),
    };
    let span = Duration::from_secs(arguments.seconds);
    let ways = [
        (Question::Grpc, "gRPC", Way::Grpc),
        (
            Question::Protobuf,
            "HTTP, protobuf",
            Way::Http(Media::Protobuf),
        ),
        (Question::Json, "HTTP, JSON", Way::Http(Media::Json)),
    ];
    for (question, name, way) in ways {
        if arguments.asks(question) {
            rate::measure(mete, size, (name, way), span, answers).await?;
        }
    }
    if arguments.asks(Question::Carried) {
        carried::measure(mete, size, answers).await?;
    }
    Ok(())
}

/// How large the cluster is.
#[derive(Clone, Copy, Debug)]
struct Size {
    agents: usize,
    connections: usize,
}

/// Says on standard error what is going on; standard output is the answer's.
fn step(what: &str) {
    eprintln!("master: {what}");
}
