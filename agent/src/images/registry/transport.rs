//! Connections to registries: HTTP/1.1, over TLS unless an operator allows otherwise for a host by name. One of this very
//! machine that speaks none may do without (Docker takes 127.0.0.0/8, `::1` and `localhost` so).
//!
//! TLS is set up here and for nobody else, so that no other client of the process depends on it. Bounds: a connection
//! within [`CONNECT`], and an answer within the patience of who asks.

use std::collections::BTreeSet;
use std::error::Error;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};
use url::{Host, Url};

use crate::images::error::ImageError;

/// Longest wait for a connection; there may be several addresses to try.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection is kept for the next layer.
const IDLE: Duration = Duration::from_secs(15);
/// Connections kept for one registry: as many as layers come side by side.
const IDLE_CONNECTIONS: usize = 4;

/// Sends requests.
#[derive(Clone)]
pub(super) struct Transport {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    plain: Arc<BTreeSet<String>>,
}

impl Transport {
    /// A transport that trusts the machine's authorities and those in `authorities`, and speaks plain HTTP with the
    /// hosts in `plain` (`host:port`, or `host` for port 80).
    ///
    /// # Errors
    /// When a file with authorities does not read.
    pub(super) fn new(
        plain: BTreeSet<String>,
        authorities: &[PathBuf],
    ) -> Result<Self, ImageError> {
        let mut http = HttpConnector::new();
        http.enforce_http(false);
        http.set_nodelay(true);
        http.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls(authorities)?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(http);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(IDLE_CONNECTIONS)
            .build(connector);
        Ok(Self {
            client,
            plain: Arc::new(plain),
        })
    }

    /// `https` but for hosts that are allowed to do without.
    pub(super) fn scheme(&self, host: &str) -> &'static str {
        match self.plain.contains(host) {
            true => "http",
            false => "https",
        }
    }

    /// Whether an address may be asked at all: over TLS, or where plain HTTP is allowed.
    pub(super) fn allows(&self, url: &Url) -> bool {
        match (url.scheme(), host(url)) {
            ("https", Some(_)) => true,
            ("http", Some(host)) => self.plain.contains(&host),
            _ => false,
        }
    }

    /// Sends one request; the answer's body is still to come.
    ///
    /// # Errors
    /// [`SendError`].
    pub(super) async fn send(
        &self,
        request: Request<Full<Bytes>>,
    ) -> Result<Response<Incoming>, SendError> {
        let answer = self.client.request(request).await;
        answer.map_err(|error| SendError {
            speaks_no_tls: error.is_connect() && is_no_tls(&error),
            why: causes(&error),
        })
    }
}

/// Why there is no answer.
pub(super) struct SendError {
    /// What the network says, with its causes.
    pub(super) why: String,
    /// Whether there is something at the address that does not know TLS.
    pub(super) speaks_no_tls: bool,
}

/// Whether `host:port` is this very machine.
pub(super) fn is_loopback(host: &str) -> bool {
    let url = Url::parse(&format!("http://{host}"));
    match url.as_ref().map(Url::host) {
        Ok(Some(Host::Domain(name))) => name.eq_ignore_ascii_case("localhost"),
        Ok(Some(Host::Ipv4(address))) => address.is_loopback(),
        Ok(Some(Host::Ipv6(address))) => address.is_loopback(),
        Ok(None) | Err(_) => false,
    }
}

/// What speaks plain HTTP answers the beginning of TLS with text, or hangs up.
fn is_no_tls(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref().is_some_and(is_no_answer_of_tls) {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error of the system may hold others, which are not among its causes.
fn is_no_answer_of_tls(error: &io::Error) -> bool {
    let Some(inner) = error.get_ref() else {
        return matches!(
            error.kind(),
            ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
        );
    };
    if let Some(error) = inner.downcast_ref() {
        return is_no_answer_of_tls(error);
    }
    matches!(inner.downcast_ref(), Some(rustls::Error::InvalidMessage(_)))
        || error.kind() == ErrorKind::UnexpectedEof
}

/// `host:port` as people write it: without the port that the scheme has anyway.
pub(super) fn host(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    })
}

/// An error with its causes, in one line.
pub(super) fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some layers only repeat what the one below says.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

fn tls(authorities: &[PathBuf]) -> Result<ClientConfig, ImageError> {
    let mut roots = RootCertStore::empty();
    // A machine without authorities still has registries on plain HTTP, and those of `authorities`.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for path in authorities {
        let failed = |why: String| ImageError::Malformed {
            image: "of any name".to_owned(),
            what: format!("the file of authorities {}", path.display()),
            why,
        };
        for certificate in read(path).map_err(&failed)? {
            roots
                .add(certificate)
                .map_err(|error| failed(error.to_string()))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| ImageError::Io {
            doing: "TLS cannot be set up".to_owned(),
            said: Arc::new(io::Error::other(error)),
        })?;
    Ok(versions.with_root_certificates(roots).with_no_client_auth())
}

fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let found = CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|error| error.to_string())?;
    match found.is_empty() {
        true => Err("there is no certificate in it".to_owned()),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_several_names() {
        for host in [
            "127.0.0.1:5000",
            "127.9.9.9",
            "localhost",
            "LOCALHOST:80",
            "[::1]:5000",
        ] {
            assert!(is_loopback(host), "{host}");
        }
        for host in [
            "10.0.0.1:5000",
            "localhost.example.com",
            "example.com",
            "[::2]",
            "",
        ] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
