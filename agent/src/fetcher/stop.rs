//! Work on a thread of its own that ends soon after nobody waits for it any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::spawn_blocking;

use super::Failure;

/// Asked for between two pieces of work: whether there is anybody who wants the result.
#[derive(Clone, Debug, Default)]
pub(super) struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Whether to give up.
    pub(super) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// An error when it is time to give up.
    pub(super) fn check(&self) -> Result<(), Failure> {
        match self.is_asked() {
            true => Err(Failure::Stopped),
            false => Ok(()),
        }
    }

    /// For others to stop.
    #[cfg(test)]
    pub(super) fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Asks for the stop when the future that waits is dropped.
struct Asks(Stop);

impl Drop for Asks {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `work` where it may block. When the future is dropped, the work is asked to stop, and its result is dropped.
pub(super) async fn on_thread<T: Send + 'static>(
    work: impl FnOnce(&Stop) -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let stop = Stop::default();
    let _asks = Asks(stop.clone());
    match spawn_blocking(move || work(&stop)).await {
        Ok(done) => done,
        Err(error) => Err(Failure::Broken(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::FutureExt as _;
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_ends_when_the_one_who_waits_is_gone() {
        let (begun, has_begun) = oneshot::channel();
        let (ended, has_ended) = oneshot::channel();
        let mut waiting = Box::pin(on_thread(move |stop| {
            begun.send(()).expect("the test waits");
            while stop.check().is_ok() {
                std::thread::yield_now();
            }
            ended.send(()).expect("the test waits");
            Ok(())
        }));
        assert!(waiting.as_mut().now_or_never().is_none(), "it works");
        has_begun.await.expect("it has begun");

        drop(waiting);

        let patience = Duration::from_secs(20);
        let ended = tokio::time::timeout(patience, has_ended).await;
        ended.expect("soon").expect("it has ended");
    }
}
