//! How many old instances may go and how many new ones may come while an app is replaced. Pure.
//!
//! The arithmetic is that of Marathon's rolling upgrade, written as a function of where things stand, so that it can be
//! asked again after every event and after every restart. `n` instances are wanted:
//! - so many stay healthy: `n × minimumHealthCapacity`, rounded up; each new one that is ready makes room for an old
//!   one to go;
//! - so many may be there at once: `n × (1 + maximumOverCapacity)`, rounded down, those on their way out included; one
//!   more where nothing could move otherwise. Where instances have volumes, one less stays healthy instead: none may have
//!   the volume of another.

use crate::spec::app::UpgradeStrategy;

/// Where the replacement of an app stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// Instances wanted.
    pub wanted: u32,
    /// New instances that count and are on an agent.
    pub new_placed: u32,
    /// Those of them that do their work.
    pub new_ready: u32,
    /// Old instances that count and are on an agent.
    pub old_placed: u32,
    /// Instances on their way out.
    pub condemned: u32,
    /// Those of them that are old.
    pub old_condemned: u32,
    /// Whether new ones take the volumes of old ones.
    pub is_resident: bool,
}

/// What follows from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moves {
    /// So many old instances are killed.
    pub kill_old: u32,
    /// So many new instances are killed: more are there than wanted.
    pub kill_new: u32,
    /// So many new instances wait for an offer.
    pub wait: u32,
}

/// What may be done now.
pub fn moves(standing: Standing, strategy: UpgradeStrategy) -> Moves {
    let Standing {
        wanted,
        new_placed,
        new_ready,
        old_placed,
        condemned,
        old_condemned,
        is_resident,
    } = standing;
    let missing = wanted.saturating_sub(new_placed);
    let kill_new = new_placed.saturating_sub(wanted);
    if old_placed == 0 && old_condemned == 0 {
        return Moves {
            kill_old: 0,
            kill_new,
            wait: missing,
        }; // nothing is replaced, only kept or scaled
    }
    let minimum_healthy = part_up(wanted, strategy.minimum_health_capacity);
    let (minimum_healthy, capacity) = match is_resident {
        true => (minimum_healthy.min(wanted.saturating_sub(1)), wanted),
        false => (minimum_healthy, capacity(wanted, strategy)),
    };
    let kept_old = minimum_healthy.saturating_sub(new_ready);
    let present = new_placed
        .saturating_add(old_placed)
        .saturating_add(condemned);
    Moves {
        kill_old: old_placed.saturating_sub(kept_old),
        kill_new,
        wait: missing.min(capacity.saturating_sub(present)),
    }
}

/// The most instances that may be there at once while an app is replaced.
pub fn capacity(wanted: u32, strategy: UpgradeStrategy) -> u32 {
    let capacity = wanted.saturating_add(part_down(wanted, strategy.maximum_over_capacity));
    // Else none might go before another came, and none might come before another went.
    let is_stuck = wanted > 0 && capacity <= part_up(wanted, strategy.minimum_health_capacity);
    capacity.saturating_add(u32::from(is_stuck))
}

fn part_up(whole: u32, part: f64) -> u32 {
    (f64::from(whole) * part).ceil() as u32
}

