//! How others reach a machine: tell it something, ask it something, look at its view, wait for a new view.
//!
//! A handle is cheap to clone and never holds the machine itself. Reading the view never waits and never makes the
//! loop wait.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mete_model::machine::Machine;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{mpsc, oneshot, watch};

use crate::recent::{Recent, Spread};

/// What lies in the inbox of a loop.
pub(crate) enum Message<M: Machine> {
    /// Nobody waits for an answer.
    Tell(M::Input),
    /// The caller waits for the answer.
    Ask(M::Input, oneshot::Sender<M::Reply>),
}

/// The loop has ended, or it had no answer to this input.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the event loop has ended or had no answer")]
pub struct Gone;

/// Why an input was not taken at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TellError {
    /// The inbox is full; the sender is faster than the machine.
    #[error("the inbox of the event loop is full")]
    Full,
    /// The loop has ended.
    #[error("the event loop has ended")]
    Gone,
}

/// The way to one machine.
pub struct Handle<M: Machine> {
    pub(crate) inbox: mpsc::Sender<Message<M>>,
    pub(crate) view: Arc<ArcSwap<M::View>>,
    pub(crate) version: watch::Receiver<u64>,
    pub(crate) commits: Recent,
}

impl<M: Machine> Handle<M> {
    /// Puts an input into the inbox; waits while it is full.
    ///
    /// # Errors
    /// [`Gone`] when the loop has ended. Hands must not await this: a loop that waits for itself waits for ever.
    pub async fn tell(&self, input: M::Input) -> Result<(), Gone> {
        self.inbox
            .send(Message::Tell(input))
            .await
            .map_err(|_| Gone)
    }

    /// Puts inputs into the inbox, one right after the other; waits until there is room for all of them. Who speaks for many
    /// waits with each turn among thousands of others, and does well to take more than one thing along.
    ///
    /// # Errors
    /// [`Gone`] when the loop has ended, or when there are more of them than the inbox ever has room for.
    pub async fn tell_all(&self, inputs: Vec<M::Input>) -> Result<(), Gone> {
        let room = self.inbox.reserve_many(inputs.len());
        let room = room.await.map_err(|_| Gone)?;
        for (place, input) in room.zip(inputs) {
            place.send(Message::Tell(input));
        }
        Ok(())
    }

    /// Puts an input into the inbox when there is room now.
    ///
    /// # Errors
    /// When the inbox is full or the loop has ended.
    pub fn try_tell(&self, input: M::Input) -> Result<(), TellError> {
        self.inbox
            .try_send(Message::Tell(input))
            .map_err(|error| match error {
                TrySendError::Full(_) => TellError::Full,
                TrySendError::Closed(_) => TellError::Gone,
            })
    }

    /// Puts an input into the inbox and waits for the machine's answer, which comes once it is stored and acted upon.
    ///
    /// # Errors
    /// [`Gone`] when the loop has ended, also when a failed commit ended it, or the machine had no answer.
    pub async fn ask(&self, input: M::Input) -> Result<M::Reply, Gone> {
        let (caller, answer) = oneshot::channel();
        self.inbox
            .send(Message::Ask(input, caller))
            .await
            .map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }

    /// The newest published view: what is stored, never more.
    pub fn view(&self) -> Arc<M::View> {
        self.view.load_full()
    }

    /// For readers who stream: sees the newest view whenever there is a new one.
    pub fn follow(&self) -> Follower<M> {
        Follower {
            view: Arc::clone(&self.view),
            version: self.version.clone(),
        }
    }

    /// How many inputs lie in the inbox.
    pub fn waiting(&self) -> usize {
        self.inbox.max_capacity() - self.inbox.capacity()
    }

    /// How long the last batches took to become durable; of each, its one commit.
    pub fn commits(&self) -> Spread {
        self.commits.spread()
    }

    /// Completes when the loop has ended.
    pub async fn ended(&self) {
        self.inbox.closed().await;
    }
}

impl<M: Machine> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Self {
            inbox: self.inbox.clone(),
            view: Arc::clone(&self.view),
            version: self.version.clone(),
            commits: self.commits.clone(),
        }
    }
}

impl<M: Machine> fmt::Debug for Handle<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle")
            .field("version", &*self.version.borrow())
            .finish_non_exhaustive()
    }
}

/// Follows the views of one machine. Skips those it was too slow for; the last one is never missed.
pub struct Follower<M: Machine> {
    view: Arc<ArcSwap<M::View>>,
    version: watch::Receiver<u64>,
}

impl<M: Machine> Follower<M> {
    /// The newest view, at once; the next [`changed`](Self::changed) waits for a newer one.
    pub fn current(&mut self) -> Arc<M::View> {
        self.version.mark_unchanged();
        self.view.load_full()
    }

    /// Waits for a view newer than the last one seen here.
    ///
    /// # Errors
    /// [`Gone`] when the loop has ended and every view has been seen.
    pub async fn changed(&mut self) -> Result<Arc<M::View>, Gone> {
        self.version.changed().await.map_err(|_| Gone)?;
        Ok(self.view.load_full())
    }
}
