//! What went over the network of a task's own, as its first process sees it in `/proc`. A task with the network of the
//! machine has none of its own: its counters would be everybody's.

use std::fs;

use mete_agent_core::task_dir::{PidFile, TaskDir};

use crate::cgroups::{Direction, Traffic};
use crate::processes;
use crate::shims::read_file;

/// Counters of a task's own network; `None` when it has none, or does not run.
pub(crate) fn of(dir: &TaskDir) -> Option<Traffic> {
    let task = read_file::<PidFile>(&dir.pid()).ok()?.runner?.task;
    let network = |who: &str| fs::read_link(format!("/proc/{who}/ns/net")).ok();
    let pid = task.pid.to_string();
    if network(&pid)? == network("self")? {
        return None;
    }
    let text = fs::read_to_string(format!("/proc/{pid}/net/dev")).ok()?;
    // The number may have been given to somebody else meanwhile; then these are not its counters.
    processes::is_running(task).then(|| sum(&text))
}

/// All devices but the loopback, of the text of `/proc/<pid>/net/dev`: two lines of heads, then
/// `eth0: bytes packets errs drop fifo frame compressed multicast bytes packets errs drop …`.
fn sum(text: &str) -> Traffic {
    let devices = text.lines().filter_map(|line| line.split_once(':'));
    let mut all = Traffic::default();
    for (_, counters) in devices.filter(|(name, _)| name.trim() != "lo") {
        let counters: Vec<u64> = counters
            .split_ascii_whitespace()
            .map_while(|word| word.parse().ok())
            .collect();
        add(&mut all.received, counters.get(..4));
        add(&mut all.sent, counters.get(8..12));
    }
    all
}

fn add(to: &mut Direction, counters: Option<&[u64]>) {
    let Some([bytes, packets, errors, dropped]) = counters else {
        return;
    };
    to.bytes = to.bytes.saturating_add(*bytes);
    to.packets = to.packets.saturating_add(*packets);
    to.errors = to.errors.saturating_add(*errors);
    to.dropped = to.dropped.saturating_add(*dropped);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:     500       5    0    0    0     0          0         0      500       5    0    0    0     0       0          0
  eth0:    1000      10    1    2    0     0          0         0     2000      20    3    4    0     0       0          0
  eth1:       1       1    0    0    0     0          0         0        2       2    0    0    0     0       0          0
";

    #[test]
    fn devices_are_added_but_for_the_loopback() {
        let direction = |bytes, packets, errors, dropped| Direction {
            bytes,
            packets,
            errors,
            dropped,
        };

        assert_eq!(
            sum(TEXT),
            Traffic {
                received: direction(1_001, 11, 1, 2),
                sent: direction(2_002, 22, 3, 4),
            }
        );
    }
}
