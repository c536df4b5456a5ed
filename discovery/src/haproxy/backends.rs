//! From the healthy-task list to what HAProxy is to have: backends, their servers, and who is reached by which host name.
//!
//! Pure. Invariants: every name and value in a [`Plan`] is one word that a configuration can carry; no two backends share
//! a port or a route; the order of the input does not matter. What cannot be served is left out and named as a
//! [`Problem`]; the rest is served.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use mete_proto::rest::backends::{Instance, InstanceState, Mode, Protocol, Service, ServiceKey};

use super::labels::{self, BadLabel, Balance, Settings};
use super::names;

/// Addresses of agents by name; IP addresses need no entry.
pub type Hosts = BTreeMap<String, IpAddr>;

/// All that HAProxy is to have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// By service port.
    pub backends: BTreeMap<u16, Backend>,
    /// What had to be left out, or is served differently than asked.
    pub problems: BTreeSet<Problem>,
}

/// One service port and the servers behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backend {
    /// Its name in HAProxy, `web_10000`.
    pub name: String,
    /// The app, as people know it.
    pub app: String,
    /// The port people connect to.
    pub port: u16,
    /// Requests or bytes.
    pub mode: Mode,
    /// How a server is picked.
    pub balance: Balance,
    /// Whether clients stay with their server.
    pub sticky: bool,
    /// `host/` or `host/prefix`, by which the shared HTTP frontend finds it.
    pub routes: Vec<String>,
    /// By name.
    pub servers: BTreeMap<String, Server>,
}

/// One instance of one service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// The task behind it.
    pub task: String,
    /// Where it listens.
    pub address: SocketAddr,
    /// Whether it ends its sessions and takes no new ones.
    pub is_draining: bool,
}

/// Something that could not be done as asked. Each is logged once, when it begins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Problem {
    /// A label that does not parse, or that nobody here understands.
    #[error("{app}: {label}")]
    Label {
        /// The app.
        app: String,
        /// Which label, and why.
        label: BadLabel,
    },
    /// Two services ask for one port; the one that has had it for longer keeps it while it is wanted.
    #[error("{app}: service port {port} belongs to {owner}")]
    PortTaken {
        /// Who goes without.
        app: String,
        /// The port.
        port: u16,
        /// Who has it.
        owner: String,
    },
    /// Two services ask for one host name and path; the first by service port has it.
    #[error("{app}: {route} belongs to {owner}")]
    RouteTaken {
        /// Who goes without.
        app: String,
        /// Host name and path.
        route: String,
        /// Who has it.
        owner: String,
    },
    /// HAProxy proxies TCP.
    #[error("{app}: service port {port} is udp, which is not proxied")]
    Udp {
        /// The app.
        app: String,
        /// The port.
        port: u16,
    },
    /// Port 0, which names nothing.
    #[error("{app}: port {port_index} has no service port")]
    NoPort {
        /// The app.
        app: String,
        /// Which of its ports.
        port_index: u32,
    },
    /// An agent's name that has no address now.
    #[error("{app}: task {task} is on {host:?}, which has no address")]
    NoAddress {
        /// The app.
        app: String,
        /// The task that goes without traffic.
        task: String,
        /// The name.
        host: String,
    },
}

/// Ports that are spoken for, and whose they are: HAProxy's own frontends.
pub type Reserved = BTreeMap<u16, String>;

/// What HAProxy is to have for this list. `hosts` has the addresses of those agents whose names are not addresses.
pub fn plan(services: &[Service], hosts: &Hosts, reserved: &Reserved) -> Plan {
    let mut plan = Plan::default();
    let mut ordered: Vec<&Service> = services.iter().collect();
    let place = |service: &Service| (stands_back(service), service.since.clone(), service.key());
    ordered.sort_by_cached_key(|service| place(service));
    for service in ordered {
        add(&mut plan, service, hosts, reserved);
    }
    let back = services.iter().filter(|service| stands_back(service));
    give_out_routes(&mut plan, &back.map(Service::key).collect());
    plan
}

