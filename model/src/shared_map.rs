//! A sorted map that is cheap to publish: readers share it with the owner, and a write copies only the nodes on its way.
//!
//! ```text
//! SharedMap ─▶ node ─▶ [node, node, …] ─▶ … ─▶ leaf: [(key, value), …]     a B+ tree; each arrow can be shared
//! ```
//! Cloning the map copies one pointer. The first write after that copies a leaf and the nodes above it: with 100,000 entries
//! some sixty entries and pointers in four nodes. Nodes that nobody shares any more are changed where they are.

mod walk; // entries in order, and what differs between two maps

use std::ops::Index;
use std::sync::Arc;

use self::walk::{Differences, Walk};

/// Children of a node and entries of a leaf, at most. A write after each publication copies that many pointers on each of
/// the three or four levels of a large map, and reading goes through as many levels.
const MAX_LEN: usize = 32;
/// As deep as a map of millions of entries is.
const DEPTH: usize = 8;
/// A node with fewer is put together with a neighbour, when both have room.
const MIN_LEN: usize = MAX_LEN / 4;

/// A key, the value that it had, the value that it has.
pub type Change<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

/// A sorted map, shared with readers, copied on write. Values are best an `Arc` or small.
#[derive(Debug)]
pub struct SharedMap<K, V> {
    root: Arc<Node<K, V>>,
    len: usize,
}

/// All leaves are equally deep, and none but a root is empty.
#[derive(Clone, Debug)]
enum Node<K, V> {
    /// Ascending.
    Leaf(Vec<(K, V)>),
    /// Ascending, each with a key that is above all keys of the child before it and not above any of its own. That of the
    /// first child means nothing: whatever is below the second belongs to the first.
    Inner(Vec<Child<K, V>>),
}

type Child<K, V> = (K, Arc<Node<K, V>>);

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self {
            root: Arc::clone(&self.root),
            len: self.len,
        }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self {
            root: Arc::new(Node::Leaf(Vec::new())),
            len: 0,
        }
    }
}

impl<K: Ord + Clone, V: Clone> SharedMap<K, V> {
    /// How many entries there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of a key.
    pub fn get(&self, key: &K) -> Option<&V> {
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(children) => node = &children[child_of(children, key)].1,
                Node::Leaf(entries) => {
                    let at = position(entries, key).ok()?;
                    return Some(&entries[at].1);
                }
            }
        }
    }

    /// Whether there is a value for the key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// All entries, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        Walk::new(&self.root)
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl Iterator<Item = &K> {
        self.iter().map(|(key, _)| key)
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> impl Iterator<Item = &V> {
        self.iter().map(|(_, value)| value)
    }

    /// The entries that come after all for which `before` holds. `before` must not turn true again once it was false.
    pub fn after(&self, before: impl Fn(&K) -> bool) -> impl Iterator<Item = (&K, &V)> {
        Walk::after(&self.root, before)
    }

    /// What is different from `older`, in the order of keys: the key, the value that it had, the value that it has. What
    /// both maps share is not looked at; `is_same` says of two values of one key whether nothing has changed.
    pub fn changes<'a>(
        &'a self,
        older: &'a Self,
        is_same: impl Fn(&V, &V) -> bool,
    ) -> Vec<Change<'a, K, V>> {
        let differences = Differences::new(&older.root, &self.root);
        let changed = differences.filter(|(_, before, now)| {
            let both = before.zip(*now);
            !both.is_some_and(|(before, now)| is_same(before, now))
        });
        changed.collect()
    }

    /// The value of a key, to be changed: copied first if a reader shares it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let mut way = self.way(key)?.into_iter();
        let mut node = Arc::make_mut(&mut self.root);
        loop {
            match node {
                Node::Inner(children) => node = Arc::make_mut(&mut children[way.next()?].1),
                Node::Leaf(entries) => return Some(&mut entries[way.next()?].1),
            }
        }
    }

    /// Where a key that is there is found: a place in each node, down to the leaf. It is looked for before anything is copied:
    /// nothing is for a key that is not there.
    fn way(&self, key: &K) -> Option<Vec<usize>> {
        let mut way = Vec::with_capacity(DEPTH);
        let mut node = &*self.root;
        loop {
            match node {
                Node::Inner(children) => {
                    let at = child_of(children, key);
                    way.push(at);
                    node = &children[at].1;
                }
                Node::Leaf(entries) => {
                    way.push(position(entries, key).ok()?);
                    return Some(way);
                }
            }
        }
    }

    /// Sets the value of a key; gives back the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let (old, upper) = Arc::make_mut(&mut self.root).insert(key, value);
        if let Some(upper) = upper {
            let lower = Arc::clone(&self.root);
            self.root = Arc::new(Node::Inner(vec![(upper.0.clone(), lower), upper]));
        }
        self.len += usize::from(old.is_none());
        old
    }

    /// Removes a key; gives back its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let way = self.way(key)?;
        let value = Arc::make_mut(&mut self.root).remove(&way)?;
        while let Node::Inner(children) = &*self.root {
            self.root = match &children[..] {
                [] => Arc::new(Node::Leaf(Vec::new())),
                [(_, only)] => Arc::clone(only),
                _ => break,
            };
        }
        self.len -= 1;
        Some(value)
    }
}

