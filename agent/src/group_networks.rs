//! The network that tasks of a group share: one of their own with a loopback and nothing else, or one that is joined to the
//! bridge or to networks by name.
//!
//! ```text
//! none           a file of the namespace      see `namespaces`
//! bridge, named  a task directory of the executor's container, with network.json and nothing else
//! ```
//! It is made for the first task that begins, and goes with the executor.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use mete_agent_core::Executor;
use mete_model::ContainerId;
use mete_model::container::Network;

use crate::containerizer::StartError;
use crate::containerizer::oci::{SharedNetwork, usual_hostname};
use crate::containerizer::process::ProcessContainerizer;
use crate::namespaces::Namespaces;

/// The networks of all groups of an agent.
#[derive(Clone, Debug)]
pub(crate) struct GroupNetworks {
    namespaces: Namespaces,
    containerizer: Arc<ProcessContainerizer>,
    /// Two tasks of a group may come at once: held while the network of a container is made.
    making: Arc<Mutex<BTreeMap<ContainerId, Arc<Mutex<()>>>>>,
}

/// The network of a group, when it is not the machine's.
pub(crate) fn of(executor: &Executor) -> Option<&Network> {
    let container = executor.spec.container.as_deref()?;
    match &container.network {
        Network::Host => None,
        own @ (Network::None | Network::Bridge { .. } | Network::Named { .. }) => Some(own),
    }
}

impl GroupNetworks {
    pub(crate) fn new(namespaces: Namespaces, containerizer: Arc<ProcessContainerizer>) -> Self {
        Self {
            namespaces,
            containerizer,
            making: Arc::default(),
        }
    }

    /// The network of an executor, made if need be; `None`: that of the machine. Blocks for some tens of milliseconds.
    ///
    /// # Errors
    /// [`StartError`].
    pub(crate) fn ready(&self, executor: &Executor) -> Result<Option<SharedNetwork>, StartError> {
        let Some(network) = of(executor) else {
            return Ok(None);
        };
        let container = &executor.container;
        let turn = Arc::clone(self.lock_making().entry(container.clone()).or_default());
        let made = {
            let _one = turn.lock().unwrap_or_else(PoisonError::into_inner);
            self.make(executor, network)
        };
        drop(turn);
        self.lock_making()
            .retain(|_, turn| Arc::strong_count(turn) > 1);
        made.map(Some)
    }

    fn make(&self, executor: &Executor, network: &Network) -> Result<SharedNetwork, StartError> {
        let container = &executor.container;
        let joined = self.containerizer.join(container, network)?;
        let namespace = match &joined {
            Some(joined) => joined.namespace.clone(),
            None => self.namespaces.ready(container).map_err(|source| {
                let what = "making the network of a group".to_owned();
                StartError::Directory { what, source }
            })?,
        };
        let said = executor.spec.container.as_ref();
        let said = said.and_then(|around| around.hostname.clone());
        Ok(SharedNetwork {
            network: network.clone(),
            namespace,
            joined,
            hostname: said.unwrap_or_else(|| usual_hostname(container)),
        })
    }

    fn lock_making(&self) -> std::sync::MutexGuard<'_, BTreeMap<ContainerId, Arc<Mutex<()>>>> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
