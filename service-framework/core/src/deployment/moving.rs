//! How many instances may come and go while agents under some of an app drain. Pure.
//!
//! Replacements come first: as many at once as `maximumOverCapacity` allows beside those that are there, those on their way
//! out included. An instance goes when another does its work in its place. Where an app may not have one more, its
//! instances stay, and the master ends them at the deadline.

use crate::deployment::upgrade;
use crate::spec::app::UpgradeStrategy;

/// Where the instances of an app stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Instances wanted.
    pub wanted: u32,
    /// On agents that do not drain.
    pub staying: u32,
    /// Those of them that do their work.
    pub staying_ready: u32,
    /// On agents that drain.
    pub leaving: u32,
    /// On their way out, wherever they are.
    pub condemned: u32,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// So many go from agents that drain.
    pub kill_leaving: u32,
    /// So many of the others go: more are there than wanted.
    pub kill_staying: u32,
    /// So many wait for an offer.
    pub wait: u32,
}

/// What may be done now.
pub fn moves(standing: Standing, strategy: UpgradeStrategy) -> Moves {
    let Standing {
        wanted,
        staying,
        staying_ready,
        leaving,
        condemned,
    } = standing;
    let placed = staying.saturating_add(leaving);
    let present = placed.saturating_add(condemned);
    let room = upgrade::capacity(wanted, strategy).saturating_sub(present);
    let missing = wanted.saturating_sub(placed);
    let to_replace = wanted.saturating_sub(staying);
    Moves {
        kill_leaving: leaving.saturating_sub(wanted.saturating_sub(staying_ready)),
        kill_staying: staying.saturating_sub(wanted),
        wait: missing.max(to_replace.min(room)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn strategy(minimum_health_capacity: f64, maximum_over_capacity: f64) -> UpgradeStrategy {
        UpgradeStrategy {
            minimum_health_capacity,
            maximum_over_capacity,
        }
    }

    fn at(wanted: u32, staying: u32, staying_ready: u32, leaving: u32) -> Standing {
        Standing {
            wanted,
            staying,
            staying_ready,
            leaving,
            condemned: 0,
        }
    }

    fn told(kill_leaving: u32, kill_staying: u32, wait: u32) -> Moves {
        Moves {
            kill_leaving,
            kill_staying,
            wait,
        }
    }

    #[test]
    fn one_goes_when_another_is_ready_in_its_place() {
        let all = strategy(1.0, 1.0);

        assert_eq!(moves(at(4, 2, 2, 2), all), told(0, 0, 2));
        assert_eq!(moves(at(4, 4, 2, 2), all), told(0, 0, 0));
        assert_eq!(moves(at(4, 4, 3, 2), all), told(1, 0, 0));
        assert_eq!(moves(at(4, 4, 4, 2), all), told(2, 0, 0));
    }

    #[test]
    fn no_more_come_than_may_be_there_at_once() {
        let one_more = strategy(1.0, 0.25);

        assert_eq!(moves(at(4, 2, 2, 2), one_more), told(0, 0, 1));
        let one_goes = Standing {
            condemned: 1,
            ..at(4, 3, 3, 1)
        };
        assert_eq!(moves(one_goes, one_more), told(0, 0, 0));
        assert_eq!(moves(at(4, 3, 3, 1), one_more), told(0, 0, 1));
    }

    #[test]
    fn an_app_that_may_not_have_one_more_stays() {
        assert_eq!(moves(at(1, 0, 0, 1), strategy(0.0, 0.0)), told(0, 0, 0));
        assert_eq!(moves(at(4, 2, 2, 2), strategy(0.5, 0.0)), told(0, 0, 0));
        // All of them must be healthy, so one more may come: nothing could move otherwise.
        assert_eq!(moves(at(4, 2, 2, 2), strategy(1.0, 0.0)), told(0, 0, 1));
    }

    #[test]
    fn what_is_missing_comes_and_what_is_too_much_goes_all_the_same() {
        let all = strategy(1.0, 0.0);

        assert_eq!(moves(at(6, 2, 2, 2), all), told(0, 0, 3));
        assert_eq!(moves(at(2, 3, 3, 1), all), told(1, 1, 0));
    }
}
