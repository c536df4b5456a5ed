//! The bridge of an agent, and the links of containers to it.
//!
//! Two agents that come up on one machine at the same time must not take the same addresses: who looks for a range holds
//! a lock of the machine until the bridge has it.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::Path;

use tracing::{info, warn};

use super::programs::Programs;
use super::{Joined, NetworkError, Range};

/// Held while a range of addresses is chosen and taken.
const LOCK: &str = "/run/mete-bridges.lock";

/// Ranges that are tried.
const RANGES: u16 = 256;

/// Whether the kernel passes packets on from one device to another.
const FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// The bridge of one agent.
pub(super) struct Bridge<'a> {
    pub(super) programs: &'a Programs,
    pub(super) name: &'a str,
}

impl Bridge<'_> {
    /// Brings the bridge up with the addresses that are wanted, or with some that are free.
    pub(super) fn up(&self, wanted: Option<Range>) -> Result<Range, NetworkError> {
        let lock = File::create(LOCK).map_err(NetworkError::io(LOCK))?;
        lock.lock().map_err(NetworkError::io(LOCK))?;
        self.down()?;
        let range = match wanted {
            Some(range) => self.given_range(range)?,
            None => self.free_range()?,
        };
        self.add(range)?;
        let up = self.configure(range);
        if up.is_err() {
            let _ = self.down();
        }
        up.map(|()| range)
    }

    /// Without a link address of its own it would have the lowest of its links', another one whenever that link goes.
    fn add(&self, range: Range) -> Result<(), NetworkError> {
        let (name, own) = (self.name, link_address(range.gateway()));
        self.programs
            .ip(&format!("link add {name} address {own} type bridge\n"))
    }

    fn configure(&self, range: Range) -> Result<(), NetworkError> {
        let name = self.name;
        self.programs.ip(&format!(
            "addr replace {}/{} dev {name}\nlink set {name} up\n",
            range.gateway(),
            range.prefix(),
        ))?;
        // What comes from the host's loopback is led here; what comes from here to the loopback is dropped by the table.
        let path = format!("/proc/sys/net/ipv4/conf/{name}/route_localnet");
        fs::write(&path, "1").map_err(NetworkError::io(path))?;
        forward()?;
        info!(bridge = name, addresses = %range, "bridge of containers is up");
        Ok(())
    }

    /// The range that an operator has given, unless another device has an address in it: of two bridges with one address one leads
    /// nowhere. Wider routes may touch it, as the narrower one counts.
    fn given_range(&self, range: Range) -> Result<Range, NetworkError> {
        let used = self.programs.show(&["-4", "-o", "addr", "show"])?;
        match used.lines().find_map(|line| address_within(range, line)) {
            Some((address, device)) => Err(NetworkError::Taken {
                range,
                address,
                device: device.to_owned(),
            }),
            None => Ok(range),
        }
    }

    /// A range that no address and no route of this machine touches. Where it is begun to look differs from agent to
    /// agent, so that an agent gets the same one again as a rule.
    fn free_range(&self) -> Result<Range, NetworkError> {
        let used = self.programs.show(&["-4", "-o", "addr", "show"])?
            + &self
                .programs
                .show(&["-4", "-o", "route", "show", "table", "all"])?;
        let words: BTreeSet<&str> = used.split_ascii_whitespace().collect();
        let start = self
            .name
            .bytes()
            .fold(0_u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let mut ranges = (0..RANGES).map(|n| Range::usual(start.wrapping_add(n as u8)));
        let free = ranges.find(|range| !words.iter().any(|word| range.overlaps(word)));
        free.ok_or(NetworkError::NoRange)
    }

    /// Removes the bridge, if it is there.
    pub(super) fn down(&self) -> Result<(), NetworkError> {
        match Path::new("/sys/class/net").join(self.name).exists() {
            true => self.programs.ip(&format!("link del {}\n", self.name)),
            false => Ok(()),
        }
    }

    /// After a restart of the agent: all is as it was made, or is made so again.
    pub(super) fn again(&self, range: Range, links: &BTreeSet<&str>) -> Result<(), NetworkError> {
        if !Path::new("/sys/class/net").join(self.name).exists() {
            warn!(bridge = self.name, "bridge of containers was gone");
            self.add(range)?;
        }
        self.configure(range)?;
        for link in links {
            // A link that is gone is that of a container that ends.
            if let Err(error) = self.programs.ip(&self.attach(link)) {
                warn!(link, %error, "link of a container is not there");
            }
        }
        Ok(())
    }

    /// A container that calls a mapped port of its own comes back through the link it came by: `hairpin`.
    fn attach(&self, link: &str) -> String {
        let name = self.name;
        format!(
            "link set {link} master {name}\nlink set {link} type bridge_slave hairpin on\nlink set {link} up\n"
        )
    }

    /// Links a namespace to the bridge.
    pub(super) fn plug(&self, joined: &Joined) -> Result<(), NetworkError> {
        let (Some(range), Some(address), Some(link)) = (joined.range, joined.address, &joined.link)
        else {
            return Ok(());
        };
        let namespace = joined.namespace_name();
        self.programs.ip(&format!(
            "link add {link} type veth peer name eth0 address {} netns {namespace}\n{}",
            link_address(address),
            self.attach(link)
        ))?;
        self.programs.ip_in(
            namespace,
            &format!(
                "link set lo up\naddr add {address}/{} dev eth0\nlink set eth0 up\nroute add default via {}\n",
                range.prefix(),
                range.gateway(),
            ),
        )
    }

    /// Removes the link; it may be gone with its other end.
    pub(super) fn unplug(&self, joined: &Joined) {
        let there = |link: &&String| Path::new("/sys/class/net").join(link).exists();
        if let Some(link) = joined.link.as_ref().filter(there)
            && let Err(error) = self.programs.ip(&format!("link del {link}\n"))
        {
            warn!(link, %error, "link of an ended container stays until its namespace goes");
        }
    }

    /// Removes links that nobody has.
    pub(super) fn remove_links(&self, is_lost: impl Fn(&str) -> bool) -> Result<(), NetworkError> {
        let there = fs::read_dir("/sys/class/net").map_err(NetworkError::io("/sys/class/net"))?;
        let names = there
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        for link in names.filter(|name| is_lost(name)) {
            warn!(link, "link of no container is removed");
            // It may go with its namespace, which was removed a moment ago.
            if let Err(error) = self.programs.ip(&format!("link del {link}\n")) {
                warn!(link, %error, "link of no container cannot be removed");
            }
        }
        Ok(())
    }
}

