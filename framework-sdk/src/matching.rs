//! Waiting tasks × offers: what runs where, and why not elsewhere.
//!
//! The same algorithms that the master packs with, for the framework's side of the table: several tasks share an offer
//! as far as it goes, ports are chosen, constraints hold, and for what finds no place every reason is given. [`plan`] takes
//! tasks in the order they come; a [`Draft`] is such a plan that is then [`improve`]d for as long as one has time.
//!
//! ```
//! use mete_framework_sdk::matching::{self, Constraint, PortAsk, WaitingTask};
//! use mete_framework_sdk::testkit::{Agent, Call, Master};
//! use mete_framework_sdk::{Connection, Event, Filters, Framework, FrameworkSpec, Ranges, Resources, Task};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let master = Master::start().await?;
//! let machine = Resources::cpus_mem(2_000, 512).with_ports(Ranges::interval(31_000, 31_009));
//! master.add_agent(Agent::from(machine.clone()).on_host("left").attribute("disk", "ssd"));
//! master.add_agent(Agent::from(machine).on_host("right"));
//!
//! let mut waiting = Vec::new();
//! for number in 0..3 {
//!     let task = Task::shell(format!("web-{number}"), "serve $PORT0")?.cpus_milli(500).mem_mb(64);
//!     let on_ssd = Constraint::parse("disk", "LIKE", Some("ssd"))?;
//!     waiting.push(WaitingTask::new(task).port(PortAsk::Any, "http").constraint(on_ssd));
//! }
//!
//! let mut framework = Framework::connect(Connection::to(&master.address())?, FrameworkSpec::new("web"));
//! while let Some(event) = framework.next().await {
//!     if let Event::Offers(offers) = event {
//!         let plan = matching::plan(waiting, &offers);
//!         waiting = plan.carry_out(&framework.client(), Filters::default());
//!         break;
//!     }
//! }
//!
//! assert!(waiting.is_empty());
//! let all_at_once = |call: &Call| matches!(call, Call::Accept { tasks, .. } if tasks.len() == 3);
//! assert!(master.heard(all_at_once).await.is_some());
//! # Ok(())
//! # }
//! ```

use mete_model::{Offer, OfferId, Resources, Role, TaskId};
use mete_placement::matcher::{self, Matched, Waiting};

pub use mete_placement::Policy;
pub use mete_placement::constraints::{BadConstraint, Constraint, Placed};
pub use mete_placement::matcher::WhyNot;
pub use mete_placement::ports::PortAsk;

use crate::calls::{CallError, Client, Filters};
use crate::launch::{Task, TaskPort};

/// A task that waits for a place, and what the place must be like.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingTask {
    task: Task,
    ports: Vec<String>,
    needs: Waiting,
}

/// Anywhere it fits.
impl From<Task> for WaitingTask {
    fn from(task: Task) -> Self {
        Self::new(task)
    }
}

impl WaitingTask {
    /// Anywhere it fits.
    pub fn new(task: Task) -> Self {
        Self {
            needs: Waiting::new(task.needs().clone()),
            ports: Vec::new(),
            task,
        }
    }

    /// The task.
    pub const fn task(&self) -> &Task {
        &self.task
    }

    /// All that the place must be like.
    pub(crate) const fn needs(&self) -> &Waiting {
        &self.needs
    }

    /// A port, chosen from the offer: the task gets it with this name, and finds its number in its environment, `PORT0`
    /// for the first that is asked for.
    #[must_use]
    pub fn port(mut self, ask: PortAsk, name: impl Into<String>) -> Self {
        self.needs.ports.push(ask);
        self.ports.push(name.into());
        self
    }

    /// Something that must hold where it runs. [`Constraint::parse`] reads the words of Marathon.
    #[must_use]
    pub fn constraint(mut self, constraint: Constraint) -> Self {
        self.needs.constraints.push(constraint);
        self
    }

    /// Where those already run that UNIQUE, GROUP_BY and MAX_PER count.
    #[must_use]
    pub fn beside(mut self, placed: impl IntoIterator<Item = Placed>) -> Self {
        self.needs.placed.extend(placed);
        self
    }

    /// Takes offers in this role only; said more than once, in any of these roles.
    #[must_use]
    pub fn role(mut self, role: Role) -> Self {
        self.needs.roles.insert(role);
        self
    }
}

