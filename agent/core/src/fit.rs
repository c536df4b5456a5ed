//! Whether what an agent is started with is enough for the tasks that have outlived the one before.
//!
//! An agent may come back with other resources: more of them are offered, less of them as long as its tasks have theirs.
//! Reservations and volumes are the master's to know, which makes them again out of what the agent brings, or refuses it.

use mete_model::Resources;

use crate::input::{Findings, Found};
use crate::node::Node;

impl Node {
    /// What the tasks that outlived the agent before lack when the agent has `total`, in words as `cpus 2 asked, 0.5
    /// there`. Empty: they fit. To be asked before [`Input::Recovered`](crate::Input::Recovered), of which nothing is
    /// decided here.
    pub fn lacking(&self, total: &Resources, findings: &Findings) -> Vec<String> {
        total.clone().with_devices().shortages(&self.held(findings))
    }

    /// What tasks that run, or wait for others of their group, hold of the agent, and their executors.
    fn held(&self, findings: &Findings) -> Resources {
        let before = &self.identity.boot_id;
        if !before.is_empty() && *before != findings.boot_id {
            return Resources::none(); // The machine was restarted: nothing runs.
        }
        let stays = self.tasks.iter().filter(|task| {
            if task.is_delegated() {
                return task.is_live(); // As long as its executor lives.
            }
            let found = findings.found.get(&task.key);
            task.is_live()
                && match found {
                    Some(Found::Running) => true,
                    Some(Found::NeverStarted) => task.executor.is_some(),
                    Some(Found::Ended(_) | Found::Vanished) | None => false,
                }
        });
        let tasks = stays.map(|task| &task.spec.resources);
        let executors = self.executors.shared();
        let executors = executors.values().map(|executor| &executor.spec.resources);
        let own = self.custom_executors.iter().map(|one| &one.spec.resources);
        let executors = executors.chain(own);
        // Summed with their tags, so that a shared volume counts once, however tasks see it.
        let all = tasks.chain(executors).fold(Resources::none(), |sum, one| {
            sum.plus(&one.with_volumes_as_in(&sum))
        });
        all.as_the_agent_has_it()
    }
}
