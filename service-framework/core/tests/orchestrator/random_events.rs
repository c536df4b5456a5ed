//! What holds whatever happens: never more instances than allowed, never a planned kill of a working instance without
//! draining it, everything wanted in the end, and what was stored is what is known.

use std::collections::{BTreeMap, BTreeSet};

use mete_model::{TaskId, TaskState, Timestamp};
use mete_service_framework_core::backends::BackendState;
use mete_service_framework_core::deployment::upgrade;
use mete_service_framework_core::probe::Answer;
use mete_service_framework_core::spec::app::ReadinessCheckSpec;
use mete_service_framework_core::spec::group::GroupSpec;
use mete_service_framework_core::state::instances::InstanceState;
use mete_service_framework_core::{Input, View, Wanted};
use proptest::prelude::*;

use crate::kit::{World, app, checked, checked_twice, id, instance_of};
use crate::pods::pod;

const APPS: [&str; 3] = ["/a", "/g/b", "/g/c"];
const POD: &str = "/g/p";
const AGENTS: u8 = 3;

#[derive(Clone, Debug)]
enum Event {
    Put {
        app: usize,
        instances: u32,
        command: u8,
        over: bool,
    },
    Scale {
        app: usize,
        instances: u32,
        force: bool,
    },
    Restart {
        app: usize,
        force: bool,
    },
    Remove {
        app: usize,
    },
    PutGroup {
        instances: [Option<u32>; 2],
        force: bool,
    },
    ScaleGroup {
        twice: bool,
    },
    RevertGroup {
        version: usize,
        all: bool,
    },
    RemoveGroup,
    PutPod {
        instances: u32,
        command: u8,
    },
    RemovePod,
    KillTask {
        task: usize,
        scale: bool,
    },
    CancelDeployment {
        force: bool,
    },
    Offer,
    Run,
    Fail {
        task: usize,
    },
    Health {
        task: usize,
        healthy: bool,
    },
    Answer {
        question: usize,
        passes: bool,
    },
    Unreachable {
        task: usize,
    },
    Return {
        task: usize,
    },
    EndKilled,
    Acknowledge {
        sessions: u64,
    },
    Pass {
        seconds: u64,
    },
    Drain {
        agent: u8,
    },
    Reopen {
        agent: u8,
    },
    Reconnect,
    RestartFramework,
}

fn event() -> impl Strategy<Value = Event> {
    let app = || 0..APPS.len();
    let task = || 0..20_usize;
    prop_oneof![
        2 => (app(), 0..5_u32, 0..3_u8, any::<bool>())
            .prop_map(|(app, instances, command, over)| Event::Put { app, instances, command, over }),
        2 => (app(), 0..5_u32, any::<bool>()).prop_map(|(app, instances, force)| Event::Scale { app, instances, force }),
        1 => (app(), any::<bool>()).prop_map(|(app, force)| Event::Restart { app, force }),
        1 => app().prop_map(|app| Event::Remove { app }),
        1 => (prop::option::of(0..4_u32), prop::option::of(0..4_u32), any::<bool>())
            .prop_map(|(b, c, force)| Event::PutGroup { instances: [b, c], force }),
        1 => any::<bool>().prop_map(|twice| Event::ScaleGroup { twice }),
        1 => (0..5_usize, any::<bool>()).prop_map(|(version, all)| Event::RevertGroup { version, all }),
        1 => Just(Event::RemoveGroup),
        2 => (0..4_u32, 0..3_u8).prop_map(|(instances, command)| Event::PutPod { instances, command }),
        1 => Just(Event::RemovePod),
        1 => (task(), any::<bool>()).prop_map(|(task, scale)| Event::KillTask { task, scale }),
        1 => any::<bool>().prop_map(|force| Event::CancelDeployment { force }),
        5 => Just(Event::Offer),
        5 => Just(Event::Run),
        2 => task().prop_map(|task| Event::Fail { task }),
        2 => (task(), any::<bool>()).prop_map(|(task, healthy)| Event::Health { task, healthy }),
        5 => (task(), prop::bool::weighted(0.7)).prop_map(|(question, passes)| Event::Answer { question, passes }),
        1 => task().prop_map(|task| Event::Unreachable { task }),
        1 => task().prop_map(|task| Event::Return { task }),
        3 => Just(Event::EndKilled),
        3 => (0..2_u64).prop_map(|sessions| Event::Acknowledge { sessions }),
        3 => (1..40_u64).prop_map(|seconds| Event::Pass { seconds }),
        1 => (1..=AGENTS).prop_map(|agent| Event::Drain { agent }),
        1 => (1..=AGENTS).prop_map(|agent| Event::Reopen { agent }),
        1 => Just(Event::Reconnect),
        1 => Just(Event::RestartFramework),
    ]
}

