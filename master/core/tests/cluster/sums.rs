//! Whatever happens: what is offered and used on an agent never is more than it has, and what is not used is free again.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_master_core::{Accept, Call, Input, LinkId, Operation, OperationKind, Reach, View};
use mete_model::{AgentId, Machine, Offer, ReservationKind, Resources, Tag, TaskSpec, TaskState};
use proptest::prelude::*;

use crate::world::{Client, NO_FILTER, World, brought, framework_info, role, task, task_id, whole};

const AGENTS: usize = 3;
const FRAMEWORKS: usize = 3;

#[derive(Clone, Debug)]
enum Step {
    Accept {
        framework: usize,
        offer: usize,
        cpus_milli: u64,
    },
    /// Reserve some of an offer, or give up what of it is reserved.
    Reshape {
        framework: usize,
        offer: usize,
        cpus_milli: u64,
        back: bool,
    },
    Decline {
        framework: usize,
        offer: usize,
        seconds: u64,
    },
    Report {
        task: usize,
        state: TaskState,
    },
    Acknowledge {
        task: usize,
    },
    Kill {
        task: usize,
    },
    BreakAgent(usize),
    ReturnAgent {
        agent: usize,
        forgets: bool,
    },
    BreakFramework(usize),
    ReturnFramework(usize),
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let state = prop_oneof![
        Just(TaskState::Starting),
        Just(TaskState::Running),
        Just(TaskState::Finished),
        Just(TaskState::Failed),
        Just(TaskState::Killed)
    ];
    prop_oneof![
        6 => (0..FRAMEWORKS, 0..4_usize, 100..2_500_u64)
            .prop_map(|(framework, offer, cpus_milli)| Step::Accept { framework, offer, cpus_milli }),
        3 => (0..FRAMEWORKS, 0..4_usize, 100..2_500_u64, any::<bool>())
            .prop_map(|(framework, offer, cpus_milli, back)| Step::Reshape { framework, offer, cpus_milli, back }),
        3 => (0..FRAMEWORKS, 0..4_usize, 0..20_u64)
            .prop_map(|(framework, offer, seconds)| Step::Decline { framework, offer, seconds }),
        5 => (0..30_usize, state).prop_map(|(task, state)| Step::Report { task, state }),
        3 => (0..30_usize).prop_map(|task| Step::Acknowledge { task }),
        2 => (0..30_usize).prop_map(|task| Step::Kill { task }),
        1 => (0..AGENTS).prop_map(Step::BreakAgent),
        3 => (0..AGENTS, any::<bool>()).prop_map(|(agent, forgets)| Step::ReturnAgent { agent, forgets }),
        1 => (0..FRAMEWORKS).prop_map(Step::BreakFramework),
        2 => (0..FRAMEWORKS).prop_map(Step::ReturnFramework),
        2 => (1..40_u64).prop_map(Step::Pass),
    ]
}

/// Reserved by a framework.
fn kept() -> Tag {
    let mut tag = Tag::reserved(role("web"));
    tag.reservations[0].kind = ReservationKind::Dynamic;
    tag
}

/// The world, and what its agents and frameworks know.
struct Play {
    world: World,
    agents: Vec<(AgentId, LinkId)>,
    clients: Vec<Client>,
    launched: u32,
    uuids: u8,
}

impl Play {
    fn new() -> Self {
        let mut world = World::new();
        let agents = (0..AGENTS)
            .map(|at| world.agent(&format!("h{at}")))
            .collect();
        let clients = (0..FRAMEWORKS).map(|_| world.framework()).collect();
        Self {
            world,
            agents,
            clients,
            launched: 0,
            uuids: 0,
        }
    }

    fn view(&self) -> View {
        self.world.cluster.view()
    }

    fn offer_of(&self, framework: usize, at: usize) -> Option<Offer> {
        let id = &self.clients[framework].id;
        let view = self.view();
        let mine = view.offers.values().filter(|offer| offer.framework == *id);
        let mine: Vec<_> = mine.collect();
        mine.get(at).map(|offer| Offer::clone(offer))
    }

