//! Offers taken, left, asked for.

use std::time::Duration;

use mete_model::Resources;

use super::Stage;
use super::watcher::{FOR_LONG, Watcher};
use crate::{Filters, FrameworkSpec};

/// SUBSCRIBED with an id, then what there is.
pub async fn a_framework_is_let_in_and_gets_offers(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;

    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;

    assert_eq!(
        watcher.seen(),
        ["subscribed", "offer agent-1 cpus:4; mem:1024"]
    );
    assert_eq!(Some(&offers[0].framework), watcher.id.as_ref());
    assert!(!offers[0].endpoint.hostname.is_empty());
}

/// What was declined is not offered until the time is over, or all filters are dropped by REVIVE.
pub async fn declined_offers_stay_away_for_the_filter_time(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let (mut watcher, offers) = Watcher::offered(&stage.master_address()).await;
    let client = watcher.client.clone();

    client
        .decline([&offers[0].id], FOR_LONG)
        .expect("connected");
    watcher.barrier().await;
    stage.add_agent(Resources::cpus_mem(2_000, 512)).await;
    watcher.offers().await;
    client.revive().expect("connected");
    let again = watcher.offers().await;
    let short = Filters::refuse_for(Duration::from_millis(50));
    client.decline([&again[0].id], short).expect("connected");
    watcher.offers().await;

    let expected = [
        "subscribed",
        "offer agent-1 cpus:4; mem:1024",
        "offer agent-2 cpus:2; mem:512",
        "offer agent-1 cpus:4; mem:1024",
        "offer agent-1 cpus:4; mem:1024",
    ];
    assert_eq!(watcher.seen(), expected);
}

/// SUPPRESS and REVIVE.
pub async fn a_suppressed_framework_gets_no_offers_until_it_revives(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let (mut watcher, _) = Watcher::offered(&stage.master_address()).await;
    let client = watcher.client.clone();

    client.suppress().expect("connected");
    watcher.barrier().await;
    stage.add_agent(Resources::cpus_mem(2_000, 512)).await;
    watcher.barrier().await;
    let suppressed = watcher.seen();
    client.revive().expect("connected");
    watcher.offers().await;

    assert_eq!(suppressed, ["subscribed", "offer agent-1 cpus:4; mem:1024"]);
    assert_eq!(watcher.seen(), ["offer agent-2 cpus:2; mem:512"]);
}

/// The roles suppressed in SUBSCRIBE.
pub async fn a_framework_may_begin_suppressed(mut stage: impl Stage) {
    stage.add_agent(Resources::cpus_mem(4_000, 1_024)).await;
    let spec = FrameworkSpec::new("scenario").suppressed();
    let mut watcher = Watcher::connect(&stage.master_address(), spec);

    watcher.until("SUBSCRIBED", |_| true).await;
    watcher.barrier().await;
    let suppressed = watcher.seen();
    watcher.client.revive().expect("connected");
    watcher.offers().await;

    assert_eq!(suppressed, ["subscribed"]);
    assert_eq!(watcher.seen(), ["offer agent-1 cpus:4; mem:1024"]);
}
