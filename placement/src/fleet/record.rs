//! What is known of one node, kept small: most nodes have CPUs, memory, disk and ports, and nothing else.

use std::sync::Arc;

use mete_model::{Ranges, Resources};

use super::amounts::Amounts;
use crate::packing::Node;

/// How many kinds of machines are remembered to be shared by the nodes that are set next. Machines are
/// bought by the hundred; where each is different, each has its own copy.
const RECENT_KINDS: usize = 8;

/// A whole machine, shared by the nodes that are alike.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Kind {
    total: Resources,
    group: u16,
    /// Whether there are GPUs in `total`.
    has_gpus: bool,
}

/// One node, or the place of one.
#[derive(Clone, Debug, Default)]
pub(super) enum Record {
    #[default]
    Absent,
    /// Neither GPUs nor anything special is free.
    Plain {
        cpus_milli: u64,
        mem_milli: u64,
        disk_milli: u64,
        ports: Ranges,
        kind: Arc<Kind>,
    },
    /// All the others.
    Special(Box<(Resources, Arc<Kind>)>),
}

impl Record {
    fn new(free: &Resources, kind: Arc<Kind>) -> Self {
        if is_plain(free) {
            Self::Plain {
                cpus_milli: free.cpus_milli,
                mem_milli: free.mem_milli,
                disk_milli: free.disk_milli,
                ports: free.ports.clone(),
                kind,
            }
        } else {
            Self::Special(Box::new((free.clone(), kind)))
        }
    }

    fn kind(&self) -> Option<&Arc<Kind>> {
        match self {
            Self::Absent => None,
            Self::Plain { kind, .. } => Some(kind),
            Self::Special(special) => Some(&special.1),
        }
    }

    /// Whether the machine has GPUs, free or not.
    pub(super) fn has_gpus(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Plain { kind, .. } => kind.has_gpus,
            Self::Special(special) => special.1.has_gpus || special.0.flat().gpus_milli > 0,
        }
    }

    /// As policies look at it; `None` when it is not there.
    pub(super) fn look<T>(&self, look: impl FnOnce(Node<'_>) -> T) -> Option<T> {
        let free;
        let (free, kind) = match self {
            Self::Absent => return None,
            Self::Plain {
                cpus_milli,
                mem_milli,
                disk_milli,
                ports,
                kind,
            } => {
                let mut plain = Resources::none().with_ports(ports.clone());
                plain.cpus_milli = *cpus_milli;
                plain.mem_milli = *mem_milli;
                plain.disk_milli = *disk_milli;
                free = plain;
                (&free, kind)
            }
            Self::Special(special) => (&special.0, &special.1),
        };
        Some(look(Node {
            total: &kind.total,
            free,
            group: kind.group,
        }))
    }

    pub(super) fn amounts(&self) -> Amounts {
        match self {
            Self::Absent => Amounts::default(),
            Self::Plain {
                cpus_milli,
                mem_milli,
                disk_milli,
                ..
            } => Amounts::plain(*cpus_milli, *mem_milli, *disk_milli),
            Self::Special(special) => Amounts::of(&special.0),
        }
    }

    /// Whether all that is asked is free.
    pub(super) fn contains(&self, asked: &Resources) -> bool {
        match self {
            Self::Absent => false,
            Self::Plain {
                cpus_milli,
                mem_milli,
                disk_milli,
                ports,
                ..
            } => {
                *cpus_milli >= asked.cpus_milli
                    && *mem_milli >= asked.mem_milli
                    && *disk_milli >= asked.disk_milli
                    && is_plain(asked)
                    && (asked.ports.is_empty() || ports.includes(&asked.ports))
            }
            Self::Special(special) => special.0.contains(asked),
        }
    }

    /// Whether something is free.
    pub(super) fn is_free(&self) -> bool {
        match self {
            Self::Absent => false,
            Self::Plain {
                cpus_milli,
                mem_milli,
                disk_milli,
                ports,
                ..
            } => *cpus_milli > 0 || *mem_milli > 0 || *disk_milli > 0 || !ports.is_empty(),
            Self::Special(special) => !special.0.is_empty(),
        }
    }
}

/// All nodes by number.
#[derive(Clone, Debug, Default)]
pub(super) struct Records {
    records: Vec<Record>,
    recent: Vec<Arc<Kind>>,
}

impl Records {
    pub(super) fn get(&self, node: u32) -> &Record {
        self.records.get(node as usize).unwrap_or(&Record::Absent)
    }

    pub(super) fn set(&mut self, node: u32, total: &Resources, free: &Resources, group: u16) {
        let at = node as usize;
        if self.records.len() <= at {
            self.records.resize(at + 1, Record::Absent);
        }
        let is_same = |kind: &&Arc<Kind>| kind.group == group && kind.total == *total;
        let kind = match self.records[at].kind().filter(is_same) {
            Some(kind) => Arc::clone(kind),
            None => self.shared(total, group),
        };
        self.records[at] = Record::new(free, kind);
    }

    pub(super) fn remove(&mut self, node: u32) {
        if let Some(record) = self.records.get_mut(node as usize) {
            *record = Record::Absent;
        }
    }

    /// One more than the highest number that was ever set.
    pub(super) const fn len(&self) -> usize {
        self.records.len()
    }

    /// All that are there, by number.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Record)> {
        (0..)
            .zip(&self.records)
            .filter(|(_, record)| !matches!(record, Record::Absent))
    }

    fn shared(&mut self, total: &Resources, group: u16) -> Arc<Kind> {
        let is_same = |kind: &Arc<Kind>| kind.group == group && kind.total == *total;
        if let Some(at) = self.recent.iter().position(is_same) {
            self.recent[..=at].rotate_right(1);
        } else {
            self.recent.truncate(RECENT_KINDS - 1);
            let kind = Kind {
                total: total.clone(),
                group,
                has_gpus: total.flat().gpus_milli > 0,
            };
            self.recent.insert(0, Arc::new(kind));
        }
        Arc::clone(&self.recent[0])
    }
}

/// Whether there is nothing but CPUs, memory, disk and ports.
fn is_plain(resources: &Resources) -> bool {
    resources.gpus_milli == 0
        && resources.others().next().is_none()
        && resources.devices().is_empty()
        && !resources.has_parts()
}
