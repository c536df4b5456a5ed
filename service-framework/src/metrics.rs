//! What is, as numbers: read from the view when they are asked for, so that nobody has to keep them in step.

use std::collections::BTreeMap;
use std::fmt;

use mete_daemon::event_loop::Handle;
use mete_service_framework_core::{Orchestrator, View};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;

/// `mete_services_apps`, `_pods`, `_instances{state}`, `_deployments`, `_waiting`, `_connected`, `_backends_version`; and the
/// counts that dashboards made for Marathon look for: `marathon_apps_active_gauge`, in JSON `marathon.apps.active.gauge`. Gives
/// back where more of `mete_services` goes.
pub(crate) fn register<'a>(
    registry: &'a mut Registry,
    handle: &Handle<Orchestrator>,
) -> &'a mut Registry {
    let for_dashboards = registry.sub_registry_with_prefix("marathon");
    for_dashboards.register_collector(Box::new(AsInMarathon(handle.clone())));
    let ours = registry.sub_registry_with_prefix("mete_services");
    ours.register_collector(Box::new(Standing(handle.clone())));
    ours
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

/// The view, as some of Marathon's numbers.
#[derive(Debug)]
struct AsInMarathon(Handle<Orchestrator>);

impl Collector for AsInMarathon {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let view = self.0.view();
        let conditions = conditions(&view);
        let of = |names: &[&str]| names.iter().filter_map(|name| conditions.get(name)).sum();
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for (name, help, value) in [
            ("apps_active_gauge", "Apps", number(view.wanted().count())),
            ("pods_active_gauge", "Pods", number(view.pods().count())),
            (
                "groups_active_gauge",
                "Groups",
                number(view.groups.all().len()),
            ),
            (
                "deployments_active_gauge",
                "Deployments that run",
                number(view.deployments.len()),
            ),
            (
                "instances_running_gauge",
                "Instances that run",
                of(&["Running"]),
            ),
            (
                "instances_staged_gauge",
                "Instances that begin",
                of(&["Provisioned", "Staging", "Starting"]),
            ),
        ] {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
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
