//! Who calls: a bearer token from a file, the same for gRPC and HTTP, or a secret of one's own, and the rule that nobody
//! is reachable from beyond this machine without one.
//!
//! Invariants: a token is never printed, and compared in constant time. Health and version are open to all; what else is not asked for
//! the token asks itself, as an agent does of the executors it has started.

pub mod credentials; // principals and their secrets in a file of Mesos' form
mod principals; // who has a secret of its own
pub mod private_file; // files that only their owner may touch

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use subtle::ConstantTimeEq;
use tracing::warn;

use crate::config::{Checked, Fault};
pub use principals::{BadDigest, Callers, Known, SecretDigest, Witness};

/// The shortest token: 16 random characters of base64 are 96 bits.
pub const MIN_TOKEN_CHARACTERS: usize = 16;
/// The longest token: it goes into a header of every request.
pub const MAX_TOKEN_CHARACTERS: usize = 4096;
/// What may be asked without a token: is it alive, what is it, and where is the leader, as in Mesos, whose clients ask this
/// before they say who they are.
const OPEN_PATHS: [&str; 9] = [
    "/health",
    "/master/health",
    "/slave(1)/health",
    "/slave%281%29/health",
    "/version",
    "/redirect",
    "/master/redirect",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// A shared secret; cheap to clone, never printed.
#[derive(Clone)]
pub struct Token(Arc<str>);

/// Why a token cannot be used. Says nothing of its text.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read.
    #[error("token file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// What the file holds is no token.
    #[error("token file {} cannot be used", path.display())]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<TokenError>,
    },
    /// Too short to be a secret, or too long for a header.
    #[error(
        "the token has {characters} characters, it must have {MIN_TOKEN_CHARACTERS} to {MAX_TOKEN_CHARACTERS}"
    )]
    Length {
        /// How many it has.
        characters: usize,
    },
    /// It could not stand in a header.
    #[error("the token has characters other than visible ASCII")]
    Characters,
}

impl Token {
    /// Reads the token from a file; white space around it does not count. Warns when others may read the file.
    ///
    /// # Errors
    /// When the file cannot be read or what it holds is no token.
    pub fn read(path: &Path) -> Result<Self, TokenError> {
        let failed = |source| TokenError::File {
            path: path.to_owned(),
            source,
        };
        let file = File::open(path).map_err(failed)?;
        let mode = file.metadata().map_err(failed)?.permissions().mode();
        if mode & 0o044 != 0 {
            warn!(path = %path.display(), mode = format!("{:o}", mode & 0o777), "token file can be read by others");
        }
        let mut text = String::new();
        // Twice the longest token: room for white space, and an end for a wrong file.
        file.take(2 * MAX_TOKEN_CHARACTERS as u64)
            .read_to_string(&mut text)
            .map_err(failed)?;
        Self::new(text.trim()).map_err(|source| TokenError::Bad {
            path: path.to_owned(),
            source: Box::new(source),
        })
    }

    /// A token with this text.
    ///
    /// # Errors
    /// When it is too short, too long or not visible ASCII.
    pub fn new(text: &str) -> Result<Self, TokenError> {
        let characters = text.chars().count();
        if !(MIN_TOKEN_CHARACTERS..=MAX_TOKEN_CHARACTERS).contains(&characters) {
            return Err(TokenError::Length { characters });
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(TokenError::Characters);
        }
        Ok(Self(text.into()))
    }

    /// Whether this is the text of the token; takes the same time wherever they differ.
    pub fn matches(&self, presented: &str) -> bool {
        self.0.as_bytes().ct_eq(presented.as_bytes()).into()
    }

