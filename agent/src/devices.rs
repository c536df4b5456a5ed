//! GPUs as device nodes: what an operator says of each, and what a task that was given some finds in `/dev`; and all nodes
//! of the machine, for tasks that are privileged.
//!
//! GPUs are numbered from 0 on an agent. Nothing here knows what a GPU is: a number stands for some nodes, and a task that
//! has a part of it gets all of them.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use mete_model::Devices;
use mete_model::resources::devices::MAX_DEVICES;

/// The nodes of one GPU, as `0=/dev/nvidia0,/dev/nvidiactl`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GpuDevice {
    /// Its number.
    pub index: u16,
    /// Its nodes, below `/dev`.
    pub nodes: Vec<PathBuf>,
}

/// Why a text is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGpuDevice {
    /// It has another form.
    #[error("{0:?} is not of the form INDEX=/dev/NAME,/dev/NAME")]
    Form(String),
    /// The number is none, or too large.
    #[error("{0:?} is not the number of a GPU, 0 to {max}", max = MAX_DEVICES - 1)]
    Index(String),
    /// A node lies elsewhere.
    #[error("{0:?} is not a path below /dev")]
    Place(String),
}

impl FromStr for GpuDevice {
    type Err = BadGpuDevice;
    fn from_str(text: &str) -> Result<Self, BadGpuDevice> {
        let (index, nodes) = text
            .split_once('=')
            .ok_or_else(|| BadGpuDevice::Form(text.to_owned()))?;
        let number = index.parse::<u16>().ok();
        let number = number.filter(|number| usize::from(*number) < MAX_DEVICES);
        let node = |path: &str| {
            let below = Path::new(path).strip_prefix("/dev");
            let is_fine = below.is_ok_and(|below| {
                let mut parts = below.components().peekable();
                parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
            });
            match is_fine {
                true => Ok(PathBuf::from(path)),
                false => Err(BadGpuDevice::Place(path.to_owned())),
            }
        };
        Ok(Self {
            index: number.ok_or_else(|| BadGpuDevice::Index(index.to_owned()))?,
            nodes: nodes.split(',').map(node).collect::<Result<_, _>>()?,
        })
    }
}

/// One node, and which device the kernel knows it as.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// Its path, on the machine and in containers.
    pub path: String,
    /// Whether it moves blocks; else characters.
    pub is_block: bool,
    /// The kernel's number of its driver.
    pub major: u32,
    /// The driver's number of it.
    pub minor: u32,
}

/// As a control group of version 1 reads it: `c 195:0`.
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if self.is_block { 'b' } else { 'c' };
        write!(f, "{kind} {}:{}", self.major, self.minor)
    }
}

/// Why a task cannot have the GPUs it was given.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// The node cannot be looked at.
    #[error("device {} of GPU {index}", path.display())]
    Missing {
        /// Whose.
        index: u16,
        /// Which.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Something else is there.
    #[error("{} of GPU {index} is not a device", path.display())]
    NotADevice {
        /// Whose.
        index: u16,
        /// What.
        path: PathBuf,
    },
}

/// The nodes of each GPU of an agent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GpuDevices(BTreeMap<u16, Vec<PathBuf>>);

impl GpuDevices {
    /// As an operator says it; of a number that is named twice, all nodes.
    pub fn new(said: &[GpuDevice]) -> Self {
        let mut all = Self::default();
        for one in said {
            all.0
                .entry(one.index)
                .or_default()
                .extend(one.nodes.iter().cloned());
        }
        all
    }

    /// The nodes of what a task was given, each once; none for a GPU of which nothing was said. Blocks for a moment.
    ///
    /// # Errors
    /// [`DeviceError`].
    pub fn nodes_of(&self, granted: &Devices) -> Result<Vec<Node>, DeviceError> {
        let mut nodes = Vec::new();
        for device in granted.list() {
            for path in self.0.get(&device.index).into_iter().flatten() {
                nodes.push(node(device.index, path)?);
            }
        }
        nodes.sort();
        nodes.dedup();
        Ok(nodes)
    }
}

/// Directories and files of `/dev` that containers have of their own, or that are no devices (Docker's list).
const NOT_SHARED: [&str; 12] = [
    "console", "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "tty", "urandom",
    "zero",
];

