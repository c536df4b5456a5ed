//! The table of nftables of one agent, as text: always the whole truth about what is held.
//!
//! A packet to a port of the host is led to a container when it is for an address of the host; from the loopback as well,
//! which needs `route_localnet` on the way out and the bridge's own address as sender. What comes from elsewhere straight
//! to a container's address is dropped, and so is what a container sends to the loopback of the host.

use std::fmt::Write as _;
use std::net::SocketAddrV4;

use mete_model::container::Transport;

use super::Range;

/// A port of the host, and where it leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Forward {
    pub(super) transport: Transport,
    pub(super) port: u16,
    pub(super) to: SocketAddrV4,
}

/// What the table is made of.
#[derive(Debug)]
pub(super) struct Rules<'a> {
    pub(super) table: &'a str,
    pub(super) bridge: &'a str,
    pub(super) range: Option<Range>,
    /// Ports are open on the loopback and for the bridge's own containers only.
    pub(super) loopback_only: bool,
    pub(super) ports: Vec<Forward>,
}

impl Rules<'_> {
    /// In place of whatever there was.
    pub(super) fn whole(&self) -> String {
        let Self { table, bridge, .. } = self;
        let mut text = self.nothing();
        let chains = [
            String::from(
                "early { type filter hook prerouting priority -300\n iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n}",
            ),
            format!(
                "arriving {{ type nat hook prerouting priority -100\n{}\n}}",
                self.leads(match self.loopback_only {
                    true => format!("iifname \"{bridge}\" fib daddr type local"),
                    false => "fib daddr type local".to_owned(),
                })
            ),
            format!(
                "own {{ type nat hook output priority -100\n{}\n}}",
                self.leads(match self.loopback_only {
                    true => "ip daddr 127.0.0.0/8".to_owned(),
                    false => "fib daddr type local".to_owned(),
                })
            ),
            format!(
                "passing {{ type filter hook forward priority 0\n oifname \"{bridge}\" iifname != \"{bridge}\" ct status dnat accept\n \
                 oifname \"{bridge}\" iifname != \"{bridge}\" ct state established,related accept\n \
                 oifname \"{bridge}\" iifname != \"{bridge}\" drop\n}}"
            ),
            format!(
                "leaving {{ type nat hook postrouting priority 100\n oifname != \"lo\" ct status dnat ip saddr 127.0.0.0/8 masquerade\n{}\n}}",
                self.masquerade()
            ),
        ];
        // Writing into a text does not fail.
        let _ = writeln!(text, "table ip {table} {{");
        for name in ["tcp_ports", "udp_ports"] {
            let _ = writeln!(
                text,
                "map {name} {{ type inet_service : ipv4_addr . inet_service\n}}"
            );
        }
        for chain in chains {
            let _ = writeln!(text, "chain {chain}");
        }
        let _ = writeln!(text, "}}");
        text + &self.ports()
    }

    fn leads(&self, to_host: String) -> String {
        format!(
            " {to_host} dnat ip to tcp dport map @tcp_ports\n {to_host} dnat ip to udp dport map @udp_ports"
        )
    }

    fn masquerade(&self) -> String {
        let Some(range) = self.range else {
            return String::new();
        };
        let bridge = self.bridge;
        // The second is for containers that call mapped ports of one another, or of themselves.
        format!(
            " ip saddr {range} oifname != \"{bridge}\" masquerade\n ip saddr {range} oifname \"{bridge}\" ct status dnat masquerade"
        )
    }

    /// The ports alone, in place of those that were open.
    pub(super) fn ports(&self) -> String {
        let table = self.table;
        let mut text = format!("flush map ip {table} tcp_ports\nflush map ip {table} udp_ports\n");
        for forward in &self.ports {
            let Forward {
                transport,
                port,
                to,
            } = forward;
            let (ip, target) = (to.ip(), to.port());
            let _ = writeln!(
                text,
                "add element ip {table} {transport}_ports {{ {port} : {ip} . {target} }}"
            );
        }
        text
    }

    /// Removes the table, whether it is there or not.
    pub(super) fn nothing(&self) -> String {
        let table = self.table;
        format!("table ip {table} {{\n}}\ndelete table ip {table}\n")
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn ports_lead_to_their_containers() {
        let rules = Rules {
            table: "mete_1",
            bridge: "mete-1",
            range: Some(Range::usual(5)),
            loopback_only: true,
            ports: vec![Forward {
                transport: Transport::Udp,
                port: 31_000,
                to: SocketAddrV4::new(Ipv4Addr::new(172, 31, 5, 2), 53),
            }],
        };

        let expected = "flush map ip mete_1 tcp_ports\nflush map ip mete_1 udp_ports\n\
                        add element ip mete_1 udp_ports { 31000 : 172.31.5.2 . 53 }\n";
        assert_eq!(rules.ports(), expected);
        assert!(rules.whole().starts_with(&rules.nothing()));
        assert!(rules.whole().ends_with(expected));
    }
}
