//! The daemon from start to end: store, recover, listen, loop, link, server; and down again in the other order.
//!
//! ```text
//! store locked ─▶ state rebuilt ─▶ port bound ─▶ loop ─▶ link ─▶ serving ─▶ asked to end ─▶ server, link, loop ended
//! ```
//! Whichever of server, link and loop ends on its own takes the others down.

use std::net::SocketAddr;
use std::sync::Arc;

use mete_daemon::auth::TokenError;
use mete_daemon::clock;
use mete_daemon::descriptors;
use mete_daemon::event_loop::{self, LoopError};
use mete_daemon::server::{self, BindError};
use mete_daemon::store::{self, Batch, Store as _, StoreError, StoreJournal};
use mete_framework_sdk::{Capability, Framework, FrameworkSpec};
use mete_service_framework_core::orchestrator::Life;
use mete_service_framework_core::record::{FORMAT, migrate};
use mete_service_framework_core::{BadRecord, Orchestrator};
use prometheus_client::registry::Registry;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::access::{Access, AccessError};
use crate::audit::{Audit, AuditError, Writing};
use crate::config::{BadMaster, Options};
use crate::hands::ServiceHands;
use crate::http::{self, Api, Backups, Doors, Subscribers, Turns};
use crate::link::{self, Refused};
use crate::metrics;
use crate::offers::Table;
use crate::probes::{NoClient, Probes};
use crate::reserved::Reserved;
use crate::secrets::Secrets;
use crate::why::Why;

