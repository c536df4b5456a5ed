//! Reservations, volumes and devices: offered to whom they are for, made by operations, kept over restarts.

use std::sync::Arc;
use std::time::Duration;

use mete_master_core::{
    Accept, AgentOperation, Call, Event, Input, LinkId, MessageToAgent, Operation, OperationKind,
    OperationOutcome, OperatorError, Record, Registration, Reply, Settings,
};
use mete_model::{
    AgentId, Capability, Device, Devices, FrameworkInfo, MB_MILLI, Machine, Offer, Reservation,
    ReservationKind, Resources, Role, Tag, TaskSpec, TaskState, UpdateId, Volume, VolumeName,
};

use crate::world::{
    Client, NO_FILTER, Out, World, brought, events, framework_info, messages, offers, role,
    statuses, task, whole,
};

fn cpus(milli: u64) -> Resources {
    Resources::cpus_mem(milli, 0)
}

fn disk(megabytes: u64) -> Resources {
    let mut all = Resources::none();
    all.disk_milli = megabytes * MB_MILLI;
    all
}

fn gpus(milli: u64) -> Resources {
    let mut all = Resources::cpus_mem(100, 32);
    all.gpus_milli = milli;
    all
}

/// Reserved by a framework for a role.
fn dynamic(name: &str) -> Tag {
    let reservation = Reservation {
        role: role(name),
        kind: ReservationKind::Dynamic,
        principal: Some("ops".to_owned()),
        labels: Vec::new(),
    };
    Tag {
        reservations: vec![reservation],
        ..Tag::default()
    }
}

fn volume(on: Tag, id: &str, shared: bool) -> Tag {
    let volume = Volume {
        id: id.to_owned(),
        container_path: "data".to_owned(),
        read_only: false,
        principal: Some("ops".to_owned()),
    };
    Tag {
        volume: Some(volume),
        shared,
        ..on
    }
}

fn part(tag: Tag, part: Resources) -> Resources {
    Resources::none().with_part(tag, part)
}

fn operator_info(roles: &[&str]) -> FrameworkInfo {
    let mut info = framework_info();
    info.roles = roles.iter().map(|name| role(name)).collect();
    info.principal = Some("ops".to_owned());
    info.capabilities.extend([
        Capability::ReservationRefinement,
        Capability::SharedResources,
    ]);
    info
}

fn registration_of(world: &mut World, resources: Resources) -> Registration {
    let mut registration = world.registration("a");
    registration.info.resources = resources;
    registration
}

fn comes_back(world: &mut World, id: &AgentId, resources: Resources) -> Out {
    let mut registration = registration_of(world, resources);
    registration.id = Some(id.clone());
    world.step(Input::RegisterAgent(Box::new(registration)))
}

/// One agent with 1000 MB of disk, and one framework of role `web` that was offered all of it.
struct Scene {
    world: World,
    agent: AgentId,
    link: LinkId,
    client: Client,
}

impl Scene {
    fn new() -> Self {
        Self::with(whole().plus(&disk(1_000)), operator_info(&["web"]))
    }

    fn with(resources: Resources, info: FrameworkInfo) -> Self {
        let mut world = World::new();
        let (agent, link) = world.agent_with("a", resources);
        let (client_link, out) = world.subscribe(info);
        let client = Client::of(client_link, &out);
        Self {
            world,
            agent,
            link,
            client,
        }
    }

    fn operate(&mut self, operations: Vec<Operation>) -> Out {
        let offers = self.client.offers.iter().map(|offer| offer.id.clone());
        let accept = Accept {
            offers: offers.collect(),
            operations,
            refuse_for: NO_FILTER,
        };
        let out = self.world.call(&self.client.clone(), Call::Accept(accept));
        self.client.offers = offers_of(&out, &self.client);
        out
    }

    fn total(&self) -> Resources {
        total(&self.world, &self.agent)
    }
}

fn total(world: &World, agent: &AgentId) -> Resources {
    let view = world.cluster.view();
    let agent = view.agents.get(agent).expect("known");
    agent.info.resources.clone()
}

fn offers_of(out: &Out, client: &Client) -> Vec<Arc<Offer>> {
    offers(out, client.link)
}

fn reshape(kind: OperationKind, resources: Resources) -> Operation {
    Operation::Reshape {
        id: None,
        kind,
        resources,
        account: None,
    }
}

fn launch(id: &str, agent: &AgentId, resources: Resources) -> Operation {
    let spec = TaskSpec {
        resources,
        ..task(id, agent)
    };
    Operation::Launch(vec![Ok(spec)])
}

/// What the agent is told to run, with what.
fn started(out: &Out, link: LinkId) -> Vec<(String, String)> {
    let run = |message| {
        let MessageToAgent::RunTask { task, .. } = message else {
            return None;
        };
        Some((task.id.to_string(), task.resources.to_string()))
    };
    messages(out, link).into_iter().filter_map(run).collect()
}

