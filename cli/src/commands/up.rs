//! `mete up`: a whole cluster on this machine, each daemon a child process of this binary.
//!
//! ```text
//! lock state directory ─▶ master ─▶ agents, services ─▶ haproxy-sync ─▶ cluster.json ─▶ apps ─▶ stay, or until healthy
//!                                                                            any end: everything is taken down
//! ```
//! A daemon that dies is started again, as a supervisor would, unless that cannot help; tasks and HAProxy live through that by
//! themselves.

mod children; // processes: started, watched, started again, ended
mod layout; // who gets which address, port and part of the machine
mod proxy; // the end of HAProxy
mod restarts; // when a daemon that has ended is started again
mod served; // requests through HAProxy until its counters show that each instance has served
mod view; // what people see meanwhile

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use mete_daemon::auth::Credentials;
use mete_daemon::config::duration;
use mete_daemon::directory;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until, timeout_at};
use tokio_util::sync::CancellationToken;

use self::children::Children;
use self::layout::Layout;
use self::view::View;
use crate::client::Api;
use crate::commands::app;

/// A whole cluster on this machine.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// How many agents; agent 1 is 127.0.0.2, agent 2 is 127.0.0.3, and so on.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=200))]
    agents: u8,
    /// App definition to run, or a list of them; may be given many times. Apps that are there are changed.
    #[arg(long, value_name = "FILE")]
    app: Vec<PathBuf>,
    /// Where everything is kept; the next `mete up` on it comes back with the same apps.
    #[arg(long, value_name = "DIR", default_value = ".mete")]
    state_dir: PathBuf,
    /// Shifts every port by so many.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=12000))]
    port_base: u16,
    /// Gives each agent the whole machine instead of its part.
    #[arg(long)]
    oversubscribe: bool,
    /// Ends as soon as every instance of every given app has served through HAProxy.
    #[arg(long)]
    until_healthy: bool,
    /// How long --until-healthy waits, e.g. `90s`.
    #[arg(long, default_value = "60s", value_parser = duration)]
    timeout: Duration,
}

/// From the start of a daemon to its first answer.
const START_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two looks whether HAProxy is another one.
const HAPROXY_LOOK: Duration = Duration::from_millis(500);

/// Runs until SIGTERM, SIGINT, SIGHUP, or, if asked so, until everything is healthy.
pub(crate) async fn run(options: Options) -> Result<()> {
    let signals = Signals::listen()?;
    let shutdown = signals.end.clone();
    let mut apps = Vec::new();
    for file in &options.app {
        apps.extend(app::read(file)?);
    }
    let _lock = lock(&options.state_dir)?;
    let state_dir = options
        .state_dir
        .canonicalize()
        .context("no state directory")?;
    let view = View::new();
    if children::end_leftovers(&state_dir).await {
        view.note(
            "a former cluster on this state directory was still running; it is taken down first",
        );
    }
    let layout = Layout::new(
        &state_dir,
        options.agents,
        options.port_base,
        options.oversubscribe,
    )?;
    layout.check_ports()?;
    let mut children = Children::new(&state_dir)?;
    let deadline = Instant::now() + options.timeout;
    let result = tokio::select! {
        result = live(&options, &layout, &mut children, &apps, &view, deadline) => result,
        () = shutdown.cancelled() => Ok(()),
    };
    view.note("taking everything down");
    let down = children.end(&layout, &signals.at_once).await;
    view.end();
    result.and(down)
}

/// Starts everything, then looks after it; ends by itself only with --until-healthy, or with an error.
async fn live(
    options: &Options,
    layout: &Layout,
    children: &mut Children,
    apps: &[Value],
    view: &View,
    deadline: Instant,
) -> Result<()> {
    stand_up(layout, children, view).await?;
    let bring_up = async {
        bring_up(options, layout, apps, view, deadline).await?;
        if !options.until_healthy {
            std::future::pending::<()>().await;
        }
        Ok(())
    };
    tokio::select! {
        result = bring_up => result,
        result = look_after(layout, children, view) => result,
    }
}

