//! A sorted map that is cheap to publish: readers share it with the owner, and a write copies only the chunk it touches.
//!
//! ```text
//! SharedMap ─▶ [chunk, chunk, …] ─▶ [(key, value), …]      each arrow can be shared; chunks are never empty, keys ascend
//! ```
//! Cloning the map copies one pointer. The first write after that copies the list of chunks and one chunk: with 100,000
//! entries about 800 pointers and 256 entries, instead of all of them.

use std::cmp::Ordering;
use std::ops::Index;
use std::sync::Arc;

/// Entries in one chunk at most. Near the square root of the largest map we expect (100,000), where copying one chunk costs
/// about as much as copying the list of them.
const MAX_CHUNK: usize = 256;

type Chunk<K, V> = Arc<Vec<(K, V)>>;

/// A key, the value that it had, the value that it has.
pub type Change<'a, K, V> = (&'a K, Option<&'a V>, Option<&'a V>);

/// A place in a map that is walked through.
struct Cursor<'a, K, V> {
    chunks: &'a [Chunk<K, V>],
    at: usize,
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn new(chunks: &'a [Chunk<K, V>]) -> Self {
        Self { chunks, at: 0 }
    }

    /// The chunk, when nothing of it was passed yet.
    fn whole_chunk(&self) -> Option<&'a Chunk<K, V>> {
        self.chunks.first().filter(|_| self.at == 0)
    }

    fn skip_chunk(&mut self) {
        self.chunks = self.chunks.get(1..).unwrap_or_default();
        self.at = 0;
    }

    fn entry(&self) -> Option<&'a (K, V)> {
        self.chunks.first()?.get(self.at)
    }

    fn step(&mut self) -> Option<&'a (K, V)> {
        let entry = self.entry()?;
        self.at += 1;
        if self
            .chunks
            .first()
            .is_some_and(|chunk| self.at == chunk.len())
        {
            self.skip_chunk();
        }
        Some(entry)
    }
}

/// A sorted map, shared with readers, copied on write. Values are best an `Arc` or small.
#[derive(Debug)]
pub struct SharedMap<K, V> {
    chunks: Arc<Vec<Chunk<K, V>>>,
    len: usize,
}

impl<K, V> Clone for SharedMap<K, V> {
    fn clone(&self) -> Self {
        Self {
            chunks: Arc::clone(&self.chunks),
            len: self.len,
        }
    }
}

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self {
            chunks: Arc::new(Vec::new()),
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
        let chunk = self.chunks.get(self.chunk_of(key))?;
        let at = chunk.binary_search_by(|(other, _)| other.cmp(key)).ok()?;
        Some(&chunk[at].1)
    }

    /// Whether there is a value for the key.
    pub fn contains_key(&self, key: &K) -> bool {
        self.get(key).is_some()
    }

    /// All entries, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.chunks
            .iter()
            .flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
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
        let first = self
            .chunks
            .partition_point(|chunk| chunk.last().is_none_or(|(key, _)| before(key)));
        let skip = self
            .chunks
            .get(first)
            .map_or(0, |chunk| chunk.partition_point(|(key, _)| before(key)));
        self.chunks[first..]
            .iter()
            .flat_map(|chunk| chunk.iter().map(|(key, value)| (key, value)))
            .skip(skip)
    }

    /// What is different from `older`, in the order of keys: the key, the value that it had, the value that it has. What
    /// both maps share is not looked at; `is_same` says of two values of one key whether nothing has changed.
    pub fn changes<'a>(
        &'a self,
        older: &'a Self,
        is_same: impl Fn(&V, &V) -> bool,
    ) -> Vec<Change<'a, K, V>> {
        let mut changes = Vec::new();
        let (mut was, mut is) = (Cursor::new(&older.chunks), Cursor::new(&self.chunks));
        loop {
            if let (Some(left), Some(right)) = (was.whole_chunk(), is.whole_chunk())
                && Arc::ptr_eq(left, right)
            {
                was.skip_chunk();
                is.skip_chunk();
                continue;
            }
            let order = match (was.entry(), is.entry()) {
                (None, None) => return changes,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some((left, _)), Some((right, _))) => left.cmp(right),
            };
            let before = (order != Ordering::Greater).then(|| was.step()).flatten();
            let now = (order != Ordering::Less).then(|| is.step()).flatten();
            match (before, now) {
                (Some((_, before)), Some((_, now))) if is_same(before, now) => {}
                (Some((key, before)), now) => {
                    changes.push((key, Some(before), now.map(|(_, now)| now)));
                }
                (None, Some((key, now))) => changes.push((key, None, Some(now))),
                (None, None) => return changes,
            }
        }
    }

    /// The value of a key, to be changed: copied first if a reader shares it.
    pub fn get_mut(&mut self, key: &K) -> Option<&mut V> {
        let chunk = self.chunk_of(key);
        let at = self
            .chunks
            .get(chunk)?
            .binary_search_by(|(other, _)| other.cmp(key))
            .ok()?;
        let chunk = Arc::make_mut(&mut Arc::make_mut(&mut self.chunks)[chunk]);
        Some(&mut chunk[at].1)
    }

    /// Sets the value of a key; gives back the one it had.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        let which = self.chunk_of(&key);
        let chunks = Arc::make_mut(&mut self.chunks);
        let Some(shared) = chunks.get_mut(which) else {
            chunks.push(Arc::new(vec![(key, value)]));
            self.len += 1;
            return None;
        };
        let chunk = Arc::make_mut(shared);
        match chunk.binary_search_by(|(other, _)| other.cmp(&key)) {
            Ok(at) => return Some(std::mem::replace(&mut chunk[at].1, value)),
            Err(at) => chunk.insert(at, (key, value)),
        }
        self.len += 1;
        if chunk.len() > MAX_CHUNK {
            let upper = chunk.split_off(MAX_CHUNK / 2);
            chunks.insert(which + 1, Arc::new(upper));
        }
        None
    }

    /// Removes a key; gives back its value.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let which = self.chunk_of(key);
        let at = self
            .chunks
            .get(which)?
            .binary_search_by(|(other, _)| other.cmp(key))
            .ok()?;
        let chunks = Arc::make_mut(&mut self.chunks);
        let chunk = Arc::make_mut(&mut chunks[which]);
        let (_, value) = chunk.remove(at);
        if chunk.is_empty() {
            chunks.remove(which);
        }
        self.len -= 1;
        Some(value)
    }

    /// The chunk in which `key` is, or belongs.
    fn chunk_of(&self, key: &K) -> usize {
        self.chunks
            .partition_point(|chunk| chunk.first().is_some_and(|(first, _)| first <= key))
            .saturating_sub(1)
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
        for key in 0..1_000 {
            map.insert(key, key);
        }
        let published = map.clone();

        map.insert(500, 0);
        map.remove(&7);

        assert_eq!(published.get(&500), Some(&500));
        assert_eq!((published.len(), map.len()), (1_000, 999));
        let shared = |which: usize| Arc::ptr_eq(&published.chunks[which], &map.chunks[which]);
        assert!(
            (0..map.chunks.len())
                .filter(|which| !shared(*which))
                .count()
                <= 2
        );
    }
}
