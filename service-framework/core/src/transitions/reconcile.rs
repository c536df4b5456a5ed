//! What the master is asked, and when.

/// Tasks asked about in one call: some 100 KiB on the wire.
pub const MAX_RECONCILE_TASKS: usize = 1_000;
