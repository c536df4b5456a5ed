//! A framework that writes down what it hears, in words that do not change from run to run.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, Offer, Resources, TaskId, TaskState, TaskStatus, UpdateId};
use tokio::time::timeout;

use crate::{Client, Connection, Event, Filters, Framework, FrameworkSpec, Task};

/// Far longer than anything on one machine takes.
const PATIENCE: Duration = Duration::from_secs(15);
/// Longer than any scenario.
pub(super) const FOR_LONG: Filters = Filters::refuse_for(Duration::from_secs(3_600));
/// Offered again at once.
pub(super) const NO_FILTER: Filters = Filters::refuse_for(Duration::ZERO);

/// A framework that writes down what it hears.
pub(super) struct Watcher {
    framework: Framework,
    pub(super) client: Client,
    pub(super) id: Option<FrameworkId>,
    seen: Vec<String>,
    agents: Vec<AgentId>,
    /// The last update of each task: one that comes again is written down only when the scenario asks for it.
    last: BTreeMap<TaskId, UpdateId>,
    barriers: usize,
}

impl Watcher {
    pub(super) fn connect(address: &str, spec: FrameworkSpec) -> Self {
        let connection = Connection::to(address).expect("an address");
        let framework = Framework::connect(connection, spec);
        Self {
            client: framework.client(),
            framework,
            id: None,
            seen: Vec::new(),
            agents: Vec::new(),
            last: BTreeMap::new(),
            barriers: 0,
        }
    }

    /// A framework of the usual kind, subscribed and offered something.
    pub(super) async fn offered(address: &str) -> (Self, Vec<Offer>) {
        let mut watcher = Self::connect(address, FrameworkSpec::new("scenario"));
        let offers = watcher.offers().await;
        (watcher, offers)
    }

    /// The same with one task, `t-1`, of one CPU and 64 MB, that runs. Nothing else is offered meanwhile.
    pub(super) async fn running(address: &str, spec: FrameworkSpec) -> Self {
        let mut watcher = Self::connect(address, spec);
        let offers = watcher.offers().await;
        let accepted = watcher
            .client
            .accept(&offers, [task("t-1", 1_000)], FOR_LONG);
        accepted.expect("connected");
        watcher.state("t-1", TaskState::Running).await;
        watcher
    }

    /// Reads until an event is as wanted; `None` is the end. Panics with all that was heard when it does not come.
    pub(super) async fn until(&mut self, what: &str, wanted: impl Fn(&Event) -> bool) -> Event {
        loop {
            match self.next(what).await {
                Some(event) if wanted(&event) => return event,
                Some(_) => {}
                None => panic!("the end came instead of {what}: {:#?}", self.seen),
            }
        }
    }

    /// Reads to the end of events.
    pub(super) async fn end(&mut self) {
        while self.next("the end").await.is_some() {}
    }

    pub(super) async fn offers(&mut self) -> Vec<Offer> {
        let is_offers = |event: &Event| matches!(event, Event::Offers(_));
        let Event::Offers(offers) = self.until("offers", is_offers).await else {
            unreachable!("it was asked for");
        };
        offers
    }

    /// Waits for news of a task.
    pub(super) async fn state(&mut self, task: &str, state: TaskState) -> TaskStatus {
        let is_it = |status: &TaskStatus| status.task.as_str() == task && status.state == state;
        let what = format!("{task} {state}");
        let wanted = |event: &Event| matches!(event, Event::Update(status) if is_it(status));
        let Event::Update(status) = self.until(&what, wanted).await else {
            unreachable!("it was asked for");
        };
        status
    }

    /// Waits for news of several tasks, in whatever order they come.
    pub(super) async fn states(&mut self, wanted: &[(&str, TaskState)]) {
        let mut missing = wanted.to_vec();
        while !missing.is_empty() {
            let what = format!("{missing:?}");
            let is_one = |event: &Event| matches!(event, Event::Update(_));
            let Event::Update(status) = self.until(&what, is_one).await else {
                unreachable!("it was asked for");
            };
            missing.retain(|(task, state)| status.task.as_str() != *task || status.state != *state);
        }
    }

    /// Waits until the master has dealt with all calls so far, and whatever came of them is written down.
    pub(super) async fn barrier(&mut self) {
        self.barriers += 1;
        let name = format!("barrier-{}", self.barriers);
        let asked = self.client.reconcile([(&id(&name), None)]);
        asked.expect("connected");
        self.state(&name, TaskState::Unknown).await;
    }

