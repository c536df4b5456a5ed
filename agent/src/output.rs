//! What tasks print, followed: both streams, over rotations, until the task has ended and all is told.
//!
//! ```text
//! sandbox: stdout.2 stdout.1 stdout ─▶ Tail ─▶ pieces ─▶ whoever follows
//!                            └─ changes wake it (inotify), and a tick
//! ```
//! Invariants: a file is read to its end before the next one is begun, by a handle that stays with it when it gets
//! another name. A slow reader makes this wait; the task never waits for either.

mod tail; // one stream over its files
mod wake; // told by the kernel when a file changes

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use mete_agent_core::task_dir::{STDERR, STDOUT};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use crate::sandbox::Sandbox;
use tail::{Step, Tail};
use wake::Wake;

/// Pieces that wait for a slow reader, each of at most 64 KiB.
pub(crate) const WAITING_PIECES: usize = 4;

/// What of a task is followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
    /// Begin so many bytes before the end of the current file; `None`: with the oldest that is kept.
    pub(crate) tail_bytes: Option<u64>,
    /// End with what there is now.
    pub(crate) once: bool,
}

impl Wanted {
    /// Both streams, from now on.
    pub(crate) const NEWS: Self = Self {
        stdout: true,
        stderr: true,
        tail_bytes: Some(0),
        once: false,
    };
}

/// A part of what a task prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Stdout(Bytes),
    Stderr(Bytes),
    /// Files were removed before they could be read; something may be missing.
    Gap {
        is_stderr: bool,
    },
}

/// What is followed, its beginning found.
pub(crate) struct Followed {
    place: PathBuf,
    tails: Vec<Tail>,
    once: bool,
}

impl Followed {
    /// Finds where each wanted stream begins: what is printed from here on is told, however late whoever asked is heard.
    pub(crate) async fn begin(place: PathBuf, wanted: Wanted) -> Self {
        let mut tails: Vec<Tail> = [(STDOUT, wanted.stdout), (STDERR, wanted.stderr)]
            .into_iter()
            .filter(|(_, wanted)| *wanted)
            .map(|(name, _)| Tail::new(name, wanted.tail_bytes, wanted.once))
            .collect();
        let at = place.clone();
        let begun = spawn_blocking(move || {
            if let Ok(sandbox) = Sandbox::open(&at) {
                tails.iter_mut().for_each(|tail| tail.begin(&sandbox));
            }
            tails
        });
        Self {
            place,
            tails: begun.await.unwrap_or_default(),
            once: wanted.once,
        }
    }

    /// Tells pieces until `running` is false and all is told, or nobody hears any more.
    pub(crate) async fn tell(self, running: impl Fn() -> bool, pieces: mpsc::Sender<Piece>) {
        let Self {
            place,
            mut tails,
            once,
        } = self;
        let wake = Arc::new(Wake::new());
        loop {
            // Looked at before reading: what it printed before it ended is read below.
            let last = once || !running();
            let mut quiet = true;
            let mut looked = Vec::new();
            for tail in tails {
                let (place, wake) = (place.clone(), Arc::clone(&wake));
                let step = spawn_blocking(move || step(&place, tail, &wake)).await;
                let Ok((tail, step)) = step else { return };
                looked.push(tail);
                let is_stderr = looked.last().is_some_and(|tail| tail.name() == STDERR);
                quiet &= matches!(step, Step::Nothing);
                let piece = match step {
                    Step::Nothing => continue,
                    Step::Gap => Piece::Gap { is_stderr },
                    Step::Data(data) if is_stderr => Piece::Stderr(data),
                    Step::Data(data) => Piece::Stdout(data),
                };
                if pieces.send(piece).await.is_err() {
                    return;
                }
            }
            tails = looked;
            if !quiet {
                continue;
            }
            if last {
                return;
            }
            tokio::select! {
                () = wake.changed() => {}
                () = pieces.closed() => return,
            }
        }
    }
}

/// One look at one stream. A sandbox that is gone has nothing more to tell. Blocks.
fn step(place: &std::path::Path, mut tail: Tail, wake: &Wake) -> (Tail, Step) {
    let step = match Sandbox::open(place) {
        Ok(sandbox) => tail.step(&sandbox),
        Err(_) => Step::Nothing,
    };
    if let (Step::Nothing, Some(file)) = (&step, tail.current()) {
        wake.watch(file);
    }
    (tail, step)
}
