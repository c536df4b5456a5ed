//! The saturation experiment of "Beware of Fragmentation" (Weng et al., USENIX ATC 2023).
//!
//! 1,213 empty machines with 6,212 GPUs; tasks arrive one by one in random order until they have asked
//! for 130 % of all GPUs. Each is placed at once or refused for ever; nothing ends, nothing moves. What counts
//! is how many GPUs are allocated when as much has been asked for as there is: no policy that
//! sees one task at a time can allocate what the trace does not let it, 96.9 % for the default one.

pub(crate) mod cluster; // machines, scores kept until something changes, and a ledger of what was placed
pub(crate) mod trace; // the files, and arrivals in random order

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use comfy_table::Table;
use mete_placement::Policy;
use serde_json::{Value, json};

use cluster::Cluster;
use trace::{Machine, Pod};

/// The first seed of the published runs, which were 42 to 51.
const FIRST_SEED: u64 = 42;

/// Where the data is and what to run.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The folder that holds openb/, or the files themselves.
    #[arg(long)]
    data: PathBuf,
    /// A list of pods other than the default one: a file, here or where the data are, or the name of a published list,
    /// gpuspec33 say.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// One policy only; otherwise best-fit, fgd and worth.
    #[arg(long)]
    policy: Option<Policy>,
    /// How many orders of arrival.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    seeds: u64,
    /// All policies are told the whole trace's mix beforehand, instead of learning it from what arrives. FGD is
    /// always told, as in the published runs.
    #[arg(long)]
    known_mix: bool,
    /// Of no meaning here: no plan is improved for a time. Taken so that one line of flags serves every experiment.
    #[arg(long, hide = true)]
    seconds: Option<f64>,
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

/// Of one policy over all seeds.
struct Outcome {
    policy: Policy,
    /// Percent of all GPUs, by seed.
    at_100: Vec<f64>,
    at_130: Vec<f64>,
    microseconds: Vec<f64>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    if arguments.seconds.is_some() {
        super::note_unused("--seconds");
    }
    let machines = trace::machines(&arguments.data)?;
    let pods = trace::pods(&arguments.data, arguments.trace.as_deref())?;
    let policies = match arguments.policy {
        Some(policy) => vec![policy],
        None => vec![Policy::BestFit, Policy::Fgd, Policy::Worth],
    };
    let mut outcomes = Vec::new();
    for policy in policies {
        outcomes.push(outcome(policy, &machines, &pods, arguments)?);
    }
    if arguments.json {
        println!("{}", as_json(&outcomes, arguments));
    } else {
        println!("{}", as_table(&outcomes));
    }
    Ok(())
}

fn outcome(
    policy: Policy,
    machines: &[Machine],
    pods: &[Pod],
    arguments: &Arguments,
) -> Result<Outcome> {
    let mut outcome = Outcome {
        policy,
        at_100: Vec::new(),
        at_130: Vec::new(),
        microseconds: Vec::new(),
    };
    for seed in FIRST_SEED..FIRST_SEED + arguments.seeds {
        let arrivals = trace::arrivals(pods, trace::gpus_milli(machines), seed);
        let is_told = arguments.known_mix || policy == Policy::Fgd;
        let known = is_told.then_some(pods);
        let filled = Cluster::new(policy, machines, known).fill(&arrivals)?;
        outcome.at_100.push(filled.percent_at(100));
        outcome.at_130.push(filled.percent_at(130));
        outcome
            .microseconds
            .push(filled.microseconds_per_decision());
    }
    Ok(outcome)
}

/// All arrivals by one scheduler that sees everything.
pub(crate) fn fill(
    policy: Policy,
    machines: &[Machine],
    arrivals: &[Pod],
) -> Result<cluster::Filled> {
    Cluster::new(policy, machines, None).fill(arrivals)
}

fn as_table(outcomes: &[Outcome]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header([
        "policy",
        "GPUs allocated at 100 %",
        "sd",
        "at 130 %",
        "µs/decision",
    ]);
    for outcome in outcomes {
        table.add_row([
            outcome.policy.to_string(),
            format!("{:.2}", mean(&outcome.at_100)),
            format!("{:.2}", deviation(&outcome.at_100)),
            format!("{:.2}", mean(&outcome.at_130)),
            format!("{:.1}", mean(&outcome.microseconds)),
        ]);
    }
    table
}

/// All policies, and beside them the fields of the last one, which is ours when none was named.
fn as_json(outcomes: &[Outcome], arguments: &Arguments) -> Value {
    let all: Vec<Value> = outcomes.iter().map(one_as_json).collect();
    let mut top = all.last().cloned().unwrap_or_default();
    if let Value::Object(top) = &mut top {
        top.insert("seeds".to_owned(), json!(arguments.seeds));
        top.insert("known_mix".to_owned(), json!(arguments.known_mix));
        top.insert("policies".to_owned(), json!(all));
    }
    top
}

fn one_as_json(outcome: &Outcome) -> Value {
    json!({
        "policy": outcome.policy.name(),
        "allocated_at_100": rounded(mean(&outcome.at_100)),
        "sd": rounded(deviation(&outcome.at_100)),
        "allocated_at_130": rounded(mean(&outcome.at_130)),
        "microseconds_per_decision": rounded(mean(&outcome.microseconds)),
    })
}

pub(crate) fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// Of the values themselves, as published.
fn deviation(values: &[f64]) -> f64 {
    let mean = mean(values);
    let squares = values.iter().map(|value| (value - mean).powi(2));
    (squares.sum::<f64>() / values.len().max(1) as f64).sqrt()
}

/// To four places.
pub(crate) fn rounded(value: f64) -> f64 {
    (value * 10_000.0).round() / 10_000.0
}
