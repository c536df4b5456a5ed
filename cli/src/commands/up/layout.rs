//! Who gets which address, port and part of the machine. Names and ports are a contract that scripts build on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mete_model::resources::megabytes::milli_within;
use mete_model::{MB_MILLI, MEBIBYTE, Ranges, Resources};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::served;
use crate::client::Api;

const MASTER_PORT: u16 = 5050;
const FIRST_AGENT_PORT: u16 = 5051;
const SERVICES_PORT: u16 = 8080;
const SYNC_PORT: u16 = 9102;
const HTTP_FRONTEND_PORT: u16 = 9080;
const STATS_PORT: u16 = 9090;
/// Host ports for tasks, divided among the agents: below the range the kernel takes outgoing ports from.
const TASK_PORTS: (u64, u64) = (31_000, 32_000);
/// What the machine keeps for itself, as an agent by itself would leave it.
const KEPT_MEM_BYTES: u64 = 1024 * MEBIBYTE;
const KEPT_DISK_BYTES: u64 = 5 * 1024 * MEBIBYTE;

/// One daemon: how it is started and where it answers.
#[derive(Clone, Debug)]
pub(super) struct Daemon {
    pub(super) name: String,
    pub(super) arguments: Vec<OsString>,
    pub(super) address: SocketAddr,
}

/// The whole cluster on paper.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    state_dir: PathBuf,
    shift: u16,
    stages: Vec<Vec<Daemon>>,
}

impl Layout {
    /// Divides this machine among `agents`.
    pub(super) fn new(
        state_dir: &Path,
        agents: u8,
        shift: u16,
        oversubscribe: bool,
    ) -> Result<Self> {
        let machine = machine(state_dir)?;
        let parts = if oversubscribe { 1 } else { u64::from(agents) };
        let ports = slices(u64::from(agents));
        let master = loopback(1, MASTER_PORT + shift);
        let services = loopback(1, SERVICES_PORT + shift);
        let sync = loopback(1, SYNC_PORT + shift);
        let first = vec![Daemon {
            name: "master".to_owned(),
            arguments: words(
                "master",
                [
                    ("port", master.port().to_string()),
                    ("state-dir", text(&state_dir.join("master"))),
                ],
            ),
            address: master,
        }];
        let mut second: Vec<Daemon> = (1..=agents)
            .zip(ports)
            .map(|(number, ports)| {
                let address =
                    loopback(number + 1, FIRST_AGENT_PORT + u16::from(number) - 1 + shift);
                let ports =
                    Ranges::interval(ports.0 + u64::from(shift), ports.1 + u64::from(shift));
                let resources = part(&machine, parts).with_ports(ports);
                agent(state_dir, number, address, master, &resources)
            })
            .collect();
        second.push(service_framework(state_dir, services, master));
        let third = vec![haproxy_sync(state_dir, sync, services, shift)];
        Ok(Self {
            state_dir: state_dir.to_owned(),
            shift,
            stages: vec![first, second, third],
        })
    }

    /// Daemons in the order they start; those of one stage start side by side.
    pub(super) fn stages(&self) -> &[Vec<Daemon>] {
        &self.stages
    }

    /// # Errors
    /// Names the port that is in use, and whose it would be.
    pub(super) fn check_ports(&self) -> Result<()> {
        let haproxy = [
            ("HAProxy's HTTP frontend", HTTP_FRONTEND_PORT),
            ("HAProxy's stats", STATS_PORT),
        ];
        let haproxy = haproxy.map(|(name, port)| (name, loopback(1, port + self.shift)));
        let daemons = self
            .stages
            .iter()
            .flatten()
            .map(|daemon| (daemon.name.as_str(), daemon.address));
        for (name, address) in daemons.chain(haproxy) {
            if let Err(error) = TcpListener::bind(address) {
                bail!(
                    "port {} on {} for {name} cannot be had: {error} (--port-base shifts every port)",
                    address.port(),
                    address.ip()
                );
            }
        }
        Ok(())
    }

    pub(super) fn services_url(&self) -> String {
        format!("http://{}", loopback(1, SERVICES_PORT + self.shift))
    }

    pub(super) fn sync_url(&self) -> String {
        format!("http://{}", loopback(1, SYNC_PORT + self.shift))
    }

