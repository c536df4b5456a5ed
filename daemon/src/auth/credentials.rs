//! The file in which Mesos keeps principals and their secrets.
//!
//! ```json
//! {"credentials": [{"principal": "marathon", "secret": "…"}]}
//! ```
//! Whoever shows a secret of it is that principal: as the password of HTTP Basic, or as a bearer token.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::{ANYONE, Known, MAX_TOKEN_CHARACTERS, MIN_TOKEN_CHARACTERS, SHARED, SecretDigest};

/// The largest file: a thousand principals.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Principals: each request is compared with all of them.
const MAX_PRINCIPALS: usize = 1_000;

/// Why a file of credentials cannot be used. Says nothing of secrets.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read.
    #[error("credentials file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// Others than its owner may read or write it.
    #[error("credentials file {} has mode {mode:o}: only its owner may read and write it (chmod 600)", path.display())]
    Mode {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It is no JSON of the right shape.
    #[error("credentials file {}, line {line}: it is not of the form {{\"credentials\": [{{\"principal\": \"…\", \"secret\": \"…\"}}]}}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Where.
        line: usize,
    },
    /// A principal makes no sense.
    #[error("credentials file {}: principal {name:?} {reason}", path.display())]
    Principal {
        /// The file.
        path: PathBuf,
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

#[derive(Deserialize)]
struct Written {
    credentials: Vec<Credential>,
}

#[derive(Deserialize)]
struct Credential {
    principal: String,
    secret: String,
}

/// Reads a file; secrets are kept as digests only.
///
/// # Errors
/// [`CredentialsError`] names the file, and the principal that makes no sense.
pub fn read(path: &Path) -> Result<Vec<Known>, CredentialsError> {
    let text = text(path)?;
    // What the parser says may hold a secret: only where it stands is told.
    let written: Written =
        serde_json::from_str(&text).map_err(|error| CredentialsError::Shape {
            path: path.to_owned(),
            line: error.line(),
        })?;
    let bad = |name: &str, reason: String| CredentialsError::Principal {
        path: path.to_owned(),
        name: name.to_owned(),
        reason,
    };
    let mut names = BTreeSet::new();
    let mut known = Vec::new();
    for Credential { principal, secret } in written.credentials {
        if principal.is_empty() || principal.contains(':') {
            let reason = "is no name: it must not be empty or hold a colon".to_owned();
            return Err(bad(&principal, reason));
        }
        if [SHARED, ANYONE].contains(&principal.as_str()) {
            let reason = "stands for those without a secret of their own".to_owned();
            return Err(bad(&principal, reason));
        }
        if !names.insert(principal.clone()) {
            return Err(bad(&principal, "is there twice".to_owned()));
        }
        if names.len() > MAX_PRINCIPALS {
            let reason = format!("is one more than the {MAX_PRINCIPALS} that may be there");
            return Err(bad(&principal, reason));
        }
        let characters = secret.chars().count();
        if !(MIN_TOKEN_CHARACTERS..=MAX_TOKEN_CHARACTERS).contains(&characters) {
            let reason = format!(
                "has a secret of {characters} characters; it must have {MIN_TOKEN_CHARACTERS} to {MAX_TOKEN_CHARACTERS}"
            );
            return Err(bad(&principal, reason));
        }
        known.push(Known {
            name: principal.into(),
            secret: SecretDigest::of(&secret),
        });
    }
    Ok(known)
}

fn text(path: &Path) -> Result<String, CredentialsError> {
    let failed = |source| CredentialsError::File {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        let path = path.to_owned();
        return Err(CredentialsError::Mode { path, mode });
    }
    let mut text = String::new();
    file.take(MAX_FILE_BYTES)
        .read_to_string(&mut text)
        .map_err(failed)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::Permissions;

    use super::*;

    fn read_text(text: &str, mode: u32) -> Result<Vec<Known>, CredentialsError> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        fs::write(file.path(), text).expect("written");
        fs::set_permissions(file.path(), Permissions::from_mode(mode)).expect("set");
        read(file.path())
    }

    #[test]
    fn principals_are_read_and_nonsense_is_named_without_a_secret() {
        let good = r#"{"credentials":[{"principal":"marathon","secret":"0123456789abcdef"}]}"#;
        let known = read_text(good, 0o600).expect("good");
        assert_eq!(&*known[0].name, "marathon");
        assert_eq!(known[0].secret, SecretDigest::of("0123456789abcdef"));

        let one = |name: &str, secret: &str| {
            format!(r#"{{"credentials":[{{"principal":"{name}","secret":"{secret}"}}]}}"#)
        };
        let twice = r#"{"credentials":[{"principal":"a","secret":"0123456789abcdef"},
            {"principal":"a","secret":"fedcba9876543210"}]}"#;
        for (text, mode, words) in [
            (good.to_owned(), 0o644, "mode 644"),
            (one("a", "short-secret"), 0o600, "12 characters"),
            (one("", "0123456789abcdef"), 0o600, "no name"),
            (one("token", "0123456789abcdef"), 0o600, "without a secret"),
            (twice.to_owned(), 0o600, "there twice"),
            (
                r#"{"credentials":[{"principal":"short-secret"}]}"#.to_owned(),
                0o600,
                "line 1",
            ),
        ] {
            let error = read_text(&text, mode).expect_err(&text).to_string();
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("short-secret"), "{error}");
        }
    }
}
