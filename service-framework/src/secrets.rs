//! Secrets: named in app definitions, kept elsewhere, fetched when an instance is launched. Never stored, printed or
//! logged here.
//!
//! A definition names a `source`: `env:NAME` is the variable `METE_SECRET_NAME` of the service framework, anything else a
//! file below `--secrets-dir`. Other places are another [`Provider`].

use std::collections::BTreeMap;
use std::fmt;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use mete_model::container::SecretValue;
use mete_service_framework_core::LaunchSecrets;
use mete_service_framework_core::spec::size::MAX_SECRET_BYTES;

/// Whoever may write apps may name any variable, so only those that are meant for it are read.
const VARIABLE_PREFIX: &str = "METE_SECRET_";

/// A place in which secrets lie.
pub(crate) trait Provider: Send + Sync + 'static {
    /// The secret of a source; `None` when the source is not of this place.
    ///
    /// # Errors
    /// Why it cannot be had, without anything of it.
    fn get(&self, source: &str) -> Option<Result<Vec<u8>, NoSecret>>;
}

/// Why a secret cannot be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoSecret {
    #[error("no secrets are kept here: the service framework was started without --secrets-dir")]
    NoPlace,
    #[error("there is none")]
    Missing,
    #[error("it does not lie below the directory of secrets")]
    Outside,
    #[error("it is larger than {MAX_SECRET_BYTES} bytes")]
    TooLarge,
    #[error("with those before it takes more than the secrets of one instance may")]
    TooMany,
    #[error("it is not text without NUL")]
    NoText,
    #[error("it cannot be read: {0}")]
    Unreadable(ErrorKind),
}

/// Every place, asked in turn.
#[derive(Clone)]
pub(crate) struct Secrets(Arc<[Box<dyn Provider>]>);

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "secrets of {} places", self.0.len())
    }
}

impl Secrets {
    /// Variables of this process, and files below `directory` if there is one.
    pub(crate) fn new(directory: Option<PathBuf>) -> Self {
        Self(Arc::new([
            Box::new(Variables) as Box<dyn Provider>,
            Box::new(Files(directory)),
        ]))
    }

    /// What the secrets of a task hold. Variables are texts, without one newline at the end; files are what they are.
    /// `left` is what those of its instance may still take, in bytes.
    ///
    /// # Errors
    /// The first source that cannot be had, and why, for people.
    pub(crate) fn fetch(
        &self,
        wanted: &LaunchSecrets,
        left: &mut usize,
    ) -> Result<Fetched, String> {
        let mut get = |source: &str| {
            let found = self.0.iter().find_map(|place| place.get(source));
            let value = found.unwrap_or(Err(NoSecret::NoPlace))?;
            if value.len() > MAX_SECRET_BYTES {
                return Err(NoSecret::TooLarge);
            }
            *left = left.checked_sub(value.len()).ok_or(NoSecret::TooMany)?;
            Ok(value)
        };
        let failed =
            |by: &str, source: &str, why: NoSecret| format!("secret '{source}' of {by}: {why}");
        let mut fetched = Fetched::default();
        for (variable, source) in &wanted.variables {
            let value = get(source).and_then(text);
            let value = value.map_err(|why| failed(variable, source, why))?;
            fetched.variables.insert(variable.clone(), value);
        }
        for (place, source) in &wanted.files {
            let value = get(source).map_err(|why| failed(place, source, why))?;
            let value = SecretValue::new(value);
            fetched.files.insert(place.clone(), value);
        }
        if let Some(source) = &wanted.login {
            let value =
                get(source).map_err(|why| failed("the login for its image", source, why))?;
            fetched.login = Some(SecretValue::new(value));
        }
        Ok(fetched)
    }
}

/// What the secrets of a task hold.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Fetched {
    /// By variable.
    pub(crate) variables: BTreeMap<String, String>,
    /// By the place of the file.
    pub(crate) files: BTreeMap<String, SecretValue>,
    /// The login for its image.
    pub(crate) login: Option<SecretValue>,
}

/// What a variable can hold. Editors and `echo` end a file with a newline.
fn text(bytes: Vec<u8>) -> Result<String, NoSecret> {
    let mut text = String::from_utf8(bytes).map_err(|_| NoSecret::NoText)?;
    if text.contains('\0') {
        return Err(NoSecret::NoText);
    }
    if text.ends_with('\n') {
        text.pop();
    }
    Ok(text)
}

/// Variables of this process.
struct Variables;

impl Provider for Variables {
    fn get(&self, source: &str) -> Option<Result<Vec<u8>, NoSecret>> {
        let name = source.strip_prefix("env:")?;
        let value = std::env::var_os(format!("{VARIABLE_PREFIX}{name}"));
        let bytes = value.map(std::os::unix::ffi::OsStringExt::into_vec);
        Some(bytes.ok_or(NoSecret::Missing))
    }
}

/// Files below a directory.
struct Files(Option<PathBuf>);

impl Provider for Files {
    fn get(&self, source: &str) -> Option<Result<Vec<u8>, NoSecret>> {
        let directory = self.0.as_deref();
        Some(directory.map_or(Err(NoSecret::NoPlace), |directory| read(directory, source)))
    }
}

