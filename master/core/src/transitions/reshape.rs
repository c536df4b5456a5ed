//! Resources are reserved and made volumes, and stay so: the master keeps on disk what was made of each agent's resources,
//! and makes it again when the agent comes back. The agent itself knows only what it was started with; one that was started
//! with too little is not let in, so that no volume is forgotten with what is on it.

use std::collections::BTreeSet;

use mete_model::{AgentId, OperationId, Resources, Role, Tag, Timestamp};
use tracing::info;

use crate::cluster::{Cluster, Out};
use crate::effects::{Event, OperationOutcome, OperatorError, Reply};
use crate::input::AgentOperation;
use crate::operations::{self, Change, OperationError, OperationKind, Operator, Who};
use crate::registry::Record;
use crate::state::operations::DoneOperation;
use crate::transitions::accept::Bench;

impl Cluster {
    /// One operation of an ACCEPT. The framework hears how it went if it gave it a name; otherwise only of its failure.
    pub(super) fn reshape(
        &mut self,
        now: Timestamp,
        bench: &mut Bench,
        id: Option<OperationId>,
        (kind, asked): (OperationKind, &Resources),
        account: Option<&Role>,
        out: &mut Out,
    ) {
        let name = kind.as_str();
        let key = id.map(|id| (bench.framework.clone(), id));
        let is_free = key.as_ref().map_or(Ok(()), |key| self.name_is_free(key));
        let result = is_free
            .and_then(|()| account_is_the_offers(bench, account))
            .and_then(|()| self.try_reshape(bench, kind, asked, out));
        match result {
            Ok(made) => {
                info!(framework = %bench.framework, agent = %bench.agent, operation = name, resources = %made, "operation done");
                self.count().operations += 1;
                let Some(key) = key else { return };
                let done = DoneOperation {
                    key,
                    uuid: self.operations.new_uuid(self.settings.epoch),
                    agent: bench.agent.clone(),
                    kind,
                    asked: asked.clone(),
                    made,
                    at: now,
                };
                self.operation_done(now, done, out);
            }
            Err(why) => {
                info!(framework = %bench.framework, agent = %bench.agent, operation = name, why, "operation dropped");
                self.count().operations_dropped += 1;
                let event = match key {
                    Some((_, id)) => Event::Operation {
                        id,
                        agent: Some(bench.agent.clone()),
                        outcome: OperationOutcome::Error(why),
                    },
                    None => Event::Error(format!("{name} of {asked} dropped: {why}")),
                };
                self.tell_framework(&bench.framework, event, out);
            }
        }
    }

    /// What the resources are now, or why they are as they were.
    fn try_reshape(
        &mut self,
        bench: &mut Bench,
        kind: OperationKind,
        asked: &Resources,
        out: &mut Out,
    ) -> Result<Resources, String> {
        let gone = || format!("agent {} is not known any more", bench.agent);
        let agent = self.agents.get(&bench.agent).ok_or_else(gone)?;
        let in_use = self.in_use(kind, &bench.agent);
        let erasing = self.erasures.of(&bench.agent);
        let operator = Operator {
            pool: &bench.pool,
            total: &agent.info.resources,
            who: Who::Framework {
                role: &bench.role,
                principal: bench.info.principal.as_deref(),
                capabilities: &bench.info.capabilities,
            },
            in_use: &in_use,
            erasing: &erasing,
        };
        let Change { from, to } =
            operations::change(kind, asked, &operator).map_err(|error| error.to_string())?;
        let not_there = || "the offers do not hold it".to_owned();
        let pool = bench.pool.reshaped(&from, &to).ok_or_else(not_there)?;
        let total = agent.info.resources.reshaped(&from, &to);
        let total = total.ok_or_else(|| "the agent does not have it".to_owned())?;
        self.allocator
            .reshape(&bench.agent, &bench.framework, &bench.role, &from, &to)
            .map_err(|error| error.to_string())?;
        bench.pool = pool;
        self.reshaped(&bench.agent, kind, &from, total, out);
        Ok(to)
    }

    /// An operator's wish. Offers of the agent are withdrawn, the oldest first, until what it takes is free.
    pub(crate) fn reshape_agent(
        &mut self,
        now: Timestamp,
        operation: &AgentOperation,
        out: &mut Out,
    ) {
        let AgentOperation {
            agent: id,
            kind,
            resources: asked,
        } = operation;
        let mut result = self.try_reshape_free(id, *kind, asked, out);
        for offer in self.offers.of_agent(id) {
            match result {
                Err(OperatorError::Operation(
                    OperationError::NotThere(_) | OperationError::InUse(_),
                )) => {}
                Ok(()) | Err(_) => break,
            }
            self.rescind(now, &offer, out);
            result = self.try_reshape_free(id, *kind, asked, out);
        }
        match &result {
            Ok(()) => self.count().operations += 1,
            Err(_) => self.count().operations_dropped += 1,
        }
        info!(agent = %id, operation = kind.as_str(), resources = %asked, ?result, "an operator changes resources");
        out.reply = Some(match result {
            Ok(()) => Reply::Done,
            Err(error) => Reply::Failed(error),
        });
    }

