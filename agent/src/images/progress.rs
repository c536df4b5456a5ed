//! How far an image is, for the status of the task that waits for it.

use std::fmt;

/// How far a pull is. Layers are counted from 1, lowest first; those that are here already are not pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// A layer is coming.
    Pulling {
        /// Which.
        layer: usize,
        /// How many the image has.
        of: usize,
        /// Bytes of it that are here.
        bytes: u64,
        /// Bytes of it in all, as they are sent: compressed.
        total: u64,
    },
    /// A layer is being unpacked.
    Unpacking {
        /// Which.
        layer: usize,
        /// How many the image has.
        of: usize,
    },
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pulling {
                layer,
                of,
                bytes,
                total,
            } => {
                write!(f, "pulling layer {layer} of {of}")?;
                match bytes.saturating_mul(100).checked_div(*total) {
                    Some(percent) => write!(f, " ({} %)", percent.min(100)),
                    None => Ok(()),
                }
            }
            Self::Unpacking { layer, of } => write!(f, "unpacking layer {layer} of {of}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_reads_as_people_say_it() {
        let pulling = |bytes, total| Progress::Pulling {
            layer: 3,
            of: 7,
            bytes,
            total,
        };
        let unpacking = Progress::Unpacking { layer: 3, of: 7 };

        assert_eq!(pulling(50, 200).to_string(), "pulling layer 3 of 7 (25 %)");
        assert_eq!(pulling(0, 0).to_string(), "pulling layer 3 of 7");
        assert_eq!(unpacking.to_string(), "unpacking layer 3 of 7");
    }
}
