//! What a path and a query say: which app, which flags, who asks.

use std::convert::Infallible;
use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Path, Query};
use axum::http::header::HOST;
use axum::http::request::Parts;
use mete_service_framework_core::input::Origin;
use mete_service_framework_core::spec::app::AppId;
use tonic::transport::server::TcpConnectInfo;

use super::failure::Failure;

/// The query, in the order given; keys may occur more than once.
pub(super) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Failure> {
        Query::try_from_uri(&parts.uri)
            .map(|Query(pairs)| Self(pairs))
            .map_err(|rejection| Failure::bad_request(rejection.body_text()))
    }
}

impl Params {
    /// Every value of a key.
    pub(super) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    /// The first value of a key.
    pub(super) fn first<'a>(&'a self, key: &'a str) -> Option<&'a str> {
        self.all(key).next()
    }

    /// A number within bounds, or what it is when nothing is said.
    pub(super) fn number(
        &self,
        key: &str,
        default: usize,
        bounds: RangeInclusive<usize>,
    ) -> Result<usize, Failure> {
        let Some(text) = self.first(key) else {
            return Ok(default);
        };
        let number = text.parse().ok().filter(|number| bounds.contains(number));
        number.ok_or_else(|| {
            let (first, last) = (bounds.start(), bounds.end());
            Failure::bad_request(format!(
                "query parameter {key} is '{text}', must be a number from {first} to {last}"
            ))
        })
    }

    /// A switch; upper and lower case do not matter (Python clients say `True`), and a key without value is off.
    pub(super) fn switch(&self, key: &str, default: bool) -> Result<bool, Failure> {
        match self.first(key).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false" | "") => Ok(false),
            Some(other) => Err(Failure::bad_request(format!(
                "query parameter {key} is '{other}', must be true or false"
            ))),
        }
    }
}

/// The part of the path that is not always the same.
pub(super) struct InPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for InPath {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(text)| Self(text))
            .map_err(|rejection| Failure::bad_request(rejection.body_text()))
    }
}

/// What part of an app a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The app itself.
    App(AppId),
    /// `restart`
    Restart(AppId),
    /// `versions`
    Versions(AppId),
    /// `versions/{version}`
    Version(AppId, String),
    /// `tasks`
    Tasks(AppId),
    /// `tasks/{task}`
    Task(AppId, String),
    /// `*`: all apps below a group; `None`: below the root.
    Below(Option<AppId>),
    /// `*/tasks`
    TasksBelow(Option<AppId>),
    /// No id of an app; as it came, made absolute, and what is wrong with it.
    Bad(String, &'static str),
}

impl Target {
    /// Reads what follows `/v2/apps/`. Slashes at either end do not matter.
    pub(super) fn parse(path: &str) -> Self {
        let path = path.trim_matches('/');
        let (head, last) = path.rsplit_once('/').unwrap_or(("", path));
        let (group, second) = head.rsplit_once('/').unwrap_or(("", head));
        match (second, last) {
            ("*", "tasks") => Self::below(group, Self::TasksBelow),
            (_, "*") => Self::below(head, Self::Below),
            (_, "restart") => Self::of(head, Self::Restart),
            (_, "versions") => Self::of(head, Self::Versions),
            (_, "tasks") => Self::of(head, Self::Tasks),
            ("versions", version) if !group.is_empty() => {
                Self::of(group, |id| Self::Version(id, version.to_owned()))
            }
            ("tasks", task) if !group.is_empty() => {
                Self::of(group, |id| Self::Task(id, task.to_owned()))
            }
            _ => Self::of(path, Self::App),
        }
    }

    /// The app itself.
    ///
    /// # Errors
    /// 404 when it is no id, 405 for the parts of an app.
    pub(super) fn into_app(self) -> Result<AppId, Failure> {
        match self {
            Self::App(id) => Ok(id),
            Self::Bad(id, _) => Err(Failure::no_such_app(id)),
            Self::Restart(_)
            | Self::Versions(_)
            | Self::Version(..)
            | Self::Tasks(_)
            | Self::Task(..)
            | Self::Below(_)
            | Self::TasksBelow(_) => Err(Failure::method_not_allowed()),
        }
    }

    fn of(id: &str, what: impl FnOnce(AppId) -> Self) -> Self {
        match AppId::new(id) {
            Ok(id) => what(id),
            Err(bad) => Self::Bad(format!("/{}", id.trim_matches('/')), bad.rule()),
        }
    }

    fn below(group: &str, what: impl FnOnce(Option<AppId>) -> Self) -> Self {
        if group.is_empty() {
            return what(None);
        }
        Self::of(group, |id| what(Some(id)))
    }
}

/// Who asks, and for what.
pub(super) struct Caller {
    /// The address of the client, with its port.
    pub(super) address: String,
    /// The path it asked for.
    pub(super) uri: String,
    /// `host:port` under which it reached us.
    pub(super) host: Option<String>,
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        let connection = parts.extensions.get::<TcpConnectInfo>();
        let address = connection.and_then(TcpConnectInfo::remote_addr);
        let host = parts.headers.get(HOST).and_then(|host| host.to_str().ok());
        Ok(Self {
            address: address.map_or_else(|| "unknown".to_owned(), |address| address.to_string()),
            uri: parts.uri.path().to_owned(),
            host: host
                .or_else(|| parts.uri.authority().map(|authority| authority.as_str()))
                .map(str::to_owned),
        })
    }
}

impl Caller {
    /// As events tell it: the address without its port.
    pub(super) fn origin(&self) -> Origin {
        let ip = self.address.rsplit_once(':').map_or("", |(ip, _)| ip);
        Origin {
            client_ip: ip.to_owned(),
            uri: self.uri.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> AppId {
        AppId::new(text).expect("good")
    }

    #[test]
    fn ids_in_paths_come_with_and_without_slashes_around_them() {
        for path in ["shop/web", "/shop/web", "shop/web/", "//shop/web//"] {
            assert_eq!(Target::parse(path), Target::App(id("/shop/web")), "{path}");
        }
        assert_eq!(Target::parse("/web/restart"), Target::Restart(id("/web")));
        assert_eq!(Target::parse("a/b/versions/"), Target::Versions(id("/a/b")));
        assert_eq!(
            Target::parse("a/versions/2026-01-01T00:00:00.000Z"),
            Target::Version(id("/a"), "2026-01-01T00:00:00.000Z".to_owned())
        );
        assert_eq!(Target::parse("a/tasks"), Target::Tasks(id("/a")));
        assert_eq!(
            Target::parse("a/tasks/t._app.1"),
            Target::Task(id("/a"), "t._app.1".to_owned())
        );
        assert_eq!(Target::parse("a/*"), Target::Below(Some(id("/a"))));
        assert_eq!(Target::parse("*"), Target::Below(None));
        assert_eq!(
            Target::parse("a/*/tasks"),
            Target::TasksBelow(Some(id("/a")))
        );
        assert_eq!(Target::parse("tasks/web"), Target::App(id("/tasks/web")));
        assert!(matches!(Target::parse("A B"), Target::Bad(text, _) if text == "/A B"));
        assert!(matches!(Target::parse("restart"), Target::Bad(..)));
        assert!(matches!(Target::parse("../../etc/passwd"), Target::Bad(..)));
    }
}
