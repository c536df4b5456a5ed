//! The life of an agent: measure, recover, serve, end.
//!
//! ```text
//! work directory ─▶ store (locks out a second agent) ─▶ port ─▶ look after the tasks of before ─▶ loop, master, HTTP
//!        SIGTERM: the agent ends, tasks run on; with --stop-tasks-on-exit they end first
//! ```

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use mete_agent_core::task_dir::OutputLimits;
use mete_agent_core::{BadRecord, Findings, Input, Node, Settings, StopReason};
use mete_daemon::auth::credentials::{self, CallersError};
use mete_daemon::auth::{Callers, Credentials, Token};
use mete_daemon::config::{Fault, Faults};
use mete_daemon::descriptors;
use mete_daemon::directory::{self, DirectoryError};
use mete_daemon::event_loop::{self, LoopError};
use mete_daemon::host;
use mete_daemon::server::{self, BindError};
use mete_daemon::store::redb::Redb;
use mete_daemon::store::{self, StoreError};
use mete_model::{Attributes, ContainerId, Endpoint};
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
use crate::disk_watch::DiskWatch;
use crate::equipment::{Equipment, name_networks, permissions, set_up_containers};
use crate::executors::{ExecutorStreams, ExecutorTokens};
use crate::fetcher::{Fetcher, FetcherError};
use crate::group_networks::GroupNetworks;
use crate::grpc;
use crate::hands::Hands;
use crate::http;
use crate::images::{self, ImageError, Images};
use crate::inventory::{self, Inventory, InventoryError};
use crate::journal::AgentJournal;
use crate::launch::{Launcher, Turns};
use crate::master_link::{Introduction, MasterLink};
use crate::namespaces::Namespaces;
use crate::oci_runtime::OciRuntimeError;
use crate::places::{Places, WORK_DIR_MODE};
use crate::probes::Probes;
use crate::sandbox::Reserve;
use crate::secrets::Secrets;
use crate::shims::{Executable, Shim};
use crate::statistics::Statistics;
use crate::survivors::Survivors;
use crate::task_desk::TaskDesk;
use crate::volumes::Volumes;

/// The longest grace period of a task when the agent takes its tasks along: an agent ends within 10 s.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long tasks may take to end in all when the agent takes them along; then it ends without them.
const STOP_PATIENCE: Duration = Duration::from_secs(8);
/// How long the removal of what ended tasks held may take at the end.
const RELEASE_PATIENCE: Duration = Duration::from_secs(2);

