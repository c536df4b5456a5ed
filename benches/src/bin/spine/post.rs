//! From the POST of an app to its first answer through HAProxy, and what lies between.
//!
//! ```text
//! POST ─▶ TASK_RUNNING ─▶ healthy ─▶ in the list ─▶ in HAProxy ─▶ first request
//! ```
//! Each round posts a new app with a new service port, so each is a reload of HAProxy. Rounds keep apart, so that the
//! reload is never one too many: more than three within three seconds have to wait.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout};

use crate::app;
use crate::cluster::{CLOSE_LOOK, Cluster, eventually};
use crate::report::Report;
use crate::stream::Stream;

/// Above the ports that the other questions use.
const FIRST_SERVICE_PORT: u16 = 12_000;
/// One attempt; a server that is not there refuses or answers 503 at once.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// After a round, whose app was added and removed with a reload each: the window in which reloads are counted, and some.
const SETTLE: Duration = Duration::from_millis(3_500);

/// One app from POST to traffic, in time since the POST was sent.
struct Round {
    running: Duration,
    healthy: Duration,
    listed: Duration,
    in_haproxy: Duration,
    served: Duration,
}

pub(crate) async fn measure(cluster: &Cluster, rounds: usize, report: &mut Report) -> Result<()> {
    let events = Stream::follow(cluster, "/v2/events").await?;
    let backends = Stream::follow(cluster, "/v2/backends?watch=true").await?;
    let mut all = Vec::new();
    for (round, service_port) in (0..rounds).zip(FIRST_SERVICE_PORT..) {
        let id = format!("/post-{round}");
        all.push(one(cluster, &events, &backends, &id, service_port).await?);
        app::delete(cluster, &id).await?;
        sleep(SETTLE).await;
    }
    let mut time = |what, of: fn(&Round) -> Duration| report.time(what, all.iter().map(of));
    time("POST of an app → first request through HAProxy", |round| {
        round.served
    });
    time("POST → TASK_RUNNING", |round| round.running);
    time("POST → healthy", |round| round.healthy);
    time("POST → in /v2/backends", |round| round.listed);
    time("POST → up in HAProxy", |round| round.in_haproxy);
    Ok(())
}

async fn one(
    cluster: &Cluster,
    events: &Stream,
    backends: &Stream,
    id: &str,
    service_port: u16,
) -> Result<Round> {
    let definition = app::web(id, service_port, 1);
    let begin = Instant::now();
    cluster.rest("POST", "/v2/apps", Some(&definition)).await?;
    let running = events.first("TASK_RUNNING", begin, |event| {
        event["eventType"] == "status_update_event"
            && event["appId"] == id
            && event["taskStatus"] == "TASK_RUNNING"
    });
    let healthy = events.first("a passed check", begin, |event| {
        event["eventType"] == "health_status_changed_event"
            && event["appId"] == id
            && event["alive"] == true
    });
    let listed = backends.first("the instance in the list", begin, |change| {
        let services = change["services"].as_array().into_iter().flatten();
        let mut mine = services.filter(|service| service["appId"] == id);
        mine.any(|service| service["instances"][0]["state"] == "up")
    });
    let (running, healthy, listed, in_haproxy, served) = tokio::try_join!(
        running,
        healthy,
        listed,
        until_in_haproxy(cluster, id),
        until_served(service_port),
    )?;
    Ok(Round {
        running: running - begin,
        healthy: healthy - begin,
        listed: listed - begin,
        in_haproxy: in_haproxy - begin,
        served: served - begin,
    })
}

async fn until_in_haproxy(cluster: &Cluster, id: &str) -> Result<Instant> {
    let address = eventually("the task", CLOSE_LOOK, async || {
        let tasks = app::running(cluster, id).await?;
        tasks.first().map(app::address)
    })
    .await?;
    eventually("the server in HAProxy", CLOSE_LOOK, async || {
        let up = cluster.servers_up().await?;
        up.contains(&address).then(Instant::now)
    })
    .await
}

async fn until_served(service_port: u16) -> Result<Instant> {
    let address = Cluster::service_address(service_port);
    eventually("a request through HAProxy", CLOSE_LOOK, async || {
        let answer = timeout(REQUEST_TIMEOUT, get(address)).await.ok()?.ok()?;
        let served = answer.starts_with(b"HTTP/1.1 200 ");
        served.then(Instant::now)
    })
    .await
}

/// One request on a connection of its own.
async fn get(address: SocketAddr) -> std::io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    Ok(answer)
}
