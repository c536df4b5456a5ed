//! This terminal: its size, and raw for a while.

use mete_proto::mete::v1::TerminalSize;
use rustix::io::Errno;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};

/// The size of a terminal that does not know its own.
const USUAL: TerminalSize = TerminalSize {
    rows: 24,
    columns: 80,
};

/// Whether standard input is a terminal.
pub(super) fn is_here() -> bool {
    isatty(stdin())
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
    pub(super) fn begin() -> Result<Self, Errno> {
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
