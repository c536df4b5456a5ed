//! HTTP to the master, the service framework and agents, with errors that say what to do.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use clap::builder::{OsStringValueParser, TypedValueParser};
use mete_daemon::auth::{Credentials, Token};
use mete_daemon::http_client;
use reqwest::{Body, Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::Value;

/// From the request to the end of the answer; answers of a command line are small.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// From SYN to an open connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a master listens unless it is told otherwise.
const MASTER: &str = "http://127.0.0.1:5050";
/// Where a service framework does.
const SERVICES: &str = "http://127.0.0.1:8080";

/// Where the daemons are. A variable that is empty counts as not set.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Addresses {
    /// Address of the master.
    #[arg(
        long,
        global = true,
        env = "METE_MASTER",
        value_name = "URL",
        default_value = MASTER
    )]
    pub(crate) master: String,
    /// Address of the service framework.
    #[arg(
        long,
        global = true,
        env = "METE_SERVICES",
        value_name = "URL",
        default_value = SERVICES
    )]
    pub(crate) services: String,
    /// File with the bearer token to show.
    #[arg(long, global = true, env = "METE_TOKEN_FILE", value_name = "FILE", value_parser = file())]
    token_file: Option<PathBuf>,
    /// Name to show with a password, in place of a token. The password is in --password-file or in METE_PASSWORD.
    #[arg(long, global = true, env = "METE_USER", value_name = "NAME")]
    user: Option<String>,
    /// File with the password of --user.
    #[arg(long, global = true, env = "METE_PASSWORD_FILE", value_name = "FILE", value_parser = file())]
    password_file: Option<PathBuf>,
}

fn given(file: Option<&Path>) -> Option<&Path> {
    file.filter(|file| !file.as_os_str().is_empty())
}

/// An address that was given, or the usual one.
pub(crate) fn or<'a>(address: &'a str, usual: &'a str) -> &'a str {
    if address.is_empty() { usual } else { address }
}

/// As clap has it, but that an empty name is no fault.
fn file() -> impl TypedValueParser<Value = PathBuf> {
    OsStringValueParser::new().map(PathBuf::from)
}

/// Holds the password of `--user`: what stands on a command line is seen by all on the machine.
const PASSWORD: &str = "METE_PASSWORD";

impl Addresses {
    /// Who we say we are.
    pub(crate) fn credentials(&self) -> Result<Credentials> {
        let password_file = given(self.password_file.as_deref());
        let Some(user) = self.user.as_ref().filter(|user| !user.is_empty()) else {
            if password_file.is_some() {
                bail!("a password needs the name it belongs to: --user or METE_USER");
            }
            return Ok(Credentials::from_file(given(self.token_file.as_deref()))?);
        };
        let password = match (password_file, std::env::var(PASSWORD)) {
            (Some(file), _) => Token::read(file),
            (None, Ok(text)) if !text.is_empty() => Token::new(text.trim()),
            (None, Ok(_) | Err(_)) => {
                bail!("--user needs a password: --password-file or {PASSWORD}")
            }
        };
        let password = password.context("the password cannot be used")?;
        Ok(Credentials::basic(user, &password)?)
    }

    /// The service framework.
    pub(crate) fn services(&self) -> Result<Api> {
        Api::new(
            "service framework",
            or(&self.services, SERVICES),
            &self.credentials()?,
            "--services or METE_SERVICES",
        )
    }

    /// The master.
    pub(crate) fn master(&self) -> Result<Api> {
        Api::new(
            "master",
            or(&self.master, MASTER),
            &self.credentials()?,
            "--master or METE_MASTER",
        )
    }

    /// An agent found in the master's state.
    pub(crate) fn agent(&self, url: &str) -> Result<Api> {
        Api::new(
            "agent",
            url,
            &self.credentials()?,
            "the address the agent registered with",
        )
    }
}

/// One daemon's HTTP.
#[derive(Clone, Debug)]
pub(crate) struct Api {
    name: &'static str,
    base: String,
    hint: &'static str,
    http: Client,
}

impl Api {
    pub(crate) fn new(
        name: &'static str,
        base: &str,
        credentials: &Credentials,
        hint: &'static str,
    ) -> Result<Self> {
        let base = base.trim_end_matches('/');
        let base = if base.contains("://") {
            base.to_owned()
        } else {
            format!("http://{base}")
        };
        let http = http_client::plain()
            .connect_timeout(CONNECT_TIMEOUT)
            .default_headers(credentials.headers())
            .build()
            .context("cannot make an HTTP client")?;
        Ok(Self {
            name,
            base,
            hint,
            http,
        })
    }

    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Value> {
        self.json(self.request(Method::GET, path)).await
    }

