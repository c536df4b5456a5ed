//! A registry that does what a test says, and where images are put. Both are gone after the test.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::stream::{self, StreamExt as _};
use mete_agent::images::{ImageOptions, Images};
use mete_model::ContainerId;
use tokio::sync::watch;

use crate::registry::PATIENCE;
use crate::sample::{MANIFEST, Sample, sha256};

pub(crate) fn container(name: &str) -> ContainerId {
    name.parse().unwrap()
}

/// Images in a directory that goes with them.
pub(crate) struct Host {
    pub(crate) directory: tempfile::TempDir,
    pub(crate) images: Images,
}

impl Host {
    /// Images that may pull from these registries without TLS.
    pub(crate) fn new(registries: &[&str]) -> Self {
        Self::with(registries, |_| {})
    }

    pub(crate) fn with(registries: &[&str], choose: impl FnOnce(&mut ImageOptions)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let images = open(directory.path(), registries, choose);
        Self { directory, images }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.directory.path().join("images")
    }

    /// What is being made.
    pub(crate) fn unfinished(&self) -> usize {
        std::fs::read_dir(self.root().join("tmp")).unwrap().count()
    }

    /// Unpacked layers.
    pub(crate) fn layers(&self) -> usize {
        let entries = std::fs::read_dir(self.root().join("layers")).unwrap();
        let is_layer = |entry: &std::fs::DirEntry| entry.path().is_dir();
        entries.map(Result::unwrap).filter(is_layer).count()
    }
}

pub(crate) fn open(
    below: &Path,
    registries: &[&str],
    choose: impl FnOnce(&mut ImageOptions),
) -> Images {
    let mut options = ImageOptions {
        insecure_registries: registries.iter().map(ToString::to_string).collect(),
        stall: PATIENCE,
        // The disk of the machine may be as full as it likes.
        high_water_percent: 100,
        ..ImageOptions::default()
    };
    choose(&mut options);
    Images::open(below.join("images"), options).unwrap()
}

/// Waits until something holds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let waited = tokio::time::timeout(PATIENCE, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

/// What a test's registry answers to one request; `None`: what it has.
type Trick = dyn Fn(&str, &HeaderMap, usize) -> Option<Response> + Send + Sync;

/// A registry that does what a test says.
pub(crate) struct Fake {
    pub(crate) address: String,
    seen: Arc<Mutex<Vec<String>>>,
    server: tokio::task::JoinHandle<()>,
}

struct Shelf {
    blobs: BTreeMap<String, Vec<u8>>,
    manifests: BTreeMap<String, (String, Vec<u8>)>,
    trick: Box<Trick>,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Fake {
    /// With images under tags (`app:1`) and their digests. The trick gets the path, the headers, and how often the path
    /// was asked for before.
    pub(crate) async fn start(
        images: &[(&str, &Sample)],
        trick: impl Fn(&str, &HeaderMap, usize) -> Option<Response> + Send + Sync + 'static,
    ) -> Self {
        Self::start_knowing(images, |_| trick).await
    }

    /// As [`Self::start`], with a trick that knows the registry's own address.
    pub(crate) async fn start_knowing<T>(
        images: &[(&str, &Sample)],
        trick: impl FnOnce(&str) -> T,
    ) -> Self
    where
        T: Fn(&str, &HeaderMap, usize) -> Option<Response> + Send + Sync + 'static,
    {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut shelf = Shelf {
            blobs: BTreeMap::new(),
            manifests: BTreeMap::new(),
            trick: Box::new(trick(&address)),
            seen: Arc::default(),
        };
        for (name, sample) in images {
            shelf.blobs.extend(sample.blobs.clone());
            let manifest = (MANIFEST.to_owned(), sample.manifest.clone());
            let (repository, tag) = name.split_once(':').unwrap();
            for version in [tag, &sample.digest()] {
                let path = format!("/v2/{repository}/manifests/{version}");
                shelf.manifests.insert(path, manifest.clone());
            }
        }
        let seen = Arc::clone(&shelf.seen);
        let routes = Router::new().fallback(answer).with_state(Arc::new(shelf));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self {
            address,
            seen,
            server,
        }
    }

    pub(crate) fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// Its address by a name that is none of loopback's.
    pub(crate) fn elsewhere(&self) -> String {
        self.address.replace("127.0.0.1", "0.0.0.0")
    }

    /// How often a path that ends like this was asked for.
    pub(crate) fn count(&self, end: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|path| path.ends_with(end)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(shelf): State<Arc<Shelf>>, request: Request) -> Response {
    let path = request.uri().path().to_owned();
    let before = {
        let mut seen = shelf.seen.lock().unwrap();
        let before = seen.iter().filter(|one| **one == path).count();
        seen.push(path.clone());
        before
    };
    if let Some(answer) = (shelf.trick)(&path, request.headers(), before) {
        return answer;
    }
    if let Some((kind, manifest)) = shelf.manifests.get(&path) {
        let headers = [
            (header::CONTENT_TYPE, kind.clone()),
            (
                header::HeaderName::from_static("docker-content-digest"),
                sha256(manifest),
            ),
        ];
        return (headers, manifest.clone()).into_response();
    }
    match path
        .rsplit('/')
        .next()
        .and_then(|digest| shelf.blobs.get(digest))
    {
        Some(blob) => blob.clone().into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Some bytes, then nothing for ever; tells when it is not listened to any more.
pub(crate) fn hanging(begin: &[u8], length: usize, ended: watch::Sender<bool>) -> Response {
    struct Tell(watch::Sender<bool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.send_replace(true);
        }
    }
    let tell = Tell(ended);
    let begin = Bytes::copy_from_slice(begin);
    let pieces = stream::once(async { Ok::<_, std::io::Error>(begin) }).chain(stream::pending());
    let pieces = pieces.map(move |piece| {
        let _listening = &tell;
        piece
    });
    with_length(Body::from_stream(pieces), length)
}

/// Some bytes of many that were announced, then the connection breaks.
pub(crate) fn broken(begin: &[u8], length: usize) -> Response {
    let pieces = [
        Ok(Bytes::copy_from_slice(begin)),
        Err(std::io::Error::other("the registry dies")),
    ];
    with_length(Body::from_stream(stream::iter(pieces)), length)
}

fn with_length(body: Body, length: usize) -> Response {
    ([(header::CONTENT_LENGTH, length.to_string())], body).into_response()
}
