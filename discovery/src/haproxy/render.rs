//! From a plan to the files HAProxy reads: the configuration and the map of host names.
//!
//! The *frame* is the configuration without its servers. Two plans with the same frame need no reload to get from one to
//! the other; a worker carries the frame's fingerprint, so that anybody can ask which one it runs.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mete_proto::rest::backends::Mode;

use super::backends::{Backend, Plan};
use super::names::fingerprint;
use super::reconcile::SERVER_OPTIONS;
use super::template::{BackendContext, Bind, Context, ServerContext, Template, TemplateError};

/// Where things are; the same for the whole life of the sync.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// The admin socket.
    pub admin_socket: PathBuf,
    /// The folder of the maps.
    pub folder: PathBuf,
    /// The shared HTTP frontend.
    pub http: SocketAddr,
    /// The stats page.
    pub stats: SocketAddr,
    /// Where service ports are bound.
    pub service_ip: IpAddr,
    /// Added to each service port; clusters side by side on one machine keep apart by it.
    pub service_port_shift: u16,
    /// How long an old worker may end its connections.
    pub hard_stop_after: Duration,
}

impl Layout {
    /// Where a service port is bound; shifted ports end at 65535.
    pub fn service_bind(&self, port: u16) -> SocketAddr {
        SocketAddr::new(
            self.service_ip,
            port.saturating_add(self.service_port_shift),
        )
    }
}

/// What comes of a plan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// The configuration.
    pub text: String,
    /// Fingerprint of the configuration without its servers.
    pub frame: String,
    /// The file that the configuration reads host names from; its name follows from its content.
    pub map: PathBuf,
    /// What is in it.
    pub map_text: String,
}

/// Renders a plan.
///
/// # Errors
/// When the template cannot be used with it.
pub fn render(
    template: &Template,
    layout: &Layout,
    plan: &Plan,
) -> Result<Rendered, TemplateError> {
    let map_text: String = plan
        .routes()
        .iter()
        .map(|(route, backend)| format!("{route} {backend}\n"))
        .collect();
    let map = layout.folder.join(format!(
        "routes-{:016x}.map",
        fingerprint(map_text.as_bytes())
    ));
    let routes = map.to_string_lossy().into_owned();
    let frame_text = template.render(&context(layout, plan, &routes, false))?;
    let socket = layout.admin_socket.display();
    let frame = format!(
        "{:016x}",
        fingerprint(format!("{socket}\n{frame_text}").as_bytes())
    );
    let body = template.render(&context(layout, plan, &routes, true))?;
    // What the sync stands on is not the template's to forget.
    let text = format!(
        "# Written by `mete haproxy-sync`; changes made here are lost.\n{body}\nglobal\n    \
         stats socket {socket} mode 600 level admin expose-fd listeners\n    \
         set-var proc.mete_frame str({frame})\n"
    );
    Ok(Rendered {
        text,
        frame,
        map,
        map_text,
    })
}

fn context<'a>(
    layout: &Layout,
    plan: &'a Plan,
    routes: &'a str,
    with_servers: bool,
) -> Context<'a> {
    let backends = plan
        .backends
        .values()
        .map(|backend| of_backend(layout, backend, with_servers));
    Context {
        http: Bind {
            bind: layout.http.to_string(),
        },
        stats: Bind {
            bind: layout.stats.to_string(),
        },
        hard_stop_after_ms: layout.hard_stop_after.as_millis(),
        routes,
        backends: backends.collect(),
    }
}

fn of_backend<'a>(layout: &Layout, backend: &'a Backend, with_servers: bool) -> BackendContext<'a> {
    // One that drains takes no new sessions, so a new worker has no use for it; those it has are in the old worker.
    let taking = backend
        .servers
        .iter()
        .filter(|(_, server)| with_servers && !server.is_draining);
    let servers = taking.map(|(name, server)| ServerContext {
        name,
        address: server.address.to_string(),
        options: SERVER_OPTIONS,
        task: one_line(&server.task),
    });
    BackendContext {
        name: &backend.name,
        app: one_line(&backend.app),
        port: backend.port,
        bind: layout.service_bind(backend.port).to_string(),
        mode: match backend.mode {
            Mode::Http => "http",
            Mode::Tcp => "tcp",
        },
        balance: backend.balance.as_str(),
        hashed: backend.balance.is_hash(),
        sticky: backend.sticky,
        cookie_key: backend.cookie_key(),
        servers: servers.collect(),
    }
}

/// For comments: nothing that could end the line, nothing that a configuration's reader could take for more.
fn one_line(text: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '\\' | '#' | '$') {
            c
        } else {
            '?'
        }
    };
    text.chars().map(plain).collect()
}
