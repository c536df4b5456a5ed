//! Executors of frameworks' own: what is said to them and by them, and their end. They begin with the launch of a task, in
//! `accept.rs`, and come back with their agent.
//!
//! Messages are passed on once, to whoever is there to hear them: like Mesos, nobody keeps or repeats them. Ends are kept for
//! a framework that is away.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use mete_model::{AgentId, ExecutorId, ExecutorSpec, FrameworkId};
use tracing::{debug, info};

use crate::cluster::{Cluster, Out};
use crate::effects::{Event, MessageToAgent};
use crate::input::{ExecutorNews, FromExecutor};
use crate::state::executors::ExecutorKey;

/// How an executor ended of whose end nobody has heard.
const UNKNOWN: i32 = -1;

impl Cluster {
    /// A framework has something to say to an executor of its own.
    pub(crate) fn message_to_executor(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        executor: ExecutorId,
        data: Bytes,
        out: &mut Out,
    ) {
        let message = MessageToAgent::ExecutorMessage {
            framework: framework.clone(),
            executor,
            data,
        };
        if self.tell_agent(agent, message, out) {
            self.count().messages_to_executors += 1;
        } else {
            debug!(%framework, %agent, "message for an executor whose agent is not there is dropped");
            self.count().messages_to_executors_dropped += 1;
        }
    }

    /// A framework ends an executor of its own.
    pub(crate) fn shut_down_executor(
        &mut self,
        framework: &FrameworkId,
        agent: &AgentId,
        executor: ExecutorId,
        out: &mut Out,
    ) {
        info!(%framework, %agent, %executor, "executor is being shut down");
        let message = MessageToAgent::ShutdownExecutor {
            framework: framework.clone(),
            executor,
        };
        if !self.tell_agent(agent, message, out) {
            debug!(%framework, %agent, "executor whose agent is not there is not shut down");
        }
    }

    /// An executor has something to say to its framework, or is over.
    pub(crate) fn executor_news(&mut self, news: ExecutorNews, out: &mut Out) {
        if self.agents.on_link(&news.agent, news.link).is_none() {
            self.count().stale_messages += 1;
            return;
        }
        let key = ExecutorKey {
            agent: news.agent,
            framework: news.framework,
            executor: news.executor,
        };
        match news.news {
            FromExecutor::Exited { status } => self.executor_exited(key, status, out),
            FromExecutor::Message(data) => {
                let event = Event::Message {
                    agent: key.agent,
                    executor: key.executor,
                    data,
                };
                match self.tell_framework(&key.framework, event, out) {
                    true => self.count().messages_of_executors += 1,
                    false => self.count().messages_of_executors_dropped += 1,
                }
            }
        }
    }

    /// An executor is over: what it took is free, and its framework is told.
    fn executor_exited(&mut self, key: ExecutorKey, status: i32, out: &mut Out) {
        let Some(over) = self.executors.end(&key) else {
            return;
        };
        info!(executor = %key.executor, framework = %key.framework, agent = %key.agent, status, "executor is over");
        self.allocator
            .release(&key.agent, &key.framework, &over.role, &over.spec.resources);
        self.tell_exit(&key, status, out);
        self.settle_framework(&key.framework);
    }

    /// A framework that is away hears of it when it is back.
    fn tell_exit(&mut self, key: &ExecutorKey, status: i32, out: &mut Out) {
        let event = Event::ExecutorFailure {
            agent: key.agent.clone(),
            executor: key.executor.clone(),
            status,
        };
        let known = self.frameworks.get(&key.framework);
        let removed = self.torn_down.contains_key(&key.framework)
            || known.is_some_and(|framework| framework.is_completed());
        if !self.tell_framework(&key.framework, event, out) && !removed {
            self.executors.keep_untold(key.clone(), status);
        }
    }

    /// A framework is back: it hears how its executors ended meanwhile.
    pub(super) fn tell_kept_exits(&mut self, framework: &FrameworkId, out: &mut Out) {
        for (key, status) in self.executors.take_untold(framework) {
            self.tell_exit(&key, status, out);
        }
    }

    /// An agent is back. Frameworks hear of executors that ended meanwhile: as the agent says, and of what it had before and
    /// does not name, that nobody knows how.
    pub(super) fn tell_missed_exits(
        &mut self,
        agent: &AgentId,
        mut before: BTreeSet<ExecutorKey>,
        exited: Vec<(FrameworkId, ExecutorId, i32)>,
        out: &mut Out,
    ) {
        before.retain(|key| self.executors.get(key).is_none());
        let mut ended: BTreeMap<_, _> = before.into_iter().map(|key| (key, UNKNOWN)).collect();
        for (framework, executor, status) in exited {
            let agent = agent.clone();
            let key = ExecutorKey {
                agent,
                framework,
                executor,
            };
            ended.insert(key, status);
        }
        for (key, status) in ended {
            info!(executor = %key.executor, framework = %key.framework, agent = %key.agent, status, "executor was over before its agent came back");
            self.tell_exit(&key, status, out);
            self.settle_framework(&key.framework);
        }
    }

    /// Executors that an agent brings, with tasks or without. One whose framework was removed is to end.
    pub(super) fn take_in_executors(
        &mut self,
        agent: &AgentId,
        brought: Vec<(FrameworkId, Arc<ExecutorSpec>)>,
        out: &mut Out,
    ) {
        for (framework, spec) in brought {
            let key = ExecutorKey {
                agent: agent.clone(),
                framework,
                executor: spec.id.clone(),
            };
            let Some(known) = self.frameworks.get(&key.framework) else {
                continue; // Its agent names every framework.
            };
            if known.is_completed() {
                self.shut_down_executor(&key.framework, agent, key.executor.clone(), out);
            }
            if self.executors.get(&key).is_none() {
                // One without tasks does not say on whose account it is.
                let role = self.only_role(&key.framework);
                self.allocator
                    .claim(agent, &key.framework, &role, &spec.resources);
                self.executors.bring(key, spec, role);
            }
        }
    }

    /// A framework is removed: its executors end with it.
    pub(super) fn shut_down_executors(&mut self, framework: &FrameworkId, out: &mut Out) {
        for key in self.executors.custom_of(framework) {
            self.shut_down_executor(framework, &key.agent, key.executor, out);
        }
    }

    /// What an agent had is gone with it.
    pub(super) fn lose_executors(&mut self, agent: &AgentId) {
        for framework in self.executors.forget_agent(agent) {
            self.settle_framework(&framework);
        }
    }
}