    pub(super) fn master_url(&self) -> String {
        format!("http://{}", loopback(1, MASTER_PORT + self.shift))
    }

    /// Where a service port is reached through HAProxy.
    pub(super) fn service_address(&self, service_port: u16) -> SocketAddr {
        loopback(1, service_port.saturating_add(self.shift))
    }

    /// Where an agent keeps what it has.
    pub(super) fn work_dir(&self, agent: &str) -> PathBuf {
        self.state_dir.join(agent)
    }

    pub(super) fn haproxy_dir(&self) -> PathBuf {
        self.state_dir.join("haproxy")
    }

    pub(super) fn admin_socket(&self) -> PathBuf {
        self.haproxy_dir().join("admin.sock")
    }

    /// The pid of the running HAProxy, as soon as it answers.
    pub(super) async fn haproxy(&self, patience: Duration) -> Result<u32> {
        let deadline = Instant::now() + patience;
        loop {
            let pid = self.haproxy_pid();
            if let (Some(pid), true) = (pid, served::answers(&self.admin_socket()).await) {
                return Ok(pid);
            }
            if Instant::now() >= deadline {
                bail!(
                    "HAProxy did not come up within {patience:?}; see {}",
                    self.state_dir.join("logs/haproxy-sync.log").display()
                );
            }
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The pid that HAProxy's follower has written down.
    pub(super) fn haproxy_pid(&self) -> Option<u32> {
        let text = std::fs::read_to_string(self.haproxy_dir().join("haproxy.pid")).ok()?;
        text.lines().next()?.trim().parse().ok()
    }

    /// Writes `cluster.json`, whole or not at all.
    pub(super) fn write_cluster(
        &self,
        pids: &BTreeMap<String, u32>,
        haproxy: Option<&u32>,
    ) -> Result<()> {
        let daemons: Vec<Value> = self
            .stages
            .iter()
            .flatten()
            .map(|daemon| json!({ "name": daemon.name, "url": format!("http://{}", daemon.address), "pid": pids.get(&daemon.name) }))
            .collect();
        let cluster = json!({
            "daemons": daemons,
            "haproxy": {
                "pid": haproxy,
                "stats": format!("http://{}", loopback(1, STATS_PORT + self.shift)),
                "adminSocket": self.admin_socket(),
                "httpFrontend": format!("http://{}", loopback(1, HTTP_FRONTEND_PORT + self.shift)),
            },
        });
        let path = self.state_dir.join("cluster.json");
        let half = self.state_dir.join("cluster.json.new");
        let write = || -> std::io::Result<()> {
            std::fs::write(&half, format!("{cluster:#}\n"))?;
            std::fs::rename(&half, &path)
        };
        write().with_context(|| format!("cannot write {}", path.display()))
    }

    /// What to open, for people.
    pub(super) async fn where_to_look(
        &self,
        services: &Api,
        apps: &[String],
    ) -> Vec<(String, String)> {
        let mut lines = vec![
            (
                "apps (REST)".to_owned(),
                format!("{}/v2/apps", self.services_url()),
            ),
            ("master".to_owned(), format!("{}/state", self.master_url())),
            (
                "HAProxy stats".to_owned(),
                format!("http://{}", loopback(1, STATS_PORT + self.shift)),
            ),
        ];
        for app in apps {
            let Ok(Some(answer)) = services.find(&format!("/v2/apps{app}")).await else {
                continue;
            };
            for port in served::service_ports(&answer["app"]) {
                lines.push((
                    app.clone(),
                    format!("curl http://{}/", self.service_address(port)),
                ));
            }
            if let Some(host) = answer["app"]["labels"]["HAPROXY_0_VHOST"]
                .as_str()
                .and_then(|hosts| hosts.split(',').next())
            {
                let frontend = loopback(1, HTTP_FRONTEND_PORT + self.shift);
                lines.push((
                    app.clone(),
                    format!("curl -H 'Host: {host}' http://{frontend}/"),
                ));
            }
        }
        lines
    }
}

fn agent(
    state_dir: &Path,
    number: u8,
    address: SocketAddr,
    master: SocketAddr,
    resources: &Resources,
) -> Daemon {
    let name = format!("agent-{number}");
    let mut arguments = words(
        "agent",
        [
            ("name", name.clone()),
            ("ip", address.ip().to_string()),
            ("hostname", address.ip().to_string()),
            ("port", address.port().to_string()),
            ("master", format!("http://{master}")),
            ("work-dir", text(&state_dir.join(&name))),
            ("resources", resources.to_string().replace("; ", ";")),
        ],
    );
    arguments.push("--stop-tasks-on-exit".into());
    Daemon {
        name,
        arguments,
        address,
    }
}

fn service_framework(state_dir: &Path, address: SocketAddr, master: SocketAddr) -> Daemon {
    let arguments = words(
        "services",
        [
            ("port", address.port().to_string()),
            ("master", format!("http://{master}")),
            ("state-dir", text(&state_dir.join("services"))),
        ],
    );
    Daemon {
        name: "services".to_owned(),
        arguments,
        address,
    }
}

fn haproxy_sync(state_dir: &Path, address: SocketAddr, services: SocketAddr, shift: u16) -> Daemon {
    let arguments = words(
        "haproxy-sync",
        [
            ("port", address.port().to_string()),
            ("services", format!("http://{services}")),
            ("state-dir", text(&state_dir.join("haproxy"))),
            (
                "http-bind",
                loopback(1, HTTP_FRONTEND_PORT + shift).to_string(),
            ),
            ("stats-bind", loopback(1, STATS_PORT + shift).to_string()),
            ("service-port-shift", shift.to_string()),
        ],
    );
    Daemon {
        name: "haproxy-sync".to_owned(),
        arguments,
        address,
    }
}

fn words<const N: usize>(subcommand: &str, options: [(&str, String); N]) -> Vec<OsString> {
    let options = options
        .into_iter()
        .map(|(key, value)| OsString::from(format!("--{key}={value}")));
    std::iter::once(OsString::from(subcommand))
        .chain(options)
        .collect()
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn loopback(last: u8, port: u16) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)), port)
}

