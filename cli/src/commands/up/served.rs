//! Healthy by their own word, and served through HAProxy by its own counters.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mete_daemon::auth::Credentials;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{Instant, sleep, timeout};

use super::layout::Layout;
use super::view::View;
use crate::client::Api;
use crate::commands::wait::{Progress, why};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// The service framework may be away for so long while it is started again.
const AWAY: Duration = Duration::from_secs(15);
/// From healthy instances to HAProxy that listens for them; it takes a reload.
const LISTENING: Duration = Duration::from_secs(5);
/// An answer of HAProxy's admin socket.
const ADMIN_TIMEOUT: Duration = Duration::from_secs(2);
/// One request through HAProxy.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);

/// Looks until every app is as wanted.
pub(super) async fn all_healthy(services: &Api, apps: &[String], view: &View) -> Result<()> {
    loop {
        let mut open = 0;
        for app in apps {
            let progress = look(services, app).await?;
            view.app(app, &progress.words(), progress.is_done());
            open += usize::from(!progress.is_done());
        }
        if open == 0 {
            return Ok(());
        }
        sleep(LOOK).await;
    }
}

/// Which apps are not as wanted, and why, for the error when the time is over.
pub(super) async fn what_is_missing(services: &Api, apps: &[String]) -> String {
    let mut missing = Vec::new();
    for app in apps {
        match look(services, app).await {
            Ok(progress) if progress.is_done() => {}
            Ok(progress) => missing.push(format!(
                "{app}: {}{}",
                progress.words(),
                why(services, app).await
            )),
            Err(error) => missing.push(format!("{app}: {error:#}")),
        }
    }
    missing.join("; ")
}

async fn look(services: &Api, app: &str) -> Result<Progress> {
    let deadline = Instant::now() + AWAY;
    loop {
        match services.find(&format!("/v2/apps{app}")).await {
            Ok(Some(answer)) => return Ok(Progress::read(&answer["app"])),
            Ok(None) => bail!("{app} is not there"),
            Err(error) if Instant::now() >= deadline => return Err(error),
            // It is being started again.
            Err(_) => sleep(LOOK).await,
        }
    }
}

/// The ports under which HAProxy offers an app.
pub(super) fn service_ports(app: &Value) -> Vec<u16> {
    let ports = app["portDefinitions"].as_array().into_iter().flatten();
    ports
        .filter_map(|port| u16::try_from(port["port"].as_u64()?).ok())
        .filter(|port| *port > 0)
        .collect()
}

