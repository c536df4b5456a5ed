//! The life of a master: store, epoch, port, loop, streams, end.
//!
//! ```text
//! state directory ─▶ store (locks out a second master) ─▶ next epoch stored ─▶ loop ─▶ gRPC and HTTP
//!        SIGTERM: the loop ends first, so that nobody is taken for gone; then streams are closed, then the server
//! ```

use std::net::SocketAddr;
use std::sync::Arc;

use mete_daemon::clock;
use mete_daemon::descriptors;
use mete_daemon::event_loop::{self, LoopError};
use mete_daemon::server::{self, BindError};
use mete_daemon::store::{self, Batch, Fence, Store, StoreError, StoreJournal};
use mete_master_core::{Cluster, Registry};
use mete_proto::connect::ConnectServer;
use mete_proto::mete::v1::operator_server::OperatorServer;
use prometheus_client::registry::Registry as Metrics;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tracing::info;
use uuid::Uuid;

use crate::config::Options;
use crate::grpc::agent::Agents;
use crate::grpc::framework::Frameworks;
use crate::grpc::messages::LastFramework;
use crate::grpc::operator::Operators;
use crate::grpc::{About, Desk, MAX_AGENT_MESSAGE_BYTES, MAX_CALL_BYTES, StoreFile};
use crate::hands::Hands;
use crate::http;
use crate::http::explain::Explainers;
use crate::links::Links;
use crate::rounds::Timed;
use mete_daemon::auth::credentials::CallersError;

/// gRPC services whose health is told.
const SERVICES: [&str; 3] = ["mete.v1.Agent", "mete.v1.Scheduler", "mete.v1.Operator"];

