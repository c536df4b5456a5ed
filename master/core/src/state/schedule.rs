//! The maintenance schedule: which machines are planned to be away, and which are.
//!
//! ```text
//! machine   up ──in a schedule──▶ draining ──machine down──▶ down ──machine up──▶ up (and out of the schedule)
//!            ▲────out of it───────────┘
//! ```
//! A machine has one window at most; one that is down stays in the schedule until it is up.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use mete_model::{Endpoint, Unavailability};

/// Machines in a schedule: far more than any cluster has, few enough to keep in one record.
const MAX_MACHINES: usize = 100_000;

/// A machine, by its name, its address, or both. Names do not tell capital letters apart.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachineId {
    hostname: Option<String>,
    ip: Option<String>,
}

/// A machine without name and without address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a machine has a hostname, an ip, or both")]
pub struct BadMachine;

impl MachineId {
    /// A machine; empty texts count as none.
    ///
    /// # Errors
    /// When neither is there.
    pub fn new(hostname: Option<String>, ip: Option<String>) -> Result<Self, BadMachine> {
        let hostname = hostname.filter(|name| !name.is_empty());
        let hostname = hostname.map(|name| name.to_lowercase());
        let ip = ip.filter(|ip| !ip.is_empty());
        if hostname.is_none() && ip.is_none() {
            return Err(BadMachine);
        }
        Ok(Self { hostname, ip })
    }

    /// Its name; `None`: any.
    pub fn hostname(&self) -> Option<&str> {
        self.hostname.as_deref()
    }

    /// Its address; `None`: any.
    pub fn ip(&self) -> Option<&str> {
        self.ip.as_deref()
    }

    /// Under which names an agent's machine can stand in a schedule, the most exact first.
    fn names_of(endpoint: &Endpoint) -> [Self; 3] {
        let hostname = Some(endpoint.hostname.to_lowercase());
        let ip = Some(endpoint.ip.clone());
        [
            Self {
                hostname: hostname.clone(),
                ip: ip.clone(),
            },
            Self { hostname, ip: None },
            Self { hostname: None, ip },
        ]
    }
}

impl fmt::Display for MachineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.hostname, &self.ip) {
            (Some(hostname), Some(ip)) => write!(f, "{hostname} ({ip})"),
            (Some(one), None) | (None, Some(one)) => f.write_str(one),
            (None, None) => Ok(()),
        }
    }
}

/// Machines that are planned to be away at the same time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which.
    pub machines: Vec<MachineId>,
    /// When.
    pub unavailability: Unavailability,
}

/// Why a schedule, or a change of a machine in it, is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// A window for nobody.
    #[error("window {number} has no machines")]
    NoMachines {
        /// Which window, from 0.
        number: usize,
    },
    /// Two windows, or twice in one.
    #[error("machine {0} stands more than once in the schedule")]
    Twice(MachineId),
    /// It is down and would be forgotten.
    #[error("machine {0} is down; it must stay in the schedule until it is up")]
    IsDown(MachineId),
    /// Only what is planned can be taken down.
    #[error("machine {0} is not in the maintenance schedule")]
    NotPlanned(MachineId),
    /// Only what is down can come up.
    #[error("machine {0} is not down")]
    NotDown(MachineId),
    /// More than can be kept.
    #[error("the schedule has {0} machines, at most {MAX_MACHINES} can be planned")]
    TooMany(usize),
}

/// The schedule. Made by [`Schedule::new`], which checks it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    windows: Vec<Window>,
    by_machine: BTreeMap<MachineId, Unavailability>,
    down: BTreeSet<MachineId>,
}

impl Schedule {
    /// A schedule of these windows, in which these machines are down.
    ///
    /// # Errors
    /// [`ScheduleError`]: a machine twice, a window without machines, a machine that is down and in no window.
    pub fn new(windows: Vec<Window>, down: BTreeSet<MachineId>) -> Result<Self, ScheduleError> {
        let machines = windows.iter().map(|window| window.machines.len()).sum();
        if machines > MAX_MACHINES {
            return Err(ScheduleError::TooMany(machines));
        }
        let mut by_machine = BTreeMap::new();
        for (number, window) in windows.iter().enumerate() {
            if window.machines.is_empty() {
                return Err(ScheduleError::NoMachines { number });
            }
            for machine in &window.machines {
                let before = by_machine.insert(machine.clone(), window.unavailability);
                if before.is_some() {
                    return Err(ScheduleError::Twice(machine.clone()));
                }
            }
        }
        if let Some(lost) = down.iter().find(|down| !by_machine.contains_key(*down)) {
            return Err(ScheduleError::IsDown(lost.clone()));
        }
        Ok(Self {
            windows,
            by_machine,
            down,
        })
    }

    /// The windows, as they were given.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Machines that are down.
    pub const fn down(&self) -> &BTreeSet<MachineId> {
        &self.down
    }

    /// Machines that are planned and not down.
    pub fn draining(&self) -> impl Iterator<Item = &MachineId> {
        let planned = self.by_machine.keys();
        planned.filter(|machine| !self.down.contains(*machine))
    }

