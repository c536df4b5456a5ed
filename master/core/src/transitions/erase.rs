//! A volume was destroyed: its agent is told to erase it, again whenever it registers, until it says that nothing is left.
//!
//! ```text
//! DESTROY: being erased, on disk ─▶ told ─▶ erased: forgotten
//!                                    ▲ └─ the agent is lost, or fails: told again when it registers
//! ```

use std::collections::BTreeSet;

use mete_model::{AgentId, VolumeName};
use tracing::{debug, info, warn};

use crate::cluster::{Cluster, Out};
use crate::effects::MessageToAgent;
use crate::input::LinkId;
use crate::registry::Record;

impl Cluster {
    /// Volumes of an agent are not any more; what is on them is to go.
    pub(super) fn erase(&mut self, agent: &AgentId, volumes: BTreeSet<VolumeName>, out: &mut Out) {
        if volumes.is_empty() {
            return;
        }
        self.erasures.insert(agent, volumes.clone());
        let left = self.erasures.of(agent);
        out.store.push(Record::Erasing(agent.clone(), left));
        self.tell_agent(agent, MessageToAgent::EraseVolumes(volumes), out);
    }

    /// An agent is in: it hears what it has not answered for.
    pub(super) fn erase_again(&self, agent: &AgentId, out: &mut Out) {
        let left = self.erasures.of(agent);
        if !left.is_empty() {
            self.tell_agent(agent, MessageToAgent::EraseVolumes(left), out);
        }
    }

    /// An agent answers for a volume.
    pub(crate) fn volume_erased(
        &mut self,
        agent: &AgentId,
        link: LinkId,
        volume: &VolumeName,
        failure: Option<&str>,
        out: &mut Out,
    ) {
        if self.agents.on_link(agent, link).is_none() {
            self.count().stale_messages += 1;
            return;
        }
        if let Some(failure) = failure {
            warn!(%agent, %volume, failure, "volume is not erased yet");
        } else if self.erasures.remove(agent, volume) {
            info!(%agent, %volume, "volume erased");
            let left = self.erasures.of(agent);
            out.store.push(Record::Erasing(agent.clone(), left));
        } else {
            debug!(%agent, %volume, "volume was erased before");
        }
    }
}
