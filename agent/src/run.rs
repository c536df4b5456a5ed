//! The life of an agent: measure, recover, serve, end.
//!
//! ```text
//! work directory ─▶ store (locks out a second agent) ─▶ port ─▶ look after the tasks of before ─▶ loop, master, HTTP
//!        SIGTERM: the agent ends, tasks run on; with --stop-tasks-on-exit they end first
//! ```

mod error; // why it ends
mod parts; // what it is made of, put together

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::{BadRecord, Findings, Input, Node, StopReason};
use mete_daemon::auth::credentials::{self, CallersError};
use mete_daemon::auth::{Callers, Token};
use mete_daemon::config::{Fault, Faults};
use mete_daemon::descriptors;
use mete_daemon::directory;
use mete_daemon::event_loop::{self, LoopError};
use mete_daemon::host;
use mete_daemon::server;
use mete_daemon::store::redb::Redb;
use mete_daemon::store::{self, StoreError};
use mete_model::{Attributes, Endpoint};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use crate::config::Options;
use crate::containerizer::docker::Containerizers;
use crate::containerizer::image::{self, ImageSource};
use crate::containerizer::process::ProcessContainerizer;
use crate::equipment::{Equipment, permissions, set_up_containers};
use crate::images::{self, Images};
use crate::inventory::{self, Inventory};
use crate::journal::AgentJournal;
use crate::places::{Places, WORK_DIR_MODE};
use crate::remains;
use crate::sandbox::Reserve;
use crate::secrets::Secrets;
use crate::shims::Executable;
use crate::volumes::Volumes;
pub use error::RunError;

/// The longest grace period of a task when the agent takes its tasks along: an agent ends within 10 s.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long tasks may take to end in all when the agent takes them along; then it ends without them.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// How long the removal of what ended tasks held may take at the end.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// Runs an agent until `shutdown` is cancelled or the master ends it. Its shims are the running program itself, called
/// as `mete shim …`.
///
/// # Errors
/// [`RunError`]; a second agent on one work directory, a store that cannot be read, a port in use, a master that
/// refuses the agent for good.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    let tasks_own = descriptors::raise();
    let shim = Executable::of_this_process().map_err(RunError::Containerizer)?;
    let shim = shim.with_descriptors(tasks_own);
    run_with(options, shim, None, shutdown).await
}

/// As [`run`], with another program as shim, and images of tasks from `source` instead of the agent's own store.
///
/// # Errors
/// As [`run`].
pub async fn run_with(
    options: Options,
    shim: Executable,
    source: Option<ImageSource>,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let token = options.listen.token().map_err(CallersError::from)?;
    let callers = credentials::callers(token.clone(), options.http_credentials.as_deref());
    let callers = callers.map_err(CallersError::from)?;
    directory::make(&options.work_dir, WORK_DIR_MODE)?;
    let places = Places::open(&options.work_dir).map_err(RunError::WorkDir)?;
    let store = open_store(&places).await?;
    let (tasks, root) = (places.tasks(), places.root().to_owned());
    if let Some(sandbox) = spawn_blocking(move || remains::left_behind(&tasks, &root)).await? {
        return Err(moved(&sandbox).into());
    }
    let inventory = measure(&options, &places).await?;
    let permissions = permissions(&options, &places).await?;
    let containerizer = set_up_containers(&options, &places, shim, permissions.clone()).await?;
    let (root, chosen) = (places.images(), options.images.clone());
    let images = spawn_blocking(move || Images::open(root, chosen)).await??;
    let root = places.volumes();
    let volumes = spawn_blocking(move || Volumes::open(root)).await?;
    let volumes = volumes.map_err(RunError::WorkDir)?;
    let root = places.secrets();
    let secrets = spawn_blocking(move || Secrets::open(root)).await?;
    let secrets = secrets.map_err(RunError::WorkDir)?;
    let source = source.unwrap_or_else(|| image::of(images.clone()));
    let (shim, carries_overlay) = (containerizer.shim(), images.carries_overlay());
    let equipment = Equipment::find(&options, &places, permissions, shim, carries_overlay).await?;
    let engine = equipment.docker.as_ref().map(|engine| engine.setup());
    let tasks = Containerizers::new(Arc::clone(&containerizer), engine);
    let listener = server::bind(options.address()).await?;
    let address = listener.local_addr().map_err(RunError::WorkDir)?;
    let endpoint = Endpoint {
        hostname: inventory.hostname.clone(),
        ip: options.advertised_ip().to_string(),
        port: address.port(),
    };
    let agent = Agent {
        attributes: watch::Sender::default(),
        options,
        token,
        callers,
        places,
        inventory,
        containerizer,
        images,
        volumes,
        secrets,
        source,
        equipment,
        tasks,
        endpoint,
    };
    agent.live(store, listener, address, shutdown).await
}

