//! From what a worker has to what it should have: the commands between the two.
//!
//! ```text
//! absent ──add──► ready ──drain──► draining ──vanished──► maintenance ──delete──► absent
//! ```
//! Pure. Invariants: a server that vanished takes nothing new before its address is given to another server; one that
//! comes is in before one that goes is out, so that a backend is never empty in between; commands that only tidy up are
//! told from those that an acknowledgement waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;

use super::backends::{Backend, Plan, Server};
use super::rows::{Admin, Row};

/// Sessions of a server that has vanished from the list may go on for so long: an instance that became unhealthy may
/// still end what it has begun, one that died holds nobody longer than HAProxy's own time-outs would.
pub const PATIENCE_WITH_VANISHED_SECS: u64 = 30;

/// What `server` options follow name and address, in the configuration and in `add server` alike: checked by connecting
/// every second, again 250 ms after a first failure, out after two; then every 250 ms, in after one success.
pub const SERVER_OPTIONS: &str = "check inter 1s fastinter 250ms downinter 250ms fall 2 rise 1";

/// One command of the runtime API.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Command {
    /// Which backend.
    pub backend: String,
    /// Which of its servers.
    pub server: String,
    /// What is done to it.
    pub change: Change,
}

/// What is done to one server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// It comes, with its checks on. In a sticky backend the key of the cookies is set again, which gives it its cookie.
    Add {
        /// Where it listens.
        address: SocketAddr,
        /// The key, in sticky backends.
        cookie_key: Option<String>,
        /// Whether it is known to listen. One that is not gets its first request when a check has passed.
        listens: bool,
    },
    /// It is somewhere else now.
    Move {
        /// Where it listens.
        address: SocketAddr,
    },
    /// It takes sessions again, with its checks on.
    Ready,
    /// It takes no new sessions.
    Drain,
    /// It takes none, not even of clients that stick to it.
    Stop,
    /// Its sessions are ended.
    EndSessions,
    /// It is forgotten; HAProxy refuses while it has connections.
    Delete,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            backend,
            server,
            change,
        } = self;
        let at = format!("{backend}/{server}");
        match change {
            Change::Add {
                address,
                cookie_key,
                listens,
            } => {
                write!(f, "add server {at} {address} {SERVER_OPTIONS};")?;
                if let Some(key) = cookie_key {
                    write!(f, "set dynamic-cookie-key backend {backend} {key};")?;
                }
                write!(f, "enable health {at};enable server {at}")?;
                // Last: who is enabled counts as up.
                if !listens {
                    write!(f, ";set server {at} health down")?;
                }
                Ok(())
            }
            Change::Move { address } => write!(
                f,
                "set server {at} addr {} port {}",
                address.ip(),
                address.port()
            ),
            Change::Ready => write!(f, "enable health {at};set server {at} state ready"),
            Change::Drain => write!(f, "set server {at} state drain"),
            Change::Stop => write!(f, "set server {at} state maint"),
            Change::EndSessions => write!(f, "shutdown sessions server {at}"),
            Change::Delete => write!(f, "del server {at}"),
        }
    }
}

/// What is to be done, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Those that must be seen to have worked before the version counts as in effect.
    pub needed: Vec<Command>,
    /// Those that tidy up, tried again later if they do not work now.
    pub tidy: Vec<Command>,
}

/// The commands that lead from `rows` to `plan`. Only servers of `ours` (names of backends) are touched, and of them not
/// those whose names hold a colon: these are the template's own.
pub fn steps(plan: &Plan, rows: &[Row], ours: &BTreeSet<String>) -> Steps {
    let is_ours = |row: &&Row| ours.contains(&row.backend) && !row.server.contains(':');
    let mut have: BTreeMap<(&str, &str), &Row> = BTreeMap::new();
    for row in rows.iter().filter(is_ours) {
        have.insert((&row.backend, &row.server), row);
    }
    let mut coming = Vec::new();
    let mut going = Vec::new();
    for backend in plan.backends.values() {
        for (name, server) in &backend.servers {
            let row = have.remove(&(backend.name.as_str(), name.as_str()));
            let list = if server.is_draining {
                &mut going
            } else {
                &mut coming
            };
            let changes = for_wanted(backend, server, row).into_iter();
            list.extend(changes.map(|change| command(&backend.name, name, change)));
        }
    }
    let (mut needed, tidy) = for_vanished(plan, have.into_values(), &mut going);
    needed.append(&mut coming);
    needed.append(&mut going);
    Steps { needed, tidy }
}

