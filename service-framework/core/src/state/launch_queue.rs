//! The launch queue: which apps wait for offers, since when, why no offer was good, and how long failures delay them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mete_model::{Offer, Timestamp};

use crate::spec::app::{AppId, Backoff};
use crate::spec::history::AppVersion;

/// Offers kept per app to show why they were not used.
pub const MAX_LAST_OFFERS: usize = 5;

/// An app that waits, as `/v2/queue` shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Queued {
    /// The app, in the version to be launched.
    pub version: Arc<AppVersion>,
    /// How many of it wait.
    pub count: u32,
    /// Since when.
    pub since: Timestamp,
    /// Nothing is launched before; `None`: no failure delays it.
    pub delayed_until: Option<Timestamp>,
    /// What offers were looked at, and why they were not good.
    pub offers: Arc<OfferSummary>,
}

/// What offers an app was matched with since it waits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct OfferSummary {
    /// Offers looked at.
    pub processed: u64,
    /// Those not used.
    pub unused: u64,
    /// When the last one was not used.
    pub last_unused_at: Option<Timestamp>,
    /// When the last one was used.
    pub last_used_at: Option<Timestamp>,
    /// Of the last round of offers: for each reason how many it turned down, in the order of [`Reject::ALL`].
    pub last_offers: [u64; Reject::ALL.len()],
    /// Offers in that round.
    pub last_offers_processed: u64,
    /// The same since the app waits.
    pub launch_attempt: [u64; Reject::ALL.len()],
    /// The last offers not used, newest first, with every reason.
    pub last_unused: Vec<(Arc<Offer>, Vec<Reject>, Timestamp)>,
}

/// Why an offer was not good for an app, in the order of the funnel: each is counted among those that passed the
/// reasons before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reject {
    /// Its role is not accepted.
    UnfulfilledRole,
    /// A constraint is not met.
    UnfulfilledConstraint,
    /// No reservation of its own.
    NoCorrespondingReservationFound,
    /// The agent is to be taken down.
    AgentMaintenance,
    /// Too little CPU.
    InsufficientCpus,
    /// Too little memory.
    InsufficientMemory,
    /// Too little disk.
    InsufficientDisk,
    /// Too few GPUs.
    InsufficientGpus,
    /// Not the ports it needs.
    InsufficientPorts,
    /// Kept for those who need what is rare.
    DeclinedScarceResources,
}

impl Reject {
    /// Every reason, in the order of the funnel.
    pub const ALL: [Self; 10] = [
        Self::UnfulfilledRole,
        Self::UnfulfilledConstraint,
        Self::NoCorrespondingReservationFound,
        Self::AgentMaintenance,
        Self::InsufficientCpus,
        Self::InsufficientMemory,
        Self::InsufficientDisk,
        Self::InsufficientGpus,
        Self::InsufficientPorts,
        Self::DeclinedScarceResources,
    ];

    /// The name in the API.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnfulfilledRole => "UnfulfilledRole",
            Self::UnfulfilledConstraint => "UnfulfilledConstraint",
            Self::NoCorrespondingReservationFound => "NoCorrespondingReservationFound",
            Self::AgentMaintenance => "AgentMaintenance",
            Self::InsufficientCpus => "InsufficientCpus",
            Self::InsufficientMemory => "InsufficientMemory",
            Self::InsufficientDisk => "InsufficientDisk",
            Self::InsufficientGpus => "InsufficientGpus",
            Self::InsufficientPorts => "InsufficientPorts",
            Self::DeclinedScarceResources => "DeclinedScarceResources",
        }
    }
}

impl OfferSummary {
    /// The rows of a reject summary: reason, declined by it, processed by it.
    pub fn rows(declined: &[u64; Reject::ALL.len()], processed: u64) -> Vec<(Reject, u64, u64)> {
        let mut left = processed;
        let row = |(reason, declined): (Reject, &u64)| {
            let processed = left;
            left = left.saturating_sub(*declined);
            (reason, *declined, processed)
        };
        Reject::ALL.into_iter().zip(declined).map(row).collect()
    }
}

/// How long failures delay an app.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Delay {
    /// The config that failed; another one is tried at once.
    config: Timestamp,
    delay: Duration,
    until: Timestamp,
}

/// Who waits, and who is delayed.
#[derive(Clone, Debug, Default)]
pub(crate) struct LaunchQueue {
    queued: Arc<BTreeMap<AppId, Queued>>,
    delays: BTreeMap<AppId, Delay>,
    /// Delays that have not ended yet.
    pending: BTreeSet<(Timestamp, AppId)>,
}

impl LaunchQueue {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<AppId, Queued>> {
        Arc::clone(&self.queued)
    }

    /// Whether something waits that may be launched now.
    pub(crate) fn has_demand(&self, now: Timestamp) -> bool {
        self.queued
            .values()
            .any(|queued| self.may_launch(now, &queued.version))
    }

    pub(crate) fn is_queued(&self, app: &AppId) -> bool {
        self.queued.contains_key(app)
    }

    /// Notes how many of an app wait; none takes it off the queue.
    pub(crate) fn note(&mut self, now: Timestamp, version: &Arc<AppVersion>, count: u32) {
        let app = &version.spec.id;
        let delayed_until = self.delayed_until(version).filter(|until| *until > now);
        if let Some(queued) = self.queued.get(app) {
            let is_same = queued.count == count
                && queued.delayed_until == delayed_until
                && queued.version == *version;
            if is_same {
                return;
            }
        }
        if count == 0 {
            self.drop_app(app);
            return;
        }
        let queued = Arc::make_mut(&mut self.queued)
            .entry(app.clone())
            .or_insert_with(|| Queued {
                version: Arc::clone(version),
                count,
                since: now,
                delayed_until,
                offers: Arc::default(),
            });
        queued.version = Arc::clone(version);
        queued.count = count;
        queued.delayed_until = delayed_until;
    }

