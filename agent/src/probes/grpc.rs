//! One question of `grpc.health.v1`: SERVING passes.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use mete_daemon::chain;
use tokio::sync::Mutex;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tower::service_fn;

use super::Target;
use super::connection;

/// Asks about a service, or about the whole server when it has no name.
pub(super) async fn check(target: &Target, port: u16, service: &str) -> Result<(), String> {
    let connection = connection::open(target, port).await?;
    let who = format!("gRPC health of {:?} at {}", service, connection.address);
    let endpoint = Endpoint::from_shared(format!("http://{}", connection.address));
    let endpoint = endpoint.map_err(|error| format!("{who}: {error}"))?;
    // One connection, which is there already: who wants a second one finds none.
    let stream = Arc::new(Mutex::new(Some(connection.stream()?)));
    let connector = service_fn(move |_| {
        let stream = Arc::clone(&stream);
        async move {
            let gone = || std::io::Error::from(std::io::ErrorKind::NotConnected);
            let stream = stream.lock().await.take();
            stream.map(TokioIo::new).ok_or_else(gone)
        }
    });
    let channel = endpoint.connect_with_connector(connector).await;
    let channel = channel.map_err(|error| format!("{who}: {}", chain(&error)))?;
    let question = HealthCheckRequest {
        service: service.to_owned(),
    };
    let answer = HealthClient::new(channel).check(question).await;
    let answer = answer.map_err(|status| {
        let (code, message) = (status.code(), status.message());
        format!("{who}: {code:?}: {message}")
    })?;
    match answer.into_inner().status() {
        ServingStatus::Serving => Ok(()),
        other @ (ServingStatus::Unknown
        | ServingStatus::NotServing
        | ServingStatus::ServiceUnknown) => Err(format!("{who}: {}", other.as_str_name())),
    }
}
