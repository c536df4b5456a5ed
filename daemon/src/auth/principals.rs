//! Principals with secrets of their own: who shows the secret, as bearer token or as password of HTTP Basic, is the one.
//!
//! Invariants: only digests of secrets are kept, so that nothing of a secret can be printed; they are compared in constant
//! time, and those of all principals whichever is the right one. A plain hash is enough because a secret is drawn, not
//! thought up: short ones are refused.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::extract::Request;
use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::digest::{SHA256, SHA256_OUTPUT_LEN, digest};
use subtle::{Choice, ConstantTimeEq};

use super::{
    MAX_TOKEN_CHARACTERS, MIN_TOKEN_CHARACTERS, Principal, Token, Unauthenticated, bearer,
};

/// The digest of a secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SecretDigest([u8; SHA256_OUTPUT_LEN]);

/// A text that is no digest. Says nothing of it, as it may be the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not 64 hexadecimal digits, the SHA-256 of the secret")]
pub struct BadDigest;

impl SecretDigest {
    /// The digest of a secret.
    pub fn of(secret: &str) -> Self {
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(digest(&SHA256, secret.as_bytes()).as_ref());
        Self(bytes)
    }

    /// Reads 64 hexadecimal digits.
    ///
    /// # Errors
    /// When it is anything else.
    pub fn parse(text: &str) -> Result<Self, BadDigest> {
        if text.len() != 2 * SHA256_OUTPUT_LEN || !text.bytes().all(|byte| byte.is_ascii_hexdigit())
        {
            return Err(BadDigest);
        }
        let mut bytes = [0; SHA256_OUTPUT_LEN];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).map_err(|_| BadDigest)?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for SecretDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretDigest(…)")
    }
}

/// One principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its name, the user of HTTP Basic.
    pub name: Arc<str>,
    /// The digest of its secret.
    pub secret: SecretDigest,
}

/// Hears of each who is refused because nobody knows who it is, before the answer; must not wait.
#[derive(Clone)]
pub struct Witness(Arc<dyn Fn(&Request) + Send + Sync>);

impl<F: Fn(&Request) + Send + Sync + 'static> From<F> for Witness {
    fn from(hear: F) -> Self {
        Self(Arc::new(hear))
    }
}

impl fmt::Debug for Witness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Witness(…)")
    }
}

/// Who may call. Cheap to clone; clones see a list that is [set](Self::set) later, too.
#[derive(Clone, Debug, Default)]
pub struct Callers {
    token: Option<Token>,
    principals: Option<Arc<ArcSwap<Vec<Known>>>>,
    /// Paths whose handlers find out themselves who calls.
    left: &'static [&'static str],
    witness: Option<Witness>,
}

impl From<Option<Token>> for Callers {
    fn from(token: Option<Token>) -> Self {
        Self {
            token,
            principals: None,
            left: &[],
            witness: None,
        }
    }
}

impl Callers {
    /// Whoever shows the token, when there is one, and these.
    pub fn known(token: Option<Token>, principals: Vec<Known>) -> Self {
        Self {
            token,
            principals: Some(Arc::new(ArcSwap::from_pointee(principals))),
            left: &[],
            witness: None,
        }
    }

    /// Leaves these paths to their handlers, which hear who calls when that is known here, and else must find out.
    #[must_use]
    pub const fn leaving(mut self, paths: &'static [&'static str]) -> Self {
        self.left = paths;
        self
    }

    /// Tells somebody of those who are refused.
    #[must_use]
    pub fn witnessed(mut self, by: Witness) -> Self {
        self.witness = Some(by);
        self
    }

    pub(crate) fn refused(&self, request: &Request) {
        if let Some(Witness(hear)) = &self.witness {
            hear(request);
        }
    }

    /// Whether the handlers of a path find out themselves who calls.
    pub(crate) fn leaves(&self, path: &str) -> bool {
        self.left.contains(&path)
    }

    /// From now on these, where there were principals before.
    pub fn set(&self, principals: Vec<Known>) {
        if let Some(all) = &self.principals {
            all.store(Arc::new(principals));
        }
    }

    /// Finds out who calls. Where neither a token nor a principal is known, anyone may.
    ///
    /// # Errors
    /// When nothing was shown, or something else.
    pub fn authenticate(&self, headers: &HeaderMap) -> Result<Principal, Unauthenticated> {
        let Some(principals) = &self.principals else {
            return super::authenticate(self.token.as_ref(), headers);
        };
        let header = headers.get(AUTHORIZATION).ok_or(Unauthenticated::Missing)?;
        let text = header.to_str().map_err(|_| Unauthenticated::Wrong)?;
        let all = principals.load();
        let name = if let Some(presented) = bearer(text) {
            let is_token = |token: &Token| token.matches(presented);
            if self.token.as_ref().is_some_and(is_token) {
                return Ok(Principal {
                    name: super::SHARED.into(),
                });
            }
            find(&all, presented, |_| true)
        } else {
            let (scheme, presented) = text.split_once(' ').ok_or(Unauthenticated::Wrong)?;
            let is_basic = scheme.eq_ignore_ascii_case("basic");
            let shown = is_basic.then(|| basic(presented.trim())).flatten();
            let (name, secret) = shown.ok_or(Unauthenticated::Wrong)?;
            find(&all, &secret, |known| known == name)
        };
        name.map(|name| Principal { name })
            .ok_or(Unauthenticated::Wrong)
    }

    /// What a caller who has not shown who it is may show.
    pub(crate) fn challenge(&self) -> HeaderValue {
        HeaderValue::from_static(match self.principals {
            None => "Bearer",
            Some(_) => "Basic realm=\"mete\", Bearer",
        })
    }
}

