//! What `mete task exec` and `mete task attach` have in common: what is said to an agent, and what it answers, until the end.

use std::io::{ErrorKind, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use mete_proto::mete::v1::exec_ended::How;
use mete_proto::mete::v1::exec_request::Message as Ask;
use mete_proto::mete::v1::exec_response::Message as Answer;
use mete_proto::mete::v1::{ExecEnded, ExecRequest, ExecResponse};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::tasks_client::refused;
use crate::commands::EndedWith;

/// Bytes of standard input that are sent at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Requests that wait for an agent that is slow to read.
const WAITING_REQUESTS: usize = 4;
/// What shells add to the number of the signal that has ended a command.
pub(super) const SIGNALED: i32 = 128;
/// What shells answer for a command that is not there.
const NOT_FOUND: u8 = 127;
/// What shells answer for a command that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// ENOENT.
const NO_ENTRY: i32 = 2;

/// What is said to the agent.
#[derive(Clone)]
pub(super) struct Asks(mpsc::Sender<ExecRequest>);

/// The same, and where the agent reads it.
pub(super) fn asks() -> (Asks, mpsc::Receiver<ExecRequest>) {
    let (asks, waiting) = mpsc::channel(WAITING_REQUESTS);
    (Asks(asks), waiting)
}

impl Asks {
    /// Says something, as soon as there is room. A stream that is over needs no more words.
    pub(super) async fn say(&self, message: Ask) {
        let message = Some(message);
        let _ = self.0.send(ExecRequest { message }).await;
    }

    /// The same on a thread of its own; whether somebody listens.
    pub(super) fn say_here(&self, message: Ask) -> bool {
        let message = Some(message);
        self.0.blocking_send(ExecRequest { message }).is_ok()
    }

    /// Waits until nobody listens any more.
    pub(super) async fn unheard(&self) {
        self.0.closed().await;
    }
}

/// Reads standard input on a thread of its own, which nobody waits for: a read of a terminal cannot be given up. `take` gets what
/// is read, `None` at the end, and says whether to go on.
pub(super) fn read_stdin(mut take: impl FnMut(Option<&[u8]>) -> bool + Send + 'static) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let read = match std::io::stdin().read(&mut buffer) {
                Ok(0) | Err(_) => None,
                Ok(count) => buffer.get(..count),
            };
            if !take(read) || read.is_none() {
                return;
            }
        }
    });
}

/// What the system tells us.
pub(super) enum Told {
    /// The terminal has another size.
    Resized,
    /// A signal by number.
    Signal(i32),
}

/// Where that is told.
pub(super) struct Signals {
    window: Option<Signal>,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Signals {
    /// With those of a terminal, or without.
    pub(super) fn new(tty: bool) -> Result<Self> {
        Ok(Self {
            window: tty
                .then(|| listen_for(SignalKind::window_change()))
                .transpose()?,
            interrupt: listen_for(SignalKind::interrupt())?,
            quit: listen_for(SignalKind::quit())?,
            terminate: listen_for(SignalKind::terminate())?,
        })
    }

    /// The next word.
    pub(super) async fn next(&mut self) -> Told {
        let window = async {
            match &mut self.window {
                Some(window) => window.recv().await,
                None => std::future::pending().await,
            }
        };
        let kind = tokio::select! {
            _ = window => return Told::Resized,
            _ = self.interrupt.recv() => SignalKind::interrupt(),
            _ = self.quit.recv() => SignalKind::quit(),
            _ = self.terminate.recv() => SignalKind::terminate(),
        };
        Told::Signal(kind.as_raw_value())
    }
}

/// Has a signal told to us instead of ending us.
pub(super) fn listen_for(kind: SignalKind) -> Result<Signal> {
    signal(kind).context("signals cannot be listened for")
}

/// Prints what is said until it has ended, or the terminal is gone, and with it the session. `None`: the agent has no more to say.
pub(super) async fn listen(
    answers: &mut Streaming<ExecResponse>,
    hung_up: &mut Signal,
) -> Result<Option<ExecEnded>> {
    loop {
        let answer = tokio::select! {
            answer = answers.message() => answer.map_err(|status| refused(&status))?,
            _ = hung_up.recv() => return Err(signaled(SignalKind::hangup()).into()),
        };
        match answer.map(|answer| answer.message) {
            Some(Some(Answer::Stdout(bytes))) => {
                let mut out = std::io::stdout().lock();
                match out.write_all(&bytes).and_then(|()| out.flush()) {
                    // Nobody reads any more, as in `mete task exec … | head`.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                        return Err(signaled(SignalKind::pipe()).into());
                    }
                    written => written?,
                }
            }
            Some(Some(Answer::Stderr(bytes))) => std::io::stderr().write_all(&bytes)?,
            Some(Some(Answer::Ended(ended))) => return Ok(Some(ended)),
            Some(Some(Answer::Started(_)) | None) => {}
            None => return Ok(None),
        }
    }
}

/// How `what` ended becomes how this one ends.
pub(super) fn result(what: &str, ended: ExecEnded) -> Result<()> {
    match ended.how {
        Some(How::ExitCode(0)) => Ok(()),
        Some(How::ExitCode(code)) => Err(ended_with(code).into()),
        Some(How::Signal(signal)) => Err(ended_with(SIGNALED.saturating_add(signal)).into()),
        Some(How::NotStarted(why)) => {
            let code = match why.errno {
                Some(NO_ENTRY) => NOT_FOUND,
                Some(_) | None => NOT_EXECUTABLE,
            };
            let why = Some(format!("the {what} did not run: {}", why.reason));
            Err(EndedWith { code, why }.into())
        }
        None => bail!("the agent does not say how the {what} ended"),
    }
}

fn signaled(kind: SignalKind) -> EndedWith {
    ended_with(SIGNALED + kind.as_raw_value())
}

/// A code that does not fit is at least no success.
pub(super) fn ended_with(code: i32) -> EndedWith {
    EndedWith {
        code: u8::try_from(code).unwrap_or(u8::MAX),
        why: None,
    }
}
