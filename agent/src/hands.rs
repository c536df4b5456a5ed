//! Carries the core's actions out: starts the work and returns; what comes of it is told to the core.
//!
//! Each running task has one waiting job here, which ends with it. Nothing here decides, and nothing here must be
//! remembered over a restart.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use mete_agent_core::{Action, ForExecutor, Input, LaunchOutcome, Node, StopReason};
use mete_daemon::clock;
use mete_daemon::event_loop::{self, Handle};
use mete_model::{ContainerId, Probe, TaskKey, VolumeName};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use crate::cgroups::Limits;
use crate::containerizer::image::Tell;
use crate::containerizer::process::{ProcessContainerizer, blocking};
use crate::containerizer::{Containerizer, EndError, Found, KillSignal};
use crate::executors::ExecutorStreams;
use crate::images::Images;
use crate::launch::{Job, Launcher, described};
use crate::master_link::MasterLink;
use crate::namespaces::Namespaces;
use crate::networks::Joined;
use crate::places::Places;
use crate::probes::{Probes, Target};
use crate::release;
use crate::sandbox::{self, Reserve};
use crate::secrets::Secrets;
use crate::shims::Shim;
use crate::volumes::Volumes;

/// The least time between two words on how far a launch is.
const BETWEEN_WORDS: Duration = Duration::from_secs(1);

/// All that actions are carried out with.
pub(crate) struct Hands {
    pub(crate) handle: Handle<Node>,
    pub(crate) master: MasterLink,
    pub(crate) launcher: Arc<Launcher>,
    pub(crate) containerizer: Arc<ProcessContainerizer>,
    /// That one and others: by these tasks are found, killed and removed.
    pub(crate) tasks: Arc<dyn Containerizer>,
    pub(crate) images: Images,
    pub(crate) executors: ExecutorStreams,
    pub(crate) probes: Arc<Probes>,
    pub(crate) places: Places,
    pub(crate) volumes: Volumes,
    pub(crate) secrets: Secrets,
    pub(crate) namespaces: Namespaces,
    pub(crate) reserve: Arc<Reserve>,
    /// Where the tasks' ports are open.
    pub(crate) address: IpAddr,
    /// Tasks that were found running at the start.
    pub(crate) found: BTreeMap<ContainerId, Shim>,
    /// By which a launch job is given up, until its container is released.
    pub(crate) jobs: BTreeMap<ContainerId, CancellationToken>,
    /// Work that the agent waits for before it ends: what ended tasks held is removed.
    pub(crate) releases: TaskTracker,
    /// Hears when the core ends the agent.
    pub(crate) stop: mpsc::Sender<StopReason>,
}

impl event_loop::Hands<Action> for Hands {
    #[expect(
        clippy::too_many_lines,
        reason = "one flat match over all that is asked"
    )]
    fn act(&mut self, action: Action) {
        match action {
            Action::Connect { link } => self.master.connect(link),
            Action::Disconnect { link } => self.master.disconnect(link),
            Action::Send { link, message } => self.master.send(link, &message),
            Action::Launch {
                key,
                container,
                agent,
                spec,
                framework,
                parent,
            } => self.launch(Job {
                key,
                container,
                agent,
                spec,
                framework,
                parent,
                shutdown_grace: None,
            }),
            Action::ForExecutor(work) => self.for_executor(work),
            Action::CancelLaunch { container } => {
                if let Some(job) = self.jobs.get(&container) {
                    job.cancel();
                }
            }
            Action::Adopt { key, container } => self.adopt(key, container),
            Action::Terminate { key, container } => {
                self.signal(key, container, KillSignal::Terminate);
            }
            Action::Kill { key, container } => self.signal(key, container, KillSignal::Kill),
            Action::Release { key, container } => self.release(key, container),
            Action::Probe {
                key,
                container,
                probe,
                timeout,
            } => self.probe(key, container, probe, timeout),
            Action::Check {
                key,
                container,
                probe,
                timeout,
            } => self.check(key, container, probe, timeout),
            Action::MeasureDisk => {
                tokio::spawn(measure(self.handle.clone(), self.places.clone()));
            }
            Action::RestoreReserve => self.restore_reserve(),
            Action::RemoveSandbox {
                key,
                container,
                within,
                agent,
            } => {
                let within = within.as_ref();
                let path = self.places.sandbox_within(&agent, &key, &container, within);
                self.remove_sandbox(container, path);
            }
            Action::ReleaseExecutor { key, container } => self.release_executor(key, container),
            Action::EraseVolume { volume } => self.erase_volume(volume),
            Action::Stop(reason) => {
                // One reason is enough; a second finds the first.
                let _ = self.stop.try_send(reason);
            }
        }
    }
}