fn errors(out: &Out, client: &Client) -> Vec<String> {
    let error = |event| {
        let Event::Error(why) = event else {
            return None;
        };
        Some(why)
    };
    events(out, client.link)
        .into_iter()
        .filter_map(error)
        .collect()
}

#[test]
fn what_is_kept_for_a_role_is_offered_to_it_and_those_below_only() {
    let kept = whole().with_part(Tag::reserved(role("prod")), cpus(2_000));
    let mut scene = Scene::with(kept, operator_info(&["web"]));

    let plain = scene.client.offers[0].clone();
    scene
        .world
        .decline(&scene.client, &plain, Duration::from_secs(60));
    let (link, out) = scene.world.subscribe(operator_info(&["prod/a"]));

    assert!(!plain.resources.has_parts());
    let offered = &offers(&out, link)[0].resources;
    assert_eq!(
        offered.part(&Tag::reserved(role("prod"))),
        Some(&cpus(2_000))
    );
}

#[test]
fn a_task_takes_what_it_names_and_plain_asks_get_plain_only() {
    let prod = Tag::reserved(role("web"));
    let kept = cpus(500).with_part(prod.clone(), cpus(2_000));
    let mut scene = Scene::with(kept, operator_info(&["web"]));
    let agent = scene.agent.clone();

    let out = scene.operate(vec![
        launch("plain", &agent, cpus(1_000)),
        launch("kept", &agent, part(prod, cpus(1_500))),
    ]);

    assert_eq!(
        started(&out, scene.link),
        [(
            "kept".to_owned(),
            "cpus(reservations: [(STATIC,web)]):1.5".to_owned()
        )]
    );
    let words = statuses(&out, scene.client.link).remove(0).message;
    assert_eq!(
        words.as_deref(),
        Some("task plain asks for more than the offers hold: cpus 1 asked, 0.5 there")
    );
}

#[test]
fn one_accept_reserves_disk_makes_a_volume_of_it_and_starts_a_task_on_it() {
    let mut scene = Scene::new();
    let agent = scene.agent.clone();
    let data = volume(dynamic("web"), "v", false);
    let before = scene.total();

    let out = scene.operate(vec![
        reshape(
            OperationKind::Reserve,
            part(dynamic("web"), disk(100).plus(&cpus(1_000))),
        ),
        reshape(OperationKind::Create, part(data.clone(), disk(60))),
        launch("db", &agent, cpus(500).with_part(data.clone(), disk(60))),
    ]);

    assert_eq!(errors(&out, &scene.client), [""; 0]);
    assert_eq!(
        started(&out, scene.link)[0].1,
        "cpus:0.5; disk(reservations: [(DYNAMIC,web,ops)])[v:data]:60"
    );
    assert_eq!(scene.total().flat(), before.flat());
    assert_eq!(scene.total().part(&data), Some(&disk(60)));
    assert_eq!(
        scene.total().part(&dynamic("web")),
        Some(&disk(40).plus(&cpus(1_000)))
    );
    // The rest is offered again, the volume is not: it is in use.
    let rest = &scene.client.offers[0].resources;
    assert_eq!(rest.part(&data), None);
    assert_eq!(
        rest.part(&dynamic("web")),
        Some(&disk(40).plus(&cpus(1_000)))
    );

    let (link, client) = (scene.link, scene.client.clone());
    scene.world.decline(&client, &client.offers[0], NO_FILTER);
    let out = scene
        .world
        .report((&agent, link), &client, "db", TaskState::Finished, 1);
    let again: Vec<_> = offers_of(&out, &client);
    let held = again
        .iter()
        .any(|offer| offer.resources.part(&data).is_some());
    assert!(held, "{again:?}");
}

