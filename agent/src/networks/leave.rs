//! A container leaves its network, by its own agent or by the next; what belongs to none goes.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use mete_agent_core::task_dir::TaskDir;
use mete_model::ContainerId;
use tracing::{info, warn};

use super::cni::Guest;
use super::conntrack::forget;
use super::programs::Programs;
use super::{Held, Joined, NetworkError, Networks};

impl Networks {
    /// Removes what a container has of networks; one that has nothing is fine. Blocks for some tens of milliseconds.
    ///
    /// # Errors
    /// [`NetworkError`] says what is left.
    pub fn leave(&self, dir: &TaskDir, container: &ContainerId) -> Result<(), NetworkError> {
        let Ok(programs) = &self.programs else {
            return Ok(());
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(joined) = held.joined.remove(container) else {
            drop(held);
            // What it had before the machine was restarted, or ended for good, may be another's by now; but plugins
            // may keep an address for it.
            programs.remove_namespace(&self.names.namespace(container.as_str()))?;
            return match Joined::read(dir) {
                Ok(joined) => joined.map_or(Ok(()), |joined| self.del(container, &joined)),
                Err(error) => {
                    warn!(%container, %error, "network of a container is not known");
                    Ok(())
                }
            };
        };
        // First, so that nothing leads to an address that somebody else may get.
        let left = match held.joined.is_empty() {
            true => self.down(programs, &mut held),
            false if held.table => self.lead(programs, &held),
            false => Ok(()),
        };
        drop(held);
        let led: Vec<_> = joined.datagrams().collect();
        forget(&led, |flow, then| flow.to == then);
        let told = self.del(container, &joined);
        self.bridge_on(programs).unplug(&joined);
        let removed = programs.remove_namespace(joined.namespace_name());
        left.and(told).and(removed)
    }

    /// Takes a container from its networks; what fails is told at the end.
    fn del(&self, container: &ContainerId, joined: &Joined) -> Result<(), NetworkError> {
        let guest = Guest {
            container: container.as_str(),
            namespace: &joined.namespace,
        };
        let mut outcome = Ok(());
        for network in joined.networks.iter().rev() {
            // Each is told, whatever came of the one before.
            outcome = self.cni.del(guest, network).and(outcome);
        }
        outcome
    }

    /// Removes bridge and table: nobody needs them.
    pub(super) fn down(&self, programs: &Programs, held: &mut Held) -> Result<(), NetworkError> {
        held.bridge = None;
        held.table = false;
        programs.nft(&self.rules(held).nothing())?;
        self.bridge_on(programs).down()
    }

    /// Takes over what containers of an earlier agent have, and removes what belongs to none. Called once, before
    /// anything is joined. Blocks.
    ///
    /// # Errors
    /// [`NetworkError`]; what could be done is done.
    pub fn recover(&self, containers: &[(ContainerId, TaskDir)]) -> Result<(), NetworkError> {
        let Ok(programs) = &self.programs else {
            return Ok(());
        };
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        for (container, dir) in containers {
            let read = Joined::read(dir);
            let bridged = read.iter().flatten().filter(|one| one.range.is_some());
            held.last = bridged.filter_map(|one| one.address).chain(held.last).max();
            match read {
                // Without its namespace nothing is left of it: the machine was restarted, or it was ended for good.
                Ok(Some(joined)) if !joined.namespace.exists() => {}
                Ok(Some(mut joined)) => {
                    joined.open = true;
                    held.turns = held.turns.max(joined.turn);
                    self.check(container, &joined);
                    held.bridge = held.bridge.or(joined.range);
                    held.joined.insert(container.clone(), joined);
                }
                Ok(None) => {}
                Err(error) => warn!(%container, %error, "network of a container is not known"),
            }
        }
        let kept: BTreeSet<_> = held.joined.values().map(Joined::namespace_name).collect();
        for name in self
            .namespaces()
            .iter()
            .filter(|name| !kept.contains(name.as_str()))
        {
            warn!(namespace = name, "network namespace of no task is removed");
            programs.remove_namespace(name)?;
        }
        let links: BTreeSet<_> = held
            .joined
            .values()
            .filter_map(|one| one.link.as_deref())
            .collect();
        let bridge = self.bridge_on(programs);
        bridge.remove_links(|link| self.names.is_link(link) && !links.contains(link))?;
        if held.joined.is_empty() {
            return self.down(programs, &mut held);
        }
        if let Some(range) = held.bridge {
            if let Some(wanted) = self.options.bridge_subnet.filter(|wanted| *wanted != range) {
                warn!(%wanted, %range, "containers are on the bridge: it has other addresses once none is");
            }
            bridge.again(range, &links)?;
        }
        info!(
            containers = held.joined.len(),
            "networks of containers are taken over"
        );
        held.table = true;
        programs.nft(&self.rules(&held).whole())
    }

    /// Says in the log what is not as it was made.
    fn check(&self, container: &ContainerId, joined: &Joined) {
        let guest = Guest {
            container: container.as_str(),
            namespace: &joined.namespace,
        };
        for network in &joined.networks {
            if let Err(error) = self.cni.check(guest, network) {
                let network = &network.network;
                warn!(%container, network, %error, "network of a container is not as it was made");
            }
        }
    }

    /// Removes all that is this agent's, when none of its containers is left. Blocks.
    ///
    /// # Errors
    /// [`NetworkError`].
    pub fn tear_down(&self) -> Result<(), NetworkError> {
        self.recover(&[])
    }
}
