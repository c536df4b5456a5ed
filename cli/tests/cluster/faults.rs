//! kill -9 of everything: tasks run on, HAProxy is untouched, and all come back to what was asked for.

use std::time::Duration;

use rustix::process::Signal;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::harness::{Cluster, SHIFT, alive, eventually, signal, web};

async fn with_web(instances: u32) -> Cluster {
    let cluster = Cluster::start(&[]).await;
    cluster.ok("POST", "/v2/apps", Some(&web(instances))).await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    cluster
}

fn ids(tasks: &[Value]) -> Vec<String> {
    tasks
        .iter()
        .map(|task| task["id"].as_str().expect("id").to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_task_is_replaced_and_leaves_haproxy_first() {
    let cluster = with_web(2).await;
    let before = cluster.tasks("/web").await;
    let victim = &before[0];
    let address = format!(
        "{}:{}",
        victim["host"].as_str().expect("host"),
        victim["ports"][0]
    );

    signal(cluster.task_pid(victim).await, Signal::KILL);

    eventually("the dead one is out of HAProxy", async || {
        let servers = cluster.servers_up("web_10000");
        (!servers.contains(&address)).then_some(())
    })
    .await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
    let after = ids(&cluster.tasks("/web").await);
    assert!(
        !after.contains(&ids(&before)[0]) && after.contains(&ids(&before)[1]),
        "{before:?} {after:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tasks_and_haproxy_do_not_notice_the_death_of_agents() {
    let cluster = with_web(3).await;
    let before = cluster.tasks("/web").await;
    let mut pids = Vec::new();
    for task in &before {
        pids.push(cluster.task_pid(task).await);
    }
    let haproxy = cluster.info()["haproxy"]["pid"].clone();

    for agent in ["agent-1", "agent-2", "agent-3"] {
        cluster.kill(agent).await;
    }
    eventually("all agents are back", async || {
        let (_, state) = cluster
            .call("GET", &format!("{}/state", cluster.url("master")), None)
            .await;
        let agents = state["slaves"].as_array()?;
        (agents.len() == 3 && agents.iter().all(|agent| agent["active"] == true)).then_some(())
    })
    .await;
    cluster.healthy("/web").await;

    assert_eq!(
        ids(&cluster.tasks("/web").await),
        ids(&before),
        "adopted, not replaced"
    );
    assert!(pids.iter().all(|pid| alive(*pid)), "the same processes");
    assert_eq!(cluster.info()["haproxy"]["pid"], haproxy);
    assert!(cluster.through_haproxy(10_000).await.is_some());
    // The adopted ones are still watched: a death after the return is noticed.
    signal(pids[0], Signal::KILL);
    eventually("the dead one is replaced", async || {
        let now = ids(&cluster.tasks("/web").await);
        (now.len() == 3 && !now.contains(&ids(&before)[0])).then_some(())
    })
    .await;
    cluster.healthy("/web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_asked_while_the_master_is_dead_is_done_afterwards() {
    let cluster = with_web(2).await;
    let before = ids(&cluster.tasks("/web").await);

    signal(cluster.pid("master"), Signal::KILL);
    cluster
        .ok("PUT", "/v2/apps/web", Some(&json!({ "instances": 4 })))
        .await;
    cluster.healthy("/web").await;

    let after = ids(&cluster.tasks("/web").await);
    assert_eq!(after.len(), 4);
    assert!(
        before.iter().all(|id| after.contains(id)),
        "{before:?} {after:?}"
    );
    cluster.haproxy_follows("/web", "web_10000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_restarts_when_the_service_framework_dies() {
    let cluster = with_web(3).await;
    let before = ids(&cluster.tasks("/web").await);

    cluster.kill("services").await;
    timeout(Duration::from_secs(15), cluster.healthy("/web"))
        .await
        .expect("back to work within seconds");

    assert_eq!(ids(&cluster.tasks("/web").await), before);
    cluster.haproxy_follows("/web", "web_10000").await;
    cluster
        .ok("PUT", "/v2/apps/web", Some(&json!({ "instances": 4 })))
        .await;
    cluster.healthy("/web").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_comes_back_with_all_its_backends() {
    let cluster = with_web(2).await;
    let pid = cluster.info()["haproxy"]["pid"]
        .as_u64()
        .and_then(|pid| u32::try_from(pid).ok())
        .expect("a pid");

    signal(pid, Signal::KILL);

    eventually("the old one is gone", async || (!alive(pid)).then_some(())).await;
    cluster.haproxy_follows("/web", "web_10000").await;
    eventually("traffic", async || cluster.through_haproxy(10_000).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn haproxy_goes_on_without_its_follower_and_is_adopted() {
    let cluster = with_web(2).await;
    let haproxy = cluster.info()["haproxy"]["pid"].clone();

    signal(cluster.pid("haproxy-sync"), Signal::KILL);
    assert!(
        cluster.through_haproxy(10_000).await.is_some(),
        "HAProxy does not notice"
    );
    cluster
        .ok("PUT", "/v2/apps/web", Some(&json!({ "instances": 4 })))
        .await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;

    assert_eq!(
        cluster.info()["haproxy"]["pid"],
        haproxy,
        "the same HAProxy"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unhealthy_instance_leaves_haproxy_and_is_replaced() {
    let cluster = with_web(2).await;
    let before = cluster.tasks("/web").await;
    let sick = format!(
        "{}:{}",
        before[0]["host"].as_str().expect("host"),
        before[0]["ports"][0]
    );

    let (status, _) = cluster
        .call("POST", &format!("http://{sick}/fail"), None)
        .await;
    assert_eq!(status, 200);

    eventually("it is out of HAProxy", async || {
        (!cluster.servers_up("web_10000").contains(&sick)).then_some(())
    })
    .await;
    eventually("it is replaced", async || {
        let now = ids(&cluster.tasks("/web").await);
        (!now.contains(&ids(&before)[0]) && now.len() == 2).then_some(())
    })
    .await;
    cluster.healthy("/web").await;
    cluster.haproxy_follows("/web", "web_10000").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_agents_instances_run_elsewhere_and_the_surplus_dies_when_it_returns() {
    let quick = [
        ("METE_MASTER_AGENT_PING_TIMEOUT", "500ms"),
        ("METE_MASTER_MAX_AGENT_PING_TIMEOUTS", "3"),
    ];
    let cluster = Cluster::start_with(&[], &quick).await;
    cluster.ok("POST", "/v2/apps", Some(&web(3))).await;
    cluster.healthy("/web").await;
    let before = cluster.tasks("/web").await;
    let host = before[0]["host"].as_str().expect("host").to_owned();
    let number: u8 = host
        .rsplit('.')
        .next()
        .and_then(|last| last.parse().ok())
        .expect("127.0.0.n");
    let agent = cluster.pid(&format!("agent-{}", number - 1));
    let on_it: Vec<Value> = before
        .iter()
        .filter(|task| task["host"] == host.as_str())
        .cloned()
        .collect();
    let mut orphans = Vec::new();
    for task in &on_it {
        orphans.push(cluster.task_pid(task).await);
    }

    signal(agent, Signal::STOP);
    eventually("replaced elsewhere", async || {
        let now = cluster.tasks("/web").await;
        let elsewhere = now
            .iter()
            .filter(|task| task["host"] != host.as_str() && task["state"] == "TASK_RUNNING")
            .count();
        (elsewhere == 3).then_some(())
    })
    .await;
    signal(agent, Signal::CONT);

    eventually("the surplus is killed", async || {
        orphans.iter().all(|pid| !alive(*pid)).then_some(())
    })
    .await;
    cluster.healthy("/web").await;
    assert_eq!(cluster.tasks("/web").await.len(), 3);
    cluster.haproxy_follows("/web", "web_10000").await;
    let _ = SHIFT;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_whose_configuration_is_wrong_is_left_alone_and_others_are_started_again() {
    let mut cluster = Cluster::start(&["--agents", "1"]).await;
    let place = cluster.state_dir().join("agent-1");
    std::fs::rename(&place, place.with_extension("aside")).expect("moved");
    std::fs::write(&place, "no directory").expect("written");

    // It dies of something else at first; what it is started with then is wrong.
    cluster.kill("agent-1").await;
    let said = || std::fs::read_to_string(cluster.dir.path().join("up.log")).expect("its log");
    eventually("it is left alone", async || {
        said().contains("it is left alone").then_some(())
    })
    .await;
    cluster.kill("haproxy-sync").await;

    let said = said();
    let mut lines = said.lines().filter(|line| line.contains("agent-1 ended"));
    let (killed, wrong) = (lines.next().unwrap(), lines.next().unwrap());
    assert!(killed.contains("it is started again in 1 s"), "{killed}");
    for part in ["status: 2", "cannot be made", "agent-1.log", "`mete up`"] {
        assert!(wrong.contains(part), "{part}: {wrong}");
    }
    assert_eq!(lines.next(), None);
    let (status, _) = cluster.down().await;
    assert!(status.success(), "{status}");
}