    /// `Bearer …` as the value of an `Authorization` header, marked as sensitive.
    pub fn header(&self) -> HeaderValue {
        let mut value = HeaderValue::try_from(format!("Bearer {}", self.0))
            .expect("a token is visible ASCII, checked when made");
        value.set_sensitive(true);
        value
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

/// Who a caller is. There is one kind; what it may is for the daemon to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// `token` for who has shown the token, `anyone` where none is needed, otherwise the name of who has a secret of
    /// its own.
    pub name: Arc<str>,
}

impl Principal {
    /// Whether it is who it says by a secret of its own, and not by a token that others have too, or none.
    pub fn has_own_secret(&self) -> bool {
        ![SHARED, ANYONE].contains(&&*self.name)
    }
}

/// The name of whoever shows the token.
pub(crate) const SHARED: &str = "token";
/// The name of whoever calls where no token is needed.
pub(crate) const ANYONE: &str = "anyone";

/// The caller has shown no token, or a wrong one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unauthenticated {
    /// Nothing was shown.
    #[error("credentials are required")]
    Missing,
    /// Something else was shown.
    #[error("the credentials are wrong")]
    Wrong,
}

/// Finds out who calls. Without a `token` to ask for, anyone may.
///
/// # Errors
/// When the token is missing or wrong.
pub fn authenticate(
    token: Option<&Token>,
    headers: &HeaderMap,
) -> Result<Principal, Unauthenticated> {
    let Some(token) = token else {
        return Ok(Principal {
            name: ANYONE.into(),
        });
    };
    let header = headers.get(AUTHORIZATION).ok_or(Unauthenticated::Missing)?;
    let text = header.to_str().map_err(|_| Unauthenticated::Wrong)?;
    if bearer(text).is_some_and(|presented| token.matches(presented)) {
        return Ok(Principal {
            name: SHARED.into(),
        });
    }
    Err(Unauthenticated::Wrong)
}

/// The token in an `Authorization` header: `Bearer …`, or `token=…` as clients of DC/OS write it.
fn bearer(header: &str) -> Option<&str> {
    let after = |scheme: &str, separator: char| {
        let (before, presented) = header.split_once(separator)?;
        before
            .eq_ignore_ascii_case(scheme)
            .then(|| presented.trim())
    };
    after("bearer", ' ').or_else(|| after("token", '='))
}

/// Whether everybody may ask for this path.
pub fn is_open(path: &str) -> bool {
    OPEN_PATHS.contains(&path)
}

/// A name that cannot be shown with a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the name {0:?} is empty, or has a colon or a control character")]
pub struct BadName(String);

/// What a client shows: a token, a name with its password, or nothing. Use it as tonic interceptor, or put it on the headers of an HTTP request.
#[derive(Clone, Debug, Default)]
pub struct Credentials(Option<HeaderValue>);

impl Credentials {
    /// Shows this token, or nothing.
    pub fn new(token: Option<&Token>) -> Self {
        Self(token.map(Token::header))
    }

    /// Reads the token from a file when one is named.
    ///
    /// # Errors
    /// When the file cannot be read or what it holds is no token.
    pub fn from_file(path: Option<&Path>) -> Result<Self, TokenError> {
        Ok(Self::new(path.map(Token::read).transpose()?.as_ref()))
    }

    /// Shows a name and its password, by HTTP Basic. A password is drawn as tokens are.
    ///
    /// # Errors
    /// When the name is empty or has a colon or control characters, as it could not be told from the password.
    pub fn basic(name: &str, password: &Token) -> Result<Self, BadName> {
        if name.is_empty() || name.contains(|letter: char| letter == ':' || letter.is_control()) {
            return Err(BadName(name.to_owned()));
        }
        let pair = STANDARD.encode(format!("{name}:{}", password.0));
        let mut value =
            HeaderValue::try_from(format!("Basic {pair}")).expect("base64 is visible ASCII");
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }

