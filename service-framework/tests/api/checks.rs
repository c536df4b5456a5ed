//! Instances that the framework asks itself, on real sockets at their addresses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use axum::Router;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::{Cluster, app};

/// Servers at the ports of an instance; they end with this.
struct Instance {
    host: String,
    ports: Vec<u16>,
    servers: JoinSet<()>,
}

impl Instance {
    /// Of the one task of an app, which runs.
    fn of(answer: &Value) -> Self {
        let task = &answer["app"]["tasks"][0];
        let ports = task["ports"].as_array().expect("ports").iter();
        let port = |port: &Value| port.as_u64().and_then(|port| u16::try_from(port).ok());
        Self {
            host: task["host"].as_str().expect("a host").to_owned(),
            ports: ports.map(|it| port(it).expect("a port")).collect(),
            servers: JoinSet::new(),
        }
    }

    async fn bind(&self, at: usize) -> TcpListener {
        let address = (self.host.as_str(), self.ports[at]);
        TcpListener::bind(address).await.expect("nobody is there")
    }

    /// Answers GET of `/health` with the status that is there, and says that everything is elsewhere.
    async fn serve(&mut self, at: usize) -> Arc<AtomicU16> {
        let status = Arc::new(AtomicU16::new(302));
        let said = Arc::clone(&status);
        let health = move || async move {
            let status = StatusCode::from_u16(said.load(Ordering::SeqCst)).expect("a status");
            (status, [(header::LOCATION, "http://127.0.0.1:1/")]).into_response()
        };
        let routes = Router::new().route("/health", get(health));
        let listener = self.bind(at).await;
        self.servers.spawn(async move {
            axum::serve(listener, routes).await.expect("it serves");
        });
        status
    }

    /// Answers 204 over TLS, with a certificate that nobody knows.
    async fn serve_tls(&mut self, at: usize) {
        let listener = self.bind(at).await;
        let made =
            rcgen::generate_simple_self_signed(["else.example".to_owned()]).expect("a certificate");
        let key = made.signing_key.serialize_der();
        let key = rustls::pki_types::PrivateKeyDer::try_from(key).expect("a key");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has them")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("they belong together");
        let tls = tokio_rustls::TlsAcceptor::from(Arc::new(config));
        self.servers.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let Ok(mut stream) = tls.accept(stream).await else {
                    continue;
                };
                let _ = stream.read(&mut [0; 1_024]).await;
                let answer = b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n";
                let _ = stream.write_all(answer).await;
                let _ = stream.shutdown().await;
            }
        });
    }

    /// Accepts connections and says nothing.
    async fn listen(&mut self, at: usize) {
        let listener = self.bind(at).await;
        self.servers.spawn(async move {
            let mut all = Vec::new();
            while let Ok((stream, _)) = listener.accept().await {
                all.push(stream);
            }
        });
    }
}

/// An address of this test alone.
fn host(number: u8) -> String {
    format!("127.88.{}.{number}", std::process::id() % 250 + 1)
}

fn with_ports(id: &str, ports: usize, checks: Value) -> Value {
    let mut wish = app(id);
    let ports = (0..ports).map(|at| json!({ "port": 0, "name": format!("p{at}") }));
    wish["portDefinitions"] = ports.collect();
    wish["healthChecks"] = checks;
    wish
}

fn results(answer: &Value) -> Vec<Value> {
    let results = answer["app"]["tasks"][0]["healthCheckResults"].as_array();
    results.cloned().unwrap_or_default()
}

#[tokio::test]
async fn an_app_with_checks_of_three_kinds_is_asked_by_the_framework() {
    let cluster = Cluster::start_on(&[&host(2)]).await;
    let checks = json!([
        { "protocol": "HTTP", "path": "/health", "intervalSeconds": 1, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 0 },
        { "protocol": "HTTPS", "portIndex": 1, "intervalSeconds": 1, "maxConsecutiveFailures": 0 },
        { "protocol": "TCP", "portIndex": 2, "intervalSeconds": 1, "maxConsecutiveFailures": 0 },
    ]);
    let path = "/v2/events?event_type=health_status_changed_event&event_type=unhealthy_instance_kill_event";
    let mut events = cluster.service.stream(path, &[]).await;
    cluster
        .service
        .post("/v2/apps", &with_ports("/web", 3, checks))
        .await;
    let answer = cluster.running("/web", 1).await;
    assert_eq!(answer["app"]["healthChecks"][1]["protocol"], "HTTPS");
    let refused = |answer: &Value| results(answer).iter().any(|it| it["alive"] == false);
    let answer = cluster.until("/v2/apps/web", refused).await;
    let cause = results(&answer)[0]["lastFailureCause"].clone();
    let cause = cause.as_str().expect("a cause");
    assert!(cause.contains("Connection refused"), "{cause}");

    let mut instance = Instance::of(&answer);
    let status = instance.serve(0).await;
    instance.serve_tls(1).await;
    instance.listen(2).await;
    let healthy = |answer: &Value| answer["app"]["tasksHealthy"] == 1;
    let answer = cluster.until("/v2/apps/web", healthy).await;

    let told = results(&answer);
    assert_eq!(told.len(), 3);
    for result in &told {
        assert_eq!(
            (&result["alive"], &result["consecutiveFailures"]),
            (&json!(true), &json!(0))
        );
        assert!(result["firstSuccess"].is_string() && result["lastSuccess"].is_string());
    }
    let backends = cluster.service.get("/v2/backends").await.1;
    assert_eq!(backends["services"][0]["instances"][0]["state"], "up");
    events.until(|event| event.data["alive"] == true).await;

    status.store(500, Ordering::SeqCst);
    let answer = cluster.until("/v2/apps/web", |answer| {
        answer["app"]["tasksUnhealthy"] == 1
    });
    let told = results(&answer.await);
    assert_eq!(told[0]["lastFailureCause"], "status 500");
    assert_eq!(
        (&told[0]["alive"], &told[1]["alive"]),
        (&json!(false), &json!(true))
    );
    let backends = cluster.service.get("/v2/backends").await.1;
    assert_eq!(backends["services"][0]["instances"], json!([]));
    status.store(200, Ordering::SeqCst);
    cluster.until("/v2/apps/web", healthy).await;
    assert_eq!(cluster.kills(), 0);
}

