//! What an ended task held is removed, and tried again when that fails: a group that is busy, a process that dies late.

use std::future::Future;
use std::time::Duration;

use mete_model::{ContainerId, TaskKey};
use tracing::{error, warn};

use crate::containerizer::EndError;

/// Pauses between tries. A process asleep in the kernel mostly wakes up within a minute; what has not gone by then waits
/// for the next start of the agent, which removes it.
pub(crate) const PAUSES: [Duration; 5] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(5),
    Duration::from_secs(15),
    Duration::from_secs(40),
];

/// Destroys until it has succeeded, once more after each pause. Whether nothing is left: as long as something may be, its
/// images must stay.
pub(crate) async fn remove<F>(
    key: &TaskKey,
    container: &ContainerId,
    pauses: &[Duration],
    mut destroy: impl FnMut() -> F,
) -> bool
where
    F: Future<Output = Result<(), EndError>>,
{
    let mut pauses = pauses.iter();
    loop {
        let Err(failed) = destroy().await else {
            return true;
        };
        let Some(pause) = pauses.next() else {
            error!(task = %key.task, framework = %key.framework, %container, error = %failed, "leftovers of a task stay until the agent is restarted");
            return false;
        };
        warn!(task = %key.task, framework = %key.framework, %container, error = %failed, again_in_s = pause.as_secs(), "leftovers of a task stay for now");
        tokio::time::sleep(*pause).await;
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// Tries to remove what cannot be removed `failures` times; whether it went, and after how many tries.
    async fn tried(failures: usize) -> (bool, usize) {
        let key = TaskKey {
            framework: "f-1".parse().expect("good"),
            task: "t".parse().expect("good"),
        };
        let container = ContainerId::new("c").expect("good");
        let tries = Cell::new(0);
        let gone = remove(&key, &container, &[Duration::ZERO; 2], || {
            tries.set(tries.get() + 1);
            let result = match tries.get() <= failures {
                true => Err(EndError::Undead { left: 1 }),
                false => Ok(()),
            };
            std::future::ready(result)
        });
        let gone = gone.await;
        (gone, tries.get())
    }

    #[tokio::test]
    async fn what_goes_is_destroyed_once() {
        assert_eq!(tried(0).await, (true, 1));
    }

    #[tokio::test]
    async fn what_fails_is_tried_again() {
        assert_eq!(tried(2).await, (true, 3));
    }

    #[tokio::test]
    async fn what_never_goes_is_left_after_the_last_pause() {
        assert_eq!(tried(9).await, (false, 3));
    }
}