    /// The value of the `Authorization` header, when there is one.
    pub fn header(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    /// As default headers of an HTTP client.
    pub fn headers(&self) -> HeaderMap {
        self.0
            .iter()
            .map(|value| (AUTHORIZATION, value.clone()))
            .collect()
    }
}

impl tonic::service::Interceptor for Credentials {
    fn call(
        &mut self,
        mut request: tonic::Request<()>,
    ) -> Result<tonic::Request<()>, tonic::Status> {
        if let Some(value) = &self.0
            && let Ok(text) = value.to_str()
            && let Ok(value) = text.parse::<tonic::metadata::AsciiMetadataValue>()
        {
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// Where a daemon listens and who may call. Flatten it into the daemon's options; the port is the daemon's own, as its
/// default is.
#[derive(Clone, Debug, clap::Args)]
pub struct ListenOptions {
    /// Address to listen on. Other machines reach the daemon only when it is not loopback; then a token is needed.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub ip: IpAddr,
    /// File with the bearer token that every caller must show, and that this daemon shows to others.
    #[arg(long, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// Listens beyond loopback without a token: everybody who can reach the port may do everything.
    #[arg(long)]
    pub insecure_no_auth: bool,
}

impl ListenOptions {
    /// The address with a port.
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.ip, port)
    }

    /// Reads the token when a file is named.
    ///
    /// # Errors
    /// When the file cannot be read or what it holds is no token.
    pub fn token(&self) -> Result<Option<Token>, TokenError> {
        self.token_file.as_deref().map(Token::read).transpose()
    }
}

impl Checked for ListenOptions {
    fn faults(&self) -> Vec<Fault> {
        check_exposure(self.ip, self.token_file.is_some(), self.insecure_no_auth)
            .err()
            .into_iter()
            .collect()
    }
}

/// Refuses an address that others can reach unless callers need a token or it is said by name that they need none.
///
/// # Errors
/// A fault of the key `ip`.
pub fn check_exposure(ip: IpAddr, has_token: bool, insecure_no_auth: bool) -> Result<(), Fault> {
    if ip.to_canonical().is_loopback() || has_token || insecure_no_auth {
        return Ok(());
    }
    let reason =
        format!("{ip} can be reached by others: give --token-file, or say --insecure-no-auth");
    Err(Fault::new("ip", reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef";

    #[test]
    fn a_token_is_not_printed_and_must_be_long_enough() -> Result<(), TokenError> {
        let token = Token::new(SECRET)?;

        assert!(!format!("{token:?} {:?}", token.header()).contains(SECRET));
        assert!(matches!(
            Token::new("short"),
            Err(TokenError::Length { characters: 5 })
        ));
        assert!(matches!(
            Token::new("0123456789 abcdef"),
            Err(TokenError::Characters)
        ));
        Ok(())
    }

    #[test]
    fn only_the_right_token_is_let_in() -> Result<(), TokenError> {
        let token = Token::new(SECRET)?;
        let shown = |text: &'static str| {
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_static(text))])
        };

        assert!(authenticate(Some(&token), &Credentials::new(Some(&token)).headers()).is_ok());
        assert!(authenticate(Some(&token), &shown("bearer 0123456789abcdef")).is_ok());
        assert!(authenticate(Some(&token), &shown("token=0123456789abcdef")).is_ok());
        assert_eq!(
            authenticate(Some(&token), &shown("Basic 0123456789abcdef")),
            Err(Unauthenticated::Wrong)
        );
        assert_eq!(
            authenticate(Some(&token), &shown("Bearer 0123456789abcdeX")),
            Err(Unauthenticated::Wrong)
        );
        assert_eq!(
            authenticate(Some(&token), &HeaderMap::new()),
            Err(Unauthenticated::Missing)
        );
        assert!(authenticate(None, &HeaderMap::new()).is_ok());
        Ok(())
    }

    #[test]
    fn an_address_beyond_loopback_needs_a_token_or_the_word() {
        let (inside, outside) = (IpAddr::from([127, 0, 0, 2]), IpAddr::from([0, 0, 0, 0]));

        assert!(check_exposure(inside, false, false).is_ok());
        assert!(check_exposure(outside, true, false).is_ok());
        assert!(check_exposure(outside, false, true).is_ok());
        assert_eq!(
            check_exposure(outside, false, false).map_err(|fault| fault.key),
            Err("ip".to_owned())
        );
    }
}
