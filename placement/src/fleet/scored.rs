//! Scores of all nodes of one class for the shapes asked for lately, kept until a node changes.
//!
//! Changes are written to a log; a shape that is asked for again scores only the nodes in the log
//! since it was asked for last, each once. Of every block of nodes the least score is known, so that
//! the best one is found without looking at all.

use std::collections::{BTreeMap, VecDeque};

use mete_model::Resources;

use super::record::{Record, Records};
use crate::packing::{Mix, Packing, Policy, Score};

/// The most scores kept in a class: 128 shapes over 16,000 nodes, some 60 MB. Fewer nodes get more
/// shapes, up to [`MAX_SHAPES`].
const MAX_SCORES: usize = 1 << 21;
/// The most shapes kept in a class, however few nodes there are.
const MAX_SHAPES: usize = 1_024;
/// How many nodes share one least score.
const BLOCK: usize = 64;
/// A shape catches up node by node only while no more than one in so many has changed.
const REPLAY_PART: usize = 2;
/// What stands where a node is not in the class.
const NOWHERE: u32 = u32::MAX;

/// How good a node is for a shape. In the order of what is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Rating {
    Fits(Score),
    TooSmall,
}

/// The nodes of one class, what changed about them, and their scores.
#[derive(Debug)]
pub(super) struct Scored {
    /// Whether these are the machines with GPUs, or those without.
    has_gpus: bool,
    /// By number. A node that has left the class stays here and is too small for everything.
    members: Vec<u32>,
    /// Where each node is among the members, by its number.
    places: Vec<u32>,
    /// Places of members that changed, the oldest first.
    log: VecDeque<u32>,
    /// How many changes there were before those in the log.
    forgotten: u64,
    /// The number of each member's last change.
    last: Vec<u64>,
    shapes: BTreeMap<Policy, BTreeMap<Resources, Shape>>,
    /// How many questions there were.
    asked: u64,
}

/// A copy starts without scores: it answers the same, and what is copied to try something out is
/// rarely asked for much.
impl Clone for Scored {
    fn clone(&self) -> Self {
        Self {
            members: self.members.clone(),
            places: self.places.clone(),
            last: vec![0; self.members.len()],
            ..Self::empty(self.has_gpus)
        }
    }
}

impl Scored {
    /// All nodes that have GPUs, or all that have none.
    pub(super) fn new(records: &Records, has_gpus: bool) -> Self {
        let mut scored = Self::empty(has_gpus);
        for (node, record) in records.iter() {
            if record.has_gpus() == has_gpus {
                scored.append(node);
            }
        }
        scored
    }

    const fn empty(has_gpus: bool) -> Self {
        Self {
            has_gpus,
            members: Vec::new(),
            places: Vec::new(),
            log: VecDeque::new(),
            forgotten: 0,
            last: Vec::new(),
            shapes: BTreeMap::new(),
            asked: 0,
        }
    }

    /// Notes that a node has changed, come or gone.
    pub(super) fn changed(&mut self, node: u32, record: &Record) {
        let place = self.places.get(node as usize).copied().unwrap_or(NOWHERE);
        if place == NOWHERE {
            if self.takes(record) {
                self.admit(node);
            }
            return;
        }
        if self.shapes.is_empty() {
            return;
        }
        self.last[place as usize] = self.forgotten + self.log.len() as u64;
        self.log.push_back(place);
        if self.log.len() > self.members.len() {
            self.log.pop_front();
            self.forgotten += 1;
        }
    }

    /// The permitted node with the least score, the lowest number first.
    pub(super) fn best(
        &mut self,
        policy: Policy,
        asked: &Resources,
        mix: &Mix,
        records: &Records,
        permit: &mut dyn FnMut(u32) -> bool,
    ) -> Option<u32> {
        self.asked += 1;
        let mut shape = self.take_shape(policy, asked);
        let question = Question {
            policy,
            asked,
            mix,
            records,
            has_gpus: self.has_gpus,
            members: &self.members,
        };
        self.catch_up(&mut shape, &question);
        let best = shape.best(&self.members, permit);
        self.shapes
            .entry(policy)
            .or_default()
            .insert(asked.clone(), shape);
        best
    }

    fn catch_up(&self, shape: &mut Shape, question: &Question<'_>) {
        let now = self.forgotten + self.log.len() as u64;
        let behind = usize::try_from(now - shape.seen).unwrap_or(usize::MAX);
        let may_replay = shape.ratings.len() == self.members.len()
            && shape.mix_version == question.mix.version()
            && shape.seen >= self.forgotten
            && behind <= self.members.len() / REPLAY_PART;
        if may_replay {
            let from = usize::try_from(shape.seen - self.forgotten).unwrap_or(usize::MAX);
            for (change, place) in (shape.seen..).zip(self.log.range(from..)) {
                if self.last[*place as usize] == change {
                    shape.rate(*place as usize, question);
                }
            }
        } else {
            shape.rate_all(question);
        }
        shape.seen = now;
        shape.asked = self.asked;
    }

