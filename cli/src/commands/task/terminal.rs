//! This terminal: its size, and raw for a while.

use anyhow::{Result, ensure};
use mete_proto::mete::v1::TerminalSize;
use rustix::io::Errno;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The size of a terminal that does not know its own.
const USUAL: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// Standard input is a terminal.
///
/// # Errors
/// When it is none.
pub(super) fn must_be_here() -> Result<()> {
    ensure!(
        isatty(stdin()),
        "standard input is no terminal; leave -t out"
    );
    Ok(())
}

/// The size of the terminal of standard input.
pub(super) fn size() -> TerminalSize {
    match tcgetwinsize(stdin()) {
        Ok(size) if size.ws_row > 0 && size.ws_col > 0 => TerminalSize {
            rows: size.ws_row.into(),
            columns: size.ws_col.into(),
        },
        Ok(_) | Err(_) => USUAL,
    }
}

/// A terminal that passes every key on. Dropped, it is what it was before.
pub(super) struct Raw(Termios);

impl Raw {
    pub(super) fn begin() -> std::result::Result<Self, Errno> {
        let before = tcgetattr(stdin())?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw)?;
        Ok(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.0);
    }
}
