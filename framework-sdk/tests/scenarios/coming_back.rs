//! Connections that are lost, silent, full, refused: and what the SDK makes of it.

use std::time::Duration;

use mete_framework_sdk::demand::Shape;
use mete_framework_sdk::testkit::{Call, Master, Options, Refusal};
use mete_framework_sdk::{
    CallError, Connection, Event, Filters, Framework, FrameworkSpec, Resources, Task, TaskId,
    TaskState,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::{next, patient, until_disconnected, until_subscribed, until_update};

fn quick() -> Options {
    Options {
        heartbeat: Duration::from_millis(50),
        ..Options::default()
    }
}

fn is_subscribe(call: &Call) -> bool {
    matches!(call, Call::Subscribe { .. })
}

fn task(id: &str) -> Task {
    let task = Task::shell(id, "true").expect("an id");
    task.cpus_milli(500).mem_mb(64)
}

/// Passes on what is said to and by a master, until it is dropped; then both sides find the line dead.
async fn line_to(master: &Master) -> (Connection, tokio::task::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("an address");
    let port = master.port();
    let line = tokio::spawn(async move {
        let (mut near, _) = listener.accept().await.expect("a caller");
        let far = TcpStream::connect(("127.0.0.1", port)).await;
        let mut far = far.expect("the master listens");
        let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
    });
    let connection = Connection::to(&format!("http://{address}")).expect("an address");
    (connection, line)
}

#[tokio::test]
async fn a_connection_that_is_lost_is_told_in_words() {
    let master = Master::start().await.expect("a free port");
    let (connection, line) = line_to(&master).await;
    let mut framework = Framework::connect(connection, patient());
    let first = next(&mut framework).await;
    assert!(matches!(first, Event::Subscribed { .. }), "{first:?}");

    line.abort();

    let reason = until_disconnected(&mut framework).await;
    assert_eq!(reason, "the connection to the master was lost");
}

#[tokio::test]
async fn a_framework_finds_the_master_that_comes_back_on_the_same_port() {
    let master = Master::start().await.expect("a free port");
    let port = master.port();
    let (mut framework, id) = until_subscribed(&master, patient()).await;
    let client = framework.client();

    master.stop().await;
    until_disconnected(&mut framework).await;
    assert_eq!(client.revive(), Err(CallError::NotConnected));
    let options = Options {
        port,
        epoch: 2,
        ..Options::default()
    };
    let _master = Master::start_with(options)
        .await
        .expect("the port is free again");

    let Event::Subscribed {
        framework: again, ..
    } = next(&mut framework).await
    else {
        panic!("further failed attempts are not told");
    };
    assert_eq!(again, id);
    assert_eq!(client.revive(), Ok(()));
}

#[tokio::test]
async fn a_framework_without_any_master_is_told_once_and_goes_on_trying() {
    let port = Master::start().await.expect("a free port").port();
    let connection = Connection::to(&format!("http://127.0.0.1:{port}")).expect("an address");
    let mut framework = Framework::connect(connection, FrameworkSpec::new("tested"));

    until_disconnected(&mut framework).await;
    let options = Options {
        port,
        ..Options::default()
    };
    let _master = Master::start_with(options)
        .await
        .expect("the port is free again");

    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { .. }
    ));
}

#[tokio::test]
async fn the_next_of_several_masters_is_tried() {
    let gone = Master::start().await.expect("a free port").address();
    let master = Master::start().await.expect("a free port");
    let connection = Connection::to_any([gone.as_str(), &master.address()]).expect("addresses");

    let mut framework = Framework::connect(connection, FrameworkSpec::new("tested"));

    until_disconnected(&mut framework).await;
    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { .. }
    ));
}

