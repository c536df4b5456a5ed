//! A question to the masters' operator service, put to one after the other until one answers.
//!
//! Each is a connection of its own, so that none stands in the way of calls and events.

use std::time::Duration;

use mete_proto::mete::v1::operator_client::OperatorClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::connection::Connection;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// No master could be reached in time.
    #[error("no master answers")]
    NoMaster,
    /// A master answers that it cannot; masters of before know no such question.
    #[error("the master says: {}", .0.message())]
    Refused(#[from] Box<Status>),
}

/// A master that can be asked.
pub(crate) type Master = OperatorClient<InterceptedService<Channel, Authorized>>;

/// Says with each question who asks.
#[derive(Clone)]
pub(crate) struct Authorized(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorized {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            let headers = request.metadata_mut();
            headers.insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// What the first master says that answers. Each is given up after `patience`.
pub(crate) async fn first<T, A: Future<Output = Result<T, Status>>>(
    connection: &Connection,
    patience: Duration,
    question: impl Fn(Master) -> A,
) -> Result<T, AskError> {
    let mut last = AskError::NoMaster;
    for master in &connection.masters {
        let asking = async {
            let channel = master.connect().await.map_err(|_| AskError::NoMaster)?;
            let authorized = Authorized(connection.authorization.clone());
            let master = OperatorClient::with_interceptor(channel, authorized);
            let answer = question(master).await;
            answer.map_err(|status| AskError::Refused(Box::new(status)))
        };
        match tokio::time::timeout(patience, asking).await {
            Ok(Ok(answer)) => return Ok(answer),
            Ok(Err(error)) => last = error,
            Err(_) => {} // silent
        }
    }
    Err(last)
}
