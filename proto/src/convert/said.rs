//! What a task's framework said of it that nobody decides on when the task is launched, read where it lies: in the message as
//! it came. Whoever tells of a hundred thousand tasks makes none of their messages anew.

use std::collections::BTreeMap;

use mete_model::TaskLimits;
use prost::Message;

use super::task_limits;
use crate::encoded;
use crate::json::number_of;
use crate::mesos::v1 as wire;

/// A task's `mesos.v1.TaskInfo` as it came, looked through once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Said<'a> {
    /// For people.
    pub name: &'a str,
    /// As whom its command runs; `None`: as its framework says.
    pub user: Option<&'a str>,
    labels: Option<&'a [u8]>,
    discovery: Option<&'a [u8]>,
    container: Option<&'a [u8]>,
    health_check: Option<&'a [u8]>,
    kill_policy: Option<&'a [u8]>,
    /// The whole message, when there are limits in it.
    limited: Option<&'a [u8]>,
}

/// The limits by their number in [`wire::TaskInfo`].
#[derive(Clone, PartialEq, Message)]
struct Limits {
    #[prost(btree_map = "string, message", tag = "15")]
    limits: BTreeMap<String, wire::value::Scalar>,
}

impl<'a> Said<'a> {
    /// Of a task; nothing of one that came without a message.
    pub fn of(original: &'a [u8]) -> Self {
        const NAME: u32 = number_of::<wire::TaskInfo>("name");
        const COMMAND: u32 = number_of::<wire::TaskInfo>("command");
        const LABELS: u32 = number_of::<wire::TaskInfo>("labels");
        const DISCOVERY: u32 = number_of::<wire::TaskInfo>("discovery");
        const CONTAINER: u32 = number_of::<wire::TaskInfo>("container");
        const HEALTH_CHECK: u32 = number_of::<wire::TaskInfo>("health_check");
        const KILL_POLICY: u32 = number_of::<wire::TaskInfo>("kill_policy");
        const LIMITS: u32 = number_of::<wire::TaskInfo>("limits");
        let mut said = Self::default();
        for (number, held) in encoded::delimited(original) {
            match number {
                NAME => said.name = text(held),
                COMMAND => said.user = user(held),
                LABELS => said.labels = Some(held),
                DISCOVERY => said.discovery = Some(held),
                CONTAINER => said.container = Some(held),
                HEALTH_CHECK => said.health_check = Some(held),
                KILL_POLICY => said.kill_policy = Some(held),
                LIMITS => said.limited = Some(original),
                _ => {}
            }
        }
        said
    }

    /// For people and tools, in the order given; a label may have no value.
    pub fn labels(&self) -> impl Iterator<Item = (&'a str, Option<&'a str>)> + use<'a> {
        const LABELS: u32 = number_of::<wire::Labels>("labels");
        const KEY: u32 = number_of::<wire::Label>("key");
        const VALUE: u32 = number_of::<wire::Label>("value");
        let all = encoded::delimited(self.labels.unwrap_or_default());
        let labels = all.filter(|(number, _)| *number == LABELS);
        labels.map(|(_, label)| {
            let mut said = ("", None);
            for (number, held) in encoded::delimited(label) {
                match number {
                    KEY => said.0 = text(held),
                    VALUE => said.1 = Some(text(held)),
                    _ => {}
                }
            }
            said
        })
    }

    /// How others find the task.
    pub fn discovery(&self) -> Option<wire::DiscoveryInfo> {
        wire::DiscoveryInfo::decode(self.discovery?).ok()
    }

    /// The container around it.
    pub fn container(&self) -> Option<wire::ContainerInfo> {
        wire::ContainerInfo::decode(self.container?).ok()
    }

    /// How it is seen whether the task is healthy.
    pub fn health_check(&self) -> Option<wire::HealthCheck> {
        wire::HealthCheck::decode(self.health_check?).ok()
    }

    /// How it is ended.
    pub fn kill_policy(&self) -> Option<wire::KillPolicy> {
        wire::KillPolicy::decode(self.kill_policy?).ok()
    }

    /// How much more than its resources it may have.
    pub fn limits(&self) -> TaskLimits {
        let limits = self.limited.and_then(|all| Limits::decode(all).ok());
        let limits = limits.map(|said| task_limits::read(&said.limits));
        limits.and_then(Result::ok).unwrap_or_default()
    }

    /// Appends all but the name to a [`wire::Task`] that is being written, and as whom it runs; in the order of its numbers,
    /// all of which come after those of what else there is in it.
    pub fn put_into_task(&self, user: Option<&str>, out: &mut Vec<u8>) {
        const LABELS: u32 = number_of::<wire::Task>("labels");
        const DISCOVERY: u32 = number_of::<wire::Task>("discovery");
        const CONTAINER: u32 = number_of::<wire::Task>("container");
        const HEALTH_CHECK: u32 = number_of::<wire::Task>("health_check");
        const KILL_POLICY: u32 = number_of::<wire::Task>("kill_policy");
        const LIMITS_THERE: u32 = number_of::<wire::TaskInfo>("limits");
        const LIMITS: u32 = number_of::<wire::Task>("limits");
        const USER: u32 = number_of::<wire::Task>("user");
        for (number, held) in [
            (LABELS, self.labels),
            (DISCOVERY, self.discovery),
            (CONTAINER, self.container),
            (USER, user.map(str::as_bytes)),
            (HEALTH_CHECK, self.health_check),
            (KILL_POLICY, self.kill_policy),
        ] {
            if let Some(held) = held {
                encoded::put_delimited(out, number, held);
            }
        }
        for (number, held) in encoded::delimited(self.limited.unwrap_or_default()) {
            if number == LIMITS_THERE {
                encoded::put_delimited(out, LIMITS, held);
            }
        }
    }
}

