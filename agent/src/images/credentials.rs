//! Logins for registries, as Docker's `config.json` holds them.
//!
//! Read anew for each pull, so that a changed file counts at once. Secrets are never shown: nothing here that holds one
//! has `Debug`, and an error says where in the file it stands, not what stands there.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::error::ImageError;

/// The largest file: thousands of logins.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// How to log in at one registry.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    /// As nobody.
    Anonymous,
    /// By name and password.
    Password {
        /// The name.
        user: String,
        /// The password.
        password: String,
    },
    /// With a token that the token server turns into others.
    Identity(String),
    /// Kept by a program that is not run.
    Helper(String),
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct File {
    auths: BTreeMap<String, Entry>,
    #[serde(rename = "credsStore")]
    store: Option<String>,
    #[serde(rename = "credHelpers")]
    helpers: BTreeMap<String, String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The login for a registry; without a file nobody has one.
///
/// # Errors
/// [`ImageError::Credentials`] when the file does not read. Blocks.
pub(crate) fn login(file: Option<&Path>, registry: &str) -> Result<Login, ImageError> {
    let Some(path) = file else {
        return Ok(Login::Anonymous);
    };
    let failed = |why: String| ImageError::Credentials {
        path: path.to_owned(),
        why,
    };
    let mut text = Vec::new();
    std::fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut text))
        .map_err(|error| failed(error.to_string()))?;
    if text.len() as u64 > MAX_FILE_BYTES {
        return Err(failed(format!("it has more than {MAX_FILE_BYTES} bytes")));
    }
    read(&text, registry).map_err(failed)
}

/// The login for a registry in a task's own `config.json`.
///
/// # Errors
/// [`ImageError::OwnCredentials`] when it does not read.
pub(crate) fn login_in(text: &[u8], registry: &str) -> Result<Login, ImageError> {
    read(text, registry).map_err(|why| ImageError::OwnCredentials { why })
}

/// The error says where it is wrong.
fn read(text: &[u8], registry: &str) -> Result<Login, String> {
    // What serde says may hold a piece of the file, hence only where it says it.
    let file: File = serde_json::from_slice(text)
        .map_err(|error| format!("line {}, column {}", error.line(), error.column()))?;
    find(file, registry).ok_or_else(|| format!("the entry for {registry} is damaged"))
}

/// `None` when the entry is damaged.
fn find(file: File, registry: &str) -> Option<Login> {
    let helper = file
        .helpers
        .into_iter()
        .find(|(key, _)| host(key) == registry);
    if let Some((_, helper)) = helper {
        return Some(Login::Helper(helper));
    }
    // The exact key comes before one that only means the same.
    let mut entries: Vec<(String, Entry)> = file
        .auths
        .into_iter()
        .filter(|(key, _)| host(key) == registry)
        .collect();
    entries.sort_by_key(|(key, _)| key != registry);
    let Some((_, entry)) = entries.into_iter().next() else {
        return Some(Login::Anonymous);
    };
    if let Some(token) = entry.identitytoken.filter(|token| !token.is_empty()) {
        return Some(Login::Identity(token));
    }
    if let Some(auth) = entry.auth.filter(|auth| !auth.is_empty()) {
        let decoded = STANDARD.decode(auth.trim()).ok()?;
        let decoded = String::from_utf8(decoded).ok()?;
        // Docker itself pads with zero bytes.
        let (user, password) = decoded.trim_end_matches('\0').split_once(':')?;
        return Some(Login::Password {
            user: user.to_owned(),
            password: password.to_owned(),
        });
    }
    match (entry.username, entry.password, file.store) {
        (Some(user), Some(password), _) => Some(Login::Password { user, password }),
        // An empty entry says that the store has it.
        (_, _, Some(store)) => Some(Login::Helper(store)),
        (_, _, None) => Some(Login::Anonymous),
    }
}

/// The registry that a key means: `https://index.docker.io/v1/` is `docker.io`.
fn host(key: &str) -> String {
    let key = key
        .strip_prefix("https://")
        .or_else(|| key.strip_prefix("http://"))
        .unwrap_or(key);
    let host = key.split('/').next().unwrap_or(key).to_ascii_lowercase();
    match host.as_str() {
        "index.docker.io" | "registry-1.docker.io" => "docker.io".to_owned(),
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str, registry: &str) -> Result<Login, String> {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("config.json");
        std::fs::write(&path, text).expect("written");
        login(Some(&path), registry).map_err(|error| error.to_string())
    }

    fn is_password(found: Result<Login, String>, user: &str, password: &str) -> bool {
        let wanted = Login::Password {
            user: user.into(),
            password: password.into(),
        };
        found.is_ok_and(|found| found == wanted)
    }

    #[test]
    fn a_login_is_found_under_any_name_of_its_registry() {
        // user:pa:ss
        let text = r#"{"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYTpzcw=="},
            "registry:5000":{"username":"u","password":"p"},"quay.io":{"identitytoken":"t","auth":"dTpw"}}}"#;

        assert!(is_password(found(text, "docker.io"), "user", "pa:ss"));
        assert!(is_password(found(text, "registry:5000"), "u", "p"));
        assert!(found(text, "quay.io").is_ok_and(|login| login == Login::Identity("t".into())));
        assert!(found(text, "registry").is_ok_and(|login| login == Login::Anonymous));
    }

    #[test]
    fn helpers_are_known_by_name() {
        let text =
            r#"{"auths":{"a.io":{}},"credsStore":"desktop","credHelpers":{"b.io":"ecr-login"}}"#;

        for (registry, helper) in [("a.io", "desktop"), ("b.io", "ecr-login")] {
            let found = found(text, registry);
            assert!(found.is_ok_and(|login| login == Login::Helper(helper.into())));
        }
        assert!(found(text, "c.io").is_ok_and(|login| login == Login::Anonymous));
    }

    #[test]
    fn a_damaged_file_is_told_without_its_secrets() {
        for text in [
            r#"{"auths":{"a.io":{"auth":12345678}}}"#,
            r#"{"auths":{"a.io":{"auth":"c2VjcmV0"}}}"#, // no colon
            r#"{"auths":{"a.io":"hunter2""#,
            r#"{"auths":{"a.io":"hunter2"}}"#,
        ] {
            let Err(error) = found(text, "a.io") else {
                panic!("{text} is damaged");
            };
            for secret in ["hunter2", "12345678", "c2VjcmV0", "secret"] {
                assert!(!error.contains(secret), "{error}");
            }
        }
    }
}