    /// All that was heard so far, and forgets it.
    pub(super) fn seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }

    /// Leaves, and waits until the master knows.
    pub(super) async fn close(self) {
        self.framework.close().await;
    }

    async fn next(&mut self, what: &str) -> Option<Event> {
        let event = timeout(PATIENCE, self.framework.next()).await;
        let event = event.unwrap_or_else(|_| panic!("no {what} came: {:#?}", self.seen));
        match &event {
            Some(event) => self.write_down(event),
            None => self.seen.push("end".to_owned()),
        }
        event
    }

    fn write_down(&mut self, event: &Event) {
        match event {
            Event::Subscribed { framework, master } => {
                assert!(is_numbered(framework.as_str(), "-"), "{framework:?}");
                assert!(!master.id.is_empty() && master.port > 0, "{master:?}");
                let before = self.id.replace(framework.clone());
                let again = before.as_ref() == Some(framework);
                self.seen.push(
                    if again {
                        "subscribed again"
                    } else {
                        "subscribed"
                    }
                    .to_owned(),
                );
            }
            Event::Offers(offers) => {
                for offer in offers {
                    assert!(is_numbered(offer.id.as_str(), "-O"), "{:?}", offer.id);
                    let line = format!("offer {} {}", self.name(&offer.agent), offer.resources);
                    self.seen.push(line);
                }
            }
            Event::Rescind(_) => self.seen.push("rescind".to_owned()),
            Event::InverseOffers(_) => self.seen.push("inverse offers".to_owned()),
            Event::RescindInverse(_) => self.seen.push("rescind inverse".to_owned()),
            Event::Update(status) => self.write_down_update(status),
            Event::Operation(status) => self
                .seen
                .push(format!("operation {} {:?}", status.id, status.state)),
            Event::Failure { .. } => self.seen.push("failure".to_owned()),
            Event::Error(text) => self.seen.push(format!("error {text}")),
            Event::Disconnected { .. } => self.seen.push("disconnected".to_owned()),
        }
    }

    fn write_down_update(&mut self, status: &TaskStatus) {
        if status.task.as_str().starts_with("barrier-") {
            return;
        }
        if let Some(uuid) = status.uuid
            && self.last.insert(status.task.clone(), uuid) == Some(uuid)
        {
            return;
        }
        let mut line = format!(
            "{} {} {}",
            status.task,
            status.state,
            status.source.as_str()
        );
        if let Some(reason) = status.reason {
            line = format!("{line} {reason}");
        }
        if let Some(agent) = &status.agent {
            line = format!("{line} on {}", self.name(agent));
        }
        self.seen.push(line);
    }

    /// Agents by the order in which they were heard of.
    fn name(&mut self, agent: &AgentId) -> String {
        assert!(is_numbered(agent.as_str(), "-S"), "{agent:?}");
        let known = self.agents.iter().position(|known| known == agent);
        let number = known.unwrap_or_else(|| {
            self.agents.push(agent.clone());
            self.agents.len() - 1
        });
        format!("agent-{}", number + 1)
    }
}

/// What the updates of a task look like that an agent launched.
pub(super) fn by_executor(task: &str, states: &[TaskState]) -> Vec<String> {
    let line = |state: &TaskState| format!("{task} {state} SOURCE_EXECUTOR on agent-1");
    states.iter().map(line).collect()
}

pub(super) fn task(name: &str, cpus_milli: u64) -> Task {
    let task = Task::new(id(name), mete_model::CommandSpec::shell("true"));
    task.resources(Resources::cpus_mem(cpus_milli, 64))
}

pub(super) fn id(name: &str) -> TaskId {
    TaskId::new(name).expect("a name is an id")
}

/// Names begin with the incarnation of a master, a UUID, and end with a number.
fn is_numbered(text: &str, separator: &str) -> bool {
    let (uuid, number) = text.split_at_checked(36).unwrap_or_default();
    let number = number.strip_prefix(separator).unwrap_or_default();
    let is_number = !number.is_empty() && number.bytes().all(|digit| digit.is_ascii_digit());
    uuid.parse::<UpdateId>().is_ok() && is_number
}
