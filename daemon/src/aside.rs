//! Work that may take its time: large answers are made and written aside, by threads that give way to all others of the
//! process. While five readers ask for megabytes, whoever asks for little, and the loop itself, waits for none of them.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use rustix::process::{getpriority_process, setpriority_process};
use tokio::sync::oneshot;

use crate::http_error::HttpError;

/// So many works wait for a thread; what comes beyond is refused.
const MAX_WAITING: usize = 256;

/// How much less urgent the threads are: in the kernel's scale a tenth of what an ordinary thread is worth.
const NICE: i32 = 10;

/// As many threads as there are processors, within this: a work may itself be for two.
const THREADS: std::ops::RangeInclusive<usize> = 2..=4;

/// Why a work was not done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// Too many others wait; later it may be done.
    #[error("{MAX_WAITING} large answers are waited for already; ask again later")]
    Busy,
    /// It panicked, or no thread can be had.
    #[error("the answer cannot be written")]
    Broken,
}

impl From<NotDone> for HttpError {
    fn from(not_done: NotDone) -> Self {
        match not_done {
            NotDone::Busy => Self::unavailable(not_done.to_string()),
            NotDone::Broken => Self::coded(500, not_done.to_string()),
        }
    }
}

type Work = Box<dyn FnOnce() + Send>;

/// What comes of a work that is done aside. When nobody waits for it any more, it is not begun.
///
/// # Errors
/// [`NotDone`].
pub async fn run<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, NotDone> {
    static WAY: OnceLock<SyncSender<Work>> = OnceLock::new();
    let (answer, done) = oneshot::channel();
    let work: Work = Box::new(move || {
        if !answer.is_closed()
            && let Ok(made) = catch_unwind(AssertUnwindSafe(work))
        {
            // Whoever asked may have left meanwhile.
            answer.send(made).ok();
        }
    });
    match WAY.get_or_init(begin).try_send(work) {
        Ok(()) => done.await.map_err(|_| NotDone::Broken),
        Err(TrySendError::Full(_)) => Err(NotDone::Busy),
        Err(TrySendError::Disconnected(_)) => Err(NotDone::Broken),
    }
}

/// Two halves of a work at the same time, each on a thread of its own.
pub fn both<A: Send, B>(one: impl FnOnce() -> A + Send, other: impl FnOnce() -> B) -> (A, B) {
    thread::scope(|scope| {
        let one = scope.spawn(one);
        let other = other();
        (
            one.join().unwrap_or_else(|panic| resume_unwind(panic)),
            other,
        )
    })
}

fn begin() -> SyncSender<Work> {
    let (works, waiting) = sync_channel(MAX_WAITING);
    let waiting = Arc::new(Mutex::new(waiting));
    let processors = thread::available_parallelism().map_or(1, usize::from);
    for _ in 0..processors.clamp(*THREADS.start(), *THREADS.end()) {
        let waiting = Arc::clone(&waiting);
        let thread = thread::Builder::new().name("aside".to_owned());
        // Without any, works are refused.
        thread.spawn(move || work_through(&waiting)).ok();
    }
    works
}

fn work_through(waiting: &Mutex<Receiver<Work>>) {
    // Of this thread alone, and those it begins; at worst it is as urgent as others.
    if getpriority_process(None).is_ok_and(|now| now < NICE) {
        setpriority_process(None, NICE).ok();
    }
    loop {
        let next = waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv();
        match next {
            Ok(work) => work(),
            Err(_) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_is_done_by_threads_that_give_way() {
        let here = getpriority_process(None).expect("of this thread");
        let (aside, below) =
            run(|| both(|| getpriority_process(None), || getpriority_process(None)))
                .await
                .expect("done");
        assert_eq!(here, getpriority_process(None).expect("of this thread"));
        assert_eq!((aside, below), (Ok(NICE.max(here)), Ok(NICE.max(here))));
    }

    #[tokio::test]
    async fn a_panic_is_told_and_ends_nothing() {
        for _ in 0..2 * *THREADS.end() {
            let panics: Result<(), _> = run(|| panic!("as the test wants it")).await;
            assert_eq!(panics, Err(NotDone::Broken));
        }
        assert_eq!(run(|| 7).await, Ok(7));
    }

    #[tokio::test]
    async fn what_nobody_waits_for_is_not_begun() {
        let (go, stop) = std::sync::mpsc::channel::<()>();
        let stop = Arc::new(Mutex::new(stop));
        // All threads are held until the word comes; what is asked for meanwhile waits.
        let held: Vec<_> = (0..*THREADS.end())
            .map(|_| {
                let stop = Arc::clone(&stop);
                tokio::spawn(run(move || stop.lock().expect("nobody panics").recv().ok()))
            })
            .collect();
        let (told, hears) = std::sync::mpsc::channel();
        let unwanted = tokio::spawn(run(move || told.send(())));
        tokio::task::yield_now().await;
        unwanted.abort();
        assert!(unwanted.await.is_err(), "it was given up");
        drop(go);
        for one in held {
            one.await.expect("no panic").expect("done");
        }
        run(|| ()).await.expect("done after all others");
        assert!(hears.recv().is_err(), "it was dropped, not begun");
    }
}
