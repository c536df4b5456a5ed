//! Machines that are planned to be away, go down, come up; and who is asked to leave.

use std::collections::BTreeSet;
use std::time::Duration;

use mete_master_core::{
    Call, Event, Input, LinkId, MachineId, MessageToAgent, OperatorError, Reply, ScheduleError,
    Window,
};
use mete_model::{AgentId, InverseOffer, Machine, Reason, TaskState, Timestamp, Unavailability};

use crate::world::{
    Client, Out, World, brought, events, framework_info, messages, offers, rescinded, settings,
    task, update, updates,
};

const TOMORROW: Unavailability = Unavailability {
    start: Timestamp::from_millis(87_400_000),
    duration: Some(Duration::from_secs(3_600)),
};

fn machine(name: &str) -> MachineId {
    MachineId::new(Some(name.to_owned()), None).expect("good")
}

fn planned(names: &[&str]) -> Input {
    Input::SetSchedule(vec![Window {
        machines: names.iter().map(|name| machine(name)).collect(),
        unavailability: TOMORROW,
    }])
}

fn asked(out: &Out, on: LinkId) -> Vec<InverseOffer> {
    let mut all = Vec::new();
    for event in events(out, on) {
        if let Event::InverseOffers(offers) = event {
            all.extend(offers);
        }
    }
    all
}

fn withdrawn(out: &Out, on: LinkId) -> usize {
    let events = events(out, on);
    let inverse = |event: &&Event| matches!(event, Event::RescindInverse(_));
    events.iter().filter(inverse).count()
}

fn answer(world: &mut World, client: &Client, offer: &InverseOffer, accepted: bool) -> Out {
    world.call(
        client,
        Call::AnswerInverse {
            offers: vec![offer.id.clone()],
            accepted,
            refuse_for: Duration::from_secs(5),
        },
    )
}

#[test]
fn offers_of_planned_agents_say_when_they_will_be_away() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    let client = world.framework();
    assert_eq!(client.offers[0].unavailability, None);

    let out = world.step(planned(&["A"]));

    assert_eq!(out.store.len(), 1);
    let old = client.offers[0].id.clone();
    assert_eq!(rescinded(&out, client.link), [old]);
    let new = offers(&out, client.link);
    assert_eq!(new[0].unavailability, Some(TOMORROW));
    let asked = asked(&out, client.link);
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].agent, agent);
    assert_eq!(asked[0].unavailability, TOMORROW);
    let again = world.step(planned(&["A"]));
    assert!(again.act.is_empty() && again.store.is_empty(), "no change");
}

#[test]
fn who_declines_to_leave_is_asked_again_after_the_filter() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    let client = world.framework();
    let out = world.step(planned(&["a"]));
    let first = asked(&out, client.link).remove(0);

    let out = answer(&mut world, &client, &first, false);
    assert!(asked(&out, client.link).is_empty());
    let out = world.pass(Duration::from_secs(4));
    assert!(asked(&out, client.link).is_empty());
    let out = world.pass(Duration::from_secs(2));
    let second = asked(&out, client.link);

    assert_eq!(second.len(), 1);
    assert_ne!(second[0].id, first.id);
    answer(&mut world, &client, &second[0], true);
    let out = world.pass(Duration::from_secs(60));
    assert!(asked(&out, client.link).is_empty());
    let view = world.cluster.view();
    let answers: Vec<_> = view.maintenance.answers(&agent).collect();
    assert!(
        matches!(&answers[..], [(framework, Some(answer))] if **framework == client.id && answer.accepted)
    );
}

#[test]
fn only_who_has_something_there_is_asked() {
    let mut world = World::new();
    let (agent, _) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    let mut idle = framework_info();
    idle.roles = [crate::world::role("idle")].into();
    let (idle, _) = world.subscribe(idle);

    let out = world.step(planned(&["a", "b"]));

    assert_eq!(asked(&out, client.link).len(), 1);
    let offered = !offers(&out, idle).is_empty();
    assert_eq!(asked(&out, idle).len(), usize::from(offered));
}

#[test]
fn a_framework_that_comes_back_is_asked_again() {
    let (mut world, _, client) = planned_with_a_task();

    let mut info = framework_info();
    info.id = Some(client.id.clone());
    let (link, out) = world.subscribe(info);

    assert_eq!(asked(&out, link).len(), 1);
}

