//! Whether a call ended because its connection did. The libraries below tell that in words of their own, of frames and bodies;
//! people want to know what they have lost.

use std::error::Error as _;

use tonic::Status;

/// Whether the connection was lost, and nobody on the other side has ended the call: what that one says has no cause here.
pub fn is_lost(status: &Status) -> bool {
    status.source().is_some()
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn what_the_other_side_says_is_no_loss() {
        let broken = io::Error::from(io::ErrorKind::BrokenPipe);

        assert!(is_lost(&Status::from_error(broken.into())));
        assert!(!is_lost(&Status::unavailable("it is shutting down")));
    }
}
