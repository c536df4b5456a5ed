//! What is, as numbers: read from the view when they are asked for, so that nobody has to keep them in step.

use std::collections::BTreeMap;
use std::fmt;

use mete_daemon::event_loop::Handle;
use mete_service_framework_core::{Orchestrator, View};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// `mete_services_apps`, `_pods`, `_instances{state}`, `_deployments`, `_waiting`, `_connected`, `_backends_version`.
pub(crate) fn register(registry: &mut Registry, handle: Handle<Orchestrator>) {
    registry.register_collector(Box::new(Standing(handle)));
}

/// The view, as numbers.
#[derive(Debug)]
struct Standing(Handle<Orchestrator>);

impl Collector for Standing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = self.0.view();
        let waiting = view
            .queue
            .values()
            .map(|queued| i64::from(queued.count))
            .sum();
        for (name, help, value) in [
            ("apps", "Apps that are wanted", view.wanted().count() as i64),
            ("pods", "Pods that are wanted", view.pods().count() as i64),
            (
                "deployments",
                "Deployments that run",
                view.deployments.len() as i64,
            ),
            ("waiting", "Instances that wait for an offer", waiting),
            (
                "connected",
                "Whether the master hears us",
                i64::from(view.connected),
            ),
            (
                "backends_version",
                "Version of the healthy-task list",
                i64::try_from(view.backends.version()).unwrap_or(i64::MAX),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        let gauge = ConstGauge::new(0);
        let mut family = encoder.encode_descriptor(
            "instances",
            "Instances by state",
            None,
            gauge.metric_type(),
        )?;
        for (condition, count) in conditions(&view) {
            let labels = [("state", condition)];
            ConstGauge::new(count).encode(family.encode_family(&labels)?)?;
        }
        Ok(())
    }
}

fn conditions(view: &View) -> BTreeMap<&'static str, i64> {
    let mut conditions = BTreeMap::new();
    for instance in view.apps.values().flat_map(|app| app.instances.values()) {
        *conditions.entry(instance.condition()).or_insert(0) += 1;
    }
    conditions
}
