//! Dense storage: things are found by a small number instead of by name; numbers are used again.
//!
//! Numbers never leave this crate.

use std::hash::{BuildHasherDefault, Hash};
use std::marker::PhantomData;
use std::ops::{Index, IndexMut};

use indexmap::IndexMap;
use mete_model::{AgentId, FrameworkId};
use rustc_hash::FxHasher;

/// Declares a number of one kind of thing.
macro_rules! slot {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub(crate) struct $name(u32);

        impl From<u32> for $name {
            fn from(number: u32) -> Self {
                Self(number)
            }
        }

        impl $name {
            /// As a plain number, for structures that know nothing of kinds.
            #[allow(dead_code, reason = "not every kind has use for it")]
            pub(crate) const fn number(self) -> u32 {
                self.0
            }
        }

        impl From<$name> for usize {
            fn from(slot: $name) -> Self {
                slot.0 as Self
            }
        }
    };
}

slot!(
    /// An agent.
    AgentSlot
);
slot!(
    /// A framework.
    FrameworkSlot
);
slot!(
    /// A framework in one of its roles: what offers are made to.
    ClientSlot
);
slot!(
    /// A role.
    RoleSlot
);

/// Things by number.
#[derive(Clone, Debug)]
pub(crate) struct Slots<K, T> {
    things: Vec<Option<T>>,
    vacant: Vec<K>,
    kind: PhantomData<K>,
}

impl<K, T> Default for Slots<K, T> {
    fn default() -> Self {
        Self {
            things: Vec::new(),
            vacant: Vec::new(),
            kind: PhantomData,
        }
    }
}

impl<K: Copy + From<u32> + Into<usize>, T> Slots<K, T> {
    pub(crate) fn insert(&mut self, thing: T) -> K {
        if let Some(slot) = self.vacant.pop() {
            self.things[slot.into()] = Some(thing);
            return slot;
        }
        let number =
            u32::try_from(self.things.len()).expect("four billion things do not fit memory");
        self.things.push(Some(thing));
        K::from(number)
    }

    pub(crate) fn remove(&mut self, slot: K) -> Option<T> {
        let thing = self.things.get_mut(slot.into())?.take();
        if thing.is_some() {
            self.vacant.push(slot);
        }
        thing
    }

    pub(crate) fn get(&self, slot: K) -> Option<&T> {
        self.things.get(slot.into())?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: K) -> Option<&mut T> {
        self.things.get_mut(slot.into())?.as_mut()
    }

    /// All things, in order of their numbers.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, &T)> {
        (0..)
            .zip(&self.things)
            .filter_map(|(number, thing)| Some((K::from(number), thing.as_ref()?)))
    }

    /// One more than the highest number in use.
    pub(crate) fn end(&self) -> usize {
        self.things.len()
    }
}

impl<K: Copy + From<u32> + Into<usize>, T> Index<K> for Slots<K, T> {
    type Output = T;
    fn index(&self, slot: K) -> &T {
        self.things[slot.into()]
            .as_ref()
            .expect("whoever holds a number takes it back before the thing goes")
    }
}

impl<K: Copy + From<u32> + Into<usize>, T> IndexMut<K> for Slots<K, T> {
    fn index_mut(&mut self, slot: K) -> &mut T {
        self.things[slot.into()]
            .as_mut()
            .expect("whoever holds a number takes it back before the thing goes")
    }
}

/// A set of numbers, a bit each: many are put in and taken out between two looks at all of them, which are in their order.
#[derive(Clone, Debug)]
pub(crate) struct SlotSet<K> {
    words: Vec<u64>,
    /// A bit for each word that is not zero: a few among many are found without a look at all.
    filled: Vec<u64>,
    count: usize,
    kind: PhantomData<K>,
}

impl<K> Default for SlotSet<K> {
    fn default() -> Self {
        Self {
            words: Vec::new(),
            filled: Vec::new(),
            count: 0,
            kind: PhantomData,
        }
    }
}

