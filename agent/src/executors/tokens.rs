//! What an executor shows to be let in where the agent has a token: the name of its container, and a code over it that
//! only this agent can make.
//!
//! Invariants: a token is good for one run of one executor, and nowhere but where executors call; codes are compared in
//! constant time. The key lies in the work directory, readable by the agent alone, so that executors that outlive an agent
//! are known to the next.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use mete_model::ContainerId;
use ring::hmac::{self, HMAC_SHA256, Key};
use ring::rand::{SecureRandom as _, SystemRandom};

/// As long as the digest (RFC 2104 §3).
const KEY_BYTES: usize = 32;

/// Makes tokens, and knows them again.
#[derive(Clone)]
pub(crate) struct ExecutorTokens(Arc<Key>);

impl ExecutorTokens {
    /// With the key of this work directory, which is drawn when there is none. Blocks.
    ///
    /// # Errors
    /// When the file cannot be read or written, or holds something else.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let bytes = match fs::read(path) {
            Ok(bytes) if bytes.len() == KEY_BYTES => bytes,
            Ok(bytes) => {
                let (path, length) = (path.display(), bytes.len());
                let why = format!("{path} has {length} bytes, a key of executors has {KEY_BYTES}");
                return Err(io::Error::new(io::ErrorKind::InvalidData, why));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => draw(path)?,
            Err(error) => return Err(error),
        };
        Ok(Self(Arc::new(Key::new(HMAC_SHA256, &bytes))))
    }

    /// The token of what runs in a container.
    pub(crate) fn of(&self, container: &ContainerId) -> String {
        let code = hmac::sign(&self.0, container.as_str().as_bytes());
        let code: String = code
            .as_ref()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        format!("{container}.{code}")
    }

    /// Whose token this is, if it is one.
    pub(crate) fn container(&self, token: &str) -> Option<ContainerId> {
        let (container, code) = token.rsplit_once('.')?;
        let code = code.as_bytes().chunks(2).map(|digits| {
            let digits = std::str::from_utf8(digits).ok()?;
            u8::from_str_radix(digits, 16).ok()
        });
        let code: Vec<u8> = code.collect::<Option<_>>()?;
        hmac::verify(&self.0, container.as_bytes(), &code).ok()?;
        ContainerId::new(container).ok()
    }
}

/// A new key, written whole before it has its name.
fn draw(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; KEY_BYTES];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| io::Error::other("the system has no random bytes"))?;
    let aside = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&aside)?;
    file.write_all(&bytes)?;
    file.sync_all()?;
    fs::rename(aside, path)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_says_whose_it_is_to_this_agent_and_the_next() -> io::Result<()> {
        let place = tempfile::tempdir()?;
        let path = place.path().join("key");
        let container = ContainerId::new("c-1").expect("good");
        let token = ExecutorTokens::open(&path)?.of(&container);

        let next = ExecutorTokens::open(&path)?;

        assert_eq!(next.container(&token), Some(container));
        let other = ExecutorTokens::open(&place.path().join("other"))?;
        assert_eq!(other.container(&token), None);
        let swapped = token.replace("c-1", "c-2");
        for wrong in [
            "",
            ".",
            "c-1.",
            "c-1.zz",
            "c-1.é",
            &swapped,
            &token[..token.len() - 2],
        ] {
            assert_eq!(next.container(wrong), None, "{wrong:?}");
        }
        Ok(())
    }
}