/// Disjoint slices of the task ports, one an agent.
fn slices(agents: u64) -> Vec<(u64, u64)> {
    let (first, last) = TASK_PORTS;
    let size = (last - first + 1) / agents.max(1);
    (0..agents)
        .map(|number| (first + number * size, first + (number + 1) * size - 1))
        .collect()
}

/// What this machine has to give.
fn machine(state_dir: &Path) -> Result<Resources> {
    let info = rustix::system::sysinfo();
    let memory = (info.totalram as u64).saturating_mul(u64::from(info.mem_unit));
    let disk = rustix::fs::statvfs(state_dir)
        .with_context(|| format!("cannot measure {}", state_dir.display()))?;
    let disk = disk.f_blocks.saturating_mul(disk.f_frsize);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
    let leave = |all: u64, kept: u64| if all < 2 * kept { all / 2 } else { all - kept };
    let mut all = Resources::none();
    all.cpus_milli = cores * 1000;
    all.mem_milli = milli_within(leave(memory, KEPT_MEM_BYTES));
    all.disk_milli = milli_within(leave(disk, KEPT_DISK_BYTES));
    Ok(all)
}

/// One of `parts` equal parts; memory and disk in whole MB.
fn part(machine: &Resources, parts: u64) -> Resources {
    let whole = |milli: u64| milli / parts / MB_MILLI * MB_MILLI;
    let mut part = Resources::none();
    part.cpus_milli = (machine.cpus_milli / parts).max(100);
    part.mem_milli = whole(machine.mem_milli);
    part.disk_milli = whole(machine.disk_milli);
    part
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_agents_share_a_port() {
        for agents in [1, 3, 7, 200] {
            let slices = slices(agents);

            assert_eq!(slices.len() as u64, agents);
            assert!(
                slices.windows(2).all(|pair| pair[0].1 < pair[1].0),
                "{slices:?}"
            );
            assert!(
                slices
                    .iter()
                    .all(|(first, last)| *first >= 31_000 && *last <= 32_000 && first <= last)
            );
        }
    }

    #[test]
    fn the_parts_are_within_the_machine() {
        let mut machine = Resources::cpus_mem(2000, 1 << 14);
        machine.disk_milli = MB_MILLI << 18;
        let part = part(&machine, 3);

        assert!(machine.contains(&part.plus(&part).plus(&part)));
    }
}
