//! Logins: a registry says how it wants to be told who asks, and is told so, over TLS or where an operator allows to do
//! without.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Session;
use super::challenge::{self, Challenge};
use crate::images::credentials::Login;
use crate::images::error::ImageError;

/// The largest answer of a token server; tokens of large registries have some kilobytes.
const MAX_TOKEN_BYTES: u64 = 256 << 10;

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    token: Option<String>,
    #[serde(default)]
    access_token: Option<String>,
}

impl Session<'_> {
    /// Meets the challenge of a 401; what to send from now on.
    pub(super) async fn authorize(
        &self,
        answer: &Response<Incoming>,
    ) -> Result<HeaderValue, ImageError> {
        if let Login::Helper(helper) = &self.login {
            return Err(ImageError::Helper {
                image: self.image.clone(),
                registry: self.registry.clone(),
                helper: helper.clone(),
            });
        }
        match (challenge::read(answer.headers()), &self.login) {
            (Some(Challenge::Basic), Login::Password { user, password }) => {
                self.secret(&basic(user, password))
            }
            (Some(Challenge::Basic), _) => {
                let why = format!("there is no password for it in {} logins", self.whose);
                Err(self.unauthorized(why))
            }
            (
                Some(Challenge::Bearer {
                    realm,
                    service,
                    scope,
                }),
                _,
            ) => self.token(&realm, service, scope).await,
            (None, _) => Err(self.unauthorized("in a way that is not carried")),
        }
    }

    /// Fetches a token.
    async fn token(
        &self,
        realm: &str,
        service: Option<String>,
        scope: Option<String>,
    ) -> Result<HeaderValue, ImageError> {
        let mut url =
            Url::parse(realm).map_err(|_| self.unauthorized("its token server has no address"))?;
        self.check(&url)?;
        let scope = scope.unwrap_or_else(|| format!("repository:{}:pull", self.repository));
        let mut words = vec![("scope", scope)];
        words.extend(service.map(|service| ("service", service)));
        let answer = match &self.login {
            Login::Identity(token) => self.exchange_identity(&url, token, words).await?,
            Login::Password { user, password } => {
                let authorization = self.secret(&basic(user, password))?;
                url.query_pairs_mut().extend_pairs(words);
                self.send(&url, "application/json", Some(&authorization))
                    .await?
            }
            Login::Anonymous | Login::Helper(_) => {
                url.query_pairs_mut().extend_pairs(words);
                self.send(&url, "application/json", None).await?
            }
        };
        match answer.status() {
            StatusCode::OK => {}
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
                return Err(self.unauthorized(match self.login {
                    Login::Anonymous => {
                        "there is no login for it, and its token server gives nothing without"
                            .to_owned()
                    }
                    Login::Password { .. } | Login::Identity(_) | Login::Helper(_) => {
                        format!("its token server refuses {} login", self.whose)
                    }
                }));
            }
            _ => return Err(self.refused(answer, "token").await),
        }
        let what = "the token server's answer";
        let bytes = self.body(answer.into_body(), MAX_TOKEN_BYTES, what).await?;
        let token: Option<Token> = serde_json::from_slice(&bytes).ok();
        let token = token
            .and_then(|token| token.token.or(token.access_token))
            .ok_or_else(|| self.unauthorized("its token server's answer does not read"))?;
        self.secret(&format!("Bearer {token}"))
    }

    /// Turns an identity token into one for this image: OAuth 2, as Docker's token servers speak it.
    async fn exchange_identity(
        &self,
        url: &Url,
        token: &str,
        words: Vec<(&str, String)>,
    ) -> Result<Response<Incoming>, ImageError> {
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("grant_type", "refresh_token")
            .append_pair("client_id", "mete")
            .append_pair("refresh_token", token)
            .extend_pairs(words)
            .finish();
        let request = Request::post(url.as_str())
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        self.exchange(request, None, body.into()).await
    }

    /// A header that is not shown.
    fn secret(&self, text: &str) -> Result<HeaderValue, ImageError> {
        let mut value = HeaderValue::from_str(text)
            .map_err(|_| self.unauthorized("the login or token cannot stand in a header"))?;
        value.set_sensitive(true);
        Ok(value)
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}
