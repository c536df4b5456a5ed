//! The master has removed us. What is wanted stays so: with the next subscription, under another id, all of it is launched
//! anew.

use mete_model::Timestamp;
use mete_model::machine::Effects;

use crate::effects::Reply;
use crate::orchestrator::Orchestrator;
use crate::record::Record;
use crate::state::instances::InstanceId;

impl Orchestrator {
    /// Nothing is ours any more: tasks are killed by the master, and what instances held bears the name of a framework that
    /// is no more, so it is left to operators.
    pub(crate) fn removed(&mut self, now: Timestamp, out: &mut Effects<Self>) -> Reply {
        self.disconnected(now, out);
        out.store.push(Record::FrameworkRemoved);
        self.master.framework = None;
        self.master.strays.clear();
        let releases = std::mem::take(&mut self.releases);
        let given_up = releases.iter().map(|(id, _)| id.clone());
        out.store.extend(given_up.map(Record::ReleaseRemoved));
        let instances = self.apps.iter().flat_map(|app| app.instances.values());
        let placed = instances.filter(|instance| instance.is_placed());
        let placed: Vec<InstanceId> = placed.map(|instance| instance.id.clone()).collect();
        for id in &placed {
            self.end_instance(now, id, "Killed", out);
        }
        Reply::Done
    }
}
