//! Digests: what content is called by what it is, `sha256:<64 hexadecimal digits>`.
//!
//! SHA-256 and SHA-512, as registries use them; anything else names nothing here. Text that comes from outside is only
//! ever used as a file name after it has become a [`Digest`].

use std::fmt;
use std::fmt::Write as _;

use ring::digest::{Algorithm, Context, SHA256, SHA512};

/// A digest that reads as one.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Digest(String);

impl Digest {
    /// Reads `sha256:…` or `sha512:…`; `None` for anything else.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (name, hex) = text.split_once(':')?;
        let digits = 2 * algorithm(name)?.output_len();
        let plain = |byte: u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f');
        (hex.len() == digits && hex.bytes().all(plain)).then(|| Self(text.to_owned()))
    }

    /// The SHA-256 of some bytes.
    pub(crate) fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::sha256();
        hasher.update(bytes);
        hasher.finish()
    }

    /// The whole text, algorithm and digits.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The digits.
    pub(crate) fn hex(&self) -> &str {
        self.0.split_once(':').map_or("", |(_, hex)| hex)
    }

    /// The algorithm's name.
    pub(crate) fn algorithm(&self) -> &str {
        self.0.split_once(':').map_or("", |(name, _)| name)
    }

    /// A hasher that makes digests of this kind.
    pub(crate) fn hasher(&self) -> Hasher {
        match self.algorithm() {
            "sha512" => Hasher::new("sha512", &SHA512),
            _ => Hasher::sha256(),
        }
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn algorithm(name: &str) -> Option<&'static Algorithm> {
    match name {
        "sha256" => Some(&SHA256),
        "sha512" => Some(&SHA512),
        _ => None,
    }
}

/// Makes a digest of what passes by.
pub(crate) struct Hasher {
    name: &'static str,
    context: Context,
}

impl Hasher {
    fn new(name: &'static str, algorithm: &'static Algorithm) -> Self {
        Self {
            name,
            context: Context::new(algorithm),
        }
    }

    /// For SHA-256.
    pub(crate) fn sha256() -> Self {
        Self::new("sha256", &SHA256)
    }

    /// Takes more bytes in.
    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.context.update(bytes);
    }

    /// The digest of all of them.
    pub(crate) fn finish(self) -> Digest {
        let mut text = format!("{}:", self.name);
        for byte in self.context.finish().as_ref() {
            // Writing into a text never fails.
            let _ = write!(text, "{byte:02x}");
        }
        Digest(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_that_of_the_standard() {
        let digest = Digest::of(b"abc");

        // The example of FIPS 180-2.
        let known = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(digest.as_str(), known);
        assert_eq!(Digest::parse(known), Some(digest));
    }

    #[test]
    fn what_is_no_digest_is_none() {
        let hex = "a".repeat(64);
        for text in [
            String::new(),
            hex.clone(),
            format!("md5:{hex}"),
            format!("sha256:{hex}a"),
            format!("sha512:{hex}"),
            format!("sha256:{}", "A".repeat(64)),
            format!("sha256:{}/..", "a".repeat(61)),
        ] {
            assert_eq!(Digest::parse(&text), None, "{text}");
        }
    }
}
