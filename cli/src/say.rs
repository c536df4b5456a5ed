//! Words on standard output and standard error. When nobody reads answers any more (`mete task list | head`), the
//! command ends quietly.

use std::io::{ErrorKind, Write as _};

/// Writes a line; [`say!`](crate::say!) is how it is called.
pub(crate) fn line(words: std::fmt::Arguments<'_>) {
    written(writeln!(std::io::stdout(), "{words}"));
}

/// Writes what is whole already.
pub(crate) fn bytes(bytes: &[u8]) {
    written(std::io::stdout().write_all(bytes));
}

fn written(result: std::io::Result<()>) {
    let Err(error) = result else { return };
    let exit = if error.kind() == ErrorKind::BrokenPipe {
        mete_daemon::exit::Exit::Done
    } else {
        complaint(format_args!("mete: the answer cannot be written: {error}"));
        mete_daemon::exit::Exit::Failed
    };
    std::process::exit(exit.code().into());
}

/// Writes a line to standard error; [`complain!`](crate::complain!) is how it is called. When nobody reads it, what is
/// under way goes on.
pub(crate) fn complaint(words: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "{words}");
}

/// As `eprintln!`, without its panic.
#[macro_export]
macro_rules! complain {
    ($($words:tt)*) => { $crate::say::complaint(format_args!($($words)*)) };
}

/// As `println!`, without its panic.
#[macro_export]
macro_rules! say {
    () => { $crate::say::line(format_args!("")) };
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}