/// A task and what it gets.
#[derive(Clone, Debug, PartialEq)]
pub struct Launch {
    /// The task as it waited.
    pub task: WaitingTask,
    /// Its ports, numbers on the agent, in the order they were asked for.
    pub ports: Vec<u16>,
    /// All it takes of the offer: its ports, and its GPUs by device where the offer names them.
    pub resources: Resources,
}

impl Launch {
    /// The task with its ports and devices, to be launched.
    pub fn into_task(self) -> Task {
        let named = self.task.ports.into_iter().zip(self.ports);
        let mut task = self.task.task.resources(self.resources);
        for (index, (name, number)) in named.enumerate() {
            task = task.env(format!("PORT{index}"), number.to_string());
            task = task.port(TaskPort {
                name: Some(name),
                ..TaskPort::number(number)
            });
        }
        task
    }
}

/// What to do with a set of offers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Offers to use, each with the tasks to launch on it.
    pub launches: Vec<(Offer, Vec<Launch>)>,
    /// Offers to decline.
    pub unused: Vec<OfferId>,
    /// Tasks that found no place, in the order they came.
    pub waiting: Vec<WaitingTask>,
    /// Why not: of each kind of task that still waits the first, against each offer as the others left it.
    pub rejections: Vec<Rejection>,
}

/// Why a task does not go onto an offer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// Which task; others of its kind are turned down for the same reasons.
    pub task: TaskId,
    /// Which offer.
    pub offer: OfferId,
    /// All that stands against it.
    pub reasons: Vec<WhyNot>,
}

/// Lays tasks onto offers, in the order they come, by the policy that agents are packed with when nobody says otherwise.
pub fn plan(waiting: impl IntoIterator<Item = WaitingTask>, offers: &[Offer]) -> Plan {
    plan_with(waiting, offers, Policy::default(), 0)
}

/// The same by another policy. `seed` decides at which port a choice of ports starts; the same seed gives the same plan.
pub fn plan_with(
    waiting: impl IntoIterator<Item = WaitingTask>,
    offers: &[Offer],
    policy: Policy,
    seed: u64,
) -> Plan {
    Draft::new(waiting, offers, policy, seed).into_plan()
}

/// A plan to be improved before it is carried out, by those who have time between offers and answers.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use mete_framework_sdk::Offer;
/// use mete_framework_sdk::matching::{Draft, Plan, Policy, WaitingTask, improve};
///
/// fn plan_for(time: Duration, waiting: Vec<WaitingTask>, offers: &[Offer]) -> Plan {
///     let start = Instant::now();
///     let mut draft = Draft::new(waiting, offers, Policy::default(), 0);
///     // Slices that are short against the time there is.
///     while start.elapsed() < time && draft.missing() > 0 {
///         improve(&mut draft, 50, 0);
///     }
///     draft.into_plan()
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Draft<'a> {
    kinds: Vec<Kind>,
    offers: &'a [Offer],
    draft: matcher::Plan<'a>,
}

impl<'a> Draft<'a> {
    /// Begins with what [`plan_with`] says.
    pub fn new(
        waiting: impl IntoIterator<Item = WaitingTask>,
        offers: &'a [Offer],
        policy: Policy,
        seed: u64,
    ) -> Self {
        let mut kinds: Vec<Kind> = Vec::new();
        for task in waiting {
            match kinds.last_mut() {
                Some(kind) if kind.takes(&task) => kind.tasks.push(task),
                Some(_) | None => kinds.push(Kind { tasks: vec![task] }),
            }
        }
        let shapes: Vec<Waiting> = kinds.iter().map(Kind::shape).collect();
        Self {
            kinds,
            offers,
            draft: matcher::Plan::new(shapes, offers, policy, seed),
        }
    }

    /// How many tasks have no place.
    pub fn missing(&self) -> u64 {
        self.draft.missing().iter().copied().map(u64::from).sum()
    }

    /// How many offers are used.
    pub fn offers_used(&self) -> usize {
        self.draft.offers_used()
    }

    /// As it is now, to be carried out.
    pub fn into_plan(self) -> Plan {
        Plan::of(self.kinds, self.offers, self.draft.into_matched())
    }
}

