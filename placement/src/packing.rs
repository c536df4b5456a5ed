//! Where something fits best: scores with a total order.

/// In which order agents and offers are filled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Policy {
    /// The most used first, so that empty machines stay whole.
    #[default]
    BestFit,
    /// The least used first.
    Spread,
    /// The first in order of id.
    FirstFit,
}
