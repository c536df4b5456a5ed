//! An instance: one copy of an app, from the wish for it to its end.
//!
//! ```text
//! Waiting ─▶ Launching ─▶ Staging ─▶ Starting ─▶ Running ◀─▶ Unreachable
//!    │           │           │          │        │  │            │
//!    │           │           │          │        │  └▶ Draining  │
//!    │           │           │          │        ▼        ▼      │
//!    │           └───────────┴──────────┴────▶ Killing ◀──┘      │      any ─▶ Ended (forgotten)
//!    └───────────────────────────────────────────────────────────┴────▶
//!
//! of one that holds volumes the task ends, and it stays:
//! Launching, Staging, Starting, Running, Killing ─▶ Reserved ─▶ Launching      Reserved ─▶ Ended (what it held is given back)
//! ```
//! Invariants: everything but `Waiting` is stored before anybody hears of it; an instance that is `Draining` or
//! `Killing` is *condemned*, never counts again as one of those wanted, and never comes back, but as `Reserved` when it holds
//! something; ids of instances and tasks are used once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{AgentId, CheckAnswer, ExecutorId, FaultDomain, OfferId, TaskId, Timestamp};

use crate::probe::Response;
use crate::spec::app::{AppId, UnreachableStrategy};
use crate::spec::history::AppVersion;
use crate::state::containers::Container;
use crate::state::holdings::Holding;

/// A launch of which nothing is heard is asked about after this time, and again each time it passes (Marathon: the
/// operation must be confirmed within 30 s).
pub const LAUNCH_CONFIRM: Duration = Duration::from_secs(30);
/// With a new link it is asked about sooner, then half as often each time: the launch may have gone with the old link. The
/// agents of a master that was started again come back within some seconds; of tasks of others it says nothing.
pub const LAUNCH_CONFIRM_AT_FIRST: Duration = Duration::from_secs(2);
/// An instance that does not run by then is killed and replaced (Marathon's `task_launch_timeout`).
pub const LAUNCH_TIMEOUT: Duration = Duration::from_secs(300);
/// A kill is repeated after this time until the task has ended. Shorter than Marathon's 30 s: repeating costs one
/// message, waiting costs a deployment.
pub const KILL_RETRY: Duration = Duration::from_secs(10);

/// What an instance should hold and nobody has seen is given up when no offer shows it for so long (Marathon's
/// `task_reservation_timeout`). Nothing is lost with it: no task has ever run on it.
pub const RESERVATION_TIMEOUT: Duration = Duration::from_secs(20);

/// What stands in the id of an app's task where that of a pod has the name of a container.
pub(crate) const APP: &str = "_app";
/// What the id of a task has besides the ids of app and container: `.instance-`, a UUID, two dots and a number.
pub(crate) const TASK_ID_BYTES: usize = 10 + 36 + 3;

/// Names an instance for ever: `<app id with / as _>.instance-<uuid>`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId(Arc<str>);

impl InstanceId {
    /// Of an app and sixteen bytes that were never used before.
    pub fn new(app: &AppId, uuid: [u8; 16]) -> Self {
        Self(Arc::from(format!(
            "{}.instance-{}",
            app.flat(),
            mete_model::UpdateId(uuid)
        )))
    }

    /// Reads the text of an instance's id, or of the id of one of its tasks (`<instance>._app.<n>`, of a pod
    /// `<instance>.<container>.<n>`).
    pub fn parse(text: &str) -> Option<Self> {
        Self::read(text).or_else(|| Self::of_task(text).map(|(instance, _)| instance))
    }

    /// Reads the text of a task's id: whose, and for a pod's the container.
    pub fn of_task(text: &str) -> Option<(Self, Option<&str>)> {
        let (rest, incarnation) = text.rsplit_once('.')?;
        incarnation.parse::<u32>().ok()?;
        let (instance, name) = rest.rsplit_once('.')?;
        let container = (name != APP).then_some(name);
        Some((Self::read(instance)?, container))
    }

