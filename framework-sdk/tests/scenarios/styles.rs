//! The same framework in other styles than `next`: as callbacks, and as a stream.

use mete_framework_sdk::testkit::Master;
use mete_framework_sdk::{
    Client, Connection, Event, Filters, Framework, FrameworkId, FrameworkSpec, MasterAddress,
    Offer, Resources, Scheduler, Task, TaskState, TaskStatus, run,
};
use tokio::time::timeout;
use tokio_stream::StreamExt as _;

use crate::{PATIENCE, until_subscribed};

/// Runs one task, kills it, and writes down its states.
#[derive(Default)]
struct Callbacks {
    subscribed: bool,
    waiting: Vec<Task>,
    states: Vec<TaskState>,
}

impl Scheduler for Callbacks {
    fn subscribed(&mut self, _: &Client, framework: &FrameworkId, master: &MasterAddress) {
        self.subscribed = framework.as_str().starts_with(&master.id);
    }

    fn offers(&mut self, client: &Client, offers: Vec<Offer>) {
        let launched = client.accept(&offers, self.waiting.pop(), Filters::default());
        launched.expect("connected");
    }

    fn update(&mut self, client: &Client, status: &TaskStatus) {
        self.states.push(status.state);
        if status.state == TaskState::Running {
            client.kill(&status.task, None, None).expect("connected");
        }
        if status.state.is_terminal() {
            client.teardown().expect("connected");
        }
    }
}

#[tokio::test]
async fn callbacks_are_called_until_the_end() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 128));
    let connection = Connection::to(&master.address()).expect("an address");
    let framework = Framework::connect(connection, FrameworkSpec::new("callbacks"));
    let task = Task::shell("t-1", "true")
        .expect("an id")
        .cpus_milli(100)
        .mem_mb(32);
    let mut callbacks = Callbacks {
        waiting: vec![task],
        ..Callbacks::default()
    };

    let ran = timeout(PATIENCE, run(framework, &mut callbacks)).await;

    ran.expect("it ends in time");
    assert!(callbacks.subscribed);
    let states = [TaskState::Starting, TaskState::Running, TaskState::Killed];
    assert_eq!(callbacks.states, states);
}

#[tokio::test]
async fn events_are_a_stream_that_acknowledges_as_well() {
    let master = Master::start().await.expect("a free port");
    master.add_agent(Resources::cpus_mem(1_000, 128));
    let (framework, _) = until_subscribed(&master, FrameworkSpec::new("stream")).await;
    let client = framework.client();
    let mut waiting = Task::shell("t-1", "true").ok();

    let states = framework.filter_map(|event| match event {
        Event::Offers(offers) => {
            let task = waiting.take().map(|task| task.cpus_milli(100).mem_mb(32));
            client
                .accept(&offers, task, Filters::default())
                .expect("connected");
            None
        }
        Event::Update(status) => Some(status.state),
        _ => None,
    });
    let first_two = timeout(PATIENCE, states.take(2).collect::<Vec<_>>()).await;

    let expected = [TaskState::Starting, TaskState::Running]; // The second comes when the first is acknowledged.
    assert_eq!(first_two.expect("they come in time"), expected);
}
