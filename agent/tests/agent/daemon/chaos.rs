//! Tasks of all kinds started and killed at random while their agent is killed again and again: at the end nothing is
//! left, and each task has ended exactly once.
//!
//! The short form runs with all tests; `make test-chaos` runs the long one. `METE_CHAOS_SECONDS`, `METE_CHAOS_TASKS` (at
//! a time), `METE_CHAOS_KILL_SECONDS` (between two deaths of the agent) and `METE_CHAOS_SEED` change it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use mete_model::container::{Network, PortMapping, Transport};
use mete_model::{ContainerSpec, ExecutorId, TaskSpec, TaskState, TaskStatus, UpdateId};
use mete_proto::mete::v1 as wire;
use tokio::time::{Instant, sleep, timeout};
use wire::agent_message::Message as Said;

use super::groups;
use super::killed::{Process, leftovers};
use super::master::{Link, Master, info_of, status_of, task};
use super::world::Work;
use crate::containers::possible;
use crate::support::until;

/// How long it is launched and killed, unless the environment says otherwise.
const SECONDS: u64 = 20;
/// Tasks at a time.
const TASKS: u64 = 60;
/// Between two deaths of the agent.
const KILL_SECONDS: u64 = 2;
/// One launch in so many is a group.
const GROUPS: usize = 8;
/// Between two things that happen at random.
const STEP: Duration = Duration::from_millis(15);
/// Everything that still runs at the end has ended by then.
const END: Duration = Duration::from_secs(60);

/// The first port of the host that leads into containers, and how many there are.
const PORTS: (u16, usize) = (21_000, 4_000);

/// Looks at what is left, and the time between two.
const MOMENTS: u32 = 40;
const MOMENT: Duration = Duration::from_millis(50);

/// What tasks do.
const LINES: [&str; 5] = [
    "exec sleep 1000",
    "sleep 0.2; exit 3",
    "true",
    "trap '' TERM; setsid sh -c 'sleep 1000' & while :; do sleep 1; done",
    "sleep 1000 & sleep 1000",
];

/// A number of the environment.
fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).map_or(usual, |text| text.parse().unwrap())
}

/// Random enough, and the same for the same seed (xorshift, Marsaglia 2003).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }
}

/// What the master knows of one task.
#[derive(Debug)]
enum Known {
    /// It was told to run.
    Sent,
    /// The agent came back without it, so it was never stored, and never runs.
    NeverCame,
    /// This is how it ended; the same update may come again, no other.
    Ended(TaskState, UpdateId),
}

/// All tasks so far.
#[derive(Default)]
struct Ledger(BTreeMap<String, Known>);

impl Ledger {
    fn live(&self) -> Vec<String> {
        let live = self
            .0
            .iter()
            .filter(|(_, known)| matches!(known, Known::Sent));
        live.map(|(id, _)| id.clone()).collect()
    }

    /// Hears of a task; a second end, or news after the end, is what must not be.
    fn hear(&mut self, status: &TaskStatus) {
        let id = status.task.as_str();
        let uuid = status.uuid.expect("every report has one");
        let known = self.0.get_mut(id).expect("a task that was launched");
        match known {
            Known::Sent if status.state.is_terminal() => *known = Known::Ended(status.state, uuid),
            Known::Sent => {}
            Known::NeverCame => panic!("{id} is {} and never came", status.state),
            Known::Ended(state, before) => assert!(
                *before == uuid && *state == status.state,
                "{id} ended as {state} and then was {}: {:?}",
                status.state,
                status.message,
            ),
        }
    }

    /// An agent is back. It brings every task that it has stored, and reports that were not acknowledged.
    fn compare(&mut self, register: &wire::Register) {
        let tasks = register.tasks.iter();
        let brought: Vec<String> = tasks.map(|known| info_of(known).task_id.value).collect();
        for status in first_reports(register) {
            self.hear(&status);
        }
        for (id, known) in &mut self.0 {
            let is_there = brought.iter().any(|known| known == id.as_str());
            if matches!(known, Known::Sent) && !is_there {
                *known = Known::NeverCame;
            }
            assert!(
                !(matches!(known, Known::NeverCame) && is_there),
                "{id} is back from nowhere"
            );
        }
    }
}