impl Hands {
    fn for_executor(&mut self, work: ForExecutor) {
        match work {
            ForExecutor::Launch {
                key,
                executor,
                program,
                framework,
                shutdown_grace,
            } => self.launch(Job {
                key,
                container: executor.container.clone(),
                agent: executor.agent.clone(),
                spec: program,
                framework,
                parent: None,
                shutdown_grace: Some(shutdown_grace),
            }),
            ForExecutor::Widen {
                container,
                cpus_milli,
                mem_bytes,
            } => self.widen(container, cpus_milli, mem_bytes),
            ForExecutor::Tell { link, event } => self.executors.tell(link, &event),
            ForExecutor::Close { link } => self.executors.close(link),
        }
    }

    fn launch(&mut self, job: Job) {
        let cancelled = CancellationToken::new();
        self.jobs.insert(job.container.clone(), cancelled.clone());
        let (launcher, handle) = (Arc::clone(&self.launcher), self.handle.clone());
        let places = self.places.clone();
        let containerizer = Arc::clone(&self.containerizer);
        let how_far = teller(handle.clone(), job.key.clone(), job.container.clone());
        let parent = job.parent.as_ref().map(|parent| parent.container.clone());
        let (tasks, asked) = (Arc::clone(&self.tasks), job.clone());
        tokio::spawn(async move {
            let (key, container) = (job.key.clone(), job.container.clone());
            match launcher.launch(job, &cancelled, how_far).await {
                Ok(shim) => {
                    // Tasks of a group have the network of their executor.
                    let joined = parent.as_ref().unwrap_or(&container);
                    let joined = containerizer.networks().joined(joined);
                    let inspected = tasks.inspect(container.clone()).await;
                    if joined.is_some() || inspected.is_some() || parent.is_some() {
                        let input = Input::Addressed {
                            key: key.clone(),
                            container: container.clone(),
                            addresses: joined.as_ref().map(Joined::addresses).unwrap_or_default(),
                            described: described(&asked, joined.as_ref(), inspected),
                        };
                        tell(&handle, input).await;
                    }
                    drop(asked); // It has what the secrets hold.
                    let outcome = LaunchOutcome::Started;
                    let input = Input::Launched {
                        key: key.clone(),
                        container: container.clone(),
                        outcome,
                    };
                    tell(&handle, input).await;
                    watch(&handle, key, container, shim).await;
                }
                Err(failure) => {
                    if failure.disk_full {
                        measure(handle.clone(), places).await;
                    }
                    let outcome = LaunchOutcome::Failed {
                        stage: failure.stage,
                        reason: failure.reason,
                    };
                    let input = Input::Launched {
                        key,
                        container,
                        outcome,
                    };
                    tell(&handle, input).await;
                }
            }
        });
    }

    /// Watches a task of an earlier agent.
    fn adopt(&mut self, key: TaskKey, container: ContainerId) {
        let (found, handle) = (self.found.remove(&container), self.handle.clone());
        let tasks = Arc::clone(&self.tasks);
        tokio::spawn(async move {
            let shim = match found {
                Some(shim) => Ok(shim),
                None => match tasks.find(container.clone()).await {
                    Ok(Found::Running(shim)) => Ok(shim),
                    Ok(Found::Ended(exit)) => Err(Some(exit)),
                    Ok(Found::NeverStarted | Found::Vanished) => Err(None),
                    Err(error) => {
                        error!(task = %key.task, %container, %error, "task cannot be looked after");
                        Err(None)
                    }
                },
            };
            match shim {
                Ok(shim) => watch(&handle, key, container, shim).await,
                Err(exit) => {
                    let input = Input::Exited {
                        key,
                        container,
                        exit,
                    };
                    tell(&handle, input).await;
                }
            }
        });
    }

    fn signal(&self, key: TaskKey, container: ContainerId, signal: KillSignal) {
        let killing = self.tasks.kill(container.clone(), signal);
        tokio::spawn(async move {
            if let Err(error) = killing.await {
                warn!(task = %key.task, framework = %key.framework, %container, ?signal, %error, "task is not killed yet");
            }
        });
    }

    fn release(&mut self, key: TaskKey, container: ContainerId) {
        self.jobs.remove(&container);
        let tasks = Arc::clone(&self.tasks);
        let (images, secrets) = (self.images.clone(), self.secrets.clone());
        self.releases.spawn(async move {
            let destroy = || {
                let (secrets, its) = (secrets.clone(), container.clone());
                let destroyed = tasks.destroy(container.clone());
                async move {
                    destroyed.await?;
                    let removed = blocking(move || secrets.remove(&its)).await;
                    removed.map_err(EndError::Secrets)
                }
            };
            if release::remove(&key, &container, &release::PAUSES, destroy).await {
                images.release(&container);
            }
        });
    }

