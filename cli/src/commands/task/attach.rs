//! `mete task attach`: what a task prints from now on; with `-i` also what is typed into its terminal.
//!
//! This terminal is raw meanwhile (`-t`): every key goes to the task, Ctrl-C too, but for those that let go of it. It is as before
//! on every way out, and who goes leaves the task as it is.

use std::time::Duration;

use anyhow::{Context as _, Result};
use mete_proto::mete::v1::exec_request::Message as Ask;
use mete_proto::mete::v1::{AttachStart, StdinEnd, TerminalSize};
use tokio::signal::unix::SignalKind;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;

use super::session::{
    Asks, SIGNALED, Signals, Told, asks, ended_with, listen, listen_for, read_stdin, result,
};
use super::tasks_client::{self, refused};
use super::terminal::{self, Raw};
use super::{find, logs};
use crate::client::Addresses;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Types standard input into the terminal of the task, and ends as the task does; the end of input is ^D there.
    #[arg(short, long)]
    interactive: bool,
    /// From this terminal, every key of it; ^P ^Q lets go and leaves the task running.
    #[arg(short, long, requires = "interactive")]
    tty: bool,
    /// The task's id, or the start of it when it is the only one; `framework/id` where several have it.
    id: String,
}

/// ^P and ^Q, as Docker has it.
const LET_GO: [u8; 2] = [0x10, 0x11];

/// How long an agent may take to say that it has let go.
const LAST_WORD: Duration = Duration::from_secs(2);

/// No size: a program that is told the right one then draws all anew, whatever it had before.
const NO_SIZE: TerminalSize = TerminalSize {
    rows: 0,
    columns: 0,
};

pub(crate) async fn run(addresses: &Addresses, options: Options) -> Result<()> {
    if !options.interactive {
        return logs::attach(addresses, &options.id).await;
    }
    if options.tty {
        terminal::must_be_here()?;
    }
    let found = find::task(addresses, &options.id).await?;
    let mut client = tasks_client::connect(addresses, &found).await?;
    let (asks, waiting) = asks();
    asks.say(Ask::Attach(AttachStart {
        task_id: found.task,
        framework_id: Some(found.framework),
    }))
    .await;
    let mut signals = Signals::new(options.tty)?;
    let mut hung_up = listen_for(SignalKind::hangup())?;
    let answer = client.attach(ReceiverStream::new(waiting)).await;
    let mut answers = answer.map_err(|status| refused(&status))?.into_inner();
    let raw = match options.tty {
        true => Some(Raw::begin().context("the terminal cannot be made raw")?),
        false => None,
    };
    if options.tty {
        asks.say(Ask::Resize(NO_SIZE)).await;
        asks.say(Ask::Resize(terminal::size())).await;
    }
    let let_go = type_on(asks.clone(), options.tty);
    let ended = tokio::select! {
        ended = listen(&mut answers, &mut hung_up) => ended,
        number = sizes(&mut signals, &asks) => Err(ended_with(SIGNALED + number).into()),
        Ok(()) = let_go => {
            // What was typed before is passed on: the agent ends its answers when it has read all.
            drop(asks);
            let _ = timeout(LAST_WORD, async { while let Ok(Some(_)) = answers.message().await {} }).await;
            drop(raw);
            crate::complain!("\nmete: let go of the task, which runs on");
            return Ok(());
        }
    };
    drop(raw);
    let ended = ended?.context("the agent let go of the task without a word")?;
    result("task", ended)
}

/// Passes on what is typed; told when that is the keys that let go, which only a terminal has.
fn type_on(asks: Asks, tty: bool) -> oneshot::Receiver<()> {
    let (tell, let_go) = oneshot::channel();
    let (mut keys, mut tell) = (Keys::default(), Some(tell));
    read_stdin(move |read| {
        let Some(bytes) = read else {
            return asks.say_here(Ask::StdinEnd(StdinEnd {}));
        };
        let (typed, is_over) = match tty {
            true => keys.pass(bytes),
            false => (bytes.to_vec(), false),
        };
        let heard = typed.is_empty() || asks.say_here(Ask::Stdin(typed.into()));
        if is_over {
            let _ = tell.take().map(|tell| tell.send(()));
        }
        heard && !is_over
    });
    let_go
}

/// Passes on sizes of this terminal, until a signal tells us to end; its number.
async fn sizes(signals: &mut Signals, asks: &Asks) -> i32 {
    loop {
        match signals.next().await {
            Told::Resized => asks.say(Ask::Resize(terminal::size())).await,
            Told::Signal(number) => return number,
        }
    }
}

/// What is typed, up to the keys that let go.
#[derive(Default)]
struct Keys {
    /// The first of them is typed, and is the task's unless the second follows.
    is_held: bool,
}

impl Keys {
    /// What of some bytes is for the task, and whether to let go then.
    fn pass(&mut self, bytes: &[u8]) -> (Vec<u8>, bool) {
        let [first, second] = LET_GO;
        let mut typed = Vec::with_capacity(bytes.len() + 1);
        for byte in bytes {
            if std::mem::take(&mut self.is_held) {
                if *byte == second {
                    return (typed, true);
                }
                typed.push(first);
            }
            match *byte == first {
                true => self.is_held = true,
                false => typed.push(*byte),
            }
        }
        (typed, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passed(parts: &[&str]) -> (String, bool) {
        let mut keys = Keys::default();
        let (mut all, mut is_over) = (Vec::new(), false);
        for part in parts {
            let (typed, over) = keys.pass(part.as_bytes());
            all.extend(typed);
            is_over |= over;
        }
        (String::from_utf8(all).expect("text"), is_over)
    }

    #[test]
    fn two_keys_let_go_and_either_alone_is_typed() {
        let goes_on = |text: &str| (text.to_owned(), false);

        assert_eq!(passed(&["ls\n"]), goes_on("ls\n"));
        assert_eq!(passed(&["a\u{10}b\u{11}"]), goes_on("a\u{10}b\u{11}"));
        assert_eq!(passed(&["a\u{10}"]), goes_on("a"));
        assert_eq!(passed(&["\u{10}\u{10}x"]), goes_on("\u{10}\u{10}x"));
        assert_eq!(passed(&["a\u{10}\u{11}b"]), ("a".to_owned(), true));
        assert_eq!(passed(&["a\u{10}", "\u{11}"]), ("a".to_owned(), true));
        assert_eq!(
            passed(&["\u{10}\u{10}", "\u{11}"]),
            ("\u{10}".to_owned(), true)
        );
    }
}
