//! Numbers in the names of Mesos, as `/metrics/snapshot` has them: one flat object, and in it what every daemon says of its
//! machine.

use std::collections::BTreeMap;
use std::{fs, thread};

use axum::{Json, Router};
use mete_model::Resources;

use super::reading::read;
use crate::aside;
use crate::http_error::HttpError;
use crate::recent::Spread;

/// Where older checks ask for the machine.
pub const STATS_PATH: &str = "/system/stats.json";

/// What is said of times that were measured, beside the newest and their count, and which part of them was within.
const PARTS: [(&str, f64); 8] = [
    ("min", 0.0),
    ("p50", 0.5),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
    ("p9999", 0.9999),
    ("max", 1.0),
];

/// `GET /system/stats.json`: the machine, for checks that are older than `/metrics/snapshot`.
pub fn stats<S: Clone + Send + Sync + 'static>() -> Router<S> {
    let stats = || async {
        let numbers = aside::run(Numbers::of_the_machine).await?;
        Ok::<_, HttpError>(Json(numbers.into_stats()))
    };
    Router::new().route(STATS_PATH, read(stats))
}

/// Numbers by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Numbers(BTreeMap<String, f64>);

impl Numbers {
    /// `system/…`: processors, load and memory of the machine. What cannot be read is left out. Blocks.
    pub fn of_the_machine() -> Self {
        let mut all = Self::default();
        let processors = thread::available_parallelism().map_or(1, usize::from);
        all.count("system/cpus_total", processors);
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let names = ["system/load_1min", "system/load_5min", "system/load_15min"];
        for (name, word) in names.into_iter().zip(load.split_whitespace()) {
            if let Ok(load) = word.parse() {
                all.set(name, load);
            }
        }
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        for (name, word) in [
            ("system/mem_total_bytes", "MemTotal:"),
            ("system/mem_free_bytes", "MemFree:"),
        ] {
            if let Some(bytes) = bytes_of(&memory, word) {
                all.set(name, bytes);
            }
        }
        all
    }

    /// What there is of each resource, how much of it is used, and which part that is, below `of`: `master/cpus_percent`. Nothing
    /// is revocable.
    pub fn shares(&mut self, of: &str, total: &Resources, used: &Resources) {
        for ((name, total), (_, used)) in total.in_units().into_iter().zip(used.in_units()) {
            let share = if total > 0.0 { used / total } else { 0.0 };
            for (kind, value) in [("total", total), ("used", used), ("percent", share)] {
                self.set(format!("{of}/{name}_{kind}"), value);
                self.set(format!("{of}/{name}_revocable_{kind}"), 0.0);
            }
        }
    }

    /// The machine in the names of `/system/stats.json`, which are older.
    fn into_stats(self) -> BTreeMap<String, f64> {
        let renamed = self.0.into_iter().map(|(name, value)| {
            let name = name.trim_start_matches("system/");
            let name = match name.starts_with("load") {
                true => format!("avg_{name}"),
                false => name.to_owned(),
            };
            (name, value)
        });
        renamed.collect()
    }

    /// One number.
    pub fn set(&mut self, name: impl Into<String>, value: f64) {
        self.0.insert(name.into(), value);
    }

    /// One number that counts something.
    pub fn count(&mut self, name: impl Into<String>, count: usize) {
        self.set(name, count as f64);
    }

    /// One number, more than it was.
    pub fn add(&mut self, name: impl Into<String>, more: f64) {
        *self.0.entry(name.into()).or_default() += more;
    }

    /// 0 for each of these that has no value yet.
    pub fn zeros<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            self.add(name, 0.0);
        }
    }

    /// How long something took, in milliseconds: the newest time, and how the last ones were spread.
    pub fn times(&mut self, name: &str, spread: &Spread) {
        self.set(name, spread.newest.as_secs_f64() * 1e3);
        self.set(format!("{name}/count"), spread.count as f64);
        for (word, part) in PARTS {
            let time = spread.within(part).as_secs_f64() * 1e3;
            self.set(format!("{name}/{word}"), time);
        }
    }

    /// All of them.
    pub fn into_map(self) -> BTreeMap<String, f64> {
        self.0
    }
}

/// A line of `/proc/meminfo`, which counts in KiB.
fn bytes_of(text: &str, word: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(word))?;
    let kibibytes: f64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::recent::Recent;

    #[test]
    fn the_machine_has_processors_memory_and_a_load() {
        let all = Numbers::of_the_machine().into_map();

        let names: Vec<_> = all.keys().map(String::as_str).collect();
        let expected = [
            "system/cpus_total",
            "system/load_15min",
            "system/load_1min",
            "system/load_5min",
            "system/mem_free_bytes",
            "system/mem_total_bytes",
        ];
        assert_eq!(names, expected);
        assert!(all["system/mem_free_bytes"] < all["system/mem_total_bytes"]);
        assert!(all["system/cpus_total"] >= 1.0);
        let stats = Numbers::of_the_machine().into_stats();
        let names: Vec<_> = stats.keys().map(String::as_str).collect();
        let expected = [
            "avg_load_15min",
            "avg_load_1min",
            "avg_load_5min",
            "cpus_total",
            "mem_free_bytes",
            "mem_total_bytes",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn lines_of_the_kernel_are_read_as_bytes() {
        let text = "MemTotal:       16384000 kB\nMemFree:            8 kB\n";
        assert_eq!(bytes_of(text, "MemFree:"), Some(8192.0));
        assert_eq!(bytes_of(text, "MemAvailable:"), None);
    }

    #[test]
    fn times_are_told_in_milliseconds() {
        let recent = Recent::default();
        recent.observe(Duration::from_millis(4));
        recent.observe(Duration::from_micros(1_500));
        let mut all = Numbers::default();

        all.times("t_ms", &recent.spread());

        let all = all.into_map();
        let told =
            ["t_ms", "t_ms/count", "t_ms/min", "t_ms/max", "t_ms/p9999"].map(|name| all[name]);
        assert_eq!(told, [1.5, 2.0, 1.5, 4.0, 4.0]);
    }
}