impl<K: Ord + Clone, V: Clone> Node<K, V> {
    const fn len(&self) -> usize {
        match self {
            Self::Leaf(entries) => entries.len(),
            Self::Inner(children) => children.len(),
        }
    }

    /// The value that the key had; and, when this node had to be split, its upper half with the first key of that.
    fn insert(&mut self, key: K, value: V) -> (Option<V>, Option<Child<K, V>>) {
        match self {
            Self::Leaf(entries) => match position(entries, &key) {
                Ok(at) => (Some(std::mem::replace(&mut entries[at].1, value)), None),
                Err(at) => {
                    make_room(entries);
                    entries.insert(at, (key, value));
                    let upper =
                        split(entries, at).map(|upper| (upper[0].0.clone(), Self::Leaf(upper)));
                    (None, upper.map(|(key, upper)| (key, Arc::new(upper))))
                }
            },
            Self::Inner(children) => {
                let at = child_of(children, &key);
                let (old, added) = Arc::make_mut(&mut children[at].1).insert(key, value);
                let Some(added) = added else {
                    return (old, None);
                };
                make_room(children);
                children.insert(at + 1, added);
                let upper =
                    split(children, at + 1).map(|upper| (upper[0].0.clone(), Self::Inner(upper)));
                (old, upper.map(|(key, upper)| (key, Arc::new(upper))))
            }
        }
    }

    fn remove(&mut self, way: &[usize]) -> Option<V> {
        let (&at, way) = way.split_first()?;
        match self {
            Self::Leaf(entries) => Some(entries.remove(at).1),
            Self::Inner(children) => {
                let value = Arc::make_mut(&mut children[at].1).remove(way)?;
                settle(children, at);
                Some(value)
            }
        }
    }

    /// Takes in the node that follows, whose keys are not below `first`.
    fn append(&mut self, first: K, next: Self) {
        match (self, next) {
            (Self::Leaf(entries), Self::Leaf(more)) => entries.extend(more),
            (Self::Inner(children), Self::Inner(mut more)) => {
                if let Some((key, _)) = more.first_mut() {
                    *key = first;
                }
                children.extend(more);
            }
            (Self::Leaf(_), Self::Inner(_)) | (Self::Inner(_), Self::Leaf(_)) => {
                unreachable!("neighbours are equally deep")
            }
        }
    }
}

/// Where in a leaf a key is, or belongs.
fn position<K: Ord, V>(entries: &[(K, V)], key: &K) -> Result<usize, usize> {
    entries.binary_search_by(|(other, _)| other.cmp(key))
}

/// The child in which a key is, or belongs.
fn child_of<K: Ord, N>(children: &[(K, N)], key: &K) -> usize {
    let others = children.get(1..).unwrap_or_default();
    others.partition_point(|(first, _)| first.cmp(key).is_le())
}

/// Room for one more, and a few: nodes double neither what they hold nor what they may.
fn make_room<T>(all: &mut Vec<T>) {
    if all.len() == all.capacity() {
        all.reserve_exact(MIN_LEN);
    }
}

/// The upper half of what has become too long by the one that was put in at `at`. When that is the last, it goes alone: keys
/// that ascend leave full nodes behind.
fn split<T>(all: &mut Vec<T>, at: usize) -> Option<Vec<T>> {
    if all.len() <= MAX_LEN {
        return None;
    }
    let cut = if at + 1 == all.len() {
        at
    } else {
        all.len() / 2
    };
    let upper = all.split_off(cut);
    all.shrink_to_fit();
    Some(upper)
}