fn nth(world: &World, at: usize) -> Option<TaskId> {
    let tasks = world.task_ids();
    tasks.get(at % tasks.len().max(1)).cloned()
}

struct Run {
    world: World,
    /// Tasks that ended or were lost by themselves, or failed their check: their kill needs no drain.
    hurt: BTreeSet<TaskId>,
    /// Agents that drain.
    draining: BTreeSet<u8>,
    /// Something is again as it was, with the service ports it had, which may have been given to others since.
    has_gone_back: bool,
}

impl Run {
    fn new() -> Self {
        let mut world = World::new(AGENTS);
        world.acknowledge_all();
        Self {
            world,
            hurt: BTreeSet::new(),
            draining: BTreeSet::new(),
            has_gone_back: false,
        }
    }

    #[expect(clippy::too_many_lines, reason = "one flat match")]
    fn happen(&mut self, event: &Event) {
        let world = &mut self.world;
        match event {
            Event::Put {
                app: at,
                instances,
                command,
                over,
            } => {
                let mut spec = match at {
                    0 => checked(APPS[*at], *instances),
                    1 => app(APPS[*at], *instances),
                    _ => {
                        let mut spec = checked_twice(APPS[*at], *instances);
                        spec.readiness_check = Some(ReadinessCheckSpec {
                            port_name: "default".to_owned(),
                            ..ReadinessCheckSpec::default()
                        });
                        spec
                    }
                };
                spec.cmd = Some(format!("serve {command}"));
                if !over {
                    spec.upgrade_strategy.maximum_over_capacity = 0.0;
                    spec.upgrade_strategy.minimum_health_capacity = 0.5;
                }
                world.put(spec);
            }
            Event::Scale {
                app,
                instances,
                force,
            } => {
                world.ask(
                    Wanted::Scale {
                        app: id(APPS[*app]),
                        instances: *instances,
                    },
                    *force,
                );
            }
            Event::Restart { app, force } => {
                drop(world.ask(Wanted::Restart(id(APPS[*app])), *force))
            }
            Event::Remove { app } => drop(world.ask(Wanted::Remove(id(APPS[*app])), true)),
            Event::PutGroup { instances, force } => {
                let apps = APPS[1..].iter().zip(instances);
                let apps = apps.filter_map(|(name, instances)| {
                    Some((String::new(), app(name, (*instances)?)))
                });
                let group = GroupSpec {
                    id: Some(id("/g")),
                    apps: Some(apps.collect()),
                    ..GroupSpec::default()
                };
                world.ask(Wanted::PutGroup(Box::new(group)), *force);
            }
            Event::ScaleGroup { twice } => {
                // Bounded by what reverting and putting set back.
                let view = world.view();
                let many = view.wanted().map(|(_, version)| version.spec.instances);
                let many = many.max().unwrap_or(0);
                let factor = if *twice && many < 4 { 2.0 } else { 0.5 };
                world.ask(Wanted::ScaleGroup(Some(id("/g")), factor), true);
            }
            Event::RevertGroup { version, all } => {
                let known: Vec<Timestamp> = world.view().trees().map(|(at, _)| at).collect();
                let group = (!all).then(|| id("/g"));
                if let Some(version) = known.get(*version) {
                    self.has_gone_back = true;
                    world.ask(Wanted::RevertGroup(group, *version), true);
                }
            }
            Event::RemoveGroup => drop(world.ask(Wanted::RemoveGroup(Some(id("/g"))), true)),
            Event::PutPod { instances, command } => {
                let mut spec = pod(POD, *instances);
                spec.env.insert("COMMAND".to_owned(), command.to_string());
                spec.labels
                    .insert("HAPROXY_GROUP".to_owned(), "external".to_owned());
                world.put(spec);
            }
            Event::RemovePod => drop(world.ask(Wanted::RemovePod(id(POD)), true)),
            Event::KillTask { task, scale } => {
                if let Some(task) = nth(world, *task) {
                    let instances = vec![instance_of(&task)];
                    world.step(Input::KillInstances {
                        instances,
                        scale: *scale,
                        force: false,
                        wipe: false,
                    });
                }
            }
            Event::CancelDeployment { force } => {
                let first = world.view().deployments.keys().next().cloned();
                if let Some(id) = first {
                    self.has_gone_back |= !force;
                    world.step(Input::CancelDeployment { id, force: *force });
                }
            }
            Event::Offer => drop(world.offer()),
            Event::Run => world.run_all(),
            Event::Fail { task } => self.report(*task, TaskState::Failed, None),
            Event::Health { task, healthy } => self.report_health(*task, *healthy),
            Event::Answer { question, passes } => {
                if world.probes.is_empty() {
                    return;
                }
                let probe = world.probes.remove(*question % world.probes.len());
                if !passes {
                    self.hurt.insert(probe.instance.task());
                }
                let status = if *passes { 200 } else { 500 };
                world.answer(&probe, Answer::Status(status));
            }
            Event::Unreachable { task } => {
                let lost = nth(world, *task).map(|task| world.together(&task));
                for task in lost.into_iter().flatten() {
                    if let Some(running) = world.tasks.remove(&task) {
                        self.hurt.insert(task.clone());
                        world.report(&task, TaskState::Unreachable, None);
                        world.away.insert(task, running);
                    }
                }
            }
            Event::Return { task } => {
                let back = world
                    .away
                    .keys()
                    .nth(*task % world.away.len().max(1))
                    .cloned();
                let back = back.map(|task| world.together(&task));
                for task in back.into_iter().flatten() {
                    if let Some(running) = world.away.remove(&task) {
                        world.tasks.insert(task.clone(), running);
                        world.report(&task, TaskState::Running, None);
                    }
                }
            }
            Event::EndKilled => world.end_killed(),
            Event::Acknowledge { sessions } => {
                let tasks = world.task_ids();
                let left: Vec<(&TaskId, u64)> =
                    tasks.iter().map(|task| (task, *sessions)).collect();
                world.acknowledge("p", &left);
            }
            Event::Pass { seconds } => {
                // The proxy lives on, so that every planned kill has to wait for it.
                let tasks = world.task_ids();
                let left: Vec<(&TaskId, u64)> = tasks.iter().map(|task| (task, 1)).collect();
                world.acknowledge("p", &left);
                world.pass_s(*seconds);
            }
            Event::Drain { agent } => {
                self.draining.insert(*agent);
                world.drain(*agent);
            }
            Event::Reopen { agent } => {
                self.draining.remove(agent);
                world.add_agent(*agent);
            }
            Event::Reconnect => {
                world.step(Input::Disconnected);
                self.subscribe();
            }
            Event::RestartFramework => {
                let trees = |world: &World| world.view().trees().collect::<Vec<_>>();
                let before = trees(world);
                world.restart();
                assert_eq!(trees(world), before);
                self.subscribe();
            }
        }
        self.check();
    }

