//! Names of things: opaque text, one type per noun, no conversion between two of them.
//!
//! An id is 1 to [`MAX_ID_BYTES`] bytes, not `.` or `..`, without slashes, backslashes and control
//! characters, so that each can be a file name (the rule of Mesos' `validation.cpp`).

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

/// The longest id, in bytes: what fits a file name.
pub const MAX_ID_BYTES: usize = 255;

/// A text that cannot be an id.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("bad {kind} id {text:?}: {rule}")]
pub struct BadId {
    kind: &'static str,
    text: String,
    rule: &'static str,
}

fn check(kind: &'static str, text: &str) -> Result<(), BadId> {
    if is_usual(text) {
        return Ok(());
    }
    let rule = if text.is_empty() {
        "it is empty"
    } else if text.len() > MAX_ID_BYTES {
        "it is longer than 255 bytes"
    } else if text == "." || text == ".." {
        "it names a directory"
    } else if text.contains(['/', '\\']) {
        "it holds a slash or backslash"
    } else if text.chars().any(char::is_control) {
        "it holds a control character"
    } else {
        return Ok(());
    };
    // A hostile id may be megabytes long; the start of it is enough to know it again.
    let text = text.chars().take(80).collect();
    Err(BadId { kind, text, rule })
}

/// Most ids are letters, digits and dashes, and many are checked: each names a byte of which nothing more need be asked.
fn is_usual(text: &str) -> bool {
    let is_plain = |byte: u8| byte == b'-' || byte == b'_' || byte.is_ascii_alphanumeric();
    matches!(text.len(), 1..=MAX_ID_BYTES)
        && text.bytes().all(|byte| is_plain(byte) || byte == b'.')
        && !text.starts_with('.')
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash)]
        pub struct $name(Arc<str>);

        /// By text. Clones share theirs, and are not read to find that they are equal.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> Ordering {
                if Arc::ptr_eq(&self.0, &other.0) {
                    return Ordering::Equal;
                }
                self.0.cmp(&other.0)
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

        impl $name {
            /// Checks a text and takes it as an id.
            ///
            /// # Errors
            /// [`BadId`] names the text and the rule it breaks.
            pub fn new(text: impl AsRef<str>) -> Result<Self, BadId> {
                check($kind, text.as_ref())?;
                Ok(Self(Arc::from(text.as_ref())))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// How many clones there are of it, itself among them. Reading it brings near in memory what the next clone
            /// changes.
            pub fn sharers(&self) -> usize {
                Arc::strong_count(&self.0)
            }

            /// Where in memory the text is. Clones share it: two ids that live at the same time and have one address
            /// are equal, others may be.
            pub fn address(&self) -> usize {
                Arc::as_ptr(&self.0).addr()
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($kind, " {}"), self.0)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

id!(
    /// Names one agent for as long as it is admitted: `<master incarnation>-S17`.
    AgentId, "agent"
);
id!(
    /// Names one framework: `<master incarnation>-0003`, or what the framework came back with.
    FrameworkId, "framework"
);
id!(
    /// Names one offer, once: `<master incarnation>-O42`.
    OfferId, "offer"
);
id!(
    /// Names one task within its framework; chosen by the framework.
    TaskId, "task"
);
id!(
    /// Names one executor within its framework and agent.
    ExecutorId, "executor"
);
id!(
    /// Names one operation within its framework; chosen by the framework.
    OperationId, "operation"
);
id!(
    /// Names one container on an agent; chosen by the agent.
    ContainerId, "container"
);

impl TaskId {
    /// The executor of a task that came alone has its name; one text serves for both.
    pub fn as_executor(&self) -> ExecutorId {
        ExecutorId(Arc::clone(&self.0))
    }
}

/// A task of a framework: what is unique in a cluster.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskKey {
    /// Whose task.
    pub framework: FrameworkId,
    /// Which of its tasks.
    pub task: TaskId,
}

impl fmt::Display for TaskKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.task, self.framework)
    }
}

/// Names one status update; sixteen bytes, a random UUID on the wire.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UpdateId(pub [u8; 16]);

impl fmt::Display for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, byte) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for UpdateId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for UpdateId {
    type Err = BadId;
    fn from_str(text: &str) -> Result<Self, BadId> {
        let bad = || BadId {
            kind: "update",
            text: text.chars().take(80).collect(),
            rule: "it is not a UUID",
        };
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        if digits.len() != 32 || !digits.is_ascii() {
            return Err(bad());
        }
        let mut bytes = [0; 16];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).map_err(|_| bad())?;
        }
        Ok(Self(bytes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_always_be_a_file_name() {
        for bad in [
            "",
            ".",
            "..",
            "a/b",
            "a\\b",
            "a\nb",
            "a\0b",
            &"x".repeat(256),
        ] {
            assert!(TaskId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "...", "web_10.instance-1._app.1", &"x".repeat(255)] {
            assert_eq!(TaskId::new(good).expect("good").as_str(), good);
        }
    }

    #[test]
    fn update_ids_read_what_they_print() {
        let id = UpdateId(*b"0123456789abcdef");

        assert_eq!(id.to_string(), "30313233-3435-3637-3839-616263646566");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("30313233".parse::<UpdateId>().is_err());
    }
}