/// Makes up to `steps` steps to place more tasks, and then to use fewer offers (but not by [`Policy::Spread`]); true when
/// that became better. It never becomes worse: nobody makes room for tasks that need something else.
///
/// Time is spent in slices: call it again with as many steps as the time left allows, with the same seed or another one.
/// The same draft, steps and seed give the same draft.
pub fn improve(draft: &mut Draft<'_>, steps: u64, seed: u64) -> bool {
    matcher::improve(&mut draft.draft, steps, seed)
}

/// Tasks that follow each other and need the same: the matcher counts them instead of looking at each.
#[derive(Clone, Debug)]
struct Kind {
    tasks: Vec<WaitingTask>,
}

impl Kind {
    fn takes(&self, task: &WaitingTask) -> bool {
        self.tasks
            .first()
            .is_some_and(|first| first.needs == task.needs)
    }

    fn shape(&self) -> Waiting {
        let mut shape = self.tasks[0].needs.clone();
        shape.count = u32::try_from(self.tasks.len()).unwrap_or(u32::MAX);
        shape
    }
}

impl Plan {
    /// Accepts and declines as planned; what offers hold beyond it goes back with `filters`. Returns the tasks that still
    /// wait: those without a place, after those that could not be sent because the connection broke meanwhile. When
    /// [`Client::demand_for`] was called before, these are what is demanded from now on.
    #[must_use = "these tasks are not launched"]
    pub fn carry_out(self, client: &Client, filters: Filters) -> Vec<WaitingTask> {
        let mut unsent = Vec::new();
        for (offer, launches) in self.launches {
            let tasks: Vec<Task> = launches.iter().cloned().map(Launch::into_task).collect();
            match client.accept([&offer], tasks, filters) {
                Ok(()) => {}
                Err(CallError::NotConnected | CallError::NoOffer) => {
                    unsent.extend(launches.into_iter().map(|launch| launch.task));
                }
            }
        }
        // Without a connection these offers are void anyway.
        let _ = client.decline(&self.unused, filters);
        unsent.extend(self.waiting);
        client.still_wait(&unsent);
        unsent
    }

