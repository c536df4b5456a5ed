//! The configuration's text from a template: the built-in one, or one that the user gave.
//!
//! Invariants: a name that the template uses and that is not given is an error, never an empty text; what a template sees
//! is exactly [`Context`], whose words have been checked on their way into a [`Plan`](super::backends::Plan).

use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior, Value};
use serde::Serialize;

/// The template that comes with the program.
pub const BUILT_IN: &str = include_str!("haproxy.cfg.j2");

/// The name of the one template in its environment; it shows in error texts.
const NAME: &str = "haproxy.cfg";

/// A larger file is no template.
const MAX_TEMPLATE_BYTES: u64 = 1 << 20;

/// Why there is no text.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("template {} cannot be read", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is not a template's size.
    #[error("template {} is larger than {MAX_TEMPLATE_BYTES} bytes", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// It does not parse, or uses what is not given. The text names line and cause.
    #[error("the template cannot be used: {0:#}")]
    Template(#[from] minijinja::Error),
}

/// What a template can use.
#[derive(Debug, Serialize)]
pub struct Context<'a> {
    /// The frontend that all HTTP services with a host name share.
    pub http: Bind,
    /// The stats page.
    pub stats: Bind,
    /// How long an old worker may end its connections, in milliseconds.
    pub hard_stop_after_ms: u128,
    /// The file that maps host names and paths to backends.
    pub routes: &'a str,
    /// By service port.
    pub backends: Vec<BackendContext<'a>>,
}

/// Where a frontend listens.
#[derive(Debug, Serialize)]
pub struct Bind {
    /// Address and port.
    pub bind: String,
}

/// One service.
#[derive(Debug, Serialize)]
pub struct BackendContext<'a> {
    /// `web_10000`.
    pub name: &'a str,
    /// `/web`, with nothing in it that ends a line.
    pub app: String,
    /// The service port.
    pub port: u16,
    /// Where its frontend listens.
    pub bind: String,
    /// `http` or `tcp`.
    pub mode: &'static str,
    /// HAProxy's word for how a server is picked.
    pub balance: &'static str,
    /// Whether that is a hash.
    pub hashed: bool,
    /// Whether clients stay with their server.
    pub sticky: bool,
    /// Makes the cookies.
    pub cookie_key: String,
    /// Those that take sessions.
    pub servers: Vec<ServerContext<'a>>,
}

/// One server.
#[derive(Debug, Serialize)]
pub struct ServerContext<'a> {
    /// Made from the task id.
    pub name: &'a str,
    /// IP address and port.
    pub address: String,
    /// Checks; the same that servers added at run time get.
    pub options: &'static str,
    /// The task id, with nothing in it that ends a line.
    pub task: String,
}

/// A template that parses.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
}

impl Template {
    /// Reads the template from a file, or takes the one that comes with the program.
    ///
    /// # Errors
    /// When the file cannot be read or does not parse.
    pub fn load(path: Option<&Path>) -> Result<Self, TemplateError> {
        let Some(path) = path else {
            return Self::parse(BUILT_IN.to_owned());
        };
        let unreadable = |source| TemplateError::Unreadable {
            path: path.to_owned(),
            source,
        };
        if std::fs::metadata(path).map_err(unreadable)?.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError::TooLarge {
                path: path.to_owned(),
            });
        }
        Self::parse(std::fs::read_to_string(path).map_err(unreadable)?)
    }

    /// Parses a template's text.
    ///
    /// # Errors
    /// When it does not parse.
    pub fn parse(source: String) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_syntax(
            SyntaxConfig::builder()
                .trim_blocks(true)
                .lstrip_blocks(true)
                .build()?,
        );
        environment.add_template_owned(NAME, source)?;
        Ok(Self { environment })
    }

    /// The text for this context.
    ///
    /// # Errors
    /// When the template uses what is not given.
    pub fn render(&self, context: &Context<'_>) -> Result<String, TemplateError> {
        Ok(self
            .environment
            .get_template(NAME)?
            .render(Value::from(Serde(context)))?)
    }
}
