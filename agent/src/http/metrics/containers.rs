//! What each running task uses, for Prometheus: the last look of [`Statistics`], taken just before the answer.
//! A task that has ended is not in it.

use std::fmt;
use std::sync::Arc;

use mete_agent_core::{Node, Task};
use mete_daemon::event_loop::Handle;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::{Registry, Unit};

use crate::containerizer::Usage;
use crate::statistics::{Look, Statistics};

/// Tasks that are shown at most: each is some twenty lines, and a machine runs some hundred. The others are counted, not
/// shown.
const MAX_TASKS: usize = 1_000;

/// Adds them.
pub(crate) fn register(registry: &mut Registry, handle: Handle<Node>, statistics: Arc<Statistics>) {
    registry
        .sub_registry_with_prefix("mete_agent_container")
        .register_collector(Box::new(FromLook { handle, statistics }));
}

struct FromLook {
    handle: Handle<Node>,
    statistics: Arc<Statistics>,
}

impl fmt::Debug for FromLook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromLook")
    }
}

/// A value of a sample, if it is known.
type Read = fn(&Usage) -> Option<u64>;

/// What only grows, in whole units.
const COUNTERS: [(&str, &str, Read); 12] = [
    ("cpu_periods", "Periods of its CPU limit", |usage| {
        usage.cpu.periods
    }),
    (
        "cpu_throttled_periods",
        "Periods in which its CPU limit stopped it",
        |usage| usage.cpu.throttled_periods,
    ),
    (
        "oom_kills",
        "Processes that the kernel killed for memory",
        |usage| usage.oom_kills,
    ),
    ("io_read_bytes", "Bytes read from disks", |usage| {
        Some(usage.io?.read_bytes)
    }),
    ("io_written_bytes", "Bytes written to disks", |usage| {
        Some(usage.io?.written_bytes)
    }),
    ("io_reads", "Reads from disks", |usage| {
        Some(usage.io?.reads)
    }),
    ("io_writes", "Writes to disks", |usage| {
        Some(usage.io?.writes)
    }),
    (
        "network_received_bytes",
        "Bytes that came in over a network of its own",
        |usage| Some(usage.traffic?.received.bytes),
    ),
    (
        "network_sent_bytes",
        "Bytes that went out over a network of its own",
        |usage| Some(usage.traffic?.sent.bytes),
    ),
    (
        "network_received_packets",
        "Packets that came in",
        |usage| Some(usage.traffic?.received.packets),
    ),
    ("network_sent_packets", "Packets that went out", |usage| {
        Some(usage.traffic?.sent.packets)
    }),
    (
        "network_dropped_packets",
        "Packets thrown away, in and out",
        |usage| {
            let traffic = usage.traffic?;
            Some(
                traffic
                    .received
                    .dropped
                    .saturating_add(traffic.sent.dropped),
            )
        },
    ),
];

/// What grows by parts of a second, in nanoseconds.
const TIMES: [(&str, &str, Read); 6] = [
    ("cpu", "CPU time", |usage| usage.cpu.total_ns),
    ("cpu_system", "CPU time in the kernel", |usage| {
        usage.cpu.system_ns
    }),
    (
        "cpu_throttled",
        "How long its CPU limit stopped it",
        |usage| usage.cpu.throttled_ns,
    ),
    (
        "cpu_pressure",
        "How long some of it waited for a CPU",
        |usage| Some(usage.pressure.cpu?.some_us.saturating_mul(1_000)),
    ),
    (
        "memory_pressure",
        "How long some of it waited for memory",
        |usage| Some(usage.pressure.memory?.some_us.saturating_mul(1_000)),
    ),
    (
        "io_pressure",
        "How long some of it waited for disks",
        |usage| Some(usage.pressure.io?.some_us.saturating_mul(1_000)),
    ),
];

/// What goes up and down.
const GAUGES: [(&str, &str, Read); 6] = [
    (
        "memory_bytes",
        "Memory that counts against its limit",
        |usage| usage.mem_bytes,
    ),
    ("memory_rss_bytes", "Of it what no file backs", |usage| {
        usage.mem_rss_bytes
    }),
    (
        "memory_peak_bytes",
        "The most memory it ever had",
        |usage| usage.mem_peak_bytes,
    ),
    ("memory_limit_bytes", "Its limit of memory", |usage| {
        usage.mem_limit_bytes
    }),
    ("processes", "Processes", |usage| usage.processes),
    ("threads", "Processes and threads", |usage| usage.pids),
];

impl Collector for FromLook {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let view = self.handle.view();
        let look = self.statistics.latest();
        let live = view.tasks.values().filter(|task| task.is_live());
        let tasks: Vec<&Task> = live.map(AsRef::as_ref).collect();
        let hidden = tasks.len().saturating_sub(MAX_TASKS);
        let hidden = ConstGauge::new(i64::try_from(hidden).unwrap_or(i64::MAX));
        let help = "Running tasks that are too many to be shown here";
        let metric = encoder.encode_descriptor("not_shown", help, None, hidden.metric_type())?;
        hidden.encode(metric)?;
        let tasks = tasks.get(..MAX_TASKS).unwrap_or(&tasks);
        for (name, help, read) in COUNTERS {
            let each = values(tasks, &look, read, ConstCounter::new);
            family(&mut encoder, (name, help, None), each)?;
        }
        for (name, help, read) in TIMES {
            let each = values(tasks, &look, read, |ns| ConstCounter::new(ns as f64 / 1e9));
            family(&mut encoder, (name, help, Some(&Unit::Seconds)), each)?;
        }
        for (name, help, read) in GAUGES {
            let gauge = |value| ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            let each = values(tasks, &look, read, gauge);
            family(&mut encoder, (name, help, None), each)?;
        }
        Ok(())
    }
}

/// Of each task whose value is known.
fn values<'a, M>(
    tasks: &[&'a Task],
    look: &Look,
    read: Read,
    metric: impl Fn(u64) -> M,
) -> Vec<(&'a Task, M)> {
    let known = |task: &&'a Task| {
        let value = read(&look.get(&task.container)?.usage)?;
        Some((*task, metric(value)))
    };
    tasks.iter().filter_map(known).collect()
}

fn family<M: EncodeMetric>(
    encoder: &mut DescriptorEncoder<'_>,
    (name, help, unit): (&str, &str, Option<&Unit>),
    values: Vec<(&Task, M)>,
) -> Result<(), fmt::Error> {
    let Some((_, first)) = values.first() else {
        return Ok(());
    };
    let mut family = encoder.encode_descriptor(name, help, unit, first.metric_type())?;
    for (task, value) in &values {
        let labels = [
            ("framework", task.key.framework.as_str()),
            ("task", task.key.task.as_str()),
        ];
        value.encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