#[test]
fn a_task_may_only_read_a_volume_or_find_it_elsewhere() {
    let mut scene = Scene::new();
    let agent = scene.agent.clone();
    let data = volume(dynamic("web"), "v", false);
    let mut seen = data.clone();
    if let Some(volume) = &mut seen.volume {
        volume.read_only = true;
        volume.container_path = "elsewhere".to_owned();
    }
    let needs = cpus(500).with_part(seen.clone(), disk(60));

    let out = scene.operate(vec![
        reshape(OperationKind::Reserve, part(dynamic("web"), disk(60))),
        reshape(OperationKind::Create, part(data.clone(), disk(60))),
        launch("reads", &agent, needs.clone()),
        launch("late", &agent, needs.clone()),
    ]);

    let told = &started(&out, scene.link)[0];
    let expected = "cpus:0.5; disk(reservations: [(DYNAMIC,web,ops)])[v:elsewhere:ro]:60";
    assert_eq!(told, &("reads".to_owned(), expected.to_owned()));
    let words = statuses(&out, scene.client.link).remove(0).message;
    assert!(words.is_some_and(|words| words.starts_with("task late asks for more")));
    assert_eq!(
        scene.total().part(&data),
        Some(&disk(60)),
        "it is as it was made"
    );

    // A master that has forgotten the task hears of it in the agent's words.
    let client = scene.client.clone();
    let mut world = scene.world.restarted(Settings::new("n", 2));
    let mut registration = registration_of(&mut world, whole().plus(&disk(1_000)));
    registration.id = Some(agent.clone());
    let link = registration.link;
    let mut task = brought(&client, &agent, "reads", TaskState::Running);
    task.brief.resources = needs;
    registration.tasks = vec![task];
    world.step(Input::RegisterAgent(Box::new(registration)));
    let mut info = operator_info(&["web"]);
    info.id = Some(client.id.clone());
    let (client_link, out) = world.subscribe(info);
    let client = Client::of(client_link, &out);
    let has = |out: &[Arc<Offer>]| {
        out.iter()
            .any(|offer| offer.resources.part(&data).is_some())
    };
    assert!(!has(&client.offers), "it is in use");

    world.decline(&client, &client.offers[0], NO_FILTER);
    let out = world.report((&agent, link), &client, "reads", TaskState::Finished, 1);

    assert!(has(&offers_of(&out, &client)), "as it was made: {out:?}");
}

#[test]
fn operations_are_undone_by_their_opposites() {
    let mut scene = Scene::new();
    let before = scene.total();
    let data = volume(dynamic("web"), "v", false);

    scene.operate(vec![
        reshape(OperationKind::Reserve, part(dynamic("web"), disk(100))),
        reshape(OperationKind::Create, part(data.clone(), disk(100))),
    ]);
    assert_ne!(scene.total(), before);
    let out = scene.operate(vec![
        reshape(OperationKind::Destroy, part(data, disk(100))),
        reshape(OperationKind::Unreserve, part(dynamic("web"), disk(100))),
    ]);

    assert_eq!(errors(&out, &scene.client), [""; 0]);
    assert_eq!(scene.total(), before);
}

