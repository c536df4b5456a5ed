use std::sync::Arc;

use mete_agent_core::{Action, Input, Order, Stage, Standing, StopReason};
use mete_model::{Machine, Resources};

use crate::fixture::*;

#[test]
fn the_agent_comes_back_after_one_second_doubling_to_a_minute_less_chance() {
    let mut world = World::new();
    world.recover("boot-1", []);
    let mut now = NOON;
    let full = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0];

    for longest in full {
        let then = world.reconnect(now);
        let waited = then.since(now).as_secs_f64();
        assert!(
            waited > longest / 2.0 && waited <= longest,
            "{waited} of {longest}"
        );
        now = then;
    }
}

#[test]
fn registration_tells_everything_that_is_here() {
    let mut world = World::running(spec("web"));
    let now = world.reconnect(at(1.0));

    let (registration, _) = world.admit(now, 2);

    assert_eq!(registration.agent, Some(agent()));
    assert_eq!(registration.epoch, 1);
    assert_eq!(registration.boot_id, "boot-1");
    assert_eq!(registration.tasks[0].key, key("web"));
    assert_eq!(*registration.tasks[0].spec, spec("web"));
    assert_eq!(*registration.frameworks[0], framework());
    assert_eq!(world.node.view().epoch, 2);
}

#[test]
fn a_master_of_an_older_epoch_is_not_obeyed() {
    let mut world = World::running(spec("web"));
    let now = world.reconnect(at(1.0));
    world.admit(now, 5);
    let now = world.reconnect(now);

    let (_, actions) = world.admit(now, 4);

    let link = world.link;
    assert_eq!(actions, [Action::Disconnect { link }]);
    assert!(matches!(world.node.view().stage, Stage::Waiting { .. }));
    assert_eq!(world.kill(now, &key("web")), [], "it is not heard");
}

#[test]
fn the_epoch_and_the_id_outlive_a_crash() {
    let mut world = World::registered();
    world.crash();
    world.recover("boot-1", []);

    let (registration, _) = world.admit(NOON, 1);

    assert_eq!(registration.epoch, 1);
    assert_eq!(registration.agent, Some(agent()));
}

#[test]
fn what_an_older_stream_still_says_is_not_heard() {
    let mut world = World::registered();
    let old = world.link;
    world.reconnect(at(1.0));
    world.admit(at(2.0), 1);

    let order = Order::Run {
        framework: framework(),
        task: Box::new(spec("web")),
    };
    let actions = world.step(at(3.0), Input::FromMaster { link: old, order });

    assert_eq!(actions, []);
}

#[test]
fn a_master_that_does_not_answer_is_given_up() {
    let mut world = World::new();
    world.recover("boot-1", []);
    let link = world.link;
    world.step(at(1.0), Input::Connected { link });

    let actions = world.step(at(31.0), Input::Deadline);

    assert!(actions.contains(&Action::Disconnect { link }));
    assert!(matches!(world.node.view().stage, Stage::Waiting { .. }));
}

#[test]
fn refused_for_good_ends_the_agent_and_leaves_its_tasks_alone() {
    let mut world = World::running(spec("web"));
    world.reconnect(at(1.0));
    let link = world.link;
    world.step(at(2.0), Input::Connected { link });

    let refused = Order::Refused {
        reason: "marked gone".into(),
        permanent: true,
    };
    let actions = world.order(at(2.0), refused);

    assert_eq!(
        actions,
        [Action::Stop(StopReason::Refused("marked gone".into()))]
    );
    assert_eq!(world.node.view().stage, Stage::Refused);
}

#[test]
fn refused_for_now_comes_back() {
    let mut world = World::new();
    world.recover("boot-1", []);
    let link = world.link;
    world.step(NOON, Input::Connected { link });

    let refused = Order::Refused {
        reason: "recovering".into(),
        permanent: false,
    };
    world.order(NOON, refused);

    assert!(matches!(world.node.view().stage, Stage::Waiting { .. }));
}

#[test]
fn nothing_is_decided_before_the_past_is_known() {
    let mut world = World::new();

    let actions = world.step(NOON, Input::Connected { link: 1 });

    assert_eq!(actions, []);
    assert_eq!(world.node.next_deadline(), None);
}

#[test]
fn what_a_master_has_made_of_the_agent_holds_until_it_registers_again() {
    let mut world = World::registered();
    let link = world.link;
    let standing = Arc::new(Standing {
        resources: Resources::cpus_mem(1_000, 64),
        drain: None,
    });
    let order = Order::Standing(Arc::clone(&standing));

    world.step(at(1.0), Input::FromMaster { link, order });

    assert_eq!(world.node.view().standing, Some(Arc::clone(&standing)));
    let now = world.reconnect(at(2.0));
    let away = world.node.view().standing;
    assert_eq!(away, Some(standing), "nobody says otherwise");
    world.admit(now, 1);
    assert_eq!(world.node.view().standing, None);
}
