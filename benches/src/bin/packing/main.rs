//! How well tasks are packed, on work that others have published figures for.
//!
//! ```text
//! cargo run --release -p mete-benches --bin packing -- openb --data DIR [--trace FILE] [--policy NAME] [--seeds N] [--json]
//! cargo run --release -p mete-benches --bin packing -- offers --data DIR [--trace FILE] [--policy NAME] [--seeds N] [--json]
//! cargo run --release -p mete-benches --bin packing -- vbp --data DIR [--seconds 1] [--seeds 1] [--limit K] [--json]
//! ```
//! Flags of one experiment that mean nothing in another are passed over there, with a word on standard error.
//! The data is public and not part of this repository; see `benches/README.md` for where it comes from.

mod offers; // what the two levels cost
mod openb; // a GPU cluster filled up one task at a time
mod vbp; // vector bin packing: how few bins

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Measures how well Mete packs.
#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    experiment: Experiment,
}

#[derive(Debug, Subcommand)]
enum Experiment {
    /// Fills Alibaba's GPU cluster up one task at a time, as in "Beware of Fragmentation" (USENIX ATC 2023).
    Openb(openb::Arguments),
    /// The same arrivals through offers: what the two levels cost, and whether everybody gets its share.
    Offers(offers::Arguments),
    /// Packs 1,080 public vector-bin-packing instances into as few bins as it can.
    Vbp(vbp::Arguments),
}

/// Says that a flag has no meaning in this experiment.
fn note_unused(flag: &str) {
    eprintln!("{flag} has no meaning in this experiment, and is passed over");
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<()> {
    match &arguments.experiment {
        Experiment::Openb(arguments) => openb::run(arguments),
        Experiment::Offers(arguments) => offers::run(arguments),
        Experiment::Vbp(arguments) => vbp::run(arguments),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_of_flags_serves_every_experiment() {
        for experiment in ["openb", "offers", "vbp"] {
            let flags = ["--trace", "gpuspec33", "--policy", "fgd", "--seeds", "1"];
            let line = [
                "packing",
                experiment,
                "--data",
                "DIR",
                "--seconds",
                "1",
                "--json",
            ];

            let read = Arguments::try_parse_from(line.into_iter().chain(flags));

            assert!(read.is_ok(), "{experiment}: {read:?}");
        }
    }
}