type Impossible = (OperationKind, Resources, &'static str);

/// Each is refused in these words and changes nothing, on disk that the agent keeps for `web` with a volume `old` on it.
fn assert_impossible(cases: impl IntoIterator<Item = Impossible>) {
    let kept = Tag::reserved(role("web"));
    let old = volume(kept.clone(), "old", false);
    let all = whole().plus(&disk(1_000)).with_part(kept, disk(510));
    for (kind, asked, why) in cases {
        let mut scene = Scene::with(all.clone(), operator_info(&["web"]));
        let create = reshape(OperationKind::Create, part(old.clone(), disk(10)));
        scene.operate(vec![create]);
        let before = scene.total();

        let out = scene.operate(vec![reshape(kind, asked.clone())]);

        let errors = errors(&out, &scene.client);
        assert_eq!(errors.len(), 1, "{kind:?} {asked}");
        assert!(errors[0].contains(why), "{}", errors[0]);
        assert_eq!(scene.total(), before);
        let again = &scene.client.offers[0].resources;
        assert_eq!(*again, before, "all is offered again");
        assert_eq!(scene.world.cluster.view().counters.operations_dropped, 1);
    }
}

#[test]
fn a_reservation_that_cannot_be_names_why_and_changes_nothing() {
    use OperationKind::{Reserve, Unreserve};
    let kept = Tag::reserved(role("web"));
    let mut foreign = dynamic("web");
    foreign.reservations[0].principal = Some("eve".to_owned());
    let revocable = Tag {
        revocable: true,
        ..dynamic("web")
    };
    let web = || dynamic("web");
    let of_prod = "reservation for role prod by a framework that was offered them in role web";
    let not_there = "disk(reservations: [(DYNAMIC,web,ops)]) 5 asked, 0 there";
    let old = volume(web(), "old", false);

    assert_impossible([
        (Reserve, Resources::none(), "it names no resources"),
        (Reserve, cpus(1_000), "cpus:1 has no reservation"),
        (Reserve, part(dynamic("prod"), cpus(1_000)), of_prod),
        (
            Reserve,
            part(foreign, cpus(1_000)),
            "principal \"eve\" is not that of the framework",
        ),
        (
            Reserve,
            part(revocable, cpus(1_000)),
            "revocable resources cannot be reserved",
        ),
        (Reserve, part(kept.clone(), disk(5)), "role web is static"),
        (Reserve, part(web(), cpus(9_000)), "cpus 9 asked, 4 there"),
        (
            Reserve,
            part(web(), gpus(500)),
            "GPUs are reserved whole, not",
        ),
        (Unreserve, part(kept, disk(5)), "role web is static"),
        (Unreserve, part(web(), disk(5)), not_there),
        (Unreserve, part(old, disk(10)), "volume old is on them"),
    ]);
}

#[test]
fn a_volume_that_cannot_be_names_why_and_changes_nothing() {
    use OperationKind::{Create, Destroy};
    let kept = Tag::reserved(role("web"));
    let on_kept = |id: &str, shared| volume(kept.clone(), id, shared);
    let mut read_only = on_kept("v", false);
    read_only.volume.as_mut().expect("there").read_only = true;
    let exists = "volume old for role web exists on this agent";

    assert_impossible([
        (Create, disk(5), "disk:5 is no volume"),
        (Create, part(kept.clone(), disk(5)), "disk:5 is no volume"),
        (
            Create,
            part(read_only, disk(5)),
            "volume v is created to be read only",
        ),
        (Create, part(on_kept("old", true), disk(5)), exists),
        (
            Create,
            part(on_kept("v", false), disk(501)),
            "501 asked, 500 there",
        ),
        (
            Destroy,
            part(on_kept("new", false), disk(10)),
            "10 asked, 0 there",
        ),
        (
            Destroy,
            part(on_kept("old", false), disk(5)),
            "only goes whole",
        ),
    ]);
}

#[test]
fn a_volume_grows_by_disk_of_its_kind_and_gives_it_back() {
    let mut scene = Scene::new();
    let before = scene.total();
    let (kept, data) = (dynamic("web"), volume(dynamic("web"), "v", false));
    let by_milli = 30 * MB_MILLI;

    let out = scene.operate(vec![
        reshape(OperationKind::Reserve, part(kept.clone(), disk(100))),
        reshape(OperationKind::Create, part(data.clone(), disk(60))),
        reshape(
            OperationKind::Grow,
            part(data.clone(), disk(60)).with_part(kept.clone(), disk(40)),
        ),
    ]);
    assert_eq!(errors(&out, &scene.client), [""; 0]);
    assert_eq!(scene.total().part(&data), Some(&disk(100)));
    assert_eq!(scene.total().part(&kept), None);
    let out = scene.operate(vec![
        reshape(
            OperationKind::Shrink { by_milli },
            part(data.clone(), disk(100)),
        ),
        reshape(OperationKind::Unreserve, part(kept.clone(), disk(30))),
    ]);

    assert_eq!(errors(&out, &scene.client), [""; 0]);
    assert_eq!(scene.total().part(&data), Some(&disk(70)));
    assert_eq!(scene.total().part(&kept), None);
    assert_eq!(scene.total().flat(), before.flat());
    let is_stored = |record: &Record| matches!(record, Record::Agent(agent) if agent.made.part(&data) == Some(&disk(70)));
    assert!(out.store.iter().any(is_stored), "{:?}", out.store);
}

#[test]
fn a_size_that_cannot_be_names_why_and_changes_nothing() {
    use OperationKind::{Grow, Shrink};
    let kept = Tag::reserved(role("web"));
    let old = part(volume(kept.clone(), "old", false), disk(10));
    let new = part(volume(kept.clone(), "new", false), disk(10));
    let shared = part(volume(kept.clone(), "old", true), disk(10));
    let by = |megabytes| Shrink {
        by_milli: megabytes * MB_MILLI,
    };
    let grown_by = |volume: &Resources, more: Resources| volume.plus(&part(kept.clone(), more));

    assert_impossible([
        (Grow, part(kept.clone(), disk(5)), "is no volume"),
        (Grow, old.clone(), "volume old cannot grow by"),
        (Grow, old.plus(&disk(5)), "volume old cannot grow by"),
        (Grow, grown_by(&old, cpus(5)), "volume old cannot grow by"),
        (
            Grow,
            old.plus(&part(dynamic("web"), disk(5))),
            "volume old cannot grow by",
        ),
        (Grow, old.plus(&new), "several volumes"),
        (Grow, grown_by(&shared, disk(5)), "volume old is shared"),
        (Grow, grown_by(&old, disk(501)), "501 asked, 500 there"),
        (Grow, grown_by(&new, disk(5)), "10 asked, 0 there"),
        (by(5), part(kept.clone(), disk(5)), "is no volume"),
        (by(5), grown_by(&old, disk(5)), "is no volume"),
        (by(0), old.clone(), "cannot shrink by"),
        (by(10), old.clone(), "cannot shrink by"),
        (by(11), old, "cannot shrink by"),
        (by(5), shared, "volume old is shared"),
        (by(5), new, "10 asked, 0 there"),
        (
            by(2),
            part(volume(kept.clone(), "old", false), disk(5)),
            "only goes whole",
        ),
    ]);
}

#[test]
fn a_named_operation_is_answered() {
    let mut scene = Scene::new();
    let named = |id: &str, asked| Operation::Reshape {
        id: id.parse().ok(),
        kind: OperationKind::Reserve,
        resources: asked,
        account: None,
    };
    let reserved = part(dynamic("web"), cpus(1_000));
    let used_up = scene.client.offers.clone();
    let mut foreign = named("nobody-s", reserved.clone());
    if let Operation::Reshape { account, .. } = &mut foreign {
        *account = Role::new("nobody").ok();
    }

    let out = scene.operate(vec![
        foreign,
        named("one", reserved.clone()),
        named("two", part(dynamic("web"), cpus(9_000))),
    ]);

    let agent = Some(scene.agent.clone());
    let heard: Vec<_> = events(&out, scene.client.link);
    let done = OperationOutcome::Finished {
        made: reserved.clone(),
        uuid: UpdateId(
            [&1_u64.to_be_bytes()[..], &[0; 8]]
                .concat()
                .try_into()
                .expect("16"),
        ),
    };
    let failed = "it is not there: cpus 9 asked, 3 there".to_owned();
    let not_its = "it names resources handed out to nobody, the offers are in web".to_owned();
    for (id, outcome) in [
        ("nobody-s", OperationOutcome::Error(not_its)),
        ("one", done),
        ("two", OperationOutcome::Error(failed)),
    ] {
        let event = Event::Operation {
            id: id.parse().expect("good"),
            agent: agent.clone(),
            outcome,
        };
        assert!(heard.contains(&event), "{heard:?}");
    }
    scene.client.offers = used_up;
    let out = scene.operate(vec![named("three", reserved)]);
    let Event::Operation { id, outcome, .. } = &events(&out, scene.client.link)[0] else {
        panic!("{out:?}");
    };
    assert_eq!(id.as_str(), "three");
    assert!(matches!(outcome, OperationOutcome::Error(why) if why.contains("not valid any more")));
}

#[test]
fn an_operator_reserves_what_is_on_offer_and_everybody_hears_of_it() {
    let mut scene = Scene::new();
    let (offer, link) = (scene.client.offers[0].id.clone(), scene.client.link);
    let reserve = |agent: &AgentId, asked: Resources| {
        Input::ReshapeAgent(Box::new(AgentOperation {
            agent: agent.clone(),
            kind: OperationKind::Reserve,
            resources: asked,
        }))
    };
    let kept = part(dynamic("db"), disk(400));
    let order = reserve(&scene.agent, kept.clone());

    let out = scene.world.step(order);

    assert_eq!(out.reply, Some(Reply::Done));
    assert!(events(&out, link).contains(&Event::Rescind(offer)));
    assert_eq!(
        offers_of(&out, &scene.client)
            .iter()
            .map(|offer| offer.resources.disk_milli)
            .sum::<u64>(),
        600 * MB_MILLI
    );
    assert!(scene.total().contains(&kept));
    let stored = out.store.iter();
    assert_eq!(
        stored
            .filter(|record| matches!(record, Record::Agent(agent) if agent.id == scene.agent))
            .count(),
        1
    );
    let before = scene.total();

    let too_much = reserve(&scene.agent, part(dynamic("db"), disk(601)));
    let out = scene.world.step(too_much);

    let Some(Reply::Failed(error)) = &out.reply else {
        panic!("done: {out:?}");
    };
    assert_eq!(
        error.to_string(),
        "it is not there: disk 601 asked, 600 there"
    );
    assert_eq!((scene.total(), out.store.len()), (before, 0));
    let elsewhere = AgentId::new("nobody").expect("an id");
    let out = scene
        .world
        .step(reserve(&elsewhere, part(dynamic("db"), disk(1))));
    let unknown = OperatorError::UnknownAgent(elsewhere);
    assert_eq!(out.reply, Some(Reply::Failed(unknown)));
}

#[test]
fn an_operator_makes_volumes_and_destroys_them() {
    let mut scene = Scene::new();
    let kept = dynamic("db");
    let data = part(volume(kept.clone(), "v", false), disk(100));
    let order = |kind, resources| {
        Input::ReshapeAgent(Box::new(AgentOperation {
            agent: scene.agent.clone(),
            kind,
            resources,
        }))
    };
    let orders = [
        order(OperationKind::Reserve, part(kept.clone(), disk(100))),
        order(OperationKind::Create, data.clone()),
        order(OperationKind::Destroy, data.clone()),
        order(OperationKind::Unreserve, part(kept, disk(100))),
    ];
    let before = scene.total();

    for (at, order) in orders.into_iter().enumerate() {
        let out = scene.world.step(order);

        assert_eq!(out.reply, Some(Reply::Done), "order {at}");
        assert_eq!(scene.total().contains(&data), at == 1, "order {at}");
        let erasing = messages(&out, scene.link);
        let is_erasing = |told: &MessageToAgent| matches!(told, MessageToAgent::EraseVolumes(_));
        assert_eq!(erasing.iter().any(is_erasing), at == 2, "order {at}");
    }
    assert_eq!(scene.total(), before);
}

#[test]
fn a_shared_volume_serves_several_tasks_and_is_not_destroyed_below_them() {
    let mut scene = Scene::new();
    let agent = scene.agent.clone();
    let data = volume(dynamic("web"), "v", true);
    let held = part(data.clone(), disk(100));

    let out = scene.operate(vec![
        reshape(OperationKind::Reserve, part(dynamic("web"), disk(100))),
        reshape(OperationKind::Create, held.clone()),
        launch("one", &agent, cpus(100).plus(&held)),
        launch("two", &agent, cpus(100).plus(&held)),
    ]);
    assert_eq!(started(&out, scene.link).len(), 2, "{out:?}");
    let out = scene.operate(vec![reshape(OperationKind::Destroy, held.clone())]);
    assert!(errors(&out, &scene.client)[0].contains("volume v is in use by a task"));

    let (link, client) = (scene.link, scene.client.clone());
    for (uuid, id) in [(1, "one"), (2, "two")] {
        scene
            .world
            .report((&agent, link), &client, id, TaskState::Finished, uuid);
    }
    let mut offered = client.offers.clone();
    let view = scene.world.cluster.view();
    offered.extend(view.offers.values().map(|open| Arc::clone(&open.offer)));
    offered.sort_by_key(|offer| offer.id.clone());
    offered.dedup_by_key(|offer| offer.id.clone());
    scene.client.offers = offered;
    let out = scene.operate(vec![reshape(OperationKind::Destroy, held)]);

    assert_eq!(errors(&out, &scene.client), [""; 0]);
    assert_eq!(scene.total().part(&dynamic("web")), Some(&disk(100)));
    assert_eq!(scene.client.offers.len(), 1);
    assert_eq!(scene.client.offers[0].resources, scene.total());
}

#[test]
fn reservations_and_volumes_survive_the_master_and_the_agents_return() {
    let mut scene = Scene::new();
    let data = volume(dynamic("web"), "v", false);
    scene.operate(vec![
        reshape(
            OperationKind::Reserve,
            part(dynamic("web"), disk(100).plus(&cpus(1_000))),
        ),
        reshape(OperationKind::Create, part(data.clone(), disk(60))),
    ]);
    let (made, agent) = (scene.total(), scene.agent.clone());

    let returned = {
        let mut world = scene.world;
        comes_back(&mut world, &agent, whole().plus(&disk(1_000)));
        assert_eq!(total(&world, &agent), made);
        world
    };
    let mut world = returned.restarted(Settings::new("n", 2));
    assert_eq!(total(&world, &agent).flat().disk_milli, 1_000 * MB_MILLI);
    comes_back(&mut world, &agent, whole().plus(&disk(1_000)));

    assert_eq!(total(&world, &agent), made);
}

#[test]
fn an_agent_that_lacks_what_is_reserved_on_it_is_refused_until_it_has_it_again() {
    let mut scene = Scene::new();
    scene.operate(vec![
        reshape(OperationKind::Reserve, part(dynamic("web"), disk(900))),
        reshape(OperationKind::Reserve, part(labelled("web"), cpus(1_000))),
    ]);
    let agent = scene.agent.clone();
    let mut world = scene.world.restarted(Settings::new("n", 2));
    let made = total(&world, &agent);

    let mut shrunk = registration_of(&mut world, whole().plus(&disk(200)));
    shrunk.id = Some(agent.clone());
    let link = shrunk.link;
    let out = world.step(Input::RegisterAgent(Box::new(shrunk)));

    let [MessageToAgent::Refused { reason, permanent }] = &messages(&out, link)[..] else {
        panic!("refused, and nothing else: {out:?}");
    };
    assert!(permanent);
    assert!(
        reason.contains("disk 900 asked, 200 there") && reason.contains(agent.as_str()),
        "{reason}"
    );
    assert_eq!(out.store, []);
    assert_eq!(total(&world, &agent), made, "it is as it was");
    let out = comes_back(&mut world, &agent, whole().plus(&disk(1_000)));
    assert_eq!(out.reply, Some(Reply::Registered(agent.clone())));
    assert_eq!(
        total(&world, &agent).part(&dynamic("web")),
        Some(&disk(900))
    );
}

#[test]
fn what_an_agent_has_grown_by_is_offered_beside_what_was_made_of_it() {
    let mut scene = Scene::new();
    let made = part(dynamic("web"), disk(900));
    scene.operate(vec![reshape(OperationKind::Reserve, made.clone())]);
    let agent = scene.agent.clone();

    let grown = whole().plus(&whole()).plus(&disk(1_500));
    let out = comes_back(&mut scene.world, &agent, grown);

    assert_eq!(out.reply, Some(Reply::Registered(agent.clone())));
    let total = total(&scene.world, &agent);
    assert_eq!(total.cpus_milli, 2 * whole().cpus_milli);
    assert_eq!(total.disk_milli, 600 * MB_MILLI);
    assert_eq!(total.part(&dynamic("web")), Some(&disk(900)));
    let view = scene.world.cluster.view();
    let offered: u64 = view
        .offers
        .values()
        .map(|offer| offer.resources.cpus_milli)
        .sum();
    assert_eq!(offered, 2 * whole().cpus_milli, "in offers that are new");
}

/// Another reservation for the role: its label tells it apart.
fn labelled(name: &str) -> Tag {
    let mut tag = dynamic(name);
    tag.reservations[0].labels = vec![("kind".to_owned(), None)];
    tag
}

#[test]
fn a_task_is_started_on_named_devices() {
    let mut info = framework_info();
    info.capabilities
        .extend([Capability::GpuResources, Capability::GpuFractions]);
    let mut scene = Scene::with(whole().plus(&gpus(3_000)), info);
    let agent = scene.agent.clone();
    let with_gpus = |id: &str, milli| launch(id, &agent, gpus(milli));
    let half = |index| Device { index, milli: 500 };
    let halves = Devices::new(vec![half(0), half(2)]).expect("sound");

    let out = scene.operate(vec![
        with_gpus("half", 500),
        with_gpus("whole", 1_000),
        with_gpus("third", 300),
        with_gpus("odd", 1_500),
        with_gpus("two", 2_000),
        launch(
            "halves",
            &agent,
            cpus(100).with_named_devices(halves.clone()),
        ),
    ]);

    let started: Vec<_> = started(&out, scene.link)
        .into_iter()
        .map(|(id, what)| (id, what.rsplit_once("gpus:").expect("gpus").1.to_owned()))
        .collect();
    let expected = [
        ("half", "0.5[0:0.5]"),
        ("whole", "1[1]"),
        ("third", "0.3[0:0.3]"),
    ];
    assert_eq!(
        started,
        expected.map(|(id, what)| (id.to_owned(), what.to_owned()))
    );
    let words: Vec<_> = statuses(&out, scene.client.link)
        .into_iter()
        .filter_map(|status| status.message)
        .collect();
    assert_eq!(
        words,
        [
            "task odd asks for 1.5 GPUs: it is a whole number, or less than one",
            "task two asks for more than the offers hold: gpus 2 asked, 1.2 there",
            "task halves asks for 1 GPUs: devices are named whole, or a part of one"
        ]
    );
    let rest = &scene.client.offers[0].resources;
    assert_eq!(rest.devices().to_string(), "[0:0.2,2]");
}

#[test]
fn parts_of_gpus_are_for_frameworks_that_know_of_them() {
    let mut info = framework_info();
    info.capabilities.insert(Capability::GpuResources);
    let mut scene = Scene::with(whole().plus(&gpus(1_000)), info);
    let agent = scene.agent.clone();

    let out = scene.operate(vec![launch("half", &agent, gpus(500))]);

    let words = statuses(&out, scene.client.link).remove(0).message;
    assert_eq!(
        words.as_deref(),
        Some(
            "task half asks for 0.5 GPUs: they come whole to frameworks without the capability GPU_FRACTIONS"
        )
    );
}

#[test]
fn a_task_keeps_its_device_when_its_agent_comes_back() {
    let mut info = framework_info();
    info.capabilities
        .extend([Capability::GpuResources, Capability::GpuFractions]);
    let mut scene = Scene::with(whole().plus(&gpus(2_000)), info);
    let agent = scene.agent.clone();
    let out = scene.operate(vec![
        launch("one", &agent, gpus(1_000)),
        launch("two", &agent, gpus(1_000)),
    ]);
    let second = messages(&out, scene.link).into_iter().find_map(|message| {
        let MessageToAgent::RunTask { task, .. } = message else {
            return None;
        };
        (task.id.as_str() == "two").then_some(task)
    });
    let second = second.expect("started");

    let mut registration = registration_of(&mut scene.world, whole().plus(&gpus(2_000)));
    registration.id = Some(agent.clone());
    let mut task = brought(&scene.client, &agent, "two", TaskState::Running);
    task.brief.resources = second.resources.clone();
    registration.tasks = vec![task];
    let out = scene
        .world
        .step(Input::RegisterAgent(Box::new(registration)));

    let offered = offers_of(&out, &scene.client);
    assert_eq!(offered[0].resources.devices().to_string(), "[0]");
}

/// The volumes that an agent is told to erase.
fn to_erase(out: &Out, link: LinkId) -> Vec<String> {
    let told = messages(out, link).into_iter();
    let told = told.filter_map(|message| {
        let MessageToAgent::EraseVolumes(volumes) = message else {
            return None;
        };
        Some(volumes)
    });
    told.flatten().map(|name| name.to_string()).collect()
}

/// The scene after a volume `v` of `web` was made and destroyed.
fn destroyed() -> (Scene, Tag, Out) {
    let mut scene = Scene::new();
    let data = volume(dynamic("web"), "v", false);
    scene.operate(vec![
        reshape(OperationKind::Reserve, part(dynamic("web"), disk(100))),
        reshape(OperationKind::Create, part(data.clone(), disk(100))),
    ]);
    let out = scene.operate(vec![reshape(
        OperationKind::Destroy,
        part(data.clone(), disk(100)),
    )]);
    (scene, data, out)
}

fn answer(scene: &mut Scene, link: LinkId, failure: Option<&str>) -> Out {
    scene.world.step(Input::VolumeErased {
        agent: scene.agent.clone(),
        link,
        volume: VolumeName::new(role("web"), "v").expect("good"),
        failure: failure.map(str::to_owned),
    })
}

#[test]
fn a_destroyed_volume_is_not_made_again_until_its_agent_has_erased_it() {
    let (mut scene, data, out) = destroyed();
    let create = || reshape(OperationKind::Create, part(data.clone(), disk(100)));

    assert_eq!(to_erase(&out, scene.link), ["web: v"]);
    let name = VolumeName::new(role("web"), "v").expect("good");
    let record = Record::Erasing(scene.agent.clone(), [name].into());
    assert!(out.store.contains(&record), "{:?}", out.store);
    let early = scene.operate(vec![create()]);
    let words = &errors(&early, &scene.client)[0];
    assert!(
        words.contains("a volume web: v was destroyed on this agent and is not erased yet"),
        "{words}"
    );

    let link = scene.link;
    let failed = answer(&mut scene, link, Some("busy"));
    let erased = answer(&mut scene, link, None);

    assert_eq!(failed.store, []);
    let record = Record::Erasing(scene.agent.clone(), [].into());
    assert_eq!(erased.store, [record]);
    let made = scene.operate(vec![create()]);
    assert_eq!(errors(&made, &scene.client), [""; 0]);
}

#[test]
fn an_agent_hears_of_what_it_is_to_erase_until_it_has_answered() {
    let (mut scene, ..) = destroyed();
    let agent = scene.agent.clone();
    let all = whole().plus(&disk(1_000));
    let again = |scene: &mut Scene| {
        let mut registration = registration_of(&mut scene.world, all.clone());
        registration.id = Some(agent.clone());
        let link = registration.link;
        let out = scene
            .world
            .step(Input::RegisterAgent(Box::new(registration)));
        (link, to_erase(&out, link))
    };

    let (link, first) = again(&mut scene);
    let old = scene.link;
    answer(&mut scene, old, None);
    let (link, second) = {
        assert_ne!(link, old);
        again(&mut scene)
    };
    answer(&mut scene, link, None);
    let (_, third) = again(&mut scene);

    assert_eq!(first, ["web: v"]);
    assert_eq!(
        second,
        ["web: v"],
        "the answer came on a stream that is over"
    );
    assert_eq!(third, [""; 0]);
}

/// How the agent at the end of a stream is told that it stands.
fn standings(out: &Out, on: LinkId) -> Vec<MessageToAgent> {
    let all = messages(out, on).into_iter();
    all.filter(|message| matches!(message, MessageToAgent::Standing { .. }))
        .collect()
}

#[test]
fn an_agent_hears_once_a_step_what_was_made_of_it_and_again_when_it_is_back() {
    let mut scene = Scene::new();

    let out = scene.operate(vec![
        reshape(OperationKind::Reserve, part(dynamic("web"), disk(60))),
        reshape(
            OperationKind::Create,
            part(volume(dynamic("web"), "v", false), disk(60)),
        ),
    ]);

    let standing = MessageToAgent::Standing {
        resources: scene.total(),
        drain: None,
    };
    let told = [standing];
    assert_eq!(standings(&out, scene.link), told);
    let agent = scene.agent.clone();
    let mut registration = registration_of(&mut scene.world, whole().plus(&disk(1_000)));
    registration.id = Some(agent);
    let link = registration.link;
    let out = scene
        .world
        .step(Input::RegisterAgent(Box::new(registration)));
    assert_eq!(standings(&out, link), told);
}

#[test]
fn an_agent_of_which_nothing_was_made_hears_nothing() {
    let mut world = World::new();
    let registration = registration_of(&mut world, whole());
    let link = registration.link;

    let out = world.step(Input::RegisterAgent(Box::new(registration)));

    assert_eq!(standings(&out, link), []);
}
