//! Whose report goes next: the stream to the master is given only as many as it has room for, however many there are at once.
//!
//! ```text
//! ready ─▶ given ─▶ taken by the stream, which makes room
//!   │        ▲
//!   └▶ waits ┘ first come, first given
//! ```
//! Invariants: at most [`MAX_GIVEN_REPORTS`] are given and not taken; who waits has one place, and nobody waits while there is
//! room. Nothing here depends on acknowledgements: a framework that gives none holds up nobody.

use std::collections::BTreeMap;

use mete_model::TaskKey;

/// Most reports that the stream has and has not taken: a part of what may wait there, so that other words find room.
pub const MAX_GIVEN_REPORTS: u64 = 1_024;

/// Places in the row, and how much room the stream has. Both begin anew with each stream.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    given: u64,
    taken: u64,
    last: u64,
    row: BTreeMap<u64, TaskKey>,
    places: BTreeMap<TaskKey, u64>,
}

impl Turns {
    /// Whether there is room for one more; if not, the task has a place in the row.
    pub(super) fn has_room(&mut self, key: &TaskKey) -> bool {
        if self.room() {
            return true;
        }
        if !self.places.contains_key(key) {
            self.last += 1;
            self.row.insert(self.last, key.clone());
            self.places.insert(key.clone(), self.last);
        }
        false
    }

    fn room(&self) -> bool {
        self.given - self.taken < MAX_GIVEN_REPORTS
    }

    /// One more is given.
    pub(super) const fn give(&mut self) {
        self.given += 1;
    }

    /// The stream has taken so many since it began.
    pub(super) fn taken(&mut self, total: u64) {
        self.taken = total.clamp(self.taken, self.given);
    }

    /// Who is next, if there is room.
    pub(super) fn next(&mut self) -> Option<TaskKey> {
        if !self.room() {
            return None;
        }
        let (_, key) = self.row.pop_first()?;
        self.places.remove(&key);
        Some(key)
    }

    /// A task has nothing to say any more.
    pub(super) fn leave(&mut self, key: &TaskKey) {
        if let Some(place) = self.places.remove(key) {
            self.row.remove(&place);
        }
    }

    /// Another stream: all of it is room, and nobody waits.
    pub(super) fn begin_anew(&mut self) {
        *self = Self::default();
    }
}