    /// The master asks anew whether we leave agents that drain.
    fn subscribe(&mut self) {
        self.world.subscribe();
        for agent in &self.draining {
            self.world.ask_to_leave(*agent);
        }
    }

    fn report(&mut self, at: usize, state: TaskState, healthy: Option<bool>) {
        if let Some(task) = nth(&self.world, at) {
            self.hurt.extend(self.world.together(&task));
            self.world.report(&task, state, healthy);
        }
    }

    fn report_health(&mut self, at: usize, healthy: bool) {
        let Some(task) = nth(&self.world, at) else {
            return;
        };
        if self.world.tasks[&task].spec.health_check.is_some() {
            if !healthy {
                self.hurt.insert(task.clone());
            }
            self.world.report(&task, TaskState::Running, Some(healthy));
        }
    }

    fn check(&self) {
        let view = self.world.view();
        Self::groups_hold_apps(&view);
        let mut ports = BTreeSet::new();
        for app in view.apps.values() {
            let placed = app.active().filter(|instance| instance.is_placed()).count();
            let most = app.target.as_ref().map_or(0, |target| {
                upgrade::capacity(target.instances, target.version.spec.upgrade_strategy) as usize
            });
            // Above what is allowed only where the wish itself has just become smaller: never by a launch.
            let launching = app
                .active()
                .filter(|one| matches!(one.state, InstanceState::Waiting))
                .count();
            assert!(
                launching == 0 || placed + launching <= most,
                "{}: {placed} and {launching} of {most}",
                app.id
            );
            let ports_of = app.wanted.iter().flat_map(|wanted| wanted.spec.ports());
            for port in ports_of {
                assert!(
                    ports.insert(port.port) || self.has_gone_back,
                    "service port {} is given twice",
                    port.port
                );
            }
        }
        for service in view.backends.services() {
            for backend in &service.backends {
                let instance = view.task(&backend.task).expect("what is listed is there");
                assert!(matches!(
                    instance.state,
                    InstanceState::Running { .. } | InstanceState::Draining { .. }
                ));
            }
        }
        // A proxy has always lived here.
        for killed in self
            .world
            .kills
            .iter()
            .filter(|task| !self.hurt.contains(*task))
        {
            let listed = self
                .world
                .listed
                .get(killed)
                .and_then(|states| states.last());
            assert_ne!(
                listed,
                Some(&BackendState::Up),
                "{killed} was killed without being drained"
            );
        }
    }

