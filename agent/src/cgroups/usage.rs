//! What the groups of one task have used, by whichever version of control groups counts it here.
//!
//! What a host does not count is `None`, never 0. A task's processes outside the groups do not exist: they are born
//! inside.

use std::path::{Path, PathBuf};

use mete_agent_core::task_dir::CgroupPlan;

use super::files::{self, number, read, stat_line};

/// What a task has used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time.
    pub cpu: Cpu,
    /// Memory that counts against the limit, in bytes.
    pub mem_bytes: Option<u64>,
    /// Of it what no file backs, in bytes.
    pub mem_rss_bytes: Option<u64>,
    /// Of it pages of files, in bytes.
    pub mem_file_bytes: Option<u64>,
    /// Of those the mapped ones, in bytes.
    pub mem_mapped_bytes: Option<u64>,
    /// Memory that has been swapped out, in bytes.
    pub mem_swap_bytes: Option<u64>,
    /// Memory that cannot be taken back, in bytes.
    pub mem_unevictable_bytes: Option<u64>,
    /// The limit in bytes; `None`: there is none.
    pub mem_limit_bytes: Option<u64>,
    /// The most that was ever used, in bytes.
    pub mem_peak_bytes: Option<u64>,
    /// Processes that the kernel has killed for memory.
    pub oom_kills: Option<u64>,
    /// How long something waited, for want of what.
    pub pressure: Pressures,
    /// What was read from disks and written to them.
    pub io: Option<Io>,
    /// What went over a network of its own; `None` when it has that of the machine.
    pub traffic: Option<Traffic>,
    /// Processes.
    pub processes: Option<u64>,
    /// Processes and threads.
    pub pids: Option<u64>,
}

/// CPU time, and how often a limit stopped it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// All of it, in nanoseconds.
    pub total_ns: Option<u64>,
    /// That of programs, in nanoseconds.
    pub user_ns: Option<u64>,
    /// That of the kernel for them, in nanoseconds.
    pub system_ns: Option<u64>,
    /// Periods of the limit that have passed.
    pub periods: Option<u64>,
    /// Of them those in which the task was stopped.
    pub throttled_periods: Option<u64>,
    /// How long it was stopped in all, in nanoseconds.
    pub throttled_ns: Option<u64>,
}

/// Pressure as the kernel measures it (PSI).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressures {
    /// Waiting for a CPU.
    pub cpu: Option<Pressure>,
    /// Waiting for memory.
    pub memory: Option<Pressure>,
    /// Waiting for disks.
    pub io: Option<Pressure>,
}

/// How long processes of a group had to wait for something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pressure {
    /// Some of them waited: hundredths of a percent of the last ten seconds.
    pub some_recently: u32,
    /// Some of them waited: microseconds in all.
    pub some_us: u64,
    /// None of them could go on: hundredths of a percent of the last ten seconds.
    pub full_recently: u32,
    /// None of them could go on: microseconds in all.
    pub full_us: u64,
}

/// What was read from disks and written to them, all devices together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Io {
    /// Bytes read.
    pub read_bytes: u64,
    /// Bytes written.
    pub written_bytes: u64,
    /// Reads.
    pub reads: u64,
    /// Writes.
    pub writes: u64,
}

/// What went over network devices, that of the loopback not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// What came in.
    pub received: Direction,
    /// What went out.
    pub sent: Direction,
}

/// One direction of [`Traffic`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Direction {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were damaged.
    pub errors: u64,
    /// Packets that were thrown away.
    pub dropped: u64,
}

impl Usage {
    /// Adds what another task has used. Of pressure the worse counts; of peaks the sum, which may be more than there ever was.
    pub fn add(&mut self, other: &Self) {
        self.cpu.add(&other.cpu);
        for (sum_of, more) in [
            (&mut self.mem_bytes, other.mem_bytes),
            (&mut self.mem_rss_bytes, other.mem_rss_bytes),
            (&mut self.mem_file_bytes, other.mem_file_bytes),
            (&mut self.mem_mapped_bytes, other.mem_mapped_bytes),
            (&mut self.mem_swap_bytes, other.mem_swap_bytes),
            (&mut self.mem_unevictable_bytes, other.mem_unevictable_bytes),
            (&mut self.mem_limit_bytes, other.mem_limit_bytes),
            (&mut self.mem_peak_bytes, other.mem_peak_bytes),
            (&mut self.oom_kills, other.oom_kills),
            (&mut self.processes, other.processes),
            (&mut self.pids, other.pids),
        ] {
            *sum_of = sum(*sum_of, more);
        }
        self.pressure.cpu = worse(self.pressure.cpu, other.pressure.cpu);
        self.pressure.memory = worse(self.pressure.memory, other.pressure.memory);
        self.pressure.io = worse(self.pressure.io, other.pressure.io);
        self.io = match (self.io, other.io) {
            (Some(one), Some(other)) => Some(one.plus(other)),
            (one, other) => one.or(other),
        };
        // Tasks of one group have one network.
        self.traffic = self.traffic.or(other.traffic);
    }
}