/// The principal with this secret, of those whose name may be the one. Looks at all of them.
fn find(all: &[Known], secret: &str, may_be: impl Fn(&str) -> bool) -> Option<Arc<str>> {
    if !(MIN_TOKEN_CHARACTERS..=MAX_TOKEN_CHARACTERS).contains(&secret.chars().count()) {
        return None;
    }
    let presented = SecretDigest::of(secret);
    let mut found = None;
    for known in all {
        let is_right = known.secret.0.ct_eq(&presented.0);
        let is_right = is_right & Choice::from(u8::from(may_be(&known.name)));
        if bool::from(is_right) {
            found = Some(Arc::clone(&known.name));
        }
    }
    found
}

/// Name and password (RFC 7617).
fn basic(presented: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(presented).ok()?).ok()?;
    let (name, secret) = text.split_once(':')?;
    Some((name.to_owned(), secret.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "drawn-0123456789abcdef";

    fn shown(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(text).expect("ASCII"))])
    }

    fn callers() -> Callers {
        let known = |name: &str, secret| Known {
            name: name.into(),
            secret: SecretDigest::of(secret),
        };
        let token = Token::new("the-token-of-admins").expect("good");
        let all = vec![
            known("shop", SECRET),
            known("edge", "drawn-fedcba9876543210"),
        ];
        Callers::known(Some(token), all)
    }

    fn name(callers: &Callers, shown: &HeaderMap) -> Result<String, Unauthenticated> {
        callers
            .authenticate(shown)
            .map(|principal| principal.name.to_string())
    }

    #[test]
    fn a_secret_says_who_it_is_as_bearer_token_and_as_password() {
        let callers = callers();
        let basic = |text: &str| shown(&format!("Basic {}", STANDARD.encode(text)));

        assert_eq!(
            name(&callers, &shown(&format!("Bearer {SECRET}"))),
            Ok("shop".to_owned())
        );
        assert_eq!(
            name(&callers, &basic(&format!("shop:{SECRET}"))),
            Ok("shop".to_owned())
        );
        assert_eq!(
            name(&callers, &shown("token=the-token-of-admins")),
            name(&callers, &shown("bearer the-token-of-admins")),
        );
        assert_eq!(
            name(&callers, &shown("bearer the-token-of-admins")),
            Ok("token".to_owned())
        );
        for wrong in [
            basic(&format!("edge:{SECRET}")),
            basic("shop:"),
            basic("shop"),
            basic("token:the-token-of-admins"),
            shown("Basic ???"),
            shown("Bearer drawn-0123456789abcdeX"),
            shown("Digest x"),
            shown(SECRET),
        ] {
            assert_eq!(
                name(&callers, &wrong),
                Err(Unauthenticated::Wrong),
                "{wrong:?}"
            );
        }
        assert_eq!(
            name(&callers, &HeaderMap::new()),
            Err(Unauthenticated::Missing)
        );
    }

    #[test]
    fn a_new_list_counts_at_once_for_all_clones() {
        let callers = callers();
        let clone = callers.clone();

        callers.set(Vec::new());

        let shown = shown(&format!("Bearer {SECRET}"));
        assert_eq!(name(&clone, &shown), Err(Unauthenticated::Wrong));
    }

    #[test]
    fn a_digest_is_sixty_four_digits_and_is_not_printed_by_accident() {
        let digest = SecretDigest::of(SECRET);

        assert_eq!(SecretDigest::parse(&digest.to_string()), Ok(digest));
        assert_eq!(SecretDigest::parse(SECRET), Err(BadDigest));
        assert_eq!(SecretDigest::parse(&"é".repeat(32)), Err(BadDigest));
        assert_eq!(format!("{digest:?}"), "SecretDigest(…)");
    }

    #[test]
    fn short_secrets_are_never_right() {
        let short = Known {
            name: "x".into(),
            secret: SecretDigest::of("short"),
        };
        let callers = Callers::known(None, vec![short]);

        assert_eq!(
            name(&callers, &shown("Bearer short")),
            Err(Unauthenticated::Wrong)
        );
    }
}
