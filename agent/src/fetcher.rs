//! Brings what a task needs into its sandbox: files of the machine and of HTTP servers.
//!
//! No cache and no unpacking yet: an archive that is to be unpacked is refused by name. Invariants: at most
//! [`MAX_URIS`] per task and [`MAX_BYTES`] each; a server that says nothing for [`STALL`] has failed; names never lead
//! out of the sandbox.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use mete_agent_core::task_dir::User;
use mete_model::FetchUri;
use tokio::fs::{self, File, OpenOptions};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

/// Most things a task may fetch.
const MAX_URIS: usize = 100;
/// Most bytes of one of them: more does not belong into a sandbox but on a volume.
const MAX_BYTES: u64 = 8 << 30;
/// Longest silence of a server (Mesos' fetcher: 1 min).
const STALL: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Bytes copied at once.
const PIECE_BYTES: usize = 128 << 10;
/// What Mesos unpacks.
const ARCHIVES: [&str; 9] = [
    ".tar", ".tgz", ".tar.gz", ".tbz2", ".tar.bz2", ".txz", ".tar.xz", ".gz", ".zip",
];

/// Why something could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    /// Too many.
    #[error("{count} URIs, at most {MAX_URIS} are fetched for one task")]
    TooMany {
        /// How many.
        count: usize,
    },
    /// Neither a file nor HTTP.
    #[error("{uri}: {why}")]
    NotCarried {
        /// Which.
        uri: String,
        /// What is not carried.
        why: &'static str,
    },
    /// It has no name that could stand in the sandbox.
    #[error("{uri}: {name:?} cannot be the name of a file in the sandbox")]
    BadName {
        /// Which.
        uri: String,
        /// The name.
        name: String,
    },
    /// The server refuses, or does not answer.
    #[error("{uri}: {what}")]
    Http {
        /// Which.
        uri: String,
        /// What the server says.
        what: String,
    },
    /// It cannot be read or written.
    #[error("{uri}: {source}")]
    File {
        /// Which.
        uri: String,
        /// What the system says.
        source: io::Error,
    },
    /// It is too large.
    #[error("{uri}: it has more than {MAX_BYTES} bytes")]
    TooLarge {
        /// Which.
        uri: String,
    },
}

/// Fetches.
#[derive(Clone, Debug)]
pub(crate) struct Fetcher {
    client: reqwest::Client,
}

/// Where something comes from.
enum Source {
    File(PathBuf),
    Http(String),
}

impl Fetcher {
    /// A fetcher with a client of its own.
    ///
    /// # Errors
    /// When the client cannot be set up.
    pub(crate) fn new() -> Result<Self, reqwest::Error> {
        let client = mete_daemon::http_client::plain()
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .build()?;
        Ok(Self { client })
    }

    /// Brings everything into the sandbox, one after the other; it belongs to `owner` then.
    ///
    /// # Errors
    /// The first that fails.
    pub(crate) async fn fetch(
        &self,
        uris: &[FetchUri],
        sandbox: &Path,
        owner: Option<&User>,
    ) -> Result<(), FetchError> {
        if uris.len() > MAX_URIS {
            return Err(FetchError::TooMany { count: uris.len() });
        }
        for uri in uris {
            self.fetch_one(uri, sandbox, owner).await?;
        }
        Ok(())
    }

    async fn fetch_one(
        &self,
        uri: &FetchUri,
        sandbox: &Path,
        owner: Option<&User>,
    ) -> Result<(), FetchError> {
        let source = source(uri)?;
        let name = name(uri)?;
        let failed = |source| FetchError::File {
            uri: uri.value.clone(),
            source,
        };
        let target = sandbox.join(&name);
        if let Some(above) = target.parent() {
            fs::create_dir_all(above).await.map_err(failed)?;
        }
        let mut options = OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .open(&target);
        let file = file.await.map_err(failed)?;
        match source {
            Source::File(path) => copy(uri, &path, file).await?,
            Source::Http(address) => self.download(uri, &address, file).await?,
        }
        let mode = if uri.executable { 0o755 } else { 0o644 };
        fs::set_permissions(&target, Permissions::from_mode(mode))
            .await
            .map_err(failed)?;
        if let Some(owner) = owner {
            // From the file up to the sandbox: what was made for it belongs to the task too.
            for made in target.ancestors().take_while(|made| *made != sandbox) {
                chown(made, Some(owner.uid), Some(owner.gid)).map_err(failed)?;
            }
        }
        Ok(())
    }

    async fn download(
        &self,
        uri: &FetchUri,
        address: &str,
        mut file: File,
    ) -> Result<(), FetchError> {
        let failed = |what: String| FetchError::Http {
            uri: uri.value.clone(),
            what,
        };
        let answer = self.client.get(address).send();
        let mut answer = timeout(STALL, answer)
            .await
            .map_err(|_| failed(format!("no answer within {} s", STALL.as_secs())))?
            .map_err(|error| failed(causes(&error)))?;
        if !answer.status().is_success() {
            return Err(failed(format!("the server answered {}", answer.status())));
        }
        let mut total: u64 = 0;
        while let Some(piece) = answer
            .chunk()
            .await
            .map_err(|error| failed(causes(&error)))?
        {
            total += piece.len() as u64;
            write(uri, &mut file, &piece, total).await?;
        }
        flush(uri, file).await
    }
}

