//! Operations with names, as a framework built on the SDK hears how they went.

use std::time::Duration;

use mete_framework_sdk::{
    Capability, Connection, Event, Filters, Framework, FrameworkSpec, Offer, Operation,
    OperationId, OperationState, OperationStatus, Role, reserved,
};
use mete_model::{MB_MILLI, Reservation, ReservationKind, Resources, Tag, Volume};
use tempfile::tempdir;

use crate::peers::{Agent, Master, PATIENCE};

async fn next(framework: &mut Framework) -> Event {
    let next = tokio::time::timeout(PATIENCE, framework.next()).await;
    next.expect("in time").expect("no end")
}

async fn offer(framework: &mut Framework) -> Offer {
    loop {
        if let Event::Offers(mut offers) = next(framework).await {
            return offers.remove(0);
        }
    }
}

async fn news(framework: &mut Framework) -> OperationStatus {
    loop {
        if let Event::Operation(status) = next(framework).await {
            return status;
        }
    }
}

fn role() -> Role {
    Role::new("db").expect("a role")
}

fn named(id: &str) -> OperationId {
    OperationId::new(id).expect("an id")
}

/// Disk that is reserved, with a volume on it or without.
fn disk(megabytes: u64, is_volume: bool) -> Resources {
    let tag = Tag {
        reservations: vec![Reservation {
            role: role(),
            kind: ReservationKind::Dynamic,
            principal: None,
            labels: Vec::new(),
        }],
        volume: is_volume.then(|| Volume {
            id: "data".to_owned(),
            container_path: "data".to_owned(),
            read_only: false,
            principal: None,
        }),
        ..Tag::default()
    };
    let mut disk = Resources::none();
    disk.disk_milli = megabytes * MB_MILLI;
    Resources::none().with_part(tag, disk)
}

/// The same, with a label that says whose it is.
fn labelled(resources: Resources) -> Resources {
    let parts = resources.parts().map(|(tag, part)| {
        let mut tag = Tag::clone(tag);
        for reservation in &mut tag.reservations {
            reservation.labels = vec![("owner".to_owned(), Some("me".to_owned()))];
        }
        (tag, part.clone())
    });
    parts.fold(Resources::none(), |sum, (tag, part)| {
        sum.with_part(tag, part)
    })
}

/// A framework that understands refined reservations.
fn refining(connection: Connection) -> Framework {
    let spec = FrameworkSpec::new("test")
        .role(role())
        .capability(Capability::ReservationRefinement);
    Framework::connect(connection, spec)
}

#[tokio::test]
async fn a_framework_hears_how_its_operations_went_and_acknowledges_them() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let agent = Agent::registered(&master).await;
    let connection = Connection::to(&master.url).expect("an address");
    let mut framework = refining(connection);
    let client = framework.client();
    let first = offer(&mut framework).await;

    let grow = Operation::Grow {
        volume: disk(16, true),
        addition: disk(16, false),
    };
    let shrink = Operation::Shrink {
        volume: disk(32, true),
        by_bytes: 8 << 20,
    };
    let orders = [
        Operation::Reserve(disk(32, false)).named(named("reserve")),
        Operation::Create(disk(16, true)).into(),
        grow.named(named("grow")),
        shrink.named(named("shrink")),
        Operation::Unreserve(disk(64, false)).named(named("too much")),
    ];
    let filters = Filters::refuse_for(Duration::ZERO);
    client
        .operate([&first], orders, filters)
        .expect("connected");

    let made = [
        ("reserve", disk(32, false)),
        ("grow", disk(32, true)),
        ("shrink", disk(24, true).plus(&disk(8, false))),
    ];
    for (id, made) in made {
        let status = news(&mut framework).await;
        assert_eq!(status.id, named(id), "{status:?}");
        assert_eq!(status.state, OperationState::Finished, "{status:?}");
        assert_eq!(status.made, made);
        assert_eq!(status.agent.expect("where").as_str(), agent.id.value);
    }
    let refused = news(&mut framework).await;
    assert_eq!(refused.id, named("too much"));
    assert_eq!(refused.state, OperationState::Error);
    assert_eq!(refused.uuid, None);
    // All are acknowledged as they were dealt with, so the master has forgotten them.
    client
        .reconcile_operations([(&named("grow"), Some(&first.agent))])
        .expect("connected");
    let forgotten = news(&mut framework).await;
    assert_eq!(forgotten.id, named("grow"));
    assert_eq!(forgotten.state, OperationState::Unknown);
}

#[tokio::test]
async fn a_framework_finds_what_is_reserved_under_its_label() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let _agent = Agent::registered(&master).await;
    let connection = Connection::to(&master.url).expect("an address");
    let mut framework = refining(connection.clone());
    let first = offer(&mut framework).await;
    let labelled = labelled(disk(32, false));
    let both = [
        Operation::Reserve(labelled.clone()).into(),
        Operation::Reserve(disk(16, false)).named(named("last")),
    ];
    framework
        .client()
        .operate([&first], both, Filters::default())
        .expect("connected");
    news(&mut framework).await;

    let under = async |value| {
        let asked = reserved::under(&connection, ("owner", value), PATIENCE);
        asked.await.expect("an answer")
    };

    assert_eq!(under("me").await, [(first.agent, labelled)]);
    assert_eq!(under("you").await, []);
}

#[tokio::test]
async fn what_is_not_acknowledged_is_told_when_it_is_asked_for() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let _agent = Agent::registered(&master).await;
    let connection = Connection::to(&master.url).expect("an address");
    let spec = FrameworkSpec::new("test")
        .role(role())
        .capability(Capability::ReservationRefinement)
        .explicit_acknowledgements();
    let mut framework = Framework::connect(connection, spec);
    let client = framework.client();
    let first = offer(&mut framework).await;
    let reserve = Operation::Reserve(disk(32, false)).named(named("reserve"));
    client
        .operate([&first], [reserve], Filters::default())
        .expect("connected");
    let done = news(&mut framework).await;

    client.reconcile_operations([]).expect("connected");
    let again = news(&mut framework).await;
    client.acknowledge_operation(&again).expect("connected");
    client
        .reconcile_operations([(&done.id, Some(&first.agent))])
        .expect("connected");
    let forgotten = news(&mut framework).await;

    assert_eq!(again, done);
    assert_eq!(forgotten.state, OperationState::Unknown);
}
