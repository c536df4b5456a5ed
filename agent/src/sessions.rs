//! Commands that people run inside running tasks. A shim of its own enters the task for each
//! ([`mete_agent_core::task_dir::session`]); what is typed and said goes through here.
//!
//! ```text
//! person ⇄ said, heard ⇄ Session ⇄ terminal or pipes of the command
//!                          └─ socket to the shim: signals there, the end back
//! ```
//! Invariants: a slow person makes the command wait, nothing piles up here. When nobody hears any more, the session is
//! dropped: the shim sees its socket close and ends everything the command has started. Should the agent die, the same
//! happens. In a container of a Docker Engine the engine enters instead of a shim ([`engine`]).

mod engine; // those in containers of a Docker Engine
mod stream; // one end of a terminal or pipe, without blocking
mod terminal; // that of a task's own program

use std::io;
use std::os::fd::OwnedFd;
use std::pin::pin;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{Stream as Saying, StreamExt};
use mete_agent_core::task_dir::session::{
    MAX_PACKET_BYTES, News, Order, Request, Size, decode, encode,
};
use mete_agent_core::task_dir::{End, TaskDir};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketFlags,
    SocketType, recvmsg, send, socketpair,
};
use rustix::termios::{Winsize, tcsetwinsize};
use tokio::io::unix::AsyncFd;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_blocking;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::docker::EngineError;
use crate::shims::{self, Executable};
use engine::Inside;
use stream::Stream;
use terminal::Terminal;

/// Sessions at once: each is a process beside the tasks, and some descriptors here.
const MAX_SESSIONS: usize = 64;

/// How long a command may take to begin; entering a container takes milliseconds.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of output that are moved at once.
const CHUNK_BYTES: usize = 16 << 10;

/// Parts of output that wait for a slow reader.
pub(crate) const WAITING_PARTS: usize = 4;

/// How long output may be silent after the command's end; all who could say something are dead by then.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What a terminal takes for the end of input.
const END_OF_INPUT: &[u8] = &[4];

/// Why a command does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionError {
    /// There are enough.
    #[error("{MAX_SESSIONS} commands run inside tasks of this agent; more are not let in")]
    TooMany,
    /// Command and environment are too large.
    #[error("command and environment take {0} bytes, {MAX_PACKET_BYTES} are allowed")]
    TooLarge(usize),
    /// The command never ran.
    #[error("{reason}")]
    NotStarted {
        /// Why, in words.
        reason: String,
        /// The error number of the system.
        errno: Option<i32>,
    },
    /// The terminal is there and cannot be reached.
    #[error("the terminal of the task cannot be reached")]
    Terminal(#[source] io::Error),
    /// The terminal is that of a container, and its engine does not let anybody type.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// There is no shim.
    #[error("the shim of the command could not be started")]
    Spawn(#[source] io::Error),
    /// The shim ended without a word, or said something else than it should.
    #[error("the shim of the command ended before the command ran")]
    Lost,
    /// The shim says nothing.
    #[error("the command did not run within {} s", START_TIMEOUT.as_secs())]
    Slow,
}

/// What a person says to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    /// Bytes for standard input.
    Stdin(Bytes),
    /// Standard input ends.
    StdinEnd,
    /// The terminal has another size.
    Resize(Size),
    /// A signal by number.
    Signal(i32),
}

/// What a person hears of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// From standard output, or the terminal.
    Stdout(Bytes),
    /// From standard error.
    Stderr(Bytes),
    /// How it ended; the last word.
    Ended(End),
}

/// Starts sessions, so many at most.
pub(crate) struct Sessions {
    shim: Arc<Executable>,
    places: Arc<Semaphore>,
}

impl Sessions {
    /// With the program that enters tasks.
    pub(crate) fn new(shim: Arc<Executable>) -> Self {
        let places = Arc::new(Semaphore::new(MAX_SESSIONS));
        Self { shim, places }
    }

    /// Runs a command in the task of `dir`; `user` is whom an engine is to run it as, by a name that the image knows.
    ///
    /// # Errors
    /// [`SessionError`]; nothing of the command is left then.
    pub(crate) async fn start(
        &self,
        dir: &TaskDir,
        request: &Request,
        user: Option<&str>,
    ) -> Result<Session, SessionError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| SessionError::TooMany)?;
        let bytes = encode(request);
        if bytes.len() > MAX_PACKET_BYTES {
            return Err(SessionError::TooLarge(bytes.len()));
        }
        // What a shim would enter is the follower of the container, outside of it.
        if dir.docker().exists() {
            let inside = Inside::start(dir, request, user, place).await;
            return inside.map(Session::Inside);
        }
        let beside = Beside::start(&self.shim, dir, bytes, place).await;
        beside.map(Session::Beside)
    }
}

