//! Health checks of running tasks: when each is probed next, and how often it has failed in a row.
//!
//! ```text
//! due at ─▶ probing ─▶ due at (end of the probe + interval) …
//! ```
//! Invariant: at most so many probes run as may; what is due waits in the order of its time.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{Deadlines, HealthCheck, Probe, TaskKey, Timestamp};

/// Probes that run at once: each may hold a socket or a process for its time-out.
pub(crate) const MAX_PROBES_AT_ONCE: usize = 64;

/// Checks that run at once beside them: nothing follows from their answers, so that they have the smaller part.
pub(crate) const MAX_CHECKS_AT_ONCE: usize = 32;

/// From a failure before anything has ever passed to the next probe; doubled each time, up to the interval. A program
/// that has just been started listens after milliseconds, and would otherwise wait a whole interval for its traffic.
const FIRST_RETRY: Duration = Duration::from_millis(50);

/// All checks under way.
#[derive(Clone, Debug)]
pub(crate) struct Probes {
    /// How many may run.
    at_once: usize,
    checks: BTreeMap<TaskKey, Check>,
    /// When each that is not being probed is next.
    due: Deadlines<TaskKey>,
    running: usize,
}

#[derive(Clone, Debug)]
struct Check {
    terms: HealthCheck,
    probe: Arc<Probe>,
    /// End of the grace period; it also ends with the first success.
    grace_until: Timestamp,
    /// Whether a probe runs.
    running: bool,
    failures: u32,
    /// Pause after the next failure within the grace period.
    retry: Duration,
    /// What was said last.
    healthy: Option<bool>,
}

/// What a result means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No news.
    Nothing,
    /// It is healthy, and was not before.
    Healthy,
    /// It failed so many times in a row.
    Unhealthy { failures: u32, kill: bool },
}

impl Probes {
    /// None yet, and never more than `at_once` that run.
    pub(crate) fn new(at_once: usize) -> Self {
        Self {
            at_once,
            checks: BTreeMap::new(),
            due: Deadlines::default(),
            running: 0,
        }
    }

    /// Begins to check a task that runs since `since`; `healthy` is what was said before a restart of the agent.
    pub(crate) fn begin(
        &mut self,
        now: Timestamp,
        key: &TaskKey,
        terms: &HealthCheck,
        since: Timestamp,
        healthy: Option<bool>,
    ) {
        let grace_until = match healthy {
            Some(_) => now,
            None => since + terms.grace_period,
        };
        let check = Check {
            probe: Arc::new(terms.probe.clone()),
            grace_until,
            running: false,
            failures: 0,
            retry: FIRST_RETRY,
            healthy,
            terms: terms.clone(),
        };
        self.end(key);
        self.due.set(key.clone(), now.max(since + terms.delay));
        self.checks.insert(key.clone(), check);
    }

    /// Stops checking a task; a probe that runs is no longer listened to.
    pub(crate) fn end(&mut self, key: &TaskKey) {
        self.due.clear(key);
        let check = self.checks.remove(key);
        if check.is_some_and(|check| check.running) {
            self.running -= 1;
        }
    }

    /// The probes to run now.
    pub(crate) fn start_due(
        &mut self,
        now: Timestamp,
    ) -> Vec<(TaskKey, Arc<Probe>, std::time::Duration)> {
        let mut begun = Vec::new();
        while self.running < self.at_once
            && let Some(key) = self.due.pop(now)
        {
            if let Some(check) = self.checks.get_mut(&key) {
                check.running = true;
                self.running += 1;
                begun.push((key, Arc::clone(&check.probe), check.terms.timeout));
            }
        }
        begun
    }

    /// Counts a result.
    pub(crate) fn result(&mut self, now: Timestamp, key: &TaskKey, passed: bool) -> Verdict {
        let Some(check) = self.checks.get_mut(key).filter(|check| check.running) else {
            return Verdict::Nothing;
        };
        self.running -= 1;
        check.running = false;
        self.due.set(key.clone(), now + check.terms.interval);
        if passed {
            check.failures = 0;
            check.grace_until = Timestamp::EPOCH;
            return match check.healthy.replace(true) {
                Some(true) => Verdict::Nothing,
                Some(false) | None => Verdict::Healthy,
            };
        }
        if now < check.grace_until {
            let again = now + check.retry.min(check.terms.interval);
            self.due.set(key.clone(), again);
            check.retry = check.retry.saturating_mul(2);
            return Verdict::Nothing;
        }
        check.failures = check.failures.saturating_add(1);
        check.healthy = Some(false);
        Verdict::Unhealthy {
            failures: check.failures,
            kill: check.failures >= check.terms.consecutive_failures,
        }
    }

    /// When the next probe is due; none while as many run as may.
    pub(crate) fn deadline(&self) -> Option<Timestamp> {
        if self.running >= self.at_once {
            return None;
        }
        self.due.next()
    }
}