/// Why the service framework ended.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The store is locked, unreadable, full.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// Something in the store makes no sense; it is left as it is.
    #[error("the store cannot be understood")]
    Record(#[source] StoreError),
    /// The token cannot be read.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// Who may what cannot be read.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Who changes what cannot be written down.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The master cannot be asked.
    #[error(transparent)]
    Master(#[from] BadMaster),
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The master refuses us for good.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// Instances cannot be asked how they are.
    #[error(transparent)]
    Probes(#[from] NoClient),
    /// The loop ended.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// A part of the daemon panicked; the panic is in the log.
    #[error("{0} panicked")]
    Panicked(&'static str),
}

/// Runs the service framework until `shutdown`.
///
/// # Errors
/// [`RunError`]: nothing of it is lost, the next start goes on from what is stored.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    descriptors::raise();
    run_on(options, shutdown, |_| {}).await
}

/// The same, and says where it listens, for those who let the system pick the port.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    options: Options,
    shutdown: CancellationToken,
    listening: impl FnOnce(SocketAddr),
) -> Result<(), RunError> {
    let (doors, writing) = doors(&options)?;
    let connection = options.connection()?;
    let store = Arc::new(store::redb::open(options.store()).await?);
    let machine = recover(&options, store.as_ref()).await?;

    let listener = server::bind(options.listen.address(options.port)).await?;
    let address = listener.local_addr().map_err(|source| BindError::Refused {
        address: options.listen.address(options.port),
        source,
    })?;
    let leader = format!("{}:{}", options.hostname(), address.port());

    let stop = shutdown.child_token();
    let (stop_link, stop_loop) = (CancellationToken::new(), CancellationToken::new());
    let introduction = introduction(&options, &leader, &machine);
    let (handle, ready) = event_loop::prepare(machine);
    let mut registry = Registry::default();
    let ready = ready.with_metrics(metrics::register(&mut registry, &handle));

    let why = Why::new(connection.clone());
    let framework = Framework::connect(connection.clone(), introduction);
    let (table, subscribers) = (Table::default(), Subscribers::new(&options.role));
    let hands = ServiceHands {
        client: framework.client(),
        table: table.clone(),
        subscribers: subscribers.clone(),
        probes: Probes::new(handle.clone())?,
        reserved: Reserved::new(connection.clone(), handle.clone()),
        secrets: Secrets::new(options.secrets_dir.clone()),
        handle: handle.clone(),
    };
    let running = ready.run(StoreJournal::new(store.clone()), hands, stop_loop.clone());
    let running = tokio::spawn(until_end(running, stop.clone()));
    let linked = link::follow(framework, handle.clone(), table, stop_link.clone());
    let linked = tokio::spawn(until_end(linked, stop.clone()));
    let reread = tokio::spawn(reread(doors.access.clone(), stop.clone()));
    let callers = doors.callers();
    let api = Api {
        handle,
        subscribers,
        why,
        backups: Backups::of(store),
        doors,
        turns: Turns::default(),
        options: Arc::new(options),
        leader: leader.into(),
        stop: stop.clone(),
    };
    let routes = server::http(http::routes(api, Arc::new(registry)));
    info!(%address, "listening");
    listening(address);

    // Requests in flight are answered, and what follows from them goes out: so the link ends after the server, the
    // loop last.
    server::serve_to(listener, routes, callers, stop.clone()).await;
    stop_link.cancel();
    reread.abort();
    written(writing).await;
    let followed = flat(linked.await, "the link to the master");
    stop_loop.cancel();
    flat(running.await, "the event loop")?;
    followed
}

/// Who may pass, and what is written down of it.
fn doors(options: &Options) -> Result<(Doors, Option<Writing>), RunError> {
    let access = Access::read(options.access_file.as_deref(), options.listen.token()?)?;
    let audit = options.audit_log.as_deref().map(Audit::begin).transpose()?;
    let (audit, writing) = audit.unzip();
    Ok((Doors { access, audit }, writing))
}

/// Waits until all is written down; its disk may be slow, others go on meanwhile.
async fn written(writing: Option<Writing>) {
    if let Some(writing) = writing {
        drop(tokio::task::spawn_blocking(|| writing.end()).await);
    }
}

/// Reads the access file again on each SIGHUP, until `stop`.
async fn reread(access: Access, stop: CancellationToken) {
    let mut hangups = match signal(SignalKind::hangup()) {
        Ok(hangups) => hangups,
        Err(error) => {
            return warn!(%error, "SIGHUP cannot be heard: the access file is not read again");
        }
    };
    while let Some(Some(())) = stop.run_until_cancelled(hangups.recv()).await {
        if let Err(error) = access.read_again() {
            warn!(%error, "the access file cannot be used; what was read before holds on");
        }
    }
}

/// Runs a part of the daemon; when it ends, also by a panic, the others are asked to end.
async fn until_end<T>(part: impl Future<Output = T>, stop: CancellationToken) -> T {
    let _stop_others = stop.drop_guard();
    part.await
}

fn flat<E: Into<RunError>>(
    ended: Result<Result<(), E>, tokio::task::JoinError>,
    name: &'static str,
) -> Result<(), RunError> {
    match ended {
        Ok(result) => result.map_err(Into::into),
        Err(_) => Err(RunError::Panicked(name)),
    }
}

/// The state as it was stored, in the format of this program from now on.
async fn recover(options: &Options, store: &store::redb::Redb) -> Result<Orchestrator, RunError> {
    let migrated = migrate(store::load_all(store).await?);
    let migrated = migrated.map_err(|bad| unreadable(options, bad))?;
    let life = Life {
        seed: rand::random(),
        epoch: uuid::Uuid::new_v4().to_string(),
    };
    let stored = migrated.entries.len();
    let machine = Orchestrator::recover(options.settings(), &life, clock::now(), migrated.entries)
        .map_err(|bad| unreadable(options, bad))?;
    if !migrated.changes.is_empty() {
        // One batch, however large, so that the store is of one format or of the other.
        let batch = Batch::from(migrated.changes);
        store.commit(vec![batch], None).await?;
        info!(from = migrated.from, to = FORMAT, "records migrated");
    }
    info!(
        entries = stored,
        framework = machine.framework().map(ToString::to_string),
        "state rebuilt"
    );
    Ok(machine)
}

/// The exit code of a store that cannot be read is found in the chain of causes.
fn unreadable(options: &Options, bad: BadRecord) -> RunError {
    RunError::Record(StoreError::Unreadable {
        path: options.store(),
        source: Arc::new(bad),
    })
}

/// Who we say we are.
fn introduction(options: &Options, leader: &str, machine: &Orchestrator) -> FrameworkSpec {
    let spec = FrameworkSpec::new(options.framework_name.as_str());
    let spec = machine.roles().cloned().fold(spec, FrameworkSpec::role);
    let spec = spec
        .failover_timeout(options.failover_timeout)
        .capability(Capability::TaskKillingState)
        .capability(Capability::RegionAware)
        .capability(Capability::GpuResources)
        .found_at(options.hostname(), Some(format!("http://{leader}")))
        .explicit_acknowledgements();
    match machine.framework() {
        Some(id) => spec.id(id),
        None => spec,
    }
}
