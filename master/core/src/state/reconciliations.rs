//! Answers to RECONCILE that are told piece by piece, because they are longer than what should wait on a stream at once.
//!
//! ```text
//! asked ─▶ a piece is told ─▶ it has been read: the next piece … ─▶ all told: forgotten, as when the stream ends
//! ```
//! Each piece tells how things stand when it is told, so it never contradicts an update that went before it.

use std::collections::{BTreeMap, VecDeque};

use mete_model::{AgentId, FrameworkId, TaskId};

/// Answers that are told at once: a megabyte or two on a stream, milliseconds of a step.
pub(crate) const PIECE: usize = 4_096;

/// Tasks by name that one framework may have asked for and not heard of: those of five calls as large as calls may be.
pub(crate) const MAX_NAMED: usize = 1_000_000;

/// A task by name, and where its framework believes it to be.
pub(crate) type Named = (TaskId, Option<AgentId>);

/// What one call asks for, or several by name, as far as it has not been told.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    /// All tasks after this one, or all.
    All { after: Option<TaskId> },
    /// These.
    Named(VecDeque<Named>),
}

/// By framework, what it asked for and has not been told, oldest first; never none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reconciliations(BTreeMap<FrameworkId, VecDeque<Asked>>);

impl Reconciliations {
    /// Notes what a framework asks for. False: it has asked for so much already that this is not noted.
    pub(crate) fn ask(&mut self, framework: &FrameworkId, asked: Asked) -> bool {
        let mut waiting = self.0.get(framework).into_iter().flatten();
        match &asked {
            Asked::All { .. } => {
                let untold = |one: &Asked| matches!(one, Asked::All { after: None });
                if waiting.any(untold) {
                    return true; // What is told from the beginning answers both.
                }
            }
            Asked::Named(more) => {
                let names = waiting.map(|one| match one {
                    Asked::All { .. } => 0,
                    Asked::Named(names) => names.len(),
                });
                if names.sum::<usize>() + more.len() > MAX_NAMED {
                    return false;
                }
            }
        }
        let waiting = self.0.entry(framework.clone()).or_default();
        match asked {
            Asked::Named(more) => match waiting.back_mut() {
                Some(Asked::Named(last)) => last.extend(more),
                Some(Asked::All { .. }) | None => waiting.push_back(Asked::Named(more)),
            },
            Asked::All { .. } => waiting.push_back(asked),
        }
        true
    }

    /// Whether something waits to be told.
    pub(crate) fn has(&self, framework: &FrameworkId) -> bool {
        self.0.contains_key(framework)
    }

    /// Takes what is to be told next.
    pub(crate) fn next(&mut self, framework: &FrameworkId) -> Option<Asked> {
        let waiting = self.0.get_mut(framework)?;
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.0.remove(framework);
        }
        next
    }

    /// Puts back what has not been told of it.
    pub(crate) fn go_on_with(&mut self, framework: &FrameworkId, rest: Asked) {
        self.0
            .entry(framework.clone())
            .or_default()
            .push_front(rest);
    }

    /// Nobody is there to hear.
    pub(crate) fn forget(&mut self, framework: &FrameworkId) {
        self.0.remove(framework);
    }
}
