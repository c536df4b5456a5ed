//! Turns: whoever merges a wish with what is there waits until those before have been answered.
//!
//! Without, of many who change one app at a time all but one merge with what is not there any more, and the last of them try
//! again until they are told to give up. A turn is taken before the view is read and given back with the answer, by which
//! time the view shows the change. Apps share a few rows of turns, so that those of different apps seldom meet; who waits is
//! a request, and there are no more of these than connections.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use mete_service_framework_core::spec::app::AppId;
use tokio::sync::{Mutex, OwnedMutexGuard};

/// So many that two of a hundred apps that are changed at once hardly ever wait for each other.
const ROWS: usize = 256;

/// The rows.
#[derive(Clone, Debug)]
pub(crate) struct Turns(Arc<[Arc<Mutex<()>>]>);

impl Default for Turns {
    fn default() -> Self {
        Self((0..ROWS).map(|_| Arc::default()).collect())
    }
}

impl Turns {
    /// Waits for the turn of all these apps, in the order in which it was asked for. Rows are taken from the lowest up, so
    /// that no two wait for each other.
    pub(super) async fn of<'a>(
        &self,
        apps: impl IntoIterator<Item = &'a AppId>,
    ) -> Vec<OwnedMutexGuard<()>> {
        let rows: BTreeSet<usize> = apps.into_iter().map(row).collect();
        let mut turns = Vec::with_capacity(rows.len());
        for row in rows {
            turns.push(Arc::clone(&self.0[row]).lock_owned().await);
        }
        turns
    }
}

fn row(app: &AppId) -> usize {
    let mut hasher = DefaultHasher::new();
    app.as_str().hash(&mut hasher);
    (hasher.finish() % ROWS as u64) as usize
}
