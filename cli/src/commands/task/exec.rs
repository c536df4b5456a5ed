//! `mete task exec`: a command inside a running task, at pipes or at this terminal.
//!
//! A terminal is raw meanwhile: every key goes to the command, Ctrl-C too. It is as before on every way out.

mod terminal; // raw, and as it was

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read as _, Write as _};

use anyhow::{Context as _, Result, bail};
use mete_proto::mete::v1::exec_ended::How;
use mete_proto::mete::v1::exec_request::Message as Ask;
use mete_proto::mete::v1::exec_response::Message as Answer;
use mete_proto::mete::v1::{ExecEnded, ExecRequest, ExecResponse, ExecStart, StdinEnd};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;

use super::find;
use super::tasks_client::{self, refused};
use crate::client::Addresses;
use crate::commands::EndedWith;
use terminal::Raw;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Passes standard input on.
    #[arg(short, long)]
    interactive: bool,
    /// At a terminal, which is this one.
    #[arg(short, long)]
    tty: bool,
    /// A variable for the command, besides those of the task.
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable)]
    env: Vec<(String, String)>,
    /// The task's id, or the start of it when it is the only one; `framework/id` where several have it.
    id: String,
    /// The command and its arguments.
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Bytes of standard input that are sent at once.
const CHUNK_BYTES: usize = 16 << 10;
/// Requests that wait for an agent that is slow to read.
const WAITING_REQUESTS: usize = 4;
/// What shells add to the number of the signal that has ended a command.
const SIGNALED: i32 = 128;
/// What shells answer for a command that is not there.
const NOT_FOUND: u8 = 127;
/// What shells answer for a command that cannot be executed.
const NOT_EXECUTABLE: u8 = 126;
/// ENOENT.
const NO_ENTRY: i32 = 2;

pub(crate) async fn run(addresses: &Addresses, options: Options) -> Result<()> {
    let environment = environment(&options)?;
    let found = find::task(addresses, &options.id).await?;
    let mut client = tasks_client::connect(addresses, &found).await?;
    let start = ExecStart {
        task_id: found.task.clone(),
        framework_id: Some(found.framework.clone()),
        command: options.command,
        environment,
        terminal: options.tty.then(terminal::size),
    };
    let (asks, waiting) = mpsc::channel(WAITING_REQUESTS);
    ask(&asks, Ask::Start(start)).await;
    let signals = Signals::new(options.tty)?;
    let mut hung_up = signal(SignalKind::hangup()).context("signals cannot be listened for")?;
    let answer = client.exec(ReceiverStream::new(waiting)).await;
    let mut answers = answer.map_err(|status| refused(&status))?.into_inner();
    // Who types nothing keeps Ctrl-C for us.
    let raw = match options.tty && options.interactive {
        true => Some(Raw::begin().context("the terminal cannot be made raw")?),
        false => None,
    };
    if options.interactive {
        pass_stdin_on(asks.clone());
    } else if !options.tty {
        ask(&asks, Ask::StdinEnd(StdinEnd {})).await;
    }
    tokio::spawn(signals.pass_on(asks));
    let ended = listen(&mut answers, &mut hung_up).await;
    drop(raw);
    result(ended?)
}