fn user(command: &[u8]) -> Option<&str> {
    const USER: u32 = number_of::<wire::CommandInfo>("user");
    let fields = encoded::delimited(command);
    let users = fields.filter(|(number, _)| *number == USER);
    users.last().map(|(_, held)| text(held))
}

/// What is no text was taken for none when the message came.
fn text(held: &[u8]) -> &str {
    std::str::from_utf8(held).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info() -> wire::TaskInfo {
        let label = |key: &str, value: Option<&str>| wire::Label {
            key: key.to_owned(),
            value: value.map(str::to_owned),
        };
        wire::TaskInfo {
            name: "web".to_owned(),
            command: Some(wire::CommandInfo {
                value: Some("run".to_owned()),
                user: Some("www".to_owned()),
                ..wire::CommandInfo::default()
            }),
            labels: Some(wire::Labels {
                labels: vec![label("a", Some("1")), label("b", None)],
            }),
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
            limits: [
                ("cpus", wire::value::Scalar { value: 2.0 }),
                ("mem", wire::value::Scalar { value: 64.0 }),
            ]
            .map(|(name, scalar)| (name.to_owned(), scalar))
            .into(),
            data: Some(b"for its executor".as_slice().into()),
            ..wire::TaskInfo::default()
        }
    }

    #[test]
    fn what_was_said_is_found_where_it_lies() {
        let info = info();
        let encoded = info.encode_to_vec();
        let said = Said::of(&encoded);
        assert_eq!((said.name, said.user), ("web", Some("www")));
        let labels: Vec<_> = said.labels().collect();
        assert_eq!(labels, [("a", Some("1")), ("b", None)]);
        assert_eq!(said.discovery(), info.discovery);
        assert_eq!(said.container(), info.container.map(|one| *one));
        assert_eq!(said.health_check(), info.health_check.map(|one| *one));
        assert_eq!(said.kill_policy(), info.kill_policy);
        assert_eq!(task_limits::to_wire(&said.limits()), info.limits);
    }

    #[test]
    fn a_task_is_told_with_all_that_was_said() {
        let info = info();
        let mut told = Vec::new();
        Said::of(&info.encode_to_vec()).put_into_task(Some("www"), &mut told);
        let expected = wire::Task {
            user: Some("www".to_owned()),
            labels: info.labels,
            discovery: info.discovery,
            container: info.container,
            health_check: info.health_check,
            kill_policy: info.kill_policy,
            limits: info.limits,
            ..wire::Task::default()
        };
        assert_eq!(wire::Task::decode(told.as_slice()), Ok(expected));
    }

    #[test]
    fn of_what_came_without_a_message_nothing_is_said() {
        assert_eq!(Said::of(&[]), Said::default());
        assert_eq!(Said::of(&[0xff, 0xff]), Said::default());
        assert_eq!(Said::default().limits(), TaskLimits::default());
    }
}
