//! What a task's process tells its shim: why it never ran, or, from inside a container, that it runs and how it ended.
//!
//! One pipe, messages of a fixed head and, for a failure, a text after it; each is shorter than PIPE_BUF, so it comes
//! whole.

use std::os::fd::OwnedFd;

use mete_agent_core::task_dir::{End, StartStep};
use rustix::io::{Errno, read, write};

/// The steps by number.
pub(crate) const STEPS: [StartStep; 7] = [
    StartStep::Read,
    StartStep::Sandbox,
    StartStep::Fork,
    StartStep::Cgroup,
    StartStep::User,
    StartStep::Exec,
    StartStep::Container,
];

/// Bytes of a head: what it is, and a number.
const HEAD_BYTES: usize = 5;

/// Bytes of a failure's text: a path and some words.
const TEXT_BYTES: usize = 400;

const STARTED: u8 = 0xf0;
const EXITED: u8 = 0xf1;
const SIGNALED: u8 = 0xf2;

/// Why a task's process did not become its program.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) step: StartStep,
    pub(crate) errno: Errno,
    /// What it was about; empty: what the step is always about.
    pub(crate) what: String,
}

impl Fault {
    /// The system refused `what` while the container was built.
    pub(crate) fn of(what: impl Into<String>) -> impl FnOnce(Errno) -> Self {
        let what = what.into();
        move |errno| Self {
            step: StartStep::Container,
            errno,
            what,
        }
    }
}

/// What was told.
pub(crate) enum Told {
    /// Nothing: the writing ends are closed.
    Nothing,
    /// The program runs.
    Started,
    /// It ended.
    Ended(End),
    /// It never ran.
    Failed(Fault),
}

fn say(pipe: &OwnedFd, kind: u8, number: i32, text: &str) {
    let mut message = [0; HEAD_BYTES + TEXT_BYTES];
    let text = text.as_bytes();
    let length = text.len().min(TEXT_BYTES);
    message[0] = kind;
    message[1..HEAD_BYTES].copy_from_slice(&number.to_le_bytes());
    message[HEAD_BYTES..HEAD_BYTES + length].copy_from_slice(&text[..length]);
    let _ = write(pipe, &message[..HEAD_BYTES + length]);
}

/// The program will never run. Makes no allocation.
pub(crate) fn failed(pipe: &OwnedFd, step: StartStep, errno: Errno, what: &str) {
    say(pipe, step as u8, errno.raw_os_error(), what);
}

/// The program runs.
pub(crate) fn started(pipe: &OwnedFd) {
    say(pipe, STARTED, 0, "");
}

/// The program exited with `code`.
pub(crate) fn exited(pipe: &OwnedFd, code: i32) {
    say(pipe, EXITED, code, "");
}

/// `signal` ended the program.
pub(crate) fn signaled(pipe: &OwnedFd, signal: i32) {
    say(pipe, SIGNALED, signal, "");
}

/// Waits for the next message.
pub(crate) fn listen(pipe: &OwnedFd) -> Told {
    let mut head = [0; HEAD_BYTES];
    if !matches!(read(pipe, &mut head), Ok(HEAD_BYTES)) {
        return Told::Nothing;
    }
    let [kind, number @ ..] = head;
    let number = i32::from_le_bytes(number);
    match kind {
        STARTED => Told::Started,
        EXITED => Told::Ended(End::Exited { code: number }),
        SIGNALED => Told::Ended(End::Signaled { signal: number }),
        step => {
            let mut text = [0; TEXT_BYTES];
            // Nobody writes after a failure, so this ends with what there is.
            let length = read(pipe, &mut text).unwrap_or(0);
            Told::Failed(Fault {
                step: STEPS
                    .get(usize::from(step))
                    .copied()
                    .unwrap_or(StartStep::Exec),
                errno: Errno::from_raw_os_error(number),
                what: String::from_utf8_lossy(text.get(..length).unwrap_or_default()).into_owned(),
            })
        }
    }
}
