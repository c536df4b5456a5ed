//! A framework that launches sleeping tasks on the one agent, many at once, and hears what becomes of them.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mete_framework_sdk::{
    Connection, ContainerSpec, Event, Filters, Framework, FrameworkSpec, Offer, Task, TaskId,
    TaskState, TaskStatus,
};
use mete_model::container::{Mount, MountSource};
use rustix::fs::Mode;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout};

use crate::bundle;
use crate::world::PATIENCE;

/// What is left of an offer comes back for the next tasks.
const AT_ONCE: Filters = Filters::refuse_for(Duration::ZERO);

/// What tasks do.
const SLEEP: &str = "exec sleep 100000";
/// Where containers see the directory with the pipe.
const INSIDE: &str = "/first-words";

/// What is around a task.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    /// Nothing but its control groups.
    Plain,
    /// A container with a root of its own, from an image.
    Contained,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "process",
            Self::Contained => "oci",
        })
    }
}

/// The framework.
pub(crate) struct Launcher {
    framework: Framework,
    offers: Vec<Offer>,
    /// News that nobody has waited for yet, with the time they came.
    news: Vec<(Instant, TaskStatus)>,
    launched: usize,
    first_words: FirstWords,
}

/// A pipe with a name, into which programs write a byte as soon as they run.
struct FirstWords {
    /// A directory with nothing else in it, so that containers may have it.
    dir: PathBuf,
    pipe: pipe::Receiver,
}

impl FirstWords {
    fn open(dir: PathBuf) -> Result<Self> {
        std::fs::create_dir(&dir)?;
        let path = dir.join("said");
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, Mode::RUSR | Mode::WUSR)?;
        // Open for both, so that it does not end with its first writer.
        let pipe = pipe::OpenOptions::new()
            .read_write(true)
            .open_receiver(&path)?;
        Ok(Self { dir, pipe })
    }
}

impl Launcher {
    /// `dir` is a place for a directory of its own.
    pub(crate) async fn connect(master: &str, dir: &Path) -> Result<Self> {
        let connection = Connection::to(master)?;
        Ok(Self {
            first_words: FirstWords::open(dir.join("first-words"))?,
            framework: Framework::connect(connection, FrameworkSpec::new("node")),
            offers: Vec::new(),
            news: Vec::new(),
            launched: 0,
        })
    }

    /// Launches `count` tasks in one ACCEPT, when there is an offer.
    pub(crate) async fn launch(&mut self, kind: Kind, count: usize) -> Result<Vec<TaskId>> {
        self.launch_command(kind, count, SLEEP).await
    }

    /// Launches one task that says when it runs.
    pub(crate) async fn launch_speaking(&mut self, kind: Kind) -> Result<Vec<TaskId>> {
        let path = match kind {
            Kind::Plain => self.first_words.dir.display().to_string(),
            Kind::Contained => INSIDE.to_owned(),
        };
        let command = format!("echo > {path}/said; {SLEEP}");
        self.launch_command(kind, 1, &command).await
    }

    /// When the program of that task has begun.
    pub(crate) async fn until_spoken(&mut self) -> Result<Instant> {
        let heard = timeout(PATIENCE, self.first_words.pipe.read_u8()).await;
        heard.context("a program has said nothing")??;
        Ok(Instant::now())
    }

    async fn launch_command(
        &mut self,
        kind: Kind,
        count: usize,
        command: &str,
    ) -> Result<Vec<TaskId>> {
        while self.offers.is_empty() {
            self.hear().await?;
        }
        let mut tasks = Vec::new();
        for _ in 0..count {
            self.launched += 1;
            let task = Task::shell(format!("node-{}", self.launched), command)?;
            let task = task.cpus_milli(10).mem_mb(32);
            tasks.push(match kind {
                Kind::Plain => task,
                Kind::Contained => task.container(self.container()),
            });
        }
        let ids = tasks.iter().map(|task| task.id().clone()).collect();
        let offers = std::mem::take(&mut self.offers);
        self.framework.client().accept(&offers, tasks, AT_ONCE)?;
        Ok(ids)
    }

    fn container(&self) -> ContainerSpec {
        ContainerSpec {
            image: Some(bundle::IMAGE.to_owned()),
            mounts: vec![Mount {
                target: INSIDE.to_owned(),
                source: MountSource::Host(self.first_words.dir.display().to_string()),
                read_only: false,
            }],
            ..ContainerSpec::default()
        }
    }

    /// Kills all of them at once, without grace.
    pub(crate) fn kill(&self, tasks: &[TaskId]) -> Result<()> {
        let client = self.framework.client();
        for task in tasks {
            client.kill(task, None, Some(Duration::ZERO))?;
        }
        Ok(())
    }

    /// When the last of them was told to be in `wanted`.
    pub(crate) async fn until(&mut self, tasks: &[TaskId], wanted: TaskState) -> Result<Instant> {
        let mut missing: BTreeSet<&TaskId> = tasks.iter().collect();
        let mut last = Instant::now();
        loop {
            for (at, status) in std::mem::take(&mut self.news) {
                if status.state == wanted {
                    if missing.remove(&status.task) {
                        last = at;
                    }
                } else if status.state.is_terminal() && missing.contains(&status.task) {
                    bail!("{} is {}: {:?}", status.task, status.state, status.message);
                }
            }
            if missing.is_empty() {
                return Ok(last);
            }
            self.hear().await?;
        }
    }

    /// Ends whatever still runs.
    pub(crate) fn end(&self) -> Result<()> {
        Ok(self.framework.client().teardown()?)
    }

    #[allow(
        clippy::wildcard_enum_match_arm,
        reason = "what later versions tell besides is not needed here"
    )]
    async fn hear(&mut self) -> Result<()> {
        let event = timeout(PATIENCE, self.framework.next()).await;
        let event = event.context("no event")?;
        match event.context("the master has ended the framework")? {
            Event::Update(status) => self.news.push((Instant::now(), status)),
            Event::Offers(offers) => self.offers.extend(offers),
            Event::Rescind(id) => self.offers.retain(|offer| offer.id != id),
            Event::Error(text) => bail!("the master refuses: {text}"),
            Event::Disconnected { reason } => bail!("no master: {reason}"),
            _ => {}
        }
        Ok(())
    }
}