/// What a master takes of a registration: of each task the first report; the others come when that is acknowledged.
fn first_reports(register: &wire::Register) -> Vec<TaskStatus> {
    let mut seen = BTreeSet::new();
    let all = register.unacknowledged.iter();
    let all = all.map(|update| TaskStatus::try_from(&status_of(update)).unwrap());
    all.filter(|status| seen.insert(status.task.clone()))
        .collect()
}

/// The whole of it.
struct Chaos {
    /// First, so that it is dead before what it has left is removed, also when the test fails.
    agent: Option<Process>,
    master: Master,
    work: Work,
    /// That the agent had open before it had done anything.
    files: usize,
    link: Link,
    ledger: Ledger,
    dice: Dice,
    launched: usize,
    deaths: usize,
    /// How many came in groups.
    grouped: usize,
    /// How many were on the bridge.
    bridged: usize,
    containers: bool,
    bridges: bool,
}

impl Chaos {
    async fn begin(seed: u64) -> Self {
        let mut master = Master::start().await;
        let work = Work::new();
        let agent = Process::start(&work, master.address);
        let (link, _) = master.admit().await;
        let containers = possible();
        Self {
            bridges: containers && work.networks().bridge().is_ok(),
            containers,
            grouped: 0,
            bridged: 0,
            master,
            work,
            files: agent.open_files(),
            agent: Some(agent),
            link,
            ledger: Ledger::default(),
            dice: Dice(seed),
            launched: 0,
            deaths: 0,
        }
    }

    /// One on the machine as it is.
    fn plain_task(&mut self) -> TaskSpec {
        self.launched += 1;
        let id = format!("t{}", self.launched);
        let line = LINES[self.dice.below(LINES.len())];
        let spec = task(&id, line);
        self.ledger.0.insert(id, Known::Sent);
        spec
    }

    fn any_task(&mut self) -> TaskSpec {
        let mut spec = self.plain_task();
        if self.containers && self.dice.below(3) == 0 {
            spec.container = Some(Box::new(ContainerSpec {
                network: self.any_network(&mut spec.resources),
                ..ContainerSpec::default()
            }));
        }
        spec
    }

    /// The host's, none, or the bridge with a port of the host that leads into the container.
    fn any_network(&mut self, resources: &mut mete_model::Resources) -> Network {
        match self.dice.below(if self.bridges { 3 } else { 2 }) {
            0 => Network::Host,
            1 => Network::None,
            _ => {
                self.bridged += 1;
                let port = PORTS.0 + u16::try_from(self.bridged % PORTS.1).unwrap();
                resources.ports = [u64::from(port)].into_iter().collect();
                Network::Bridge {
                    ports: vec![PortMapping {
                        host: port,
                        container: 80,
                        transport: Transport::Tcp,
                    }],
                }
            }
        }
    }

    /// Some tasks below an executor, with a network of their own or the host's.
    async fn any_group(&mut self) {
        let mut executor = groups::executor(Network::Host);
        if self.containers {
            let network = self.any_network(&mut executor.resources);
            executor.container = Some(Box::new(ContainerSpec {
                network,
                ..ContainerSpec::default()
            }));
        }
        executor.id = ExecutorId::new(format!("pod{}", self.launched)).unwrap();
        let mut tasks = Vec::new();
        for _ in 0..1 + self.dice.below(3) {
            tasks.push(self.plain_task());
        }
        self.grouped += tasks.len();
        groups::run(&self.link, &executor, &tasks).await;
    }

