//! Words on standard output. When nobody reads them any more (`mete task list | head`), the command ends quietly.

use std::io::{ErrorKind, Write as _};

/// Writes a line; [`say!`](crate::say!) is how it is called.
pub(crate) fn line(words: std::fmt::Arguments<'_>) {
    if let Err(error) = writeln!(std::io::stdout(), "{words}") {
        let exit = if error.kind() == ErrorKind::BrokenPipe {
            mete_daemon::exit::Exit::Done
        } else {
            mete_daemon::exit::Exit::Failed
        };
        std::process::exit(exit.code().into());
    }
}

/// As `println!`, without its panic.
#[macro_export]
macro_rules! say {
    () => { $crate::say::line(format_args!("")) };
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}
