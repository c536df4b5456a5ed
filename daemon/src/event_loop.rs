//! The loop around every machine: take a batch of inputs, step each, store, publish, act, answer.
//!
//! ```text
//! inbox ──► step, step, step ──► one commit ──► view ──► hands.act, in order ──► answers
//!   ▲                               │ fails: the loop ends, nobody hears of the batch
//!   └── deadline_input() when next_deadline() comes
//! ```
//! Invariants: nothing is acted upon or answered, and no view shows it, before every record of its batch is stored.
//! The loop is the only owner of the machine; time reaches it from [`clock`] alone.
//!
//! ```
//! # use mete_daemon::event_loop::{self, NoJournal};
//! # use mete_model::machine::{Effects, Machine, Timestamp};
//! # use tokio_util::sync::CancellationToken;
//! # struct Counter(u64);
//! # impl Machine for Counter {
//! #     type Input = u64; type Record = (); type Action = (); type Reply = u64; type View = u64;
//! #     fn step(&mut self, _: Timestamp, add: u64) -> Effects<Self> {
//! #         self.0 += add;
//! #         Effects { reply: Some(self.0), ..Effects::none() }
//! #     }
//! #     fn deadline_input() -> u64 { 0 }
//! #     fn next_deadline(&self) -> Option<Timestamp> { None }
//! #     fn view(&self) -> u64 { self.0 }
//! # }
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shutdown = CancellationToken::new();
//! let (handle, ready) = event_loop::prepare(Counter(0));
//! let hands = |_action| { /* start the work; its result comes back through `handle.tell` */ };
//! let running = ready.start(NoJournal, hands, shutdown.clone());
//!
//! assert_eq!(handle.ask(2).await?, 2);
//! assert_eq!(*handle.view(), 2);
//!
//! shutdown.cancel();
//! running.await??;
//! # Ok(())
//! # }
//! ```

mod metrics; // what the loop counts

use std::future::Future;
use std::sync::Arc;

use arc_swap::ArcSwap;
use mete_model::machine::{Machine, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error};

use self::metrics::Metrics;
use crate::clock;
use crate::handle::Message;
pub use crate::handle::{Follower, Gone, Handle, TellError};
use crate::store::StoreError;

/// Inputs that may wait in the inbox: some seconds of work at full speed, some MiB at a usual KiB each. Who finds it
/// full waits (`tell`, `ask`) or is cut (`try_tell`).
pub const INBOX_CAPACITY: usize = 4096;
/// Inputs stepped before one commit: enough that one `fsync` serves many, few enough that the first of them is not
/// kept waiting for the last.
pub const MAX_BATCH: usize = 256;

/// A machine that may live in a task of its own. Every machine whose types are `Send` is one.
pub trait Runnable:
    Machine<
        Input: Send + 'static,
        Record: Send + 'static,
        Action: Send + 'static,
        Reply: Send + 'static,
        View: Send + Sync + 'static,
    > + Send
    + 'static
{
}

impl<M> Runnable for M where
    M: Machine<
            Input: Send + 'static,
            Record: Send + 'static,
            Action: Send + 'static,
            Reply: Send + 'static,
            View: Send + Sync + 'static,
        > + Send
        + 'static
{
}

/// Carries actions out.
pub trait Hands<A>: Send + 'static {
    /// Starts the work and returns at once; what comes of it is told to the loop as an input. Must not block.
    fn act(&mut self, action: A);
}

impl<A, F: FnMut(A) + Send + 'static> Hands<A> for F {
    fn act(&mut self, action: A) {
        self(action);
    }
}

/// Makes records last. [`StoreJournal`](crate::store::StoreJournal) writes them to a store.
pub trait Journal<R>: Send + 'static {
    /// Returns once all of `records` are durable, in order.
    fn commit(&mut self, records: Vec<R>) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// For machines that have nothing to keep: records are dropped.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoJournal;

impl<R: Send> Journal<R> for NoJournal {
    async fn commit(&mut self, _records: Vec<R>) -> Result<(), StoreError> {
        Ok(())
    }
}

/// Why a loop ended on its own.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LoopError {
    /// What was decided could not be stored; nobody has heard of it.
    #[error("records could not be stored")]
    Commit(#[from] StoreError),
}

/// A loop that has not been started: handles exist and see the machine's first view, inputs wait in the inbox.
pub struct Ready<M: Machine> {
    machine: M,
    inbox: mpsc::Receiver<Message<M>>,
    view: Arc<ArcSwap<M::View>>,
    version: watch::Sender<u64>,
    metrics: Metrics,
}

/// Makes the loop around `machine` ready, so that hands can be built with its handle.
pub fn prepare<M: Runnable>(machine: M) -> (Handle<M>, Ready<M>) {
    let (sender, inbox) = mpsc::channel(INBOX_CAPACITY);
    let view = Arc::new(ArcSwap::from_pointee(machine.view()));
    let (version, seen) = watch::channel(0);
    let metrics = Metrics::default();
    let handle = Handle {
        inbox: sender,
        view: Arc::clone(&view),
        version: seen,
        commits: metrics.commits(),
    };
    (
        handle,
        Ready {
            machine,
            inbox,
            view,
            version,
            metrics,
        },
    )
}