/// Whether a service is one that its app wants no more, and nobody serves: who wants its port or its routes gets them at once.
fn stands_back(service: &Service) -> bool {
    let is_up = |one: &Instance| one.state == InstanceState::Up;
    service.left && !service.instances.iter().any(is_up)
}

fn add(plan: &mut Plan, service: &Service, hosts: &Hosts, reserved: &Reserved) {
    let app = || service.app_id.clone();
    let port = service.service_port;
    let (settings, bad) = labels::read(&service.labels, service.port_index);
    if settings.disabled {
        return;
    }
    let taken = plan.backends.get(&port).map(|backend| &backend.app);
    let owner = taken.or_else(|| reserved.get(&port)).cloned();
    let problem = match (service.protocol, port, owner) {
        (Protocol::Udp, _, _) => Some(Problem::Udp { app: app(), port }),
        (Protocol::Tcp | Protocol::Both, 0, _) => Some(Problem::NoPort {
            app: app(),
            port_index: service.port_index,
        }),
        (Protocol::Tcp | Protocol::Both, _, owner) => owner.map(|owner| Problem::PortTaken {
            app: app(),
            port,
            owner,
        }),
    };
    if let Some(problem) = problem {
        plan.problems.insert(problem);
        return;
    }
    let (settings, mode, unfit) = fit_to_mode(settings, service);
    let bad = bad.into_iter().chain(unfit);
    plan.problems
        .extend(bad.map(|label| Problem::Label { app: app(), label }));
    let path = settings.path.as_deref().unwrap_or("/");
    let backend = Backend {
        name: names::backend(&service.app_id, port),
        app: app(),
        port,
        mode,
        balance: settings.balance,
        sticky: settings.sticky,
        routes: settings
            .vhosts
            .iter()
            .map(|host| format!("{host}{path}"))
            .collect(),
        servers: servers(service, hosts, &mut plan.problems),
    };
    plan.backends.insert(port, backend);
}

/// The mode, and the settings less those that need requests where there are only bytes.
fn fit_to_mode(mut settings: Settings, service: &Service) -> (Settings, Mode, Vec<BadLabel>) {
    // A host name can only be read from a request, so it makes the mode, as marathon-lb has it.
    if !settings.vhosts.is_empty() {
        return (settings, Mode::Http, Vec::new());
    }
    let mode = settings.mode.unwrap_or(service.mode);
    let mut unfit = Vec::new();
    let mut ignore = |key: &str, reason| {
        let label = format!("HAPROXY_{}_{key}", service.port_index);
        let value = service.labels.get(&label).cloned().unwrap_or_default();
        unfit.push(BadLabel {
            label,
            value,
            reason,
        });
    };
    if mode == Mode::Tcp && settings.balance == Balance::Uri {
        ignore("BALANCE", "uri needs mode http");
        settings.balance = Balance::default();
    }
    if mode == Mode::Tcp && settings.sticky {
        ignore("STICKY", "a cookie needs mode http");
        settings.sticky = false;
    }
    (settings, mode, unfit)
}

fn servers(
    service: &Service,
    hosts: &Hosts,
    problems: &mut BTreeSet<Problem>,
) -> BTreeMap<String, Server> {
    let mut servers = BTreeMap::new();
    for Instance {
        task_id,
        host,
        port,
        state,
    } in &service.instances
    {
        let Some(ip) = host.parse().ok().or_else(|| hosts.get(host).copied()) else {
            let (app, task) = (service.app_id.clone(), task_id.clone());
            problems.insert(Problem::NoAddress {
                app,
                task,
                host: host.chars().take(80).collect(),
            });
            continue;
        };
        let is_draining = match state {
            InstanceState::Up => false,
            InstanceState::Draining => true,
        };
        let server = Server {
            task: task_id.clone(),
            address: SocketAddr::new(ip, *port),
            is_draining,
        };
        servers.entry(names::server(task_id)).or_insert(server);
    }
    servers
}