impl Sessions {
    /// Where to say what is to be typed into the terminal of the task of `dir`; `None`: it has none, or does not run.
    ///
    /// # Errors
    /// [`SessionError`].
    pub(crate) async fn type_into(
        &self,
        dir: &TaskDir,
    ) -> Result<Option<mpsc::Sender<Said>>, SessionError> {
        let place = Arc::clone(&self.places).try_acquire_owned();
        let place = place.map_err(|_| SessionError::TooMany)?;
        let Some(terminal) = Terminal::of(dir).await? else {
            return Ok(None);
        };
        let (said, says) = mpsc::channel(WAITING_PARTS);
        tokio::spawn(async move {
            terminal.type_in(says).await;
            drop(place);
        });
        Ok(Some(said))
    }
}

/// The shim, collected when it has ended.
struct Collected(Option<Child>);

impl Drop for Collected {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            // It ends within seconds once its socket is closed. Outside of a runtime the process ends anyway.
            if let Ok(runtime) = tokio::runtime::Handle::try_current() {
                drop(runtime.spawn_blocking(move || child.wait()));
            }
        }
    }
}

/// Starts the shim and tells it what is wanted.
fn spawn(shim: &Executable, dir: &TaskDir, request: &[u8]) -> io::Result<(OwnedFd, Collected)> {
    let (own, theirs) = socketpair(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let child = shim
        .command()
        .arg("--session")
        .arg(dir.path())
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()?;
    let child = Collected(Some(child));
    send(&own, request, SendFlags::NOSIGNAL)?;
    rustix::io::ioctl_fionbio(&own, true)?;
    Ok((own, child))
}

/// The socket to the shim.
struct Control(AsyncFd<OwnedFd>);

impl Control {
    /// The next word, and the handles that came with it. `None`: there will be none.
    async fn next(&self) -> Option<(News, Vec<OwnedFd>)> {
        loop {
            let mut ready = self.0.readable().await.ok()?;
            match ready.try_io(|socket| Ok(receive(socket.get_ref())?)) {
                Ok(received) => {
                    let (bytes, handles) = received.ok()?;
                    return Some((decode(&bytes)?, handles));
                }
                Err(_would_block) => {}
            }
        }
    }

    /// Says something; the shim reads as soon as it can, and a full socket loses the word.
    fn say(&self, order: Order) {
        let _ = send(self.0.get_ref(), &encode(&order), SendFlags::NOSIGNAL);
    }
}

fn receive(socket: &OwnedFd) -> Result<(Vec<u8>, Vec<OwnedFd>), Errno> {
    let mut bytes = vec![0; MAX_PACKET_BYTES];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [io::IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut handles = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(rights) = message {
            handles.extend(rights);
        }
    }
    bytes.truncate(received.bytes);
    Ok((bytes, handles))
}

/// What the command reads and writes.
enum Streams {
    Terminal(Arc<Stream>),
    Pipes {
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
    },
}

impl Streams {
    /// Of the handles that came; `None` when it is not their number.
    fn of(handles: Vec<OwnedFd>) -> io::Result<Option<Self>> {
        let mut streams = handles.into_iter().map(Stream::new);
        let all = (
            streams.next().transpose()?,
            streams.next().transpose()?,
            streams.next().transpose()?,
        );
        Ok(match all {
            (Some(terminal), None, None) => Some(Self::Terminal(Arc::new(terminal))),
            (Some(stdin), Some(stdout), Some(stderr)) => Some(Self::Pipes {
                stdin,
                stdout,
                stderr,
            }),
            _ => None,
        })
    }
}

/// A command that runs.
pub(crate) enum Session {
    /// With a shim of its own.
    Beside(Beside),
    /// Inside a container of a Docker Engine.
    Inside(Inside),
}

impl Session {
    /// Passes on what is said and heard, until the command has ended or nobody hears any more. The end of `said` is the
    /// end of standard input.
    pub(crate) async fn converse(self, said: impl Saying<Item = Said>, heard: mpsc::Sender<Heard>) {
        match self {
            Self::Beside(session) => session.converse(said, heard).await,
            Self::Inside(session) => session.converse(said, heard).await,
        }
    }
}

/// A command with a shim of its own.
pub(crate) struct Beside {
    control: Control,
    streams: Streams,
    _child: Collected,
    _place: OwnedSemaphorePermit,
}

impl Beside {
    /// Starts the shim, and waits until the command runs.
    async fn start(
        shim: &Arc<Executable>,
        dir: &TaskDir,
        request: Vec<u8>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, SessionError> {
        let (shim, dir) = (Arc::clone(shim), dir.clone());
        // Starting a process blocks until it has executed its program.
        let spawned = spawn_blocking(move || spawn(&shim, &dir, &request)).await;
        let (control, child) = spawned
            .map_err(|error| SessionError::Spawn(io::Error::other(error)))?
            .map_err(SessionError::Spawn)?;
        let control = Control(shims::watch(control).map_err(SessionError::Spawn)?);
        let begun = timeout(START_TIMEOUT, control.next()).await;
        let (news, handles) = begun
            .map_err(|_| SessionError::Slow)?
            .ok_or(SessionError::Lost)?;
        match news {
            News::Running => {}
            News::Ended(End::NotStarted {
                reason,
                errno,
                step,
            }) => {
                let reason = format!("{step}: {reason}");
                return Err(SessionError::NotStarted { reason, errno });
            }
            News::Ended(_) => return Err(SessionError::Lost),
        }
        let streams = Streams::of(handles).map_err(SessionError::Spawn)?;
        Ok(Self {
            control,
            streams: streams.ok_or(SessionError::Lost)?,
            _child: child,
            _place: place,
        })
    }

    async fn converse(self, said: impl Saying<Item = Said>, heard: mpsc::Sender<Heard>) {
        let Self {
            control,
            streams,
            _child,
            _place,
        } = self;
        let ended = CancellationToken::new();
        let (input, terminal, outputs) = match streams {
            Streams::Terminal(terminal) => {
                let outputs = vec![(Arc::clone(&terminal), Heard::Stdout as fn(Bytes) -> Heard)];
                (Arc::clone(&terminal), Some(terminal), outputs)
            }
            Streams::Pipes {
                stdin,
                stdout,
                stderr,
            } => {
                let outputs = vec![
                    (Arc::new(stdout), Heard::Stdout as fn(Bytes) -> Heard),
                    (Arc::new(stderr), Heard::Stderr as fn(Bytes) -> Heard),
                ];
                (Arc::new(stdin), None, outputs)
            }
        };
        let pumps = outputs
            .into_iter()
            .map(|(stream, word)| pump(stream, word, heard.clone(), ended.clone()));
        let mut outputs = pin!(futures::future::join_all(pumps));
        let mut input = pin!(feed(said, input, terminal, &control));
        let (mut fed, mut silent) = (false, false);
        let mut news = pin!(control.next());
        let end = loop {
            tokio::select! {
                biased;
                () = heard.closed() => return,
                news = &mut news => break news,
                _ = &mut outputs, if !silent => silent = true,
                () = &mut input, if !fed => fed = true,
            }
        };
        ended.cancel();
        if !silent {
            tokio::select! {
                () = heard.closed() => return,
                _ = &mut outputs => {}
            }
        }
        let end = match end {
            Some((News::Ended(end), _)) => end,
            // The shim was killed; so is the command.
            Some((News::Running, _)) | None => End::Signaled { signal: 9 },
        };
        let _ = heard.send(Heard::Ended(end)).await;
    }
}

/// Moves output until it ends, or, after the command's end, is silent.
async fn pump(
    stream: Arc<Stream>,
    word: fn(Bytes) -> Heard,
    heard: mpsc::Sender<Heard>,
    ended: CancellationToken,
) {
    let mut buffer = vec![0; CHUNK_BYTES];
    loop {
        let too_late = async {
            ended.cancelled().await;
            sleep(LAST_WORDS).await;
        };
        let count = tokio::select! {
            biased;
            read = stream.read(&mut buffer) => read.unwrap_or(0),
            () = too_late => 0,
        };
        let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else {
            return;
        };
        if heard
            .send(word(Bytes::copy_from_slice(bytes)))
            .await
            .is_err()
        {
            return;
        }
    }
}

/// Carries out what is said. Standard input that nobody reads holds up what is said after it, as at any terminal.
async fn feed(
    said: impl Saying<Item = Said>,
    input: Arc<Stream>,
    terminal: Option<Arc<Stream>>,
    control: &Control,
) {
    let mut said = pin!(said);
    let mut input = Some(input);
    loop {
        match said.next().await {
            Some(Said::Stdin(bytes)) => {
                if let Some(open) = &input
                    && open.write_all(&bytes).await.is_err()
                {
                    input = None;
                }
            }
            Some(Said::Resize(size)) => {
                if let Some(terminal) = &terminal {
                    resize(terminal, size);
                }
            }
            Some(Said::Signal(number)) => control.say(Order::Signal(number)),
            end @ (Some(Said::StdinEnd) | None) => {
                if let Some(open) = input.take()
                    && terminal.is_some()
                {
                    let _ = open.write_all(END_OF_INPUT).await;
                }
                if end.is_none() {
                    return;
                }
            }
        }
    }
}

fn resize(terminal: &Stream, size: Size) {
    let size = Winsize {
        ws_row: size.rows,
        ws_col: size.columns,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // Its programs get SIGWINCH from the kernel.
    let _ = tcsetwinsize(terminal.handle(), size);
}