    fn task(&self, at: usize) -> Option<(usize, Client, String)> {
        let view = self.view();
        let task = view.tasks.values().nth(at)?;
        let agent = self.agents.iter().position(|(id, _)| *id == task.agent)?;
        let client = self
            .clients
            .iter()
            .find(|client| client.id == task.key.framework)?;
        Some((agent, client.clone(), task.key.task.to_string()))
    }

    fn take(&mut self, step: Step) {
        match step {
            Step::Accept {
                framework,
                offer,
                cpus_milli,
            } => self.accept(framework, offer, cpus_milli),
            Step::Reshape {
                framework,
                offer,
                cpus_milli,
                back,
            } => self.reshape(framework, offer, cpus_milli, back),
            Step::Decline {
                framework,
                offer,
                seconds,
            } => {
                if let Some(offer) = self.offer_of(framework, offer) {
                    let client = self.clients[framework].clone();
                    let refuse_for = Duration::from_secs(seconds);
                    self.world.decline(&client, &offer, refuse_for);
                }
            }
            Step::Report { task, state } => self.report(task, state),
            Step::Acknowledge { task } => self.acknowledge(task),
            Step::Kill { task } => {
                if let Some((_, client, task)) = self.task(task) {
                    let kill = Call::Kill {
                        task: task_id(&task),
                        agent: None,
                        grace_period: None,
                    };
                    self.world.call(&client, kill);
                }
            }
            Step::BreakAgent(at) => {
                let (agent, link) = self.agents[at].clone();
                self.world.step(Input::AgentDisconnected { agent, link });
            }
            Step::ReturnAgent { agent, forgets } => self.agent_returns(agent, forgets),
            Step::BreakFramework(at) => {
                let Client { id, link, .. } = self.clients[at].clone();
                self.world.step(Input::FrameworkDisconnected {
                    framework: id,
                    link,
                });
            }
            Step::ReturnFramework(at) => {
                let id = self.clients[at].id.clone();
                let info = mete_model::FrameworkInfo {
                    id: Some(id),
                    ..framework_info()
                };
                let (link, out) = self.world.subscribe(info);
                self.clients[at] = Client::of(link, &out);
            }
            Step::Pass(seconds) => {
                self.world.pass(Duration::from_secs(seconds));
            }
        }
    }

    fn accept(&mut self, framework: usize, offer: usize, cpus_milli: u64) {
        let Some(offer) = self.offer_of(framework, offer) else {
            return;
        };
        self.launched += 1;
        let asked = Resources::cpus_mem(cpus_milli, 10);
        // Every other task takes reserved resources, if there are some.
        let reserved = Resources::none().with_part(kept(), asked.clone());
        let use_reserved = self.launched.is_multiple_of(2) && offer.resources.contains(&reserved);
        let spec = TaskSpec {
            resources: if use_reserved { reserved } else { asked },
            ..task(&format!("t{}", self.launched), &offer.agent)
        };
        let client = self.clients[framework].clone();
        self.world.accept(&client, &[&offer], vec![spec]);
    }

    fn reshape(&mut self, framework: usize, offer: usize, cpus_milli: u64, back: bool) {
        let Some(offer) = self.offer_of(framework, offer) else {
            return;
        };
        let asked = Resources::none().with_part(kept(), Resources::cpus_mem(cpus_milli, 100));
        let held = Resources::none().with_part(
            kept(),
            offer.resources.part(&kept()).cloned().unwrap_or_default(),
        );
        let (kind, resources) = if back {
            (OperationKind::Unreserve, held)
        } else {
            (OperationKind::Reserve, asked)
        };
        let accept = Accept {
            offers: vec![offer.id],
            operations: vec![Operation::Reshape {
                id: None,
                kind,
                resources,
                account: None,
            }],
            refuse_for: NO_FILTER,
        };
        let client = self.clients[framework].clone();
        self.world.call(&client, Call::Accept(accept));
    }

    fn report(&mut self, task: usize, state: TaskState) {
        let Some((agent, client, task)) = self.task(task) else {
            return;
        };
        self.uuids = self.uuids.wrapping_add(1);
        let (agent, link) = self.agents[agent].clone();
        let uuid = self.uuids;
        self.world
            .report((&agent, link), &client, &task, state, uuid);
    }