/// Starts the daemons, each when those before it answer, and tells scripts where they are.
async fn stand_up(layout: &Layout, children: &mut Children, view: &View) -> Result<()> {
    if rustix::process::geteuid().as_raw() != 0 {
        view.note("not root: tasks run without CPU, memory and process limits (no cgroups)");
    }
    for stage in layout.stages() {
        for daemon in stage {
            view.starting(&daemon.name);
            children.start(daemon)?;
        }
        for daemon in stage {
            children.answers(daemon, START_TIMEOUT).await?;
            view.started(&daemon.name);
        }
    }
    let haproxy = tokio::select! {
        haproxy = layout.haproxy(START_TIMEOUT) => haproxy?,
        died = children.next_death() => return Err(children.obituary(&died?.0)),
    };
    layout.write_cluster(children.pids(), Some(&haproxy))
}

/// Adds the apps, and waits until they are healthy, or have served.
async fn bring_up(
    options: &Options,
    layout: &Layout,
    apps: &[Value],
    view: &View,
    deadline: Instant,
) -> Result<()> {
    let services = Api::new(
        "service framework",
        &layout.services_url(),
        &Credentials::default(),
        "`mete up`",
    )?;
    let mut ids = Vec::new();
    for app in apps {
        ids.push(app::put(&services, app, true).await?);
    }
    let healthy = served::all_healthy(&services, &ids, view);
    if !options.until_healthy {
        healthy.await?;
        served::listening(layout, &services, &ids).await;
        view.ready(&layout.where_to_look(&services, &ids).await);
        for problem in served::problems(layout).await {
            view.note(&problem);
        }
        return Ok(());
    }
    let late = |what: String| anyhow!("not healthy after {:?}: {what}", options.timeout);
    match timeout_at(deadline, healthy).await {
        Ok(done) => done?,
        Err(_) => return Err(late(served::what_is_missing(&services, &ids).await)),
    }
    let mut traffic = served::Traffic::new(layout, &services, &ids)?;
    match timeout_at(deadline, traffic.until_all_have_served()).await {
        Ok(done) => done?,
        Err(_) => return Err(late(traffic.what_is_missing().await)),
    }
    view.note("every instance has served through HAProxy");
    Ok(())
}

/// Starts daemons again when they die, as far as that helps, and keeps `cluster.json` true. Never ends but with an error.
async fn look_after(layout: &Layout, children: &mut Children, view: &View) -> Result<()> {
    let mut haproxy = layout.haproxy_pid();
    loop {
        let due = children.next_start();
        tokio::select! {
            died = children.next_death() => {
                let (name, status) = died?;
                view.note(&children.bury(&name, status));
                continue;
            }
            () = until(due) => {}
            // HAProxy is started again by its follower.
            () = sleep(HAPROXY_LOOK) => {
                if layout.haproxy_pid() == haproxy {
                    continue;
                }
            }
        }
        for name in children.start_due()? {
            let answered = children.answers_again(&name).await;
            // Of what has ended once more the next death tells.
            if let Err(error) = answered
                && !children.has_ended(&name)?
            {
                view.note(&format!("{error:#}"));
            }
        }
        haproxy = layout.haproxy(START_TIMEOUT).await.ok();
        layout.write_cluster(children.pids(), haproxy.as_ref())?;
    }
}

/// Until then; `None`: for ever.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}

/// The first SIGTERM, SIGINT or SIGHUP ends everything in good order, the second one at once; either way nothing is left.
struct Signals {
    end: CancellationToken,
    at_once: CancellationToken,
}

impl Signals {
    fn listen() -> Result<Self> {
        let (mut terminate, mut interrupt, mut hang_up) = (
            signal(SignalKind::terminate())?,
            signal(SignalKind::interrupt())?,
            signal(SignalKind::hangup())?,
        );
        let signals = Self {
            end: CancellationToken::new(),
            at_once: CancellationToken::new(),
        };
        let (end, at_once) = (signals.end.clone(), signals.at_once.clone());
        tokio::spawn(async move {
            for token in [end, at_once] {
                tokio::select! {
                    _ = terminate.recv() => {}
                    _ = interrupt.recv() => {}
                    // The terminal is gone: nobody could press Ctrl-C any more.
                    _ = hang_up.recv() => {}
                }
                token.cancel();
            }
        });
        Ok(signals)
    }
}

/// Two clusters on one state directory would fight over it.
fn lock(state_dir: &Path) -> Result<std::fs::File> {
    directory::make(state_dir, directory::OPEN_TO_ALL)?;
    let path = state_dir.join("up.lock");
    let file =
        std::fs::File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        bail!("another `mete up` runs on {}", state_dir.display());
    }
    Ok(file)
}
