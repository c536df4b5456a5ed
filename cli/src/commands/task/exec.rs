//! `mete task exec`: a command inside a running task, at pipes or at this terminal.
//!
//! A terminal is raw meanwhile: every key goes to the command, Ctrl-C too. It is as before on every way out.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use mete_proto::mete::v1::exec_request::Message as Ask;
use mete_proto::mete::v1::{ExecStart, StdinEnd};
use tokio::signal::unix::SignalKind;
use tokio_stream::wrappers::ReceiverStream;

use super::find;
use super::session::{Asks, Signals, Told, asks, listen, listen_for, read_stdin, result};
use super::tasks_client::{self, refused};
use super::terminal::{self, Raw};
use crate::client::Addresses;

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
    let (asks, waiting) = asks();
    asks.say(Ask::Start(start)).await;
    let signals = Signals::new(options.tty)?;
    let mut hung_up = listen_for(SignalKind::hangup())?;
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
        asks.say(Ask::StdinEnd(StdinEnd {})).await;
    }
    tokio::spawn(pass_signals_on(signals, asks));
    let ended = listen(&mut answers, &mut hung_up).await;
    drop(raw);
    let ended = ended?.context("the agent ended the session without a word")?;
    result("command", ended)
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
        terminal::must_be_here()?;
        if let Ok(kind) = std::env::var("TERM") {
            environment.entry("TERM".to_owned()).or_insert(kind);
        }
    }
    Ok(environment)
}

fn pass_stdin_on(asks: Asks) {
    read_stdin(move |read| {
        let message = match read {
            Some(bytes) => Ask::Stdin(bytes.to_vec().into()),
            None => Ask::StdinEnd(StdinEnd {}),
        };
        asks.say_here(message)
    });
}

/// Until nobody listens; the command decides what it does about them.
async fn pass_signals_on(mut signals: Signals, asks: Asks) {
    loop {
        let told = tokio::select! {
            told = signals.next() => told,
            () = asks.unheard() => return,
        };
        let message = match told {
            Told::Resized => Ask::Resize(terminal::size()),
            Told::Signal(number) => Ask::Signal(number),
        };
        asks.say(message).await;
    }
}
