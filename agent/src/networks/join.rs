//! A container joins its network: an address and a link on the bridge, or what plugins give it; then its ports are opened.

use std::collections::BTreeSet;
use std::sync::PoisonError;

use mete_agent_core::task_dir::TaskDir;
use mete_model::ContainerId;
use mete_model::container::{Network, PortMapping};
use tracing::warn;

use super::cni::Guest;
use super::conntrack::forget;
use super::programs::Programs;
use super::{Held, Joined, NetworkError, Networks, inside};

impl Networks {
    /// Joins a container to its network; nothing is done for the host's and for none. Blocks for some tens of
    /// milliseconds.
    ///
    /// # Errors
    /// [`NetworkError`]; [`Networks::leave`] removes what was made until then.
    pub fn join(
        &self,
        dir: &TaskDir,
        container: &ContainerId,
        network: &Network,
    ) -> Result<Option<Joined>, NetworkError> {
        match network {
            Network::Host | Network::None => Ok(None),
            Network::Bridge { ports } => {
                let programs = self.able("bridge")?;
                let joined = self.hold(programs, dir, container, ports)?;
                self.plug(programs, &joined)?;
                self.open(programs, container)?;
                Ok(Some(joined))
            }
            Network::Named { names, ports } => {
                let programs = self.able(&names.join(", "))?;
                let networks = self.cni.plan(names)?;
                let mut joined = Joined::by_name(self.namespace(container), networks, ports);
                joined.turn = self.turn();
                self.keep(dir, container, &joined)?;
                self.add(programs, container, &mut joined)?;
                self.keep(dir, container, &joined)?;
                if joined.has_ports() {
                    self.open(programs, container)?;
                }
                Ok(Some(joined))
            }
        }
    }

    fn able(&self, kind: &str) -> Result<&Programs, NetworkError> {
        self.programs.as_ref().map_err(|why| NetworkError::Unable {
            kind: kind.to_owned(),
            why: why.clone(),
        })
    }

    /// Gives a container its address, and writes it down. The first one brings the bridge up.
    fn hold(
        &self,
        programs: &Programs,
        dir: &TaskDir,
        container: &ContainerId,
        ports: &[PortMapping],
    ) -> Result<Joined, NetworkError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = self.give(programs, dir, container, ports, &mut held);
        if joined.is_err() && held.joined.is_empty() {
            self.down(programs, &mut held)?;
        }
        joined
    }

    fn give(
        &self,
        programs: &Programs,
        dir: &TaskDir,
        container: &ContainerId,
        ports: &[PortMapping],
        held: &mut Held,
    ) -> Result<Joined, NetworkError> {
        let range = match held.bridge {
            Some(range) => range,
            None => {
                let range = self.bridge_on(programs).up(self.options.bridge_subnet)?;
                held.bridge = Some(range);
                held.table = true;
                programs.nft(&self.rules(held).whole())?;
                range
            }
        };
        let taken: BTreeSet<_> = held.joined.values().filter_map(|one| one.address).collect();
        let address = range.next(held.last, &taken);
        let address = address.ok_or(NetworkError::UsedUp(range))?;
        let mut joined = Joined::on_bridge(
            self.namespace(container),
            range,
            address,
            self.names.link(range.index(address)),
            ports,
        );
        joined.turn = held.turn();
        joined.write(dir)?;
        held.last = Some(address);
        held.joined.insert(container.clone(), joined.clone());
        Ok(joined)
    }

    fn plug(&self, programs: &Programs, joined: &Joined) -> Result<(), NetworkError> {
        programs.add_namespace(joined.namespace_name())?;
        self.bridge_on(programs).plug(joined)?;
        inside::open_low_ports(&joined.namespace)
    }

    fn turn(&self) -> u64 {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.turn()
    }

    /// Writes down what a container has, or is about to have.
    fn keep(
        &self,
        dir: &TaskDir,
        container: &ContainerId,
        joined: &Joined,
    ) -> Result<(), NetworkError> {
        joined.write(dir)?;
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.joined.insert(container.clone(), joined.clone());
        Ok(())
    }

    /// Adds a container to its networks, one after the other.
    fn add(
        &self,
        programs: &Programs,
        container: &ContainerId,
        joined: &mut Joined,
    ) -> Result<(), NetworkError> {
        programs.add_namespace(joined.namespace_name())?;
        programs.ip_in(joined.namespace_name(), "link set lo up\n")?;
        inside::open_low_ports(&joined.namespace)?;
        let namespace = joined.namespace.clone();
        let guest = Guest {
            container: container.as_str(),
            namespace: &namespace,
        };
        for network in &mut joined.networks {
            self.cni.add(guest, network)?;
        }
        let first = joined.networks.first();
        joined.address = first.and_then(|one| one.addresses().first().copied());
        Ok(())
    }

    /// Has the ports of the host lead where they are to.
    fn open(&self, programs: &Programs, container: &ContainerId) -> Result<(), NetworkError> {
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(joined) = held.joined.get_mut(container) {
            joined.open = true;
        }
        match std::mem::replace(&mut held.table, true) {
            true => self.lead(programs, &held)?,
            false => programs.nft(&self.rules(&held).whole())?,
        }
        let joined = held.joined.get(container);
        let leads: Vec<_> = joined.iter().flat_map(|one| one.datagrams()).collect();
        forget(&leads, |flow, now| flow.to != now);
        Ok(())
    }

    /// Has the ports of the host lead where they are to, by the table that is there; one that somebody has removed (a firewall
    /// that begins anew flushes all of them) is made again.
    pub(super) fn lead(&self, programs: &Programs, held: &Held) -> Result<(), NetworkError> {
        let rules = self.rules(held);
        let Err(error) = programs.nft(&rules.ports()) else {
            return Ok(());
        };
        warn!(table = self.names.table(), %error, "rules of mapped ports are made again");
        programs.nft(&rules.whole())
    }
}
