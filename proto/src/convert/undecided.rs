//! What a task's framework said of it that neither master nor agent decides on in these words: it lies in the message as it
//! came, and is told to whoever asks.

use mete_model::TaskSpec;
use prost::Message;

use crate::mesos::v1 as wire;

/// The fields of [`wire::TaskInfo`] by their numbers there; to read these alone takes a fraction of the time and of the memory.
#[derive(Clone, PartialEq, Message)]
pub struct Undecided {
    /// How it is seen whether the task is healthy.
    #[prost(message, optional, boxed, tag = "8")]
    pub health_check: Option<Box<wire::HealthCheck>>,
    /// The container around it.
    #[prost(message, optional, boxed, tag = "9")]
    pub container: Option<Box<wire::ContainerInfo>>,
    /// How others find it.
    #[prost(message, optional, tag = "11")]
    pub discovery: Option<wire::DiscoveryInfo>,
    /// How it is ended.
    #[prost(message, optional, tag = "12")]
    pub kill_policy: Option<wire::KillPolicy>,
}

impl Undecided {
    /// Of a task; nothing of one that came without a message.
    pub fn of(task: &TaskSpec) -> Self {
        Self::decode(task.original.clone()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_those_of_the_message() {
        let info = wire::TaskInfo {
            name: "web".to_owned(),
            health_check: Some(Box::new(wire::HealthCheck {
                delay_seconds: Some(3.0),
                ..wire::HealthCheck::default()
            })),
            container: Some(Box::new(wire::ContainerInfo {
                hostname: Some("h".to_owned()),
                ..wire::ContainerInfo::default()
            })),
            discovery: Some(wire::DiscoveryInfo {
                name: Some("d".to_owned()),
                ..wire::DiscoveryInfo::default()
            }),
            kill_policy: Some(wire::KillPolicy {
                grace_period: Some(wire::DurationInfo { nanoseconds: 7 }),
            }),
            ..wire::TaskInfo::default()
        };

        let read = Undecided::decode(info.encode_to_vec().as_slice());

        let expected = Undecided {
            health_check: info.health_check,
            container: info.container,
            discovery: info.discovery,
            kill_policy: info.kill_policy,
        };
        assert_eq!(read, Ok(expected));
    }
}
