//! What the bytes behind an address must hash to, said in the fragment of the address: `…/app.tgz#sha256=<hex>`.
//!
//! Mesos has no field for it, and a fragment never reaches a server. A fragment that names another hash is an error, so
//! that nobody believes in a check that is not made; any other fragment means nothing here.

use std::fmt;

/// The hash functions that are known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum HashFunction {
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

impl HashFunction {
    /// As it is written before the `=`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of a sum, in hexadecimal digits.
    const fn digits(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha512 => 128,
        }
    }
}

/// A sum that bytes must have. Text form: `sha256=<hex>`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Checksum {
    function: HashFunction,
    digits: String,
}

/// Why a fragment is not a checksum that can be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadChecksum {
    /// Another hash function.
    #[error("{0} is not checked here; say sha256 or sha512")]
    Unknown(String),
    /// Too short, too long, or not hexadecimal.
    #[error("{name}={text:?} is not {digits} hexadecimal digits", name = .function.name(), digits = .function.digits())]
    Digits {
        /// Which function.
        function: HashFunction,
        /// What was said.
        text: String,
    },
    /// More than one.
    #[error("more than one checksum is given")]
    Many,
}

impl Checksum {
    /// A sum as its bytes.
    pub fn new(function: HashFunction, sum: &[u8]) -> Self {
        let digits = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        Self { function, digits }
    }

    /// Which hash function makes it.
    pub const fn function(&self) -> HashFunction {
        self.function
    }

    /// Takes an address apart: what is before the fragment with the checksum, and the checksum. An address without one
    /// is returned whole.
    ///
    /// # Errors
    /// [`BadChecksum`] when the fragment asks for a check that cannot be made.
    pub fn split(address: &str) -> Result<(&str, Option<Self>), BadChecksum> {
        let Some((before, fragment)) = address.rsplit_once('#') else {
            return Ok((address, None));
        };
        let mut found = None;
        for part in fragment.split('&') {
            let Some((name, text)) = part.split_once('=') else {
                continue;
            };
            let function = match name.to_ascii_lowercase().as_str() {
                "sha256" => HashFunction::Sha256,
                "sha512" => HashFunction::Sha512,
                other if is_hash(other) => return Err(BadChecksum::Unknown(other.to_owned())),
                _ => continue,
            };
            if found.replace(Self::parse(function, text)?).is_some() {
                return Err(BadChecksum::Many);
            }
        }
        match found {
            Some(checksum) => Ok((before, Some(checksum))),
            None => Ok((address, None)),
        }
    }

    fn parse(function: HashFunction, text: &str) -> Result<Self, BadChecksum> {
        let is_hex = text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_hex || text.len() != function.digits() {
            let text = text.to_owned();
            return Err(BadChecksum::Digits { function, text });
        }
        let digits = text.to_ascii_lowercase();
        Ok(Self { function, digits })
    }
}

/// Whether a word looks like the name of a hash function.
fn is_hash(name: &str) -> bool {
    ["md5", "sha", "blake", "crc"]
        .iter()
        .any(|family| name.starts_with(family))
}

impl fmt::Display for Checksum {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}={}", self.function.name(), self.digits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checksum_is_taken_from_the_fragment_and_from_nowhere_else() {
        let sum = "AB".repeat(32);
        let address = format!("https://x/a.tgz?b=1#egg=a&sha256={sum}");

        let (before, checksum) = Checksum::split(&address).expect("good");

        assert_eq!(before, "https://x/a.tgz?b=1");
        assert_eq!(
            checksum,
            Some(Checksum::new(HashFunction::Sha256, &[0xab; 32]))
        );
        for plain in ["/srv/a#b", "https://x/a?sha256=1", "https://x/a#top", "/a"] {
            assert_eq!(Checksum::split(plain), Ok((plain, None)));
        }
    }

    #[test]
    fn what_cannot_be_checked_is_an_error() {
        let good = format!("sha512={}", "0".repeat(128));
        for (fragment, says) in [
            ("sha256=12", "sha256=\"12\" is not 64 hexadecimal digits"),
            (
                &format!("sha256={}", "g".repeat(64)),
                "is not 64 hexadecimal",
            ),
            ("md5=0", "md5 is not checked here; say sha256 or sha512"),
            ("SHA265=0", "sha265 is not checked here"),
            (&format!("{good}&{good}"), "more than one checksum"),
        ] {
            let error = Checksum::split(&format!("/a#{fragment}")).expect_err(fragment);
            assert!(error.to_string().contains(says), "{error}");
        }
        assert_eq!(
            Checksum::split(&format!("/a#{good}")).map(|(path, sum)| (path, sum.is_some())),
            Ok(("/a", true))
        );
    }
}
