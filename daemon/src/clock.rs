//! The one place where time is read.
//!
//! Wall time is read once, at the first call; from then on the monotonic clock is added to it, so that time never
//! goes back within a process, whatever happens to the wall clock.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use mete_model::machine::Timestamp;

/// Wall time and monotonic time of the same moment.
struct Start {
    wall: Timestamp,
    monotonic: Instant,
}

/// Now: wall time at the start of the process plus the time since. Never goes back.
pub fn now() -> Timestamp {
    let start = start();
    start.wall + start.monotonic.elapsed()
}

/// Time since the start of the process; differences of it measure how long something took.
pub fn elapsed() -> Duration {
    start().monotonic.elapsed()
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where time is let in"
)]
fn start() -> &'static Start {
    static START: OnceLock<Start> = OnceLock::new();
    START.get_or_init(|| Start {
        // A machine whose clock stands before 1970 gets times near the epoch: wrong, but never going back.
        wall: Timestamp::EPOCH
            + SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or(Duration::ZERO),
        monotonic: Instant::now(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_never_goes_back_and_is_after_2020() {
        let first = now();
        let second = now();

        assert!(first <= second);
        assert!(first > Timestamp::from_millis(1_577_836_800_000));
    }
}
