//! What has happened how often since this agent started; for `/metrics/snapshot`. They only grow.

/// Counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Executors that are over; a task that came alone is one.
    pub executors_ended: u64,
    /// Launches of tasks and executors that came to nothing.
    pub launches_failed: u64,
    /// Reports made.
    pub reports: u64,
    /// Reports of executors on tasks of others.
    pub reports_refused: u64,
    /// Messages given to executors.
    pub messages: u64,
    /// Messages to executors that do not listen.
    pub messages_dropped: u64,
    /// Sandboxes removed.
    pub sandboxes_removed: u64,
    /// Tries to remove one that failed.
    pub sandboxes_not_removed: u64,
}
