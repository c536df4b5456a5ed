//! Counts for Prometheus, read from the view when asked for.

pub(crate) mod containers; // what each running task uses

use std::fmt;

use mete_agent_core::{Node, Phase, Stage, View};
use mete_daemon::event_loop::Handle;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// Adds the agent's metrics.
pub(crate) fn register(registry: &mut Registry, handle: Handle<Node>) {
    registry
        .sub_registry_with_prefix("mete_agent")
        .register_collector(Box::new(FromView(handle)));
}

#[derive(Debug)]
struct FromView(Handle<Node>);

impl Collector for FromView {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let view = self.0.view();
        let registered = matches!(view.stage, Stage::Registered { .. });
        let disk = view.disk.unwrap_or_default();
        let gauges = [
            (
                "registered",
                "1 while a master has admitted the agent",
                i64::from(registered),
            ),
            (
                "reports_unacknowledged",
                "Reports that no framework has acknowledged",
                count(view.unacknowledged),
            ),
            (
                "sandboxes_kept",
                "Sandboxes of ended tasks",
                count(view.sandboxes.len()),
            ),
            (
                "disk_total_bytes",
                "Size of the disk of the work directory",
                bytes(disk.total_bytes),
            ),
            (
                "disk_free_bytes",
                "Free bytes on the disk of the work directory",
                bytes(disk.free_bytes),
            ),
            (
                "disk_full",
                "1 while nothing is launched for want of disk",
                i64::from(view.disk_full),
            ),
        ];
        for (name, help, value) in gauges {
            gauge(&mut encoder, name, help, value)?;
        }
        tasks(&mut encoder, &view)?;
        ended(&mut encoder, &view)
    }
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn bytes(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn gauge(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    value: i64,
) -> Result<(), fmt::Error> {
    let gauge = ConstGauge::new(value);
    let metric = encoder.encode_descriptor(name, help, None, gauge.metric_type())?;
    gauge.encode(metric)
}

fn tasks(encoder: &mut DescriptorEncoder<'_>, view: &View) -> Result<(), fmt::Error> {
    let in_phase = |name: &str| {
        let tasks = view.tasks.values();
        count(tasks.filter(|task| phase(&task.phase) == name).count())
    };
    let kind = ConstGauge::new(0_i64).metric_type();
    let mut family = encoder.encode_descriptor("tasks", "Tasks by phase", None, kind)?;
    for name in [
        "accepted",
        "starting",
        "running",
        "delegated",
        "killing",
        "ended",
    ] {
        let labels = [("phase", name)];
        ConstGauge::new(in_phase(name)).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}

const fn phase(phase: &Phase) -> &'static str {
    match phase {
        Phase::Accepted => "accepted",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Delegated => "delegated",
        Phase::Killing(_) => "killing",
        Phase::Ended { .. } => "ended",
    }
}

fn ended(encoder: &mut DescriptorEncoder<'_>, view: &View) -> Result<(), fmt::Error> {
    let kind = ConstCounter::new(0_u64).metric_type();
    let help = "Tasks that ended since the start, by their last state";
    let mut family = encoder.encode_descriptor("tasks_ended", help, None, kind)?;
    for (state, number) in &view.ended {
        let labels = [("state", state.as_str())];
        ConstCounter::new(*number).encode(family.encode_family(&labels)?)?;
    }
    Ok(())
}
