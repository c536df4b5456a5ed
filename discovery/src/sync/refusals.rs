//! Services that HAProxy would not take, and how the others are served without them.
//!
//! A refused service keeps the definition with which it was served before, if there was one, with its present servers;
//! otherwise it is left out. It is looked at again when its definition changes, or after a while.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, warn};

use crate::haproxy::backends::{Backend, Plan};
use crate::haproxy::configuration::{CheckError, Folder};
use crate::haproxy::render::{Layout, Rendered, render};
use crate::haproxy::template::{Template, TemplateError};

/// How often HAProxy may be asked while looking for the services at fault: 60 ms each.
const MAX_CHECKS: usize = 100;

/// After this a refused service is tried again although it is the same: ports become free, certificates appear.
const TRY_AGAIN: Duration = Duration::from_secs(15);

/// How often a port that is in use is looked at before it is believed: a process that has just been killed holds its
/// ports for a moment, in which it can no longer be seen to be HAProxy.
pub(super) const PORT_LOOKS: u32 = 50;

/// Between two looks at a port that is in use.
pub(super) const PORT_LOOK: Duration = Duration::from_millis(10);

/// Why there is no configuration for a plan.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// The template cannot be used with it.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// HAProxy does not take it.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// One service that was refused.
#[derive(Clone, Debug)]
struct Refusal {
    definition: Backend,
    reason: String,
    until: Duration,
}

/// What has been refused, and what was served before.
#[derive(Debug, Default)]
pub(super) struct Refusals {
    refused: BTreeMap<u16, Refusal>,
    served: BTreeMap<u16, Backend>,
    is_known: bool,
}

impl Unusable {
    /// Whether the plan is at fault, and not the disk or the machine.
    pub(super) fn is_refusal(&self) -> bool {
        match self {
            Self::Template(_) | Self::Check(CheckError::Refused { .. }) => true,
            Self::Check(
                CheckError::NotRun { .. } | CheckError::Late | CheckError::Write { .. },
            ) => false,
        }
    }
}

impl Refusals {
    /// The plan without what is refused.
    pub(super) fn apply(&mut self, wanted: &Plan, now: Duration) -> Plan {
        self.refused.retain(|port, refusal| {
            let same = wanted
                .backends
                .get(port)
                .is_some_and(|backend| definition(backend) == refusal.definition);
            same && now < refusal.until
        });
        let mut plan = wanted.clone();
        for port in self.refused.keys() {
            let Some(backend) = plan.backends.remove(port) else {
                continue;
            };
            if let Some(served) = self
                .served
                .get(port)
                .filter(|served| served.name == backend.name)
            {
                plan.backends.insert(
                    *port,
                    Backend {
                        servers: backend.servers,
                        ..served.clone()
                    },
                );
            }
        }
        plan
    }

    /// Notes that HAProxy runs this plan.
    pub(super) fn is_served(&mut self, plan: &Plan) {
        self.served = definitions(plan);
        self.is_known = true;
    }

    /// Notes that no HAProxy runs.
    pub(super) fn serves_nothing(&mut self) {
        self.served.clear();
        self.is_known = true;
    }

    /// Notes that an HAProxy runs of which it is not known what it serves: from a file that was there.
    pub(super) fn serves_what_the_file_says(&mut self) {
        self.is_known = false;
    }

    /// Whether it is known which ports HAProxy itself has bound. It is not, at first, for one that was taken over or
    /// started from an earlier file.
    pub(super) fn knows_what_is_served(&self) -> bool {
        self.is_known
    }

    /// Each refusal in words.
    pub(super) fn reasons(&self) -> impl Iterator<Item = String> {
        self.refused
            .values()
            .map(|refusal| format!("{}: {}", refusal.definition.app, refusal.reason))
    }

    fn refuse(&mut self, backend: &Backend, reason: String, now: Duration) {
        error!(
            app = backend.app,
            port = backend.port,
            reason,
            "service refused, the others are served without it"
        );
        let refusal = Refusal {
            definition: definition(backend),
            reason,
            until: now + TRY_AGAIN,
        };
        self.refused.insert(backend.port, refusal);
    }

