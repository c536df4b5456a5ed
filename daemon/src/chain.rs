//! An error with its causes, as people read it: what libraries say of themselves often names only the outermost.

use std::error::Error;

/// The whole chain in one line: `no answer: connection refused`.
pub fn chain(error: &dyn Error) -> String {
    let causes = std::iter::successors(Some(error), |&error| error.source());
    causes
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}

/// The cause at the bottom, where it alone tells something: `connection refused`.
pub fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
