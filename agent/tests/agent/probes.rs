//! Health probes against real sockets and in real tasks.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use mete_agent::probes::{Probes, Target};
use mete_agent::processes;
use mete_agent_core::task_dir::{Launch, TaskFile};
use mete_model::{CheckAnswer, CommandSpec, Probe};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic_health::ServingStatus;

use crate::support::{Agent, PATIENCE, shim, soon, start_and_forget, until};

const LOOPBACK: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// A server that answers every connection with `answer`, or says nothing when that is empty.
async fn server(answer: &'static str) -> u16 {
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let mut silent = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            if answer.is_empty() {
                silent.push(stream);
                continue;
            }
            let _ = stream.read(&mut [0; 1_024]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
        }
    });
    port
}

async fn probe(agent: &Agent, probe: Probe, timeout: Duration) -> Result<(), String> {
    let probes = Probes::new(Arc::new(shim()));
    let target = Target {
        address: LOOPBACK,
        dir: agent.dir("c1"),
    };
    soon(probes.run(&probe, &target, timeout)).await
}

async fn http(port: u16, statuses: Vec<u16>) -> Result<(), String> {
    let check = Probe::Http {
        port,
        path: "/health?deep=1".into(),
        statuses,
        secure: false,
    };
    probe(&Agent::without_groups(), check, PATIENCE).await
}