    fn read(text: &str) -> Option<Self> {
        let (flat, uuid) = text.rsplit_once(".instance-")?;
        let is_known_form = uuid.len() == 36 && uuid.parse::<mete_model::UpdateId>().is_ok();
        (is_known_form && AppId::from_flat(flat).is_some()).then(|| Self(Arc::from(text)))
    }

    /// Whose instance.
    pub fn app(&self) -> AppId {
        self.0
            .rsplit_once(".instance-")
            .and_then(|(flat, _)| AppId::from_flat(flat))
            .expect("both constructors put a good app id in front")
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first task of an app's instance, and the only one where it holds nothing.
    pub fn task(&self) -> TaskId {
        self.nth_task(1)
    }

    /// One of the tasks that an app's instance has had, counted from 1.
    pub fn nth_task(&self, incarnation: u32) -> TaskId {
        self.task_named(APP, incarnation)
    }

    /// The task of a container of a pod's instance.
    pub fn task_of(&self, container: &str) -> TaskId {
        self.task_named(container, 1)
    }

    fn task_named(&self, name: &str, incarnation: u32) -> TaskId {
        TaskId::new(format!("{}.{name}.{incarnation}", self.0)).expect(
            "ids of 190 bytes leave room, of pods less is let in, and the characters are fit",
        )
    }

    /// What is around the tasks of a pod's instance: `instance-<pod id with / as _>.<uuid>`, as Marathon's.
    pub fn executor(&self) -> ExecutorId {
        let (flat, uuid) = self.0.rsplit_once(".instance-").unwrap_or((&self.0, ""));
        ExecutorId::new(format!("instance-{flat}.{uuid}"))
            .expect("it is as long as the id of the instance, of the same characters")
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One copy of an app.
#[derive(Clone, Debug, PartialEq)]
pub struct Instance {
    /// Its name.
    pub id: InstanceId,
    /// What it runs.
    pub version: Arc<AppVersion>,
    /// Where it stands.
    pub state: InstanceState,
    /// Since when it stands there.
    pub since: Timestamp,
    /// Where it was put; `None` while it waits.
    pub place: Option<Place>,
    /// When its launch was sent.
    pub staged_at: Option<Timestamp>,
    /// When it began to run.
    pub started_at: Option<Timestamp>,
    /// What its health checks have said so far, in the order of its version's list; those at the end that have said
    /// nothing may be missing.
    pub health: Vec<Health>,
    /// What its check, if it has one, was answered last.
    pub check: Option<CheckAnswer>,
    /// What it says of its readiness; `None`: nobody asks.
    pub readiness: Option<Readiness>,
    /// Whether its agent drains: it goes when another has taken its place.
    pub is_leaving: bool,
    /// Whether its agent is ending it by itself: whatever its checks say, it counts as unhealthy.
    pub is_ending: bool,
    /// Of a pod, where each container of its version stands, in their order; empty while it waits.
    pub containers: Vec<Container>,
    /// Which of its tasks it has now or had last, counted from 1.
    pub incarnation: u32,
    /// What it holds on its agent; `None`: nothing beyond the life of its task.
    pub holding: Option<Arc<Holding>>,
}

/// Where an instance stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InstanceState {
    /// For an offer.
    Waiting,
    /// Its launch was sent; nothing is heard.
    Launching {
        /// The offer it was launched with.
        offer: OfferId,
        /// When to ask about it.
        ask: Timestamp,
    },
    /// It is on its agent.
    Staging,
    /// The agent prepares it: sandbox, downloads, network.
    Starting,
    /// It runs.
    Running {
        /// What its checks say; `None` without check or before each has said something.
        healthy: Option<bool>,
    },
    /// Its agent is not heard of.
    Unreachable {
        /// Since when.
        since: Timestamp,
        /// A replacement is wanted.
        inactive: bool,
    },
    /// Proxies are told to send it nothing new; it is killed when they have finished with it.
    Draining {
        /// The version of the healthy-task list that drains it.
        version: u64,
        /// It is killed then at the latest.
        until: Timestamp,
        /// Why.
        reason: KillReason,
    },
    /// A kill was sent, and is repeated until the task has ended.
    Killing {
        /// When to repeat it.
        again: Timestamp,
        /// Why.
        reason: KillReason,
    },
    /// It has no task; what it holds is kept for it on its agent.
    Reserved {
        /// Whether the next offer of it launches it again; otherwise it is kept for when more are wanted.
        is_wanted: bool,
    },
}

/// Why an instance is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KillReason {
    /// Fewer are wanted.
    ScaledDown,
    /// Another version is wanted.
    Replaced,
    /// The app is wanted no more.
    AppRemoved,
    /// A user asked for it.
    Asked,
    /// It did not start in time.
    LaunchTimedOut,
    /// Its agent drains, and another has taken its place.
    Moved,
    /// A health check that the framework runs has failed too often.
    Unhealthy,
    /// A user asked for it, and what it holds is given back.
    Wiped,
}

/// Where an instance was put.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// On which agent.
    pub agent: AgentId,
    /// That agent's name, by which the instance is found.
    pub host: String,
    /// The addresses the task reported, else the agent's.
    pub ip_addresses: Vec<String>,
    /// Its ports on that host, one for each port definition of its version.
    pub ports: Vec<u16>,
    /// Where that agent is as far as faults go; `None` also of instances whose records are from before it was kept.
    pub domain: Option<FaultDomain>,
    /// What constraints saw there: field and value.
    pub attributes: Vec<(String, String)>,
}