#[tokio::test]
async fn a_silent_master_is_left_and_asked_again() {
    let master = Master::start_with(quick()).await.expect("a free port");
    let (mut framework, id) = until_subscribed(&master, patient()).await;

    let silent_since = Instant::now();
    master.heartbeats(false);
    let reason = until_disconnected(&mut framework).await;

    assert!(reason.contains("silent for 150ms"), "{reason}");
    assert!(
        silent_since.elapsed() >= Duration::from_millis(100),
        "three heartbeats of 50 ms"
    );
    master.heartbeats(true);
    loop {
        match next(&mut framework).await {
            Event::Subscribed { framework, .. } => break assert_eq!(framework, id),
            Event::Disconnected { .. } => {} // Let in once more before the heartbeats were back.
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_master_that_only_beats_is_not_left() {
    let options = Options {
        heartbeat: Duration::from_millis(300), // Three of them are longer than any hiccup of a busy machine.
        ..Options::default()
    };
    let master = Master::start_with(options).await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;

    let four_heartbeats = tokio::time::sleep(Duration::from_millis(1_200));
    tokio::select! {
        event = framework.next() => panic!("{event:?}"),
        () = four_heartbeats => {}
    }
}

#[tokio::test]
async fn a_link_that_takes_no_calls_is_cut() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();
    let task = TaskId::new("t".repeat(200)).expect("an id");

    master.take_calls(false);
    let mut made = 0;
    while client.reconcile([(&task, None)]).is_ok() {
        made += 1;
        assert!(made < 100_000, "no end of calls is taken");
        if made % 100 == 0 {
            tokio::task::yield_now().await; // For the network to take what it takes.
        }
    }
    let refused = client.reconcile([(&task, None)]);
    let reason = until_disconnected(&mut framework).await;
    master.take_calls(true);

    assert_eq!(refused, Err(CallError::NotConnected));
    assert_eq!(reason, "the master takes no calls");
    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { .. }
    ));
}

#[tokio::test]
async fn what_was_wished_without_a_connection_is_said_on_the_next() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();
    let shape = Shape {
        count: 7,
        ..Shape::new(Resources::cpus_mem(2_000, 64))
    };

    master.refuse(Some(Refusal::Unavailable("not yet".to_owned())));
    master.cut();
    until_disconnected(&mut framework).await;
    assert_eq!(client.suppress(), Err(CallError::NotConnected));
    client.demand([shape.clone()]);
    master.refuse(None);

    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { .. }
    ));
    let demanded = |call: &Call| matches!(call, Call::Demand(shapes) if *shapes == [shape.clone()]);
    assert!(master.heard(demanded).await.is_some());
    let suppressed = |call: &Call| match call {
        Call::Subscribe { suppressed, .. } | Call::Suppress { roles: suppressed } => {
            suppressed.len() == 1
        }
        _ => false,
    };
    let heard = master.heard(suppressed).await.expect("it is remembered");
    assert!(is_subscribe(&heard.call), "said when subscribing");
}

#[tokio::test]
async fn a_teardown_without_a_connection_is_said_first_on_the_next() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, id) = until_subscribed(&master, patient()).await;

    master.refuse(Some(Refusal::Unavailable("not yet".to_owned())));
    master.cut();
    until_disconnected(&mut framework).await;
    assert_eq!(framework.client().teardown(), Err(CallError::NotConnected));
    master.refuse(None);
    assert_eq!(framework.next().await, None, "nothing but the end");

    let calls = master.calls();
    let last = calls.last().expect("some were made");
    assert_eq!(last.framework, Some(id));
    assert_eq!(last.call, Call::Teardown);
}

#[tokio::test]
async fn closing_sends_what_was_called_before() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 128));
    let (mut framework, _) = until_subscribed(&master, patient()).await;
    let client = framework.client();
    let Event::Offers(offers) = next(&mut framework).await else {
        panic!("offers come next");
    };
    client
        .accept(&offers, [task("t-1")], Filters::default())
        .expect("connected");
    let status = until_update(&mut framework, TaskState::Running).await;
    client.kill(&status.task, None, None).expect("connected");

    framework.close().await;

    let calls = master.calls();
    let acknowledged = Call::Acknowledge {
        agent: offers[0].agent.clone(),
        task: status.task,
        uuid: status.uuid.expect("it wants one"),
    };
    assert_eq!(
        calls.last().map(|received| &received.call),
        Some(&acknowledged)
    );
    assert_eq!(master.frameworks(), []);
    assert_eq!(client.revive(), Err(CallError::NotConnected));
}

