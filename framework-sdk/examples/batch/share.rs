//! What the framework had, second by second: the resources of its tasks that were launched and not over.

use std::time::Duration;

use mete_framework_sdk::{Resources, Task};

use crate::Arguments;

/// One line of the report.
struct Sample {
    second: u64,
    tasks: usize,
    used: Resources,
}

/// The report, while it is being measured; nothing is when nobody asked for it.
pub(crate) struct Share {
    title: String,
    seconds: u32,
    samples: Vec<Sample>,
    is_printed: bool,
}

impl Share {
    pub(crate) fn new(arguments: &Arguments) -> Self {
        Self {
            title: format!("share of {} in role {}", arguments.name, arguments.role),
            seconds: arguments.share_report.unwrap_or(0),
            samples: Vec::new(),
            is_printed: arguments.share_report.is_none(),
        }
    }

    /// Measures, once a second; the last time also prints.
    pub(crate) fn sample<'a>(
        &mut self,
        elapsed: Duration,
        running: impl Iterator<Item = &'a Task>,
    ) {
        if self.is_printed {
            return;
        }
        let mut used = Resources::none();
        let mut tasks = 0;
        for task in running {
            used.add(task.needs());
            tasks += 1;
        }
        let second = elapsed.as_secs();
        self.samples.push(Sample {
            second,
            tasks,
            used,
        });
        if second >= u64::from(self.seconds) {
            self.print();
        }
    }

    /// Prints what was measured, if that has not happened yet.
    pub(crate) fn print(&mut self) {
        if std::mem::replace(&mut self.is_printed, true) {
            return;
        }
        println!("{}", self.title);
        println!("second  tasks    cpus   mem_mb");
        for Sample {
            second,
            tasks,
            used,
        } in &self.samples
        {
            let (cpus, mem) = (cpus(used), used.mem_milli / 1_000);
            println!("{second:>6} {tasks:>6} {cpus:>7.2} {mem:>8}");
        }
        let all = self.samples.iter().map(|sample| cpus(&sample.used));
        let mean = all.clone().sum::<f64>() / self.samples.len().max(1) as f64;
        let peak = all.fold(0.0, f64::max);
        println!("share mean_cpus={mean:.2} peak_cpus={peak:.2}");
    }
}

fn cpus(used: &Resources) -> f64 {
    used.cpus_milli as f64 / 1e3
}