    /// Takes an app off the queue.
    pub(crate) fn drop_app(&mut self, app: &AppId) {
        if self.queued.contains_key(app) {
            Arc::make_mut(&mut self.queued).remove(app);
        }
    }

    /// Notes what came of offers that an app was matched with.
    pub(crate) fn note_offers(&mut self, app: &AppId, note: impl FnOnce(&mut OfferSummary)) {
        if self.queued.contains_key(app)
            && let Some(queued) = Arc::make_mut(&mut self.queued).get_mut(app)
        {
            note(Arc::make_mut(&mut queued.offers));
        }
    }

    /// Notes a failure: the next launch is delayed, each time longer. A delay that ended long ago counts no more.
    pub(crate) fn failed(
        &mut self,
        now: Timestamp,
        app: &AppId,
        config: Timestamp,
        backoff: Backoff,
    ) {
        let before = self
            .forget_delay(app)
            .filter(|delay| delay.config == config && now <= delay.until + backoff.maximum);
        let delay = match before {
            Some(before) => {
                let longer = before.delay.as_secs_f64() * backoff.factor.max(1.0);
                Duration::try_from_secs_f64(longer)
                    .unwrap_or(backoff.maximum)
                    .max(backoff.initial)
            }
            None => backoff.initial,
        };
        let delay = delay.min(backoff.maximum);
        let until = now + delay;
        self.pending.insert((until, app.clone()));
        self.delays.insert(
            app.clone(),
            Delay {
                config,
                delay,
                until,
            },
        );
    }

    /// Forgets the failures of an app; whether there were any.
    pub(crate) fn reset(&mut self, app: &AppId) -> bool {
        self.forget_delay(app).is_some()
    }

    /// When a version may be launched again; `None`: nothing of its config has failed.
    pub(crate) fn delayed_until(&self, version: &AppVersion) -> Option<Timestamp> {
        let delay = self.delays.get(&version.spec.id)?;
        (delay.config == version.last_config_change_at).then_some(delay.until)
    }

    /// Whether a version may be launched now.
    pub(crate) fn may_launch(&self, now: Timestamp, version: &AppVersion) -> bool {
        self.delayed_until(version).is_none_or(|until| until <= now)
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.pending.first().map(|(until, _)| *until)
    }

    /// Apps whose delay has just ended.
    pub(crate) fn take_due(&mut self, now: Timestamp) -> Vec<AppId> {
        let mut due = Vec::new();
        while self.pending.first().is_some_and(|(until, _)| *until <= now) {
            due.extend(self.pending.pop_first().map(|(_, app)| app));
        }
        due
    }

    fn forget_delay(&mut self, app: &AppId) -> Option<Delay> {
        let delay = self.delays.remove(app)?;
        self.pending.remove(&(delay.until, app.clone()));
        Some(delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::app::AppSpec;

    fn version(config_ms: u64) -> AppVersion {
        let spec = AppSpec::new(AppId::new("/web").expect("good"));
        AppVersion::first(Timestamp::from_millis(config_ms), Arc::new(spec))
    }

    #[test]
    fn each_failure_delays_longer_up_to_the_maximum_until_all_is_quiet() {
        let (mut queue, web, other) = (LaunchQueue::default(), version(1), version(2));
        let app = &web.spec.id;
        let backoff = Backoff {
            initial: Duration::from_secs(1),
            factor: 2.0,
            maximum: Duration::from_secs(5),
        };
        let mut now = Timestamp::from_millis(1_000_000);

        for expected_s in [1, 2, 4, 5, 5] {
            queue.failed(now, app, web.last_config_change_at, backoff);
            assert_eq!(
                queue.delayed_until(&web),
                Some(now + Duration::from_secs(expected_s))
            );
            assert!(!queue.may_launch(now, &web));
            assert!(
                queue.may_launch(now, &other),
                "another config is tried at once"
            );
            now = now + Duration::from_secs(expected_s);
            assert!(queue.may_launch(now, &web));
            assert_eq!(queue.take_due(now), std::slice::from_ref(app));
        }

        now = now + Duration::from_secs(6);
        queue.failed(now, app, web.last_config_change_at, backoff);
        let first = Some(now + Duration::from_secs(1));
        assert_eq!(
            queue.delayed_until(&web),
            first,
            "nothing failed for the maximum"
        );
        queue.failed(now, app, other.last_config_change_at, backoff);
        assert_eq!(
            queue.delayed_until(&other),
            first,
            "each config begins anew"
        );
        assert!(queue.reset(app));
        assert!(queue.may_launch(now, &other));
        assert_eq!(queue.next_deadline(), None);
    }

    #[test]
    fn a_row_of_the_funnel_counts_those_that_passed_the_rows_above() {
        let mut declined = [0; Reject::ALL.len()];
        declined[1] = 3;
        declined[4] = 2;

        let rows = OfferSummary::rows(&declined, 10);

        assert_eq!(rows[1], (Reject::UnfulfilledConstraint, 3, 10));
        assert_eq!(rows[4], (Reject::InsufficientCpus, 2, 7));
        assert_eq!(rows[5], (Reject::InsufficientMemory, 0, 5));
    }
}