    fn try_reshape_free(
        &mut self,
        id: &AgentId,
        kind: OperationKind,
        asked: &Resources,
        out: &mut Out,
    ) -> Result<(), OperatorError> {
        let unknown = || OperatorError::UnknownAgent(id.clone());
        let agent = self.agents.get(id).ok_or_else(unknown)?;
        if agent.link().is_none() {
            return Err(OperatorError::AgentAway(id.clone()));
        }
        let in_use = self.in_use(kind, id);
        let change = operations::change(
            kind,
            asked,
            &Operator {
                pool: self.allocator.free(id).ok_or_else(unknown)?,
                total: &agent.info.resources,
                who: Who::People,
                in_use: &in_use,
                erasing: &self.erasures.of(id),
            },
        );
        let Change { from, to } = change?;
        let not_there = || OperationError::NotThere(agent.info.resources.shortages(&from));
        let total = agent.info.resources.reshaped(&from, &to);
        let total = total.ok_or_else(not_there)?;
        let reshaped = self.allocator.reshape_free(id, &from, &to);
        reshaped.map_err(|error| OperationError::NotThere(vec![error.to_string()]))?;
        self.reshaped(id, kind, &from, total, out);
        Ok(())
    }

    /// What an agent has now is on disk with the step, and what was on destroyed volumes will be erased.
    fn reshaped(
        &mut self,
        id: &AgentId,
        kind: OperationKind,
        from: &Resources,
        total: Resources,
        out: &mut Out,
    ) {
        if let Some(agent) = self.agents.get_mut(id) {
            agent.info.resources = total;
            out.store.push(Record::Agent(agent.record()));
            self.agents.restated.insert(id.clone());
        }
        if kind == OperationKind::Destroy {
            let destroyed = from.volumes().map(|(name, ..)| name).collect();
            self.erase(id, destroyed, out);
        }
    }

    /// Shared volumes that cannot be destroyed.
    fn in_use(&self, kind: OperationKind, agent: &AgentId) -> BTreeSet<Tag> {
        match kind {
            OperationKind::Destroy => self.shared_in_use(agent),
            OperationKind::Reserve
            | OperationKind::Unreserve
            | OperationKind::Create
            | OperationKind::Grow
            | OperationKind::Shrink { .. } => BTreeSet::new(),
        }
    }

    /// Shared volumes that somebody holds beside the offers of this ACCEPT: taking them does not use them up, so they may
    /// be in several hands.
    fn shared_in_use(&self, agent: &AgentId) -> BTreeSet<Tag> {
        let tasks = self.tasks.of_agent(agent);
        let tasks = tasks.iter().filter_map(|key| self.tasks.get(key));
        let used = tasks
            .filter(|task| task.holds_resources())
            .map(|task| task.spec.resources.clone());
        let offers = self.offers.of_agent(agent);
        let offered = offers.iter().filter_map(|id| self.offers.get(id));
        let all = used.chain(offered.map(|offer| offer.resources.clone()));
        all.flat_map(|held| shared_tags(&held)).collect()
    }
}

fn shared_tags(held: &Resources) -> Vec<Tag> {
    let shared = held.parts().filter(|(tag, _)| tag.shared);
    shared.map(|(tag, _)| Tag::clone(tag)).collect()
}

/// An agent's resources with `made` made of them again.
///
/// # Errors
/// What the agent does not have enough of any more, in words.
pub(super) fn make_again(has: Resources, made: &Resources) -> Result<Resources, String> {
    let mut total = has.as_the_agent_has_it().with_devices();
    let mut missing = Vec::new();
    for (tag, part) in made.parts() {
        let to = Resources::none().with_part(tag.clone(), part.clone());
        let from = to.as_the_agent_has_it();
        match total.reshaped(&from, &to) {
            Some(reshaped) => total = reshaped,
            None => missing.push(format!("{to} ({})", total.shortages(&from).join(", "))),
        }
    }
    if missing.is_empty() {
        Ok(total)
    } else {
        Err(missing.join(", "))
    }
}

/// What a framework says was handed out to another role than that of the offers is not in them.
fn account_is_the_offers(bench: &Bench, account: Option<&Role>) -> Result<(), String> {
    match account {
        Some(named) if *named != bench.role => Err(format!(
            "it names resources handed out to {named}, the offers are in {}",
            bench.role
        )),
        Some(_) | None => Ok(()),
    }
}