    /// When an agent's machine is planned to be away.
    pub fn unavailability(&self, endpoint: &Endpoint) -> Option<Unavailability> {
        let names = MachineId::names_of(endpoint);
        names
            .iter()
            .find_map(|name| self.by_machine.get(name))
            .copied()
    }

    /// The name under which an agent's machine is planned.
    pub fn machine(&self, endpoint: &Endpoint) -> Option<&MachineId> {
        let names = MachineId::names_of(endpoint);
        let planned = names
            .iter()
            .find_map(|name| self.by_machine.get_key_value(name));
        planned.map(|(machine, _)| machine)
    }

    /// The name under which an agent's machine is down.
    pub fn down_machine(&self, endpoint: &Endpoint) -> Option<&MachineId> {
        let names = MachineId::names_of(endpoint);
        names.iter().find_map(|name| self.down.get(name))
    }

    /// The schedule once these machines are down.
    ///
    /// # Errors
    /// [`ScheduleError::NotPlanned`].
    pub(crate) fn with_down(&self, machines: &BTreeSet<MachineId>) -> Result<Self, ScheduleError> {
        let unplanned = |machine: &&MachineId| !self.by_machine.contains_key(*machine);
        if let Some(machine) = machines.iter().find(unplanned) {
            return Err(ScheduleError::NotPlanned(machine.clone()));
        }
        let mut next = self.clone();
        next.down.extend(machines.iter().cloned());
        Ok(next)
    }

    /// The schedule once these machines are up: they are in no window any more.
    ///
    /// # Errors
    /// [`ScheduleError::NotDown`].
    pub(crate) fn with_up(&self, machines: &BTreeSet<MachineId>) -> Result<Self, ScheduleError> {
        if let Some(other) = machines.difference(&self.down).next() {
            return Err(ScheduleError::NotDown(other.clone()));
        }
        let mut windows = self.windows.clone();
        for window in &mut windows {
            window
                .machines
                .retain(|machine| !machines.contains(machine));
        }
        windows.retain(|window| !window.machines.is_empty());
        Self::new(windows, self.down.difference(machines).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use mete_model::Timestamp;

    use super::*;

    fn machine(hostname: &str) -> MachineId {
        MachineId::new(Some(hostname.to_owned()), None).expect("good")
    }

    fn window(names: &[&str], start: u64) -> Window {
        Window {
            machines: names.iter().map(|name| machine(name)).collect(),
            unavailability: Unavailability {
                start: Timestamp::from_millis(start),
                duration: Some(Duration::from_secs(60)),
            },
        }
    }

    fn set(names: &[&str]) -> BTreeSet<MachineId> {
        names.iter().map(|name| machine(name)).collect()
    }

    #[test]
    fn a_machine_stands_in_one_window_only() {
        let none = BTreeSet::new();

        let twice = Schedule::new(vec![window(&["a"], 1), window(&["A"], 2)], none.clone());
        let empty = Schedule::new(vec![window(&[], 1)], none);

        assert_eq!(twice, Err(ScheduleError::Twice(machine("a"))));
        assert_eq!(empty, Err(ScheduleError::NoMachines { number: 0 }));
        assert_eq!(MachineId::new(Some(String::new()), None), Err(BadMachine));
    }

    #[test]
    fn a_machine_goes_down_and_comes_up_out_of_the_schedule() {
        let schedule = Schedule::new(vec![window(&["a", "b"], 1)], BTreeSet::new());
        let schedule = schedule.expect("good");

        let refused = schedule.with_down(&set(&["c"]));
        let down = schedule.with_down(&set(&["a"])).expect("planned");

        assert_eq!(refused, Err(ScheduleError::NotPlanned(machine("c"))));
        assert_eq!(down.draining().collect::<Vec<_>>(), [&machine("b")]);
        assert_eq!(
            Schedule::new(vec![window(&["b"], 1)], down.down().clone()),
            Err(ScheduleError::IsDown(machine("a")))
        );
        assert_eq!(
            down.with_up(&set(&["b"])),
            Err(ScheduleError::NotDown(machine("b")))
        );
        let up = down.with_up(&set(&["a"])).expect("down");
        assert_eq!(up.windows(), [window(&["b"], 1)]);
        assert!(up.down().is_empty());
    }

    #[test]
    fn an_agent_is_found_by_name_by_address_or_by_both() {
        let endpoint = Endpoint {
            hostname: "Host-1".to_owned(),
            ip: "10.0.0.1".to_owned(),
            port: 5051,
        };
        let named = |hostname: Option<&str>, ip: Option<&str>| {
            MachineId::new(hostname.map(str::to_owned), ip.map(str::to_owned)).expect("good")
        };
        for (machine, found) in [
            (named(Some("host-1"), None), true),
            (named(None, Some("10.0.0.1")), true),
            (named(Some("HOST-1"), Some("10.0.0.1")), true),
            (named(Some("host-1"), Some("10.0.0.2")), false),
            (named(Some("host-2"), None), false),
        ] {
            let window = Window {
                machines: vec![machine.clone()],
                ..window(&[], 5)
            };
            let schedule = Schedule::new(vec![window], BTreeSet::new()).expect("good");

            assert_eq!(schedule.machine(&endpoint).is_some(), found, "{machine}");
            assert_eq!(schedule.unavailability(&endpoint).is_some(), found);
        }
    }
}