async fn open_store(places: &Places) -> Result<Redb, RunError> {
    match store::redb::open(places.store()).await {
        Err(source @ StoreError::Locked { .. }) => Err(RunError::TwoAgents {
            work_dir: places.root().display().to_string(),
            source,
        }),
        opened => Ok(opened?),
    }
}

/// In a work directory that was moved, what runs would fail piece by piece: the agent does not begin, and does nothing to it.
fn moved(sandbox: &Path) -> Faults {
    let reason = format!(
        "tasks run here that were begun elsewhere, one of them in {}: the directory was moved; they run on, and the agent starts \
         where it was before",
        sandbox.display()
    );
    Faults(vec![Fault::new("work-dir", reason)])
}

async fn measure(options: &Options, places: &Places) -> Result<Inventory, RunError> {
    let mut given = options.given().map_err(Faults)?;
    if given.hostname.is_none() {
        given.hostname = Some(own_name(options.advertised_ip()).await);
    }
    let root = places.root().to_owned();
    let inventory = spawn_blocking(move || inventory::take(&root, given)).await??;
    info!(resources = %inventory.resources, hostname = inventory.hostname, "machine measured");
    Ok(inventory)
}

fn outcome(reason: Option<StopReason>) -> Result<(), RunError> {
    match reason {
        Some(StopReason::Asked) | None => Ok(()),
        // Starting again does not help, another directory does.
        Some(reason @ StopReason::Refused(_)) => {
            Err(Faults(vec![Fault::new("work-dir", reason.to_string())]).into())
        }
        Some(reason @ StopReason::ShutDown(_)) => Err(RunError::Stopped(reason)),
    }
}

/// Under which name tasks are found: that of the machine where it leads here, else the address, which does.
async fn own_name(ip: IpAddr) -> String {
    if let Some(name) = host::name_that_leads_to(ip).await {
        return name;
    }
    info!(
        name = host::name(),
        %ip,
        "the machine's name does not lead to its address: tasks are found by the address"
    );
    ip.to_string()
}

/// An agent that has all it needs to begin.
struct Agent {
    /// Those that the operator has given, and what the agent has found of itself.
    attributes: watch::Sender<Attributes>,
    options: Options,
    token: Option<Token>,
    callers: Callers,
    places: Places,
    inventory: Inventory,
    containerizer: Arc<ProcessContainerizer>,
    images: Images,
    volumes: Volumes,
    secrets: Secrets,
    source: ImageSource,
    equipment: Equipment,
    tasks: Containerizers,
    endpoint: Endpoint,
}

