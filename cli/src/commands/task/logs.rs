//! `mete task logs` and `mete task attach`: what a task prints, told by its agent as it is printed, whoever restarts that.

use std::io::Write;

use anyhow::Result;
use mete_proto::mete::v1::FollowRequest;

use super::follow::follow;
use crate::client::Addresses;

/// What is asked for.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// The task's id, or the start of it when it is the only one; `framework/id` where several have it.
    id: String,
    /// Goes on as the task prints more, until it has ended; an agent that restarts is waited for, a minute.
    #[arg(short, long)]
    follow: bool,
    /// Standard output alone, as it is: no line says which stream it is from.
    #[arg(long, conflicts_with = "stderr")]
    stdout: bool,
    /// Standard error alone, as it is.
    #[arg(long)]
    stderr: bool,
    /// Only the last so many bytes of each stream; 0: all that is kept.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    tail: u64,
}

/// A line that is longer is told in parts.
const LINE_BYTES: usize = 64 << 10;

/// `mete task logs`.
pub(crate) async fn logs(addresses: &Addresses, options: Options) -> Result<()> {
    let one = options.stdout || options.stderr;
    let request = FollowRequest {
        without_stdout: Some(options.stderr),
        without_stderr: Some(options.stdout),
        tail_bytes: (options.tail > 0).then_some(options.tail),
        once: Some(!options.follow),
        ..FollowRequest::default()
    };
    let mut lines = Lines::default();
    follow(addresses, &options.id, request, |is_stderr, bytes| {
        let mut out = std::io::stdout().lock();
        match one {
            true => out.write_all(bytes)?,
            false => lines.add(is_stderr, bytes, &mut out)?,
        }
        out.flush()
    })
    .await?;
    Ok(lines.end(&mut std::io::stdout().lock())?)
}

/// `mete task attach`: each stream to our own, from now on.
pub(crate) async fn attach(addresses: &Addresses, id: &str) -> Result<()> {
    let request = FollowRequest {
        tail_bytes: Some(0),
        ..FollowRequest::default()
    };
    follow(addresses, id, request, |is_stderr, bytes| {
        if is_stderr {
            return std::io::stderr().write_all(bytes);
        }
        let mut out = std::io::stdout().lock();
        out.write_all(bytes)?;
        out.flush()
    })
    .await
}

/// Both streams line by line, each line with the name of its own.
#[derive(Default)]
struct Lines {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Lines {
    fn add(&mut self, is_stderr: bool, bytes: &[u8], out: &mut impl Write) -> std::io::Result<()> {
        let (name, begun) = match is_stderr {
            true => ("err", &mut self.stderr),
            false => ("out", &mut self.stdout),
        };
        for part in bytes.split_inclusive(|byte| *byte == b'\n') {
            begun.extend_from_slice(part);
            if part.ends_with(b"\n") || begun.len() >= LINE_BYTES {
                line(name, begun, out)?;
            }
        }
        Ok(())
    }

    /// What has no end of its line.
    fn end(&mut self, out: &mut impl Write) -> std::io::Result<()> {
        for (name, begun) in [("out", &mut self.stdout), ("err", &mut self.stderr)] {
            if !begun.is_empty() {
                line(name, begun, out)?;
            }
        }
        Ok(())
    }
}

fn line(name: &str, line: &mut Vec<u8>, out: &mut impl Write) -> std::io::Result<()> {
    if !line.ends_with(b"\n") {
        line.push(b'\n');
    }
    write!(out, "{name} | ")?;
    out.write_all(line)?;
    line.clear();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_two_streams_stay_whole() {
        let mut lines = Lines::default();
        let mut out = Vec::new();

        lines.add(false, b"one\ntw", &mut out).expect("written");
        lines.add(true, b"bad\n", &mut out).expect("written");
        lines.add(false, b"o\nthree", &mut out).expect("written");
        lines.end(&mut out).expect("written");

        let text = String::from_utf8(out).expect("text");
        assert_eq!(text, "out | one\nerr | bad\nout | two\nout | three\n");
    }
}
