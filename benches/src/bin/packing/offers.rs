//! What the two levels cost: the same arrivals through offers, and by one scheduler that sees everything.
//!
//! Each task of the openb arrivals belongs to one of several frameworks. It states its demand, the allocator makes an offer,
//! the framework's matcher accepts; what is lost is the difference to placing the same tasks in the same order by the same
//! policy in one level. Beside it, whether everybody gets its share: with endless backlogs and tasks that end at random, each
//! framework's dominant share over time against what its weight entitles it to.

mod backlog; // endless demand, tasks that end
mod shares; // who competes with whom, and how far off each is
mod two_levels; // arrivals through allocator and matcher

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;
use mete_placement::Policy;
use serde_json::json;

use super::openb::{self, trace};

/// The first seed of the published runs, which were 42 to 51.
const FIRST_SEED: u64 = 42;

/// Where the data is and what to run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder that holds openb/, or the files themselves.
    #[arg(long)]
    data: PathBuf,
    /// A list of pods other than the default one.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// How places are chosen, on both levels.
    #[arg(long, default_value_t)]
    policy: Policy,
    /// How many orders of arrival.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// How many frameworks the tasks belong to.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(1..=100))]
    frameworks: u64,
    /// Of no meaning here: no plan is improved for a time. Taken so that one line of flags serves every experiment.
    #[arg(long, hide = true)]
    seconds: Option<f64>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.seconds.is_some() {
        super::note_unused("--seconds");
    }
    let machines = trace::machines(&arguments.data)?;
    let pods = trace::pods(&arguments.data, arguments.trace.as_deref())?;
    let capacity = trace::gpus_milli(&machines);
    let (mut one, mut two) = (Vec::new(), Vec::new());
    for seed in FIRST_SEED..FIRST_SEED + arguments.seeds {
        let arrivals = trace::arrivals(&pods, capacity, seed);
        let policy = arguments.policy;
        one.push(openb::fill(policy, &machines, &arrivals)?.percent_at(100));
        let filled = two_levels::fill(policy, &machines, &arrivals, arguments.frameworks)?;
        two.push(filled.percent_at(100));
    }
    let (one, two) = (openb::mean(&one), openb::mean(&two));
    // Averages over so many tasks that another seed would show the same.
    let shares = shares::measure(arguments.policy, &machines, &pods, FIRST_SEED)?;
    if arguments.json {
        let answer = json!({
            "policy": arguments.policy.name(),
            "frameworks": arguments.frameworks,
            "seeds": arguments.seeds,
            "one_level_at_100": openb::rounded(one),
            "two_levels_at_100": openb::rounded(two),
            "loss_points": openb::rounded(one - two),
            "share_deviation_percent": openb::rounded(shares.worst_deviation()),
            "share_deviation_coarse_percent": openb::rounded(shares.worst_deviation_coarse()),
            "shares": shares.as_json(),
        });
        println!("{answer}");
        return Ok(());
    }
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "policy",
        "one level",
        "two levels",
        "lost, points",
        "worst share off by, %",
        "with large tasks only, %",
    ]);
    table.add_row([
        arguments.policy.to_string(),
        format!("{one:.2}"),
        format!("{two:.2}"),
        format!("{:.3}", one - two),
        format!("{:.2}", shares.worst_deviation()),
        format!("{:.2}", shares.worst_deviation_coarse()),
    ]);
    println!("{table}");
    Ok(())
}
