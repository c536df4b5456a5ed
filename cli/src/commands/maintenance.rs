//! `mete maintenance`: which machines are planned to be away, and which are.
//!
//! ```text
//! up ──schedule──▶ planned ──down──▶ down ──up──▶ up (and out of the schedule)
//!  ▲─────clear────────┘
//! ```

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use jiff::SignedDuration;
use mete_daemon::clock;
use mete_daemon::config::duration;
use reqwest::Method;
use serde_json::{Value, json};

use super::app::json_in;
use super::explain::list;
use crate::client::{Addresses, Api};
use crate::table;

/// What can be asked of maintenance.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum Ask {
    /// Machines that are planned to be away, or are, and what frameworks answer to it.
    Status {
        /// JSON for programs.
        #[arg(long)]
        json: bool,
    },
    /// Plans that machines will be away: frameworks are asked to leave them in time.
    Schedule(Plan),
    /// Empties the schedule; not while a machine in it is down.
    Clear,
    /// Takes machines of the schedule down: their agents end, and are not let in until they are up.
    Down {
        /// Names or addresses of machines, as they stand in the schedule.
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
    /// Machines that were down are up: their agents are let in, and they are out of the schedule.
    Up {
        /// Names or addresses of machines, as they stand in the schedule.
        #[arg(required = true, value_name = "HOST")]
        hosts: Vec<String>,
    },
}

/// A window that is added to the schedule, or a whole schedule.
#[derive(Debug, clap::Args)]
pub(crate) struct Plan {
    /// Names or addresses of machines, divided by commas. None may stand in the schedule already.
    #[arg(
        long,
        value_name = "NAME",
        value_delimiter = ',',
        required_unless_present = "file",
        requires = "start"
    )]
    host: Vec<String>,
    /// From when they are away: `2026-11-30T22:00Z` (UTC; or with `+01:00` behind it), `in 2h`, or `now`.
    #[arg(long, value_name = "TIME", num_args = 1..=2, requires = "host")]
    start: Vec<String>,
    /// For how long, e.g. `1h`; without it for good.
    #[arg(long = "for", value_name = "TIME", value_parser = duration, requires = "host")]
    span: Option<Duration>,
    /// A JSON file with all windows, as in docs/api/master.md, which replaces the schedule; `-` reads standard input.
    #[arg(long, conflicts_with_all = ["host", "start", "span"])]
    file: Option<PathBuf>,
}

pub(crate) async fn run(addresses: &Addresses, ask: Ask) -> Result<()> {
    let master = addresses.master()?;
    match ask {
        Ask::Status { json } => status(&master, json).await,
        Ask::Schedule(Plan {
            file: Some(file), ..
        }) => {
            let schedule = json_in(&file)?;
            set(&master, &schedule).await?;
            crate::say!("windows in the schedule: {}", windows(&schedule).len());
            Ok(())
        }
        Ask::Schedule(plan) => add(&master, &plan).await,
        Ask::Clear => {
            set(&master, &json!({ "windows": [] })).await?;
            crate::say!("the schedule is empty");
            Ok(())
        }
        Ask::Down { hosts } => order(&master, "down", &hosts).await,
        Ask::Up { hosts } => order(&master, "up", &hosts).await,
    }
}

async fn status(master: &Api, json: bool) -> Result<()> {
    let schedule = master.get("/maintenance/schedule").await?;
    let mut status = master.get("/maintenance/status").await?;
    if json {
        status["windows"] = schedule["windows"].clone();
        return table::json(&status);
    }
    let rows = windows(&schedule).iter().flat_map(|window| {
        let machines = list(&window["machine_ids"]).iter();
        machines.map(|machine| row(machine, &window["unavailability"], &status))
    });
    table::print(["MACHINE", "STATE", "START", "FOR", "ANSWERS"], rows);
    Ok(())
}

