//! What survives a restart, and how it lies on disk.

use mete_model::machine::{Change, Durable};

/// A change that must outlive a restart.
#[derive(Clone, Debug, PartialEq)]
pub enum Record {}

impl Durable for Record {
    fn changes(&self) -> Vec<Change> {
        match *self {}
    }
}

/// An entry of the store that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("record {key:?} cannot be read: {why}")]
pub struct BadRecord {
    /// Its key, as far as it is text.
    pub key: String,
    /// What is wrong with it.
    pub why: String,
}