impl<K: Copy + From<u32> + Into<usize>> SlotSet<K> {
    pub(crate) fn contains(&self, slot: K) -> bool {
        let (word, bit) = place(slot.into());
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    pub(crate) fn insert(&mut self, slot: K) {
        let (at, bit) = place(slot.into());
        if at >= self.words.len() {
            self.words.resize(at + 1, 0);
            self.filled.resize(at / 64 + 1, 0);
        }
        let word = &mut self.words[at];
        self.count += usize::from(*word & bit == 0);
        *word |= bit;
        let (above, bit) = place(at);
        self.filled[above] |= bit;
    }

    pub(crate) fn remove(&mut self, slot: K) {
        let (at, bit) = place(slot.into());
        let Some(word) = self.words.get_mut(at) else {
            return;
        };
        self.count -= usize::from(*word & bit != 0);
        *word &= !bit;
        if *word == 0 {
            let (above, bit) = place(at);
            self.filled[above] &= !bit;
        }
    }

    /// Puts it in or takes it out.
    pub(crate) fn set(&mut self, slot: K, is_in: bool) {
        if is_in {
            self.insert(slot);
        } else {
            self.remove(slot);
        }
    }

    /// Takes all out, ascending.
    pub(crate) fn take(&mut self) -> Vec<K> {
        let mut all = Vec::with_capacity(self.count);
        all.extend(self.iter());
        for (above, filled) in self.filled.iter_mut().enumerate() {
            for at in bits(std::mem::take(filled)) {
                self.words[64 * above + at as usize] = 0;
            }
        }
        self.count = 0;
        all
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All that are in it, ascending.
    pub(crate) fn iter(&self) -> impl Iterator<Item = K> {
        let filled = (0_u32..).zip(&self.filled);
        let words = filled.flat_map(|(above, &filled)| bits(filled).map(move |at| 64 * above + at));
        words.flat_map(|at| bits(self.words[at as usize]).map(move |bit| K::from(64 * at + bit)))
    }
}

/// The numbers of the bits that are set, ascending.
fn bits(word: u64) -> impl Iterator<Item = u32> {
    let rest = std::iter::successors(Some(word), |rest| Some(rest & rest.wrapping_sub(1)));
    rest.take_while(|rest| *rest != 0)
        .map(|rest| rest.trailing_zeros())
}

/// Which word, and which bit of it.
const fn place(number: usize) -> (usize, u64) {
    (number / 64, 1 << (number % 64))
}

/// An id that knows where in memory its text is.
pub(crate) trait Addressed {
    /// Two that live at the same time and have one address are equal.
    fn address(&self) -> usize;
}

impl Addressed for AgentId {
    fn address(&self) -> usize {
        self.address()
    }
}

impl Addressed for FrameworkId {
    fn address(&self) -> usize {
        self.address()
    }
}

/// The slots of things by their names.
///
/// Mostly a name that is asked for is a clone of the one that is kept here, which left with an offer and comes
/// back with its answer. Then its address finds it, without a look at the text.
#[derive(Clone, Debug)]
pub(crate) struct Names<N, K> {
    by_text: IndexMap<N, K, BuildHasherDefault<FxHasher>>,
    /// Of the names in `by_text`: as long as they are there, nobody else has their addresses.
    by_address: ByAddress<K>,
}

#[expect(clippy::disallowed_types, reason = "nobody walks through it")]
type ByAddress<K> = std::collections::HashMap<usize, K, BuildHasherDefault<FxHasher>>;

impl<N, K> Default for Names<N, K> {
    fn default() -> Self {
        Self {
            by_text: IndexMap::default(),
            by_address: ByAddress::default(),
        }
    }
}

impl<N: Addressed + Hash + Eq, K: Copy> Names<N, K> {
    pub(crate) fn get(&self, name: &N) -> Option<K> {
        let known = self.by_address.get(&name.address());
        known.or_else(|| self.by_text.get(name)).copied()
    }

    /// The name of a thing that has none yet.
    pub(crate) fn insert(&mut self, name: N, slot: K) {
        self.by_address.insert(name.address(), slot);
        let other = self.by_text.insert(name, slot);
        debug_assert!(other.is_none(), "a name is given once");
    }

    pub(crate) fn remove(&mut self, name: &N) {
        if let Some((kept, _)) = self.by_text.swap_remove_entry(name) {
            self.by_address.remove(&kept.address());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_set_of_slots_behaves_like_a_set(changes in proptest::collection::vec((0_u32..9_000, any::<bool>()), 0..300)) {
            let mut set = SlotSet::<AgentSlot>::default();
            let mut model = BTreeSet::new();
            for (number, is_in) in changes {
                let slot = AgentSlot::from(number);
                set.set(slot, is_in);
                if is_in { model.insert(slot); } else { model.remove(&slot); }
                prop_assert_eq!(set.contains(slot), is_in);
                prop_assert_eq!(set.is_empty(), model.is_empty());
            }
            prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.into_iter().collect::<Vec<_>>());
            let all: Vec<_> = set.iter().collect();
            prop_assert_eq!(set.take(), all);
            prop_assert!(set.is_empty());
            prop_assert_eq!(set.iter().count(), 0);
        }
    }
}
