//! HTTP clients: how each of them begins.
//!
//! reqwest's own builder panics when the build has TLS and nobody has installed a cryptography provider for the whole
//! process; here every client brings its own, ring. Clippy keeps the other ways closed.

use std::sync::Arc;

use reqwest::ClientBuilder;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

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
pub fn trusting(authorities: RootCertStore) -> ClientBuilder {
    let tls = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
        .with_root_certificates(authorities)
        .with_no_client_auth();
    with_tls(tls)
}

/// A client that asks tasks how they are, HTTPS too: see [`any_certificate`]. Redirects are answers, each question has a
/// connection of its own, and no proxy is asked.
///
/// # Panics
/// Never: as [`trusting`].
pub fn probing() -> ClientBuilder {
    with_tls(any_certificate())
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0)
}

/// TLS that believes whatever certificate it is shown: for probes alone, which tell no secret and are told none. Tasks
/// have certificates for the names by which their users know them, not for the addresses at which they are probed.
///
/// # Panics
/// Never: as [`trusting`].
pub fn any_certificate() -> ClientConfig {
    let provider = provider();
    ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("ring has TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Credulous(provider)))
        .with_no_client_auth()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the place where clients begin"
)]
fn with_tls(tls: ClientConfig) -> ClientBuilder {
    reqwest::Client::builder().tls_backend_preconfigured(tls)
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// Believes everybody.
#[derive(Debug)]
struct Credulous(Arc<CryptoProvider>);

impl ServerCertVerifier for Credulous {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