/// Why a master ended, or did not begin.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Another master has the state file open.
    #[error("another master works with {state_file}; give each master a --state-dir of its own")]
    TwoMasters {
        /// The file.
        state_file: String,
        /// The lock.
        source: StoreError,
    },
    /// The store cannot be used, or holds what this version cannot read.
    #[error("the master's store cannot be used")]
    Store(#[from] StoreError),
    /// The token or the credentials cannot be read.
    #[error(transparent)]
    Callers(#[from] CallersError),
    /// The port cannot be had.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The listening socket has no address.
    #[error("the listening socket cannot be used")]
    Socket(#[from] std::io::Error),
    /// The event loop ended by itself: what it decided could not be stored.
    #[error(transparent)]
    Loop(#[from] LoopError),
    /// A part of the master panicked.
    #[error("a part of the master broke")]
    Broken(#[from] tokio::task::JoinError),
    /// The descriptors of the gRPC services are damaged.
    #[error(transparent)]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Runs a master until `shutdown` is cancelled.
///
/// # Errors
/// [`RunError`]: a second master on one state directory, a store that cannot be read or is full, a port in use.
pub async fn run(options: Options, shutdown: CancellationToken) -> Result<(), RunError> {
    descriptors::raise();
    let listener = server::bind(options.address()).await?;
    run_on(listener, options, shutdown).await
}

/// As [`run`], on a socket that listens already; the options' address is not looked at.
///
/// # Errors
/// As [`run`].
pub async fn run_on(
    listener: TcpListener,
    options: Options,
    shutdown: CancellationToken,
) -> Result<(), RunError> {
    let callers = options.callers()?;
    let address = listener.local_addr()?;
    let store: Arc<dyn Store> = Arc::new(open_store(&options).await?);
    let (cluster, about, journal, file) = recover(&options, address, &store).await?;

    let links = Links::default();
    let mut metrics = Metrics::default();
    let timed = Timed::new(cluster, &mut metrics);
    let rounds = timed.recent();
    let (handle, ready) = event_loop::prepare(timed);
    let ready = ready.with_metrics(metrics.sub_registry_with_prefix("mete_master"));
    http::metrics::register(&mut metrics, handle.clone());
    let hands = Hands {
        links: links.clone(),
        about: about.clone(),
        last: LastFramework::default(),
    };
    let desk = Desk {
        handle,
        links: links.clone(),
        rounds,
        store: Arc::new(file),
        greeting_timeout: options.greeting_timeout,
    };
    let routes = routes(desk, about, metrics).await?;
    let (loop_end, server_end) = (CancellationToken::new(), CancellationToken::new());
    let mut looping = ready.start(journal, hands, loop_end.clone());
    let mut serving = tokio::spawn(server::serve_to(
        listener,
        routes,
        callers,
        server_end.clone(),
    ));
    info!(%address, "listening");

    let (mut loop_ended, mut server_ended) = (None, None);
    tokio::select! {
        () = shutdown.cancelled() => {}
        ended = &mut looping => loop_ended = Some(ended),
        ended = &mut serving => server_ended = Some(ended),
    }
    loop_end.cancel();
    let loop_ended = match loop_ended {
        Some(ended) => ended,
        None => looping.await,
    };
    links.close_all();
    server_end.cancel();
    let server_ended = match server_ended {
        Some(ended) => ended,
        None => serving.await,
    };
    loop_ended??;
    server_ended?;
    info!("master has ended");
    Ok(())
}

async fn open_store(options: &Options) -> Result<store::redb::Redb, RunError> {
    let path = options.store();
    match store::redb::open(&path).await {
        Err(source @ StoreError::Locked { .. }) => Err(RunError::TwoMasters {
            state_file: path.display().to_string(),
            source,
        }),
        opened => Ok(opened?),
    }
}

/// What survived, as a cluster of the next epoch; the epoch is stored before anybody can hear of it.
async fn recover(
    options: &Options,
    address: SocketAddr,
    store: &Arc<dyn Store>,
) -> Result<(Cluster, About, StoreJournal, StoreFile), RunError> {
    let begun = clock::elapsed();
    let entries = store::load_all(store.as_ref()).await?;
    let file = StoreFile {
        path: options.store(),
        read_within: clock::elapsed() - begun,
    };
    let mut registry = Registry::read(entries).map_err(|bad| StoreError::Unreadable {
        path: options.store(),
        source: Arc::new(bad),
    })?;
    let begun = registry.begin_epoch(clock::now());
    let fence = Fence(registry.epoch);
    store.commit(Batch::pack(&[begun]), Some(fence)).await?;
    let journal = StoreJournal::new(Arc::clone(store)).with_fence(fence);

    let incarnation = Uuid::new_v4().to_string();
    info!(
        incarnation,
        epoch = registry.epoch,
        agents = registry.agents.len(),
        "master takes over"
    );
    let settings = options.settings(incarnation, registry.epoch);
    let about = About {
        settings: Arc::new(settings.clone()),
        address,
        hostname: options.hostname(address.ip()),
        cluster: options.cluster.clone(),
        flags: Arc::new(options.flags()),
    };
    Ok((
        Cluster::recover(settings, registry, clock::now()),
        about,
        journal,
        file,
    ))
}

async fn routes(desk: Desk, about: About, metrics: Metrics) -> Result<Routes, RunError> {
    let explainers = Explainers::new(desk.handle.clone());
    let http = http::router(desk.clone(), explainers.clone(), about, metrics);
    let frameworks = ConnectServer::new(Frameworks(desk.clone()), MAX_CALL_BYTES)
        .unpacking(CompressionEncoding::Gzip);
    let agents = ConnectServer::new(Agents(desk.clone()), MAX_AGENT_MESSAGE_BYTES);
    let operators = OperatorServer::new(Operators(desk, explainers))
        .accept_compressed(CompressionEncoding::Gzip);
    let routes = server::http(http)
        .add_service(frameworks)
        .add_service(agents)
        .add_service(operators);
    Ok(server::with_health_and_reflection(routes, mete_proto::DESCRIPTORS, &SERVICES).await?)
}
