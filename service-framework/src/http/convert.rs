//! `/v2` ↔ the core's words. Form is checked here, once; whether the parts make sense together is the core's to say.

mod app_in; // what a user says of an app → AppSpec
mod app_out; // AppSpec → what is printed
mod check; // what agents ask for information only, both ways
mod container; // what an instance runs in, both ways
mod event; // what happened → what subscribers read
mod group; // what a user says of a group → GroupSpec
mod health; // health checks, both ways
mod legacy; // what is not carried yet, and inputs of the old form
mod limits; // limits above the request, both ways
mod networks; // networks and the ports of containers, both ways
mod pod_in; // what a user says of a pod → AppSpec
mod pod_out; // AppSpec → a pod as it is printed
mod pod_status; // how a pod and its instances stand
mod ports; // port definitions, both ways
mod readiness; // readiness checks, both ways, and what they have said
mod task; // instances → tasks, with their statistics

pub(super) use app_in::{Extent, apply};
pub(super) use app_out::{app, version_info};
pub(super) use event::event;
pub(super) use group::{group, group_id, new_group};
pub(super) use pod_in::pod as apply_pod;
pub(super) use pod_out::pod;
pub(super) use pod_status::{pod_instance, pod_status};
pub(super) use readiness::results as readiness_results;
pub(super) use task::{failure, stats, task};

use mete_model::Timestamp;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::validate::Violation;

use super::failure::Failure;

/// What Marathon says of a word that is none of those it knows.
const UNKNOWN_WORD: &str = "error.unknown.enum.literal";

/// What is wrong with an input: its shape, or its meaning.
#[derive(Debug, Default)]
pub(super) struct Faults {
    /// A number out of its range, a word that is none of those allowed.
    pub(super) shape: Vec<Violation>,
    /// What cannot be done, or not yet.
    pub(super) meaning: Vec<Violation>,
}

impl Faults {
    fn shape(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.shape.push(Violation::new(path, message));
    }

    fn meaning(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.meaning.push(Violation::new(path, message));
    }

    fn not_carried(&mut self, path: impl Into<String>, what: &str) {
        self.meaning(path, format!("{what} is not carried yet"));
    }

    /// Takes over what was found at `place`.
    fn absorb(&mut self, place: &str, found: Self) {
        let below = |all: Vec<Violation>| all.into_iter().map(|found| found.below(place));
        self.shape.extend(below(found.shape));
        self.meaning.extend(below(found.meaning));
    }

    /// `what` when nothing is wrong.
    ///
    /// # Errors
    /// The faults of shape, or, when there are none, those of meaning.
    fn unless_any<T>(self, what: T) -> Result<T, Failure> {
        if !self.shape.is_empty() {
            return Err(Failure::wrong_shape(self.shape));
        }
        if !self.meaning.is_empty() {
            return Err(Failure::invalid(self.meaning));
        }
        Ok(what)
    }

    /// A whole number within a range.
    fn whole<T: TryFrom<i64> + Into<i64> + Copy>(
        &mut self,
        path: &str,
        value: i64,
        maximum: T,
    ) -> Option<T> {
        let maximum: i64 = maximum.into();
        if value < 0 {
            self.shape(path, "error.min");
            return None;
        }
        if value > maximum {
            self.shape(path, "error.max");
            return None;
        }
        T::try_from(value).ok()
    }

    /// The one of `known` that a word names, in upper or lower case, as Marathon reads it.
    fn word<T: Copy>(
        &mut self,
        path: impl Into<String>,
        said: &str,
        known: &[(&str, T)],
    ) -> Option<T> {
        let mut known = known.iter();
        let found = known.find(|(word, _)| word.eq_ignore_ascii_case(said));
        if found.is_none() {
            self.shape(path, UNKNOWN_WORD);
        }
        found.map(|(_, meant)| *meant)
    }

    /// A text of a length within a range, in bytes.
    fn text(&mut self, path: &str, text: &str, maximum: usize) {
        if text.is_empty() {
            self.shape(path, "error.minLength");
        } else if text.len() > maximum {
            self.shape(path, "error.maxLength");
        }
    }
}

/// Takes a moment as a user writes it.
pub(super) fn timestamp(text: &str) -> Result<Timestamp, Failure> {
    time::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Failure::unprocessable(format!(
            "Invalid timestamp provided '{shown}'. Expecting ISO-8601 datetime string."
        ))
    })
}

#[cfg(test)]
mod tests;