fn variable(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once('=').ok_or("is not NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The variables to be sent.
///
/// # Errors
/// For a terminal that is not there.
fn environment(options: &Options) -> Result<BTreeMap<String, String>> {
    let mut environment: BTreeMap<String, String> = options.env.iter().cloned().collect();
    if options.tty {
        if !terminal::is_here() {
            bail!("standard input is no terminal; leave -t out");
        }
        if let Ok(kind) = std::env::var("TERM") {
            environment.entry("TERM".to_owned()).or_insert(kind);
        }
    }
    Ok(environment)
}

/// Prints what the command says until it has ended, or the terminal is gone, and with it the session.
async fn listen(answers: &mut Streaming<ExecResponse>, hung_up: &mut Signal) -> Result<ExecEnded> {
    loop {
        let answer = tokio::select! {
            answer = answers.message() => answer.map_err(|status| refused(&status))?,
            _ = hung_up.recv() => {
                let hang_up = SignalKind::hangup().as_raw_value();
                return Err(ended_with(SIGNALED + hang_up).into());
            }
        };
        match answer.map(|answer| answer.message) {
            Some(Some(Answer::Stdout(bytes))) => {
                let mut out = std::io::stdout().lock();
                match out.write_all(&bytes).and_then(|()| out.flush()) {
                    // Nobody reads any more, as in `mete task exec … | head`.
                    Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                        let broken_pipe = SignalKind::pipe().as_raw_value();
                        return Err(ended_with(SIGNALED + broken_pipe).into());
                    }
                    written => written?,
                }
            }
            Some(Some(Answer::Stderr(bytes))) => std::io::stderr().write_all(&bytes)?,
            Some(Some(Answer::Ended(ended))) => return Ok(ended),
            Some(Some(Answer::Started(_)) | None) => {}
            None => bail!("the agent ended the session without a word"),
        }
    }
}

/// How the command ended becomes how this one ends.
fn result(ended: ExecEnded) -> Result<()> {
    match ended.how {
        Some(How::ExitCode(0)) => Ok(()),
        Some(How::ExitCode(code)) => Err(ended_with(code).into()),
        Some(How::Signal(signal)) => Err(ended_with(SIGNALED.saturating_add(signal)).into()),
        Some(How::NotStarted(why)) => {
            let code = match why.errno {
                Some(NO_ENTRY) => NOT_FOUND,
                Some(_) | None => NOT_EXECUTABLE,
            };
            let why = Some(format!("the command did not run: {}", why.reason));
            Err(EndedWith { code, why }.into())
        }
        None => bail!("the agent does not say how the command ended"),
    }
}

/// A code that does not fit is at least no success.
fn ended_with(code: i32) -> EndedWith {
    EndedWith {
        code: u8::try_from(code).unwrap_or(u8::MAX),
        why: None,
    }
}

/// Says something, as soon as there is room. A stream that is over needs no more words.
async fn ask(asks: &mpsc::Sender<ExecRequest>, message: Ask) {
    let message = Some(message);
    let _ = asks.send(ExecRequest { message }).await;
}

/// On a thread of its own, which nobody waits for: a read of a terminal cannot be given up.
fn pass_stdin_on(asks: mpsc::Sender<ExecRequest>) {
    std::thread::spawn(move || {
        let mut buffer = vec![0; CHUNK_BYTES];
        loop {
            let message = match std::io::stdin().read(&mut buffer) {
                Ok(0) | Err(_) => Ask::StdinEnd(StdinEnd {}),
                Ok(count) => Ask::Stdin(buffer.get(..count).unwrap_or_default().to_vec().into()),
            };
            let over = matches!(message, Ask::StdinEnd(_));
            let message = Some(message);
            if asks.blocking_send(ExecRequest { message }).is_err() || over {
                return;
            }
        }
    });
}

/// What the system tells us that the command should know.
struct Signals {
    window: Option<Signal>,
    interrupt: Signal,
    quit: Signal,
    terminate: Signal,
}

impl Signals {
    fn new(tty: bool) -> Result<Self> {
        let listen = |kind| signal(kind).context("signals cannot be listened for");
        Ok(Self {
            window: tty
                .then(|| listen(SignalKind::window_change()))
                .transpose()?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Until nobody listens; the command decides what it does about them.
    async fn pass_on(mut self, asks: mpsc::Sender<ExecRequest>) {
        loop {
            let window = async {
                match &mut self.window {
                    Some(window) => window.recv().await,
                    None => std::future::pending().await,
                }
            };
            let message = tokio::select! {
                _ = window => Ask::Resize(terminal::size()),
                _ = self.interrupt.recv() => Ask::Signal(SignalKind::interrupt().as_raw_value()),
                _ = self.quit.recv() => Ask::Signal(SignalKind::quit().as_raw_value()),
                _ = self.terminate.recv() => Ask::Signal(SignalKind::terminate().as_raw_value()),
                () = asks.closed() => return,
            };
            ask(&asks, message).await;
        }
    }
}
