//! The link to the master: whether it hears us, whether we want offers, and what it is asked again and again.

use std::collections::BTreeMap;
use std::time::Duration;

use mete_model::{AgentId, FrameworkId, TaskId, Timestamp};

/// Offers are asked for at once when something begins to wait, but not more often than this: a revive makes the master
/// forget every refusal. (Marathon waits 5 s; our master does it in one pass over what it has.)
pub const MIN_REVIVE_INTERVAL: Duration = Duration::from_millis(500);
/// When nothing waited and no offers were made, whoever comes waits no longer than this: it costs the master a pass for each
/// such change, which are few, since each ends with a launch.
pub const MIN_WAKE_INTERVAL: Duration = Duration::from_millis(10);
/// The master is asked for the state of every task this often (Marathon's `reconciliation_interval`).
pub const RECONCILE_INTERVAL: Duration = Duration::from_secs(600);
/// Tasks not ours any more whose kill is repeated; more wait for the next reconciliation.
pub const MAX_STRAYS: usize = 10_000;

/// A task that runs and should not: its instance was given up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stray {
    pub(crate) agent: Option<AgentId>,
    /// When to kill it again.
    pub(crate) again: Timestamp,
}

/// The link to the master.
#[derive(Clone, Debug, Default)]
pub(crate) struct Master {
    /// Our id.
    pub(crate) framework: Option<FrameworkId>,
    /// Its address, for people.
    pub(crate) address: Option<String>,
    /// The region it is in, as far as it says.
    pub(crate) region: Option<String>,
    /// Whether it hears us.
    pub(crate) is_connected: bool,
    /// Since when it hears us, or when it did last.
    pub(crate) since: Option<Timestamp>,
    /// Whether it makes us no offers.
    pub(crate) is_suppressed: bool,
    /// Whether something has changed that makes declined offers worth another look.
    pub(crate) wants_revive: bool,
    /// Whether something waits that may be launched now.
    pub(crate) has_demand: bool,
    pub(crate) last_revive: Option<Timestamp>,
    pub(crate) reconcile_at: Option<Timestamp>,
    pub(crate) strays: BTreeMap<TaskId, Stray>,
}

impl Master {
    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        if !self.is_connected {
            return None;
        }
        let revive = self.revive_at();
        let strays = self.strays.values().map(|stray| stray.again).min();
        [revive, strays, self.reconcile_at]
            .into_iter()
            .flatten()
            .min()
    }

    /// When offers are to be asked for; `None`: not.
    pub(crate) fn revive_at(&self) -> Option<Timestamp> {
        let is_wanted = self.has_demand && self.wants_revive;
        let pause = match self.is_suppressed {
            true => MIN_WAKE_INTERVAL,
            false => MIN_REVIVE_INTERVAL,
        };
        is_wanted.then(|| {
            self.last_revive
                .map_or(Timestamp::EPOCH, |last| last + pause)
        })
    }
}
