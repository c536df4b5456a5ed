//! What the sync counts, and what it says of itself at `GET /state`.

use std::sync::atomic::{AtomicI64, AtomicU64};

use mete_model::machine::Timestamp;
use mete_proto::rest::cluster::Haproxy;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use serde::Serialize;

/// Backends with numbers of their own; further ones count in the sums only.
pub const MAX_BACKENDS_MEASURED: usize = 1000;

/// Seconds from a list's arrival until HAProxy has it: runtime commands take a millisecond, a reload a tenth of a second.
const EFFECT_BUCKETS: [f64; 10] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.1, 0.25, 0.5, 1.0, 5.0];

/// Which backend, and what of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct BackendState {
    /// Its name in HAProxy.
    pub backend: String,
    /// `up`, `down`, `draining` or `leaving`.
    pub state: &'static str,
}

/// All that the sync counts.
#[derive(Debug)]
pub struct Metrics {
    /// Workers replaced.
    pub reloads: Counter,
    /// Reloads after which the old worker had to go on.
    pub reloads_failed: Counter,
    /// Commands sent to the admin socket.
    pub commands: Counter,
    /// Configurations, or parts of them, that HAProxy did not accept.
    pub refused: Counter,
    /// HAProxy processes started.
    pub starts: Counter,
    /// HAProxy processes found dead.
    pub deaths: Counter,
    /// Acknowledgements that could not be delivered.
    pub ack_failures: Counter,
    /// The version in effect.
    pub version: Gauge,
    /// The version acknowledged last.
    pub acked_version: Gauge,
    /// When that was.
    pub acked_at: Gauge<f64, AtomicU64>,
    /// Whether the list is being followed: 1 or 0.
    pub connected: Gauge,
    /// Services and instances that cannot be served as asked.
    pub problems: Gauge,
    /// Servers by backend and state.
    pub servers: Family<BackendState, Gauge<i64, AtomicI64>>,
    /// From a list's arrival until it is in effect.
    pub effect_seconds: Histogram,
}

impl Metrics {
    /// All at zero, and known to `registry`.
    pub fn register(registry: &mut Registry) -> Self {
        let registry = registry.sub_registry_with_prefix("mete_haproxy");
        let acked_at = Gauge::default();
        registry.register_with_unit(
            "acked",
            "When a version was acknowledged last, since 1970",
            Unit::Seconds,
            acked_at.clone(),
        );
        let servers = Family::default();
        registry.register("servers", "Servers by backend and state", servers.clone());
        let effect_seconds = Histogram::new(EFFECT_BUCKETS);
        registry.register_with_unit(
            "effect",
            "From a list's arrival until it is in effect in haproxy",
            Unit::Seconds,
            effect_seconds.clone(),
        );
        Self {
            reloads: counter(registry, "reloads", "Reloads that brought a new worker"),
            reloads_failed: counter(
                registry,
                "reloads_failed",
                "Reloads after which the old worker went on",
            ),
            commands: counter(
                registry,
                "runtime_commands",
                "Commands sent to the admin socket",
            ),
            refused: counter(
                registry,
                "refused_configurations",
                "Configurations or parts that haproxy refused",
            ),
            starts: counter(registry, "starts", "HAProxy processes started"),
            deaths: counter(registry, "deaths", "HAProxy processes found dead"),
            ack_failures: counter(registry, "ack_failures", "Acknowledgements not delivered"),
            version: gauge(registry, "version", "Version of the list that is in effect"),
            acked_version: gauge(registry, "acked_version", "Version acknowledged last"),
            acked_at,
            connected: gauge(
                registry,
                "list_connected",
                "1 while the list is being followed",
            ),
            problems: gauge(
                registry,
                "problems",
                "Services and instances not served as asked",
            ),
            servers,
            effect_seconds,
        }
    }

    /// Notes an acknowledgement that arrived.
    pub fn acked(&self, now: Timestamp, version: u64) {
        self.acked_version
            .set(i64::try_from(version).unwrap_or(i64::MAX));
        self.acked_at.set(now.as_secs_f64());
    }
}

fn counter(registry: &mut Registry, name: &str, help: &str) -> Counter {
    let counter = Counter::default();
    registry.register(name, help, counter.clone());
    counter
}

fn gauge(registry: &mut Registry, name: &str, help: &str) -> Gauge {
    let gauge = Gauge::default();
    registry.register(name, help, gauge.clone());
    gauge
}

/// What the sync is at, for people and for `mete up`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// HAProxy, as in `cluster.json`; absent while it does not run.
    pub haproxy: Option<Haproxy>,
    /// The process that serves at present.
    pub worker_pid: Option<u32>,
    /// The name under which acknowledgements are sent.
    pub proxy_id: String,
    /// Whether the list is being followed.
    pub is_connected: bool,
    /// The epoch of the version in effect.
    pub epoch: Option<String>,
    /// The version in effect.
    pub version: Option<u64>,
    /// What cannot be served as asked, in words.
    pub problems: Vec<String>,
}
