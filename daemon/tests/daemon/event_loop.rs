//! The loop's promises, with a machine that does what it is told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use mete_daemon::event_loop::{
    self, Gone, Handle, INBOX_CAPACITY, Journal, LoopError, MAX_BATCH, NoJournal, TellError,
};
use mete_daemon::store::memory::Memory;
use mete_daemon::store::{Store, StoreError, StoreJournal, load_all};
use mete_daemon::{clock, metrics};
use mete_model::machine::{Change, Durable, Effects, Machine, Timestamp};
use prometheus_client::registry::Registry;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

/// Keeps a sum; stores, announces and answers it as told.
#[derive(Default)]
struct Adder {
    sum: u64,
    alarm: Option<Timestamp>,
}

enum Input {
    Add(u64),
    Look,
    AlarmAt(Timestamp),
    Alarm,
}

struct Sum(u64);

impl Durable for Sum {
    fn changes(&self) -> Vec<Change> {
        vec![Change {
            key: b"sum".to_vec(),
            value: Some(self.0.to_be_bytes().to_vec()),
        }]
    }
}

impl Machine for Adder {
    type Input = Input;
    type Record = Sum;
    type Action = u64;
    type Reply = u64;
    type View = u64;

    fn step(&mut self, now: Timestamp, input: Input) -> Effects<Self> {
        match input {
            Input::Add(number) => {
                self.sum += number;
                Effects {
                    store: vec![Sum(self.sum)],
                    act: vec![self.sum],
                    reply: Some(self.sum),
                }
            }
            Input::Look => Effects {
                reply: Some(self.sum),
                ..Effects::none()
            },
            Input::AlarmAt(moment) => {
                self.alarm = Some(moment);
                Effects::none()
            }
            Input::Alarm => {
                assert!(self.alarm.take().is_some_and(|alarm| alarm <= now));
                self.sum += 1000;
                Effects {
                    act: vec![self.sum],
                    ..Effects::none()
                }
            }
        }
    }

    fn deadline_input() -> Input {
        Input::Alarm
    }

    fn next_deadline(&self) -> Option<Timestamp> {
        self.alarm
    }

    fn view(&self) -> u64 {
        self.sum
    }
}

/// Writes down what happens, and waits for leave before each commit.
#[derive(Clone)]
struct Diary {
    lines: Arc<Mutex<Vec<String>>>,
    leave: Arc<Semaphore>,
}

impl Diary {
    fn new(leave: usize) -> Self {
        Self {
            lines: Arc::default(),
            leave: Arc::new(Semaphore::new(leave)),
        }
    }

