//! Resources in words: as Mesos prints them, and what is missing.

use std::fmt;

use super::{Resources, Tag};

impl Resources {
    /// Each shortage when `asked` is to be taken from this, in words: `cpus 2 asked, 0.5 there`. Empty exactly
    /// when this [`contains`](Self::contains) it.
    pub fn shortages(&self, asked: &Self) -> Vec<String> {
        let mut short = Vec::new();
        self.plain_shortages(asked, "", &mut short);
        let nothing = Self::none();
        for (tag, part) in asked.parts() {
            let there = self.part(tag).unwrap_or(&nothing);
            if tag.volume.is_some() && there.disk_milli > part.disk_milli {
                short.push(format!(
                    "disk{tag} {} asked, {} there, which only goes whole",
                    part.disk_milli as f64 / 1e3,
                    there.disk_milli as f64 / 1e3
                ));
            }
            there.plain_shortages(part, &tag.to_string(), &mut short);
        }
        short
    }

    fn plain_shortages(&self, asked: &Self, tag: &str, short: &mut Vec<String>) {
        let mut scalar = |name: &str, asked: u64, there: u64| {
            if there < asked {
                short.push(format!(
                    "{name}{tag} {} asked, {} there",
                    asked as f64 / 1e3,
                    there as f64 / 1e3
                ));
            }
        };
        scalar("cpus", asked.cpus_milli, self.cpus_milli);
        scalar("mem", asked.mem_milli, self.mem_milli);
        scalar("disk", asked.disk_milli, self.disk_milli);
        scalar("gpus", asked.gpus_milli, self.gpus_milli);
        for (name, milli) in asked.others() {
            scalar(name, milli, self.other(name));
        }
        // Enough GPUs in sum, but not of single devices.
        if self.gpus_milli >= asked.gpus_milli && !self.has_gpus(asked) {
            let wanted = if asked.devices.is_empty() {
                String::new()
            } else {
                asked.devices.to_string()
            };
            short.push(format!(
                "gpus{tag} {}{wanted} asked, devices {} there",
                asked.gpus_milli as f64 / 1e3,
                self.devices
            ));
        }
        let missing = asked.ports.without(&self.ports);
        if !missing.is_empty() {
            short.push(format!("ports{tag} {missing} not there"));
        }
    }

    /// One `name:quantity` for each quantity of what is plain.
    fn items(&self, tag: &str) -> Vec<String> {
        let mut items = Vec::new();
        let mut item = |name: &str, value: &dyn fmt::Display| {
            items.push(format!("{name}{tag}:{value}"));
        };
        if self.cpus_milli > 0 {
            item("cpus", &(self.cpus_milli as f64 / 1e3));
        }
        if self.mem_milli > 0 {
            item("mem", &(self.mem_milli as f64 / 1e3));
        }
        if self.disk_milli > 0 {
            item("disk", &(self.disk_milli as f64 / 1e3));
        }
        if self.gpus_milli > 0 {
            let amount = self.gpus_milli as f64 / 1e3;
            if self.devices.is_empty() {
                item("gpus", &amount);
            } else {
                item("gpus", &format!("{amount}{}", self.devices));
            }
        }
        for (name, milli) in self.others() {
            item(name, &(milli as f64 / 1e3));
        }
        if !self.ports.is_empty() {
            item("ports", &self.ports);
        }
        items
    }
}

/// As Mesos prints resources: `cpus:1.5; mem:128; ports:[31000-31001]`, memory and disk in MB, with the
/// [`Tag`] of a part after the name; named GPUs as `gpus:1.5[0,2:0.5]`.
impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut items = self.items("");
        for (tag, part) in self.parts() {
            items.extend(part.items(&Tag::to_string(tag)));
        }
        if items.is_empty() {
            f.write_str("nothing")
        } else {
            f.write_str(&items.join("; "))
        }
    }
}
