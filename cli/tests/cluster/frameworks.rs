//! Two levels: frameworks of others beside the service framework.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::json;
use tokio::time::Instant;

use crate::harness::{Cluster, eventually};

/// An example of the SDK, as cargo has built it beside the binary.
fn example(name: &str) -> PathBuf {
    let beside = PathBuf::from(env!("CARGO_BIN_EXE_mete"));
    let path = beside
        .parent()
        .expect("a directory")
        .join("examples")
        .join(name);
    assert!(
        path.exists(),
        "{} is not built: cargo build --workspace --examples",
        path.display()
    );
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn hello_runs_its_task_and_ends() {
    let cluster = Cluster::start(&[]).await;

    let output = Command::new(example("hello"))
        .arg(cluster.url("master"))
        .output()
        .expect("hello runs");

    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        cluster.logs()
    );
    assert!(said.contains("TASK_FINISHED"), "{said}");
}

/// Looks at the shares that a mean is made of.
const SAMPLES: usize = 5;

/// A batch framework that ends with the test.
struct Batch(Child);

impl Drop for Batch {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// CPUs that a framework's tasks hold, and all CPUs of the cluster.
async fn cpus_of(cluster: &Cluster, framework: &str) -> (f64, f64) {
    let (_, state) = cluster
        .call("GET", &format!("{}/state", cluster.url("master")), None)
        .await;
    let list = |key: &str| state[key].as_array().cloned().unwrap_or_default();
    let all = list("slaves")
        .iter()
        .filter_map(|agent| agent["resources"]["cpus"].as_f64())
        .sum();
    let frameworks = list("frameworks");
    let found = frameworks.iter().find(|entry| entry["name"] == framework);
    (
        found
            .and_then(|entry| entry["used_resources"]["cpus"].as_f64())
            .unwrap_or(0.0),
        all,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_works_off_its_list() {
    let cluster = Cluster::start(&[]).await;

    let master = cluster.url("master");
    let output = Command::new(example("batch"))
        .args(["--master", &master, "--count", "12", "--seconds", "0"])
        .output();

    let output = output.expect("batch runs");
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{said}\n{}\n{}",
        String::from_utf8_lossy(&output.stderr),
        cluster.logs()
    );
    assert!(said.contains("finished=12 failed=0"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_and_services_get_half_each_while_both_want_more() {
    let cluster = Cluster::start(&[]).await;
    let master = cluster.url("master");
    // Of the shape of the agents: an offer is the whole rest of an agent and counts as its holder's until it is
    // answered, so memory that nobody asks for would count for whoever happens to look at it.
    let (_, state) = cluster.call("GET", &format!("{master}/state"), None).await;
    let agent = &state["slaves"][0]["resources"];
    let per_cpu = agent["mem"].as_f64().expect("mem") / agent["cpus"].as_f64().expect("cpus");
    let mem = (per_cpu * 0.05).floor();
    let batch = Command::new(example("batch"))
        .args([
            "--master",
            &master,
            "--count",
            "2000",
            "--seconds",
            "1",
            "--cpus",
            "0.05",
            "--role",
            "batch",
            "--mem",
            &mem.to_string(),
        ])
        .stdout(Stdio::null())
        .spawn();
    let _batch = Batch(batch.expect("batch starts"));
    eventually(
        "batch has nearly everything while it is alone",
        async || {
            let (used, all) = cpus_of(&cluster, "batch").await;
            (used > 0.7 * all).then_some(())
        },
    )
    .await;

    // Wants more than twice the cluster.
    let greedy = json!({ "id": "/greedy", "cmd": "exec sleep 1000", "cpus": 0.05, "mem": mem, "instances": 100 });
    cluster.ok("POST", "/v2/apps", Some(&greedy)).await;

    println!("second  batch  services  of CPUs");
    let begin = Instant::now();
    let mut samples: VecDeque<(f64, f64)> = VecDeque::new();
    let (batch, services) = eventually("each has about half", async || {
        let ((batch, all), (services, _)) = (
            cpus_of(&cluster, "batch").await,
            cpus_of(&cluster, "marathon").await,
        );
        println!(
            "{:6.1}  {batch:5.2}  {services:8.2}  {all:7.2}",
            begin.elapsed().as_secs_f64()
        );
        // Tasks of batch come and go all the time: the mean over the last samples counts.
        samples.push_back((batch / all, services / all));
        if samples.len() > SAMPLES {
            samples.pop_front();
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mean =
            |of: fn(&(f64, f64)) -> f64| samples.iter().map(of).sum::<f64>() / SAMPLES as f64;
        let (batch, services) = (mean(|sample| sample.0), mean(|sample| sample.1));
        let half = |share: f64| (share - 0.5).abs() < 0.1;
        (samples.len() == SAMPLES && half(batch) && half(services)).then_some((batch, services))
    })
    .await;
    println!("mean share: batch {batch:.2}, services {services:.2}");
}
