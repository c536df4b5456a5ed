//! Progress of apps until they are healthy, or gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::{Result, bail};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::client::Api;

/// How long proxies are waited for when all is healthy: ten times what one takes under load. One that has died is still
/// known for 45 s.
const PROXIES: Duration = Duration::from_secs(5);
/// Between two looks at what proxies have in effect, which is there within some milliseconds.
const LOOK_AT_PROXIES: Duration = Duration::from_millis(20);
/// Between two looks at the apps.
const LOOK: Duration = Duration::from_millis(200);

/// How far one app is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) wanted: u64,
    pub(crate) running: u64,
    pub(crate) healthy: u64,
    pub(crate) checked: bool,
    pub(crate) deploying: bool,
}

impl Progress {
    pub(crate) fn read(app: &Value) -> Self {
        let count = |key: &str| app[key].as_u64().unwrap_or(0);
        Self {
            wanted: wanted(app),
            running: count("tasksRunning"),
            healthy: count("tasksHealthy"),
            checked: app["healthChecks"]
                .as_array()
                .is_some_and(|checks| !checks.is_empty()),
            deploying: app["deployments"]
                .as_array()
                .is_some_and(|deployments| !deployments.is_empty()),
        }
    }

    pub(crate) fn ready(&self) -> u64 {
        if self.checked {
            self.healthy
        } else {
            self.running
        }
    }

    pub(crate) fn is_done(&self) -> bool {
        !self.deploying && self.running == self.wanted && self.ready() == self.wanted
    }

    pub(crate) fn words(&self) -> String {
        let Self {
            wanted,
            running,
            healthy,
            checked,
            deploying,
        } = self;
        let health = if *checked {
            format!(", {healthy} healthy")
        } else {
            String::new()
        };
        let deploying = if *deploying { ", deploying" } else { "" };
        format!("{running} of {wanted} running{health}{deploying}")
    }
}

/// How many instances an app is to have: a daemon as many as have found an agent, and at least one.
pub(crate) fn wanted(app: &Value) -> u64 {
    let count = |key: &str| app[key].as_u64().unwrap_or(0);
    let label = app["labels"]["METE_DAEMON"].as_str();
    let is_daemon = label.is_some_and(|label| label.eq_ignore_ascii_case("true"));
    match (is_daemon, count("instances")) {
        (true, 1..) => placed(app).max(1),
        (_, instances) => instances,
    }
}

/// How many instances have found an agent. Those that start there are among the tasks of one app alone, and are not counted
/// in lists.
fn placed(app: &Value) -> u64 {
    let count = |key: &str| app[key].as_u64().unwrap_or(0);
    let is_placed = |task: &&Value| {
        let state = task["state"].as_str();
        matches!(
            state,
            Some("TASK_STAGING" | "TASK_STARTING" | "TASK_RUNNING")
        )
    };
    match app["tasks"].as_array() {
        Some(tasks) => tasks.iter().filter(is_placed).count() as u64,
        None => count("tasksRunning") + count("tasksStaged"),
    }
}

/// Looks until each app has all its instances running and, where it has checks, healthy, and proxies send them requests.
pub(crate) async fn until_healthy(
    services: &Api,
    apps: &[String],
    timeout: Duration,
) -> Result<()> {
    let deadline = Instant::now() + timeout;
    let bars = MultiProgress::new();
    let bars: BTreeMap<&String, ProgressBar> =
        apps.iter().map(|app| (app, bars.add(bar(app)))).collect();
    loop {
        let mut open = Vec::new();
        for (app, bar) in &bars {
            let Some(answer) = services.find(&format!("/v2/apps{app}")).await? else {
                bail!("{app} is not there any more");
            };
            let progress = Progress::read(&answer["app"]);
            bar.set_length(progress.wanted);
            bar.set_position(progress.ready());
            bar.set_message(progress.words());
            if progress.is_done() {
                bar.finish();
            } else {
                open.push((app, progress.words()));
            }
        }
        if open.is_empty() {
            in_effect(services).await;
            return Ok(());
        }
        if Instant::now() >= deadline {
            let mut missing = Vec::new();
            for (app, words) in open {
                missing.push(format!("{app}: {words}{}", why(services, app).await));
            }
            bail!(
                "not healthy after {timeout:?}: {}; `mete app show` tells more",
                missing.join("; ")
            );
        }
        sleep(LOOK).await;
    }
}

/// Waits until each proxy has what is healthy now in effect, as far as one may ask.
async fn in_effect(services: &Api) {
    let deadline = Instant::now() + PROXIES;
    let mut wanted = None;
    while let Ok(Some(acks)) = services.find("/v2/backends/acks").await {
        let (epoch, newest) =
            wanted.get_or_insert_with(|| (acks["epoch"].clone(), acks["version"].as_u64()));
        let proxies = acks["proxies"].as_array().into_iter().flatten();
        let is_behind = |proxy: &Value| proxy["version"].as_u64() < *newest;
        // In another epoch there is another list.
        if acks["epoch"] != *epoch || !proxies.clone().any(is_behind) {
            return;
        }
        if Instant::now() >= deadline {
            let behind = proxies.filter(|proxy| is_behind(proxy));
            let behind: Vec<&str> = behind.filter_map(|one| one["proxyId"].as_str()).collect();
            crate::complain!(
                "not in effect yet at proxies after {PROXIES:?}: {}",
                behind.join(", ")
            );
            return;
        }
        sleep(LOOK_AT_PROXIES).await;
    }
}

/// What the launch queue and the last failure say of an app.
pub(crate) async fn why(services: &Api, app: &str) -> String {
    let mut reasons = BTreeSet::new();
    let queue = services.get("/v2/queue").await.unwrap_or_default();
    for entry in queue["queue"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|entry| entry["app"]["id"] == *app)
    {
        let summary = entry["processedOffersSummary"]["rejectSummaryLaunchAttempt"]
            .as_array()
            .into_iter()
            .flatten();
        for row in summary.filter(|row| {
            row["declined"]
                .as_u64()
                .is_some_and(|declined| declined > 0)
        }) {
            reasons.insert(row["reason"].as_str().unwrap_or_default().to_owned());
        }
    }
    let shown = services
        .get(&format!("/v2/apps{app}"))
        .await
        .unwrap_or_default();
    if let Some(message) = shown["app"]["lastTaskFailure"]["message"].as_str() {
        reasons.insert(message.to_owned());
    }
    if reasons.is_empty() {
        String::new()
    } else {
        format!(" ({})", reasons.into_iter().collect::<Vec<_>>().join(", "))
    }
}

/// Looks until there is no such app and no task of it.
pub(crate) async fn until_gone(services: &Api, app: &str, timeout: Duration) -> Result<()> {
    let deadline = Instant::now() + timeout;
    loop {
        let gone = services.find(&format!("/v2/apps{app}")).await?.is_none();
        let tasks = services.get("/v2/tasks").await?;
        let left = tasks["tasks"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|task| task["appId"] == *app)
            .count();
        if gone && left == 0 {
            return Ok(());
        }
        if Instant::now() >= deadline {
            bail!("{app}: {left} instances are still there after {timeout:?}");
        }
        sleep(LOOK).await;
    }
}

fn bar(app: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:20} [{bar:20}] {msg}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::no_length()
        .with_style(style.progress_chars("=> "))
        .with_prefix(app.to_owned())
}
