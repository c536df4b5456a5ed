//! The exit codes of every command, as documented.

use std::error::Error;
use std::process::ExitCode;

use crate::auth::TokenError;
use crate::config::{ConfigError, Faults};
use crate::directory::DirectoryError;
use crate::store::StoreError;

/// How a process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done.
    Done,
    /// 1: failed.
    Failed,
    /// 2: wrong usage or configuration.
    Usage,
    /// 3: the store is locked by another process or cannot be read.
    Store,
}

impl Exit {
    /// The exit that an error calls for, found anywhere in its chain of causes.
    pub fn of(error: &(dyn Error + 'static)) -> Self {
        std::iter::successors(Some(error), |&error| error.source())
            .find_map(Self::of_one)
            .unwrap_or(Self::Failed)
    }

    fn of_one(error: &(dyn Error + 'static)) -> Option<Self> {
        if let Some(failure) = error.downcast_ref::<StoreError>() {
            return Some(match failure {
                StoreError::Locked { .. }
                | StoreError::Unreadable { .. }
                | StoreError::Format { .. } => Self::Store,
                StoreError::Directory(failure) => Self::of_directory(failure),
                StoreError::Full { .. }
                | StoreError::Write { .. }
                | StoreError::Fenced { .. }
                | StoreError::Closed { .. } => Self::Failed,
            });
        }
        if let Some(failure) = error.downcast_ref::<DirectoryError>() {
            return Some(Self::of_directory(failure));
        }
        if let Some(refusal) = error.downcast_ref::<ConfigError>() {
            return Some(match refusal {
                ConfigError::Help(_) => Self::Done,
                ConfigError::Faults(_) => Self::Usage,
            });
        }
        let is_usage = error.is::<Faults>() || error.is::<TokenError>();
        is_usage.then_some(Self::Usage)
    }

    /// Another place is to be named, unless there is only no room.
    fn of_directory(failure: &DirectoryError) -> Self {
        match failure.is_full() {
            true => Self::Failed,
            false => Self::Usage,
        }
    }

    /// The number.
    pub const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Store => 3,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event_loop::LoopError;

    #[test]
    fn the_cause_deep_in_the_chain_decides() {
        let locked = LoopError::Commit(StoreError::Locked { path: "x".into() });
        let full = LoopError::Commit(StoreError::Full { path: "x".into() });

        assert_eq!(Exit::of(&locked), Exit::Store);
        assert_eq!(Exit::of(&full), Exit::Failed);
        assert_eq!(
            Exit::of(&ConfigError::Faults(Faults(Vec::new()))),
            Exit::Usage
        );
        assert_eq!(Exit::of(&std::io::Error::other("x")), Exit::Failed);
    }

    #[test]
    fn a_directory_that_cannot_be_made_is_named_wrongly_unless_the_disk_is_full() {
        let failed = |kind: std::io::ErrorKind| DirectoryError {
            path: "x".into(),
            source: Arc::new(kind.into()),
        };
        let wrong = failed(std::io::ErrorKind::NotADirectory);
        let full = failed(std::io::ErrorKind::StorageFull);

        assert_eq!(Exit::of(&wrong), Exit::Usage);
        assert_eq!(Exit::of(&StoreError::from(wrong)), Exit::Usage);
        assert_eq!(Exit::of(&StoreError::from(full)), Exit::Failed);
    }
}