    fn acknowledge(&mut self, task: usize) {
        let Some((agent, client, task)) = self.task(task) else {
            return;
        };
        let agent = self.agents[agent].0.clone();
        let key = mete_model::TaskKey {
            framework: client.id.clone(),
            task: task_id(&task),
        };
        let known = self.view().tasks.get(&key).cloned();
        if let Some((uuid, _)) = known.and_then(|task| task.unacknowledged) {
            self.world.acknowledge(&client, &agent, &task, uuid.0[0]);
        }
    }

    fn agent_returns(&mut self, at: usize, forgets: bool) {
        let (id, link) = self.agents[at].clone();
        let view = self.view();
        if view.agents.get(&id).and_then(|agent| agent.link()) == Some(link) {
            return;
        }
        let mut tasks = Vec::new();
        for known in view.tasks.values().filter(|task| task.agent == id) {
            let client = self
                .clients
                .iter()
                .find(|client| client.id == known.key.framework);
            let state = if known.state == TaskState::Unreachable {
                TaskState::Running
            } else {
                known.state
            };
            let mut one = brought(client.expect("ours"), &id, known.key.task.as_str(), state);
            one.brief.resources = known.spec.resources.clone();
            tasks.push(one);
        }
        if forgets {
            tasks.truncate(tasks.len() / 2);
        }
        let (link, _) = self.world.returns(&id, tasks);
        self.agents[at].1 = link;
    }

    /// What is offered and used per agent that can be reached, checked against what it has.
    fn check(&self) {
        let view = self.view();
        let mut taken: BTreeMap<AgentId, Resources> = BTreeMap::new();
        for task in view.tasks.values().filter(|task| task.holds_resources()) {
            taken
                .entry(task.agent.clone())
                .or_default()
                .add(&task.spec.resources);
        }
        for offer in view.offers.values() {
            let sum = taken.entry(offer.agent.clone()).or_default();
            assert!(
                sum.ports.common(&offer.resources.ports).is_empty(),
                "a port is offered twice"
            );
            sum.add(&offer.resources);
            let agent = view.agents.get(&offer.agent).expect("known");
            assert!(agent.is_offerable(), "{:?}", agent.reach);
            let framework = view.frameworks.get(&offer.framework).expect("known");
            assert!(framework.link().is_some());
        }
        for (agent, sum) in &taken {
            let agent = view.agents.get(agent).expect("known");
            match agent.reach {
                Reach::Registered { .. } | Reach::Disconnected { .. } => {
                    let total = &agent.info.resources;
                    assert_eq!(*total.flat(), whole(), "{}", agent.id);
                    assert!(total.contains(sum), "{} of {total}: {sum}", agent.id);
                }
                Reach::Recovered { .. } | Reach::Unreachable { .. } => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn nothing_is_oversold_and_nothing_leaks(steps in proptest::collection::vec(step(), 1..120)) {
        let mut play = Play::new();
        for step in steps {
            play.take(step);
            play.check();
        }

        // Everybody comes back, every task ends, every offer is handed back: all of it must be on the table again.
        for at in 0..FRAMEWORKS {
            play.take(Step::ReturnFramework(at));
        }
        for at in 0..AGENTS {
            play.agent_returns(at, false);
        }
        while !play.view().tasks.is_empty() {
            play.take(Step::Report { task: 0, state: TaskState::Finished });
            play.take(Step::Acknowledge { task: 0 });
            play.check();
        }
        play.world.pass(Duration::from_secs(30));
        let view = play.view();
        for offer in view.offers.values() {
            let client = play.clients.iter().find(|client| client.id == offer.framework).expect("ours").clone();
            play.world.decline(&client, offer, NO_FILTER);
        }
        let mut offered: BTreeMap<AgentId, Resources> = BTreeMap::new();
        for offer in play.view().offers.values() {
            offered.entry(offer.agent.clone()).or_default().add(&offer.resources);
        }
        for (agent, _) in &play.agents {
            let total = play.view().agents.get(agent).expect("known").info.resources.clone();
            prop_assert_eq!(offered.get(agent), Some(&total));
            prop_assert_eq!(total.flat().into_owned(), whole());
        }
    }
}
