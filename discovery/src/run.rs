//! The daemon: state directory, HAProxy program, port, and the tasks that do the work.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use mete_daemon::auth::{Credentials, Token, TokenError};
use mete_daemon::descriptors;
use mete_daemon::http_client;
use mete_daemon::metrics as metrics_routes;
use mete_daemon::server::{self, BindError};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use crate::acks;
use crate::config::Options;
use crate::haproxy::configuration::{Folder, FolderError};
use crate::haproxy::render::Layout;
use crate::haproxy::template::{Template, TemplateError};
use crate::metrics::{Metrics, Status};
use crate::sync::{Keeper, LaunchError, Parts};
use crate::watch::{Watched, follow};

/// The oldest HAProxy whose runtime API can delete servers that came from the file.
const OLDEST: (u32, u32) = (2, 6);

/// For `haproxy -v`.
const VERSION_DEADLINE: Duration = Duration::from_secs(5);

/// For opening a connection to the service framework.
const CONNECT_DEADLINE: Duration = Duration::from_secs(3);

/// Where a bare program name is looked for besides PATH: users other than root often lack these.
const MORE_FOLDERS: [&str; 2] = ["/usr/sbin", "/usr/local/sbin"];

/// Why the sync could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The state directory cannot be used.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// The template cannot be used.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// The token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// HAProxy did not come to run.
    #[error(transparent)]
    Launch(#[from] LaunchError),
    /// There is no HAProxy program.
    #[error("cannot run {} (install haproxy, or name the program with --haproxy)", binary.display())]
    NoHaproxy {
        /// The program.
        binary: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The HAProxy program is too old, or something else.
    #[error("{} is not haproxy {}.{} or newer: {said:?}", binary.display(), OLDEST.0, OLDEST.1)]
    WrongHaproxy {
        /// The program.
        binary: PathBuf,
        /// Its first line.
        said: String,
    },
    /// The server's task broke.
    #[error("the server's task broke")]
    Panic(#[source] tokio::task::JoinError),
    /// There is no HTTP client.
    #[error("cannot make an http client")]
    Client(#[source] reqwest::Error),
}

/// Runs the sync until `shutdown`.
///
/// # Errors
/// When something that it needs cannot be had at the start. Later faults are logged and tried again.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    descriptors::raise();
    let template = Template::load(options.template.as_deref())?;
    let token = options.listen.token()?;
    let binary = find_haproxy(&options.haproxy).await?;
    let folder = Folder::open(&options.state_dir, &binary)?;
    let listener = server::bind(options.listen.address(options.port)).await?;
    let mut registry = Registry::default();
    let metrics = Arc::new(Metrics::register(&mut registry));
    let client = http_client::plain()
        .default_headers(Credentials::new(token.as_ref()).headers())
        .connect_timeout(CONNECT_DEADLINE)
        .build()
        .map_err(RunError::Client)?;

    let (known_in, known) = watch::channel(Watched::default());
    let (to_tell, told) = watch::channel(None);
    let (status, status_out) = watch::channel(Status::default());
    let proxy_id = options.proxy_id();
    let parts = Parts {
        layout: layout(&options, &folder),
        folder,
        template,
        known,
        to_tell,
        status,
        metrics: metrics.clone(),
        proxy_id: proxy_id.clone(),
        stop_on_exit: options.stop_haproxy_on_exit,
    };

    let end = shutdown.child_token();
    let _end_of_all = end.clone().drop_guard();
    let tasks = TaskTracker::new();
    tasks.spawn(follow(
        client.clone(),
        options.services.clone(),
        known_in,
        end.clone(),
    ));
    tasks.spawn(acks::deliver(
        client,
        options.services.clone(),
        proxy_id,
        told,
        metrics,
        end.clone(),
    ));
    let router = Router::new().route("/state", get(move || state(status_out.clone())));
    let router = router.merge(metrics_routes::routes(Arc::new(registry)));
    if let Ok(address) = listener.local_addr() {
        info!(%address, "listening");
    }
    let serving = tasks.spawn(serve(listener, router, token, end.clone()));
    let synced = Keeper::new(parts).run(end.clone()).await;
    end.cancel();
    tasks.close();
    tasks.wait().await;
    synced?;
    serving.await.map_err(RunError::Panic)
}

/// Serves until the end; a server that breaks is the end of the sync.
async fn serve(
    listener: TcpListener,
    router: Router,
    token: Option<Token>,
    end: CancellationToken,
) {
    let _end_of_all = end.clone().drop_guard();
    server::serve(listener, server::http(router), token, end).await;
}

async fn state(status: watch::Receiver<Status>) -> axum::Json<Status> {
    axum::Json(status.borrow().clone())
}

fn layout(options: &Options, folder: &Folder) -> Layout {
    Layout {
        admin_socket: folder.admin_socket(),
        folder: folder.path().to_owned(),
        http: options.http_bind,
        stats: options.stats_bind,
        service_ip: options.service_bind,
        service_port_shift: options.service_port_shift,
        hard_stop_after: options.hard_stop_after,
    }
}

/// The program, once it has said that it is an HAProxy that will do.
async fn find_haproxy(named: &Path) -> Result<PathBuf, RunError> {
    let is_bare = named.components().count() == 1;
    let further = MORE_FOLDERS
        .iter()
        .filter(|_| is_bare)
        .map(|folder| Path::new(folder).join(named));
    let mut missing = None;
    for binary in std::iter::once(named.to_owned()).chain(further) {
        let mut command = Command::new(&binary);
        command.arg("-v").stdin(Stdio::null()).kill_on_drop(true);
        let asked = timeout(VERSION_DEADLINE, command.output()).await;
        let output = match asked.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(output) => output,
            Err(source) => {
                missing.get_or_insert(RunError::NoHaproxy { binary, source });
                continue;
            }
        };
        let said = String::from_utf8_lossy(&output.stdout)
            .lines()
            .next()
            .unwrap_or_default()
            .to_owned();
        return match version(&said) {
            Some(version) if version >= OLDEST => Ok(binary),
            Some(_) | None => Err(RunError::WrongHaproxy { binary, said }),
        };
    }
    let none = || RunError::NoHaproxy {
        binary: named.to_owned(),
        source: io::ErrorKind::NotFound.into(),
    };
    Err(missing.unwrap_or_else(none))
}

/// `HAProxy version 2.6.12-1+deb12u3 2025/10/03 - …` → (2, 6)
fn version(said: &str) -> Option<(u32, u32)> {
    let mut words = said
        .split_whitespace()
        .skip_while(|word| *word != "version");
    let mut numbers = words.nth(1)?.split('.').map(|part| {
        part.chars()
            .take_while(char::is_ascii_digit)
            .collect::<String>()
    });
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_haproxy_says() {
        assert_eq!(
            version("HAProxy version 2.6.12-1+deb12u3 2025/10/03 - https://haproxy.org/"),
            Some((2, 6))
        );
        assert_eq!(version("HA-Proxy version 1.8.0 2017/11/26"), Some((1, 8)));
        assert_eq!(version("HAProxy version 3.3-dev1 2025"), Some((3, 3)));
        assert_eq!(version("nginx"), None);
    }
}