/// Host names that two services ask for go to the one with the lower service port, but for services that stand back.
fn give_out_routes(plan: &mut Plan, back: &BTreeSet<ServiceKey>) {
    let mut owners: BTreeMap<String, String> = BTreeMap::new();
    let is_back = |backend: &&mut Backend| {
        let mut back = back.iter();
        back.any(|key| key.service_port == backend.port && key.app_id == backend.app)
    };
    let mut ordered: Vec<&mut Backend> = plan.backends.values_mut().collect();
    ordered.sort_by_key(is_back); // by port otherwise
    for backend in ordered {
        let app = &backend.app;
        let problems = &mut plan.problems;
        backend.routes.retain(|route| match owners.get(route) {
            Some(owner) => {
                problems.insert(Problem::RouteTaken {
                    app: app.clone(),
                    route: route.clone(),
                    owner: owner.clone(),
                });
                false
            }
            None => {
                owners.insert(route.clone(), app.clone());
                true
            }
        });
    }
}

impl Backend {
    /// Makes the cookies of this backend's servers; the same in every run and for every proxy.
    pub fn cookie_key(&self) -> String {
        format!("{:016x}", names::fingerprint(self.name.as_bytes()))
    }
}

impl Plan {
    /// The map from host name and path to backend name, for the shared HTTP frontend.
    pub fn routes(&self) -> BTreeMap<&str, &str> {
        let mut routes = BTreeMap::new();
        for backend in self.backends.values() {
            routes.extend(
                backend
                    .routes
                    .iter()
                    .map(|route| (route.as_str(), backend.name.as_str())),
            );
        }
        routes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(app: &str, port: u16, labels: &[(&str, &str)]) -> Service {
        Service {
            app_id: app.into(),
            port_index: 0,
            service_port: port,
            since: String::new(),
            left: false,
            protocol: Protocol::Tcp,
            mode: Mode::Tcp,
            labels: labels
                .iter()
                .map(|(key, value)| ((*key).into(), (*value).into()))
                .collect(),
            instances: Vec::new(),
        }
    }

    fn instance(task: &str, host: &str, port: u16, state: InstanceState) -> Instance {
        Instance {
            task_id: task.into(),
            host: host.into(),
            port,
            state,
        }
    }

    #[test]
    fn instances_become_servers_with_addresses() {
        let mut web = service("/web", 10000, &[]);
        web.instances = vec![
            instance("web.1", "127.0.0.2", 31000, InstanceState::Up),
            instance("web.2", "node-3", 31001, InstanceState::Draining),
            instance("web.3", "nowhere", 31002, InstanceState::Up),
            instance("web.1", "127.0.0.9", 1, InstanceState::Up),
        ];
        let hosts = Hosts::from([("node-3".into(), IpAddr::from([10, 0, 0, 3]))]);

        let plan = plan(&[web], &hosts, &Reserved::new());

        let servers = &plan.backends[&10000].servers;
        assert_eq!(servers["web.1"].address, ([127, 0, 0, 2], 31000).into());
        assert_eq!(servers["web.2"].address, ([10, 0, 0, 3], 31001).into());
        assert!(servers["web.2"].is_draining && !servers["web.1"].is_draining);
        let problem = Problem::NoAddress {
            app: "/web".into(),
            task: "web.3".into(),
            host: "nowhere".into(),
        };
        assert_eq!(plan.problems, BTreeSet::from([problem]));
    }

    #[test]
    fn a_host_name_makes_a_service_http_and_routes_to_it() {
        let a = service(
            "/a",
            10001,
            &[
                ("HAPROXY_0_VHOST", "a.example,b.example"),
                ("HAPROXY_0_PATH", "/x"),
            ],
        );
        let b = service("/b", 10000, &[("HAPROXY_0_VHOST", "b.example")]);

        let plan = plan(&[a, b], &Hosts::new(), &Reserved::new());

        assert_eq!(plan.backends[&10001].mode, Mode::Http);
        let routes: Vec<_> = plan.routes().into_iter().collect();
        assert_eq!(
            routes,
            [
                ("a.example/x", "a_10001"),
                ("b.example/", "b_10000"),
                ("b.example/x", "a_10001")
            ]
        );
    }

    #[test]
    fn what_two_ask_for_goes_to_one_and_the_other_is_named() {
        let host = [("HAPROXY_0_VHOST", "a.example")];
        let services = [
            service("/z", 10000, &[]),
            service("/a", 10000, &host),
            service("/b", 10001, &host),
            service("/c", 9090, &[]),
            Service {
                protocol: Protocol::Udp,
                ..service("/d", 10003, &[])
            },
            service("/e", 0, &[]),
            service("/f", 10004, &[("HAPROXY_0_ENABLED", "false")]),
        ];
        let reserved = Reserved::from([(9090, "the stats page".into())]);

        let plan = plan(&services, &Hosts::new(), &reserved);

        assert_eq!(
            plan.backends
                .values()
                .map(|b| b.app.as_str())
                .collect::<Vec<_>>(),
            ["/a", "/b"]
        );
        let problems: Vec<_> = plan.problems.iter().map(ToString::to_string).collect();
        assert_eq!(
            problems,
            [
                "/c: service port 9090 belongs to the stats page",
                "/z: service port 10000 belongs to /a",
                "/b: a.example/ belongs to /a",
                "/d: service port 10003 is udp, which is not proxied",
                "/e: port 0 has no service port",
            ]
        );
    }

    #[test]
    fn a_port_stays_with_whoever_has_had_it_for_longer() {
        let since = |app: &str, since: &str| Service {
            since: since.into(),
            ..service(app, 10000, &[])
        };
        let services = [
            since("/a", "2026-11-29T13:00:11.014Z"),
            since("/b", "2026-11-29T13:00:11.013Z"),
        ];

        let plan = plan(&services, &Hosts::new(), &Reserved::new());

        assert_eq!(plan.backends[&10000].app, "/b");
        let problems: Vec<_> = plan.problems.iter().map(ToString::to_string).collect();
        assert_eq!(problems, ["/a: service port 10000 belongs to /b"]);
    }

    #[test]
    fn what_an_app_leaves_goes_to_who_wants_it_as_soon_as_nobody_is_up() {
        let host = [("HAPROXY_0_VHOST", "a.example")];
        let mut blue = [service("/blue", 10000, &host), service("/blue", 10001, &[])];
        blue[1].port_index = 1;
        for service in &mut blue {
            service.left = true;
            service.instances = vec![
                instance("blue.1", "127.0.0.2", 31000, InstanceState::Up),
                instance("blue.2", "127.0.0.2", 31001, InstanceState::Draining),
            ];
        }
        let green = [
            service("/green", 10001, &[]),
            service("/green", 10002, &host),
        ];
        let owners = |blue: &[Service]| {
            let all: Vec<Service> = blue.iter().chain(&green).cloned().collect();
            let plan = plan(&all, &Hosts::new(), &Reserved::new());
            let route = plan.routes()["a.example/"].to_owned();
            (route, plan.backends[&10001].app.clone())
        };
        let held = ("blue_10000".to_owned(), "/blue".to_owned());

        assert_eq!(owners(&blue), held);
        for service in &mut blue {
            service.instances[0].state = InstanceState::Draining;
        }
        let given = ("green_10002".to_owned(), "/green".to_owned());
        assert_eq!(owners(&blue), given);
        for service in &mut blue {
            service.left = false; // it is wanted, whoever is up
        }
        assert_eq!(owners(&blue), held);
    }

    #[test]
    fn the_order_of_the_list_changes_nothing() {
        let services = [
            service("/a", 1, &[]),
            service("/b", 1, &[]),
            service("/c", 2, &[]),
        ];
        let mut turned = services.clone();
        turned.reverse();

        let (one, other) = (
            plan(&services, &Hosts::new(), &Reserved::new()),
            plan(&turned, &Hosts::new(), &Reserved::new()),
        );

        assert_eq!(one, other);
    }

    #[test]
    fn settings_that_need_http_are_refused_for_tcp() {
        let tcp = service(
            "/a",
            1,
            &[("HAPROXY_0_STICKY", "true"), ("HAPROXY_0_BALANCE", "uri")],
        );

        let plan = plan(&[tcp], &Hosts::new(), &Reserved::new());

        let backend = &plan.backends[&1];
        assert_eq!(
            (backend.sticky, backend.balance, plan.problems.len()),
            (false, Balance::RoundRobin, 2)
        );
    }
}
