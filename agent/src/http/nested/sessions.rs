//! Sessions by the name that their callers gave them, and how those ended that are over.
//!
//! Invariants: a name is there as long as its session runs, and then as one of the last [`MAX_ENDED`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::Stream;
use mete_agent_core::task_dir::End;
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::ReceiverStream;

use crate::sessions::Said;

/// Ends that are remembered for who asks later.
const MAX_ENDED: usize = 256;

/// What is typed and waits, for a command that is slow to read.
const WAITING_INPUT: usize = 4;

/// All of them.
#[derive(Clone, Default)]
pub(crate) struct ByName(Arc<Mutex<Names>>);

#[derive(Default)]
struct Names {
    running: BTreeMap<String, Running>,
    ended: VecDeque<(String, End)>,
}

struct Running {
    said: mpsc::Sender<Said>,
    end: watch::Receiver<Option<End>>,
}

/// The place of one session; when it is dropped the name is free, or kept with its end.
pub(super) struct Entry {
    names: ByName,
    name: String,
    end: watch::Sender<Option<End>>,
    waiting: Mutex<Option<mpsc::Receiver<Said>>>,
}

impl ByName {
    fn lock(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a name; `None` when it is taken.
    pub(super) fn enter(&self, name: &str) -> Option<Entry> {
        let mut names = self.lock();
        let is_taken =
            names.running.contains_key(name) || names.ended.iter().any(|(ended, _)| ended == name);
        if is_taken {
            return None;
        }
        let (said, waiting) = mpsc::channel(WAITING_INPUT);
        let (end, ends) = watch::channel(None);
        names
            .running
            .insert(name.to_owned(), Running { said, end: ends });
        drop(names);
        Some(Entry {
            names: self.clone(),
            name: name.to_owned(),
            end,
            waiting: Mutex::new(Some(waiting)),
        })
    }

    /// Whether one of this name runs.
    pub(super) fn is_running(&self, name: &str) -> bool {
        self.lock().running.contains_key(name)
    }

    /// All that run.
    pub(super) fn running(&self) -> Vec<String> {
        self.lock().running.keys().cloned().collect()
    }

    /// Forgets how one ended; false when it runs.
    pub(super) fn forget(&self, name: &str) -> bool {
        let mut names = self.lock();
        names.ended.retain(|(ended, _)| ended != name);
        !names.running.contains_key(name)
    }

    /// Where its input goes.
    pub(super) fn input(&self, name: &str) -> Option<mpsc::Sender<Said>> {
        let names = self.lock();
        names.running.get(name).map(|running| running.said.clone())
    }

    /// Sends a signal; whether there is such a session.
    pub(super) async fn signal(&self, name: &str, signal: i32) -> bool {
        let Some(said) = self.input(name) else {
            return false;
        };
        said.send(Said::Signal(signal)).await.is_ok()
    }

    /// Kills one when another ends that it is in. Over when it has ended.
    pub(super) async fn end_with(&self, parent: &str, name: &str) {
        tokio::select! {
            _ = self.ended(parent) => {
                self.signal(name, super::wire::KILL).await;
            }
            _ = self.ended(name) => {}
        }
    }

    /// Waits for its end; `None` when there is no such session.
    pub(super) async fn ended(&self, name: &str) -> Option<End> {
        let running = {
            let names = self.lock();
            if let Some((_, end)) = names.ended.iter().find(|(ended, _)| ended == name) {
                return Some(end.clone());
            }
            names.running.get(name).map(|running| running.end.clone())
        };
        let mut running = running?;
        let end = running.wait_for(Option::is_some).await;
        // The caller of a session may go away before it ends: it is killed then.
        Some(
            end.ok()
                .and_then(|end| end.clone())
                .unwrap_or(End::Signaled {
                    signal: super::wire::KILL,
                }),
        )
    }
}

impl Entry {
    /// What is said to the session; once.
    pub(super) fn said(&self) -> impl Stream<Item = Said> + Send + use<> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = waiting.take().unwrap_or_else(|| mpsc::channel(1).1);
        ReceiverStream::new(waiting)
    }

    /// It has ended: first for whoever asks, then for whoever waits.
    pub(super) fn end(&self, end: End) {
        let mut names = self.names.lock();
        names.running.remove(&self.name);
        names.ended.push_back((self.name.clone(), end.clone()));
        while names.ended.len() > MAX_ENDED {
            names.ended.pop_front();
        }
        drop(names);
        self.end.send_replace(Some(end));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if self.end.borrow().is_none() {
            self.end(End::Signaled {
                signal: super::wire::KILL,
            });
        }
    }
}
