//! The form in which the maintenance schedule lies on disk.

use std::time::Duration;

use mete_model::{Timestamp, Unavailability};
use serde::{Deserialize, Serialize};

use super::BadRecord;
use crate::state::schedule::{MachineId, Schedule, Window};

#[derive(Serialize, Deserialize)]
pub(super) struct StoredSchedule {
    windows: Vec<StoredWindow>,
    down: Vec<StoredMachine>,
}

#[derive(Serialize, Deserialize)]
struct StoredWindow {
    machines: Vec<StoredMachine>,
    start_micros: u64,
    duration_micros: Option<u64>,
}

#[derive(Serialize, Deserialize)]
struct StoredMachine {
    #[serde(skip_serializing_if = "Option::is_none")]
    hostname: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip: Option<String>,
}

impl From<&MachineId> for StoredMachine {
    fn from(machine: &MachineId) -> Self {
        Self {
            hostname: machine.hostname().map(str::to_owned),
            ip: machine.ip().map(str::to_owned),
        }
    }
}

impl From<&Schedule> for StoredSchedule {
    fn from(schedule: &Schedule) -> Self {
        let window = |window: &Window| StoredWindow {
            machines: window.machines.iter().map(StoredMachine::from).collect(),
            start_micros: window.unavailability.start.as_micros(),
            duration_micros: window
                .unavailability
                .duration
                .map(|span| u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        };
        Self {
            windows: schedule.windows().iter().map(window).collect(),
            down: schedule.down().iter().map(StoredMachine::from).collect(),
        }
    }
}

impl StoredSchedule {
    /// The schedule of the record `key`.
    pub(super) fn into_schedule(self, key: &str) -> Result<Schedule, BadRecord> {
        let impossible = |why: String| BadRecord::Impossible {
            key: key.to_owned(),
            why,
        };
        let machine = |stored: StoredMachine| {
            MachineId::new(stored.hostname, stored.ip).map_err(|bad| impossible(bad.to_string()))
        };
        let mut windows = Vec::with_capacity(self.windows.len());
        for stored in self.windows {
            let machines: Result<_, _> = stored.machines.into_iter().map(machine).collect();
            windows.push(Window {
                machines: machines?,
                unavailability: Unavailability {
                    start: Timestamp::from_micros(stored.start_micros),
                    duration: stored.duration_micros.map(Duration::from_micros),
                },
            });
        }
        let down: Result<_, _> = self.down.into_iter().map(machine).collect();
        Schedule::new(windows, down?).map_err(|bad| impossible(bad.to_string()))
    }
}
