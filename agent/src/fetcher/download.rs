//! Files of HTTP and HTTPS servers.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mete_daemon::{chain, http_client};
use mete_model::Checksum;
use reqwest::redirect::{Attempt, Policy};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;
use tokio::time::timeout;
use tracing::warn;

use super::digest::Sum;
use super::part::{Part, Parts};
use super::shown::failure;
use super::{Failure, MAX_BYTES};

/// Longest silence of a server (Mesos' fetcher: 1 min).
const STALL: Duration = Duration::from_secs(60);
/// Longest wait for a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// Most redirects that are followed (curl, in Mesos' fetcher, follows 50; browsers 20).
const MAX_REDIRECTS: usize = 20;

/// Why the authorities of an operator cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The file cannot be read as certificates.
    #[error("{path}: it cannot be read as certificates in PEM form")]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// A certificate in it is none of an authority.
    #[error("{path}: it has a certificate that cannot be trusted")]
    Refused {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// There is none in it.
    #[error("{path}: there is no certificate in it")]
    Empty {
        /// Which file.
        path: PathBuf,
    },
}

/// Downloads. The client is made when it is first needed: an agent whose tasks fetch nothing holds no certificates.
#[derive(Clone, Debug)]
pub(super) struct Downloads {
    authorities: Arc<RootCertStore>,
    client: Arc<OnceCell<reqwest::Client>>,
}

impl Downloads {
    /// Trusts the authorities of the machine, and those in a file. Blocks.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub(super) fn new(ca_file: Option<&Path>) -> Result<Self, AuthorityError> {
        let mut authorities = RootCertStore::empty();
        if let Some(path) = ca_file {
            add(&mut authorities, path)?;
        }
        Ok(Self {
            authorities: Arc::new(authorities),
            client: Arc::default(),
        })
    }

    /// Brings what is at an address into a part.
    ///
    /// # Errors
    /// What the server says, or does not say in time; what is too large; a full disk; another sum.
    pub(super) async fn get(
        &self,
        address: &str,
        checksum: Option<Checksum>,
        parts: &Parts,
    ) -> Result<Part, Failure> {
        let client = self.client.get_or_try_init(|| self.connect()).await?;
        let answer = timeout(STALL, client.get(address).send()).await;
        let mut answer = answer
            .map_err(|_| Failure::Http(format!("no answer within {} s", STALL.as_secs())))?
            .map_err(|error| Failure::Http(failure(error)))?;
        if !answer.status().is_success() {
            let text = format!("the server answered {}", answer.status());
            return Err(Failure::Http(text));
        }
        if answer
            .content_length()
            .is_some_and(|bytes| bytes > MAX_BYTES)
        {
            return Err(Failure::TooLarge);
        }
        let (mut part, file) = parts.create()?;
        let mut file = File::from_std(file);
        let mut sum = Sum::new(checksum);
        while let Some(piece) = answer
            .chunk()
            .await
            .map_err(|error| Failure::Http(failure(error)))?
        {
            sum.update(&piece)?;
            file.write_all(&piece).await?;
        }
        file.flush().await?;
        part.bytes = sum.finish()?;
        Ok(part)
    }

    async fn connect(&self) -> Result<reqwest::Client, Failure> {
        let mut authorities = RootCertStore::clone(&self.authorities);
        let found = spawn_blocking(rustls_native_certs::load_native_certs).await;
        let found = found.map_err(|error| Failure::Broken(error.to_string()))?;
        let (added, _) = authorities.add_parsable_certificates(found.certs);
        if added == 0 {
            warn!(
                "this machine trusts no certificate authority, so https is only fetched where --fetcher-ca-file helps"
            );
        }
        let client = http_client::trusting(authorities)
            .connect_timeout(CONNECT)
            .read_timeout(STALL)
            .redirect(Policy::custom(redirect))
            .user_agent(concat!("mete-fetcher/", env!("CARGO_PKG_VERSION")))
            .build();
        client.map_err(|error| Failure::Http(chain(&error)))
    }
}

/// Follows, but not for ever, and not from HTTPS to HTTP: what was asked for in confidence stays so.
fn redirect(attempt: Attempt<'_>) -> reqwest::redirect::Action {
    let is_exposed = attempt.url().scheme() == "http"
        && attempt
            .previous()
            .last()
            .is_some_and(|before| before.scheme() == "https");
    if is_exposed {
        attempt.error("it leads from https to http")
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error("it leads from one address to the next without an end")
    } else {
        attempt.follow()
    }
}

fn add(authorities: &mut RootCertStore, path: &Path) -> Result<(), AuthorityError> {
    let unreadable = |source| AuthorityError::Unreadable {
        path: path.to_owned(),
        source,
    };
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        let added = authorities.add(certificate.map_err(unreadable)?);
        added.map_err(|source| AuthorityError::Refused {
            path: path.to_owned(),
            source,
        })?;
    }
    match authorities.is_empty() {
        true => Err(AuthorityError::Empty {
            path: path.to_owned(),
        }),
        false => Ok(()),
    }
}
