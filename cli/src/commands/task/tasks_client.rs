//! gRPC to the agent of a task, with errors that say what to do.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use mete_daemon::auth::Credentials;
use mete_proto::mete::v1::tasks_client::TasksClient;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status};

use super::find::Found;
use crate::client::Addresses;

/// From SYN to an open connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// An agent that has vanished without a word is known within twice this.
const KEEPALIVE: Duration = Duration::from_secs(10);

/// The service `mete.v1.Tasks` of an agent.
pub(super) type Client = TasksClient<InterceptedService<Channel, Credentials>>;

/// Connects to the agent of a task.
pub(super) async fn connect(addresses: &Addresses, found: &Found) -> Result<Client> {
    let credentials = addresses.credentials()?;
    let endpoint = Endpoint::from_shared(found.url.clone())
        .with_context(|| format!("the agent's address {:?} makes no sense", found.url))?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE);
    let channel = endpoint.connect().await.with_context(|| {
        format!(
            "no answer from the agent at {}: is it running, and reached from here?",
            found.url
        )
    })?;
    Ok(TasksClient::with_interceptor(channel, credentials))
}

/// Whether it is the connection that has broken; another may do better.
pub(super) fn is_broken(status: &Status) -> bool {
    // What the agent itself says has no cause here.
    std::error::Error::source(status).is_some()
        || matches!(status.code(), Code::Unavailable | Code::Cancelled)
}

/// What an agent said against a call.
pub(super) fn refused(status: &Status) -> anyhow::Error {
    // What the agent itself says has no cause here: this one comes from the connection.
    if let Some(cause) = std::error::Error::source(status) {
        return anyhow!("the connection to the agent has broken: {cause}");
    }
    match status.code() {
        Code::Unauthenticated => anyhow!(
            "the agent does not let us in: {}; give the token with --token-file or METE_TOKEN_FILE",
            status.message()
        ),
        Code::Unavailable | Code::Cancelled => {
            anyhow!(
                "the connection to the agent has broken: {}",
                status.message()
            )
        }
        Code::Unimplemented => anyhow!("the agent is of an older version: {}", status.message()),
        Code::Ok
        | Code::Unknown
        | Code::InvalidArgument
        | Code::DeadlineExceeded
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal
        | Code::DataLoss => anyhow!("{}", status.message()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_connection_is_told_as_one() {
        let cause = std::io::Error::other("reset by peer");
        let broken = refused(&Status::from_error(Box::new(cause)));
        let said = refused(&Status::internal("the shim is gone"));

        assert_eq!(
            broken.to_string(),
            "the connection to the agent has broken: reset by peer"
        );
        assert_eq!(said.to_string(), "the shim is gone");
    }
}