/// A child has lost something: an empty one goes, a small one is put together with a neighbour if that has room.
fn settle<K: Ord + Clone, V: Clone>(children: &mut Vec<Child<K, V>>, at: usize) {
    let len = children[at].1.len();
    if len == 0 {
        children.remove(at);
        return;
    }
    if len >= MIN_LEN {
        return;
    }
    for lower in [Some(at), at.checked_sub(1)].into_iter().flatten() {
        let Some((_, upper)) = children.get(lower + 1) else {
            continue;
        };
        if children[lower].1.len() + upper.len() <= MAX_LEN / 2 {
            let (first, upper) = children.remove(lower + 1);
            return Arc::make_mut(&mut children[lower].1)
                .append(first, Arc::unwrap_or_clone(upper));
        }
    }
}

impl<K: Ord + Clone, V: Clone> Index<&K> for SharedMap<K, V> {
    type Output = V;

    /// The value of a key that is known to be there, as in a `BTreeMap`; panics when it is not.
    fn index(&self, key: &K) -> &V {
        self.get(key).expect("the key is in the map")
    }
}

impl<K: Ord + Clone + PartialEq, V: Clone + PartialEq> PartialEq for SharedMap<K, V> {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_behaves_like_a_sorted_map(steps in proptest::collection::vec((0_u16..2_000, 0_u8..3, any::<u16>()), 0..3_000)) {
            let (mut ours, mut model) = (SharedMap::default(), BTreeMap::new());
            let published = ours.clone();

            for (key, what, value) in steps {
                match what {
                    0 => prop_assert_eq!(ours.remove(&key), model.remove(&key)),
                    1 => prop_assert_eq!(ours.insert(key, value), model.insert(key, value)),
                    _ => prop_assert_eq!(ours.get_mut(&key), model.get_mut(&key)),
                }
                prop_assert_eq!(ours.len(), model.len());
            }

            prop_assert!(ours.iter().eq(model.iter()));
            for start in [0, 1, 500, 1_999, 2_000] {
                prop_assert!(ours.after(|key| *key < start).eq(model.range(start..)));
            }
            prop_assert!(published.is_empty());
        }
    }

    proptest! {
        #[test]
        fn changes_are_what_differs(
            first in proptest::collection::btree_map(0_u16..2_000, any::<u8>(), 0..1_500),
            steps in proptest::collection::vec((0_u16..2_000, 0_u8..2, any::<u8>()), 0..300),
        ) {
            let mut map = SharedMap::default();
            for (key, value) in &first {
                map.insert(*key, *value);
            }
            let (older, mut model) = (map.clone(), first.clone());
            for (key, what, value) in steps {
                if what == 0 {
                    map.remove(&key);
                    model.remove(&key);
                } else {
                    map.insert(key, value);
                    model.insert(key, value);
                }
            }

            let changes = map.changes(&older, u8::eq);

            let keys: std::collections::BTreeSet<u16> = first.keys().chain(model.keys()).copied().collect();
            let different = keys.iter().filter(|key| first.get(key) != model.get(key));
            let expected: Vec<_> = different.map(|key| (key, first.get(key), model.get(key))).collect();
            prop_assert_eq!(changes, expected);
        }
    }

    #[test]
    fn readers_keep_what_was_published() {
        let mut map = SharedMap::default();
        for key in 0..100_000 {
            map.insert(key, key);
        }
        let published = map.clone();

        map.insert(500, 0);
        map.remove(&7);

        assert_eq!(published.get(&500), Some(&500));
        assert_eq!((published.len(), map.len()), (100_000, 99_999));
        let shared = nodes(&published).intersection(&nodes(&map)).count();
        assert!(nodes(&map).len() - shared <= 8, "{shared} nodes are shared");
    }

    #[test]
    fn nodes_are_full_when_keys_ascend_and_few_when_most_are_gone() {
        let mut map = SharedMap::default();
        for key in 0..10_000 {
            map.insert(key, ());
        }
        assert!(nodes(&map).len() < 340, "{} nodes", nodes(&map).len());

        for key in (0..10_000).filter(|key| key % 50 != 0) {
            map.remove(&key);
        }

        assert!(map.keys().copied().eq((0..10_000).step_by(50)));
        assert!(nodes(&map).len() < 50, "{} nodes", nodes(&map).len());
    }

    /// Where each node is.
    fn nodes<K, V>(map: &SharedMap<K, V>) -> std::collections::BTreeSet<usize> {
        let (mut found, mut open) = (std::collections::BTreeSet::new(), vec![&map.root]);
        while let Some(node) = open.pop() {
            found.insert(Arc::as_ptr(node).addr());
            if let Node::Inner(children) = &**node {
                open.extend(children.iter().map(|(_, child)| child));
            }
        }
        found
    }
}
