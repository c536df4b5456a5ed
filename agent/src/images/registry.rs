//! Registries over HTTP: manifests and blobs, with logins, bounds, and patience that ends.
//!
//! ```text
//! get ─▶ 401 ─▶ token server, or password ─▶ get again (once)
//!     ─▶ 30x ─▶ the next address: over TLS, allowed by name, or all on this machine, without the login when it is another host
//!     ─▶ 5xx, 429, broken connection, silence ─▶ the whole once more, at most ATTEMPTS times
//! ```
//! Invariants: no body is read without a bound; content is hashed as it comes and counts only when its digest is the
//! one asked for; addresses that a manifest itself names (`urls`) are never followed.

mod challenge; // what `WWW-Authenticate` asks for
mod login; // passwords and tokens
mod pieces; // bodies within their bounds
mod refusal; // what answers that are none mean
mod transport; // connections, plain and over TLS

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderValue, LOCATION, USER_AGENT};
use hyper::http::request::Builder;
use hyper::{Request, Response, StatusCode};
use mete_model::container::SecretValue;
use tokio::sync::Mutex;
use tokio::time::timeout;
use tracing::debug;
use url::Url;

use self::pieces::{Memory, Pieces};
use self::transport::{Transport, host};
use super::credentials::{self, Login};
use super::digest::Digest;
use super::error::ImageError;
use super::manifest::{self, MAX_MANIFEST_BYTES};
use super::reference::Reference;

pub(super) use self::pieces::Sink;

/// How often something is tried in all when the network or the registry fails.
const ATTEMPTS: u32 = 3;
/// The pause before the second try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// The longest pause that a registry may ask for.
const MAX_PAUSE: Duration = Duration::from_secs(30);
/// Addresses that one request is sent on to: a registry, a storage, a cache of it.
const MAX_REDIRECTS: usize = 5;
/// Who we are.
const AGENT: &str = concat!("mete/", env!("CARGO_PKG_VERSION"));

/// Registries, as far as this agent knows them.
pub(super) struct Registries {
    transport: Transport,
    logins: Option<PathBuf>,
    stall: Duration,
}

impl Registries {
    /// Registries with logins from a Docker configuration file, plain HTTP for the hosts in `plain`, further
    /// authorities, and the longest silence that is borne.
    ///
    /// # Errors
    /// When the authorities do not read.
    pub(super) fn new(
        logins: Option<PathBuf>,
        plain: BTreeSet<String>,
        authorities: &[PathBuf],
        stall: Duration,
    ) -> Result<Self, ImageError> {
        Ok(Self {
            transport: Transport::new(plain, authorities)?,
            logins,
            stall,
        })
    }

    /// Begins to talk about one image.
    ///
    /// # Errors
    /// When the logins do not read, or the registry has no address.
    pub(super) async fn session(
        &self,
        reference: &Reference,
        own: Option<&SecretValue>,
    ) -> Result<Session<'_>, ImageError> {
        let (file, registry) = (self.logins.clone(), reference.registry().to_owned());
        let whose = match own {
            Some(_) => "the task's",
            None => "the agent's",
        };
        let own = own.cloned();
        let read = move || match own {
            Some(own) => credentials::login_in(own.bytes(), &registry),
            None => credentials::login(file.as_deref().map(Path::new), &registry),
        };
        let login = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| ImageError::Io {
                doing: "logins cannot be read".to_owned(),
                said: std::sync::Arc::new(std::io::Error::other(error)),
            })??;
        let scheme = self.scheme(reference.host()).await;
        let base = format!(
            "{scheme}://{}/v2/{}/",
            reference.host(),
            reference.repository()
        );
        let base = Url::parse(&base).map_err(|_| ImageError::BadReference {
            text: reference.to_string(),
            why: "its registry has no address",
        })?;
        Ok(Session {
            registries: self,
            image: reference.to_string(),
            registry: reference.registry().to_owned(),
            repository: reference.repository().to_owned(),
            base,
            login,
            whose,
            authorization: Mutex::new(None),
        })
    }
}

impl Registries {
    /// How a registry is spoken to: one of this machine without TLS when it does not know that.
    async fn scheme(&self, host: &str) -> &'static str {
        let scheme = self.transport.scheme(host);
        if scheme == "http" || !transport::is_loopback(host) {
            return scheme;
        }
        let asked = Request::get(format!("https://{host}/v2/")).header(USER_AGENT, AGENT);
        let Ok(asked) = asked.body(Full::new(Bytes::new())) else {
            return scheme;
        };
        match timeout(self.stall, self.transport.send(asked)).await {
            Ok(Err(error)) if error.speaks_no_tls => "http",
            // Whatever else is wrong the first real request will tell.
            Ok(_) | Err(_) => scheme,
        }
    }
}