    fn note(&self, line: String) {
        self.lines.lock().unwrap().push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}

impl Journal<Sum> for Diary {
    async fn commit(&mut self, records: Vec<Sum>) -> Result<(), StoreError> {
        self.leave.acquire().await.unwrap().forget();
        self.note(format!(
            "store {:?}",
            records.iter().map(|record| record.0).collect::<Vec<_>>()
        ));
        Ok(())
    }
}

#[tokio::test]
async fn a_batch_is_stored_then_seen_then_acted_upon_then_answered() {
    let diary = Diary::new(1);
    let (handle, ready) = event_loop::prepare(Adder::default());
    let (hands, seen, asked) = (diary.clone(), handle.clone(), diary.clone());
    let act = move |sum| hands.note(format!("act {sum}, view {}", seen.view()));
    handle.try_tell(Input::Add(1)).unwrap();
    handle.try_tell(Input::Add(2)).unwrap();
    let mut answer = std::pin::pin!(async {
        let sum = handle.ask(Input::Add(4)).await.unwrap();
        asked.note(format!("answer {sum}"));
    });
    // Asked once, the third input lies in the inbox too, before the loop starts: one batch.
    assert!(futures::poll!(answer.as_mut()).is_pending());
    let shutdown = CancellationToken::new();

    let running = ready.start(diary.clone(), act, shutdown.clone());
    timeout(PATIENCE, answer).await.unwrap();

    let lines = diary.lines();
    assert_eq!(
        lines,
        [
            "store [1, 3, 7]",
            "act 1, view 7",
            "act 3, view 7",
            "act 7, view 7",
            "answer 7"
        ]
    );
    shutdown.cancel();
    running.await.unwrap().unwrap();
}

#[tokio::test]
async fn before_the_commit_nobody_hears_of_it() {
    let diary = Diary::new(0);
    let acted = diary.clone();
    let (handle, _running) = event_loop::spawn(
        Adder::default(),
        diary.clone(),
        move |_| acted.note("act".into()),
        CancellationToken::new(),
    );
    let mut answer = tokio_task(handle.clone(), 5);

    assert!(
        timeout(Duration::from_millis(50), &mut answer)
            .await
            .is_err()
    );
    assert_eq!((*handle.view(), diary.lines()), (0, vec![]));

    diary.leave.add_permits(1);
    assert_eq!(timeout(PATIENCE, answer).await.unwrap().unwrap(), Ok(5));
    assert_eq!(
        (*handle.view(), diary.lines()),
        (5, vec!["store [5]".to_owned(), "act".to_owned()])
    );
}

fn tokio_task(handle: Handle<Adder>, number: u64) -> tokio::task::JoinHandle<Result<u64, Gone>> {
    tokio::spawn(async move { handle.ask(Input::Add(number)).await })
}

#[tokio::test]
async fn a_failed_commit_ends_the_loop_and_nobody_is_answered() {
    let memory = Memory::new();
    let (acted, mut actions) = mpsc::unbounded_channel();
    let journal = StoreJournal::new(Arc::new(memory.clone()));
    let hands = move |sum| acted.send(sum).unwrap();
    let (handle, running) =
        event_loop::spawn(Adder::default(), journal, hands, CancellationToken::new());
    assert_eq!(handle.ask(Input::Add(1)).await, Ok(1));
    memory.fail_commits(Some(StoreError::Full {
        path: "disk".into(),
    }));

    assert_eq!(handle.ask(Input::Add(2)).await, Err(Gone));

    let ended = timeout(PATIENCE, running).await.unwrap().unwrap();
    assert!(matches!(
        ended,
        Err(LoopError::Commit(StoreError::Full { .. }))
    ));
    assert_eq!(*handle.view(), 1);
    assert_eq!(
        (actions.recv().await, actions.recv().await),
        (Some(1), None)
    );
    assert_eq!(handle.try_tell(Input::Look), Err(TellError::Gone));
    assert_eq!(
        load_all(&memory).await.unwrap(),
        [(b"sum".to_vec(), 1u64.to_be_bytes().to_vec())]
    );
}

#[tokio::test]
async fn a_batch_without_records_does_not_touch_the_store() {
    let memory = Memory::new();
    let journal = StoreJournal::new(Arc::new(memory.clone()));
    let (handle, _running) =
        event_loop::spawn(Adder::default(), journal, |_| {}, CancellationToken::new());

    handle.ask(Input::Look).await.unwrap();
    assert_eq!(memory.commits(), 0);
    handle.ask(Input::Add(1)).await.unwrap();
    assert_eq!(memory.commits(), 1);
}

#[tokio::test]
async fn a_deadline_is_stepped_when_it_comes_and_not_before() {
    let (acted, mut actions) = mpsc::unbounded_channel();
    let hands = move |sum| acted.send((sum, clock::now())).unwrap();
    let (handle, _running) =
        event_loop::spawn(Adder::default(), NoJournal, hands, CancellationToken::new());
    let alarm = clock::now() + Duration::from_millis(80);

    handle.tell(Input::AlarmAt(alarm)).await.unwrap();

    let (sum, at) = timeout(PATIENCE, actions.recv()).await.unwrap().unwrap();
    assert_eq!(sum, 1000);
    assert!(at >= alarm);
}

#[tokio::test]
async fn a_deadline_comes_through_while_the_inbox_is_never_empty() {
    let (acted, mut actions) = mpsc::unbounded_channel();
    let hands = move |sum| acted.send(sum).unwrap_or_default();
    let (handle, _running) =
        event_loop::spawn(Adder::default(), NoJournal, hands, CancellationToken::new());
    let busy = handle.clone();
    let flood = tokio::spawn(async move { while busy.tell(Input::Look).await.is_ok() {} });

    handle
        .tell(Input::AlarmAt(clock::now() + Duration::from_millis(20)))
        .await
        .unwrap();

    assert_eq!(timeout(PATIENCE, actions.recv()).await.unwrap(), Some(1000));
    flood.abort();
}

#[tokio::test]
async fn a_signal_asks_for_the_end() {
    let shutdown = mete_daemon::shutdown::on_signal().unwrap();
    let (_handle, running) = event_loop::spawn(Adder::default(), NoJournal, |_| {}, shutdown);

    let own = std::process::id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-TERM", &own])
            .status()
            .unwrap()
            .success()
    );

    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_full_inbox_refuses_and_what_was_taken_is_worked_off_at_the_end() {
    let (handle, ready) = event_loop::prepare(Adder::default());
    for _ in 0..INBOX_CAPACITY {
        handle.try_tell(Input::Add(1)).unwrap();
    }
    assert_eq!(handle.try_tell(Input::Look), Err(TellError::Full));
    let shutdown = CancellationToken::new();
    shutdown.cancel();

    timeout(PATIENCE, ready.start(NoJournal, |_| {}, shutdown))
        .await
        .unwrap()
        .unwrap()
        .unwrap();

    assert_eq!(*handle.view(), INBOX_CAPACITY as u64);
    assert_eq!(handle.tell(Input::Look).await, Err(Gone));
    timeout(PATIENCE, handle.ended()).await.unwrap();
}

#[tokio::test]
async fn the_loop_ends_when_all_handles_are_gone() {
    let (handle, running) = event_loop::spawn(
        Adder::default(),
        NoJournal,
        |_| {},
        CancellationToken::new(),
    );

    drop(handle);

    timeout(PATIENCE, running).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn a_follower_sees_the_last_view_and_then_the_end() {
    let shutdown = CancellationToken::new();
    let (handle, _running) =
        event_loop::spawn(Adder::default(), NoJournal, |_| {}, shutdown.clone());
    let mut follower = handle.follow();
    assert_eq!(*follower.current(), 0);

    handle.ask(Input::Add(3)).await.unwrap();
    assert_eq!(follower.changed().await.as_deref(), Ok(&3));

    shutdown.cancel();
    assert_eq!(
        timeout(PATIENCE, follower.changed()).await.unwrap(),
        Err(Gone)
    );
}

#[tokio::test]
async fn the_loop_counts_what_it_does() {
    let mut registry = Registry::with_prefix("mete");
    let (handle, ready) = event_loop::prepare(Adder::default());
    let ready = ready.with_metrics(&mut registry);
    for _ in 0..2 * MAX_BATCH {
        handle.try_tell(Input::Look).unwrap();
    }
    let shutdown = CancellationToken::new();
    shutdown.cancel();

    ready
        .start(NoJournal, |_| {}, shutdown)
        .await
        .unwrap()
        .unwrap();

    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("mete_event_loop_inputs_total 512"), "{text}");
    assert!(text.contains("mete_event_loop_batches_total 2"), "{text}");
    assert!(
        text.contains("mete_event_loop_step_seconds_count 2"),
        "{text}"
    );
    drop(metrics::routes(Arc::new(registry)));
}

#[tokio::test]
async fn memory_pages_in_the_order_of_the_keys() {
    let memory = Memory::new();
    let changes: Vec<_> = (0..5u8)
        .map(|n| Change {
            key: vec![n],
            value: Some(vec![n]),
        })
        .collect();
    memory.commit(vec![changes.into()], None).await.unwrap();

    let first = memory.load(None, 3).await.unwrap();
    let second = memory.load(first.next.clone(), 3).await.unwrap();

    assert_eq!((first.entries.len(), first.next), (3, Some(vec![2])));
    assert_eq!((second.entries.len(), second.next), (2, None));
}
