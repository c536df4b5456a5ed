//! What an agent and a shim say to each other about a session: a command that people run inside a running task.
//!
//! ```text
//! agent ── Request ─▶ shim    then Order, as often as it likes; the end of the socket ends the session
//! agent ◀─── News ─── shim    Running, with the agent's ends of the terminal or of the pipes; Ended is the last
//! ```
//! Each message is one packet of a socket between the two. The request does not go over a command line: who looks at
//! the processes of the machine would see it.

use std::collections::BTreeMap;

use mete_model::WindowSize;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{End, User};

/// The largest packet; below what a socket takes by default (208 KiB).
pub const MAX_PACKET_BYTES: usize = 128 << 10;

/// What the control group of a session is called, inside that of its task: this, and the number of its shim.
pub const SESSION_GROUP: &str = "session-";

/// The descriptor of a shim under which it holds its task's terminal, if that has one. An agent takes a copy of it to pass
/// on what is typed.
pub const TERMINAL_DESCRIPTOR: i32 = 100;

/// What is to be run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The program, a path or a name to be looked up in the task's `PATH`, and its arguments.
    pub command: Vec<String>,
    /// Variables besides those of the task; they win.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// The size of the terminal it gets; `None`: it gets pipes.
    #[serde(default)]
    pub terminal: Option<Size>,
    /// Whom it runs as, already looked up; `None`: the user of the task.
    #[serde(default)]
    pub user: Option<User>,
}

/// The size of a terminal in characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in a line.
    pub columns: u16,
}

impl From<WindowSize> for Size {
    fn from(size: WindowSize) -> Self {
        let WindowSize { rows, columns } = size;
        Self { rows, columns }
    }
}

/// What the agent says later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Send this signal to the command and its process group.
    Signal(i32),
}

/// What the shim says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum News {
    /// The command runs.
    Running,
    /// It has ended, or never ran, and nothing of it is left.
    Ended(End),
}

/// The bytes of a message.
pub fn encode(message: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(message).expect("names and numbers can always be written as JSON")
}

/// Reads a message; `None` when it is not one.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_written() {
        let request = Request {
            command: vec!["sh".into(), "-c".into(), "exit 3".into()],
            environment: BTreeMap::from([("TERM".into(), "xterm".into())]),
            terminal: Some(Size {
                rows: 24,
                columns: 80,
            }),
            user: None,
        };
        let ended = News::Ended(End::Exited { code: 3 });

        assert_eq!(decode(&encode(&request)), Some(request));
        assert_eq!(decode(&encode(&Order::Signal(2))), Some(Order::Signal(2)));
        assert_eq!(decode(&encode(&ended)), Some(ended));
        assert_eq!(decode::<News>(b"{}"), None);
    }
}
