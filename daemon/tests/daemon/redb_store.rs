//! What a store file keeps, and how it says no.

use std::sync::Arc;

use mete_daemon::event_loop::Journal;
use mete_daemon::exit::Exit;
use mete_daemon::store::redb::{self, Redb};
use mete_daemon::store::{
    Batch, CHUNK_BYTES, Entry, Fence, PAGE_BYTES, Store, StoreError, StoreJournal, load_all,
};
use mete_model::machine::{Change, Durable};
use tempfile::TempDir;

fn put(key: &str, value: &[u8]) -> Change {
    Change {
        key: key.into(),
        value: Some(value.to_vec()),
    }
}

fn remove(key: &str) -> Change {
    Change {
        key: key.into(),
        value: None,
    }
}

fn entry(key: &str, value: &[u8]) -> Entry {
    (key.into(), value.to_vec())
}

async fn commit(store: &Redb, changes: Vec<Change>) {
    store
        .commit(vec![Batch::from(changes)], None)
        .await
        .unwrap();
}

#[tokio::test]
async fn what_was_committed_is_there_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("not/yet/there/store.redb");
    let store = redb::open(&path).await.unwrap();
    commit(&store, vec![put("b", b"2"), put("a", b"1"), put("c", b"")]).await;
    commit(
        &store,
        vec![put("b", b"two"), remove("a"), remove("unknown")],
    )
    .await;
    drop(store);

    let store = redb::open(&path).await.unwrap();

    assert_eq!(
        load_all(&store).await.unwrap(),
        [entry("b", b"two"), entry("c", b"")]
    );
}

#[tokio::test]
async fn large_values_come_back_whole_and_leave_nothing_behind() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let store = redb::open(&path).await.unwrap();
    let large: Vec<u8> = (0..5 * CHUNK_BYTES / 2).map(|n| (n % 251) as u8).collect();
    let smaller = &large[..CHUNK_BYTES + 1];
    commit(
        &store,
        vec![
            put("large", &large),
            put("limit", &large[..CHUNK_BYTES]),
            put("shrinks", &large),
        ],
    )
    .await;
    commit(&store, vec![put("shrinks", smaller), put("goes", &large)]).await;
    commit(&store, vec![remove("goes")]).await;
    drop(store);

    let store = redb::open(&path).await.unwrap();
    let expected = [
        entry("large", &large),
        entry("limit", &large[..CHUNK_BYTES]),
        entry("shrinks", smaller),
    ];
    assert!(load_all(&store).await.unwrap() == expected);
    commit(&store, vec![put("shrinks", b"small"), remove("large")]).await;
    drop(store);

    let database = ::redb::Database::open(&path).unwrap();
    let chunks = ::redb::TableDefinition::<(&[u8], u32), &[u8]>::new("chunks");
    let left = ::redb::ReadableTableMetadata::len(
        &::redb::ReadableDatabase::begin_read(&database)
            .unwrap()
            .open_table(chunks)
            .unwrap(),
    );
    assert_eq!(left.unwrap(), 0);
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended() {
    let directory = TempDir::new().unwrap();
    let store = redb::open(directory.path().join("store.redb"))
        .await
        .unwrap();
    commit(
        &store,
        (0..5u8)
            .map(|n| Change {
                key: vec![n],
                value: Some(vec![n]),
            })
            .collect(),
    )
    .await;

    let first = store.load(None, 3).await.unwrap();
    let second = store.load(first.next.clone(), 3).await.unwrap();
    let exact = store.load(Some(vec![1]), 3).await.unwrap();

    assert_eq!((first.entries.len(), first.next), (3, Some(vec![2])));
    assert_eq!((second.entries.len(), second.next), (2, None));
    assert_eq!((exact.entries.len(), exact.next), (3, None));
}

#[tokio::test]
async fn a_file_that_is_open_is_locked() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let _held = redb::open(&path).await.unwrap();

    let refused = redb::open(&path).await.unwrap_err();

    assert!(matches!(&refused, StoreError::Locked { path: of } if *of == path));
    assert_eq!(Exit::of(&refused), Exit::Store);
}

#[tokio::test]
async fn a_file_of_another_format_is_refused_with_both_numbers() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    drop(redb::open(&path).await.unwrap());
    let database = ::redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction
        .open_table(::redb::TableDefinition::<&str, u64>::new("meta"))
        .unwrap()
        .insert("format", 99)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);

    let refused = redb::open(&path).await.unwrap_err();

    assert!(
        refused
            .to_string()
            .contains("format 99, this version reads 1 to 1"),
        "{refused}"
    );
    assert_eq!(Exit::of(&refused), Exit::Store);
}

