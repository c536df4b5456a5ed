//! The hash of what is fetched, made while it passes by.

use mete_model::{Checksum, HashFunction};
use ring::digest;

use super::{Failure, MAX_BYTES};

/// Counts bytes, and hashes them when there is a sum to compare with.
pub(super) struct Sum {
    wanted: Option<Checksum>,
    context: Option<digest::Context>,
    bytes: u64,
}

impl Sum {
    pub(super) fn new(wanted: Option<Checksum>) -> Self {
        let context = wanted.as_ref().map(|wanted| {
            digest::Context::new(match wanted.function() {
                HashFunction::Sha256 => &digest::SHA256,
                HashFunction::Sha512 => &digest::SHA512,
            })
        });
        Self {
            wanted,
            context,
            bytes: 0,
        }
    }

    /// Takes in the next bytes.
    ///
    /// # Errors
    /// When they are more than may be fetched.
    pub(super) fn update(&mut self, piece: &[u8]) -> Result<(), Failure> {
        self.bytes += piece.len() as u64;
        if self.bytes > MAX_BYTES {
            return Err(Failure::TooLarge);
        }
        if let Some(context) = &mut self.context {
            context.update(piece);
        }
        Ok(())
    }

    /// How many there were.
    ///
    /// # Errors
    /// When they are not those that were wanted.
    pub(super) fn finish(self) -> Result<u64, Failure> {
        let (Some(wanted), Some(context)) = (self.wanted, self.context) else {
            return Ok(self.bytes);
        };
        let found = Checksum::new(wanted.function(), context.finish().as_ref());
        match found == wanted {
            true => Ok(self.bytes),
            false => Err(Failure::Mismatch { wanted, found }),
        }
    }
}