fn row(machine: &Value, away: &Value, status: &Value) -> [String; 5] {
    let is_down = list(&status["down_machines"]).contains(machine);
    let mut draining = list(&status["draining_machines"]).iter();
    let asked = draining.find(|asked| asked["id"] == *machine);
    let answers = asked.map_or(&[][..], |asked| list(&asked["statuses"]));
    let answers = answers.iter().map(|answer| {
        let framework = table::cell(&answer["framework_id"]["value"]);
        format!("{framework}={}", table::cell(&answer["status"]))
    });
    [
        name(machine),
        if is_down { "down" } else { "planned" }.to_owned(),
        moment(&away["start"]),
        span(&away["duration"]),
        answers.collect::<Vec<_>>().join(" "),
    ]
}

/// The schedule with one window more. There is no order to add one: what somebody else sets in the same instant is lost.
async fn add(master: &Api, plan: &Plan) -> Result<()> {
    let now = jiff::Timestamp::from_millisecond(i64::try_from(clock::now().as_millis())?)?;
    let mut away = json!({ "start": { "nanoseconds": start(now, &plan.start.join(" "))? } });
    if let Some(span) = plan.span {
        let nanoseconds = i64::try_from(span.as_nanos()).context("--for is too long")?;
        away["duration"] = json!({ "nanoseconds": nanoseconds });
    }
    let machines: Vec<Value> = plan.host.iter().map(|host| machine(host)).collect();
    let schedule = master.get("/maintenance/schedule").await?;
    let mut all = windows(&schedule).to_vec();
    all.push(json!({ "machine_ids": machines, "unavailability": away }));
    set(master, &json!({ "windows": all })).await?;
    for host in &plan.host {
        crate::say!(
            "machine {host} is planned to be away from {}, {}",
            moment(&away["start"]),
            span_in_words(&away["duration"])
        );
    }
    Ok(())
}

async fn set(master: &Api, schedule: &Value) -> Result<()> {
    let path = "/maintenance/schedule";
    master.call(Method::PUT, path, Some(schedule)).await?;
    Ok(())
}

/// All of them or, when one is refused, none.
async fn order(master: &Api, what: &str, hosts: &[String]) -> Result<()> {
    let schedule = master.get("/maintenance/schedule").await?;
    let machines = hosts.iter().map(|host| find(&schedule, host));
    let machines = machines.collect::<Result<Vec<_>>>()?;
    let path = format!("/machine/{what}");
    master
        .call(Method::POST, &path, Some(&json!(machines)))
        .await?;
    for machine in &machines {
        crate::say!("machine {} is {what}", name(machine));
    }
    Ok(())
}

/// The machine that is meant, as it stands in the schedule: the master knows it by all that stands there. What fits
/// nothing is for the master to refuse.
fn find(schedule: &Value, host: &str) -> Result<Value> {
    let machines = windows(schedule).iter();
    let machines = machines.flat_map(|window| list(&window["machine_ids"]));
    let is = |part: &Value| {
        let part = part.as_str();
        part.is_some_and(|part| part.eq_ignore_ascii_case(host))
    };
    let fits = machines.filter(|one| is(&one["hostname"]) || is(&one["ip"]));
    let mut fits: Vec<&Value> = fits.collect();
    if fits.len() > 1 {
        let names: Vec<String> = fits.into_iter().map(name).collect();
        bail!("{host:?} fits several machines: {}", names.join(", "));
    }
    Ok(fits.pop().cloned().unwrap_or_else(|| machine(host)))
}

/// What people call a machine: its address or its name.
fn machine(host: &str) -> Value {
    let part = match host.parse::<IpAddr>() {
        Ok(_) => "ip",
        Err(_) => "hostname",
    };
    json!({ part: host })
}

/// `node-1`, `10.0.0.1` or `node-1 (10.0.0.1)`.
fn name(machine: &Value) -> String {
    match (machine["hostname"].as_str(), machine["ip"].as_str()) {
        (Some(hostname), Some(ip)) => format!("{hostname} ({ip})"),
        (Some(one), None) | (None, Some(one)) => one.to_owned(),
        (None, None) => String::new(),
    }
}

