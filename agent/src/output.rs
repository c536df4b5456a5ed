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
pub(crate) use tail::Place;
use tail::{Begin, Step, Tail};
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
    /// Go on there instead; a stream of which it says nothing begins with the oldest.
    pub(crate) from: Option<Point>,
    /// End with what there is now.
    pub(crate) once: bool,
}

impl Wanted {
    /// Both streams, from now on.
    pub(crate) const NEWS: Self = Self {
        stdout: true,
        stderr: true,
        tail_bytes: Some(0),
        from: None,
        once: false,
    };

    fn begin(&self, place: impl Fn(&Point) -> Option<Place>) -> Begin {
        match (&self.from, self.tail_bytes) {
            (Some(point), _) => place(point).map_or(Begin::Oldest, Begin::At),
            (None, Some(bytes)) => Begin::BeforeEnd(bytes),
            (None, None) => Begin::Oldest,
        }
    }
}

/// How far each stream is told; `None`: nothing has been there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) stdout: Option<Place>,
    pub(crate) stderr: Option<Place>,
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

/// A piece, and how far its stream is told with it. The first has no piece: where both streams begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) piece: Option<Piece>,
    pub(crate) until: Point,
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
        let stdout = (STDOUT, wanted.begin(|point| point.stdout));
        let stderr = (STDERR, wanted.begin(|point| point.stderr));
        let streams = [(wanted.stdout, stdout), (wanted.stderr, stderr)].into_iter();
        let mut tails: Vec<Tail> = streams
            .filter(|(is_wanted, _)| *is_wanted)
            .map(|(_, (name, begin))| Tail::new(name, begin, wanted.once))
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
    pub(crate) async fn tell(self, running: impl Fn() -> bool, pieces: mpsc::Sender<Told>) {
        let Self {
            place,
            mut tails,
            once,
        } = self;
        let wake = Arc::new(Wake::new());
        let begun = Told {
            piece: None,
            until: point(&tails),
        };
        if pieces.send(begun).await.is_err() {
            return;
        }
        loop {
            // Looked at before reading: what it printed before it ended is read below.
            let last = once || !running();
            let mut quiet = true;
            let mut looked = Vec::new();
            for tail in tails {
                let (place, wake) = (place.clone(), Arc::clone(&wake));
                let step = spawn_blocking(move || step(&place, tail, &wake)).await;
                let Ok((tail, step)) = step else { return };
                let piece = piece(step, tail.name() == STDERR);
                let until = point(std::slice::from_ref(&tail));
                looked.push(tail);
                if piece.is_none() {
                    continue;
                }
                quiet = false;
                if pieces.send(Told { piece, until }).await.is_err() {
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

fn piece(step: Step, is_stderr: bool) -> Option<Piece> {
    match step {
        Step::Nothing => None,
        Step::Gap => Some(Piece::Gap { is_stderr }),
        Step::Data(data) if is_stderr => Some(Piece::Stderr(data)),
        Step::Data(data) => Some(Piece::Stdout(data)),
    }
}

/// How far these streams are told.
fn point(tails: &[Tail]) -> Point {
    let place = |name| {
        let mut tails = tails.iter();
        tails.find(|tail| tail.name() == name)?.place()
    };
    Point {
        stdout: place(STDOUT),
        stderr: place(STDERR),
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