    /// Refuses services whose ports somebody else has. Only for ports that HAProxy has not bound itself.
    pub(super) async fn refuse_busy_ports(
        &mut self,
        plan: &Plan,
        layout: &Layout,
        now: Duration,
    ) -> bool {
        let before = self.refused.len();
        let mut looks = PORT_LOOKS;
        for backend in plan
            .backends
            .values()
            .filter(|backend| !self.served.contains_key(&backend.port))
            .collect::<Vec<_>>()
        {
            // Bound and let go at once: haproxy itself would share a port that allows it, or fail as a whole.
            let address = layout.service_bind(backend.port);
            if let Err(refusal) = bind(address, &mut looks).await {
                self.refuse(
                    backend,
                    format!("cannot listen on {address}: {refusal}"),
                    now,
                );
            }
        }
        self.refused.len() > before
    }

    /// Finds the services for which HAProxy refuses a plan, and refuses them: what is new is tried in halves on top of
    /// what was served before. `false` when they cannot be told, because what was served before is refused too.
    pub(super) async fn find(
        &mut self,
        plan: &Plan,
        template: &Template,
        layout: &Layout,
        folder: &Folder,
        now: Duration,
    ) -> bool {
        let is_new =
            |backend: &&Backend| self.served.get(&backend.port) != Some(&definition(backend));
        let suspects: Vec<Backend> = plan.backends.values().filter(is_new).cloned().collect();
        let mut good = plan.clone();
        for suspect in &suspects {
            match self.served.get(&suspect.port) {
                Some(served) => good.backends.insert(suspect.port, served.clone()),
                None => good.backends.remove(&suspect.port),
            };
        }
        if let Err(unusable) = try_plan(&good, template, layout, folder).await {
            warn!(%unusable, "refused even without what is new");
            return false;
        }
        let mut checks = 0;
        let mut groups = vec![suspects];
        while let Some(group) = groups.pop() {
            if group.is_empty() {
                continue;
            }
            checks += 1;
            if checks > MAX_CHECKS {
                return false;
            }
            let mut with = good.clone();
            with.backends
                .extend(group.iter().map(|backend| (backend.port, backend.clone())));
            match (
                try_plan(&with, template, layout, folder).await,
                group.as_slice(),
            ) {
                (Ok(_), _) => good = with,
                (Err(unusable), _) if !unusable.is_refusal() => return false,
                (Err(unusable), [only]) => self.refuse(only, unusable.to_string(), now),
                (Err(_), many) => {
                    let (left, right) = many.split_at(many.len() / 2);
                    groups.push(right.to_vec());
                    groups.push(left.to_vec());
                }
            }
        }
        true
    }
}

/// Whether a port can be had; one in use is given `looks` more looks to become free.
async fn bind(address: SocketAddr, looks: &mut u32) -> io::Result<()> {
    loop {
        match TcpListener::bind(address) {
            Err(refusal) if refusal.kind() == io::ErrorKind::AddrInUse && *looks > 0 => {
                *looks -= 1;
                sleep(PORT_LOOK).await;
            }
            bound => return bound.map(drop),
        }
    }
}

/// Renders a plan and has HAProxy check it.
pub(super) async fn try_plan(
    plan: &Plan,
    template: &Template,
    layout: &Layout,
    folder: &Folder,
) -> Result<Rendered, Unusable> {
    let rendered = render(template, layout, plan)?;
    match folder.check(&rendered).await {
        Ok(()) => Ok(rendered),
        Err(refusal) => {
            folder.drop_candidate();
            Err(refusal.into())
        }
    }
}

/// A backend without its servers.
fn definition(backend: &Backend) -> Backend {
    Backend {
        servers: BTreeMap::new(),
        ..backend.clone()
    }
}

/// All backends of a plan without their servers.
pub(super) fn definitions(plan: &Plan) -> BTreeMap<u16, Backend> {
    plan.backends
        .iter()
        .map(|(port, backend)| (*port, definition(backend)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_port_that_is_about_to_become_free_is_waited_for_and_a_busy_one_refused() {
        let held = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = held.local_addr().expect("an address");
        let mut looks = 3;

        let refusal = bind(address, &mut looks).await;

        assert_eq!(
            refusal.expect_err("in use").kind(),
            io::ErrorKind::AddrInUse
        );
        assert_eq!(looks, 0);
        let mut looks = PORT_LOOKS;
        let (bound, ()) = tokio::join!(bind(address, &mut looks), async {
            sleep(PORT_LOOK).await;
            drop(held);
        });
        bound.expect("free by then");
        assert!(looks > 0);
    }
}