/// What becomes of servers that nobody wants any more: what must come first, and what tidies up; the rest goes to `going`.
fn for_vanished<'a>(
    plan: &Plan,
    vanished: impl Iterator<Item = &'a Row>,
    going: &mut Vec<Command>,
) -> (Vec<Command>, Vec<Command>) {
    let all = plan.backends.values();
    let claimed: BTreeSet<SocketAddr> = all
        .flat_map(|backend| backend.servers.values().map(|server| server.address))
        .collect();
    let names: BTreeSet<&str> = plan
        .backends
        .values()
        .map(|backend| backend.name.as_str())
        .collect();
    let (mut first, mut tidy) = (Vec::new(), Vec::new());
    for row in vanished {
        let change = |change| command(&row.backend, &row.server, change);
        if row.admin != Admin::Maintenance {
            let is_claimed = row
                .address
                .is_some_and(|address| claimed.contains(&address));
            if is_claimed { &mut first } else { &mut *going }.push(change(Change::Stop));
        } else if row.unchanged_secs >= PATIENCE_WITH_VANISHED_SECS {
            tidy.push(change(Change::EndSessions));
        }
        // A backend that is on its way out takes its servers with it.
        if names.contains(row.backend.as_str()) {
            tidy.push(change(Change::Delete));
        }
    }
    (first, tidy)
}

fn command(backend: &str, server: &str, change: Change) -> Command {
    Command {
        backend: backend.to_owned(),
        server: server.to_owned(),
        change,
    }
}