/// The address in a line of `ip -o addr show` (`2: eth0    inet 10.0.0.5/24 brd …`) and its device, if it lies in the range.
fn address_within(range: Range, line: &str) -> Option<(Ipv4Addr, &str)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let device = words.next()?;
    let address = words.skip_while(|word| *word != "inet").nth(1)?;
    let address = address.split('/').next()?.parse().ok()?;
    range.holds(address).then_some((address, device))
}

/// The link address (MAC) of who has an address on the bridge: `02:42:` and the four bytes of it, as Docker's. Neighbours
/// remember which link address an address has had, for half a minute and longer; so they are right about who gets it next.
fn link_address(address: Ipv4Addr) -> String {
    let [a, b, c, d] = address.octets();
    format!("02:42:{a:02x}:{b:02x}:{c:02x}:{d:02x}")
}

/// Has the kernel pass packets on. Where it did not, it does so between all devices from now on.
fn forward() -> Result<(), NetworkError> {
    let said = fs::read_to_string(FORWARD).map_err(NetworkError::io(FORWARD))?;
    if said.trim() == "0" {
        fs::write(FORWARD, "1").map_err(NetworkError::io(FORWARD))?;
        warn!(
            "the machine passes packets on between its networks from now on (net.ipv4.ip_forward)"
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_with_an_address_in_the_range_is_found() {
        let range: Range = "172.31.5.0/24".parse().unwrap();
        let bridge =
            "7: mete-1f    inet 172.31.5.1/24 scope global mete-1f\\       valid_lft forever";
        let wider = "2: eth0    inet 172.31.0.9/16 brd 172.31.255.255 scope global eth0";
        let tunnel = "3: tun0    inet 10.8.0.2 peer 10.8.0.1/32 scope global tun0";

        let found = address_within(range, bridge);

        assert_eq!(found, Some((range.gateway(), "mete-1f")));
        assert_eq!(address_within(range, wider), None);
        assert_eq!(address_within(range, tunnel), None);
        assert_eq!(address_within(range, ""), None);
    }
}