/// Makes ready and starts: for hands that need no handle.
pub fn spawn<M: Runnable>(
    machine: M,
    journal: impl Journal<M::Record>,
    hands: impl Hands<M::Action>,
    shutdown: CancellationToken,
) -> (Handle<M>, JoinHandle<Result<(), LoopError>>) {
    let (handle, ready) = prepare(machine);
    (handle, ready.start(journal, hands, shutdown))
}

impl<M: Runnable> Ready<M> {
    /// Registers the loop's metrics: `event_loop_inputs`, `_batches`, `_step_seconds`, `_commit_seconds`,
    /// `_inbox_length`.
    #[must_use]
    pub fn with_metrics(self, registry: &mut Registry) -> Self {
        self.metrics
            .register(registry.sub_registry_with_prefix("event_loop"));
        self
    }

    /// Runs in a task of its own until `shutdown` is cancelled and what then lay in the inbox is worked off, until
    /// every handle is gone (hands that hold one keep the loop alive), or until a commit fails.
    pub fn start(
        self,
        journal: impl Journal<M::Record>,
        hands: impl Hands<M::Action>,
        shutdown: CancellationToken,
    ) -> JoinHandle<Result<(), LoopError>> {
        tokio::spawn(self.run(journal, hands, shutdown))
    }

    /// As [`start`](Self::start), in the caller's own task.
    ///
    /// # Errors
    /// When a commit fails; the machine is dropped then, as its state is ahead of the store.
    pub async fn run(
        mut self,
        mut journal: impl Journal<M::Record>,
        mut hands: impl Hands<M::Action>,
        shutdown: CancellationToken,
    ) -> Result<(), LoopError> {
        let mut received = Vec::with_capacity(MAX_BATCH);
        let mut draining = false;
        loop {
            let deadline = self.machine.next_deadline().filter(|_| !draining);
            tokio::select! {
                biased;
                () = shutdown.cancelled(), if !draining => {
                    debug!(waiting = self.inbox.len(), "event loop is draining");
                    self.inbox.close();
                    draining = true;
                    continue;
                }
                count = self.inbox.recv_many(&mut received, MAX_BATCH) => {
                    if count == 0 {
                        return Ok(());
                    }
                }
                () = sleep_until(deadline) => {}
            }
            let batch = self.step_all(&mut received, draining);
            self.carry_out(batch, &mut journal, &mut hands).await?;
        }
    }

    /// Steps what was received, and first of all the deadline when it has come, so that a full inbox cannot hold it up.
    fn step_all(&mut self, received: &mut Vec<Message<M>>, draining: bool) -> Batch<M> {
        let started = clock::elapsed();
        let mut batch = Batch {
            stepped: 0,
            records: Vec::new(),
            actions: Vec::new(),
            answers: Vec::new(),
        };
        let now = clock::now();
        if !draining
            && self
                .machine
                .next_deadline()
                .is_some_and(|deadline| deadline <= now)
        {
            batch.step(&mut self.machine, now, M::deadline_input(), None);
        }
        for message in received.drain(..) {
            let (input, caller) = match message {
                Message::Tell(input) => (input, None),
                Message::Ask(input, caller) => (input, Some(caller)),
            };
            batch.step(&mut self.machine, clock::now(), input, caller);
        }
        self.metrics
            .stepped(batch.stepped, clock::elapsed() - started, self.inbox.len());
        batch
    }

    /// Store, publish, act, answer.
    async fn carry_out(
        &mut self,
        batch: Batch<M>,
        journal: &mut impl Journal<M::Record>,
        hands: &mut impl Hands<M::Action>,
    ) -> Result<(), LoopError> {
        if batch.stepped == 0 {
            return Ok(());
        }
        if !batch.records.is_empty() {
            let started = clock::elapsed();
            let records = batch.records.len();
            if let Err(failure) = journal.commit(batch.records).await {
                error!(records, error = %failure, "records could not be stored, the event loop ends");
                return Err(failure.into());
            }
            self.metrics.committed(clock::elapsed() - started);
        }
        self.view.store(Arc::new(self.machine.view()));
        self.version.send_modify(|version| *version += 1);
        for action in batch.actions {
            hands.act(action);
        }
        for (caller, reply) in batch.answers {
            // A caller that no longer waits has given up its answer, nothing more.
            drop(caller.send(reply));
        }
        Ok(())
    }
}

/// What the inputs of one turn came to.
struct Batch<M: Machine> {
    stepped: usize,
    records: Vec<M::Record>,
    actions: Vec<M::Action>,
    answers: Vec<(oneshot::Sender<M::Reply>, M::Reply)>,
}

impl<M: Machine> Batch<M> {
    fn step(
        &mut self,
        machine: &mut M,
        now: Timestamp,
        input: M::Input,
        caller: Option<oneshot::Sender<M::Reply>>,
    ) {
        let effects = machine.step(now, input);
        self.stepped += 1;
        self.records.extend(effects.store);
        self.actions.extend(effects.act);
        // A caller without a reply is let go: its `ask` ends with `Gone`.
        self.answers.extend(caller.zip(effects.reply));
    }
}

/// Waits for a moment; for ever when there is none.
async fn sleep_until(deadline: Option<Timestamp>) {
    match deadline {
        Some(deadline) => tokio::time::sleep(deadline.since(clock::now())).await,
        None => std::future::pending().await,
    }
}
