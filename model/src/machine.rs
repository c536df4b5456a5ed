//! What a decider is: a value that takes one input at a time and answers with effects.
//!
//! A machine never waits, reads no clock and does no I/O. The event loop of `mete-daemon` feeds it,
//! stores what must be stored, then acts, then answers.

use std::fmt;
use std::ops::{Add, Sub};
use std::time::Duration;

/// A moment: microseconds since 1970-01-01T00:00:00Z. Comes in as a value; cores never read a clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(u64);

impl Timestamp {
    /// 1970-01-01T00:00:00Z.
    pub const EPOCH: Self = Self(0);
    /// Later than anything that happens.
    pub const NEVER: Self = Self(u64::MAX);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: u64) -> Self {
        Self(micros)
    }

    /// From milliseconds since the epoch; saturates.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis.saturating_mul(1_000))
    }

    /// From seconds since the epoch, as the wire carries it; `None` when not finite or before the epoch.
    pub fn from_secs_f64(seconds: f64) -> Option<Self> {
        let micros = seconds * 1e6;
        (micros.is_finite() && micros >= 0.0 && micros < u64::MAX as f64)
            .then_some(Self(micros.round() as u64))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// Milliseconds since the epoch, cut down.
    pub const fn as_millis(self) -> u64 {
        self.0 / 1_000
    }

    /// Seconds since the epoch, as the wire carries it.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1e6
    }

    /// Time from `earlier` to this moment; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.0.saturating_sub(earlier.0))
    }
}

/// Saturates at [`Timestamp::NEVER`].
impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_add(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

/// Saturates at the epoch.
impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, span: Duration) -> Self {
        Self(
            self.0
                .saturating_sub(u64::try_from(span.as_micros()).unwrap_or(u64::MAX)),
        )
    }
}

/// Seconds since the epoch with six digits, e.g. `1700000000.250000`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// A decider. Everything that can change it is one variant of its `Input`.
pub trait Machine {
    /// All that can happen.
    type Input;
    /// A change that must outlive a restart.
    type Record;
    /// A message, launch or kill for the shell to carry out.
    type Action;
    /// The answer for the caller whose input this was.
    type Reply;
    /// What readers may look at: shared, immutable, cheap to publish.
    type View;

    /// Takes one input and says what follows from it. Never waits, never fails half-way.
    fn step(&mut self, now: Timestamp, input: Self::Input) -> Effects<Self>;

    /// The input that tells the machine that a deadline has come.
    fn deadline_input() -> Self::Input;

    /// When time alone changes something; `None` when only an input can.
    fn next_deadline(&self) -> Option<Timestamp>;

    /// The state as readers may see it.
    fn view(&self) -> Self::View;
}

/// A record as the store takes it: keys and values are bytes, a key without value is removed.
///
/// Each value begins with one byte, the version of its format; readers accept the version before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Where it lies; keys sort bytewise.
    pub key: Vec<u8>,
    /// What lies there from now on; `None` removes the key.
    pub value: Option<Vec<u8>>,
}

/// A record that can be written down.
pub trait Durable {
    /// The changes on disk that make this record last, in order.
    fn changes(&self) -> Vec<Change>;
}

/// What follows from one input, carried out in this order: store, then act, then answer.
pub struct Effects<M: Machine + ?Sized> {
    /// To be on disk before anybody hears of it.
    pub store: Vec<M::Record>,
    /// To be carried out by the shell, in order.
    pub act: Vec<M::Action>,
    /// For the caller, when there is one.
    pub reply: Option<M::Reply>,
}

impl<M: Machine + ?Sized> Effects<M> {
    /// Nothing follows.
    pub const fn none() -> Self {
        Self {
            store: Vec::new(),
            act: Vec::new(),
            reply: None,
        }
    }
}

impl<M: Machine + ?Sized> Default for Effects<M> {
    fn default() -> Self {
        Self::none()
    }
}

impl<M: Machine + ?Sized> fmt::Debug for Effects<M>
where
    M::Record: fmt::Debug,
    M::Action: fmt::Debug,
    M::Reply: fmt::Debug,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Effects")
            .field("store", &self.store)
            .field("act", &self.act)
            .field("reply", &self.reply)
            .finish()
    }
}

impl<M: Machine + ?Sized> PartialEq for Effects<M>
where
    M::Record: PartialEq,
    M::Action: PartialEq,
    M::Reply: PartialEq,
{
    fn eq(&self, other: &Self) -> bool {
        self.store == other.store && self.act == other.act && self.reply == other.reply
    }
}