fn for_wanted(backend: &Backend, server: &Server, row: Option<&Row>) -> Vec<Change> {
    let Some(row) = row else {
        // One that drains and is not here has no sessions here, and is to have none.
        let cookie_key = backend.sticky.then(|| backend.cookie_key());
        let add = Change::Add {
            address: server.address,
            cookie_key,
            listens: false,
        };
        return if server.is_draining {
            Vec::new()
        } else {
            vec![add]
        };
    };
    let mut changes = Vec::new();
    if row.address != Some(server.address) {
        changes.push(Change::Move {
            address: server.address,
        });
    }
    match (server.is_draining, row.admin) {
        (false, Admin::Ready) if row.is_checked => {}
        (false, Admin::Ready | Admin::Drain | Admin::Maintenance) => changes.push(Change::Ready),
        (true, Admin::Drain | Admin::Maintenance) if !backend.sticky => {}
        (true, Admin::Maintenance) => {}
        // A drained server still gets the requests of clients that stick to it, and would never come to rest.
        (true, Admin::Ready | Admin::Drain) if backend.sticky => changes.push(Change::Stop),
        (true, Admin::Ready | Admin::Drain) => changes.push(Change::Drain),
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::super::labels::Balance;
    use super::*;
    use mete_proto::rest::backends::Mode;

    fn address(port: u16) -> SocketAddr {
        ([127, 0, 0, 1], port).into()
    }

    fn plan_of(sticky: bool, servers: &[(&str, u16, bool)]) -> Plan {
        let servers = servers.iter().map(|(name, port, is_draining)| {
            (
                (*name).to_owned(),
                Server {
                    task: (*name).into(),
                    address: address(*port),
                    is_draining: *is_draining,
                },
            )
        });
        let backend = Backend {
            name: "web_1".into(),
            app: "/web".into(),
            port: 1,
            mode: Mode::Http,
            balance: Balance::RoundRobin,
            sticky,
            routes: vec![],
            servers: servers.collect(),
        };
        Plan {
            backends: [(1, backend)].into(),
            ..Plan::default()
        }
    }

    fn row(server: &str, port: u16, admin: Admin) -> Row {
        Row {
            backend: "web_1".into(),
            server: server.into(),
            address: Some(address(port)),
            admin,
            is_up: true,
            is_checked: true,
            unchanged_secs: 0,
        }
    }

    fn told(plan: &Plan, rows: &[Row]) -> (Vec<String>, Vec<String>) {
        let steps = steps(
            plan,
            rows,
            &BTreeSet::from(["web_1".to_owned(), "old_2".to_owned()]),
        );
        let text = |commands: Vec<Command>| commands.iter().map(ToString::to_string).collect();
        (text(steps.needed), text(steps.tidy))
    }

    #[test]
    fn what_is_as_wanted_needs_nothing() {
        let plan = plan_of(false, &[("a", 1, false), ("b", 2, true), ("c", 3, true)]);

        let (needed, tidy) = told(
            &plan,
            &[row("a", 1, Admin::Ready), row("b", 2, Admin::Drain)],
        );

        assert!(needed.is_empty() && tidy.is_empty(), "{needed:?} {tidy:?}");
    }

    #[test]
    fn those_that_come_are_in_before_others_go() {
        let plan = plan_of(false, &[("a", 1, true), ("b", 2, false)]);

        let (needed, tidy) = told(
            &plan,
            &[row("a", 1, Admin::Ready), row("gone", 9, Admin::Ready)],
        );

        assert_eq!(
            needed,
            [
                "add server web_1/b 127.0.0.1:2 check inter 1s fastinter 250ms downinter 250ms fall 2 rise 1;enable health web_1/b;enable server web_1/b;set server web_1/b health down",
                "set server web_1/a state drain",
                "set server web_1/gone state maint",
            ]
        );
        assert_eq!(tidy, ["del server web_1/gone"]);
    }

    #[test]
    fn a_vanished_server_stops_before_its_port_is_given_to_another() {
        let plan = plan_of(false, &[("b", 1, false)]);

        let (needed, _) = told(&plan, &[row("a", 1, Admin::Ready)]);

        assert_eq!(needed[0], "set server web_1/a state maint");
    }

    #[test]
    fn whoever_returns_is_made_ready_again() {
        let plan = plan_of(false, &[("a", 1, false), ("b", 7, false)]);

        let (needed, _) = told(
            &plan,
            &[row("a", 1, Admin::Maintenance), row("b", 2, Admin::Ready)],
        );

        assert_eq!(
            needed,
            [
                "enable health web_1/a;set server web_1/a state ready",
                "set server web_1/b addr 127.0.0.1 port 7"
            ]
        );
    }

    #[test]
    fn sticky_clients_are_moved_off_a_draining_server() {
        let plan = plan_of(true, &[("a", 1, true), ("b", 2, false)]);

        let (needed, _) = told(&plan, &[row("a", 1, Admin::Drain)]);

        assert!(
            needed[0].contains(";set dynamic-cookie-key backend web_1 "),
            "{needed:?}"
        );
        assert_eq!(needed[1], "set server web_1/a state maint");
    }

    #[test]
    fn sessions_of_the_vanished_end_after_a_while() {
        let old = Row {
            unchanged_secs: PATIENCE_WITH_VANISHED_SECS,
            ..row("a", 1, Admin::Maintenance)
        };

        let (needed, tidy) = told(
            &plan_of(false, &[]),
            &[old, row("b", 2, Admin::Maintenance)],
        );

        assert_eq!(needed, [""; 0]);
        assert_eq!(
            tidy,
            [
                "shutdown sessions server web_1/a",
                "del server web_1/a",
                "del server web_1/b"
            ]
        );
    }

    #[test]
    fn what_the_template_brought_is_left_alone() {
        let foreign = Row {
            backend: "static".into(),
            ..row("x", 1, Admin::Ready)
        };
        let old = Row {
            backend: "old_2".into(),
            ..row("y", 2, Admin::Ready)
        };

        let (needed, tidy) = told(
            &plan_of(false, &[]),
            &[foreign, row("own:fallback", 3, Admin::Ready), old],
        );

        assert_eq!(
            (needed, tidy),
            (vec!["set server old_2/y state maint".to_owned()], vec![])
        );
    }
}
