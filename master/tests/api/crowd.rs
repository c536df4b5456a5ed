//! Thousands who subscribe and then only listen: all are served, others too, and each costs little.

use std::fs;
use std::net::SocketAddr;

use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tempfile::tempdir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::peers::{Agent, Framework, Master, PATIENCE};

/// As many streams as are tried: a master takes 10,000 connections, and others want some.
const MOST: usize = 9_000;
/// Descriptors that are left to all other tests in this process.
const SPARE_DESCRIPTORS: usize = 6_000;
/// What one stream may take, both ends of it, in pages of this process: its queue and its buffers are empty.
const BYTES_PER_STREAM: usize = 100 << 10;
/// Who may follow the cluster at the same time.
const MAX_WATCHERS: usize = 1_000;

/// How many streams this process can have both ends of.
fn possible() -> usize {
    let limits = fs::read_to_string("/proc/self/limits").expect("readable");
    let line = limits
        .lines()
        .find(|line| line.starts_with("Max open files"));
    let soft = line.and_then(|line| line.split_whitespace().nth(3));
    let soft = soft
        .and_then(|soft| soft.parse().ok())
        .unwrap_or(usize::MAX);
    (soft.saturating_sub(SPARE_DESCRIPTORS) / 2).min(MOST)
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("readable");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.expect("a size") << 10
}

/// Subscribes, and hears that it is.
async fn listener(address: SocketAddr, path: &str, call: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{call}",
        call.len()
    );
    stream.write_all(request.as_bytes()).await.expect("said");
    let mut heard = Vec::new();
    while !heard.windows(10).any(|word| word == b"SUBSCRIBED") {
        let read = timeout(PATIENCE, stream.read_buf(&mut heard)).await;
        let read = read.expect("in time").expect("read");
        assert_ne!(read, 0, "{}", String::from_utf8_lossy(&heard));
    }
    stream
}

fn address(master: &Master) -> SocketAddr {
    let address = master.url.strip_prefix("http://").expect("an address");
    address.parse().expect("an address")
}

async fn crowd(address: SocketAddr, path: &str, call: &Value, count: usize) -> Vec<TcpStream> {
    let call = call.to_string();
    let all = stream::iter(0..count).map(|_| listener(address, path, &call));
    all.buffered(32).collect().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_idle_frameworks_cost_little_and_leave_the_others_alone() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let subscribe = json!({ "type": "SUBSCRIBE", "subscribe": {
        "framework_info": { "user": "root", "name": "idle", "roles": ["idle"],
            "capabilities": [{ "type": "MULTI_ROLE" }] },
        "suppressed_roles": ["idle"],
    } });
    let before = resident_bytes();

    let idle = crowd(
        address(&master),
        "/api/v1/scheduler",
        &subscribe,
        possible(),
    )
    .await;

    let per_stream = resident_bytes().saturating_sub(before) / idle.len();
    assert!(per_stream < BYTES_PER_STREAM, "{per_stream} bytes a stream");
    let summary = master.json("/state-summary").await;
    let frameworks = summary["frameworks"].as_array().map(Vec::len);
    assert_eq!(frameworks, Some(idle.len()));
    let _agent = Agent::registered(&master).await;
    let mut framework = Framework::subscribed(&master).await;
    assert_eq!(framework.offers().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_those_who_follow_the_cluster_the_oldest_goes_when_there_are_too_many() {
    let dir = tempdir().expect("a directory");
    let master = Master::start(dir.path()).await;
    let (follow, path) = (json!({ "type": "SUBSCRIBE" }), "/api/v1");

    let mut oldest = listener(address(&master), path, &follow.to_string()).await;
    let others = crowd(address(&master), path, &follow, MAX_WATCHERS).await;

    let mut heard = Vec::new();
    let end = timeout(PATIENCE, oldest.read_to_end(&mut heard)).await;
    end.expect("it is cut").expect("at the end of a record");
    let framework = Framework::subscribed(&master).await;
    for mut other in others {
        let mut heard = Vec::new();
        while !String::from_utf8_lossy(&heard).contains(&framework.id.value) {
            let read = timeout(PATIENCE, other.read_buf(&mut heard)).await;
            assert_ne!(read.expect("in time").expect("read"), 0, "it is there");
        }
    }
}
