//! The launch queue: which apps wait for offers, since when, why no offer was good, and how long failures delay them.

use std::sync::Arc;

use mete_model::{Offer, Timestamp};

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