/// One image at its registry. Tokens are kept as long as the session.
pub(super) struct Session<'a> {
    registries: &'a Registries,
    image: String,
    registry: String,
    repository: String,
    base: Url,
    login: Login,
    /// Whose logins were looked through, for people.
    whose: &'static str,
    authorization: Mutex<Option<HeaderValue>>,
}

impl Session<'_> {
    /// The manifest under a tag or digest, and its digest.
    ///
    /// # Errors
    /// [`ImageError`]; a digest asked for, or told by the registry, that the content does not have.
    pub(super) async fn manifest(&self, version: &str) -> Result<(Bytes, Digest), ImageError> {
        let mut attempt = 1;
        loop {
            match self.manifest_once(version).await {
                Ok(found) => return Ok(found),
                Err(error) => self.pause(attempt, error).await?,
            }
            attempt += 1;
        }
    }

    async fn manifest_once(&self, version: &str) -> Result<(Bytes, Digest), ImageError> {
        let what = "manifest";
        let answer = self
            .get(&format!("manifests/{version}"), manifest::ACCEPT, what)
            .await?;
        let told = answer
            .headers()
            .get("docker-content-digest")
            .and_then(|told| Digest::parse(told.to_str().ok()?));
        let bytes = self
            .body(answer.into_body(), MAX_MANIFEST_BYTES, "the manifest")
            .await?;
        let asked = Digest::parse(version);
        for wanted in [asked.as_ref(), told.as_ref()].into_iter().flatten() {
            let mut hasher = wanted.hasher();
            hasher.update(&bytes);
            self.compare("the manifest", wanted, hasher.finish())?;
        }
        let digest = asked.unwrap_or_else(|| Digest::of(&bytes));
        Ok((bytes, digest))
    }

    /// A small blob in memory, of exactly `size` bytes.
    ///
    /// # Errors
    /// As [`Self::blob`]; more than `bound` bytes.
    pub(super) async fn small_blob(
        &self,
        what: &str,
        digest: &Digest,
        size: u64,
        bound: u64,
    ) -> Result<Vec<u8>, ImageError> {
        if size > bound {
            return Err(self.too_large(what, bound));
        }
        let mut memory = Memory(Vec::new());
        self.blob(what, digest, size, &mut memory).await?;
        Ok(memory.0)
    }

    /// A blob of exactly `size` bytes, in pieces.
    ///
    /// # Errors
    /// [`ImageError`]; other content than the digest says, more or less of it than announced.
    pub(super) async fn blob(
        &self,
        what: &str,
        digest: &Digest,
        size: u64,
        into: &mut impl Sink,
    ) -> Result<(), ImageError> {
        let mut attempt = 1;
        loop {
            let failed =
                |error| ImageError::io(&self.image, format!("{what} cannot be kept"), error);
            into.restart().await.map_err(failed)?;
            match self.blob_once(what, digest, size, into).await {
                Ok(()) => return Ok(()),
                Err(error) => self.pause(attempt, error).await?,
            }
            attempt += 1;
        }
    }

    async fn blob_once(
        &self,
        what: &str,
        digest: &Digest,
        size: u64,
        into: &mut impl Sink,
    ) -> Result<(), ImageError> {
        let path = format!("blobs/{digest}");
        let answer = self
            .get(&path, "application/octet-stream, */*", what)
            .await?;
        let mut body = Pieces::new(self, answer.into_body(), size, what);
        let mut hasher = digest.hasher();
        while let Some(piece) = body.next().await? {
            hasher.update(&piece);
            let written = into.write(piece).await;
            written.map_err(|error| {
                ImageError::io(&self.image, format!("{what} cannot be kept"), error)
            })?;
        }
        if body.came < size {
            let why = format!("{what} ended after {} of {size} bytes", body.came);
            return Err(self.unreachable(why));
        }
        self.compare(what, digest, hasher.finish())
    }

    fn compare(&self, what: &str, wanted: &Digest, got: Digest) -> Result<(), ImageError> {
        if *wanted == got {
            return Ok(());
        }
        Err(ImageError::DigestMismatch {
            image: self.image.clone(),
            what: what.to_owned(),
            wanted: wanted.to_string(),
            got: got.to_string(),
        })
    }

    /// Waits before the next try, when there is one.
    ///
    /// # Errors
    /// The error, when there is none.
    async fn pause(&self, attempt: u32, error: ImageError) -> Result<(), ImageError> {
        if attempt >= ATTEMPTS || !error.is_passing() {
            return Err(error);
        }
        let asked = error.retry_after();
        let own = FIRST_PAUSE * 2_u32.pow(attempt - 1);
        let pause = asked.map_or(own, |asked| asked.min(MAX_PAUSE));
        debug!(image = self.image, attempt, %error, "tried again");
        tokio::time::sleep(pause).await;
        Ok(())
    }

    /// Asks for something below the image's address; follows where it leads.
    async fn get(
        &self,
        path: &str,
        accept: &str,
        what: &str,
    ) -> Result<Response<Incoming>, ImageError> {
        let begin = self
            .base
            .join(path)
            .map_err(|_| self.unreachable(format!("{path:?} has no address")))?;
        let mut url = begin.clone();
        let mut has_renewed = false;
        let mut redirects = 0;
        loop {
            let is_own = url.origin() == self.base.origin();
            let authorization = match is_own {
                true => self.authorization.lock().await.clone(),
                false => None,
            };
            let answer = self.send(&url, accept, authorization.as_ref()).await?;
            let status = answer.status();
            if status == StatusCode::OK {
                return Ok(answer);
            }
            if status.is_redirection() && redirects < MAX_REDIRECTS {
                redirects += 1;
                url = self.next(&url, &answer)?;
                continue;
            }
            if status == StatusCode::UNAUTHORIZED && is_own && !has_renewed {
                has_renewed = true;
                let renewed = self.authorize(&answer).await?;
                *self.authorization.lock().await = Some(renewed);
                // A redirect that a token made needless, or needed, is found again.
                url = begin.clone();
                continue;
            }
            return Err(self.refused(answer, what).await);
        }
    }

    async fn send(
        &self,
        url: &Url,
        accept: &str,
        authorization: Option<&HeaderValue>,
    ) -> Result<Response<Incoming>, ImageError> {
        let request = Request::get(url.as_str()).header(ACCEPT, accept);
        self.exchange(request, authorization, Bytes::new()).await
    }

    async fn exchange(
        &self,
        mut request: Builder,
        authorization: Option<&HeaderValue>,
        body: Bytes,
    ) -> Result<Response<Incoming>, ImageError> {
        request = request.header(USER_AGENT, AGENT);
        if let Some(value) = authorization {
            request = request.header(AUTHORIZATION, value);
        }
        let request = request
            .body(Full::new(body))
            .map_err(|error| self.unreachable(error.to_string()))?;
        let stall = self.registries.stall;
        let answer = timeout(stall, self.registries.transport.send(request)).await;
        answer
            .map_err(|_| self.too_slow(format!("no answer within {stall:?}")))?
            .map_err(|error| {
                self.unreachable(match error.speaks_no_tls {
                    true => format!(
                        "it does not speak TLS ({}); --insecure-registry allows an agent plain HTTP with a HOST:PORT",
                        error.why
                    ),
                    false => error.why,
                })
            })
    }

    /// Where a redirect leads.
    fn next(&self, from: &Url, answer: &Response<Incoming>) -> Result<Url, ImageError> {
        let location = answer.headers().get(LOCATION);
        let to = location
            .and_then(|to| from.join(to.to_str().ok()?).ok())
            .ok_or_else(|| self.unreachable("a redirect leads nowhere".to_owned()))?;
        self.check(&to)?;
        Ok(to)
    }

    fn check(&self, to: &Url) -> Result<(), ImageError> {
        let is_here = |url: &Url| host(url).is_some_and(|host| transport::is_loopback(&host));
        if self.registries.transport.allows(to) || is_here(&self.base) && is_here(to) {
            return Ok(());
        }
        Err(ImageError::Astray {
            image: self.image.clone(),
            registry: self.registry.clone(),
            // Without its query, which may hold a secret.
            to: format!("{}://{}", to.scheme(), host(to).unwrap_or_default()),
            why: "plain HTTP is allowed only for hosts that the operator names",
        })
    }

    /// A whole body within a bound.
    async fn body(&self, body: Incoming, bound: u64, what: &str) -> Result<Bytes, ImageError> {
        let mut pieces = Pieces::new(self, body, bound, what);
        let mut whole = Vec::new();
        while let Some(piece) = pieces.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.into())
    }
}
