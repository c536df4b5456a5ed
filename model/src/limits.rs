//! How far a task may go beyond what it asks for. What it asks for is always its own; what it takes beyond is nobody's, and
//! may be taken back.

/// The most that a task gets of what can be had beyond the request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TaskLimits {
    /// Thousandths of a CPU; `None`: as its container or its agent says.
    pub cpus_milli: Option<Limit>,
    /// Bytes of memory; `None`: what it asks for.
    pub mem_bytes: Option<Limit>,
}

/// One upper bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// So much, in the unit of the field.
    At(u64),
    /// All that the machine has.
    Unlimited,
}

impl TaskLimits {
    /// Whether nothing is said.
    pub const fn is_empty(&self) -> bool {
        self.cpus_milli.is_none() && self.mem_bytes.is_none()
    }
}

impl Limit {
    /// The amount; `None` when there is no bound.
    pub const fn amount(self) -> Option<u64> {
        match self {
            Self::At(amount) => Some(amount),
            Self::Unlimited => None,
        }
    }

    /// The same in another unit.
    #[must_use]
    pub fn map(self, change: impl FnOnce(u64) -> u64) -> Self {
        match self {
            Self::At(amount) => Self::At(change(amount)),
            Self::Unlimited => Self::Unlimited,
        }
    }

    /// Whether `asked` is more than this.
    pub const fn is_below(self, asked: u64) -> bool {
        match self {
            Self::At(amount) => amount < asked,
            Self::Unlimited => false,
        }
    }
}
