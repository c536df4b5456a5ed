//! `mete whoami`: the smallest useful service, for demos and tests. It says who answers.
//!
//! `GET /` tells task, app, host, port and version; `GET /health` passes until somebody says `POST /fail`;
//! `GET /slow?ms=500` takes its time. On SIGTERM requests in flight are answered before it goes.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};

/// The longest a slow answer may take.
const SLOWEST: Duration = Duration::from_secs(60);

/// Says over HTTP who answers: an app that needs nothing but `mete`.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// Port to listen on.
    #[arg(long, env = "PORT0")]
    port: u16,
    /// Name or address to listen on; by default the task's $HOST, else 127.0.0.1.
    #[arg(long, env = "HOST", default_value = "127.0.0.1")]
    host: String,
}

#[derive(Clone, Debug, Serialize)]
struct Answer {
    task: Option<String>,
    app: Option<String>,
    host: String,
    port: u16,
    version: Option<String>,
}

#[derive(Clone)]
struct Service {
    answer: Arc<Answer>,
    failing: Arc<AtomicBool>,
}

#[derive(Deserialize)]
struct Slow {
    ms: u64,
}

/// Serves until SIGTERM or SIGINT.
pub(crate) async fn run(options: Options) -> Result<()> {
    let shutdown = mete_daemon::shutdown::on_signal()?;
    let variable = |name| std::env::var(name).ok();
    let answer = Answer {
        task: variable("MESOS_TASK_ID"),
        app: variable("MARATHON_APP_ID"),
        host: options.host.clone(),
        port: options.port,
        version: variable("MARATHON_APP_VERSION"),
    };
    let service = Service {
        answer: Arc::new(answer),
        failing: Arc::default(),
    };
    let addresses: Vec<SocketAddr> = tokio::net::lookup_host((options.host.as_str(), options.port))
        .await
        .with_context(|| format!("no address for {}", options.host))?
        .collect();
    let listener = tokio::net::TcpListener::bind(addresses.as_slice())
        .await
        .with_context(|| format!("cannot listen on {}:{}", options.host, options.port))?;
    crate::say!("listening on {}:{}", options.host, options.port);
    let routes = Router::new()
        .route(
            "/",
            get(async |State(service): State<Service>| Json((*service.answer).clone())),
        )
        .route("/health", get(health))
        .route("/fail", post(fail))
        .route("/slow", get(slow))
        .with_state(service);
    axum::serve(listener, routes)
        .with_graceful_shutdown(async move { shutdown.cancelled().await })
        .await?;
    Ok(())
}

async fn health(State(service): State<Service>) -> (StatusCode, &'static str) {
    if service.failing.load(Ordering::Relaxed) {
        (
            StatusCode::INTERNAL_SERVER_ERROR,
            "failing, as somebody asked\n",
        )
    } else {
        (StatusCode::OK, "healthy\n")
    }
}

async fn fail(State(service): State<Service>) -> &'static str {
    service.failing.store(true, Ordering::Relaxed);
    "failing from now on\n"
}

async fn slow(State(service): State<Service>, Query(slow): Query<Slow>) -> Json<Answer> {
    tokio::time::sleep(Duration::from_millis(slow.ms).min(SLOWEST)).await;
    Json((*service.answer).clone())
}