/// Links may lead from one secret to another, but not out of the directory.
fn read(directory: &Path, source: &str) -> Result<Vec<u8>, NoSecret> {
    let path = Path::new(source.trim_start_matches('/'));
    let is_plain = |part: Component<'_>| matches!(part, Component::Normal(_));
    if source.contains('\0') || path.as_os_str().is_empty() || !path.components().all(is_plain) {
        return Err(NoSecret::Outside);
    }
    let known = |error: std::io::Error| {
        let kind = error.kind();
        match kind == ErrorKind::NotFound || kind == ErrorKind::NotADirectory {
            true => NoSecret::Missing,
            false => NoSecret::Unreadable(kind),
        }
    };
    let directory = directory.canonicalize().map_err(known)?;
    let file = directory.join(path).canonicalize().map_err(known)?;
    if !file.starts_with(&directory) {
        return Err(NoSecret::Outside);
    }
    let about = file.metadata().map_err(known)?;
    if !about.is_file() {
        return Err(NoSecret::Missing);
    }
    if about.len() > MAX_SECRET_BYTES as u64 {
        return Err(NoSecret::TooLarge);
    }
    std::fs::read(&file).map_err(known)
}

#[cfg(test)]
mod tests {
    use mete_service_framework_core::spec::size::MAX_SECRETS_BYTES;

    use super::*;

    #[test]
    fn a_secret_lies_below_the_directory_or_is_not_had() {
        let place = tempfile::tempdir().expect("a directory");
        let (inside, outside) = (place.path().join("in"), place.path().join("out"));
        std::fs::create_dir_all(inside.join("db")).expect("made");
        std::fs::write(&outside, "not yours").expect("written");
        std::fs::write(inside.join("db/password"), "hunter2\n").expect("written");
        std::fs::write(inside.join("bytes"), [0xff]).expect("written");
        std::fs::write(inside.join("large"), vec![b'x'; 70_000]).expect("written");
        std::os::unix::fs::symlink(&outside, inside.join("link")).expect("linked");
        let get = |source: &str| Files(Some(inside.clone())).get(source).expect("asked");

        assert_eq!(get("db/password").as_deref(), Ok(&b"hunter2\n"[..]));
        assert_eq!(get("/db/password").as_deref(), Ok(&b"hunter2\n"[..]));
        assert_eq!(get("bytes").as_deref(), Ok(&[0xff][..]));
        for (source, why) in [
            ("../out", NoSecret::Outside),
            ("db/../../out", NoSecret::Outside),
            ("link", NoSecret::Outside),
            ("", NoSecret::Outside),
            ("db", NoSecret::Missing),
            ("none", NoSecret::Missing),
            ("db/password/x", NoSecret::Missing),
            ("large", NoSecret::TooLarge),
        ] {
            assert_eq!(get(source), Err(why), "{source}");
        }
        assert_eq!(Files(None).get("x"), Some(Err(NoSecret::NoPlace)));
    }

    #[test]
    fn only_variables_that_are_meant_for_it_are_read() {
        assert_eq!(Variables.get("PATH"), None);
        assert_eq!(Variables.get("env:PATH"), Some(Err(NoSecret::Missing)));
        let wanted = LaunchSecrets {
            variables: BTreeMap::from([("PASSWORD".to_owned(), "env:PATH".to_owned())]),
            ..LaunchSecrets::default()
        };
        let told = Secrets::new(None).fetch(&wanted, &mut { MAX_SECRETS_BYTES });
        assert_eq!(
            told,
            Err("secret 'env:PATH' of PASSWORD: there is none".to_owned())
        );
    }

    #[test]
    fn variables_are_texts_and_files_are_what_they_are() {
        let place = tempfile::tempdir().expect("a directory");
        std::fs::write(place.path().join("key"), "hunter2\n").expect("written");
        std::fs::write(place.path().join("bytes"), [0xff]).expect("written");
        std::fs::write(place.path().join("big"), vec![b'x'; 60_000]).expect("written");
        let secrets = Secrets::new(Some(place.path().to_owned()));
        let by = |by: &str, source: &str| BTreeMap::from([(by.to_owned(), source.to_owned())]);
        let fetch = |variables, files| {
            secrets.fetch(
                &LaunchSecrets {
                    variables,
                    files,
                    login: None,
                },
                &mut { MAX_SECRETS_BYTES },
            )
        };

        let fetched = fetch(by("KEY", "key"), by("/key", "key")).expect("had");
        assert_eq!(fetched.variables["KEY"], "hunter2");
        assert_eq!(fetched.files["/key"].bytes(), b"hunter2\n");
        let raw = fetch(BTreeMap::new(), by("/raw", "bytes")).expect("had");
        assert_eq!(raw.files["/raw"].bytes(), [0xff]);
        assert_eq!(
            fetch(by("RAW", "bytes"), BTreeMap::new()),
            Err("secret 'bytes' of RAW: it is not text without NUL".to_owned())
        );
        let many = (0..20).map(|at| (format!("/{at:02}"), "big".to_owned()));
        assert_eq!(
            fetch(BTreeMap::new(), many.collect()),
            Err(
                "secret 'big' of /17: with those before it takes more than the secrets of one instance may"
                    .to_owned()
            )
        );
    }
}
