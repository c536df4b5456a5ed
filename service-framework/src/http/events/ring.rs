//! The newest events, each encoded once, for everybody who listens or comes back.
//!
//! Invariants: numbers go up by one; at most [`MAX_EVENTS`] and [`MAX_BYTES`] are kept, but the newest always is.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Bytes;
use mete_model::Timestamp;
use mete_service_framework_core::events::About;
use tokio::sync::watch;

/// Events kept for those who come back: sixteen times what a subscriber may be behind, minutes of a busy cluster, and all of
/// one moment: each of a thousand instances tells what becomes of it.
const MAX_EVENTS: usize = 16_384;
/// Their text: plans of thousands of apps are a MiB each.
const MAX_BYTES: usize = 16 * 1024 * 1024;

/// One event, ready to be sent.
#[derive(Debug)]
pub(super) struct Frame {
    pub(super) event_type: &'static str,
    pub(super) about: About,
    /// When it happened.
    pub(super) at: Timestamp,
    pub(super) bytes: Bytes,
}

/// The ring, and whom it wakes. One life of the service framework has one.
#[derive(Debug)]
pub(super) struct Ring {
    /// New with each life: numbers of two lives cannot be compared.
    epoch: String,
    kept: Mutex<Kept>,
    /// The number of the newest event; 0 before the first.
    newest: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Kept {
    frames: VecDeque<Arc<Frame>>,
    bytes: usize,
    newest: u64,
}

impl Kept {
    /// The number of the oldest event that is kept.
    fn oldest(&self) -> u64 {
        self.newest + 1 - self.frames.len() as u64
    }
}

/// What a reader finds.
#[derive(Debug)]
pub(super) enum Found {
    /// The event it asked for, and how many came after it.
    Event(Arc<Frame>, u64),
    /// Nothing yet.
    Nothing,
    /// It is not kept any more.
    Lost,
}

impl Ring {
    pub(super) fn new(epoch: String) -> Self {
        Self {
            epoch,
            kept: Mutex::default(),
            newest: watch::Sender::new(0),
        }
    }

    /// Keeps an event, whose bytes are made with its id, and wakes all who wait.
    pub(super) fn push(
        &self,
        event_type: &'static str,
        about: About,
        at: Timestamp,
        write: impl FnOnce(&str) -> Bytes,
    ) {
        let mut kept = self.kept();
        kept.newest += 1;
        let number = kept.newest;
        let bytes = write(&format!("{}-{number}", self.epoch));
        kept.bytes += bytes.len();
        kept.frames.push_back(Arc::new(Frame {
            event_type,
            about,
            at,
            bytes,
        }));
        while kept.frames.len() > 1 && (kept.frames.len() > MAX_EVENTS || kept.bytes > MAX_BYTES) {
            let oldest = kept.frames.pop_front();
            kept.bytes -= oldest.map_or(0, |oldest| oldest.bytes.len());
        }
        drop(kept);
        self.newest.send_replace(number);
    }

    /// The event with this number.
    pub(super) fn find(&self, number: u64) -> Found {
        let kept = self.kept();
        if number > kept.newest {
            return Found::Nothing;
        }
        let at = number.checked_sub(kept.oldest());
        let at = at.and_then(|at| usize::try_from(at).ok());
        match at.and_then(|at| kept.frames.get(at)) {
            Some(frame) => Found::Event(Arc::clone(frame), kept.newest - number),
            None => Found::Lost,
        }
    }

    /// The number of the event that comes next.
    pub(super) fn next(&self) -> u64 {
        self.kept().newest + 1
    }

    /// The number after the event with this id; `None` when what comes after it is not all kept, or it is no id of this
    /// life.
    pub(super) fn after(&self, id: &str) -> Option<u64> {
        let number = id.strip_prefix(self.epoch.as_str())?.strip_prefix('-')?;
        let next = number.parse::<u64>().ok()?.checked_add(1)?;
        let kept = self.kept();
        (kept.oldest()..=kept.newest + 1)
            .contains(&next)
            .then_some(next)
    }

    /// Wakes whenever there is news.
    pub(super) fn news(&self) -> watch::Receiver<u64> {
        self.newest.subscribe()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        // Whoever panicked with it in hand has left numbers and frames in step: both are changed without a call between.
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(sizes: &[usize]) -> Ring {
        let ring = Ring::new("e".to_owned());
        for size in sizes {
            ring.push("t", About::Itself, Timestamp::EPOCH, |_| {
                Bytes::from(vec![b'x'; *size])
            });
        }
        ring
    }

    #[test]
    fn what_is_kept_can_be_gone_on_from_and_nothing_else() {
        let ring = ring(&[1, 1, 1]);

        assert_eq!((ring.after("e-0"), ring.after("e-3")), (Some(1), Some(4)));
        for bad in [
            "e-4",
            "f-1",
            "e1",
            "e--1",
            "",
            "e-18446744073709551615",
            "-1",
        ] {
            assert_eq!(ring.after(bad), None, "{bad}");
        }
        assert!(matches!(ring.find(1), Found::Event(_, 2)));
        assert!(matches!(ring.find(4), Found::Nothing));
        assert!(matches!(ring.find(0), Found::Lost));
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many_or_they_are_too_large() {
        let many = ring(&[1; MAX_EVENTS + 2]);
        let large = ring(&[MAX_BYTES / 2, MAX_BYTES / 2, 1]);
        let huge = ring(&[1, MAX_BYTES + 1]);

        assert_eq!((many.after("e-1"), many.after("e-2")), (None, Some(3)));
        assert_eq!((large.after("e-0"), large.after("e-1")), (None, Some(2)));
        assert!(matches!(huge.find(1), Found::Lost));
        assert!(matches!(huge.find(2), Found::Event(_, 0)));
    }
}