    /// With a query, each name and value as it is.
    pub(crate) async fn ask(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        self.json(self.request(Method::GET, path).query(query))
            .await
    }

    /// `None` when there is no such thing.
    pub(crate) async fn find(&self, path: &str) -> Result<Option<Value>> {
        let answer = self.send(self.request(Method::GET, path)).await?;
        if answer.status() == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        self.read(answer).await.map(Some)
    }

    pub(crate) async fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Value>,
    ) -> Result<Value> {
        let request = self.request(method, path);
        self.json(match body {
            Some(body) => request.json(body),
            None => request,
        })
        .await
    }

    /// The whole body as it is.
    pub(crate) async fn bytes(&self, path: &str, query: &[(&str, &str)]) -> Result<Vec<u8>> {
        let answer = self
            .send(self.request(Method::GET, path).query(query))
            .await?;
        if !answer.status().is_success() {
            return Err(refused(self.name, answer).await);
        }
        Ok(answer.bytes().await?.to_vec())
    }

    /// An answer of any size, which takes as long as it takes, to be read piece by piece.
    pub(crate) async fn download(&self, path: &str) -> Result<Response> {
        let request = self.http.get(format!("{}{path}", self.base));
        let answer = self.send(request).await?;
        if !answer.status().is_success() {
            return Err(refused(self.name, answer).await);
        }
        Ok(answer)
    }

    /// Sends a body of any size; the answer takes as long as it takes.
    pub(crate) async fn upload(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Body,
    ) -> Result<Value> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.json(request.query(query).body(body)).await
    }

    pub(crate) async fn delete(&self, path: &str, query: &[(&str, &str)]) -> Result<Value> {
        self.json(self.request(Method::DELETE, path).query(query))
            .await
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http
            .request(method, format!("{}{path}", self.base))
            .timeout(ANSWER_TIMEOUT)
    }

    async fn json(&self, request: RequestBuilder) -> Result<Value> {
        let answer = self.send(request).await?;
        self.read(answer).await
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response> {
        request.send().await.map_err(|error| {
            let lost = error.is_connect() || error.is_timeout();
            let error = anyhow::Error::from(error.without_url());
            if lost {
                error.context(format!(
                    "no answer from the {} at {}: is it running? Its address is taken from {}",
                    self.name, self.base, self.hint
                ))
            } else {
                error.context(format!("cannot talk to the {} at {}", self.name, self.base))
            }
        })
    }

    async fn read(&self, answer: Response) -> Result<Value> {
        if !answer.status().is_success() {
            return Err(refused(self.name, answer).await);
        }
        let body = answer.bytes().await?;
        if body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&body)
            .with_context(|| format!("the {} answered with something that is not JSON", self.name))
    }
}

/// What a daemon said against a request, in one sentence and a line for each detail.
async fn refused(name: &str, answer: Response) -> anyhow::Error {
    let status = answer.status();
    let body = answer.bytes().await.unwrap_or_default();
    let said: Value = serde_json::from_slice(&body).unwrap_or_default();
    let mut text = match said["message"].as_str() {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(&body).chars().take(500).collect(),
    };
    match &said["details"] {
        Value::String(details) => text = format!("{text}: {details}"),
        Value::Array(details) => {
            for detail in details {
                let path = detail["path"].as_str().unwrap_or("/");
                for error in detail["errors"].as_array().into_iter().flatten() {
                    text = format!("{text}\n  {path}: {}", error.as_str().unwrap_or_default());
                }
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => {}
    }
    let todo = if status == StatusCode::UNAUTHORIZED {
        "\nshow a token with --token-file or METE_TOKEN_FILE, or a password with --user"
    } else if status == StatusCode::CONFLICT && said["deployments"].is_array() {
        "\nwait for the deployment (`mete deployment list`), or say --force to replace it"
    } else {
        ""
    };
    anyhow!("the {name} refused ({status}): {text}{todo}")
}

/// A name as part of a path: everything but letters, digits, `-._~` and slashes is written as `%` and its number.
pub(crate) fn in_path(name: &str) -> String {
    let mut path = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("%{byte:02X}"));
        }
    }
    path
}

/// `/web` for `web` and `/web`.
pub(crate) fn app_path(id: &str) -> Result<String> {
    let id = id.trim_matches('/');
    if id.is_empty() || id.contains(['?', '#', '%', ' ']) {
        bail!(
            "bad app id {id:?}: lower-case letters, digits, dots and dashes, parts divided by slashes"
        );
    }
    Ok(format!("/{id}"))
}
