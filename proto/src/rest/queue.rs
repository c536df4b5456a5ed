//! The launch queue as `/v2/queue` prints it: what waits, since when, and why no offer was good.

use serde::{Deserialize, Serialize};

use super::apps::App;
use super::pods::Pod;

/// `GET /v2/queue`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Queue {
    /// By app.
    pub queue: Vec<Entry>,
}

/// An app or a pod that waits.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// How many of it wait.
    pub count: u32,
    /// In which role it takes resources; left out where that is the framework's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// How failures delay it.
    pub delay: Delay,
    /// Since when it waits.
    pub since: String,
    /// What offers were looked at.
    pub processed_offers_summary: Summary,
    /// The last offers that were not used, when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unused_offers: Option<Vec<UnusedOffer>>,
    /// The app, in the version to be launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub app: Option<App>,
    /// The pod, in the version to be launched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<Pod>,
}

/// How failures delay an app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Delay {
    /// Until it is tried again.
    pub time_left_seconds: u64,
    /// Whether it may be tried.
    pub overdue: bool,
}

/// What offers an app was matched with since it waits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Offers looked at.
    pub processed_offers_count: u64,
    /// Those not used.
    pub unused_offers_count: u64,
    /// When the last one was not used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_unused_offer_at: Option<String>,
    /// When the last one was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_used_offer_at: Option<String>,
    /// Why those of the last round were not good.
    pub reject_summary_last_offers: Vec<Rejected>,
    /// The same since it waits.
    pub reject_summary_launch_attempt: Vec<Rejected>,
}

/// One row of the funnel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejected {
    /// `InsufficientCpus`, …
    pub reason: String,
    /// Offers it turned down.
    pub declined: u64,
    /// Offers that passed the rows above.
    pub processed: u64,
}

/// An offer that was not used.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct UnusedOffer {
    /// Which.
    pub offer: Offer,
    /// Every reason.
    pub reason: Vec<String>,
    /// When.
    pub timestamp: String,
}

/// An offer.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Offer {
    /// Its id.
    pub id: String,
    /// Name of the agent.
    pub hostname: String,
    /// Id of the agent.
    pub agent_id: String,
    /// How much.
    pub resources: Vec<Quantity>,
    /// What the agent says of itself.
    pub attributes: Vec<Quantity>,
}

/// A resource of an offer, or an attribute of an agent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Quantity {
    /// `cpus`, `mem`, `ports`, `rack`, …
    pub name: String,
    /// In which role; resources only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// A number.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "super::number::optional")]
    pub scalar: Option<f64>,
    /// A set of numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranges: Option<Vec<Range>>,
    /// A text; attributes only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

/// Numbers from one to another, both included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Range {
    /// The first.
    pub begin: u64,
    /// The last.
    pub end: u64,
}
