//! What the store brings back.

use mete_model::{TaskId, TaskState};
use mete_service_framework_core::backends::{BackendState, FIRST_VERSION};
use mete_service_framework_core::state::instances::InstanceState;
use mete_service_framework_core::{Action, Input, Life, Orchestrator, Reply, Settings, Wanted};

use crate::kit::{NOON, World, agent, app, checked, id, serving};
use crate::told::Names;

#[test]
fn what_the_master_has_removed_is_launched_anew_under_another_id() {
    let mut world = serving(checked("/web", 3));
    let before = world.task_ids();

    let effects = world.step(Input::Removed);
    assert_eq!(effects.reply, Some(Reply::Done));
    world.tasks.clear(); // The master has killed them.
    world.restart();

    assert_eq!(world.core.framework(), None);
    world.subscribe();
    world.calm();
    let after = world.task_ids();
    assert_eq!(after.len(), 3);
    assert!(after.iter().all(|task| !before.contains(task)));
}

#[test]
fn a_restart_adopts_what_runs_and_restarts_nothing() {
    let mut world = serving(checked("/web", 3));
    let (tasks, backends) = (world.task_ids(), world.backends("/web"));
    let before = world.view();
    world.restart();

    assert_eq!(
        world.backends("/web"),
        backends,
        "healthy ones are listed from the first version on"
    );
    assert_eq!(
        (
            world.view().backends.epoch(),
            world.view().backends.version()
        ),
        ("epoch-1", FIRST_VERSION)
    );
    assert_eq!(world.core.framework(), before.framework.as_ref());
    assert_eq!(*world.view().apps, *before.apps);

    let mut names = Names::default();
    let effects = world.subscribe();
    assert_eq!(
        names.lines(&effects),
        [
            "publish scheduler_reregistered_event",
            "reconcile I1._app.1, I2._app.1, I3._app.1",
            "reconcile all",
            "ask what is reserved",
            "suppress"
        ]
    );
    for task in &tasks {
        world.report(task, TaskState::Running, Some(true));
    }
    world.calm();
    assert_eq!(world.task_ids(), tasks);
    assert_eq!(
        world.view().backends.version(),
        FIRST_VERSION,
        "proxies have nothing to do"
    );
}

#[test]
fn a_deployment_goes_on_after_a_restart() {
    let mut world = World::new(2);
    let Reply::Changed { deployment, .. } = world.create(checked("/web", 2)) else {
        panic!("changed")
    };
    world.offer();
    let tasks = world.task_ids();
    world.restart();
    assert!(world.view().deployments.contains_key(&deployment));

    world.subscribe();
    world.calm();

    assert_eq!(world.task_ids(), tasks);
    assert!(world.view().deployments.is_empty());
    assert_eq!(world.heard().last(), Some(&"deployment_success"));
}

#[test]
fn an_upgrade_goes_on_after_a_restart_at_any_point() {
    for steps in 0..8 {
        let mut world = serving(checked("/web", 2));
        let old = world.task_ids();
        let mut spec = checked("/web", 2);
        spec.cmd = Some("serve better".to_owned());
        world.put(spec);
        for step in 0..steps {
            match step % 4 {
                0 => drop(world.offer()),
                1 => world.run_all(),
                2 => world.acknowledge_all(),
                _ => world.end_killed(),
            }
        }
        world.restart();
        world.subscribe();
        world.calm();

        assert_eq!(world.tasks.len(), 2, "after {steps}");
        assert!(world.task_ids().iter().all(|task| !old.contains(task)));
        assert!(world.view().deployments.is_empty());
        for task in &old {
            assert_eq!(
                world.listed[task].last(),
                Some(&BackendState::Draining),
                "after {steps}"
            );
        }
    }
}

#[test]
fn what_drains_goes_on_draining() {
    let mut world = serving(app("/web", 2));
    world.scale("/web", 1);
    world.restart();
    let states: Vec<BackendState> = world.backends("/web").into_values().collect();
    assert!(states.contains(&BackendState::Draining));
    world.subscribe();
    assert!(
        world.kills.is_empty(),
        "the proxy from before the restart is waited for"
    );

    world.acknowledge_all();

    assert_eq!(world.kills.len(), 1);
}

#[test]
fn what_was_killed_is_killed_again() {
    let mut world = serving(app("/web", 2));
    world.scale("/web", 1);
    world.acknowledge_all();
    world.kills.clear();
    world.restart();

    world.subscribe();

    assert!(!world.kills.is_empty());
    world.calm();
    assert_eq!(world.tasks.len(), 1);
}

#[test]
fn a_removal_goes_on_after_a_restart() {
    let mut world = serving(app("/web", 2));
    world.ask(Wanted::Remove(id("/web")), false);
    world.restart();
    assert_eq!(world.backends("/web").len(), 2, "they drain");

    world.subscribe();
    world.calm();

    assert!(world.view().apps.is_empty() && world.tasks.is_empty());
    let kept = ["former/01700000000000", "former/01700000004000"];
    assert_eq!(
        world.stored_keys(),
        [&kept[..], &["framework", "proxy/p"]].concat()
    );
}

#[test]
fn a_cancelled_upgrade_stays_cancelled() {
    let mut world = serving(checked("/web", 2));
    let tasks = world.task_ids();
    let mut spec = checked("/web", 2);
    spec.cmd = Some("serve better".to_owned());
    let Reply::Changed { deployment, .. } = world.put(spec) else {
        panic!("changed")
    };
    world.step(Input::CancelDeployment {
        id: deployment,
        force: true,
    });
    world.restart();

    world.subscribe();
    world.calm();

    assert_eq!(world.task_ids(), tasks);
}

