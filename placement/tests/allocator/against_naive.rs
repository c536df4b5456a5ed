//! Random events through the allocator and the naive one: the same grants, the same sums.
//!
//! A million events in small clusters; `METE_RANDOM_RUNS=100000` plays more runs than the default, and
//! `METE_RANDOM_RUN=1234` only that one, printing each event: a failure says which.

use mete_model::Devices;
use mete_placement::Allocator;

use crate::events::{Event, Player, tell, tell_naive};
use crate::naive::{Naive, amounts};

/// With [`EVENTS_PER_RUN`] a little more than a million events.
const RUNS: u64 = 5_120;
const EVENTS_PER_RUN: u64 = 200;
/// Whole tables are compared after so many events, grants after each, and when the run is over.
const EVENTS_PER_CHECK: u64 = 8;

/// Both allocators, told the same.
struct Pair {
    player: Player,
    real: Allocator,
    naive: Naive,
}

impl Pair {
    fn new(run: u64) -> Self {
        let mut player = Player::new(run, run);
        let options = player.options();
        Self {
            real: Allocator::new(options.clone()),
            naive: Naive::new(options),
            player,
        }
    }

    /// Agents do not say that a device is used twice.
    fn next(&mut self) -> Event {
        let mut event = self.player.event();
        if let Event::Claim(task) = &mut event
            && let Some(slot) = self.naive.slot(&task.agent)
            && self.naive.free(slot).pin(&task.resources).is_none()
        {
            task.resources =
                std::mem::take(&mut task.resources).with_named_devices(Devices::none());
        }
        event
    }

    fn play(&mut self, event: &Event) {
        let before = self.naive.quota_now();
        let could_give = self.real.wants_round()
            || matches!(event, Event::Round(now) if self.real.next_deadline().is_some_and(|end| end <= *now));
        let expected = tell_naive(event, &mut self.naive);

        let answer = tell(event, &mut self.real);

        assert_eq!(answer, expected);
        let granted = answer.grants;
        assert!(could_give || granted.is_empty(), "a round was wanted");
        if matches!(event, Event::Round(_)) {
            before.check_round(&self.naive.quota_now());
        }
        self.player.hear(&granted);
    }

    /// Nothing is lost and nothing is made: offered + used + free = total, as far as there is not more in use than there is.
    fn check_conservation(&self) {
        for (_, agent) in self.naive.agents() {
            let free = self.real.free(&agent.id).expect("it was added");
            assert!(agent.facts.total.contains(free), "{free} of {}", agent.id);
            let mut sum = free.clone();
            for (framework, role) in self.naive.clients() {
                let offered = self.real.on_offer(&agent.id, &framework, &role);
                let used = self.real.in_use(&agent.id, &framework, &role);
                for held in [offered, used].into_iter().flatten() {
                    sum.add(held);
                }
            }
            let total = agent.facts.total.clone();
            if agent.is_overdrawn() {
                let (sum, total) = (amounts(&sum), amounts(&total));
                assert!(sum.contains(&total), "{sum} of {total} on {}", agent.id);
            } else if sum.devices().is_empty() {
                assert_eq!(amounts(&sum), amounts(&total), "{}", agent.id);
            } else {
                assert_eq!(sum, total, "{}", agent.id);
            }
        }
    }

    fn check_tables(&self) {
        for (slot, agent) in self.naive.agents() {
            let id = &agent.id;
            assert_eq!(self.real.free(id), Some(&self.naive.free(slot)), "{id}");
            for client in &self.naive.clients() {
                let (framework, role) = client;
                let offered = self.real.on_offer(id, framework, role);
                assert_eq!(offered, agent.offered.get(client), "{client:?} on {id}");
                let used = self.real.in_use(id, framework, role);
                assert_eq!(used, agent.used.get(client), "{client:?} on {id}");
            }
        }
        let total = self.naive.total();
        assert_eq!(self.real.total(), total);
        assert_eq!(self.real.allocated(), self.naive.held_by(|_| true));
        assert_eq!(self.real.filters(), self.naive.filters());
        for usage in self.real.role_usage() {
            let below = self.naive.held_by(|client| client.1.is_within(&usage.role));
            assert_eq!(usage.allocated, below, "{}", usage.role);
            let clients = self.naive.clients().into_iter();
            let of_role = clients.filter(|client| client.1 == usage.role);
            assert_eq!(usage.frameworks, of_role.count(), "{}", usage.role);
        }
        for id in self.naive.frameworks.keys() {
            let held = self.naive.held_by(|client| client.0 == *id);
            let share = held.dominant_share(&total);
            assert_eq!(self.real.share(id), Some(share), "{id}");
            let open = self.naive.open_demand(id);
            assert_eq!(self.real.open_demand(id), open, "{id}");
        }
    }
}

fn play(run: u64, is_shown: bool) {
    let mut pair = Pair::new(run);
    let mut at = Shown {
        run,
        event: 0,
        last: None,
    };
    for event in 0..EVENTS_PER_RUN {
        let happens = pair.next();
        if is_shown {
            eprintln!("{event}: {happens:?}");
        }
        at.event = event;
        at.last = Some(happens.clone());
        pair.play(&happens);
        pair.check_conservation();
        if is_shown || event % EVENTS_PER_CHECK == 0 || event + 1 == EVENTS_PER_RUN {
            pair.check_tables();
        }
    }
}

/// The runs of one of [`PARTS`] tests, so that they run beside each other.
fn play_part(part: u64) {
    let number = |name| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    if let Some(run) = number("METE_RANDOM_RUN") {
        if part == 0 {
            play(run, true);
        }
        return;
    }
    let runs = number("METE_RANDOM_RUNS").unwrap_or(RUNS);
    for run in (0..runs).filter(|run| run % PARTS == part) {
        play(run, false);
    }
}

const PARTS: u64 = 4;

#[test]
fn the_allocator_grants_what_the_naive_one_grants() {
    play_part(0);
}

#[test]
fn the_allocator_grants_what_the_naive_one_grants_in_a_second_part_of_the_runs() {
    play_part(1);
}

#[test]
fn the_allocator_grants_what_the_naive_one_grants_in_a_third_part_of_the_runs() {
    play_part(2);
}

#[test]
fn the_allocator_grants_what_the_naive_one_grants_in_a_fourth_part_of_the_runs() {
    play_part(3);
}

/// Says where it was when a check panics.
struct Shown {
    run: u64,
    event: u64,
    last: Option<Event>,
}

impl Drop for Shown {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let Self { run, event, last } = self;
            eprintln!("METE_RANDOM_RUN={run}, event {event}: {last:?}");
        }
    }
}
