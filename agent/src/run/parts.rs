//! The parts of an agent, each put together from what the agent has.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_agent_core::task_dir::OutputLimits;
use mete_agent_core::{Node, Settings, StopReason};
use mete_daemon::auth::Credentials;
use mete_daemon::event_loop;
use mete_daemon::server;
use mete_model::{Attributes, ContainerId};
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::{Agent, RunError};
use crate::disk_watch::DiskWatch;
use crate::equipment::name_networks;
use crate::executors::{ExecutorStreams, ExecutorTokens};
use crate::fetcher::{Fetcher, FetcherError};
use crate::group_networks::GroupNetworks;
use crate::grpc;
use crate::hands::Hands;
use crate::http;
use crate::launch::{Launcher, Turns};
use crate::master_link::{Introduction, MasterLink};
use crate::namespaces::Namespaces;
use crate::probes::Probes;
use crate::sandbox::Reserve;
use crate::shims::Shim;
use crate::statistics::Statistics;
use crate::survivors::Survivors;
use crate::task_desk::TaskDesk;

impl Agent {
    /// Has the state of the agent counted, and what its tasks use, of the disk until the end.
    pub(super) fn count(
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

    pub(super) fn attributes(&self, engine_answers: bool) -> Attributes {
        let mut all = self.inventory.attributes.clone();
        let (equipment, networks) = (&self.equipment, self.containerizer.networks());
        equipment.name_in(&mut all, &self.options, engine_answers);
        name_networks(&mut all, equipment.oci.is_ok(), networks);
        all
    }

    pub(super) fn settings(&self) -> Settings {
        Settings {
            ip: self.endpoint.ip.clone(),
            kill_grace: self.options.kill_grace,
            gc_delay: self.options.gc_delay,
            executor_reregistration_timeout: self.options.executor_reregistration_timeout,
            disk_reserve_bytes: self.options.disk_reserve,
            seed: rand::random(),
        }
    }

    pub(super) fn survivors(&self) -> Survivors {
        Survivors {
            containerizer: Arc::clone(&self.containerizer),
            tasks: self.tasks.clone(),
            images: self.images.clone(),
            namespaces: self.namespaces(),
            secrets: self.secrets.clone(),
            boot_id: self.inventory.boot_id.clone(),
        }
    }

    pub(super) fn namespaces(&self) -> Namespaces {
        Namespaces::new(self.places.namespaces(), self.containerizer.shim())
    }

    pub(super) async fn fetcher(&self, registry: &mut Registry) -> Result<Fetcher, RunError> {
        let (folder, bytes) = (self.places.fetch(), self.options.fetcher_cache_size);
        let ca_file = self.options.fetcher_ca_file.clone();
        let opened = spawn_blocking(move || Fetcher::open(&folder, bytes, ca_file.as_deref()));
        let fetcher = opened
            .await?
            .map_err(|error: FetcherError| RunError::Fetcher(error.into()))?;
        fetcher.register(registry.sub_registry_with_prefix("mete_agent"));
        Ok(fetcher)
    }

    pub(super) fn hands(
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

    pub(super) fn introduction(&self) -> Introduction {
        Introduction {
            endpoint: self.endpoint.clone(),
            resources: self.inventory.resources.clone(),
            attributes: self.attributes.subscribe(),
            domain: self.options.domain.clone(),
        }
    }

    /// Where executors of frameworks' own call. Where callers show who they are, they have tokens of their own.
    pub(super) async fn executor_door(
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
            trusts_machine: !self.options.authenticates_executors(),
            end: end.clone(),
        })
    }

    pub(super) async fn serve(
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
            authenticates_executors: self.options.authenticates_executors(),
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
}