/// An error with its causes, in one line: what reqwest says by itself names only the address.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

async fn copy(uri: &FetchUri, path: &Path, mut file: File) -> Result<(), FetchError> {
    let failed = |source| FetchError::File {
        uri: uri.value.clone(),
        source,
    };
    let kind = fs::metadata(path).await.map_err(failed)?;
    if !kind.is_file() {
        let why = "only plain files are fetched";
        let uri = uri.value.clone();
        return Err(FetchError::NotCarried { uri, why });
    }
    let mut from = File::open(path).await.map_err(failed)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut total: u64 = 0;
    loop {
        let count = from.read(&mut piece).await.map_err(failed)?;
        if count == 0 {
            return flush(uri, file).await;
        }
        total += count as u64;
        write(
            uri,
            &mut file,
            piece.get(..count).unwrap_or_default(),
            total,
        )
        .await?;
    }
}

async fn write(
    uri: &FetchUri,
    file: &mut File,
    piece: &[u8],
    total: u64,
) -> Result<(), FetchError> {
    if total > MAX_BYTES {
        let uri = uri.value.clone();
        return Err(FetchError::TooLarge { uri });
    }
    file.write_all(piece)
        .await
        .map_err(|source| FetchError::File {
            uri: uri.value.clone(),
            source,
        })
}

async fn flush(uri: &FetchUri, mut file: File) -> Result<(), FetchError> {
    file.flush().await.map_err(|source| FetchError::File {
        uri: uri.value.clone(),
        source,
    })
}

fn source(uri: &FetchUri) -> Result<Source, FetchError> {
    let refused = |why| {
        Err(FetchError::NotCarried {
            uri: uri.value.clone(),
            why,
        })
    };
    let lower = uri.value.split(['?', '#']).next().unwrap_or_default();
    let lower = lower.to_ascii_lowercase();
    if uri.extract && ARCHIVES.iter().any(|end| lower.ends_with(end)) {
        return refused("archives are not unpacked yet; say extract: false to fetch it as it is");
    }
    if lower.starts_with("http://") {
        return Ok(Source::Http(uri.value.clone()));
    }
    if lower.starts_with("https://") {
        return refused("https is not carried yet");
    }
    let path = uri.value.strip_prefix("file://").unwrap_or(&uri.value);
    if path.starts_with('/') {
        return Ok(Source::File(PathBuf::from(path)));
    }
    refused("it is neither an absolute path nor a file or http address")
}

/// The name in the sandbox: what is asked for, or the last part of the address.
fn name(uri: &FetchUri) -> Result<PathBuf, FetchError> {
    let path = uri.value.split(['?', '#']).next().unwrap_or_default();
    let last = path.rsplit('/').next().unwrap_or_default();
    let name = uri.output_file.as_deref().unwrap_or(last);
    let plain = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    if !plain || name.is_empty() || name.contains('\0') {
        return Err(FetchError::BadName {
            uri: uri.value.clone(),
            name: name.to_owned(),
        });
    }
    Ok(PathBuf::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(value: &str) -> FetchUri {
        FetchUri {
            value: value.into(),
            extract: true,
            executable: false,
            cache: false,
            output_file: None,
        }
    }

    async fn fetch(sandbox: &Path, uri: FetchUri) -> Result<(), String> {
        let fetcher = Fetcher::new().expect("a client");
        let fetched = fetcher.fetch(&[uri], sandbox, None).await;
        fetched.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn a_file_is_copied_and_made_executable_when_asked() {
        let directory = tempfile::tempdir().expect("a directory");
        let script = directory.path().join("run.sh");
        std::fs::write(&script, "#!/bin/sh\n").expect("written");
        let sandbox = directory.path().join("sandbox");
        std::fs::create_dir(&sandbox).expect("made");
        let mut wanted = uri(&format!("file://{}", script.display()));
        wanted.executable = true;
        wanted.output_file = Some("bin/start".into());

        fetch(&sandbox, wanted).await.expect("fetched");

        let there = sandbox.join("bin/start");
        let mode = std::fs::metadata(&there)
            .expect("there")
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o755);
        assert_eq!(std::fs::read(there).expect("read"), b"#!/bin/sh\n");
    }

    #[tokio::test]
    async fn what_is_not_carried_is_refused_by_name() {
        let directory = tempfile::tempdir().expect("a directory");
        for (value, says) in [
            ("http://x/app.tar.gz?v=1", "not unpacked yet"),
            ("https://x/app", "https is not carried yet"),
            ("hdfs://x/app", "neither an absolute path"),
            ("app", "neither an absolute path"),
            ("http://x/", "cannot be the name"),
            ("/dev/null", "only plain files"),
            ("/nowhere/at-all", "No such file"),
        ] {
            let error = fetch(directory.path(), uri(value)).await.expect_err(value);
            assert!(error.starts_with(value) && error.contains(says), "{error}");
        }
    }

    #[tokio::test]
    async fn a_name_never_leads_out_of_the_sandbox() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["../x", "/etc/x", "a/../../x", "", "."] {
            let mut wanted = uri("/etc/hostname");
            wanted.output_file = Some(name.into());
            let error = fetch(directory.path(), wanted).await.expect_err(name);
            assert!(error.contains("cannot be the name"), "{error}");
        }
    }
}
