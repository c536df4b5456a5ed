//! What a machine is called, and under which name others reach it.

use std::net::IpAddr;
use std::time::Duration;

use tokio::net::lookup_host;
use tokio::time::timeout;

/// How long names are looked up for at the start of a daemon; a server of names that is silent for longer knows no names.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// The name the machine has given itself.
pub fn name() -> String {
    rustix::system::uname()
        .nodename()
        .to_string_lossy()
        .into_owned()
}

/// Under which name others reach a daemon that listens on `ip`, unless it is told: the address, or where it listens on all,
/// the name of the machine, as no address of them is the right one for everybody.
pub fn name_for(ip: IpAddr) -> String {
    match ip.is_unspecified() {
        true => name(),
        false => ip.to_string(),
    }
}

/// The name of the machine, if it leads to `ip`. On many machines it leads to 127.0.1.1, or nowhere.
pub async fn name_that_leads_to(ip: IpAddr) -> Option<String> {
    let name = name();
    let found = timeout(LOOKUP_TIMEOUT, lookup_host((name.as_str(), 0))).await;
    let leads_there = found.ok()?.ok()?.any(|found| found.ip() == ip);
    leads_there.then_some(name)
}
