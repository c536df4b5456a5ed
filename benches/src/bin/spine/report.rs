//! The answers: percentiles of times, memory of processes, and the machine they were found on.

use std::time::Duration;

use anyhow::Result;
use comfy_table::{CellAlignment, Table};
use mete_benches::answers::{machine_line, percentile, table};
use mete_benches::process::Memory;
use serde_json::{Value, json};

/// All answers so far.
#[derive(Debug)]
pub(crate) struct Report {
    rounds: usize,
    times: Vec<(&'static str, Vec<Duration>)>,
    processes: Vec<Row>,
}

/// A process, or the median of several.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) process: String,
    pub(crate) when: &'static str,
    pub(crate) count: usize,
    pub(crate) memory: Memory,
    pub(crate) cpu_ms_in_10_s: Option<u64>,
}

impl Report {
    pub(crate) fn new(rounds: usize) -> Self {
        Self {
            rounds,
            times: Vec::new(),
            processes: Vec::new(),
        }
    }

    /// Adds how long something took, each time.
    pub(crate) fn time(&mut self, what: &'static str, took: impl IntoIterator<Item = Duration>) {
        self.times.push((what, took.into_iter().collect()));
    }

    pub(crate) fn process(&mut self, row: Row) {
        self.processes.push(row);
    }

    /// On standard output: tables, or one JSON object.
    pub(crate) fn print(&self, json: bool) -> Result<()> {
        if json {
            println!("{}", serde_json::to_string_pretty(&self.json())?);
        } else {
            println!("{}\n", machine_line());
            println!("{}\n", self.times_table());
            println!("{}", self.processes_table());
        }
        Ok(())
    }

    fn times_table(&self) -> Table {
        let mut table = table(&["ms", "p50", "p90", "min", "max", "n"]);
        for (what, took) in &self.times {
            let mut row = vec![(*what).to_owned()];
            row.extend(summary(took).map(|ms| format!("{ms:.1}")));
            row.push(took.len().to_string());
            table.add_row(row);
        }
        table
    }

    fn processes_table(&self) -> Table {
        let header = [
            "KiB",
            "when",
            "Private_Dirty",
            "Private_Clean",
            "Rss",
            "CPU in 10 s",
            "n",
        ];
        let mut table = table(&header);
        for row in &self.processes {
            let cpu = row.cpu_ms_in_10_s.map(|ms| format!("{ms} ms"));
            table.add_row([
                row.process.clone(),
                row.when.to_owned(),
                row.memory.private_dirty_kib.to_string(),
                row.memory.private_clean_kib.to_string(),
                row.memory.resident_kib.to_string(),
                cpu.unwrap_or_default(),
                row.count.to_string(),
            ]);
        }
        if let Some(when) = table.column_mut(1) {
            when.set_cell_alignment(CellAlignment::Left);
        }
        table
    }

    fn json(&self) -> Value {
        let time = |(what, took): &(&str, Vec<Duration>)| {
            let [p50, p90, min, max] = summary(took);
            json!({ "what": what, "p50": p50, "p90": p90, "min": min, "max": max, "n": took.len() })
        };
        let process = |row: &Row| {
            json!({
                "process": row.process,
                "when": row.when,
                "privateDirty": row.memory.private_dirty_kib,
                "privateClean": row.memory.private_clean_kib,
                "rss": row.memory.resident_kib,
                "cpuMsIn10s": row.cpu_ms_in_10_s,
                "n": row.count,
            })
        };
        json!({
            "machine": machine_line(),
            "rounds": self.rounds,
            "timesMs": self.times.iter().map(time).collect::<Vec<_>>(),
            "processesKib": self.processes.iter().map(process).collect::<Vec<_>>(),
        })
    }
}

/// p50, p90, least and most, in milliseconds.
fn summary(took: &[Duration]) -> [f64; 4] {
    let ms = |percent| percentile(took, percent).as_secs_f64() * 1e3;
    [ms(50), ms(90), ms(0), ms(100)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(all: &[u64]) -> Vec<Duration> {
        all.iter().copied().map(Duration::from_millis).collect()
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let took = ms(&[40, 10, 30, 20]);

        assert_eq!(summary(&took), [20.0, 40.0, 10.0, 40.0]);
        assert_eq!(summary(&ms(&[7])), [7.0; 4]);
        assert_eq!(percentile(&[], 50), Duration::ZERO);
    }
}
