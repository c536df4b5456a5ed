//! The whole state, and `step`.

use std::time::Duration;

use mete_model::machine::{Effects, Machine, Timestamp};

use crate::backends::Backends;
use crate::effects::{Action, Reply};
use crate::input::Input;
use crate::record::{BadRecord, Record};
use crate::view::View;

/// What the operator may set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The role offers are taken in.
    pub role: String,
    /// The first service port that may be given (10000).
    pub first_service_port: u16,
    /// The last one, included (20000).
    pub last_service_port: u16,
    /// An instance that drains is killed after this time at the latest (10 s).
    pub drain_deadline: Duration,
    /// Offers of no use are not wanted again for so long (120 s).
    pub decline: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            role: "*".to_owned(),
            first_service_port: 10_000,
            last_service_port: 20_000,
            drain_deadline: Duration::from_secs(10),
            decline: Duration::from_secs(120),
        }
    }
}

/// What is new at each start: randomness and the name of this life. Given by the shell, since cores have neither.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// Thirty-two random bytes: ids and choices of ports come from them.
    pub seed: [u8; 32],
    /// The epoch of the healthy-task list: a new UUID.
    pub epoch: String,
}

/// The part of the service framework that decides.
#[derive(Clone, Debug)]
pub struct Orchestrator {
    settings: Settings,
    backends: Backends,
}

impl Orchestrator {
    /// Rebuilds the state from what the store holds; with nothing in it, everything begins.
    ///
    /// # Errors
    /// [`BadRecord`] names the entry that cannot be read.
    pub fn recover(
        settings: Settings,
        life: Life,
        now: Timestamp,
        entries: Vec<(Vec<u8>, Vec<u8>)>,
    ) -> Result<Self, BadRecord> {
        let _ = (now, entries);
        Ok(Self {
            settings,
            backends: Backends::new(&life.epoch),
        })
    }

    /// Our id from before the restart, to subscribe with.
    pub fn framework(&self) -> Option<&mete_model::FrameworkId> {
        None
    }

    /// What the operator has set.
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }
}

impl Machine for Orchestrator {
    type Input = Input;
    type Record = Record;
    type Action = Action;
    type Reply = Reply;
    type View = View;

    fn step(&mut self, _now: Timestamp, _input: Input) -> Effects<Self> {
        Effects::none()
    }

    fn deadline_input() -> Input {
        Input::Deadline
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        None
    }

    fn view(&self) -> View {
        View {
            apps: Default::default(),
            deployments: Default::default(),
            queue: Default::default(),
            backends: self.backends.clone(),
            framework: None,
            connected: false,
        }
    }
}
