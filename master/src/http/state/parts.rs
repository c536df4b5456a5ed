//! A large answer as the list of its parts, in their order. Two threads write one half of it each.

use std::ops::Range;

use mete_daemon::aside;
use mete_master_core::{Agent, Task};
use serde::Serialize;

use super::{agent_shape, task_shape};
use crate::sums::Sums;

/// What a usual task and a usual agent take as JSON. A guess too low costs a copy of megabytes, one too high costs nothing,
/// because memory that nothing is written to is not there; and both halves should take the same time.
const TASK_BYTES: usize = 640;
const AGENT_BYTES: usize = 2_048;

enum Part<'a> {
    /// Stands as it is.
    Text(Vec<u8>),
    Agent(&'a Agent),
    /// With the user of its framework.
    Task(&'a Task, &'a str),
}

/// The parts of one answer.
pub(super) struct Parts<'a> {
    sums: &'a Sums<'a>,
    all: Vec<Part<'a>>,
}

impl<'a> Parts<'a> {
    /// Nothing yet.
    pub(super) const fn new(sums: &'a Sums<'a>) -> Self {
        Self {
            sums,
            all: Vec::new(),
        }
    }

    /// What the answer is made with.
    pub(super) const fn sums(&self) -> &'a Sums<'a> {
        self.sums
    }

    /// Text, as it stands in JSON.
    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        match self.all.last_mut() {
            Some(Part::Text(before)) => before.extend_from_slice(bytes),
            Some(Part::Agent(_) | Part::Task(..)) | None => {
                self.all.push(Part::Text(bytes.to_vec()));
            }
        }
    }

    /// Something that is written whole.
    ///
    /// # Errors
    /// When it cannot be written as JSON, which plain structs always can.
    pub(super) fn shape(&mut self, shape: &impl Serialize) -> Result<(), serde_json::Error> {
        self.bytes(&serde_json::to_vec(shape)?);
        Ok(())
    }

    /// An object to which more fields are added before it is closed; it has some itself.
    ///
    /// # Errors
    /// As above.
    pub(super) fn open(&mut self, shape: &impl Serialize) -> Result<(), serde_json::Error> {
        let mut object = serde_json::to_vec(shape)?;
        object.pop();
        self.bytes(&object);
        Ok(())
    }

    /// One more agent of a list of agents.
    pub(super) fn agent(&mut self, agent: &'a Agent) {
        self.all.push(Part::Agent(agent));
    }

    /// One more task of a list of tasks.
    pub(super) fn task(&mut self, task: &'a Task, framework_user: &'a str) {
        self.all.push(Part::Task(task, framework_user));
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// As above.
    pub(super) fn write(&self) -> Result<Vec<u8>, serde_json::Error> {
        let half = self.all.iter().map(likely).sum::<usize>() / 2;
        let mut sum = 0;
        let first = self.all.iter().take_while(|part| {
            sum += likely(part);
            sum <= half
        });
        let middle = first.count();
        let (first, second) = aside::both(
            || self.written(0..middle, 2 * half),
            || self.written(middle..self.all.len(), half),
        );
        let (mut first, second) = (first?, second?);
        first.extend_from_slice(&second);
        Ok(first)
    }

    fn written(&self, range: Range<usize>, likely: usize) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = Vec::with_capacity(likely);
        for at in range {
            let before = at.checked_sub(1).map(|at| &self.all[at]);
            match (before, &self.all[at]) {
                (Some(Part::Agent(_)), Part::Agent(_)) | (Some(Part::Task(..)), Part::Task(..)) => {
                    out.push(b',');
                }
                (Some(Part::Text(_) | Part::Agent(_) | Part::Task(..)) | None, _) => {}
            }
            match &self.all[at] {
                Part::Text(text) => out.extend_from_slice(text),
                Part::Agent(agent) => {
                    serde_json::to_writer(&mut out, &agent_shape(agent, self.sums))?
                }
                Part::Task(task, user) => serde_json::to_writer(&mut out, &task_shape(task, user))?,
            }
        }
        Ok(out)
    }
}

const fn likely(part: &Part<'_>) -> usize {
    match part {
        Part::Text(text) => text.len(),
        Part::Agent(_) => AGENT_BYTES,
        Part::Task(..) => TASK_BYTES,
    }
}

#[cfg(test)]
mod tests {
    use mete_master_core::{Cluster, Input, LinkId, Registration, Registry, Settings, View};
    use mete_model::{AgentInfo, Machine as _, Timestamp};
    use mete_proto::mesos::v1 as wire;
    use serde_json::Value;

    use super::*;

    /// So many agents that have registered.
    fn view(agents: u64) -> View {
        let now = Timestamp::from_millis(1_000_000);
        let mut cluster = Cluster::recover(Settings::new("m", 1), Registry::default(), now);
        for number in 0..agents {
            let info = wire::AgentInfo {
                hostname: format!("host-{number}"),
                port: Some(5051),
                ..wire::AgentInfo::default()
            };
            let registration = Registration {
                link: LinkId(number),
                id: None,
                info: AgentInfo::try_from(&info).expect("good"),
                boot_id: None,
                version: String::new(),
                obeyed_epoch: 0,
                tasks: Vec::new(),
                executors: Vec::new(),
                exited: Vec::new(),
                frameworks: Vec::new(),
                unacknowledged: Vec::new(),
            };
            cluster.step(now, Input::RegisterAgent(Box::new(registration)));
        }
        cluster.view()
    }

    #[test]
    fn two_halves_are_one_answer_wherever_it_is_cut() {
        let view = view(9);
        let sums = Sums::of(&view);
        for (agents, before) in [(0, 0), (1, 0), (2, 0), (9, 0), (9, 3 * AGENT_BYTES)] {
            let mut parts = Parts::new(&sums);
            parts
                .open(&serde_json::json!({ "a": "b".repeat(before) }))
                .expect("plain");
            parts.text(",\"slaves\":[");
            let some = view.agents.values().take(agents);
            some.for_each(|agent| parts.agent(agent));
            parts.text("]}");

            let written = parts.write().expect("plain");

            let read: Value = serde_json::from_slice(&written).expect("JSON");
            let slaves = read["slaves"].as_array().expect("a list");
            let hosts = slaves.iter().map(|one| one["hostname"].as_str());
            let expected: Vec<String> =
                (0..agents).map(|number| format!("host-{number}")).collect();
            assert!(
                hosts.eq(expected.iter().map(|host| Some(host.as_str()))),
                "{read}"
            );
        }
    }
}
