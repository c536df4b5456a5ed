//! Who can ask why there are no offers. What is answered is tested with the master itself (master/tests/api/explain.rs).

use mete_framework_sdk::explain::{AskError, ExplainError};
use mete_framework_sdk::testkit::Master;
use mete_framework_sdk::{Connection, Framework, FrameworkId, FrameworkSpec};

use crate::{until_disconnected, until_subscribed};

/// An address where nobody listens.
fn nobody() -> Connection {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("bound");
    Connection::to(&format!("http://{address}")).expect("an address")
}

#[tokio::test]
async fn a_framework_that_was_never_let_in_has_no_id_to_ask_about() {
    let mut framework = Framework::connect(nobody(), FrameworkSpec::new("tested"));
    until_disconnected(&mut framework).await;

    let why = framework.client().explain().await;

    assert!(matches!(why, Err(ExplainError::NoId)), "{why:?}");
}

#[tokio::test]
async fn a_framework_that_has_lived_before_asks_whoever_answers() {
    let id = FrameworkId::new("f-1").expect("an id");
    let framework = Framework::connect(nobody(), FrameworkSpec::new("tested").id(&id));

    let why = framework.client().explain().await;

    assert!(
        matches!(why, Err(ExplainError::Ask(AskError::NoMaster))),
        "{why:?}"
    );
}

#[tokio::test]
async fn the_master_in_memory_does_not_know_why() {
    let master = Master::start().await.expect("a free port");
    let (framework, _) = until_subscribed(&master, FrameworkSpec::new("tested")).await;

    let why = framework.client().explain().await;

    assert!(
        matches!(why, Err(ExplainError::Ask(AskError::Refused(_)))),
        "{why:?}"
    );
}
