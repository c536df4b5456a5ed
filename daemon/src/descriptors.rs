//! How many files and connections a daemon may have open at once.
//!
//! Whoever starts a process mostly leaves it a soft limit of 1,024, for the sake of programs that wait with `select`, and
//! lets it take more. A daemon takes all that it may: each task of an agent, each agent of a master and each subscriber is a
//! descriptor or two.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tracing::{debug, warn};

/// Raises the soft limit of this process to the hard one. What it was before: for processes that are to have what they would
/// have had without this one between; `None`: no limit.
pub fn raise() -> Option<u64> {
    let before = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: before.maximum,
        ..before
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => debug!(from = before.current, to = before.maximum, "descriptors"),
        Err(error) => warn!(%error, "no more descriptors can be had than the soft limit says"),
    }
    before.current
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_may_be_had_is_taken_and_what_was_before_is_told() {
        let before = getrlimit(Resource::Nofile);
        let low = Rlimit {
            current: Some(512),
            ..before
        };
        setrlimit(Resource::Nofile, low).expect("less may always be had");

        assert_eq!(raise(), Some(512));
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
        assert_eq!(raise(), before.maximum);
    }
}