    fn of(kinds: Vec<Kind>, offers: &[Offer], matched: Matched) -> Self {
        let first: Vec<TaskId> = kinds
            .iter()
            .map(|kind| kind.tasks[0].task.id().clone())
            .collect();
        let mut queues: Vec<_> = kinds
            .into_iter()
            .map(|kind| kind.tasks.into_iter())
            .collect();
        let mut on_offer: Vec<Vec<Launch>> = offers.iter().map(|_| Vec::new()).collect();
        for placement in matched.launches {
            if let Some(task) = queues[placement.waiting].next() {
                let ports = placement
                    .ports
                    .iter()
                    .filter_map(|port| u16::try_from(*port).ok());
                let ports = ports.collect(); // Offers hold ports up to 65535.
                on_offer[placement.offer].push(Launch {
                    task,
                    ports,
                    resources: placement.resources,
                });
            }
        }
        let used = offers.iter().cloned().zip(on_offer);
        Self {
            launches: used.filter(|(_, tasks)| !tasks.is_empty()).collect(),
            unused: matched
                .unused
                .iter()
                .map(|offer| offers[*offer].id.clone())
                .collect(),
            waiting: queues.into_iter().flatten().collect(),
            rejections: matched
                .rejections
                .into_iter()
                .map(|rejection| Rejection {
                    task: first[rejection.waiting].clone(),
                    offer: offers[rejection.offer].id.clone(),
                    reasons: rejection.reasons,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use mete_model::{AgentId, Attributes, Endpoint, FrameworkId, Ranges};
    use proptest::prelude::*;

    use super::*;

    fn offer(number: usize, resources: Resources) -> Offer {
        Offer {
            id: OfferId::new(format!("O{number}")).expect("an id"),
            framework: FrameworkId::new("F").expect("an id"),
            agent: AgentId::new(format!("S{number}")).expect("an id"),
            endpoint: Endpoint {
                hostname: format!("host-{number}"),
                ip: "127.0.0.1".to_owned(),
                port: 5_051,
            },
            role: Role::any(),
            resources,
            attributes: Attributes::new(),
            domain: None,
            unavailability: None,
        }
    }

    fn waiting(number: usize, cpus_milli: u64, mem_mb: u64) -> WaitingTask {
        let task = Task::shell(format!("t-{number}"), "true").expect("an id");
        WaitingTask::new(task.cpus_milli(cpus_milli).mem_mb(mem_mb))
    }

    proptest! {
        #[test]
        fn every_task_is_launched_once_or_still_waits_and_no_offer_is_overdrawn(
            tasks in proptest::collection::vec((1_u64..2_000, 1_u64..512), 0..30),
            offers in proptest::collection::vec((0_u64..4_000, 0_u64..1_024), 0..6),
        ) {
            let tasks: Vec<_> = tasks.iter().enumerate().map(|(number, (cpus, mem))| waiting(number, *cpus, *mem)).collect();
            let offers: Vec<_> = offers.iter().enumerate().map(|(number, (cpus, mem))| offer(number, Resources::cpus_mem(*cpus, *mem))).collect();

            let plan = plan(tasks.clone(), &offers);

            let mut found: Vec<_> = plan.waiting.iter().map(|task| task.task().id().clone()).collect();
            for (offer, launches) in &plan.launches {
                let mut used = Resources::none();
                for launch in launches {
                    used.add(launch.task.task().needs());
                    found.push(launch.task.task().id().clone());
                }
                prop_assert!(offer.resources.contains(&used));
            }
            found.sort();
            let mut wanted: Vec<_> = tasks.iter().map(|task| task.task().id().clone()).collect();
            wanted.sort();
            prop_assert_eq!(found, wanted);
            prop_assert_eq!(plan.launches.len() + plan.unused.len(), offers.len());
        }
    }

    #[test]
    fn an_improved_draft_launches_what_the_order_left_out() {
        let offers = [0, 1].map(|number| offer(number, Resources::cpus_mem(1_000, 512)));
        let sizes = [400, 400, 600, 600];
        let tasks = (0..)
            .zip(sizes)
            .map(|(number, cpus)| waiting(number, cpus, 1));
        let mut draft = Draft::new(tasks, &offers, Policy::BestFit, 0);
        assert_eq!(draft.missing(), 1);

        assert!(improve(&mut draft, 100, 1));

        let plan = draft.into_plan();
        assert!(plan.waiting.is_empty());
        let launched: usize = plan.launches.iter().map(|(_, tasks)| tasks.len()).sum();
        assert_eq!(launched, 4);
    }

    #[test]
    fn chosen_ports_are_in_the_task() {
        let ports = Ranges::interval(31_000, 31_000);
        let offer = offer(0, Resources::cpus_mem(1_000, 64).with_ports(ports));
        let task = waiting(0, 100, 32).port(PortAsk::Any, "http");

        let plan = plan([task], &[offer]);

        let (_, launches) = plan.launches.into_iter().next().expect("launched");
        let task = launches.into_iter().next().expect("one").into_task();
        assert!(task.needs().ports.contains(31_000));
    }

    #[test]
    fn chosen_devices_are_in_the_task() {
        let mut machine = Resources::cpus_mem(4_000, 1_024);
        machine.gpus_milli = 2_000;
        let mut asked = Resources::cpus_mem(100, 32);
        asked.gpus_milli = 600;
        let tasks = ["t-0", "t-1"].map(|id| {
            let task = Task::shell(id, "true").expect("an id");
            WaitingTask::new(task.resources(asked.clone()))
        });

        let plan = plan(tasks, &[offer(0, machine.with_devices())]);

        let (_, launches) = plan.launches.into_iter().next().expect("launched");
        let tasks = launches.into_iter().map(Launch::into_task);
        let devices: Vec<u16> = tasks
            .map(|task| task.needs().devices().list()[0].index)
            .collect();
        assert_eq!(devices, [0, 1]);
    }

    #[test]
    fn a_task_without_a_place_comes_with_reasons() {
        let offers = [offer(0, Resources::cpus_mem(500, 64))];

        let plan = plan([waiting(0, 2_000, 32)], &offers);

        assert_eq!(plan.unused, [offers[0].id.clone()]);
        let rejection = &plan.rejections[0];
        assert_eq!(rejection.task.as_str(), "t-0");
        let too_few = WhyNot::InsufficientCpus {
            asked_milli: 2_000,
            there_milli: 500,
        };
        assert_eq!(rejection.reasons, [too_few]);
    }
}
