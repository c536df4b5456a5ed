//! Frameworks that say what waits: they are served as those that do not, and better.

use mete_model::{Offer, Resources, Role, TaskState};

use super::Stage;
use super::watcher::{NO_FILTER, Watcher, task};
use crate::demand::Shape;
use crate::matching::{self, WaitingTask};
use crate::{Event, FrameworkSpec};

fn shape(cpus_milli: u64, count: u32) -> Shape {
    Shape {
        count,
        ..Shape::new(Resources::cpus_mem(cpus_milli, 64))
    }
}

/// A framework that says what waits before it gets any offer.
async fn demanding(address: &str, shapes: &[Shape]) -> Watcher {
    let mut watcher = Watcher::connect(address, FrameworkSpec::new("scenario").suppressed());
    watcher.until("SUBSCRIBED", |_| true).await;
    watcher.client.demand(shapes.to_vec());
    watcher.client.revive().expect("connected");
    watcher
}

/// However offers are cut: all that was demanded runs in the end.
pub async fn all_that_is_demanded_runs(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(2_000, 512)).await;
    stage.add_agent(Resources::cpus_mem(1_000, 256)).await;
    let mut waiting: Vec<WaitingTask> = ["t-1", "t-2", "t-3"]
        .map(|name| WaitingTask::new(task(name, 1_000)))
        .into();
    let mut watcher = demanding(&stage.master_address(), &[]).await;
    let client = watcher.client.clone();
    client.demand_for(&waiting);

    let mut running = 0;
    while running < 3 {
        let wanted = |event: &Event| matches!(event, Event::Offers(_) | Event::Update(_));
        let event = watcher.until("offers or news", wanted).await;
        if let Event::Offers(offers) = event {
            waiting = matching::plan(waiting, &offers).carry_out(&client, NO_FILTER);
            if waiting.is_empty() {
                client.suppress().expect("connected");
            }
        } else if let Event::Update(status) = event
            && status.state == TaskState::Running
        {
            running += 1;
        }
    }

    assert!(waiting.is_empty());
}

/// The whole statement is turned down, and nothing else happens.
pub async fn a_demand_in_a_role_of_others_is_an_error(stage: impl Stage) {
    let spec = FrameworkSpec::new("scenario");
    let mut watcher = Watcher::connect(&stage.master_address(), spec);
    watcher.until("SUBSCRIBED", |_| true).await;

    watcher.client.demand([Shape {
        role: Some(Role::new("others").expect("a role")),
        ..shape(1_000, 1)
    }]);
    let is_error = |event: &Event| matches!(event, Event::Error(_));
    watcher.until("an error", is_error).await;
    watcher.barrier().await;

    let expected = [
        "subscribed",
        "error DEMAND names role others, which is not one of the framework's roles",
    ];
    assert_eq!(watcher.seen(), expected);
}

/// Who says that nothing waits is offered nothing.
pub async fn a_framework_that_waits_for_nothing_is_offered_nothing(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let mut watcher = demanding(&stage.master_address(), &[shape(1_000, 1)]).await;
    let client = watcher.client.clone();
    let offers = watcher.offers().await;
    client.demand([]);
    watcher.barrier().await;

    let given = offers.iter().map(|offer| &offer.id);
    client.decline(given, NO_FILTER).expect("connected");
    watcher.barrier().await;
    watcher.seen();
    client.revive().expect("connected");
    watcher.barrier().await;

    assert!(watcher.seen().is_empty());
}

/// An offer holds what was demanded, and no more.
pub async fn an_offer_is_as_large_as_what_is_demanded(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;

    let mut watcher = demanding(&stage.master_address(), &[shape(1_000, 2)]).await;
    watcher.offers().await;
    watcher.barrier().await;

    let expected = ["subscribed", "offer agent-1 cpus:2; mem:128"];
    assert_eq!(watcher.seen(), expected);
}

/// Nobody holds what another waits for.
pub async fn frameworks_with_demand_share_an_agent(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let address = stage.master_address();

    let mut one = demanding(&address, &[shape(1_000, 1)]).await;
    let first = one.offers().await;
    let mut other = demanding(&address, &[shape(2_000, 1)]).await;
    let second = other.offers().await;

    let held = |offers: &[Offer]| offers[0].resources.cpus_milli;
    assert_eq!((held(&first), held(&second)), (1_000, 2_000));
    assert_eq!(first[0].agent, second[0].agent);
}

/// A framework takes another role while it is connected, and is offered what waits in it.
pub async fn what_waits_in_a_role_that_was_taken_later_is_offered_in_it(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario").suppressed();
    let mut watcher = Watcher::connect(&stage.master_address(), spec);
    watcher.until("SUBSCRIBED", |_| true).await;
    let (everybody, dev) = (Role::any(), Role::new("dev").expect("a role"));

    let client = watcher.client.clone();
    client.set_roles([&everybody, &dev]).expect("connected");
    client.demand([Shape {
        role: Some(dev.clone()),
        ..shape(1_000, 1)
    }]);
    client.revive().expect("connected");
    let offers = watcher.offers().await;

    assert_eq!(offers[0].role, dev);
}