/// What HAProxy's follower cannot do as it was asked: services whose ports are busy, for example.
pub(super) async fn problems(layout: &Layout) -> Vec<String> {
    let sync = Api::new(
        "haproxy-sync",
        &layout.sync_url(),
        &Credentials::default(),
        "`mete up`",
    );
    let state = match sync {
        Ok(sync) => sync.get("/state").await.unwrap_or_default(),
        Err(_) => return Vec::new(),
    };
    let problems = state["problems"].as_array().into_iter().flatten();
    problems
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Waits until HAProxy listens for every app, so that what people are told to try works; not for ever.
pub(super) async fn listening(layout: &Layout, services: &Api, apps: &[String]) {
    let deadline = Instant::now() + LISTENING;
    for app in apps {
        let shown = services.get(&format!("/v2/apps{app}")).await;
        for port in service_ports(&shown.unwrap_or_default()["app"]) {
            let address = layout.service_address(port);
            while TcpStream::connect(address).await.is_err() && Instant::now() < deadline {
                sleep(LOOK).await;
            }
        }
    }
}

/// Whether an HAProxy answers behind its admin socket.
pub(super) async fn answers(socket: &Path) -> bool {
    ask(socket, "show info")
        .await
        .is_ok_and(|answer| answer.contains("Name: HAProxy"))
}

async fn ask(socket: &Path, command: &str) -> Result<String> {
    let asked = async {
        let mut stream = UnixStream::connect(socket).await?;
        stream.write_all(format!("{command}\n").as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    timeout(ADMIN_TIMEOUT, asked)
        .await
        .context("HAProxy does not answer")?
        .context("cannot ask HAProxy")
}

/// One backend that has to serve.
#[derive(Clone, Debug)]
struct Service {
    app: String,
    address: std::net::SocketAddr,
    http: bool,
    /// `host:port` of each instance.
    instances: BTreeSet<String>,
}

impl Service {
    fn read(service: &Value, layout: &Layout) -> Option<Self> {
        let port = u16::try_from(service["servicePort"].as_u64()?).ok()?;
        let instances = service["instances"].as_array().into_iter().flatten();
        let instances = instances.filter_map(|one| {
            Some(format!(
                "{}:{}",
                one["host"].as_str()?,
                one["port"].as_u64()?
            ))
        });
        Some(Self {
            app: service["appId"].as_str()?.to_owned(),
            address: layout.service_address(port),
            http: service["mode"] == "http",
            instances: instances.collect(),
        })
    }
}

/// Requests through HAProxy until each instance has served one.
#[derive(Debug)]
pub(super) struct Traffic<'a> {
    layout: &'a Layout,
    services: &'a Api,
    apps: &'a [String],
    http: reqwest::Client,
    /// What is still missing, by app.
    unserved: BTreeMap<String, String>,
}

impl<'a> Traffic<'a> {
    /// For the services of `apps`; those without a service port have nothing to serve here.
    pub(super) fn new(layout: &'a Layout, services: &'a Api, apps: &'a [String]) -> Result<Self> {
        let http = mete_daemon::http_client::plain()
            .pool_max_idle_per_host(0) // A connection of its own for each request, so that each is balanced anew.
            .timeout(REQUEST_TIMEOUT)
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Self {
            layout,
            services,
            apps,
            http,
            unserved: BTreeMap::new(),
        })
    }

    pub(super) async fn until_all_have_served(&mut self) -> Result<()> {
        loop {
            let open = self.look().await?;
            if self.unserved.is_empty() {
                return Ok(());
            }
            for service in open {
                self.knock(&service).await;
            }
            sleep(LOOK).await;
        }
    }

    /// The services that have instances which have not served; instances may have been replaced since the last look.
    async fn look(&mut self) -> Result<Vec<Service>> {
        let csv = ask(&self.layout.admin_socket(), "show stat -1 4 -1").await;
        let counters = counters(&csv.unwrap_or_default());
        self.unserved.clear();
        let list = match self.services.get("/v2/backends").await {
            Ok(list) => list,
            Err(error) => {
                let missing = |app: &String| (app.clone(), format!("{error:#}"));
                self.unserved.extend(self.apps.iter().map(missing));
                return Ok(Vec::new());
            }
        };
        let mut open = Vec::new();
        for service in list["services"].as_array().into_iter().flatten() {
            let Some(service) = Service::read(service, self.layout) else {
                continue;
            };
            let served = |instance: &&String| {
                let count = counters.get(instance.as_str());
                count.is_some_and(|count| count.served(service.http))
            };
            let waiting: Vec<&str> = service
                .instances
                .iter()
                .filter(|one| !served(one))
                .map(String::as_str)
                .collect();
            if self.apps.contains(&service.app) && !waiting.is_empty() {
                let missing = format!("{} not served through HAProxy", waiting.join(", "));
                self.unserved.insert(service.app.clone(), missing);
                open.push(service);
            }
        }
        for app in self.apps {
            let progress = look(self.services, app).await?;
            if !progress.is_done() {
                self.unserved.insert(app.clone(), progress.words());
            }
        }
        Ok(open)
    }

    /// What every app lacks that is not yet done, for the error when the time is over.
    pub(super) async fn what_is_missing(&self) -> String {
        let mut all = problems(self.layout).await;
        for (app, missing) in &self.unserved {
            all.push(format!("{app}: {missing}{}", why(self.services, app).await));
        }
        all.join("; ")
    }

    /// A request for each instance; the counters tell what came of them.
    async fn knock(&self, service: &Service) {
        for _ in &service.instances {
            if service.http {
                let _ = self
                    .http
                    .get(format!("http://{}/", service.address))
                    .send()
                    .await;
            } else if let Ok(Ok(mut stream)) =
                timeout(REQUEST_TIMEOUT, TcpStream::connect(service.address)).await
            {
                let _ = stream.shutdown().await;
                let mut nothing = [0; 64];
                let _ = timeout(LOOK, stream.read(&mut nothing)).await;
            }
        }
    }
}

/// What HAProxy has counted for one server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    sessions: u64,
    /// HAProxy's own check has failed, or has not been made yet: sessions are counted before they reach the server.
    doubtful: bool,
    answers_below_500: u64,
}

impl Count {
    const fn served(self, http: bool) -> bool {
        if http {
            self.answers_below_500 > 0
        } else {
            self.sessions > 0 && !self.doubtful
        }
    }
}

/// Counters by `host:port` of the server, from the CSV of `show stat`.
fn counters(csv: &str) -> BTreeMap<String, Count> {
    let mut lines = csv.lines();
    let head: Vec<&str> = lines
        .next()
        .unwrap_or_default()
        .trim_start_matches("# ")
        .split(',')
        .collect();
    let column = |name: &str| head.iter().position(|title| *title == name);
    let mut all: BTreeMap<String, Count> = BTreeMap::new();
    for line in lines {
        let cells: Vec<&str> = line.split(',').collect();
        let text = |name: &str| {
            column(name)
                .and_then(|at| cells.get(at))
                .copied()
                .unwrap_or_default()
        };
        let number = |name: &str| text(name).parse::<u64>().unwrap_or(0);
        if text("addr").is_empty() {
            continue;
        }
        let answers = ["hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx"]
            .iter()
            .map(|name| number(name))
            .sum::<u64>();
        let count = all.entry(text("addr").to_owned()).or_default();
        count.sessions += number("stot");
        let check = text("check_status").trim_start_matches("* ");
        count.doubtful |= !check.is_empty() && !check.ends_with("OK");
        count.answers_below_500 += answers;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_by_the_name_of_their_column() {
        let csv = "# pxname,svname,stot,hrsp_2xx,hrsp_5xx,check_status,addr\n\
            web_10000,a,3,0,3,L4OK,127.0.0.2:31000\nweb_10000,b,2,2,0,L4OK,127.0.0.3:31000\n\
            web_10000,c,2,0,0,L4CON,127.0.0.3:31001\nweb_10000,d,2,0,0,INI,127.0.0.3:31002\n";

        let counters = counters(csv);

        assert!(
            !counters["127.0.0.2:31000"].served(true),
            "answers of 500 do not count"
        );
        assert!(counters["127.0.0.3:31000"].served(true));
        assert!(counters["127.0.0.2:31000"].served(false));
        for silent in ["127.0.0.3:31001", "127.0.0.3:31002"] {
            assert!(
                !counters[silent].served(false),
                "{silent}: sessions do not count where nobody is known to listen"
            );
        }
    }
}