    /// What every app lies in is there, and is no app.
    fn groups_hold_apps(view: &View) {
        for (app, _) in view.wanted().chain(view.pods()) {
            let mut groups = app.id.ancestors();
            assert!(
                groups.all(|group| view.groups.get(&group).is_some()),
                "{}",
                app.id
            );
            assert!(view.groups.get(&app.id).is_none(), "{}", app.id);
        }
    }

    /// The master knows what waits and may be launched; nothing else is asked for.
    fn demand_is_what_waits(&self) {
        let waiting = self.world.view().queue;
        let waiting = waiting.values().filter(|queued| {
            let until = queued.delayed_until;
            until.is_none_or(|until| until <= self.world.now)
        });
        let waiting: BTreeMap<String, u32> = waiting
            .map(|queued| (queued.version.spec.id.to_string(), queued.count))
            .collect();
        let told = self.world.demand.iter();
        let told: BTreeMap<String, u32> = told
            .map(|shape| (shape.name.clone().unwrap_or_default(), shape.count))
            .collect();
        assert_eq!(told, waiting);
        if waiting.is_empty() {
            assert!(!self.world.wants_offers, "no offers for nothing");
        }
    }

    /// Everything heals; then all that is wanted is there, and nothing else.
    fn heal(&mut self) {
        for agent in 1..=AGENTS {
            self.world.add_agent(agent);
        }
        for (task, running) in std::mem::take(&mut self.world.away) {
            self.world.tasks.insert(task.clone(), running);
            self.world.report(&task, TaskState::Running, None);
        }
        let world = &mut self.world;
        for round in 0..600 {
            world.offer();
            world.run_all();
            let sick: Vec<TaskId> = world
                .tasks
                .iter()
                .filter(|(_, task)| task.spec.health_check.is_some())
                .map(|(id, _)| id.clone())
                .collect();
            for task in sick {
                world.report(&task, TaskState::Running, Some(true));
            }
            world.acknowledge_all();
            world.end_killed();
            world.pass_s(1);
            world.answer_all(&Answer::Status(200));
            let view = world.view();
            if view.deployments.is_empty()
                && view.queue.is_empty()
                && world.kills.is_empty()
                && round > 20
            // every check has been asked again
            {
                break;
            }
        }
        let view = world.view();
        assert!(
            view.deployments.is_empty(),
            "deployments end: {:?}",
            view.deployments
        );
        let mut wanted = 0;
        for app in view.apps.values() {
            let version = app.wanted.as_ref().expect("what is not wanted is gone");
            let instances = version.spec.instances as usize;
            let ready = app.instances.values().filter(|one| one.is_ready());
            assert_eq!(ready.count(), instances, "{}", app.id);
            wanted += instances * version.spec.containers().len().max(1);
            assert_eq!(world.backends(app.id.as_str()).len(), instances);
        }
        assert_eq!(world.tasks.len(), wanted);
        let effects = world.step(Input::Deadline);
        assert_eq!(
            (effects.store, effects.act),
            (Vec::new(), Vec::new()),
            "then nothing more happens"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, max_shrink_iters: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn what_is_allowed_holds_and_what_is_wanted_comes(events in proptest::collection::vec(event(), 1..60)) {
        let mut run = Run::new();
        for event in &events {
            run.happen(event);
            run.demand_is_what_waits();
        }
        run.heal();
    }

    #[test]
    fn a_restart_changes_nothing_that_is_known(events in proptest::collection::vec(event(), 1..40)) {
        let mut run = Run::new();
        for event in &events {
            run.happen(event);
        }
        let before = run.world.view();
        run.world.restart();
        let after = run.world.view();
        let known = |view: &View| -> Vec<String> {
            view.apps.values().flat_map(|app| {
                let instances = app.instances.values().filter(|one| one.is_placed());
                let instances: Vec<String> = instances.map(|one| format!("{} {} {:?}", one.id, one.condition(), one.place)).collect();
                std::iter::once(format!("{} {:?} {:?}", app.id, app.wanted, app.target)).chain(instances)
            }).collect()
        };
        prop_assert_eq!(known(&before), known(&after));
        let listed = |view: &View| -> Vec<_> { view.backends.services().cloned().collect() };
        prop_assert_eq!(listed(&before), listed(&after));
    }
}