impl Cpu {
    fn add(&mut self, other: &Self) {
        for (sum_of, more) in [
            (&mut self.total_ns, other.total_ns),
            (&mut self.user_ns, other.user_ns),
            (&mut self.system_ns, other.system_ns),
            (&mut self.periods, other.periods),
            (&mut self.throttled_periods, other.throttled_periods),
            (&mut self.throttled_ns, other.throttled_ns),
        ] {
            *sum_of = sum(*sum_of, more);
        }
    }
}

impl Io {
    const fn plus(self, other: Self) -> Self {
        Self {
            read_bytes: self.read_bytes.saturating_add(other.read_bytes),
            written_bytes: self.written_bytes.saturating_add(other.written_bytes),
            reads: self.reads.saturating_add(other.reads),
            writes: self.writes.saturating_add(other.writes),
        }
    }
}

/// Of what is counted.
pub(crate) fn sum(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.saturating_add(other)),
        (one, other) => one.or(other),
    }
}

fn worse(one: Option<Pressure>, other: Option<Pressure>) -> Option<Pressure> {
    [one, other]
        .into_iter()
        .flatten()
        .max_by_key(|pressure| pressure.some_us)
}

/// What the groups of a plan have used.
pub fn usage(plan: &CgroupPlan) -> Usage {
    let groups = Groups(plan);
    let v1_memory = |name: &str| groups.v1_line("memory", "memory.stat", name);
    let memory = |v1: &str, v2: &str| v1_memory(v1).or_else(|| groups.v2_line("memory.stat", v2));
    let either = |controller: &str, v1: &str, v2: &str| {
        let old = groups.v1(controller, v1).and_then(|file| number(&file));
        old.or_else(|| number(&groups.v2(v2)?))
    };
    Usage {
        cpu: cpu(&groups),
        mem_bytes: either("memory", "memory.usage_in_bytes", "memory.current"),
        mem_rss_bytes: memory("total_rss", "anon"),
        mem_file_bytes: memory("total_cache", "file"),
        mem_mapped_bytes: memory("total_mapped_file", "file_mapped"),
        mem_swap_bytes: v1_memory("total_swap")
            .or_else(|| number(&groups.v2("memory.swap.current")?)),
        mem_unevictable_bytes: memory("total_unevictable", "unevictable"),
        mem_limit_bytes: either("memory", "memory.limit_in_bytes", "memory.max"),
        mem_peak_bytes: either("memory", "memory.max_usage_in_bytes", "memory.peak"),
        oom_kills: plan
            .oom_file()
            .and_then(|file| stat_line(Path::new(&file), "oom_kill")),
        pressure: Pressures {
            cpu: groups.pressure("cpu.pressure"),
            memory: groups.pressure("memory.pressure"),
            io: groups.pressure("io.pressure"),
        },
        io: io(&groups),
        traffic: None,
        processes: groups.processes(),
        pids: either("pids", "pids.current", "pids.current"),
    }
}

/// The files of a plan.
struct Groups<'a>(&'a CgroupPlan);

impl Groups<'_> {
    fn v1(&self, controller: &str, file: &str) -> Option<PathBuf> {
        Some(Path::new(self.0.v1.get(controller)?).join(file))
    }

    fn v2(&self, file: &str) -> Option<PathBuf> {
        Some(Path::new(self.0.v2.as_ref()?).join(file))
    }

    fn v1_line(&self, controller: &str, file: &str, name: &str) -> Option<u64> {
        stat_line(&self.v1(controller, file)?, name)
    }

    fn v2_line(&self, file: &str, name: &str) -> Option<u64> {
        stat_line(&self.v2(file)?, name)
    }

    fn pressure(&self, file: &str) -> Option<Pressure> {
        pressure_in(&read(&self.v2(file)?))
    }

    fn processes(&self) -> Option<u64> {
        let group = self.0.v2.as_ref().or_else(|| self.0.v1.values().next())?;
        let mut pids = Vec::new();
        files::members_below(Path::new(group), &mut pids);
        Some(pids.len() as u64)
    }
}

fn cpu(groups: &Groups<'_>) -> Cpu {
    let v1 = |file: &str| number(&groups.v1("cpuacct", file)?);
    let v2_us = |name: &str| {
        let us = groups.v2_line("cpu.stat", name)?;
        Some(us.saturating_mul(1_000))
    };
    let throttling = |name: &str| {
        let old = groups.v1_line("cpu", "cpu.stat", name);
        old.or_else(|| groups.v2_line("cpu.stat", name))
    };
    Cpu {
        total_ns: v1("cpuacct.usage").or_else(|| v2_us("usage_usec")),
        user_ns: v1("cpuacct.usage_user").or_else(|| v2_us("user_usec")),
        system_ns: v1("cpuacct.usage_sys").or_else(|| v2_us("system_usec")),
        periods: throttling("nr_periods"),
        throttled_periods: throttling("nr_throttled"),
        throttled_ns: groups
            .v1_line("cpu", "cpu.stat", "throttled_time")
            .or_else(|| v2_us("throttled_usec")),
    }
}