    fn probe(&self, key: TaskKey, container: ContainerId, probe: Arc<Probe>, timeout: Duration) {
        let target = self.target(&container);
        let (probes, handle) = (Arc::clone(&self.probes), self.handle.clone());
        tokio::spawn(async move {
            let result = probes.run(&probe, &target, timeout).await;
            let input = Input::Probed {
                key,
                container,
                result,
            };
            tell(&handle, input).await;
        });
    }

    fn check(&self, key: TaskKey, container: ContainerId, probe: Arc<Probe>, timeout: Duration) {
        let target = self.target(&container);
        let (probes, handle) = (Arc::clone(&self.probes), self.handle.clone());
        tokio::spawn(async move {
            let answer = probes.check(&probe, &target, timeout).await;
            let input = Input::Checked {
                key,
                container,
                answer,
            };
            tell(&handle, input).await;
        });
    }

    fn target(&self, container: &ContainerId) -> Target {
        Target {
            address: self.address,
            dir: self.containerizer.task_dir(container),
        }
    }

    fn restore_reserve(&self) {
        let reserve = Arc::clone(&self.reserve);
        tokio::spawn(async move {
            if let Ok(Err(error)) = spawn_blocking(move || reserve.restore()).await {
                warn!(%error, "reserve of the store cannot be taken");
            }
        });
    }

    fn remove_sandbox(&self, container: ContainerId, path: std::path::PathBuf) {
        let (handle, places) = (self.handle.clone(), self.places.clone());
        tokio::spawn(async move {
            let removed = sandbox::remove(path.clone()).await;
            if removed.is_ok() {
                let _ = spawn_blocking(move || places.prune(&path)).await;
            }
            let failure = removed.err().map(|error| error.to_string());
            tell(&handle, Input::SandboxRemoved { container, failure }).await;
        });
    }
}

impl Hands {
    fn release_executor(&self, key: TaskKey, container: ContainerId) {
        let (namespaces, tasks) = (self.namespaces.clone(), Arc::clone(&self.tasks));
        self.releases.spawn(async move {
            let destroy = || tasks.destroy(container.clone());
            release::remove(&key, &container, &release::PAUSES, destroy).await;
            let removing = container.clone();
            match spawn_blocking(move || namespaces.remove(&removing)).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => warn!(%container, %error, "network of an executor stays"),
                Err(error) => warn!(%container, %error, "network of an executor stays"),
            }
        });
    }

    fn widen(&self, container: ContainerId, cpus_milli: u64, mem_bytes: u64) {
        let containerizer = Arc::clone(&self.containerizer);
        // In the order in which it was decided.
        containerizer.note_width(&container, Limits::new(cpus_milli, mem_bytes));
        tokio::task::spawn_blocking(move || {
            if let Err(error) = containerizer.widen(&container) {
                warn!(%container, %error, "executor may use no more than before");
            }
        });
    }

    fn erase_volume(&self, volume: VolumeName) {
        let (handle, volumes) = (self.handle.clone(), self.volumes.clone());
        tokio::spawn(async move {
            let name = volume.clone();
            let failure = match spawn_blocking(move || volumes.erase(&name)).await {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            tell(&handle, Input::VolumeErased { volume, failure }).await;
        });
    }
}

/// Tells the core how far a launch is, now and then.
fn teller(handle: Handle<Node>, key: TaskKey, container: ContainerId) -> Tell {
    let last = Mutex::new(None);
    Arc::new(move |how_far| {
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::elapsed();
        if last.is_some_and(|last| now < last + BETWEEN_WORDS) {
            return;
        }
        *last = Some(now);
        let handle = handle.clone();
        let input = Input::Launching {
            key: key.clone(),
            container: container.clone(),
            how_far,
        };
        tokio::spawn(async move { tell(&handle, input).await });
    })
}

/// Waits for the end of a task.
async fn watch(handle: &Handle<Node>, key: TaskKey, container: ContainerId, shim: Shim) {
    let exit = shim.ended().await;
    let input = Input::Exited {
        key,
        container,
        exit,
    };
    tell(handle, input).await;
}

async fn measure(handle: Handle<Node>, places: Places) {
    let measured = spawn_blocking(move || sandbox::space(places.root())).await;
    let space = match measured {
        Ok(Ok(space)) => Some(space),
        Ok(Err(error)) => {
            warn!(%error, "disk of the work directory cannot be measured");
            None
        }
        Err(_) => None,
    };
    tell(&handle, Input::DiskMeasured(space)).await;
}

/// Tells the core; when it has ended, so has the agent, and the next one finds out for itself.
async fn tell(handle: &Handle<Node>, input: Input) {
    let _ = handle.tell(input).await;
}
