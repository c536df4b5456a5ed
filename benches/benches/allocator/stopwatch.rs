//! Iterations of which only parts count: making ready the next change is not the allocator's work.

use std::time::Duration;

use criterion::Bencher;
use criterion::measurement::Measurement;
use mete_benches::cpu::ThreadCpu;

/// The time that counts so far.
#[derive(Debug, Default)]
pub(crate) struct Stopwatch(Duration);

impl Stopwatch {
    /// Does some work that counts.
    pub(crate) fn run<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = ThreadCpu.start();
        let result = work();
        self.0 += ThreadCpu.end(start);
        result
    }
}

/// Repeats an iteration; what it does with the stopwatch counts.
pub(crate) fn repeat(
    bencher: &mut Bencher<'_, ThreadCpu>,
    mut iteration: impl FnMut(&mut Stopwatch),
) {
    bencher.iter_custom(|times| {
        let mut watch = Stopwatch::default();
        for _ in 0..times {
            iteration(&mut watch);
        }
        watch.0
    });
}