    /// The scores for a shape, taken out of those kept; an empty one when it is new.
    fn take_shape(&mut self, policy: Policy, asked: &Resources) -> Shape {
        let kept = self.shapes.entry(policy).or_default().remove(asked);
        kept.unwrap_or_else(|| {
            self.make_room();
            Shape::default()
        })
    }

    /// Forgets the shape that was not asked for the longest, when there are as many as may be kept.
    fn make_room(&mut self) {
        let most = (MAX_SCORES / self.members.len().max(1)).clamp(1, MAX_SHAPES);
        let kept: usize = self.shapes.values().map(BTreeMap::len).sum();
        if kept < most {
            return;
        }
        let all = self.shapes.iter().flat_map(|(policy, shapes)| {
            shapes
                .iter()
                .map(move |(asked, shape)| (shape.asked, *policy, asked))
        });
        let Some((_, policy, asked)) = all.min() else {
            return;
        };
        let asked = asked.clone();
        if let Some(shapes) = self.shapes.get_mut(&policy) {
            shapes.remove(&asked);
        }
    }

    /// Takes a node in. Nodes come with rising numbers but for those whose number was used before by
    /// another class: then all scores are void.
    fn admit(&mut self, node: u32) {
        if self.members.last().is_none_or(|last| *last < node) {
            self.append(node);
            return;
        }
        let mut members = std::mem::take(&mut self.members);
        let place = members.partition_point(|member| *member < node);
        members.insert(place, node);
        *self = Self::empty(self.has_gpus);
        members.into_iter().for_each(|node| self.append(node));
    }

    fn takes(&self, record: &Record) -> bool {
        !matches!(record, Record::Absent) && record.has_gpus() == self.has_gpus
    }

    fn append(&mut self, node: u32) {
        if self.places.len() <= node as usize {
            self.places.resize(node as usize + 1, NOWHERE);
        }
        let place = u32::try_from(self.members.len()).expect("there are no more places than nodes");
        self.places[node as usize] = place;
        self.members.push(node);
        self.last.push(0);
    }
}

/// What scores depend on.
struct Question<'a> {
    policy: Policy,
    asked: &'a Resources,
    mix: &'a Mix,
    records: &'a Records,
    has_gpus: bool,
    members: &'a [u32],
}

impl Question<'_> {
    fn rating(&self, place: usize) -> Rating {
        let record = self.records.get(self.members[place]);
        if record.has_gpus() != self.has_gpus || !record.contains(self.asked) {
            return Rating::TooSmall;
        }
        let score = record.look(|node| self.policy.score(self.asked, node, self.mix));
        score.map_or(Rating::TooSmall, Rating::Fits)
    }
}

/// The scores for one shape.
#[derive(Debug, Default)]
struct Shape {
    /// Of each member.
    ratings: Vec<Rating>,
    /// Of each block of members the least.
    least: Vec<Rating>,
    /// How many changes it knows of.
    seen: u64,
    /// The mix it was scored with.
    mix_version: u64,
    /// The number of the question that asked for it last.
    asked: u64,
}

impl Shape {
    fn rate_all(&mut self, question: &Question<'_>) {
        self.mix_version = question.mix.version();
        self.ratings.clear();
        self.ratings
            .extend((0..question.members.len()).map(|place| question.rating(place)));
        self.least.clear();
        self.least.extend(self.ratings.chunks(BLOCK).map(least));
    }

    fn rate(&mut self, place: usize, question: &Question<'_>) {
        let rating = question.rating(place);
        let before = std::mem::replace(&mut self.ratings[place], rating);
        let block = place / BLOCK;
        if rating <= self.least[block] {
            self.least[block] = rating;
        } else if before == self.least[block] {
            let end = self.ratings.len().min((block + 1) * BLOCK);
            self.least[block] = least(&self.ratings[block * BLOCK..end]);
        }
    }

    fn best(&self, members: &[u32], permit: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        let mut best = Rating::TooSmall;
        let mut found = None;
        for (block, least) in self.least.iter().enumerate() {
            if *least >= best {
                continue;
            }
            let from = block * BLOCK;
            for (rating, node) in self.ratings[from..]
                .iter()
                .zip(&members[from..])
                .take(BLOCK)
            {
                if *rating < best && permit(*node) {
                    best = *rating;
                    found = Some(*node);
                }
            }
        }
        found
    }
}

fn least(ratings: &[Rating]) -> Rating {
    ratings.iter().copied().min().unwrap_or(Rating::TooSmall)
}