/// Reads `2026-11-30T22:00Z`, `in 2h` or `now` as nanoseconds since 1970. What is said from now on is in whole seconds.
fn start(now: jiff::Timestamp, text: &str) -> Result<i64> {
    let form = || {
        format!(
            "bad --start {text:?}: it must be a moment such as 2026-11-30T22:00Z, in 2h, or now"
        )
    };
    let text = text.trim();
    let from_now = match text.strip_prefix("in ") {
        Some(span) => Some(duration(span.trim()).map_err(|why| anyhow!(why).context(form()))?),
        None => (text == "now").then_some(Duration::ZERO),
    };
    let moment = match from_now {
        Some(span) => jiff::Timestamp::from_second(now.as_second())?.checked_add(span),
        None => text.parse(),
    };
    let moment = moment.with_context(form)?;
    i64::try_from(moment.as_nanosecond()).with_context(form)
}

/// `2026-11-30T22:00:00Z`, as it is read.
fn moment(at: &Value) -> String {
    let nanoseconds = at["nanoseconds"].as_i64().unwrap_or_default();
    jiff::Timestamp::from_nanosecond(nanoseconds.into())
        .map_or_else(|_| table::cell(at), |moment| moment.to_string())
}

/// `1h 30m`; `-` where there is no end.
fn span(length: &Value) -> String {
    match length["nanoseconds"].as_i64() {
        Some(nanoseconds) => format!("{:#}", SignedDuration::from_nanos(nanoseconds)),
        None => "-".to_owned(),
    }
}

fn span_in_words(length: &Value) -> String {
    if length.is_null() {
        "for good".to_owned()
    } else {
        format!("for {}", span(length))
    }
}

fn windows(schedule: &Value) -> &[Value] {
    list(&schedule["windows"])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_a_moment_or_told_from_now() -> Result<()> {
        let now: jiff::Timestamp = "2026-11-28T14:00:00.7Z".parse()?;
        let at = |text: &str| anyhow::Ok(text.parse::<jiff::Timestamp>()?.as_nanosecond());

        for (text, moment) in [
            ("now", "2026-11-28T14:00:00Z"),
            ("in 2h", "2026-11-28T16:00:00Z"),
            ("in 1h 30m", "2026-11-28T15:30:00Z"),
            ("2026-11-30T22:00Z", "2026-11-30T22:00:00Z"),
            ("2026-11-30 22:00+01:00", "2026-11-30T21:00:00Z"),
        ] {
            assert_eq!(i128::from(start(now, text)?), at(moment)?, "{text}");
        }
        for bad in [
            "",
            "in",
            "2h",
            "in 2",
            "in -2h",
            "22:00",
            "2026-11-30T22:00",
            "9000-01-01T00:00Z",
        ] {
            let why = start(now, bad).expect_err(bad).to_string();
            assert!(why.contains("in 2h"), "{bad}: {why}");
        }
        Ok(())
    }

    #[test]
    fn a_machine_is_found_by_its_name_or_address_in_the_schedule() -> Result<()> {
        let both = json!({ "hostname": "node-1", "ip": "10.0.0.1" });
        let named = json!({ "hostname": "10.0.0.2" });
        let schedule = json!({ "windows": [
            { "machine_ids": [both, named] },
            { "machine_ids": [{ "hostname": "node-3" }, { "hostname": "node-3", "ip": "10.0.0.3" }] },
        ] });

        assert_eq!(find(&schedule, "NODE-1")?, both);
        assert_eq!(find(&schedule, "10.0.0.1")?, both);
        assert_eq!(find(&schedule, "10.0.0.2")?, named);
        assert_eq!(find(&schedule, "10.0.0.9")?, json!({ "ip": "10.0.0.9" }));
        assert_eq!(find(&schedule, "node-9")?, json!({ "hostname": "node-9" }));
        assert!(find(&schedule, "node-3").is_err());
        Ok(())
    }
}
