//! Through the entries of a map in order, and through what differs between two.

use std::cmp::Ordering;
use std::slice;
use std::sync::Arc;

use super::{Change, Child, Node};

/// The entries of one map that are still to come.
pub(super) struct Walk<'a, K, V> {
    /// What follows on each level, the root's first.
    above: Vec<slice::Iter<'a, Child<K, V>>>,
    leaf: slice::Iter<'a, (K, V)>,
}

impl<'a, K, V> Walk<'a, K, V> {
    /// All of them.
    pub(super) fn new(root: &'a Node<K, V>) -> Self {
        Self::after(root, |_| false)
    }

    /// Those that come after all for which `before` holds.
    pub(super) fn after(root: &'a Node<K, V>, before: impl Fn(&K) -> bool) -> Self {
        let (mut above, mut node) = (Vec::new(), root);
        loop {
            match node {
                Node::Inner(children) => {
                    let others = children.get(1..).unwrap_or_default();
                    let at = others.partition_point(|(first, _)| before(first));
                    above.push(others[at..].iter());
                    node = &children[at].1;
                }
                Node::Leaf(entries) => {
                    let at = entries.partition_point(|(key, _)| before(key));
                    let leaf = entries[at..].iter();
                    return Self { above, leaf };
                }
            }
        }
    }
}

impl<'a, K, V> Iterator for Walk<'a, K, V> {
    type Item = (&'a K, &'a V);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some((key, value)) = self.leaf.next() {
                return Some((key, value));
            }
            match self.above.last_mut()?.next() {
                Some((_, node)) => match &**node {
                    Node::Inner(children) => self.above.push(children.iter()),
                    Node::Leaf(entries) => self.leaf = entries.iter(),
                },
                None => drop(self.above.pop()),
            }
        }
    }
}

/// What two maps do not share, by key: the value in the older one, the value in the newer one.
pub(super) struct Differences<'a, K, V> {
    was: Cursor<'a, K, V>,
    is: Cursor<'a, K, V>,
}

/// A place in a map: before an entry, or before a node that was not looked into yet.
struct Cursor<'a, K, V> {
    /// What follows on each level, the root's first, and how far above the leaves that is. None of them is empty.
    above: Vec<(&'a [Child<K, V>], usize)>,
    /// The entries that come before them.
    leaf: &'a [(K, V)],
}

/// What comes next at a place.
enum Next<'a, K, V> {
    Entry(&'a (K, V)),
    Node(&'a Arc<Node<K, V>>, usize),
    Nothing,
}

impl<'a, K: Ord, V> Differences<'a, K, V> {
    pub(super) fn new(older: &'a Arc<Node<K, V>>, newer: &'a Arc<Node<K, V>>) -> Self {
        let is_same = Arc::ptr_eq(older, newer);
        let cursor = |root| {
            let mut cursor = Cursor {
                above: Vec::new(),
                leaf: &[],
            };
            if !is_same {
                cursor.look_into(root, height(root));
            }
            cursor
        };
        Self {
            was: cursor(older),
            is: cursor(newer),
        }
    }
}

impl<'a, K: Ord, V> Iterator for Differences<'a, K, V> {
    type Item = Change<'a, K, V>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let order = match (self.was.next(), self.is.next()) {
                (Next::Node(left, above_left), Next::Node(right, above_right)) => {
                    if Arc::ptr_eq(left, right) {
                        self.was.skip();
                        self.is.skip();
                        continue;
                    }
                    if above_left >= above_right {
                        self.was.open();
                    }
                    if above_right >= above_left {
                        self.is.open();
                    }
                    continue;
                }
                (Next::Node(..), _) => {
                    self.was.open();
                    continue;
                }
                (_, Next::Node(..)) => {
                    self.is.open();
                    continue;
                }
                (Next::Nothing, Next::Nothing) => return None,
                (Next::Entry(_), Next::Nothing) => Ordering::Less,
                (Next::Nothing, Next::Entry(_)) => Ordering::Greater,
                (Next::Entry((left, _)), Next::Entry((right, _))) => left.cmp(right),
            };
            let before = (order != Ordering::Greater)
                .then(|| self.was.step())
                .flatten();
            let now = (order != Ordering::Less).then(|| self.is.step()).flatten();
            let (key, _) = before.or(now)?;
            return Some((
                key,
                before.map(|(_, value)| value),
                now.map(|(_, value)| value),
            ));
        }
    }
}

impl<'a, K, V> Cursor<'a, K, V> {
    fn next(&self) -> Next<'a, K, V> {
        if let Some(entry) = self.leaf.first() {
            return Next::Entry(entry);
        }
        match self.above.last() {
            Some(([(_, node), ..], above)) => Next::Node(node, *above),
            Some(([], _)) | None => Next::Nothing,
        }
    }

    /// Passes an entry.
    fn step(&mut self) -> Option<&'a (K, V)> {
        let (first, rest) = self.leaf.split_first()?;
        self.leaf = rest;
        Some(first)
    }

    /// Passes a node.
    fn skip(&mut self) -> Option<(&'a Arc<Node<K, V>>, usize)> {
        let (siblings, above) = self.above.pop()?;
        let ((_, node), rest) = siblings.split_first()?;
        if !rest.is_empty() {
            self.above.push((rest, above));
        }
        Some((node, above))
    }

    /// Goes into a node.
    fn open(&mut self) {
        if let Some((node, above)) = self.skip() {
            self.look_into(node, above);
        }
    }

    fn look_into(&mut self, node: &'a Node<K, V>, above: usize) {
        match node {
            Node::Inner(children) => self.above.push((children, above.saturating_sub(1))),
            Node::Leaf(entries) => self.leaf = entries,
        }
    }
}

/// How far a node is above the leaves.
fn height<K, V>(mut node: &Node<K, V>) -> usize {
    let mut height = 0;
    while let Node::Inner(children) = node
        && let Some((_, first)) = children.first()
    {
        node = first;
        height += 1;
    }
    height
}
