//! What operators change over gRPC, and that it survives; who may.

use mete_daemon::auth::{Credentials, Token};
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1 as mete;
use mete_proto::mete::v1::master_message::Message;
use mete_proto::mete::v1::operator_client::OperatorClient;
use mete_proto::resources_text::parse_resources;
use tempfile::tempdir;
use tonic::Code;
use tonic::codec::CompressionEncoding;

use crate::peers::{Agent, Framework, Master, registration, task};

fn quota(role: &str, limit: &str) -> mete::SetQuotaRequest {
    let limit = parse_resources(limit).expect("good");
    mete::SetQuotaRequest {
        quota: mete::Quota {
            role: role.to_owned(),
            limit: mete_proto::convert::resources::to_wire(&limit),
            guarantee: Vec::new(),
        },
        force: None,
    }
}

#[tokio::test]
async fn weights_and_quotas_are_kept_over_a_restart() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut client = OperatorClient::new(master.channel().await);
    let weight = mete::SetWeightRequest {
        role: "web".to_owned(),
        weight: 2.5,
    };
    client.set_weight(weight).await.expect("set");
    client
        .set_quota(quota("web", "cpus:2;mem:100"))
        .await
        .expect("set");
    drop(client);
    master.stop().await;

    let master = Master::start(dir.path()).await;
    let mut client = OperatorClient::new(master.channel().await);
    let weights = client
        .get_weights(mete::GetWeightsRequest {})
        .await
        .expect("told");
    assert_eq!(weights.into_inner().weights.get("web"), Some(&2.5));
    let quotas = client
        .get_quotas(mete::GetQuotasRequest {})
        .await
        .expect("told");
    let quotas = quotas.into_inner().quotas;
    assert_eq!(quotas.len(), 1);
    assert_eq!(quotas[0].limit, quota("web", "cpus:2;mem:100").quota.limit);

    let _agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let cpus = offers[0].resources.iter().find(|one| one.name == "cpus");
    let cpus = cpus
        .and_then(|one| one.scalar.as_ref())
        .map(|scalar| scalar.value);
    assert!(cpus.is_some_and(|cpus| cpus <= 2.0), "{cpus:?}");
}

#[tokio::test]
async fn what_is_packed_is_unpacked() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut client =
        OperatorClient::new(master.channel().await).send_compressed(CompressionEncoding::Gzip);

    let set = client.set_quota(quota("web", "cpus:2")).await;
    set.expect("set");
    let large = quota(&"x".repeat(8 << 20), "cpus:2");
    let refused = client.set_quota(large).await.expect_err("too large");

    // Small on its way, and too large all the same.
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let quotas = client.get_quotas(mete::GetQuotasRequest {}).await;
    assert_eq!(quotas.expect("told").into_inner().quotas.len(), 1);
}

#[tokio::test]
async fn what_makes_no_sense_is_refused_in_words() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut client = OperatorClient::new(master.channel().await);
    let weight = |role: &str, weight| mete::SetWeightRequest {
        role: role.to_owned(),
        weight,
    };

    for bad in [
        weight("a b", 1.0),
        weight("a", 0.0),
        weight("a", -1.0),
        weight("a", f64::NAN),
        weight("a", f64::INFINITY),
        weight("a", 0.000_1),
        weight("a", 5e6),
    ] {
        let status = client.set_weight(bad).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    for bad in [
        quota("a/b", "cpus:1"),
        quota("*", "cpus:1"),
        quota("a", "ports:[1-2]"),
    ] {
        let status = client.set_quota(bad).await.expect_err("refused");
        assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    }
    let nobody = mete::MarkAgentGoneRequest {
        agent_id: mesos::AgentId {
            value: "nobody".to_owned(),
        },
    };
    let status = client.mark_agent_gone(nobody).await.expect_err("refused");
    assert_eq!(status.code(), Code::NotFound, "{status}");
}

#[tokio::test]
async fn an_agent_marked_gone_stays_gone() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    let offers = framework.offers().await;
    let spec = task("one", &offers[0], "cpus:1;mem:64");
    framework.accept(&[&offers[0]], vec![spec]).await;
    agent.run_task().await;

    let mut client = OperatorClient::new(master.channel().await);
    let gone = mete::MarkAgentGoneRequest {
        agent_id: agent.id.clone(),
    };
    client.mark_agent_gone(gone).await.expect("done");
    let status = framework.update().await;
    assert_eq!(status.state(), mesos::TaskState::TaskGoneByOperator);
    assert!(matches!(agent.next().await, Message::Shutdown(_)));
    drop(client);
    master.stop().await;

    let master = Master::start(dir.path()).await;
    let mut register = registration();
    register.agent_info.id = Some(agent.id.clone());
    let mut again = Agent::open(&master).await;
    again
        .say(mete::agent_message::Message::Register(Box::new(register)))
        .await;
    assert!(matches!(again.next().await, Message::Shutdown(_)));
    let Message::Refused(refused) = again.next().await else {
        panic!("refused");
    };
    assert!(refused.permanent());
}

#[tokio::test]
async fn an_operator_ends_a_framework() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let mut framework = Framework::subscribed(&master).await;
    let mut client = OperatorClient::new(master.channel().await);
    let ended = mete::TeardownFrameworkRequest {
        framework_id: framework.id.clone(),
    };

    client.teardown_framework(ended).await.expect("done");

    assert!(framework.error().await.contains("torn down by an operator"));
    assert!(matches!(framework.message().await, Ok(None)));
}

#[tokio::test]
async fn without_the_token_nothing_but_health_is_told() {
    let dir = tempdir().expect("a directory");
    let file = dir.path().join("token");
    std::fs::write(&file, "0123456789abcdef").expect("written");
    let token_file = format!("--token-file={}", file.display());
    let master = Master::with(dir.path(), &[&token_file]).await;

    assert_eq!(master.get("/health").await.status(), 200);
    assert_eq!(master.get("/state").await.status(), 401);
    let mut client = OperatorClient::new(master.channel().await);
    let status = client.get_weights(mete::GetWeightsRequest {}).await;
    assert_eq!(status.expect_err("refused").code(), Code::Unauthenticated);

    let token = Token::new("0123456789abcdef").expect("good");
    let shown = Credentials::new(Some(&token));
    let mut client = OperatorClient::with_interceptor(master.channel().await, shown);
    client
        .get_weights(mete::GetWeightsRequest {})
        .await
        .expect("let in");
}
