//! The store, which goes on in its reserve when tasks have filled the disk.
//!
//! ```text
//! commit ─▶ stored
//!    └─▶ disk full ─▶ reserve given up, file opened anew, once more ─▶ stored; the core is told
//!                                                              └─▶ still full: the agent ends, its tasks run on
//! ```
//! A commit may be written twice: records are whole states of one key each, so that changes nothing.

use std::path::PathBuf;
use std::sync::Arc;

use mete_agent_core::{Input, Node, Record};
use mete_daemon::event_loop::{Handle, Journal};
use mete_daemon::store::redb::{self, Redb};
use mete_daemon::store::{Batch, Store, StoreError};
use tracing::{error, warn};

use crate::sandbox::Reserve;

/// What the event loop writes to.
pub(crate) struct AgentJournal {
    path: PathBuf,
    store: Option<Redb>,
    reserve: Arc<Reserve>,
    handle: Handle<Node>,
}

impl AgentJournal {
    pub(crate) const fn new(
        path: PathBuf,
        store: Redb,
        reserve: Arc<Reserve>,
        handle: Handle<Node>,
    ) -> Self {
        Self {
            path,
            store: Some(store),
            reserve,
            handle,
        }
    }

    /// The store, opened anew if an earlier failure has closed it.
    async fn store(&mut self) -> Result<&Redb, StoreError> {
        let store = match self.store.take() {
            Some(store) => store,
            None => redb::open(&self.path).await?,
        };
        Ok(self.store.insert(store))
    }

    async fn write(&mut self, batches: Vec<Batch>) -> Result<(), StoreError> {
        let written = self.store().await?.commit(batches, None).await;
        if written.is_err() {
            // After a failed write the store accepts nothing more until it is opened anew.
            self.store = None;
        }
        written
    }

    fn use_reserve(&self) {
        warn!(path = %self.path.display(), "disk is full, store takes its reserve");
        if let Err(error) = self.reserve.release() {
            error!(%error, "reserve cannot be given up");
        }
        // A full inbox means that the loop will look at the disk itself before it takes the next launch.
        if let Err(error) = self.handle.try_tell(Input::StoreFull) {
            warn!(%error, "core is not told that the disk is full");
        }
    }
}

impl Journal<Record> for AgentJournal {
    async fn commit(&mut self, records: Vec<Record>) -> Result<(), StoreError> {
        let batches = Batch::pack(&records);
        if batches.is_empty() {
            return Ok(());
        }
        match self.write(batches.clone()).await {
            Err(StoreError::Full { .. }) => {
                self.use_reserve();
                self.write(batches).await
            }
            written => written,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::process::Command;
    use std::time::Duration;

    use mete_agent_core::Settings;
    use mete_daemon::event_loop;
    use mete_daemon::store::load_all;

    use super::*;

    /// A file system of 8 MiB; `None` when we may not mount.
    struct SmallDisk(tempfile::TempDir);

    impl SmallDisk {
        fn mount() -> Option<Self> {
            let place = tempfile::tempdir().expect("a directory");
            let mut mount = Command::new("mount");
            mount.args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]);
            let mounted = mount.arg(place.path()).output();
            let mounted = mounted.is_ok_and(|output| output.status.success());
            mounted.then_some(Self(place))
        }

        fn path(&self) -> &Path {
            self.0.path()
        }
    }

    impl Drop for SmallDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("-l").arg(self.path()).output();
        }
    }

    fn node() -> Node {
        let settings = Settings {
            ip: "127.0.0.1".into(),
            kill_grace: Duration::ZERO,
            gc_delay: Duration::ZERO,
            executor_reregistration_timeout: Duration::ZERO,
            disk_reserve_bytes: 0,
            seed: [1, 2],
        };
        Node::recover(settings, []).expect("an empty store")
    }

    fn record(number: u32) -> Record {
        let id = format!("f-{number}").parse().expect("good");
        let info = mete_model::FrameworkInfo {
            id: None,
            name: "n".into(),
            user: String::new(),
            roles: [mete_model::Role::any()].into(),
            capabilities: [].into(),
            failover_timeout: Duration::ZERO,
            principal: None,
            hostname: String::new(),
            webui_url: None,
            original: vec![7; 20_000].into(),
        };
        Record::Framework {
            id,
            info: Arc::new(info),
            leaving: false,
        }
    }

    #[tokio::test]
    async fn the_store_goes_on_in_its_reserve_when_the_disk_is_full() {
        let Some(disk) = SmallDisk::mount() else {
            eprintln!("skipped: mounting a small file system needs root");
            return;
        };
        let path = disk.path().join("agent.redb");
        let store = redb::open(&path).await.expect("opens");
        let reserve = Arc::new(Reserve::new(disk.path().join("reserve"), 3 << 20));
        reserve.restore().expect("there is room");
        // A task takes all there is, to the last byte.
        let big = vec![1; 8 << 20];
        let written = fs::write(disk.path().join("big"), &big);
        assert!(written.is_err(), "the disk is full");
        let (handle, _ready) = event_loop::prepare(node());
        let mut journal = AgentJournal::new(path.clone(), store, Arc::clone(&reserve), handle);

        let mut stored = 0;
        while reserve.is_held() && stored < 500 {
            let kept = journal.commit(vec![record(stored)]).await;
            kept.expect("there is the reserve");
            stored += 1;
        }
        for _ in 0..5 {
            let kept = journal.commit(vec![record(stored)]).await;
            kept.expect("in the reserve");
            stored += 1;
        }

        assert!(!reserve.is_held(), "it was needed");
        drop(journal);
        let store = redb::open(&path).await.expect("opens again");
        let entries = load_all(&store).await.expect("reads");
        assert_eq!(entries.len(), stored as usize, "nothing is lost");
    }
}
