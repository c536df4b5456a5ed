//! Asking the master what is reserved: a framework that labels its reservations finds them again, also those that it has
//! forgotten.

use std::time::Duration;

use mete_model::{AgentId, Resources};
use mete_proto::convert::resources;
use mete_proto::mesos::v1 as mesos;
use mete_proto::mete::v1::{GetReservedRequest, GetReservedResponse};
use tonic::Status;

pub use crate::ask::AskError;
use crate::ask::{self, Master};
use crate::connection::Connection;

/// What the first master that answers knows to be reserved under a label with this value, by agent; only of agents that are
/// there. Each master is given up after `patience`.
///
/// # Errors
/// [`AskError`] when none answers.
pub async fn under(
    connection: &Connection,
    label: (&str, &str),
    patience: Duration,
) -> Result<Vec<(AgentId, Resources)>, AskError> {
    let (key, value) = label;
    let asked = GetReservedRequest {
        label: mesos::Label {
            key: key.to_owned(),
            value: Some(value.to_owned()),
        },
    };
    let question = |mut master: Master| {
        let asked = asked.clone();
        async move {
            let mut answers = master.get_reserved(asked).await?.into_inner();
            let mut all = Vec::new();
            while let Some(answer) = answers.message().await? {
                all.extend(read(&answer));
            }
            Ok::<_, Status>(all)
        }
    };
    ask::first(connection, patience, question).await
}

/// One agent; `None`: it makes no sense.
fn read(answer: &GetReservedResponse) -> Option<(AgentId, Resources)> {
    let agent = (&answer.agent_id).try_into().ok()?;
    let reserved = resources::from_wire(&answer.resources).ok()?;
    Some((agent, reserved))
}
