use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::FutureExt as _;
use tokio::sync::oneshot;

use super::super::part::Parts;
use super::*;

struct World {
    _directory: tempfile::TempDir,
    folder: PathBuf,
    parts: Parts,
    cache: Arc<Cache>,
    fetched: AtomicU32,
}

impl World {
    fn new(max_bytes: u64) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path().join("cache");
        Self {
            parts: Parts::open(directory.path().join("parts")).expect("opens"),
            cache: Arc::new(Cache::open(folder.clone(), max_bytes).expect("opens")),
            folder,
            _directory: directory,
            fetched: AtomicU32::new(0),
        }
    }

    fn part(&self, text: &str) -> Result<Part, Failure> {
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let (mut part, mut file) = self.parts.create()?;
        file.write_all(text.as_bytes())?;
        part.bytes = text.len() as u64;
        Ok(part)
    }

    async fn get(&self, uri: &str, text: &str) -> Lease {
        let fetching = async { self.part(text) };
        self.cache.get(&key(uri), fetching).await.expect("fetched")
    }

    fn fetched(&self) -> u32 {
        self.fetched.load(Ordering::Relaxed)
    }

    fn files(&self) -> usize {
        fs::read_dir(&self.folder).expect("read").count()
    }
}

fn key(uri: &str) -> Key {
    Key {
        user: None,
        uri: uri.to_owned(),
    }
}

#[tokio::test]
async fn what_was_used_longest_ago_goes_first_and_what_is_read_stays() {
    let world = World::new(10);
    let read = world.get("a", "aaaa").await;
    drop(world.get("b", "bbb").await);
    drop(world.get("c", "ccc").await);
    drop(world.get("b", "").await);

    drop(world.get("d", "ddd").await);

    assert_eq!(world.fetched(), 4);
    assert_eq!(
        fs::read_to_string(read.path()).expect("still there"),
        "aaaa"
    );
    drop(world.get("b", "").await);
    assert_eq!(world.fetched(), 4, "b is kept");
    drop(world.get("c", "ccc").await);
    assert_eq!(world.fetched(), 5, "c was gone");
    assert_eq!(world.files(), 3);
    assert_eq!(world.cache.metrics.bytes.get(), 10);
    assert_eq!(world.cache.metrics.hits.get(), 2);
    assert_eq!(world.cache.metrics.misses.get(), 5);
}

#[tokio::test]
async fn what_does_not_fit_goes_with_its_last_reader() {
    let world = World::new(3);
    drop(world.get("small", "ab").await);

    let first = world.get("large", "abcd").await;
    let second = world.get("large", "").await;

    drop(first);
    assert_eq!(fs::read_to_string(second.path()).expect("there"), "abcd");
    drop(second);
    assert_eq!((world.fetched(), world.files()), (2, 1));
    drop(world.get("small", "").await);
    assert_eq!(world.fetched(), 2, "the small one stays");
}

#[tokio::test]
async fn users_do_not_share() {
    let world = World::new(100);
    drop(world.get("a", "mine").await);
    let other = Key {
        user: Some(7),
        uri: "a".into(),
    };

    let fetching = async { world.part("theirs") };
    let lease = world.cache.get(&other, fetching).await.expect("fetched");

    assert_eq!(fs::read_to_string(lease.path()).expect("there"), "theirs");
}

#[tokio::test]
async fn those_who_wait_share_what_comes_of_it() {
    let world = World::new(100);
    let (go, gate) = oneshot::channel::<()>();
    let key = key("a");
    let first = world.cache.get(&key, async {
        gate.await.expect("opened");
        world.fetched.fetch_add(1, Ordering::Relaxed);
        Err(Failure::Http("the server answered 500".into()))
    });
    let others = async {
        let waiting = world.cache.get(&key, async { world.part("unused") });
        tokio::pin!(waiting);
        assert!(waiting.as_mut().now_or_never().is_none(), "it waits");
        go.send(()).expect("somebody waits");
        waiting.await
    };

    let (first, second) = tokio::join!(first, others);

    for failed in [first, second] {
        let error = failed.expect_err("failed").to_string();
        assert_eq!(error, "the server answered 500");
    }
    assert_eq!(world.fetched(), 1);
    drop(world.get("a", "now").await);
    assert_eq!(world.fetched(), 2, "the next one tries anew");
}

#[tokio::test]
async fn when_the_one_who_fetches_is_given_up_another_takes_over() {
    let world = World::new(100);
    let key = key("a");
    let mut given_up = Box::pin(world.cache.get(&key, std::future::pending()));
    assert!(given_up.as_mut().now_or_never().is_none(), "it fetches");
    let mut waiting = Box::pin(world.cache.get(&key, async { world.part("text") }));
    assert!(waiting.as_mut().now_or_never().is_none(), "it waits");

    drop(given_up);
    let lease = waiting.await.expect("fetched");

    assert_eq!(fs::read_to_string(lease.path()).expect("there"), "text");
    assert_eq!(world.fetched(), 1);
}

#[tokio::test]
async fn a_full_disk_costs_what_nobody_reads() {
    let world = World::new(100);
    let read = world.get("a", "a").await;
    drop(world.get("b", "b").await);

    world.cache.shed().await;

    assert_eq!(world.files(), 1);
    assert!(read.path().exists());
}