#[tokio::test]
async fn http_statuses_from_200_to_399_pass() {
    let ok = server("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let moved =
        server("HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n")
            .await;
    let failed = server("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;

    assert_eq!(http(ok, vec![]).await, Ok(()));
    assert_eq!(http(moved, vec![]).await, Ok(()));
    let said = format!("GET http://127.0.0.1:{failed}/health?deep=1: status 500");
    assert_eq!(http(failed, vec![]).await, Err(said));
}

#[tokio::test]
async fn named_statuses_pass_and_no_others() {
    let failed = server("HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\n").await;
    let ok = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;

    assert_eq!(http(failed, vec![204, 500]).await, Ok(()));
    assert!(
        http(ok, vec![204, 500])
            .await
            .unwrap_err()
            .ends_with("status 200")
    );
}

#[tokio::test]
async fn who_does_not_answer_or_talks_nonsense_fails() {
    let agent = Agent::without_groups();
    let free = TcpListener::bind((LOOPBACK, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let silent = server("").await;
    let nonsense = server("SSH-2.0-OpenSSH\r\n").await;
    let check = |port| Probe::Http {
        port,
        path: "/".into(),
        statuses: vec![],
        secure: false,
    };

    let refused = probe(&agent, check(free), PATIENCE).await.unwrap_err();
    let late = probe(&agent, check(silent), Duration::from_millis(200))
        .await
        .unwrap_err();
    let wrong = probe(&agent, check(nonsense), PATIENCE).await.unwrap_err();

    assert!(refused.contains("Connection refused"), "{refused}");
    assert_eq!(late, "no answer within 0.2 s");
    assert!(wrong.starts_with("GET http://127.0.0.1:"), "{wrong}");
}

/// A server that shows a certificate nobody knows, and answers every connection with `answer`.
async fn secure_server(answer: &'static str) -> u16 {
    let made = rcgen::generate_simple_self_signed(["somebody.example".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let Ok(mut stream) = tls.accept(stream).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 1_024]).await;
            let _ = stream.write_all(answer.as_bytes()).await;
            let _ = stream.shutdown().await;
        }
    });
    port
}

#[tokio::test]
async fn over_tls_any_certificate_is_taken_and_the_status_counts() {
    let agent = Agent::without_groups();
    let ok = secure_server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let failed = secure_server("HTTP/1.1 503 Oh\r\ncontent-length: 0\r\n\r\n").await;
    let plain = server("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let check = |port| Probe::Http {
        port,
        path: "/".into(),
        statuses: vec![],
        secure: true,
    };

    assert_eq!(probe(&agent, check(ok), PATIENCE).await, Ok(()));
    let said = probe(&agent, check(failed), PATIENCE).await;
    assert_eq!(
        said,
        Err(format!("GET https://127.0.0.1:{failed}/: status 503"))
    );
    let said = probe(&agent, check(plain), PATIENCE).await.unwrap_err();
    assert!(said.starts_with("GET https://127.0.0.1:"), "{said}");
}

/// A server of `grpc.health.v1`: `shop` serves, `cellar` does not.
async fn health_server() -> u16 {
    let (reporter, service) = tonic_health::server::health_reporter();
    reporter
        .set_service_status("shop", ServingStatus::Serving)
        .await;
    reporter
        .set_service_status("cellar", ServingStatus::NotServing)
        .await;
    let listener = TcpListener::bind((LOOPBACK, 0)).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    let server = tonic::transport::Server::builder().add_service(service);
    tokio::spawn(async move {
        // It serves until the test is over, and keeps the reporter for as long.
        let _reporter = reporter;
        server.serve_with_incoming(incoming).await
    });
    port
}

#[tokio::test]
async fn grpc_health_is_asked_by_service() {
    let agent = Agent::without_groups();
    let port = health_server().await;
    let silent = server("").await;
    let ask = async |port, service: &str, timeout| {
        let service = service.to_owned();
        probe(&agent, Probe::Grpc { port, service }, timeout).await
    };

    assert_eq!(ask(port, "", PATIENCE).await, Ok(()));
    assert_eq!(ask(port, "shop", PATIENCE).await, Ok(()));
    let closed = ask(port, "cellar", PATIENCE).await.unwrap_err();
    let expected = format!("gRPC health of \"cellar\" at 127.0.0.1:{port}: NOT_SERVING");
    assert_eq!(closed, expected);
    let unknown = ask(port, "attic", PATIENCE).await.unwrap_err();
    assert!(unknown.contains("NotFound"), "{unknown}");
    let late = ask(silent, "", Duration::from_millis(200)).await;
    assert_eq!(late.unwrap_err(), "no answer within 0.2 s");
}

#[tokio::test]
async fn a_connection_is_enough_for_tcp() {
    let agent = Agent::without_groups();
    let silent = server("").await;
    let free = TcpListener::bind((LOOPBACK, 0))
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();

    assert_eq!(
        probe(&agent, Probe::Tcp { port: silent }, PATIENCE).await,
        Ok(())
    );
    let refused = probe(&agent, Probe::Tcp { port: free }, PATIENCE)
        .await
        .unwrap_err();
    assert!(
        refused.starts_with(&format!("connecting to 127.0.0.1:{free}: ")),
        "{refused}"
    );
}

async fn command(agent: &Agent, text: &str, timeout: Duration) -> Result<(), String> {
    probe(agent, Probe::Command(CommandSpec::shell(text)), timeout).await
}

#[tokio::test]
async fn a_command_is_judged_by_its_exit_code() {
    let agent = Agent::new();
    start_and_forget(&agent, "c1", "echo healthy > state; exec sleep 1000").await;
    agent.said("c1", "state").await;

    assert_eq!(
        command(&agent, "grep -q healthy state", PATIENCE).await,
        Ok(())
    );
    let failed = command(&agent, "echo no good >&2; exit 3", PATIENCE).await;
    assert_eq!(
        failed,
        Err("the command exited with code 3: no good".into())
    );
    let killed = command(&agent, "kill -9 $$", PATIENCE).await.unwrap_err();
    assert!(killed.contains("signal: 9"), "{killed}");
}

#[tokio::test]
async fn checks_that_hang_do_not_hold_up_health_checks() {
    let agent = Agent::new();
    start_and_forget(&agent, "c1", "echo up > state; exec sleep 1000").await;
    agent.said("c1", "state").await;
    let probes = Arc::new(Probes::new(Arc::new(shim())));
    let target = Target {
        address: LOOPBACK,
        dir: agent.dir("c1"),
    };
    let hangs = "echo began > began; until [ -e go ]; do sleep 0.05; done";
    let checks: Vec<_> = (0..40)
        .map(|_| {
            let (probes, target) = (Arc::clone(&probes), target.clone());
            let hangs = Probe::Command(CommandSpec::shell(hangs));
            tokio::spawn(async move { probes.check(&hangs, &target, 2 * PATIENCE).await })
        })
        .collect();
    agent.said("c1", "began").await;

    let passes = Probe::Command(CommandSpec::shell("touch go"));
    assert_eq!(soon(probes.run(&passes, &target, PATIENCE)).await, Ok(()));

    for check in checks {
        assert_eq!(soon(check).await.unwrap(), CheckAnswer::Command(Some(0)));
    }
}

#[tokio::test]
async fn a_command_runs_within_the_limits_of_its_task() {
    let agent = Agent::new();
    if !agent.has_memory_limits() {
        return;
    }
    start_and_forget(&agent, "c1", "exec sleep 1000").await;

    command(&agent, "cat /proc/self/cgroup > groups", PATIENCE)
        .await
        .unwrap();

    let groups = agent.said("c1", "groups").await;
    let entered = groups.lines().filter(|line| line.ends_with("/c1")).count();
    let plan = Launch::decode(&fs::read(agent.dir("c1").launch()).unwrap())
        .unwrap()
        .cgroups;
    assert_eq!(entered, plan.directories().len(), "{groups}");
}

#[tokio::test]
async fn a_slow_command_is_killed_with_its_children() {
    let agent = Agent::without_groups();
    start_and_forget(&agent, "c1", "exec sleep 1000").await;

    // On a busy machine it may take longer until there is a child.
    let mut timeout = Duration::from_millis(100);
    let late = loop {
        let late = command(&agent, "sleep 1000 & echo $! > child; sleep 1000", timeout)
            .await
            .unwrap_err();
        if sandbox_has(&agent, "child") {
            break late;
        }
        timeout *= 2;
    };

    assert_eq!(
        late,
        format!("no answer within {} s", timeout.as_secs_f64())
    );
    let child: i32 = agent.said("c1", "child").await.trim().parse().unwrap();
    until(|| processes::stat(child).is_none_or(|stat| stat.state == 'Z')).await;
}

#[tokio::test]
async fn nobody_waits_for_a_killed_command_that_takes_long_to_die() {
    let agent = Agent::new();
    start_and_forget(&agent, "c1", "exec sleep 1000").await;
    let launch = Launch::decode(&fs::read(agent.dir("c1").launch()).unwrap()).unwrap();
    let Some(group) = launch.cgroups.v1.get("freezer") else {
        eprintln!("skipped: no control groups in which a killed process stays");
        return;
    };
    let state = std::path::Path::new(group).join("freezer.state");
    fs::write(&state, "FROZEN").unwrap();

    // It is frozen as soon as it enters the group of the task.
    let late = command(&agent, "true", Duration::from_millis(300)).await;

    assert_eq!(late, Err("no answer within 0.3 s".into()));
    fs::write(&state, "THAWED").unwrap();
}

fn sandbox_has(agent: &Agent, file: &str) -> bool {
    fs::metadata(agent.work.path().join("sandboxes/c1").join(file))
        .is_ok_and(|found| found.len() > 0)
}

#[tokio::test]
async fn a_command_that_floods_its_errors_is_not_held_up() {
    let agent = Agent::without_groups();
    start_and_forget(&agent, "c1", "exec sleep 1000").await;

    let flood = command(
        &agent,
        "head -c 1000000 /dev/zero | tr '\\0' x >&2; exit 1",
        PATIENCE,
    )
    .await
    .unwrap_err();

    assert!(flood.ends_with('x') && flood.len() < 300, "{flood}");
}

#[tokio::test]
async fn a_command_that_cannot_run_says_why() {
    let agent = Agent::without_groups();

    let gone = command(&agent, "true", PATIENCE).await.unwrap_err();

    assert!(
        gone.starts_with("the command could not be run: opening the task directory: "),
        "{gone}"
    );
}