/// Why an agent ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The options contradict each other, the machine, or what runs on it.
    #[error("the configuration cannot be used here")]
    Config(#[from] Faults),
    /// The work directory cannot be made.
    #[error("the agent has no work directory")]
    Directory(#[from] DirectoryError),
    /// The work directory cannot be used.
    #[error("the work directory cannot be used")]
    WorkDir(#[source] io::Error),
    /// Another agent works in the same directory.
    #[error("another agent works in {work_dir}; give each agent a --work-dir of its own")]
    TwoAgents {
        /// The directory.
        work_dir: String,
        /// The lock.
        source: StoreError,
    },
    /// The store cannot be used.
    #[error("the agent's store cannot be used")]
    Store(#[from] StoreError),
    /// The token or the credentials cannot be read.
    #[error(transparent)]
    Callers(#[from] CallersError),
    /// The machine cannot be measured.
    #[error(transparent)]
    Inventory(#[from] InventoryError),
    /// Tasks cannot be run here.
    #[error("tasks cannot be run here")]
    Containerizer(#[source] io::Error),
    /// The tasks of before cannot be looked after.
    #[error(
        "there are too few file descriptors to look after the tasks that run here; raise the limit (ulimit -n, LimitNOFILE=)"
    )]
    Descriptors(#[source] io::Error),
    /// What is to build containers cannot.
    #[error(transparent)]
    OciRuntime(#[from] OciRuntimeError),
    /// The images cannot be used.
    #[error(transparent)]
    Images(#[from] ImageError),
    /// What tasks fetch has no place, or the operator's certificates cannot be used.
    #[error("fetching cannot be set up")]
    Fetcher(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The event loop ended by itself.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// A part of the agent panicked.
    #[error("a part of the agent broke")]
    Broken(#[from] tokio::task::JoinError),
    /// The descriptors of the gRPC services are damaged.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
    /// The master wants it so.
    #[error(transparent)]
    Stopped(StopReason),
}

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

    /// Has the state of the agent counted, and what its tasks use, of the disk until the end.
    fn count(
        &self,
        handle: &event_loop::Handle<Node>,
        mut registry: Registry,
        fetcher: &Fetcher,
        end: &CancellationToken,
    ) -> (Registry, Arc<Statistics>, Fetcher) {
        let tasks = Arc::new(self.tasks.clone());
        let disks = Arc::new(DiskWatch::new(
            handle.clone(),
            self.places.clone(),
            self.volumes.clone(),
            self.options.container_disk_watch_interval,
            self.options.enforce_container_disk_quota,
        ));
        tokio::spawn(Arc::clone(&disks).watch_for_ever(end.clone()));
        let statistics = Arc::new(Statistics::new(handle.clone(), tasks, disks));
        http::metrics::register(&mut registry, handle.clone());
        let looked = Arc::clone(&statistics);
        http::metrics::containers::register(&mut registry, handle.clone(), looked);
        (registry, statistics, fetcher.clone())
    }

    fn attributes(&self, engine_answers: bool) -> Attributes {
        let mut all = self.inventory.attributes.clone();
        let (equipment, networks) = (&self.equipment, self.containerizer.networks());
        equipment.name_in(&mut all, &self.options, engine_answers);
        name_networks(&mut all, equipment.oci.is_ok(), networks);
        all
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

    fn settings(&self) -> Settings {
        Settings {
            ip: self.endpoint.ip.clone(),
            kill_grace: self.options.kill_grace,
            gc_delay: self.options.gc_delay,
            executor_reregistration_timeout: self.options.executor_reregistration_timeout,
            disk_reserve_bytes: self.options.disk_reserve,
            seed: rand::random(),
        }
    }

    fn survivors(&self) -> Survivors {
        Survivors {
            containerizer: Arc::clone(&self.containerizer),
            tasks: self.tasks.clone(),
            images: self.images.clone(),
            namespaces: self.namespaces(),
            secrets: self.secrets.clone(),
            boot_id: self.inventory.boot_id.clone(),
        }
    }

    fn namespaces(&self) -> Namespaces {
        Namespaces::new(self.places.namespaces(), self.containerizer.shim())
    }

    async fn fetcher(&self, registry: &mut Registry) -> Result<Fetcher, RunError> {
        let (folder, bytes) = (self.places.fetch(), self.options.fetcher_cache_size);
        let ca_file = self.options.fetcher_ca_file.clone();
        let opened = spawn_blocking(move || Fetcher::open(&folder, bytes, ca_file.as_deref()));
        let fetcher = opened
            .await?
            .map_err(|error: FetcherError| RunError::Fetcher(error.into()))?;
        fetcher.register(registry.sub_registry_with_prefix("mete_agent"));
        Ok(fetcher)
    }

    fn hands(
        &self,
        door: &http::executor::Door,
        fetcher: Fetcher,
        reserve: Arc<Reserve>,
        found: BTreeMap<ContainerId, Shim>,
        releases: &TaskTracker,
        stop: mpsc::Sender<StopReason>,
    ) -> Result<Hands, RunError> {
        let handle = &door.handle;
        let probes = Probes::new(self.containerizer.shim());
        let launcher = Launcher {
            turns: Turns::default(),
            places: self.places.clone(),
            volumes: self.volumes.clone(),
            secrets: self.secrets.clone(),
            group_networks: GroupNetworks::new(self.namespaces(), Arc::clone(&self.containerizer)),
            containerizer: Arc::new(self.tasks.clone()),
            fetcher,
            images: Arc::clone(&self.source),
            oci: self.equipment.oci.clone(),
            process: self.equipment.process,
            docker: self.equipment.docker.clone(),
            endpoint: self.endpoint.clone(),
            executor_tokens: door.tokens.clone(),
            output: OutputLimits {
                max_bytes: self.options.output_bytes,
                max_files: self.options.output_files,
            },
            disk_reserve_bytes: self.options.disk_reserve,
        };
        let introduction = self.introduction();
        let master = MasterLink::new(
            self.options.master.clone(),
            Credentials::new(self.token.as_ref()),
            introduction,
            handle.clone(),
        );
        Ok(Hands {
            handle: handle.clone(),
            master,
            launcher: Arc::new(launcher),
            containerizer: Arc::clone(&self.containerizer),
            tasks: Arc::new(self.tasks.clone()),
            images: self.images.clone(),
            executors: door.streams.clone(),
            probes: Arc::new(probes),
            places: self.places.clone(),
            volumes: self.volumes.clone(),
            secrets: self.secrets.clone(),
            namespaces: self.namespaces(),
            reserve,
            address: self.options.advertised_ip(),
            found,
            jobs: BTreeMap::new(),
            releases: releases.clone(),
            stop,
        })
    }

    fn introduction(&self) -> Introduction {
        Introduction {
            endpoint: self.endpoint.clone(),
            resources: self.inventory.resources.clone(),
            attributes: self.attributes.subscribe(),
            domain: self.options.domain.clone(),
        }
    }

    /// Where executors of frameworks' own call. Where callers show who they are, they have tokens of their own.
    async fn executor_door(
        &self,
        handle: &event_loop::Handle<Node>,
        end: &CancellationToken,
    ) -> Result<http::executor::Door, RunError> {
        let mut tokens = None;
        if self.options.is_guarded() {
            let path = self.places.executor_key();
            let opened = spawn_blocking(move || ExecutorTokens::open(&path)).await?;
            tokens = Some(opened.map_err(RunError::WorkDir)?);
        }
        Ok(http::executor::Door {
            handle: handle.clone(),
            streams: ExecutorStreams::new(self.introduction()),
            tokens,
            end: end.clone(),
        })
    }

    async fn serve(
        &self,
        listener: TcpListener,
        door: http::executor::Door,
        (registry, statistics, fetcher): (Registry, Arc<Statistics>, Fetcher),
        end: CancellationToken,
    ) -> Result<JoinHandle<()>, RunError> {
        let handle = &door.handle;
        let desk = Arc::new(TaskDesk::new(
            handle.clone(),
            self.places.clone(),
            Arc::clone(&self.containerizer),
        ));
        let state = http::About {
            handle: handle.clone(),
            places: self.places.clone(),
            volumes: self.volumes.clone(),
            images: self.images.clone(),
            statistics,
            fetcher,
            endpoint: self.endpoint.clone(),
            resources: self.inventory.resources.clone(),
            attributes: self.attributes.subscribe(),
            domain: self.options.domain.clone(),
            masters: self.options.master.clone(),
            started: mete_daemon::clock::now(),
        };
        let state = Arc::new(state);
        let (read, uploads) = http::routers(&state, Arc::clone(&desk), Arc::new(registry));
        let read = read.merge(http::executor::routes(door.clone()));
        let routes = server::http_with_uploads(read, uploads).add_service(grpc::service(desk));
        let routes =
            server::with_health_and_reflection(routes, mete_proto::DESCRIPTORS, &["mete.v1.Tasks"])
                .await?;
        let callers = self.callers.clone().leaving(http::executor::PATHS);
        Ok(tokio::spawn(server::serve_to(
            listener, routes, callers, end,
        )))
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