    /// One random thing: a launch when there are few tasks, a kill when there are many.
    async fn step(&mut self, tasks: usize) {
        let live = self.ledger.live();
        if self.dice.below(tasks) < live.len() {
            self.link.kill(&live[self.dice.below(live.len())]).await;
        } else if self.dice.below(GROUPS) == 0 {
            self.any_group().await;
        } else {
            let spec = self.any_task();
            self.link.run(&spec).await;
        }
    }

    /// Hears the agent for a while, and acknowledges most of what it says.
    async fn listen(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while let Ok(said) = timeout(until - Instant::now().min(until), self.link.next()).await {
            match said {
                Some(Said::Update(update)) => {
                    let status = TaskStatus::try_from(&status_of(&update)).unwrap();
                    self.ledger.hear(&status);
                    self.link.acknowledge(&status).await;
                }
                Some(_) => {}
                None => panic!("the agent has hung up"),
            }
        }
    }

    /// `kill -9`, and another agent in its place.
    async fn kill_the_agent(&mut self) {
        self.deaths += 1;
        self.agent.take().expect("one runs").kill();
        self.agent = Some(Process::start(&self.work, self.master.address));
        let (link, register) = self.master.admit().await;
        self.link = link;
        self.ledger.compare(&register);
        for status in first_reports(&register) {
            self.link.acknowledge(&status).await;
        }
    }

    /// Kills what still runs, until nothing does.
    async fn calm(&mut self) {
        let deadline = Instant::now() + END;
        while !self.ledger.live().is_empty() {
            assert!(
                Instant::now() < deadline,
                "never end: {:?}",
                self.ledger.live()
            );
            for id in self.ledger.live() {
                // A master does not ask for the end of what has ended, and been acknowledged, meanwhile.
                if matches!(self.ledger.0.get(&id), Some(Known::Sent)) {
                    self.link.kill(&id).await;
                }
                self.listen(Duration::from_millis(1)).await;
            }
            self.listen(Duration::from_millis(200)).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_left_and_every_task_ends_once_however_often_the_agent_is_killed() {
    let seconds = number("METE_CHAOS_SECONDS", SECONDS);
    let tasks = usize::try_from(number("METE_CHAOS_TASKS", TASKS)).unwrap();
    let between = Duration::from_secs(number("METE_CHAOS_KILL_SECONDS", KILL_SECONDS));
    let by_clock = u64::from(std::process::id()) << 20 | 1;
    let seed = number("METE_CHAOS_SEED", by_clock);
    println!("METE_CHAOS_SEED={seed}");
    let mut chaos = Chaos::begin(seed).await;
    let begin = Instant::now();
    let mut death = begin + between;

    while begin.elapsed() < Duration::from_secs(seconds) {
        chaos.step(tasks).await;
        chaos.listen(STEP).await;
        if Instant::now() > death {
            chaos.kill_the_agent().await;
            death = Instant::now() + between;
        }
    }
    chaos.calm().await;

    let Chaos {
        work,
        agent,
        link,
        ledger,
        files,
        launched,
        deaths,
        grouped,
        bridged,
        ..
    } = chaos;
    let agent = agent.expect("one runs");
    until(|| agent.open_files() <= files).await;
    let log = agent.log();
    drop(link);
    agent.stop().await;
    let mut left = leftovers(&work);
    // Nobody is there to remove anything any more; the kernel still closes what ended a moment ago.
    for _ in 0..MOMENTS {
        if left.is_empty() {
            break;
        }
        sleep(MOMENT).await;
        left = leftovers(&work);
    }
    assert!(left.is_empty(), "{left:#?}\n{log}");
    let ended = ledger
        .0
        .values()
        .filter(|known| matches!(known, Known::Ended(..)));
    println!(
        "{launched} tasks, {grouped} of them in groups, {bridged} meant for the bridge, {} ended, {deaths} deaths of the agent",
        ended.count(),
    );
    assert!(deaths > 1 && launched > tasks && grouped > 0, "{log}");
}