#[test]
fn versions_stay_unique_when_the_clock_goes_back() {
    let mut world = World::new(1);
    world.create(app("/web", 0));
    let first = world.app("/web").wanted.as_ref().expect("wanted").version;
    world.now = NOON - std::time::Duration::from_secs(3_600);
    world.restart();

    world.scale("/web", 1);

    assert!(world.app("/web").wanted.as_ref().expect("wanted").version > first);
}

#[test]
fn every_state_is_read_as_it_was_stored() {
    let mut world = serving(checked("/web", 5));
    let tasks = world.task_ids();
    world.report(&tasks[0], TaskState::Running, Some(false));
    let mut spec = checked("/web", 5);
    spec.unreachable_strategy =
        mete_service_framework_core::spec::app::UnreachableStrategy::Disabled;
    spec.labels.insert("a".to_owned(), "b".to_owned());
    world.put(spec);
    world.offer();
    let new = world
        .task_ids()
        .into_iter()
        .find(|task| !tasks.contains(task))
        .expect("launched");
    world.report(&new, TaskState::Running, Some(true));
    world.report(&new, TaskState::Unreachable, None);
    let before = world.states("/web");
    assert!(
        before
            .iter()
            .any(|state| matches!(state, InstanceState::Unreachable { .. }))
    );
    assert!(
        before
            .iter()
            .any(|state| matches!(state, InstanceState::Launching { .. }))
    );

    let (apps, deployments) = (world.view().apps, world.view().deployments);
    world.restart();

    for (id, app) in &*world.view().apps {
        assert_eq!(
            (&app.wanted, &app.target, &app.versions),
            (&apps[id].wanted, &apps[id].target, &apps[id].versions)
        );
        for (name, instance) in &app.instances {
            let old = &apps[id].instances[name];
            assert_eq!(instance.condition(), old.condition());
            assert_eq!(
                (&instance.place, &instance.health, instance.since),
                (&old.place, &old.health, old.since)
            );
            assert_eq!(
                (instance.staged_at, instance.started_at),
                (old.staged_at, old.started_at)
            );
        }
    }
    assert_eq!(world.view().deployments.len(), deployments.len());
}

#[test]
fn a_record_that_cannot_be_read_is_named() {
    let recover = |key: &str, value: &[u8]| {
        let life = Life {
            seed: [1; 32],
            epoch: "e".to_owned(),
        };
        let entries = vec![(key.as_bytes().to_vec(), value.to_vec())];
        Orchestrator::recover(Settings::default(), &life, NOON, entries)
            .map(|_| ())
            .map_err(|bad| bad.to_string())
    };

    for (key, value, expected) in [
        (
            "app/web",
            &b"\x02{}"[..],
            "record \"app/web\" cannot be read: its format is 2, this program reads 1",
        ),
        (
            "app/web",
            b"",
            "record \"app/web\" cannot be read: it is empty",
        ),
        (
            "other/web",
            b"\x01{}",
            "record \"other/web\" cannot be read: no such kind of record",
        ),
        (
            "app/web",
            b"\x01{\"wanted_ms\":5,\"target\":null}",
            "record \"app/web\" cannot be read: it needs version 5 of /web, which is not there",
        ),
    ] {
        assert_eq!(recover(key, value), Err(expected.to_owned()));
    }
    assert!(recover("deployment/x", b"\x01[").is_err());
}

#[test]
fn the_form_on_disk_is_this() {
    let mut world = World::alone(Settings::default());
    world.create(app("/web", 1));

    let stored: Vec<String> = world
        .store()
        .iter()
        .map(|(key, value)| {
            assert_eq!(value[0], 1);
            format!(
                "{} {}",
                String::from_utf8_lossy(key),
                String::from_utf8_lossy(&value[1..])
            )
        })
        .collect();

    let without_chance: Vec<String> = stored
        .iter()
        .map(|line| match line.split_once(' ') {
            Some((key, value)) if key.starts_with("deployment/") => format!("deployment/… {value}"),
            _ => line.clone(),
        })
        .collect();
    let text = without_chance.join("\n") + "\n";
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/stored.txt");
    if std::env::var_os("METE_UPDATE_STORED").is_some() {
        std::fs::write(file, &text).expect("writable");
    }
    assert_eq!(
        text,
        std::fs::read_to_string(file).expect("readable"),
        "METE_UPDATE_STORED=1 writes it anew"
    );
}

#[test]
fn tasks_of_a_lost_agent_are_asked_about_for_a_master_may_not_know_them() {
    let mut world = serving(app("/web", 6));
    let lost = agent(1);
    let on_it = |world: &World| -> Vec<TaskId> {
        let tasks = world.tasks.iter();
        let on_it = tasks.filter(|(_, running)| running.agent == lost);
        on_it.map(|(id, _)| id.clone()).collect()
    };
    let tasks = on_it(&world);
    assert!(!tasks.is_empty());

    let effects = world.step(Input::AgentLost(lost.clone()));
    let asked = |effects: &[Action]| -> Vec<TaskId> {
        let mut asked = Vec::new();
        for action in effects {
            if let Action::Reconcile { tasks } = action {
                asked.extend(tasks.iter().map(|(task, _)| task.clone()));
            }
        }
        asked
    };
    assert_eq!(asked(&effects.act), tasks);

    for task in &tasks {
        world.report(task, TaskState::Unreachable, None);
    }
    let effects = world.step(Input::AgentLost(lost));
    assert_eq!(asked(&effects.act), [], "what was told is not asked");
}
