//! The files of the trace, and arrivals made of them.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use mete_benches::dice::Dice;
use mete_model::Resources;
use mete_placement::packing::Groups;

const MACHINES: &str = "openb_node_list_gpu_node.csv";
const PODS: &str = "openb_pod_list_default.csv";
/// Arrivals end when they have asked for so many percent of all GPUs.
const ENOUGH_PERCENT: u64 = 130;

/// A machine of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) total: Resources,
    /// Its model of GPU.
    pub(crate) group: u16,
}

/// A task that arrives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Pod {
    pub(crate) asked: Resources,
    pub(crate) groups: Groups,
}

/// The models of GPUs in the order of their numbers, from 1 on.
pub(crate) const MODELS: [&str; 7] = ["A10", "G2", "G3", "P100", "T4", "V100M16", "V100M32"];

/// All machines, in the order of their names.
pub(crate) fn machines(data: &Path) -> Result<Vec<Machine>> {
    let mut machines = BTreeMap::new();
    for row in rows(&find(data, MACHINES)?)? {
        let gpus = row.number("gpu")? * 1_000;
        let total = row.resources(gpus)?.with_devices();
        let group = group(row.text("model")?)
            .with_context(|| format!("{}: unknown model of GPU", row.text("sn").unwrap_or("")))?;
        machines.insert(row.text("sn")?.to_owned(), Machine { total, group });
    }
    ensure!(!machines.is_empty(), "{MACHINES} names no machine");
    Ok(machines.into_values().collect())
}

/// All tasks, in the order of their names.
pub(crate) fn pods(data: &Path, trace: Option<&Path>) -> Result<Vec<Pod>> {
    let file = match trace {
        // A bare name stands for one of the published lists.
        Some(name)
            if !name.exists() && name.components().count() == 1 && name.extension().is_none() =>
        {
            find(data, &format!("openb_pod_list_{}.csv", name.display()))?
        }
        // A file, as it stands where the reader is, or where the data are.
        Some(trace) if trace.exists() => trace.to_owned(),
        Some(trace) => find(data, &trace.display().to_string())?,
        None => find(data, PODS)?,
    };
    let mut pods = Vec::new();
    for row in rows(&file)? {
        let (count, milli) = (row.number("num_gpu")?, row.number("gpu_milli")?);
        let asked = row.resources(if count == 1 { milli } else { count * 1_000 })?;
        // Some lists end before this column.
        let models = row.text("gpu_spec").unwrap_or("");
        let groups = match models {
            "" => Groups::ANY,
            models => models.split('|').filter_map(group).collect(),
        };
        pods.push((row.text("name")?.to_owned(), Pod { asked, groups }));
    }
    ensure!(!pods.is_empty(), "{} lists no pod", file.display());
    pods.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(pods.into_iter().map(|(_, pod)| pod).collect())
}

/// All GPUs, in thousandths.
pub(crate) fn gpus_milli(machines: &[Machine]) -> u64 {
    machines
        .iter()
        .map(|machine| machine.total.gpus_milli)
        .sum()
}

/// The pods in random order, and after them random ones again, until they ask for 130 % of `capacity`; random
/// ones are left away when they ask for more.
pub(crate) fn arrivals(pods: &[Pod], capacity: u64, seed: u64) -> Vec<Pod> {
    let mut dice = Dice::new(seed);
    let mut arrivals = pods.to_vec();
    for last in (1..arrivals.len()).rev() {
        arrivals.swap(last, dice.below(last as u64 + 1) as usize);
    }
    let enough = capacity * ENOUGH_PERCENT / 100;
    let mut asked: u64 = arrivals.iter().map(|pod| pod.asked.gpus_milli).sum();
    if asked == 0 {
        return arrivals;
    }
    while asked > enough {
        let gone = arrivals.remove(dice.below(arrivals.len() as u64) as usize);
        asked -= gone.asked.gpus_milli;
    }
    loop {
        let pod = &pods[dice.below(pods.len() as u64) as usize];
        // As published, a pod with many GPUs counts as one here.
        if asked + pod.asked.gpus_milli.min(1_000) > enough {
            return arrivals;
        }
        asked += pod.asked.gpus_milli;
        arrivals.push(pod.clone());
    }
}

fn group(model: &str) -> Option<u16> {
    let at = MODELS.iter().position(|known| *known == model)?;
    Some(at as u16 + 1)
}

/// The file in the folder or in its `openb`.
fn find(data: &Path, name: &str) -> Result<PathBuf> {
    let places = [data.join("openb").join(name), data.join(name)];
    match places.iter().find(|place| place.is_file()) {
        Some(place) => Ok(place.clone()),
        None => bail!(
            "no {name} in {} nor in its openb/: the data is not part of this repository, see benches/README.md",
            data.display()
        ),
    }
}

/// A line of a file with the names of its columns.
struct Row {
    place: String,
    fields: BTreeMap<String, String>,
}

/// No field of these files holds a comma or a quote.
fn rows(file: &Path) -> Result<Vec<Row>> {
    let text =
        fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let mut lines = text.lines();
    let columns: Vec<&str> = lines
        .next()
        .unwrap_or("")
        .split(',')
        .map(str::trim)
        .collect();
    let rows = lines
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty());
    Ok(rows
        .map(|(at, line)| Row {
            place: format!("{} line {}", file.display(), at + 2),
            fields: columns
                .iter()
                .zip(line.split(','))
                .map(|(column, field)| ((*column).to_owned(), field.trim().to_owned()))
                .collect(),
        })
        .collect())
}

impl Row {
    fn text(&self, column: &str) -> Result<&str> {
        let field = self.fields.get(column);
        field
            .map(String::as_str)
            .with_context(|| format!("{} has no {column}", self.place))
    }

    fn number(&self, column: &str) -> Result<u64> {
        let text = self.text(column)?;
        // Some lists write whole numbers as 12000.0, and leave what is zero away.
        let whole = text.strip_suffix(".0").unwrap_or(text);
        let number = if whole.is_empty() {
            Ok(0)
        } else {
            whole.parse::<u32>()
        };
        let number = number.with_context(|| format!("{}: {column} is {text:?}", self.place))?;
        Ok(u64::from(number))
    }

    fn resources(&self, gpus_milli: u64) -> Result<Resources> {
        let (cpus, memory) = (self.number("cpu_milli")?, self.number("memory_mib")?);
        let mut resources = Resources::cpus_mem(cpus, memory);
        resources.gpus_milli = gpus_milli;
        Ok(resources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_pods_is_found_by_its_name_where_the_data_are() {
        let data = tempfile::tempdir().expect("a directory");
        let folder = data.path().join("openb");
        std::fs::create_dir(&folder).expect("made");
        let list = "name,cpu_milli,memory_mib,num_gpu,gpu_milli\np-0,1000,64,1,500\n";
        std::fs::write(folder.join("openb_pod_list_mine.csv"), list).expect("written");

        for name in [
            "mine",
            "openb_pod_list_mine.csv",
            "openb/openb_pod_list_mine.csv",
        ] {
            let read = pods(data.path(), Some(Path::new(name)));

            assert_eq!(read.expect(name).len(), 1, "{name}");
        }
        assert!(pods(data.path(), Some(Path::new("other.csv"))).is_err());
    }
}
