//! Proxies: who follows the healthy-task list, and what each has in effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mete_model::{TaskId, Timestamp};

/// A proxy silent for three heartbeats of 15 s is no longer waited for (contracts §5).
pub const PROXY_SILENCE: Duration = Duration::from_secs(45);
/// Proxies remembered at once; more than one per machine of a large cluster's edge is a mistake somewhere.
pub const MAX_PROXIES: usize = 256;
/// The longest name of a proxy, in bytes.
pub const MAX_PROXY_ID_BYTES: usize = 128;

/// One proxy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proxy {
    /// When it was last heard of.
    pub seen: Timestamp,
    /// The version of the list it has in effect; 0: none of this epoch.
    pub version: u64,
    /// Tasks it drains, with the sessions left.
    pub sessions: BTreeMap<TaskId, u64>,
}

/// Proxies by name. Shared with the view; what changes is copied first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Proxies(Arc<BTreeMap<String, Proxy>>);

/// What an acknowledgement says of its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It was known.
    Known,
    /// It is new.
    New,
    /// It is one too many.
    TooMany,
}

impl Proxies {
    pub(crate) fn shared(&self) -> Arc<BTreeMap<String, Proxy>> {
        Arc::clone(&self.0)
    }

    /// Takes one back that was known before a restart: it is waited for until it has been silent for long enough.
    pub(crate) fn restore(&mut self, now: Timestamp, id: String) {
        Arc::make_mut(&mut self.0).insert(
            id,
            Proxy {
                seen: now,
                version: 0,
                sessions: BTreeMap::new(),
            },
        );
    }

    /// Notes what a proxy has in effect.
    pub(crate) fn heard(&mut self, id: &str, proxy: Proxy) -> Seen {
        if self.0.len() >= MAX_PROXIES && !self.0.contains_key(id) {
            return Seen::TooMany;
        }
        let all = Arc::make_mut(&mut self.0);
        if let Some(known) = all.get_mut(id) {
            *known = proxy;
            return Seen::Known;
        }
        all.insert(id.to_owned(), proxy);
        Seen::New
    }

    /// Whether nobody follows the list.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether every proxy has drained a task in `version` and has no sessions left on it. One that has the version in
    /// effect and says nothing of the task has none.
    pub(crate) fn have_drained(&self, task: &TaskId, version: u64) -> bool {
        let has = |proxy: &Proxy| {
            proxy.version >= version && proxy.sessions.get(task).is_none_or(|left| *left == 0)
        };
        self.0.values().all(has)
    }

    pub(crate) fn next_deadline(&self) -> Option<Timestamp> {
        self.0
            .values()
            .map(|proxy| proxy.seen + PROXY_SILENCE)
            .min()
    }

    /// Forgets those silent for too long.
    pub(crate) fn take_silent(&mut self, now: Timestamp) -> Vec<String> {
        if self.next_deadline().is_none_or(|deadline| deadline > now) {
            return Vec::new();
        }
        let is_silent = |_: &String, proxy: &mut Proxy| proxy.seen + PROXY_SILENCE <= now;
        let all = Arc::make_mut(&mut self.0);
        all.extract_if(.., is_silent).map(|(id, _)| id).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(seen_s: u64, version: u64, sessions: &[(&TaskId, u64)]) -> Proxy {
        let sessions = sessions
            .iter()
            .map(|(task, left)| ((*task).clone(), *left))
            .collect();
        Proxy {
            seen: Timestamp::from_millis(seen_s * 1_000),
            version,
            sessions,
        }
    }

    #[test]
    fn a_task_is_drained_when_every_proxy_that_lives_says_so() {
        let task = TaskId::new("t").expect("good");
        let mut proxies = Proxies::default();
        assert_eq!(proxies.heard("a", proxy(0, 4, &[])), Seen::New);
        assert_eq!(proxies.heard("b", proxy(40, 5, &[(&task, 2)])), Seen::New);

        assert!(
            !proxies.have_drained(&task, 5),
            "a is behind, b has sessions"
        );
        assert_eq!(proxies.heard("b", proxy(41, 5, &[(&task, 0)])), Seen::Known);
        assert!(!proxies.have_drained(&task, 5), "a is behind");
        assert_eq!(proxies.take_silent(Timestamp::from_millis(45_000)), ["a"]);
        assert!(proxies.have_drained(&task, 5));
    }
}