impl Agent {
    async fn live(
        self,
        store: Redb,
        listener: TcpListener,
        address: SocketAddr,
        shutdown: CancellationToken,
    ) -> Result<(), RunError> {
        self.attributes
            .send_replace(self.attributes(self.equipment.engine_answers()));
        let reserve = Arc::new(Reserve::new(
            self.places.reserve(),
            self.options.disk_reserve,
        ));
        take_reserve(Arc::clone(&reserve)).await;
        let entries = store::load_all(&store).await?;
        let node = Node::recover(self.settings(), entries)
            .map_err(|bad| unreadable(self.places.store(), bad))?;
        let (findings, found) = self
            .survivors()
            .look_after(&node)
            .await
            .map_err(RunError::Descriptors)?;
        self.has_room(&node, &findings)?;

        let (handle, ready) = event_loop::prepare(node);
        let mut registry = Registry::default();
        let ready = ready.with_metrics(registry.sub_registry_with_prefix("mete_agent"));
        let fetcher = self.fetcher(&mut registry).await?;
        let end = CancellationToken::new();
        let counted = self.count(&handle, registry, &fetcher, &end);
        let (stop, mut stopped) = mpsc::channel(1);
        let releases = TaskTracker::new();
        let door = self.executor_door(&handle, &end).await?;
        let hands = self.hands(&door, fetcher, Arc::clone(&reserve), found, &releases, stop)?;
        let journal = AgentJournal::new(self.places.store(), store, reserve, handle.clone());
        let mut looping = ready.start(journal, hands, end.clone());
        // The loop has ended when this fails, and says why below.
        let _ = handle.tell(Input::Recovered(findings)).await;

        let mut serving = self.serve(listener, door, counted, end.clone()).await?;
        tokio::spawn(images::collect_for_ever(self.images.clone(), end.clone()));
        self.await_engine(&end);
        info!(%address, "listening");
        let outcome = tokio::select! {
            () = shutdown.cancelled() => {
                if self.options.stop_tasks_on_exit {
                    let _ = handle.tell(Input::StopWithTasks { grace: STOP_GRACE }).await;
                    wait_for_tasks(&mut stopped, &mut looping).await;
                }
                Ok(())
            }
            reason = stopped.recv() => outcome(reason),
            ended = &mut looping => ended?.map_err(RunError::from),
            ended = &mut serving => ended.map_err(RunError::from),
        };
        end.cancel();
        if !looping.is_finished() {
            looping.await??;
        }
        if !serving.is_finished() {
            serving.await?;
        }
        self.leave(&handle, releases).await;
        info!("agent has ended");
        outcome
    }

    /// Tasks that run on keep what they hold: an agent that has less does not begin, and does nothing to them.
    fn has_room(&self, node: &Node, findings: &Findings) -> Result<(), Faults> {
        let lacking = node.lacking(&self.inventory.resources, findings);
        if lacking.is_empty() {
            return Ok(());
        }
        let reason = format!(
            "tasks that run here hold more than {}: {}; they run on, and the agent starts with what it had before",
            self.inventory.resources,
            lacking.join(", ")
        );
        Err(Faults(vec![Fault::new("resources", reason)]))
    }

    /// Once the engine answers, the agent says so, and has containers of no task removed from it: not waited for, so that one
    /// that hangs holds up no start.
    fn await_engine(&self, end: &CancellationToken) {
        let Some(engine) = self.equipment.docker.clone() else {
            return;
        };
        let (tasks, end) = (self.tasks.clone(), end.clone());
        let (told, with_engine) = (self.attributes.clone(), self.attributes(true));
        tokio::spawn(async move {
            if !engine.awaited(&end).await {
                return;
            }
            told.send_if_modified(|told| {
                let before = std::mem::replace(told, with_engine);
                *told != before
            });
            match tasks.remove_strays().await {
                Ok(removed) if removed.is_empty() => {}
                Ok(removed) => warn!(
                    containers = removed.join(", "),
                    "containers of no task are removed from the Docker Engine"
                ),
                Err(error) => {
                    warn!(%error, "containers of the Docker Engine cannot be looked through");
                }
            }
        });
    }

    /// Leaves nothing behind when nothing is to be left.
    async fn leave(&self, handle: &event_loop::Handle<Node>, releases: TaskTracker) {
        releases.close();
        if timeout(RELEASE_PATIENCE, releases.wait()).await.is_err() {
            warn!("what some ended tasks held is left to the next start");
        }
        let live = handle.view().tasks.values().any(|task| task.is_live());
        if live {
            return;
        }
        let groups = Arc::clone(&self.containerizer);
        let _ = spawn_blocking(move || groups.tear_down()).await;
    }
}

async fn take_reserve(reserve: Arc<Reserve>) {
    match spawn_blocking(move || reserve.restore()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(%error, "reserve of the store cannot be taken"),
        Err(error) => warn!(%error, "reserve of the store cannot be taken"),
    }
}

/// Waits until the last task has ended, but not for ever.
async fn wait_for_tasks(
    stopped: &mut mpsc::Receiver<StopReason>,
    looping: &mut JoinHandle<Result<(), LoopError>>,
) {
    tokio::select! {
        _ = stopped.recv() => {}
        _ = looping => {}
        () = tokio::time::sleep(STOP_PATIENCE) => warn!("some tasks have not ended in time, the agent ends without them"),
    }
}

/// The exit code of a store that cannot be read is found in the chain of causes.
fn unreadable(path: PathBuf, bad: BadRecord) -> StoreError {
    StoreError::Unreadable {
        path,
        source: Arc::new(bad),
    }
}