#[tokio::test]
async fn who_does_not_answer_in_time_is_killed_and_replaced() {
    let cluster = Cluster::start_on(&[&host(3)]).await;
    let checks = json!([
        { "protocol": "HTTP", "intervalSeconds": 1, "timeoutSeconds": 1, "gracePeriodSeconds": 0, "maxConsecutiveFailures": 1 },
        { "protocol": "TCP", "intervalSeconds": 1, "maxConsecutiveFailures": 0 },
    ]);
    let path = "/v2/events?event_type=unhealthy_instance_kill_event";
    let mut events = cluster.service.stream(path, &[]).await;

    cluster
        .service
        .post("/v2/apps", &with_ports("/web", 1, checks))
        .await;
    let answer = cluster.running("/web", 1).await;
    let task = answer["app"]["tasks"][0]["id"].clone();
    let mut instance = Instance::of(&answer);
    instance.listen(0).await;

    let killed = events.until(|event| event.data["taskId"] == task).await;
    assert_eq!(
        (&killed.data["reason"], &killed.data["host"]),
        (&json!("no answer within 1 s"), &json!(host(3)))
    );
    let replaced = |answer: &Value| {
        let new = &answer["app"]["tasks"][0];
        new["state"] == "TASK_RUNNING" && new["id"] != task
    };
    let answer = cluster.until("/v2/apps/web", replaced).await;
    let failure = &answer["app"]["lastTaskFailure"];
    assert_eq!(
        (&failure["taskId"], &failure["state"]),
        (&task, &json!("TASK_KILLED"))
    );
    assert_eq!(cluster.kills(), 1);
}

#[tokio::test]
async fn a_deployment_waits_until_a_new_instance_says_that_it_is_ready() {
    let cluster = Cluster::start_on(&[&host(4)]).await;
    let mut wish = with_ports("/web", 1, json!([]));
    let check = json!({
        "name": "warm", "protocol": "HTTP", "path": "/health", "portName": "p0", "intervalSeconds": 2,
        "timeoutSeconds": 1, "httpStatusCodesForReady": [200], "preserveLastResponse": true,
    });
    wish["readinessChecks"] = json!([check]);

    cluster.service.post("/v2/apps", &wish).await;
    let answer = cluster.running("/web", 1).await;
    assert_eq!(answer["app"]["readinessChecks"], json!([check]));
    let mut instance = Instance::of(&answer);
    let status = instance.serve(0).await;
    let has_answered =
        |answer: &Value| answer["app"]["readinessCheckResults"][0]["lastResponse"]["status"] == 302;
    let answer = cluster.until("/v2/apps/web", has_answered).await;

    let task = &answer["app"]["tasks"][0];
    let results = json!([{
        "name": "warm", "taskId": task["id"], "ready": false,
        "lastResponse": { "status": 302, "contentType": "", "body": "" },
    }]);
    assert_eq!(answer["app"]["readinessCheckResults"], results);
    let all = "/v2/apps?embed=apps.readiness";
    let (_, shown) = cluster.service.get(all).await;
    assert_eq!(shown["apps"][0]["readinessCheckResults"], results);
    let (_, plans) = cluster.service.get("/v2/deployments").await;
    let current = &plans[0]["currentActions"][0];
    assert_eq!(current["readinessCheckResults"], results);
    let (_, backends) = cluster.service.get("/v2/backends").await;
    assert_eq!(backends["services"][0]["instances"], json!([]));

    let cluster = cluster.restart().await;
    let (_, plans) = cluster.service.get("/v2/deployments").await;
    assert_eq!(plans.as_array().map(Vec::len), Some(1), "it goes on");
    status.store(200, Ordering::SeqCst);
    let answer = cluster.settled("/web").await;

    assert_eq!(answer["app"]["readinessCheckResults"], json!([]));
    let (_, backends) = cluster.service.get("/v2/backends").await;
    assert_eq!(backends["services"][0]["instances"][0]["state"], "up");
}