#[tokio::test]
async fn a_file_that_is_no_store_is_unreadable() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(
        &path,
        "a letter to my grandmother, long enough to be more than one header. ".repeat(200),
    )
    .unwrap();

    let refused = redb::open(&path).await.unwrap_err();

    assert!(
        matches!(refused, StoreError::Unreadable { .. }),
        "{refused}"
    );
    assert_eq!(Exit::of(&refused), Exit::Store);
}

#[tokio::test]
async fn a_file_that_was_never_finished_is_made_anew() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    std::fs::write(&path, vec![0; 73_728]).unwrap();

    let store = redb::open(&path).await.unwrap();
    let second = redb::open(&path).await.unwrap_err();
    assert!(matches!(second, StoreError::Locked { .. }), "{second}");
    commit(&store, vec![put("a", b"1")]).await;
    drop(store);

    let store = redb::open(&path).await.unwrap();
    assert_eq!(load_all(&store).await.unwrap(), [entry("a", b"1")]);
}

#[tokio::test]
async fn commits_at_the_same_time_all_last() {
    let directory = TempDir::new().unwrap();
    let store = Arc::new(
        redb::open(directory.path().join("store.redb"))
            .await
            .unwrap(),
    );

    let writers = (0..100u8).map(|n| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            commit(
                &store,
                vec![Change {
                    key: vec![n],
                    value: Some(vec![n]),
                }],
            )
            .await
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }

    assert_eq!(load_all(&*store).await.unwrap().len(), 100);
}

struct Note(&'static str);

impl Durable for Note {
    fn changes(&self) -> Vec<Change> {
        vec![put(self.0, b"x")]
    }
}

#[tokio::test]
async fn a_writer_with_an_old_epoch_is_refused_also_after_a_restart() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let store = Arc::new(redb::open(&path).await.unwrap());
    let mut old = StoreJournal::new(store.clone()).with_fence(Fence(1));
    let mut new = StoreJournal::new(store.clone()).with_fence(Fence(2));
    old.commit(vec![Note("first")]).await.unwrap();
    new.commit(vec![Note("second")]).await.unwrap();

    let refused = old.commit(vec![Note("third")]).await.unwrap_err();

    assert!(matches!(
        refused,
        StoreError::Fenced {
            held: Fence(1),
            stored: Fence(2)
        }
    ));
    drop((old, new, store));
    let store = redb::open(&path).await.unwrap();
    assert!(
        store
            .commit(vec![vec![put("fourth", b"x")].into()], Some(Fence(1)))
            .await
            .is_err()
    );
    assert_eq!(
        load_all(&store).await.unwrap(),
        [entry("first", b"x"), entry("second", b"x")]
    );
}

/// A file system of its own and of a few MiB; gone with the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` where this user may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mounted = std::process::Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"])
            .arg(folder.path())
            .output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg(self.0.path())
            .status();
    }
}

#[tokio::test]
async fn a_full_disk_is_named_and_what_was_committed_before_is_still_there() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("skipped: a small disk can only be mounted by root");
        return;
    };
    let path = disk.0.path().join("store.redb");
    let store = redb::open(&path).await.unwrap();
    commit(&store, vec![put("before", b"x")]).await;

    let filled = async {
        for number in 0..100u8 {
            let change = Change {
                key: vec![b'z', number],
                value: Some(vec![number; CHUNK_BYTES]),
            };
            store.commit(vec![vec![change].into()], None).await?;
        }
        Ok(())
    };

    assert!(matches!(filled.await, Err(StoreError::Full { path: full }) if full == path));
    drop(store);
    let store = redb::open(&path).await.unwrap();
    assert_eq!(load_all(&store).await.unwrap()[0], entry("before", b"x"));
    drop(store);
}

#[tokio::test]
async fn a_snapshot_shows_its_moment_while_the_store_goes_on() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("store.redb");
    let store = redb::open(&path).await.unwrap();
    let large = vec![3; PAGE_BYTES];
    commit(
        &store,
        vec![put("a", b"1"), put("b", &large), put("c", b"3")],
    )
    .await;

    let snapshot = store.snapshot().await.unwrap();
    commit(&store, vec![put("a", b"one"), remove("c"), put("d", b"4")]).await;

    let first = snapshot.load(None, 10).await.unwrap();
    assert_eq!(first.entries, [entry("a", b"1"), entry("b", &large)]);
    assert_eq!(first.next.as_deref(), Some(&b"b"[..]), "a page has an end");
    let second = snapshot.load(first.next, 10).await.unwrap();
    assert_eq!(
        (second.entries, second.next),
        (vec![entry("c", b"3")], None)
    );
    drop(store);
    assert_eq!(
        snapshot.load(None, 1).await.unwrap().entries,
        [entry("a", b"1")]
    );
    drop(snapshot);
    let store = redb::open(&path).await.unwrap();
    assert_eq!(load_all(&store).await.unwrap().len(), 3);
}
