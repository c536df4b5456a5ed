//! Where each container of a pod's instance stands, and what that makes of the instance.
//!
//! A container stands where its task was last reported to stand; before the first report it is being staged. One that
//! has ended stays ended. Its agent ends the others of a group when one ends otherwise than with success.

use std::cmp::Reverse;

use mete_model::{TaskState, TaskStatus, Timestamp};

/// The longest message of a task that is kept, in bytes: what a person reads, times the containers there are.
const MAX_MESSAGE_BYTES: usize = 1_024;

/// One container of an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name.
    pub name: String,
    /// Where its task stands.
    pub state: TaskState,
    /// Since when it stands there.
    pub since: Timestamp,
    /// When it began to run.
    pub started_at: Option<Timestamp>,
    /// What its agent says of its health.
    pub healthy: Option<bool>,
    /// What was said of its state, for people.
    pub message: Option<String>,
}

impl Container {
    /// One that is being launched.
    pub const fn launched(name: String, now: Timestamp) -> Self {
        Self {
            name,
            state: TaskState::Staging,
            since: now,
            started_at: None,
            healthy: None,
            message: None,
        }
    }

    /// Whether it runs no more and never will.
    pub const fn has_ended(&self) -> bool {
        match self.state {
            TaskState::Staging
            | TaskState::Starting
            | TaskState::Running
            | TaskState::Killing
            | TaskState::Unreachable => false,
            TaskState::Finished
            | TaskState::Failed
            | TaskState::Killed
            | TaskState::Error
            | TaskState::Lost
            | TaskState::Dropped
            | TaskState::Gone
            | TaskState::GoneByOperator
            | TaskState::Unknown => true,
        }
    }

    /// Takes in what is reported of its task.
    pub(crate) fn note(&mut self, now: Timestamp, status: &TaskStatus) {
        if self.has_ended() {
            return;
        }
        if self.state != status.state {
            self.state = status.state;
            self.since = now;
            self.message = status.message.as_deref().map(shortened);
        }
        if status.state == TaskState::Running {
            self.started_at = self.started_at.or(Some(now));
        }
        self.healthy = status.healthy.or(self.healthy);
    }
}

fn shortened(text: &str) -> String {
    let end = (0..=MAX_MESSAGE_BYTES.min(text.len())).rfind(|at| text.is_char_boundary(*at));
    text[..end.unwrap_or_default()].to_owned()
}

/// Where an instance stands by its containers: where the last of them stands, on the way up; ending, when one has
/// ended otherwise than with success; and ended, as the worst of them has, when all have.
pub(crate) fn together(containers: &[Container]) -> TaskState {
    let left = || containers.iter().filter(|one| !one.has_ended());
    let any = |wanted: &[TaskState]| left().any(|one| wanted.contains(&one.state));
    let has_failed = |one: &Container| one.has_ended() && one.state != TaskState::Finished;
    if left().next().is_none() {
        return worst(containers).map_or(TaskState::Finished, |one| one.state);
    }
    if any(&[TaskState::Unreachable]) {
        TaskState::Unreachable
    } else if any(&[TaskState::Killing]) || containers.iter().any(has_failed) {
        TaskState::Killing
    } else if any(&[TaskState::Starting]) {
        TaskState::Starting
    } else if any(&[TaskState::Staging]) {
        TaskState::Staging
    } else {
        TaskState::Running
    }
}

/// The one that an instance has ended for: in Marathon's order of what is worse, the unhealthy before others, the first
/// of equals.
pub(crate) fn worst(containers: &[Container]) -> Option<&Container> {
    let rank = |state: TaskState| match state {
        TaskState::Error => 7,
        TaskState::Failed => 6,
        TaskState::Lost | TaskState::Gone | TaskState::GoneByOperator => 5,
        TaskState::Dropped => 4,
        TaskState::Unknown => 3,
        TaskState::Finished => 2,
        TaskState::Killed => 1,
        TaskState::Staging
        | TaskState::Starting
        | TaskState::Running
        | TaskState::Killing
        | TaskState::Unreachable => 0,
    };
    let is_unhealthy = |one: &Container| one.healthy == Some(false);
    let last_first = containers.iter().rev();
    last_first.max_by_key(|one| (rank(one.state), is_unhealthy(one), Reverse(one.since)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn containers(states: &[TaskState]) -> Vec<Container> {
        let one = |(at, state): (usize, &TaskState)| Container {
            state: *state,
            ..Container::launched(format!("c{at}"), Timestamp::EPOCH)
        };
        states.iter().enumerate().map(one).collect()
    }

    #[test]
    fn an_instance_stands_where_its_containers_let_it() {
        use TaskState::{
            Error, Failed, Finished, Killed, Killing, Running, Staging, Starting, Unreachable,
        };
        for (states, expected) in [
            (&[Staging, Running][..], Staging),
            (&[Starting, Running], Starting),
            (&[Staging, Starting], Starting),
            (&[Running, Running], Running),
            (&[Finished, Running], Running),
            (&[Finished, Staging], Staging),
            (&[Running, Unreachable], Unreachable),
            (&[Running, Killing], Killing),
            (&[Failed, Running], Killing),
            (&[Killed, Staging], Killing),
            (&[Finished, Finished], Finished),
            (&[Killed, Failed, Finished], Failed),
            (&[Failed, Error], Error),
            (&[Killed, Killed], Killed),
        ] {
            assert_eq!(together(&containers(states)), expected, "{states:?}");
        }
    }

    #[test]
    fn an_instance_has_ended_for_the_unhealthy_one() {
        let mut both = containers(&[TaskState::Killed, TaskState::Killed]);
        both[1].healthy = Some(false);
        both[1].since = Timestamp::from_millis(1);

        assert_eq!(worst(&both).map(|one| &*one.name), Some("c1"));
    }

    #[test]
    fn a_container_that_has_ended_stays_ended_and_its_message_is_short() {
        let mut one = Container::launched("c".to_owned(), Timestamp::EPOCH);
        let task = mete_model::TaskId::new("t").expect("good");
        let says = |state, text: String| {
            let source = mete_model::Source::Executor;
            let mut status = TaskStatus::new(task.clone(), state, source, Timestamp::EPOCH);
            status.message = Some(text);
            status
        };

        one.note(
            Timestamp::EPOCH,
            &says(TaskState::Failed, "é".repeat(1_000)),
        );
        one.note(Timestamp::EPOCH, &says(TaskState::Running, String::new()));

        assert_eq!(one.state, TaskState::Failed);
        assert_eq!(one.message, Some("é".repeat(512)));
    }
}
