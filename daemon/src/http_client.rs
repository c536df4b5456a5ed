//! HTTP clients: how each of them begins.
//!
//! reqwest's own builder panics when the build has TLS and nobody has installed a cryptography provider for the whole
//! process; here every client brings its own, ring. Clippy keeps the other ways closed.

use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::{ClientConfig, RootCertStore};

/// A client for the daemons and tasks of this cluster: plain HTTP. It trusts no certificate, so that none are read from
/// the disk, and asks no proxy: what the environment says of proxies is meant for the web outside.
pub fn plain() -> ClientBuilder {
    trusting(RootCertStore::empty()).no_proxy()
}

/// A client for the web outside, HTTPS too: servers are believed when one of `authorities` vouches for them. Proxies are
/// taken from the environment.
///
/// # Panics
/// Never: the provider has the versions of TLS that are asked for.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where clients begin"
)]
pub fn trusting(authorities: RootCertStore) -> ClientBuilder {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let tls = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
        .with_root_certificates(authorities)
        .with_no_client_auth();
    reqwest::Client::builder().tls_backend_preconfigured(tls)
}