#[tokio::test]
async fn dropping_ends_the_stream() {
    let master = Master::start().await.expect("a free port");
    let (framework, _) = until_subscribed(&master, FrameworkSpec::new("tested")).await;

    drop(framework);

    let deadline = Instant::now() + Duration::from_secs(10);
    while !master.frameworks().is_empty() {
        assert!(Instant::now() < deadline, "the stream is still there");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn what_is_refused_for_good_is_not_tried_again() {
    let master = Master::start().await.expect("a free port");
    for refusal in [
        Refusal::Error("this role is not for you".to_owned()),
        Refusal::Unauthenticated("who are you".to_owned()),
    ] {
        master.refuse(Some(refusal.clone()));
        let connection = Connection::to(&master.address()).expect("an address");
        let mut framework = Framework::connect(connection, FrameworkSpec::new("tested"));

        let Event::Error(why) = next(&mut framework).await else {
            panic!("it is refused");
        };

        assert!(
            why.contains("for you") || why.contains("who are you"),
            "{refusal:?}: {why}"
        );
        assert_eq!(framework.next().await, None);
    }
}

#[tokio::test]
async fn an_error_about_a_call_is_not_the_end() {
    let master = Master::start_with(quick()).await.expect("a free port");
    let (mut framework, id) = until_subscribed(&master, patient()).await;

    master.send_error(&id, "that call made no sense");
    assert!(matches!(next(&mut framework).await, Event::Error(_)));
    tokio::time::sleep(Duration::from_millis(100)).await; // Heartbeats come between.
    master.cut();

    until_disconnected(&mut framework).await;
    assert!(matches!(
        next(&mut framework).await,
        Event::Subscribed { .. }
    ));
}

#[tokio::test]
async fn a_dismissed_framework_does_not_come_back() {
    let master = Master::start().await.expect("a free port");
    let (mut framework, id) = until_subscribed(&master, patient()).await;

    master.dismiss(&id, "Framework has been removed: torn down by an operator");

    assert!(matches!(next(&mut framework).await, Event::Error(_)));
    assert_eq!(framework.next().await, None);
    let subscribed = master
        .calls()
        .iter()
        .filter(|heard| is_subscribe(&heard.call))
        .count();
    assert_eq!(subscribed, 1);
}

#[tokio::test]
async fn the_token_opens_the_door() {
    let options = Options {
        token: Some("open sesame".to_owned()),
        ..Options::default()
    };
    let master = Master::start_with(options).await.expect("a free port");
    let connect = |token| {
        let connection = Connection::to(&master.address()).expect("an address");
        let connection = connection.with_token(token).expect("a token");
        Framework::connect(connection, FrameworkSpec::new("tested"))
    };

    let (mut wrong, mut right) = (connect("close sesame"), connect("open sesame"));

    assert!(matches!(next(&mut right).await, Event::Subscribed { .. }));
    let Event::Error(why) = next(&mut wrong).await else {
        panic!("it is refused");
    };
    assert!(!why.contains("sesame"), "{why}");
}

#[tokio::test]
async fn a_master_of_an_older_epoch_is_not_obeyed() {
    let newer = Options {
        epoch: 7,
        ..Options::default()
    };
    let newer = Master::start_with(newer).await.expect("a free port");
    let port = newer.port();
    let (mut framework, _) = until_subscribed(&newer, patient()).await;
    newer.stop().await;
    until_disconnected(&mut framework).await;
    let older = Options {
        port,
        epoch: 6,
        ..Options::default()
    };

    let older = Master::start_with(older)
        .await
        .expect("the port is free again");
    older.heard(is_subscribe).await.expect("it tries");
    older.stop().await;
    let again = Options {
        port,
        epoch: 8,
        ..Options::default()
    };
    let _newest = Master::start_with(again)
        .await
        .expect("the port is free again");

    let Event::Subscribed { .. } = next(&mut framework).await else {
        panic!("nothing is heard of the older one");
    };
}

#[tokio::test]
async fn tasks_need_an_offer() {
    let master = Master::start().await.expect("a free port");
    let (framework, _) = until_subscribed(&master, FrameworkSpec::new("tested")).await;
    let client = framework.client();

    assert_eq!(
        client.accept([], [task("t-1")], Filters::default()),
        Err(CallError::NoOffer)
    );
    assert_eq!(client.accept([], [], Filters::default()), Ok(()));
}