fn part_down(whole: u32, part: f64) -> u32 {
    (f64::from(whole) * part).floor() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strategy(minimum_health_capacity: f64, maximum_over_capacity: f64) -> UpgradeStrategy {
        UpgradeStrategy {
            minimum_health_capacity,
            maximum_over_capacity,
        }
    }

    fn standing(
        wanted: u32,
        new_placed: u32,
        new_ready: u32,
        old_placed: u32,
        old_condemned: u32,
    ) -> Standing {
        Standing {
            wanted,
            new_placed,
            new_ready,
            old_placed,
            condemned: old_condemned,
            old_condemned,
            is_resident: false,
        }
    }

    #[test]
    fn by_default_all_new_ones_come_before_an_old_one_goes() {
        let all = strategy(1.0, 1.0);

        assert_eq!(
            moves(standing(3, 0, 0, 3, 0), all),
            Moves {
                kill_old: 0,
                kill_new: 0,
                wait: 3
            }
        );
        assert_eq!(moves(standing(3, 3, 0, 3, 0), all), Moves::default());
        assert_eq!(
            moves(standing(3, 3, 2, 3, 0), all),
            Moves {
                kill_old: 2,
                kill_new: 0,
                wait: 0
            }
        );
        assert_eq!(
            moves(standing(3, 3, 3, 1, 2), all),
            Moves {
                kill_old: 1,
                kill_new: 0,
                wait: 0
            }
        );
    }

    #[test]
    fn without_room_for_more_old_ones_end_before_new_ones_come() {
        let in_place = strategy(0.5, 0.0);

        assert_eq!(
            moves(standing(4, 0, 0, 4, 0), in_place),
            Moves {
                kill_old: 2,
                kill_new: 0,
                wait: 0
            }
        );
        assert_eq!(moves(standing(4, 0, 0, 2, 2), in_place), Moves::default());
        assert_eq!(
            moves(standing(4, 0, 0, 2, 0), in_place),
            Moves {
                kill_old: 0,
                kill_new: 0,
                wait: 2
            }
        );
        assert_eq!(
            moves(standing(4, 2, 1, 2, 0), in_place),
            Moves {
                kill_old: 1,
                kill_new: 0,
                wait: 0
            }
        );
    }

    #[test]
    fn where_nothing_could_move_one_more_may_come() {
        assert_eq!(
            moves(standing(2, 0, 0, 2, 0), strategy(1.0, 0.0)),
            Moves {
                kill_old: 0,
                kill_new: 0,
                wait: 1
            }
        );
        assert_eq!(
            moves(standing(1, 0, 0, 1, 0), strategy(1.0, 0.5)),
            Moves {
                kill_old: 0,
                kill_new: 0,
                wait: 1
            }
        );
    }

    #[test]
    fn where_instances_have_volumes_one_goes_before_another_comes() {
        let all_healthy = strategy(1.0, 0.0);
        let resident = |standing| Standing {
            is_resident: true,
            ..standing
        };

        assert_eq!(
            moves(resident(standing(2, 0, 0, 2, 0)), all_healthy),
            Moves {
                kill_old: 1,
                kill_new: 0,
                wait: 0
            }
        );
        assert_eq!(
            moves(resident(standing(2, 0, 0, 1, 0)), all_healthy),
            Moves {
                kill_old: 0,
                kill_new: 0,
                wait: 1
            }
        );
    }

    #[test]
    fn fewer_wanted_than_there_kills_the_rest_at_once() {
        assert_eq!(
            moves(standing(2, 0, 0, 5, 0), strategy(1.0, 1.0)),
            Moves {
                kill_old: 3,
                kill_new: 0,
                wait: 0
            }
        );
        assert_eq!(
            moves(standing(0, 0, 0, 5, 0), strategy(1.0, 1.0)),
            Moves {
                kill_old: 5,
                kill_new: 0,
                wait: 0
            }
        );
    }

    #[test]
    fn a_single_instance_app_never_runs_twice() {
        let single = strategy(0.0, 0.0);

        assert_eq!(
            moves(standing(1, 0, 0, 1, 0), single),
            Moves {
                kill_old: 1,
                kill_new: 0,
                wait: 0
            }
        );
        assert_eq!(moves(standing(1, 0, 0, 0, 1), single), Moves::default());
        assert_eq!(
            moves(standing(1, 0, 0, 0, 0), single),
            Moves {
                kill_old: 0,
                kill_new: 0,
                wait: 1
            }
        );
    }

    #[test]
    fn every_strategy_comes_to_an_end_within_its_bounds() {
        for wanted in 0..7_u32 {
            for (minimum, over) in [
                (0.0, 0.0),
                (0.3, 0.0),
                (0.5, 0.5),
                (1.0, 0.0),
                (1.0, 0.2),
                (1.0, 1.0),
                (0.9, 0.1),
            ] {
                let strategy = strategy(minimum, over);
                let mut at = standing(wanted, 0, 0, 5, 0);
                for _ in 0..100 {
                    let next = moves(at, strategy);
                    at.old_placed -= next.kill_old;
                    at.new_placed += next.wait;
                    assert!(
                        at.new_placed + at.old_placed <= capacity(wanted, strategy).max(5),
                        "{at:?}"
                    );
                    assert!(
                        at.new_ready + at.old_placed >= part_up(wanted, minimum).min(5),
                        "{at:?}"
                    );
                    at.new_ready = (at.new_ready + 1).min(at.new_placed);
                }
                assert_eq!(
                    (at.new_ready, at.old_placed),
                    (wanted, 0),
                    "{minimum} {over}"
                );
            }
        }
    }
}