impl Place {
    /// What constraints saw in a field.
    pub fn attribute(&self, field: &str) -> Option<&str> {
        self.attributes
            .iter()
            .find(|(name, _)| name == field)
            .map(|(_, value)| value.as_str())
    }
}

/// What a health check of an instance has said so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// First time it passed.
    pub first_success: Option<Timestamp>,
    /// Last time it is known to have begun to pass.
    pub last_success: Option<Timestamp>,
    /// Last time it is known to have failed.
    pub last_failure: Option<Timestamp>,
    /// Why it failed.
    pub last_failure_cause: Option<String>,
    /// Failures reported since the last success.
    pub consecutive_failures: u32,
}

/// What an instance says of its readiness, while a deployment asks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Readiness {
    /// Whether it is ready, by its last answer; `None` before the first. Once it is, it is asked no more.
    pub is_ready: Option<bool>,
    /// That answer, when its check wants it kept. Not stored.
    pub last_response: Option<Arc<Response>>,
}

impl Health {
    /// Whether it passes, as far as is known; `None` before the first result.
    pub fn is_alive(&self) -> Option<bool> {
        match (self.consecutive_failures, self.last_success) {
            (1.., _) => Some(false),
            (0, Some(_)) => Some(true),
            (0, None) => None,
        }
    }
}

impl Instance {
    /// Whose instance.
    pub fn app(&self) -> &AppId {
        &self.version.spec.id
    }

    /// Whether it is on its way out.
    pub const fn is_condemned(&self) -> bool {
        self.kill_reason().is_some()
    }

