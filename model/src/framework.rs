//! A framework as it describes itself.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;

use crate::ids::FrameworkId;
use crate::role::Role;

/// What a framework says of itself when it subscribes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameworkInfo {
    /// `None` at the first subscription; the master gives one out.
    pub id: Option<FrameworkId>,
    /// For people.
    pub name: String,
    /// The user its tasks run as when they name none; empty: the agent's.
    pub user: String,
    /// The roles it takes resources in; at least one.
    pub roles: BTreeSet<Role>,
    /// What it understands.
    pub capabilities: BTreeSet<Capability>,
    /// How long its tasks are kept when it is away; zero: not at all.
    pub failover_timeout: Duration,
    /// Who it says it is; checked against the credentials of its stream.
    pub principal: Option<String>,
    /// Where it runs, for people.
    pub hostname: String,
    /// Its own pages, for people.
    pub webui_url: Option<String>,
    /// The `mesos.v1.FrameworkInfo` as it came.
    pub original: Bytes,
}

impl FrameworkInfo {
    /// Whether it understands `capability`.
    pub fn can(&self, capability: Capability) -> bool {
        self.capabilities.contains(&capability)
    }
}

macro_rules! capabilities {
    ($($(#[$doc:meta])* $name:ident = $wire:literal,)*) => {
        /// What a framework understands. Names are those of `mesos.v1.FrameworkInfo.Capability.Type`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Capability { $($(#[$doc])* $name,)* }

        impl Capability {
            /// Every capability.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The name on the wire: `PARTITION_AWARE`.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)* }
            }
        }
    };
}

capabilities! {
    /// Takes resources that may be withdrawn.
    RevocableResources = "REVOCABLE_RESOURCES",
    /// Wants to hear TASK_KILLING.
    TaskKillingState = "TASK_KILLING_STATE",
    /// Takes agents with GPUs.
    GpuResources = "GPU_RESOURCES",
    /// Takes resources used by several tasks at once.
    SharedResources = "SHARED_RESOURCES",
    /// Tells UNREACHABLE, DROPPED and GONE apart instead of LOST.
    PartitionAware = "PARTITION_AWARE",
    /// Holds several roles.
    MultiRole = "MULTI_ROLE",
    /// Understands refined reservations.
    ReservationRefinement = "RESERVATION_REFINEMENT",
    /// Takes agents of other regions.
    RegionAware = "REGION_AWARE",
    /// Takes parts of GPUs; Mete's own.
    GpuFractions = "GPU_FRACTIONS",
}

impl Capability {
    /// From the name on the wire.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|capability| capability.as_str() == name)
    }
}
