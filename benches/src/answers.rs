//! What programs that measure say: percentiles, and the machine they were found on.

use std::fs;
use std::time::Duration;

use comfy_table::{CellAlignment, Table};

/// The nearest rank: the least value that `percent` of all do not exceed; zero of none.
#[must_use]
pub fn percentile(took: &[Duration], percent: usize) -> Duration {
    let mut sorted = took.to_vec();
    sorted.sort_unstable();
    let rank = (sorted.len() * percent).div_ceil(100);
    sorted
        .get(rank.saturating_sub(1))
        .copied()
        .unwrap_or_default()
}

/// What ran this, and how busy it was: figures of a machine that does other work are too high.
#[must_use]
pub fn machine_line() -> String {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let cpus = read("/proc/cpuinfo");
    let model = cpus.lines().find(|line| line.starts_with("model name"));
    let model = model
        .and_then(|line| line.split(':').nth(1))
        .unwrap_or("unknown CPU");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let load = read("/proc/loadavg");
    let load = load
        .split_whitespace()
        .take(3)
        .collect::<Vec<_>>()
        .join(" ");
    let kernel = read("/proc/sys/kernel/osrelease");
    // The version is enough; what follows it is the builder's.
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!(
        "{}, {cores} cores, Linux {kernel}, load {load} at the end",
        model.trim()
    )
}

/// What is measured, as the rows of two tables.
#[derive(Debug, Default)]
pub struct Answers {
    times: Vec<(String, Vec<Duration>)>,
    figures: Vec<(String, String)>,
}

impl Answers {
    /// How long something took, each time it was tried.
    pub fn time(&mut self, what: &str, took: Vec<Duration>) {
        self.times.push((what.to_owned(), took));
    }

    /// Anything else.
    pub fn figure(&mut self, what: &str, figure: String) {
        self.figures.push((what.to_owned(), figure));
    }

    /// Prints all of it, in the form that READMEs take.
    pub fn print(&self) {
        println!("{}\n", machine_line());
        let mut times = table(&["ms", "p50", "p90", "min", "max", "n"]);
        for (what, took) in &self.times {
            let ms = |percent| format!("{:.1}", percentile(took, percent).as_secs_f64() * 1e3);
            times.add_row([
                what.clone(),
                ms(50),
                ms(90),
                ms(0),
                ms(100),
                took.len().to_string(),
            ]);
        }
        println!("{times}\n");
        let mut figures = table(&["what", "answer"]);
        for (what, figure) in &self.figures {
            figures.add_row([what, figure]);
        }
        println!("{figures}");
    }
}

/// A table, right-aligned but for the first column, in the form that READMEs take.
pub fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::ASCII_MARKDOWN);
    table.set_header(header.to_vec());
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    table
}