#[test]
fn a_plan_that_is_dropped_withdraws_what_was_asked() {
    let mut world = World::new();
    world.agent("a");
    let client = world.framework();
    world.step(planned(&["a"]));

    let out = world.step(Input::SetSchedule(Vec::new()));

    assert_eq!(withdrawn(&out, client.link), 1);
    assert_eq!(offers(&out, client.link)[0].unavailability, None);
}

#[test]
fn an_agent_that_comes_later_is_planned_too() {
    let mut world = World::new();
    world.step(planned(&["a"]));
    world.agent("a");

    let (link, out) = world.subscribe(framework_info());

    assert_eq!(offers(&out, link)[0].unavailability, Some(TOMORROW));
    assert_eq!(asked(&out, link).len(), 1);
}

/// A machine with a task that is planned to be away.
fn planned_with_a_task() -> (World, (AgentId, LinkId), Client) {
    let mut world = World::new();
    let (agent, agent_link) = world.agent("a");
    let client = world.framework();
    let offer = client.offers[0].clone();
    world.accept(&client, &[&offer], vec![task("one", &agent)]);
    world.step(planned(&["a"]));
    (world, (agent, agent_link), client)
}

#[test]
fn a_machine_that_goes_down_takes_its_agents_with_it() {
    let (mut world, (agent, agent_link), client) = planned_with_a_task();
    let down: BTreeSet<_> = [machine("a")].into();

    let out = world.step(Input::MachinesDown(down.clone()));

    assert_eq!(out.reply, Some(Reply::Done));
    let gone = (
        "one".to_owned(),
        TaskState::Gone,
        Some(Reason::AgentRemoved),
    );
    assert_eq!(updates(&out, client.link), [gone]);
    assert!(
        messages(&out, agent_link)
            .iter()
            .any(|message| matches!(message, MessageToAgent::Shutdown { .. }))
    );
    assert_eq!(withdrawn(&out, client.link), 1);
    let mut world = world.restarted(settings());
    let (_, out) = world.returns(&agent, Vec::new());
    assert!(
        matches!(&out.reply, Some(Reply::Refused(why)) if why == "machine a: this machine is down for maintenance"),
        "{out:?}"
    );
    let out = world.step(Input::MachinesUp(down));
    assert_eq!(out.reply, Some(Reply::Done));
    let (_, out) = world.returns(&agent, Vec::new());
    assert_eq!(out.reply, Some(Reply::Registered(agent)));
    assert!(world.cluster.view().schedule.windows().is_empty());
}

#[test]
fn an_end_that_the_master_has_told_is_not_told_again_by_the_agent_that_comes_up() {
    let (mut world, (agent, _), client) = planned_with_a_task();
    let down: BTreeSet<_> = [machine("a")].into();
    world.step(Input::MachinesDown(down.clone()));
    world.step(Input::MachinesUp(down));

    let killed = brought(&client, &agent, "one", TaskState::Killed);
    let (agent_link, out) = world.returns(&agent, vec![killed]);
    assert_eq!(updates(&out, client.link), []);
    for (state, uuid) in [(TaskState::Killing, 1), (TaskState::Killed, 2)] {
        let mut news = update(&client.id, &agent, "one", state, uuid);
        news.latest = Some(TaskState::Killed);
        let out = world.step(Input::Update {
            agent: agent.clone(),
            link: agent_link,
            update: Box::new(news),
        });

        assert_eq!(updates(&out, client.link), []);
        let is_acknowledged =
            |message: &MessageToAgent| matches!(message, MessageToAgent::Acknowledge { .. });
        assert!(messages(&out, agent_link).iter().any(is_acknowledged));
    }
    let view = world.cluster.view();
    assert_eq!((view.tasks.len(), view.ended_tasks.len()), (0, 1));
}

#[test]
fn only_planned_machines_go_down_and_only_those_come_up() {
    let mut world = World::new();
    let one: BTreeSet<_> = [machine("a")].into();

    let down = world.step(Input::MachinesDown(one.clone()));
    let up = world.step(Input::MachinesUp(one.clone()));

    let refused = |error| Some(Reply::Failed(OperatorError::Schedule(error)));
    assert_eq!(down.reply, refused(ScheduleError::NotPlanned(machine("a"))));
    assert_eq!(up.reply, refused(ScheduleError::NotDown(machine("a"))));
    world.step(planned(&["a"]));
    world.step(Input::MachinesDown(one));
    let forgotten = world.step(Input::SetSchedule(Vec::new()));
    assert_eq!(
        forgotten.reply,
        refused(ScheduleError::IsDown(machine("a")))
    );
}
