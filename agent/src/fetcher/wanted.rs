//! One thing that a task wants fetched, understood: where from, under which name, what becomes of it.

use std::path::{Component, Path, PathBuf};

use mete_model::{Checksum, FetchUri};

use super::Failure;
use super::archive::Kind;

/// Understood, and found to be possible as far as one can say before fetching.
#[derive(Debug)]
pub(super) struct Wanted {
    /// As the task says it, for messages and as the name in the cache.
    pub(super) uri: String,
    /// Where from.
    pub(super) source: Source,
    /// What the bytes must hash to.
    pub(super) checksum: Option<Checksum>,
    /// The name in the sandbox: relative, made of plain names.
    pub(super) name: PathBuf,
    /// What becomes of it.
    pub(super) use_as: UseAs,
    /// Whether it goes through the cache.
    pub(super) is_cached: bool,
}

/// Where something comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// A file of this machine.
    File(PathBuf),
    /// An HTTP or HTTPS server.
    Http(String),
}

/// What becomes of it in the sandbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UseAs {
    /// It is there.
    File,
    /// It is there and can be executed.
    Program,
    /// It is unpacked.
    Archive(Kind),
}

impl Wanted {
    /// Understands what a task says.
    ///
    /// # Errors
    /// What is not carried, or cannot be a name, or a checksum.
    pub(super) fn new(uri: &FetchUri) -> Result<Self, Failure> {
        let (address, checksum) = Checksum::split(&uri.value).map_err(Failure::BadChecksum)?;
        let source = source(address)?;
        let name = name(&source, uri.output_file.as_deref())?;
        let use_as = if uri.executable {
            UseAs::Program
        } else {
            let kind = name.to_str().filter(|_| uri.extract).and_then(Kind::of);
            kind.map_or(UseAs::File, UseAs::Archive)
        };
        Ok(Self {
            uri: uri.value.clone(),
            source,
            checksum,
            name,
            use_as,
            is_cached: uri.cache,
        })
    }
}

fn source(address: &str) -> Result<Source, Failure> {
    let lower = address.to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        return Ok(Source::Http(address.to_owned()));
    }
    let path = address.strip_prefix("file://").unwrap_or(address);
    // The one host that a file address may name.
    let path = path
        .strip_prefix("localhost")
        .filter(|rest| rest.starts_with('/') && lower.starts_with("file://"))
        .unwrap_or(path);
    if path.starts_with('/') {
        return Ok(Source::File(PathBuf::from(path)));
    }
    Err(Failure::NotCarried(
        "it is neither an absolute path nor a file, http or https address",
    ))
}

/// The name in the sandbox: what is asked for, or the last part of the address.
fn name(source: &Source, wanted: Option<&str>) -> Result<PathBuf, Failure> {
    let last = match source {
        Source::File(path) => path.to_str().unwrap_or_default(),
        Source::Http(address) => address.split(['?', '#']).next().unwrap_or_default(),
    };
    let last = last.rsplit('/').next().unwrap_or_default();
    let name = wanted.unwrap_or(last);
    let is_plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !is_plain || name.is_empty() || name.contains('\0') {
        return Err(Failure::BadName(name.to_owned()));
    }
    Ok(PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::super::archive::Packing;
    use super::*;

    fn wanted(value: &str, output_file: Option<&str>) -> Result<Wanted, Failure> {
        Wanted::new(&FetchUri {
            value: value.into(),
            extract: true,
            executable: false,
            cache: false,
            output_file: output_file.map(str::to_owned),
        })
    }

    #[test]
    fn addresses_lead_to_files_and_servers() {
        let sum = format!("#sha256={}", "0".repeat(64));
        for (value, source, name) in [
            ("/srv/a#b?", Source::File("/srv/a#b?".into()), "a#b?"),
            ("file:///srv/a", Source::File("/srv/a".into()), "a"),
            ("file://localhost/srv/a", Source::File("/srv/a".into()), "a"),
            (&format!("/srv/a{sum}"), Source::File("/srv/a".into()), "a"),
            (
                "HTTP://x/a?v=1/2",
                Source::Http("HTTP://x/a?v=1/2".into()),
                "a",
            ),
            (
                &format!("https://x/a{sum}"),
                Source::Http("https://x/a".into()),
                "a",
            ),
        ] {
            let found = wanted(value, None).expect(value);
            assert_eq!((found.source, found.name), (source, name.into()), "{value}");
        }
    }

    #[test]
    fn the_name_in_the_sandbox_says_what_is_unpacked() {
        let tar = UseAs::Archive(Kind::Tar(Packing::Gzip));
        for (value, output_file, expected) in [
            ("http://x/a.tgz?v=1", None, tar),
            ("http://x/download?id=7", Some("a.tar.gz"), tar),
            ("http://x/a.tgz", Some("kept"), UseAs::File),
            ("http://x/a", None, UseAs::File),
        ] {
            let found = wanted(value, output_file).expect(value);
            assert_eq!(found.use_as, expected, "{value}");
        }
        let program = FetchUri {
            value: "/srv/a.zip".into(),
            extract: true,
            executable: true,
            cache: false,
            output_file: None,
        };
        assert_eq!(Wanted::new(&program).expect("good").use_as, UseAs::Program);
    }

    #[test]
    fn what_cannot_be_fetched_is_refused_before_anything_is() {
        for (value, output_file, says) in [
            ("hdfs://x/app", None, "neither an absolute path"),
            ("file://elsewhere/app", None, "neither an absolute path"),
            ("app", None, "neither an absolute path"),
            ("http://x/", None, "cannot be the name"),
            ("/etc/hostname", Some("../x"), "cannot be the name"),
            ("/etc/hostname", Some("/etc/x"), "cannot be the name"),
            ("/etc/hostname", Some("a/../../x"), "cannot be the name"),
            ("/etc/hostname", Some(""), "cannot be the name"),
            ("/etc/hostname", Some("."), "cannot be the name"),
            ("http://x/a#md5=1", None, "md5 is not checked"),
        ] {
            let error = wanted(value, output_file).expect_err(value).to_string();
            assert!(error.contains(says), "{error}");
        }
    }
}
