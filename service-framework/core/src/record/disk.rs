//! The JSON of each value. A field that is renamed here cannot be read back.

mod holding; // what instances hold, and what is to be given back

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::{
    AgentId, CheckAnswer, FaultDomain, FrameworkId, OfferId, TaskId, TaskState, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::deployment::plan::{Action, ActionKind, Step};
use crate::spec::app::{AppId, AppSpec, BadAppId};
use crate::spec::group::{self, Group};
use crate::spec::history::AppVersion;
use crate::state::{apps, containers, deployments, instances};
use holding::Holding;
pub(super) use holding::Release;

#[derive(Serialize, Deserialize)]
pub(super) struct Framework {
    pub(super) id: String,
}

impl From<&FrameworkId> for Framework {
    fn from(id: &FrameworkId) -> Self {
        Self { id: id.to_string() }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Proxy {}

#[derive(Serialize, Deserialize)]
pub(super) struct App {
    pub(super) wanted_ms: Option<u64>,
    pub(super) target: Option<Target>,
}

#[derive(Serialize, Deserialize)]
pub(super) struct Target {
    pub(super) version_ms: u64,
    pub(super) instances: u32,
    pub(super) replaces: bool,
}

impl From<&apps::App> for App {
    fn from(app: &apps::App) -> Self {
        let target = app.target.as_ref().map(|target| Target {
            version_ms: target.version.version.as_millis(),
            instances: target.instances,
            replaces: target.replaces,
        });
        Self {
            wanted_ms: app.wanted.as_ref().map(|wanted| wanted.version.as_millis()),
            target,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) version_ms: u64,
    pub(super) last_scaling_ms: u64,
    pub(super) last_config_change_ms: u64,
    pub(super) spec: AppSpec,
}

impl From<&AppVersion> for Version {
    fn from(version: &AppVersion) -> Self {
        Self {
            version_ms: version.version.as_millis(),
            last_scaling_ms: version.last_scaling_at.as_millis(),
            last_config_change_ms: version.last_config_change_at.as_millis(),
            spec: (*version.spec).clone(),
        }
    }
}

impl Version {
    pub(super) fn back(self) -> AppVersion {
        AppVersion {
            version: Timestamp::from_millis(self.version_ms),
            last_scaling_at: Timestamp::from_millis(self.last_scaling_ms),
            last_config_change_at: Timestamp::from_millis(self.last_config_change_ms),
            spec: Arc::new(self.spec),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Former {
    apps: BTreeMap<String, Option<Version>>,
    groups: BTreeMap<String, Option<Group>>,
}

impl From<&group::Difference> for Former {
    fn from(former: &group::Difference) -> Self {
        let app = |(id, app): (&AppId, &Option<Arc<AppVersion>>)| {
            (id.to_string(), app.as_deref().map(Version::from))
        };
        let group = |(id, group): (&AppId, &Option<Arc<Group>>)| {
            (id.to_string(), group.as_deref().cloned())
        };
        Self {
            apps: former.apps.iter().map(app).collect(),
            groups: former.groups.iter().map(group).collect(),
        }
    }
}

impl Former {
    pub(super) fn back(self) -> Result<group::Difference, BadAppId> {
        let app = |(id, app): (String, Option<Version>)| {
            Ok((AppId::new(&id)?, app.map(|app| Arc::new(app.back()))))
        };
        let group = |(id, group): (String, Option<Group>)| {
            Ok((AppId::stored_group(&id)?, group.map(Arc::new)))
        };
        Ok(group::Difference {
            apps: self.apps.into_iter().map(app).collect::<Result<_, _>>()?,
            groups: self
                .groups
                .into_iter()
                .map(group)
                .collect::<Result<_, _>>()?,
        })
    }
}

#[derive(Serialize, Deserialize)]
struct Failure {
    task: String,
    state: String,
    message: String,
    host: String,
    agent: Option<String>,
    version_ms: u64,
    at_us: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    started_us: Option<u64>,
}

impl From<&apps::LastFailure> for Failure {
    fn from(failure: &apps::LastFailure) -> Self {
        Self {
            task: failure.task.to_string(),
            state: failure.state.as_str().to_owned(),
            message: failure.message.clone(),
            host: failure.host.clone(),
            agent: failure.agent.as_ref().map(AgentId::to_string),
            version_ms: failure.version.as_millis(),
            at_us: failure.timestamp.as_micros(),
            started_us: failure.started_at.map(Timestamp::as_micros),
        }
    }
}

impl Failure {
    fn back(self) -> Result<apps::LastFailure, String> {
        Ok(apps::LastFailure {
            task: TaskId::new(self.task).map_err(|bad| bad.to_string())?,
            state: task_state(&self.state)?,
            message: self.message,
            host: self.host,
            agent: self
                .agent
                .map(AgentId::new)
                .transpose()
                .map_err(|bad| bad.to_string())?,
            version: Timestamp::from_millis(self.version_ms),
            timestamp: Timestamp::from_micros(self.at_us),
            started_at: self.started_us.map(Timestamp::from_micros),
        })
    }
}

/// How instances failed, the last one first.
#[derive(Serialize, Deserialize)]
pub(super) struct Failures {
    #[serde(flatten)]
    last: Option<Failure>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    earlier: Vec<Failure>,
}

impl From<&[Arc<apps::LastFailure>]> for Failures {
    fn from(failures: &[Arc<apps::LastFailure>]) -> Self {
        let mut all = failures.iter().map(|failure| Failure::from(&**failure));
        Self {
            last: all.next(),
            earlier: all.collect(),
        }
    }
}

type Earlier = Vec<Arc<apps::LastFailure>>;

impl Failures {
    pub(super) fn back(self) -> Result<(Arc<apps::LastFailure>, Earlier), String> {
        let last = self.last.ok_or_else(|| "it holds no failure".to_owned())?;
        let earlier = self.earlier.into_iter();
        let earlier = earlier.map(|failure| failure.back().map(Arc::new));
        Ok((Arc::new(last.back()?), earlier.collect::<Result<_, _>>()?))
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Instance {
    pub(super) version_ms: u64,
    state: State,
    since_us: u64,
    place: Place,
    staged_us: Option<u64>,
    started_us: Option<u64>,
    #[serde(default)]
    health: Health,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    more_health: Vec<Health>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    check: Option<Answer>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    readiness: Option<Readiness>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_leaving: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_ending: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    containers: Vec<Container>,
    /// Left out of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    incarnation: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    holding: Option<Holding>,
}

/// What a check was answered.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    Command(Option<i32>),
    Http(Option<u16>),
    Tcp(Option<bool>),
}

impl From<CheckAnswer> for Answer {
    fn from(answer: CheckAnswer) -> Self {
        match answer {
            CheckAnswer::Command(code) => Self::Command(code),
            CheckAnswer::Http(status) => Self::Http(status),
            CheckAnswer::Tcp(accepted) => Self::Tcp(accepted),
        }
    }
}

impl From<Answer> for CheckAnswer {
    fn from(answer: Answer) -> Self {
        match answer {
            Answer::Command(code) => Self::Command(code),
            Answer::Http(status) => Self::Http(status),
            Answer::Tcp(accepted) => Self::Tcp(accepted),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Container {
    name: String,
    state: String,
    since_us: u64,
    started_us: Option<u64>,
    healthy: Option<bool>,
    message: Option<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
enum State {
    Launching { offer: String },
    Staging,
    Starting,
    Running { healthy: Option<bool> },
    Unreachable { since_us: u64, inactive: bool },
    Draining { until_us: u64, reason: Reason },
    Killing { reason: Reason },
    Reserved { is_wanted: bool },
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Reason {
    ScaledDown,
    Replaced,
    AppRemoved,
    Asked,
    LaunchTimedOut,
    Moved,
    Unhealthy,
    Wiped,
}

#[derive(Serialize, Deserialize)]
struct Place {
    agent: String,
    host: String,
    ip_addresses: Vec<String>,
    ports: Vec<u16>,
    /// Region and zone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    domain: Option<(String, String)>,
    #[serde(default)]
    attributes: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct Readiness {
    is_ready: Option<bool>,
}

#[derive(Default, PartialEq, Eq, Serialize, Deserialize)]
struct Health {
    first_success_us: Option<u64>,
    last_success_us: Option<u64>,
    last_failure_us: Option<u64>,
    last_failure_cause: Option<String>,
    consecutive_failures: u32,
}

impl From<&instances::Instance> for Instance {
    fn from(instance: &instances::Instance) -> Self {
        let place = instance
            .place
            .as_ref()
            .expect("only what was launched is stored, and that has a place");
        let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_micros);
        Self {
            version_ms: instance.version.version.as_millis(),
            state: State::from(&instance.state),
            since_us: instance.since.as_micros(),
            place: Place {
                agent: place.agent.to_string(),
                host: place.host.clone(),
                ip_addresses: place.ip_addresses.clone(),
                ports: place.ports.clone(),
                domain: place
                    .domain
                    .clone()
                    .map(|domain| (domain.region, domain.zone)),
                attributes: place.attributes.clone(),
            },
            staged_us: micros(instance.staged_at),
            started_us: micros(instance.started_at),
            health: instance
                .health
                .first()
                .map(Health::from)
                .unwrap_or_default(),
            more_health: instance.health.iter().skip(1).map(Health::from).collect(),
            check: instance.check.map(Answer::from),
            readiness: instance.readiness.as_ref().map(|readiness| Readiness {
                is_ready: readiness.is_ready,
            }),
            is_leaving: instance.is_leaving,
            is_ending: instance.is_ending,
            containers: instance.containers.iter().map(Container::from).collect(),
            incarnation: Some(instance.incarnation).filter(|number| *number != 1),
            holding: instance.holding.as_deref().map(Holding::from),
        }
    }
}

impl From<&containers::Container> for Container {
    fn from(container: &containers::Container) -> Self {
        Self {
            name: container.name.clone(),
            state: container.state.as_str().to_owned(),
            since_us: container.since.as_micros(),
            started_us: container.started_at.map(Timestamp::as_micros),
            healthy: container.healthy,
            message: container.message.clone(),
        }
    }
}

impl Container {
    fn back(self) -> Result<containers::Container, String> {
        Ok(containers::Container {
            name: self.name,
            state: task_state(&self.state)?,
            since: Timestamp::from_micros(self.since_us),
            started_at: self.started_us.map(Timestamp::from_micros),
            healthy: self.healthy,
            message: self.message,
        })
    }
}

fn task_state(name: &str) -> Result<TaskState, String> {
    TaskState::from_name(name).ok_or_else(|| format!("no task state {name:?}"))
}

impl Instance {
    pub(super) fn back(
        self,
        id: instances::InstanceId,
        version: std::sync::Arc<AppVersion>,
    ) -> Result<instances::Instance, String> {
        let moment = |micros: Option<u64>| micros.map(Timestamp::from_micros);
        Ok(instances::Instance {
            id,
            version,
            state: self.state.back()?,
            since: Timestamp::from_micros(self.since_us),
            place: Some(instances::Place {
                agent: AgentId::new(self.place.agent).map_err(|bad| bad.to_string())?,
                host: self.place.host,
                ip_addresses: self.place.ip_addresses,
                ports: self.place.ports,
                domain: self
                    .place
                    .domain
                    .map(|(region, zone)| FaultDomain { region, zone }),
                attributes: self.place.attributes,
            }),
            staged_at: moment(self.staged_us),
            started_at: moment(self.started_us),
            health: healths(self.health, self.more_health),
            check: self.check.map(CheckAnswer::from),
            readiness: self.readiness.map(|readiness| instances::Readiness {
                is_ready: readiness.is_ready,
                last_response: None,
            }),
            is_leaving: self.is_leaving,
            is_ending: self.is_ending,
            containers: self
                .containers
                .into_iter()
                .map(Container::back)
                .collect::<Result<_, _>>()?,
            incarnation: self.incarnation.unwrap_or(1),
            holding: self.holding.map(Holding::back).transpose()?.map(Arc::new),
        })
    }
}

/// As they were, without those at the end that have said nothing.
fn healths(first: Health, more: Vec<Health>) -> Vec<instances::Health> {
    let mut all: Vec<Health> = std::iter::once(first).chain(more).collect();
    while all.last() == Some(&Health::default()) {
        all.pop();
    }
    all.into_iter().map(Health::back).collect()
}

impl From<&instances::Health> for Health {
    fn from(health: &instances::Health) -> Self {
        let micros = |moment: Option<Timestamp>| moment.map(Timestamp::as_micros);
        Self {
            first_success_us: micros(health.first_success),
            last_success_us: micros(health.last_success),
            last_failure_us: micros(health.last_failure),
            last_failure_cause: health.last_failure_cause.clone(),
            consecutive_failures: health.consecutive_failures,
        }
    }
}

impl Health {
    fn back(self) -> instances::Health {
        let moment = |micros: Option<u64>| micros.map(Timestamp::from_micros);
        instances::Health {
            first_success: moment(self.first_success_us),
            last_success: moment(self.last_success_us),
            last_failure: moment(self.last_failure_us),
            last_failure_cause: self.last_failure_cause,
            consecutive_failures: self.consecutive_failures,
        }
    }
}

impl From<&instances::InstanceState> for State {
    fn from(state: &instances::InstanceState) -> Self {
        use instances::InstanceState as From;
        match state {
            From::Waiting => unreachable!("a waiting instance is never stored"),
            From::Launching { offer, ask: _ } => Self::Launching {
                offer: offer.to_string(),
            },
            From::Staging => Self::Staging,
            From::Starting => Self::Starting,
            From::Running { healthy } => Self::Running { healthy: *healthy },
            From::Unreachable { since, inactive } => Self::Unreachable {
                since_us: since.as_micros(),
                inactive: *inactive,
            },
            From::Draining {
                until,
                reason,
                version: _,
            } => Self::Draining {
                until_us: until.as_micros(),
                reason: Reason::from(*reason),
            },
            From::Killing { reason, again: _ } => Self::Killing {
                reason: Reason::from(*reason),
            },
            From::Reserved { is_wanted } => Self::Reserved {
                is_wanted: *is_wanted,
            },
        }
    }
}

impl State {
    fn back(self) -> Result<instances::InstanceState, String> {
        use instances::InstanceState as To;
        Ok(match self {
            Self::Launching { offer } => {
                let offer = OfferId::new(offer).map_err(|bad| bad.to_string())?;
                To::Launching {
                    offer,
                    ask: Timestamp::EPOCH,
                }
            }
            Self::Staging => To::Staging,
            Self::Starting => To::Starting,
            Self::Running { healthy } => To::Running { healthy },
            Self::Unreachable { since_us, inactive } => To::Unreachable {
                since: Timestamp::from_micros(since_us),
                inactive,
            },
            // The list of the new epoch drains it from its first version on.
            Self::Draining { until_us, reason } => To::Draining {
                version: crate::backends::FIRST_VERSION,
                until: Timestamp::from_micros(until_us),
                reason: reason.into(),
            },
            // Due at once: nobody knows whether the last kill was sent.
            Self::Killing { reason } => To::Killing {
                again: Timestamp::EPOCH,
                reason: reason.into(),
            },
            Self::Reserved { is_wanted } => To::Reserved { is_wanted },
        })
    }
}

impl From<instances::KillReason> for Reason {
    fn from(reason: instances::KillReason) -> Self {
        use instances::KillReason as From;
        match reason {
            From::ScaledDown => Self::ScaledDown,
            From::Replaced => Self::Replaced,
            From::AppRemoved => Self::AppRemoved,
            From::Asked => Self::Asked,
            From::LaunchTimedOut => Self::LaunchTimedOut,
            From::Moved => Self::Moved,
            From::Unhealthy => Self::Unhealthy,
            From::Wiped => Self::Wiped,
        }
    }
}

impl From<Reason> for instances::KillReason {
    fn from(reason: Reason) -> Self {
        match reason {
            Reason::ScaledDown => Self::ScaledDown,
            Reason::Replaced => Self::Replaced,
            Reason::AppRemoved => Self::AppRemoved,
            Reason::Asked => Self::Asked,
            Reason::LaunchTimedOut => Self::LaunchTimedOut,
            Reason::Moved => Self::Moved,
            Reason::Unhealthy => Self::Unhealthy,
            Reason::Wiped => Self::Wiped,
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(super) struct Deployment {
    version_ms: u64,
    /// App, action, and for a scaling how many.
    steps: Vec<Vec<(AppId, Kind, Option<u32>)>>,
    affected_ms: BTreeMap<AppId, Option<u64>>,
}

#[derive(Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Stop,
    Start,
    Scale,
    Restart,
    StopPod,
    StartPod,
    ScalePod,
    RestartPod,
}

impl From<&deployments::Deployment> for Deployment {
    fn from(deployment: &deployments::Deployment) -> Self {
        let action = |action: &Action| {
            let (kind, to) = match (action.kind, action.is_pod) {
                (ActionKind::Stop, false) => (Kind::Stop, None),
                (ActionKind::Stop, true) => (Kind::StopPod, None),
                (ActionKind::Start, false) => (Kind::Start, None),
                (ActionKind::Start, true) => (Kind::StartPod, None),
                (ActionKind::Scale { to }, false) => (Kind::Scale, Some(to)),
                (ActionKind::Scale { to }, true) => (Kind::ScalePod, Some(to)),
                (ActionKind::Restart, false) => (Kind::Restart, None),
                (ActionKind::Restart, true) => (Kind::RestartPod, None),
            };
            (action.app.clone(), kind, to)
        };
        let before = |(app, version): (&AppId, &Option<Timestamp>)| {
            (app.clone(), version.map(Timestamp::as_millis))
        };
        Self {
            version_ms: deployment.version.as_millis(),
            steps: deployment
                .steps
                .iter()
                .map(|step| step.actions.iter().map(action).collect())
                .collect(),
            affected_ms: deployment.affected.iter().map(before).collect(),
        }
    }
}

impl Deployment {
    /// As it was made: no step begun.
    pub(super) fn back(self, id: deployments::DeploymentId) -> deployments::Deployment {
        let action = |(app, kind, to): (AppId, Kind, Option<u32>)| {
            let to = to.unwrap_or(0);
            let (kind, is_pod) = match kind {
                Kind::Stop => (ActionKind::Stop, false),
                Kind::Start => (ActionKind::Start, false),
                Kind::Scale => (ActionKind::Scale { to }, false),
                Kind::Restart => (ActionKind::Restart, false),
                Kind::StopPod => (ActionKind::Stop, true),
                Kind::StartPod => (ActionKind::Start, true),
                Kind::ScalePod => (ActionKind::Scale { to }, true),
                Kind::RestartPod => (ActionKind::Restart, true),
            };
            Action { app, is_pod, kind }
        };
        let step = |actions: Vec<_>| Step {
            actions: actions.into_iter().map(action).collect(),
        };
        let before =
            |(app, version): (AppId, Option<u64>)| (app, version.map(Timestamp::from_millis));
        deployments::Deployment {
            id,
            version: Timestamp::from_millis(self.version_ms),
            steps: self.steps.into_iter().map(step).collect(),
            current: 0,
            affected: self.affected_ms.into_iter().map(before).collect(),
        }
    }
}
