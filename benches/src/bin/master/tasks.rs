//! What tasks are: of 300 bytes, with three labels, each another. Whatever many have alike is encoded once.

use bytes::Bytes;
use mete_proto::mesos::v1 as mesos;
use prost::Message as _;

use crate::wire::{TaskInfo, encoded};

/// CPUs of a task, in thousandths.
pub(crate) const MILLICPUS: u64 = 100;
/// What the encoded definition of a task has at least, with its labels.
const BYTES: usize = 300;
/// Apps that tasks say they are of.
const APPS: u64 = 1_000;

/// What they are made of.
pub(crate) struct Tasks {
    resources: Vec<Bytes>,
    command: Bytes,
    /// By app.
    labels: Vec<Bytes>,
    filler: Bytes,
}

impl Tasks {
    pub(crate) fn new() -> Self {
        let scalar = |name: &str, value: f64| {
            encoded(&mesos::Resource {
                name: name.to_owned(),
                r#type: mesos::value::Type::Scalar.into(),
                scalar: Some(mesos::value::Scalar { value }),
                ..mesos::Resource::default()
            })
        };
        let command = mesos::CommandInfo {
            value: Some("exec sleep 1000".to_owned()),
            ..mesos::CommandInfo::default()
        };
        Self {
            resources: vec![scalar("cpus", MILLICPUS as f64 / 1e3), scalar("mem", 32.0)],
            command: encoded(&command),
            labels: (0..APPS).map(labels).collect(),
            filler: vec![b'.'; BYTES].into(),
        }
    }

    /// The task of this number.
    pub(crate) fn task(&self, number: u64, task_id: mesos::TaskId, agent_id: &Bytes) -> TaskInfo {
        let mut task = TaskInfo {
            name: Bytes::from_static(b"load"),
            task_id,
            agent_id: agent_id.clone(),
            resources: self.resources.clone(),
            data: Bytes::new(),
            command: self.command.clone(),
            labels: self.labels[(number % APPS) as usize].clone(),
        };
        let missing = BYTES.saturating_sub(task.encoded_len() + 3);
        task.data = self.filler.slice(..missing);
        task
    }
}

fn labels(app: u64) -> Bytes {
    let label = |key: &str, value: String| mesos::Label {
        key: key.to_owned(),
        value: Some(value),
    };
    encoded(&mesos::Labels {
        labels: vec![
            label("team", format!("t{}", app % 50)),
            label("app", format!("/load/app-{app}")),
            label("version", "2026-11-29T12:00:00.000Z".to_owned()),
        ],
    })
}
