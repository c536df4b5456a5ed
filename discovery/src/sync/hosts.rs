//! Addresses of agents whose hosts are names. HAProxy only ever gets addresses, so that it starts without DNS.
//!
//! An address once known stays until a newer one is found; a name without one is asked for again after a while.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use mete_daemon::clock;
use mete_proto::rest::backends::Service;
use tokio::net::lookup_host;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::haproxy::backends::Hosts;

/// For one name; a list must not wait long for a name server.
const LOOKUP_DEADLINE: Duration = Duration::from_secs(1);

/// How long an answer is good.
const FRESH: Duration = Duration::from_secs(60);

/// How long a failure is.
const FRESH_FAILURE: Duration = Duration::from_secs(5);

/// Names asked for at a time.
const MAX_LOOKUPS: usize = 32;

/// What is known of each name, and until when that is good.
#[derive(Debug, Default)]
pub(super) struct Resolver {
    known: BTreeMap<String, (Option<IpAddr>, Duration)>,
}

impl Resolver {
    /// The addresses of all names in the list; names that are nowhere in it are forgotten.
    pub(super) async fn resolve(&mut self, services: &[Service]) -> Hosts {
        let hosts = services.iter().flat_map(|service| {
            service
                .instances
                .iter()
                .map(|instance| instance.host.as_str())
        });
        let names: BTreeSet<&str> = hosts
            .filter(|host| host.parse::<IpAddr>().is_err())
            .collect();
        self.known.retain(|name, _| names.contains(name.as_str()));
        let now = clock::elapsed();
        let is_stale = |name: &&str| self.known.get(*name).is_none_or(|(_, until)| *until <= now);
        let mut stale = names
            .iter()
            .copied()
            .filter(is_stale)
            .map(str::to_owned)
            .collect::<Vec<_>>()
            .into_iter();
        let mut lookups: JoinSet<(String, Option<IpAddr>)> = JoinSet::new();
        loop {
            while lookups.len() < MAX_LOOKUPS
                && let Some(name) = stale.next()
            {
                lookups.spawn(look_up(name));
            }
            let Some(looked_up) = lookups.join_next().await else {
                break;
            };
            let Ok((name, address)) = looked_up else {
                continue;
            };
            let known = self.known.get(&name).and_then(|(address, _)| *address);
            let good_for = if address.is_some() {
                FRESH
            } else {
                FRESH_FAILURE
            };
            self.known
                .insert(name, (address.or(known), clock::elapsed() + good_for));
        }
        self.known
            .iter()
            .filter_map(|(name, (address, _))| Some((name.clone(), (*address)?)))
            .collect()
    }
}

async fn look_up(name: String) -> (String, Option<IpAddr>) {
    let found = match timeout(LOOKUP_DEADLINE, lookup_host((name.as_str(), 0))).await {
        // The smallest, so that the order of answers does not move servers about; IPv4 before IPv6.
        Ok(Ok(addresses)) => addresses.map(|address| address.ip()).min(),
        Ok(Err(_)) | Err(_) => None,
    };
    (name, found)
}