    /// Whether it is one of those wanted: not condemned, and not given up as unreachable.
    pub const fn is_active(&self) -> bool {
        match self.state {
            InstanceState::Waiting
            | InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. } => true,
            InstanceState::Unreachable { inactive, .. } => !inactive,
            InstanceState::Reserved { is_wanted } => is_wanted,
            InstanceState::Draining { .. } | InstanceState::Killing { .. } => false,
        }
    }

    /// Whether it is on its way out, and what it holds is to be given back, too.
    pub const fn goes_for_good(&self) -> bool {
        let reason = self.kill_reason();
        matches!(reason, Some(KillReason::Wiped | KillReason::AppRemoved))
    }

    /// Whether it is on its way out and stays without a task, since it keeps what it holds.
    pub const fn comes_back(&self) -> bool {
        self.is_condemned() && self.holding.is_some() && !self.goes_for_good()
    }

    /// Whether it is on its way out because fewer are wanted.
    pub const fn is_scaled_down(&self) -> bool {
        matches!(self.kill_reason(), Some(KillReason::ScaledDown))
    }

    /// Why it is on its way out; `None`: it is not.
    const fn kill_reason(&self) -> Option<KillReason> {
        match self.state {
            InstanceState::Draining { reason, .. } | InstanceState::Killing { reason, .. } => {
                Some(reason)
            }
            InstanceState::Waiting
            | InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Running { .. }
            | InstanceState::Unreachable { .. }
            | InstanceState::Reserved { .. } => None,
        }
    }

    /// Whether it has no task, and only keeps what it holds.
    pub const fn is_reserved(&self) -> bool {
        matches!(self.state, InstanceState::Reserved { .. })
    }

    /// The task of an app's instance, or its last one.
    pub fn task(&self) -> TaskId {
        self.id.nth_task(self.incarnation)
    }

    /// Whether it is checked at all.
    pub fn is_checked(&self) -> bool {
        self.version.spec.checks().next().is_some()
    }

    /// Its tasks that have not ended, each with its time from SIGTERM to SIGKILL (`None`: the agent's own).
    pub fn tasks(&self) -> Vec<(TaskId, Option<Duration>)> {
        let spec = &self.version.spec;
        if !spec.is_pod() {
            let task = (!self.is_reserved()).then(|| self.task());
            return task
                .map(|task| (task, spec.task_kill_grace_period))
                .into_iter()
                .collect();
        }
        let grace = |name: &str| {
            let mut all = spec.containers().iter();
            all.find(|one| one.name == name)?.kill_grace_period
        };
        let left = self.containers.iter().filter(|one| !one.has_ended());
        left.map(|one| (self.id.task_of(&one.name), grace(&one.name)))
            .collect()
    }

    /// The task that serves a port, by its place among those of its version.
    pub(crate) fn task_of_port(&self, at: usize) -> TaskId {
        match self.version.spec.container_of_port(at) {
            Some((container, _)) => self.id.task_of(&container.name),
            None => self.task(),
        }
    }

    /// Its tasks that have not ended, each with its agent; none while it waits.
    pub(crate) fn tasks_at(&self) -> Vec<(TaskId, Option<AgentId>)> {
        let Some(place) = &self.place else {
            return Vec::new();
        };
        let tasks = self.tasks().into_iter();
        tasks
            .map(|(task, _)| (task, Some(place.agent.clone())))
            .collect()
    }

    /// The last task of one that has none and keeps what it holds, and its agent: whether that is gone for good is told in
    /// no other way.
    pub(crate) fn last_task_at(&self) -> Option<(TaskId, Option<AgentId>)> {
        let place = self.place.as_ref().filter(|_| self.is_reserved())?;
        Some((self.task(), Some(place.agent.clone())))
    }

    /// What one of its health checks has said so far; `None`: nothing.
    pub fn health_of(&self, check: usize) -> Option<&Health> {
        self.health.get(check)
    }

    /// What its health checks say together: one that fails is enough; it is healthy when all of them pass.
    pub fn verdict(&self) -> Option<bool> {
        let checks = 0..self.version.spec.checks().count();
        let mut words = checks.map(|at| self.health_of(at).and_then(Health::is_alive));
        let mut all = words.next()?;
        for word in words {
            all = match (all, word) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                (None, _) | (_, None) => None,
            };
        }
        all
    }

    /// Whether it takes resources of some agent.
    pub const fn is_placed(&self) -> bool {
        !matches!(self.state, InstanceState::Waiting)
    }

    /// Whether it is asked for its readiness and has not said yet that it is ready.
    pub fn awaits_readiness(&self) -> bool {
        let readiness = self.readiness.as_ref();
        readiness.is_some_and(|readiness| readiness.is_ready != Some(true))
    }

    /// Whether it does its work: runs, is not condemned, is healthy or has no check, and is ready where that is asked.
    pub fn is_ready(&self) -> bool {
        match self.state {
            InstanceState::Running { .. } if self.awaits_readiness() => false,
            InstanceState::Running { healthy } => {
                // A task that is being killed by its agent counts as unhealthy, with a check or without.
                healthy == Some(true) || (healthy.is_none() && !self.is_checked())
            }
            InstanceState::Waiting
            | InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Starting
            | InstanceState::Unreachable { .. }
            | InstanceState::Draining { .. }
            | InstanceState::Killing { .. }
            | InstanceState::Reserved { .. } => false,
        }
    }

    /// The state as `/v2/tasks` shows it.
    pub const fn task_state(&self) -> &'static str {
        match self.state {
            // Marathon's word for what is no state of a task.
            InstanceState::Waiting
            | InstanceState::Launching { .. }
            | InstanceState::Staging
            | InstanceState::Reserved { is_wanted: true } => "TASK_STAGING",
            InstanceState::Starting => "TASK_STARTING",
            // What became of its last task, so that nobody waits for the next.
            InstanceState::Reserved { is_wanted: false } => "TASK_KILLED",
            InstanceState::Running { .. } | InstanceState::Draining { .. } => "TASK_RUNNING",
            InstanceState::Unreachable { .. } => "TASK_UNREACHABLE",
            InstanceState::Killing { .. } => "TASK_KILLING",
        }
    }

    /// The state as `instance_changed_event` shows it.
    pub const fn condition(&self) -> &'static str {
        match self.state {
            InstanceState::Waiting => "Scheduled",
            InstanceState::Launching { .. } => "Provisioned",
            InstanceState::Staging => "Staging",
            InstanceState::Starting => "Starting",
            InstanceState::Running { .. } | InstanceState::Draining { .. } => "Running",
            InstanceState::Unreachable {
                inactive: false, ..
            } => "Unreachable",
            InstanceState::Unreachable { inactive: true, .. } => "UnreachableInactive",
            InstanceState::Killing { .. } => "Killing",
            InstanceState::Reserved { .. } => "Reserved",
        }
    }

    /// When it must run at the latest.
    pub fn launch_deadline(&self) -> Option<Timestamp> {
        self.staged_at.map(|staged| staged + LAUNCH_TIMEOUT)
    }

    /// When time alone changes it.
    pub fn deadline(&self) -> Option<Timestamp> {
        match &self.state {
            InstanceState::Waiting | InstanceState::Running { .. } => None,
            InstanceState::Launching { ask, .. } => {
                self.launch_deadline().map(|deadline| deadline.min(*ask))
            }
            InstanceState::Staging | InstanceState::Starting => self.launch_deadline(),
            InstanceState::Unreachable { since, inactive } => {
                match self.version.spec.unreachable_strategy {
                    UnreachableStrategy::Disabled => None,
                    UnreachableStrategy::Enabled {
                        inactive_after,
                        expunge_after,
                    } => Some(
                        *since
                            + if *inactive {
                                expunge_after
                            } else {
                                inactive_after.min(expunge_after)
                            },
                    ),
                }
            }
            InstanceState::Draining { until, .. } => Some(*until),
            InstanceState::Killing { again, .. } => Some(*again),
            InstanceState::Reserved { .. } => {
                let is_doubtful = (self.holding.as_ref()).is_some_and(|held| !held.is_confirmed);
                is_doubtful.then(|| self.since + RESERVATION_TIMEOUT)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_what_they_print() {
        let app = AppId::new("/shop/web").expect("good");
        let id = InstanceId::new(&app, *b"0123456789abcdef");

        assert_eq!(
            id.as_str(),
            "shop_web.instance-30313233-3435-3637-3839-616263646566"
        );
        assert_eq!(InstanceId::parse(id.task().as_str()), Some(id.clone()));
        assert_eq!(InstanceId::parse(id.as_str()), Some(id.clone()));
        assert_eq!(id.app(), app);
        let of = |task: TaskId| {
            let (instance, container) = InstanceId::of_task(task.as_str())?;
            Some((instance, container.map(str::to_owned)))
        };
        assert_eq!(of(id.task()), Some((id.clone(), None)));
        for name in ["web", "instance-x", "1"] {
            let container = Some(name.to_owned());
            assert_eq!(of(id.task_of(name)), Some((id.clone(), container)));
        }
        assert_eq!(
            id.executor().as_str(),
            "instance-shop_web.30313233-3435-3637-3839-616263646566"
        );
        for bad in [
            "",
            "web",
            "web.instance-1",
            "a.instance-30313233-3435-3637-3839-616263646566._app.x",
            "a.instance-30313233-3435-3637-3839-616263646566.web",
        ] {
            assert_eq!(InstanceId::parse(bad), None, "{bad}");
        }
    }
}
