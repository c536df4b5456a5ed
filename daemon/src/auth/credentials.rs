//! The file in which Mesos keeps principals and their secrets.
//!
//! ```json
//! {"credentials": [{"principal": "marathon", "secret": "…"}]}
//! ```
//! Whoever shows a secret of it is that principal: as the password of HTTP Basic, or as a bearer token.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::private_file::{self, PrivateFileError};
use super::{
    ANYONE, Callers, Known, MAX_TOKEN_CHARACTERS, MIN_TOKEN_CHARACTERS, SHARED, SecretDigest,
    Token, TokenError,
};

/// The largest file: a thousand principals.
const MAX_FILE_BYTES: u64 = 1024 * 1024;
/// Principals: each request is compared with all of them.
const MAX_PRINCIPALS: usize = 1_000;

/// Why a file of credentials cannot be used. Says nothing of secrets.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// It cannot be read, or others may.
    #[error("credentials file cannot be used")]
    File(#[from] PrivateFileError),
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

/// Why it cannot be told who may call.
#[derive(Debug, thiserror::Error)]
pub enum CallersError {
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The credentials cannot be read.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
}

/// Whoever shows the token, and the principals of a file of credentials, when there is one.
///
/// # Errors
/// When the file makes no sense.
pub fn callers(token: Option<Token>, file: Option<&Path>) -> Result<Callers, CredentialsError> {
    let Some(file) = file else {
        return Ok(Callers::from(token));
    };
    Ok(Callers::known(token, read(file)?))
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
    let text = private_file::read(path, MAX_FILE_BYTES)?;
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt as _;

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
            let error = crate::chain(&read_text(&text, mode).expect_err(&text));
            assert!(error.contains(words), "{error}");
            assert!(!error.contains("short-secret"), "{error}");
        }
    }
}