/// Most nodes of a machine, and how deep they lie: it has some hundred.
const MAX_NODES: usize = 2_048;
const MAX_DEPTH: usize = 8;

/// All device nodes of the machine but those that every container has of its own. Blocks for a moment.
///
/// # Errors
/// When `/dev` cannot be read, or holds more than 2,048 nodes.
pub fn of_machine() -> io::Result<Vec<Node>> {
    let mut nodes = Vec::new();
    below(Path::new("/dev"), 0, &mut nodes)?;
    nodes.sort();
    Ok(nodes)
}

fn below(directory: &Path, depth: usize, nodes: &mut Vec<Node>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let is_own = |name: &str| depth == 0 && NOT_SHARED.contains(&name);
        if entry.file_name().to_str().is_none_or(is_own) {
            continue;
        }
        // What is gone by now was none.
        let Ok(found) = entry.metadata() else {
            continue;
        };
        if found.is_dir() && depth < MAX_DEPTH {
            below(&entry.path(), depth + 1, nodes)?;
        }
        nodes.extend(entry.path().to_str().and_then(|path| as_node(path, &found)));
        if nodes.len() > MAX_NODES {
            let why = format!("/dev of this machine has more than {MAX_NODES} devices");
            return Err(io::Error::other(why));
        }
    }
    Ok(())
}

/// `None`: it is no device.
fn as_node(path: &str, found: &fs::Metadata) -> Option<Node> {
    let kind = found.file_type();
    (kind.is_block_device() || kind.is_char_device()).then(|| Node {
        path: path.to_owned(),
        is_block: kind.is_block_device(),
        major: rustix::fs::major(found.rdev()),
        minor: rustix::fs::minor(found.rdev()),
    })
}

fn node(index: u16, path: &Path) -> Result<Node, DeviceError> {
    let found = fs::metadata(path).map_err(|source| DeviceError::Missing {
        index,
        path: path.to_owned(),
        source,
    })?;
    let node = path.to_str().and_then(|text| as_node(text, &found));
    node.ok_or_else(|| DeviceError::NotADevice {
        index,
        path: path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use mete_model::Device;

    use super::*;

    fn granted(indices: &[u16]) -> Devices {
        let devices = indices.iter().map(|index| Device {
            index: *index,
            milli: 1_000,
        });
        Devices::new(devices.collect()).expect("each once")
    }

    #[test]
    fn a_gpu_is_some_nodes_below_dev() {
        let read = |text: &str| text.parse::<GpuDevice>();

        let two = read("1=/dev/null,/dev/dri/card0").expect("fine");
        assert_eq!(two.index, 1);
        assert_eq!(
            two.nodes,
            ["/dev/null", "/dev/dri/card0"].map(PathBuf::from)
        );
        for bad in ["0", "0=", "0=/dev", "0=/dev/../etc/passwd", "0=null"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let bad = read("1024=/dev/null").expect_err("too large").to_string();
        assert_eq!(bad, "\"1024\" is not the number of a GPU, 0 to 1023");
    }

    #[test]
    fn nodes_are_those_of_what_was_given_and_must_be_there() {
        let said = [
            "0=/dev/null,/dev/zero",
            "1=/dev/null",
            "2=/dev/none",
            "3=/dev/shm",
        ];
        let all: Vec<GpuDevice> = said.map(|one| one.parse().expect("fine")).into();
        let all = GpuDevices::new(&all);
        let text = |indices: &[u16]| -> Result<Vec<String>, String> {
            let nodes = all.nodes_of(&granted(indices));
            let nodes = nodes.map_err(|error| error.to_string())?;
            Ok(nodes.iter().map(ToString::to_string).collect())
        };

        assert_eq!(
            text(&[0, 1]),
            Ok(vec!["c 1:3".to_owned(), "c 1:5".to_owned()])
        );
        assert_eq!(text(&[7]), Ok(vec![]));
        assert_eq!(text(&[2]), Err("device /dev/none of GPU 2".to_owned()));
        assert_eq!(
            text(&[3]),
            Err("/dev/shm of GPU 3 is not a device".to_owned())
        );
    }
}