fn io(groups: &Groups<'_>) -> Option<Io> {
    if let Some(bytes) = groups.v1("blkio", "blkio.throttle.io_service_bytes_recursive") {
        let count = groups.v1("blkio", "blkio.throttle.io_serviced_recursive")?;
        let (read_bytes, written_bytes) = v1_io_in(&read(&bytes));
        let (reads, writes) = v1_io_in(&read(&count));
        return Some(Io {
            read_bytes,
            written_bytes,
            reads,
            writes,
        });
    }
    let counts = self::counts_io(groups.0);
    counts.then(|| v2_io_in(&read(&groups.v2("io.stat").unwrap_or_default())))
}

/// Whether version 2 counts what goes to disks in this group: `io.stat` is there with the controller alone.
fn counts_io(plan: &CgroupPlan) -> bool {
    plan.v2
        .as_ref()
        .is_some_and(|group| Path::new(group).join("io.stat").exists())
}

/// Bytes or numbers read and written: lines `8:0 Read 4096`.
fn v1_io_in(text: &str) -> (u64, u64) {
    let of = |kind: &str| {
        let lines = text.lines().map(|line| line.split_ascii_whitespace());
        let numbers = lines.filter_map(|mut words| {
            let _device = words.next()?;
            let number = (words.next()? == kind).then(|| words.next())??;
            number.parse::<u64>().ok()
        });
        numbers.fold(0_u64, u64::saturating_add)
    };
    (of("Read"), of("Write"))
}

/// Lines `8:0 rbytes=4096 wbytes=0 rios=1 wios=0 …`.
fn v2_io_in(text: &str) -> Io {
    let of = |name: &str| {
        let words = text.split_ascii_whitespace();
        let numbers = words.filter_map(|word| {
            let number = word.strip_prefix(name)?.strip_prefix('=')?;
            number.parse::<u64>().ok()
        });
        numbers.fold(0_u64, u64::saturating_add)
    };
    Io {
        read_bytes: of("rbytes"),
        written_bytes: of("wbytes"),
        reads: of("rios"),
        writes: of("wios"),
    }
}

/// Lines `some avg10=0.12 avg60=… avg300=… total=345`; the kernel writes two digits after the point.
fn pressure_in(text: &str) -> Option<Pressure> {
    let line = |kind: &str| -> Option<(u32, u64)> {
        let line = text.lines().find_map(|line| line.strip_prefix(kind))?;
        let word = |name: &str| {
            line.split_ascii_whitespace()
                .find_map(|word| word.strip_prefix(name))
        };
        let (whole, hundredths) = word("avg10=")?.split_once('.')?;
        let whole: u32 = whole.parse().ok()?;
        let hundredths: u32 = hundredths.parse().ok()?;
        let recently = whole.checked_mul(100)?.checked_add(hundredths)?;
        Some((recently, word("total=")?.parse().ok()?))
    };
    let (some_recently, some_us) = line("some ")?;
    // Waiting for a CPU had no second line before Linux 5.13.
    let (full_recently, full_us) = line("full ").unwrap_or_default();
    Some(Pressure {
        some_recently,
        some_us,
        full_recently,
        full_us,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes_of_all_devices_are_added() {
        let old = "8:0 Read 4096\n8:0 Write 10\n8:0 Sync 1\n8:0 Total 4106\n7:1 Read 4\n7:1 Write 0\nTotal 4110\n";
        let new = "8:0 rbytes=4096 wbytes=10 rios=1 wios=2 dbytes=0 dios=0\n7:1 rbytes=4 wbytes=0 rios=1 wios=0\n";

        assert_eq!(v1_io_in(old), (4_100, 10));
        let expected = Io {
            read_bytes: 4_100,
            written_bytes: 10,
            reads: 2,
            writes: 2,
        };
        assert_eq!(v2_io_in(new), expected);
        assert_eq!(v2_io_in(""), Io::default());
    }

    #[test]
    fn pressure_is_read_with_and_without_a_second_line() {
        let some = "some avg10=12.05 avg60=0.00 avg300=0.00 total=345\n";
        let full = "full avg10=0.50 avg60=0.00 avg300=0.00 total=6\n";

        let mut expected = Pressure {
            some_recently: 1_205,
            some_us: 345,
            ..Pressure::default()
        };
        assert_eq!(pressure_in(some), Some(expected));
        expected.full_recently = 50;
        expected.full_us = 6;
        assert_eq!(pressure_in(&format!("{some}{full}")), Some(expected));
        assert_eq!(pressure_in(""), None);
    }
}
