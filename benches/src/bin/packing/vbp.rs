//! The batch packer on vector bin packing: the "New" set of 1,080 instances by Mommessin, Erlebach and
//! Shakhlevich, with the best that any of 351 published algorithms found for each.
//!
//! Reads `DIR/vbp/New_summary_known.csv` and `DIR/vbp/New_instances.tar.gz` (or `DIR/vbp/New_instances/`, the
//! same unpacked). An instance gets `--seconds` of the thread's own CPU time, so that a busy machine does not
//! change the figures much, and ends early at the lower bound. Every packing is verified; one that has fewer
//! bins than a bound or a proven optimum is an error.

mod instances; // the files with items and capacities
mod known; // bounds, optima and the best of 351 algorithms
mod tally; // sums by class and dimension, as a table or JSON

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mete_placement::batch::{Plan, improve};
use rustix::time::{ClockId, clock_gettime};

use self::instances::{Instance, Instances};
use self::known::Known;
use self::tally::{Outcome, Tally};

/// Steps between two looks at the clock: about a millisecond with hundreds of items.
const SLICE: u64 = 200;

/// What to run.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The folder that holds vbp/, or the files themselves.
    #[arg(long)]
    data: PathBuf,
    /// CPU seconds for one instance; zero shows the greedy start alone.
    #[arg(long, default_value_t = 1.0, value_parser = seconds)]
    seconds: f64,
    /// How often each instance is packed, with another seed each time; figures are means.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    seeds: u32,
    /// Only so many instances, evenly spread over the set.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    limit: Option<u32>,
    /// Of no meaning here, as is the policy: the instances are a set of their own, and packed in one way. Taken so that one
    /// line of flags serves every experiment.
    #[arg(long, hide = true)]
    trace: Option<PathBuf>,
    #[arg(long, hide = true)]
    policy: Option<String>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    // A day for one instance is beyond any use, and keeps the arithmetic of durations safe.
    if (0.0..=86_400.0).contains(&seconds) {
        Ok(seconds)
    } else {
        Err("must be from 0 to 86400".to_owned())
    }
}

/// Packs all instances and prints what came out.
///
/// # Errors
/// When data are absent or unreadable, or a packing is wrong.
pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.trace.is_some() {
        super::note_unused("--trace");
    }
    if arguments.policy.is_some() {
        super::note_unused("--policy");
    }
    let within = arguments.data.join("vbp");
    let folder = if within.is_dir() {
        within
    } else {
        arguments.data.clone()
    };
    let known = known::read(&folder.join("New_summary_known.csv"))?;
    let mut instances = Instances::read(&folder)?;
    let budget = Duration::from_secs_f64(arguments.seconds);
    let mut tally = Tally::new(arguments.seeds);
    for known in sample(&known, arguments.limit) {
        let instance = instances.take(&known.name)?;
        for seed in 0..arguments.seeds {
            let outcome = pack(known, &instance, budget, u64::from(seed))
                .with_context(|| known.name.clone())?;
            tally.note(known, seed, &outcome);
        }
    }
    if arguments.json {
        println!("{}", tally.json());
    } else {
        println!("{}", tally.table());
    }
    Ok(())
}

/// Every so-manieth, so that about `limit` are left and every class is among them.
fn sample(known: &[Known], limit: Option<u32>) -> impl Iterator<Item = &Known> {
    let limit = limit
        .map_or(known.len(), |limit| limit as usize)
        .min(known.len());
    (0..limit).map(move |n| &known[n * known.len() / limit])
}

fn pack(known: &Known, instance: &Instance, budget: Duration, seed: u64) -> Result<Outcome> {
    let begin = cpu_time();
    let mut plan = Plan::identical(instance.items.clone(), instance.capacity.clone())?;
    let bound = known.lower_bound.max(plan.lower_bound());
    while plan.bins_used() > bound && cpu_time().saturating_sub(begin) < budget {
        improve(&mut plan, SLICE, seed);
    }
    let took = cpu_time().saturating_sub(begin);
    check(known, &plan)?;
    let bins = plan.bins_used();
    Ok(Outcome { bins, bound, took })
}

fn check(known: &Known, plan: &Plan) -> Result<()> {
    plan.verify()?;
    ensure!(
        plan.too_big().is_empty() && plan.unplaced().is_empty(),
        "items are left over"
    );
    let bins = plan.bins_used();
    ensure!(
        bins >= known.lower_bound,
        "{bins} bins, the lower bound is {}",
        known.lower_bound
    );
    if let Some(optimum) = known.optimum {
        ensure!(
            bins >= optimum,
            "{bins} bins, the proven optimum is {optimum}"
        );
    }
    Ok(())
}

/// What this thread has spent so far.
fn cpu_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
