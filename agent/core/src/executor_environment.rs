//! What tasks and executors find in their environment: who they are and where their agent is; and, an executor of a
//! framework's own, how long it waits for it. Names and forms are Mesos', so that what was written for it can be started
//! as it is.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::{AgentId, Endpoint, FrameworkId};

/// How long an executor has after SHUTDOWN when its framework does not say (Mesos: 5 s).
pub const DEFAULT_SHUTDOWN_GRACE: Duration = Duration::from_secs(5);

/// How long it waits for an agent that has gone away (Mesos: 15 min).
pub const RECOVERY_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// The most it waits between two attempts to subscribe again (Mesos: 2 s).
pub const SUBSCRIPTION_BACKOFF_MAX: Duration = Duration::from_secs(2);

/// Who is about to be started, and where.
#[derive(Clone, Copy, Debug)]
pub struct Whereabouts<'a> {
    /// Whose it is.
    pub framework: &'a FrameworkId,
    /// The executor: chosen by the framework, or of the same name as its only task.
    pub executor: &'a str,
    /// Where it runs.
    pub agent: &'a AgentId,
    /// Where that agent answers.
    pub endpoint: &'a Endpoint,
    /// Its sandbox on the machine.
    pub directory: &'a str,
    /// Its sandbox as it sees it: another path inside an image.
    pub sandbox: &'a str,
}

impl Whereabouts<'_> {
    /// The variables that tasks and executors alike have.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let Endpoint { ip, port, .. } = self.endpoint;
        let agent = self.agent.to_string();
        named([
            ("MESOS_FRAMEWORK_ID", self.framework.to_string()),
            ("MESOS_EXECUTOR_ID", self.executor.to_owned()),
            ("MESOS_DIRECTORY", self.directory.to_owned()),
            ("MESOS_SANDBOX", self.sandbox.to_owned()),
            ("MESOS_SLAVE_ID", agent.clone()),
            ("MESOS_AGENT_ID", agent),
            ("MESOS_AGENT_ENDPOINT", format!("{ip}:{port}")),
        ])
    }
}

/// An executor of a framework's own that is about to be started.
#[derive(Clone, Copy, Debug)]
pub struct CustomExecutor<'a> {
    /// Who it is, and where.
    pub whereabouts: Whereabouts<'a>,
    /// Whether it outlives its agent (`FrameworkInfo.checkpoint`).
    pub checkpoint: bool,
    /// From SHUTDOWN to SIGKILL.
    pub shutdown_grace: Duration,
}

/// The variables that an agent adds to those of the executor's command, which win.
pub fn executor_environment(of: &CustomExecutor<'_>) -> BTreeMap<String, String> {
    let Endpoint { ip, port, .. } = of.whereabouts.endpoint;
    let mut all = of.whereabouts.environment();
    all.extend(named([
        // The libprocess name of an agent; only the address is of use to an executor that speaks HTTP.
        ("MESOS_SLAVE_PID", format!("slave(1)@{ip}:{port}")),
        ("MESOS_CHECKPOINT", u8::from(of.checkpoint).to_string()),
        // For Mesos' own command executor alone.
        ("MESOS_HTTP_COMMAND_EXECUTOR", "0".to_owned()),
        (
            "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD",
            duration(of.shutdown_grace),
        ),
        // Else libprocess takes the port of an agent that has one in its environment.
        ("LIBPROCESS_PORT", "0".to_owned()),
        ("LIBPROCESS_IP", ip.clone()),
    ]));
    if of.checkpoint {
        let most = duration(SUBSCRIPTION_BACKOFF_MAX);
        all.extend(named([
            ("MESOS_RECOVERY_TIMEOUT", duration(RECOVERY_TIMEOUT)),
            ("MESOS_SUBSCRIPTION_BACKOFF_MAX", most),
        ]));
    }
    all
}

fn named<const COUNT: usize>(all: [(&str, String); COUNT]) -> BTreeMap<String, String> {
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

/// Mesos' text of a duration: a number and the largest unit that divides it, as `5secs`, `15mins`.
fn duration(duration: Duration) -> String {
    const UNITS: [(&str, u128); 8] = [
        ("weeks", 604_800_000_000_000),
        ("days", 86_400_000_000_000),
        ("hrs", 3_600_000_000_000),
        ("mins", 60_000_000_000),
        ("secs", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];
    let nanos = duration.as_nanos();
    let mut whole = UNITS
        .into_iter()
        .filter(|(_, unit)| nanos >= *unit && nanos.is_multiple_of(*unit));
    match whole.next() {
        Some((name, unit)) => format!("{}{name}", nanos / unit),
        None => "0ns".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(checkpoint: bool) -> BTreeMap<String, String> {
        let endpoint = Endpoint {
            hostname: "here".into(),
            ip: "10.0.0.7".into(),
            port: 5051,
        };
        executor_environment(&CustomExecutor {
            whereabouts: Whereabouts {
                framework: &"f-1".parse().expect("good"),
                executor: "e",
                agent: &"m-S1".parse().expect("good"),
                endpoint: &endpoint,
                directory: "/w/runs/latest",
                sandbox: "/mnt/mesos/sandbox",
            },
            checkpoint,
            shutdown_grace: DEFAULT_SHUTDOWN_GRACE,
        })
    }

    fn expected(text: &str) -> BTreeMap<String, String> {
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    }

    const PLAIN: &str = "\
MESOS_FRAMEWORK_ID=f-1
MESOS_EXECUTOR_ID=e
MESOS_DIRECTORY=/w/runs/latest
MESOS_SANDBOX=/mnt/mesos/sandbox
MESOS_SLAVE_ID=m-S1
MESOS_AGENT_ID=m-S1
MESOS_SLAVE_PID=slave(1)@10.0.0.7:5051
MESOS_AGENT_ENDPOINT=10.0.0.7:5051
MESOS_CHECKPOINT=0
MESOS_HTTP_COMMAND_EXECUTOR=0
MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs
LIBPROCESS_PORT=0
LIBPROCESS_IP=10.0.0.7
";

    #[test]
    fn an_executor_is_told_who_and_where_it_is() {
        assert_eq!(environment(false), expected(PLAIN));
    }

    #[test]
    fn one_that_outlives_its_agent_is_told_how_long_to_wait_for_it() {
        let more = "MESOS_CHECKPOINT=1\nMESOS_RECOVERY_TIMEOUT=15mins\nMESOS_SUBSCRIPTION_BACKOFF_MAX=2secs\n";

        assert_eq!(environment(true), expected(&format!("{PLAIN}{more}")));
    }

    #[test]
    fn durations_are_in_the_largest_unit_that_divides_them() {
        let said = |nanos| duration(Duration::from_nanos(nanos));

        assert_eq!(said(0), "0ns");
        assert_eq!(said(1_500_000_000), "1500ms");
        assert_eq!(said(90_000_000_000), "90secs");
        assert_eq!(said(7_200_000_000_000), "2hrs");
        assert_eq!(said(604_800_000_000_001), "604800000000001ns");
    }
}
