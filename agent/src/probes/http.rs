//! One GET. A status from 200 to 399 passes, or one of those that the check names; redirects are
//! answers, not orders.

use std::error::Error;
use std::net::SocketAddr;

use reqwest::redirect::Policy;

/// A client that keeps no connection, follows nothing, and asks no proxy: the task itself is meant.
pub(super) fn client() -> Result<reqwest::Client, reqwest::Error> {
    mete_daemon::http_client::plain()
        .redirect(Policy::none())
        .pool_max_idle_per_host(0)
        .user_agent(concat!("mete-health-check/", env!("CARGO_PKG_VERSION")))
        .build()
}

/// Asks; the body is not read.
pub(super) async fn get(
    client: &reqwest::Client,
    address: SocketAddr,
    path: &str,
    statuses: &[u16],
) -> Result<(), String> {
    let answer = client.get(format!("http://{address}{path}")).send().await;
    let status = answer
        .map_err(|error| format!("GET http://{address}{path}: {}", innermost(&error)))?
        .status()
        .as_u16();
    let passes = if statuses.is_empty() {
        (200..400).contains(&status)
    } else {
        statuses.contains(&status)
    };
    if passes {
        Ok(())
    } else {
        Err(format!("GET http://{address}{path}: status {status}"))
    }
}

/// The cause at the bottom, which is the one that tells something: `connection refused`.
fn innermost(error: &dyn Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}
