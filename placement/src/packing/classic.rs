//! The well-known rules, which look at nothing but what is asked and what is free.

use mete_model::Resources;

use super::amounts::{MACHINE, Room, parts};
use super::{Mix, Score};

/// The least free first. What is asked is the same everywhere and plays no part.
pub(super) fn best_fit(room: &Room<'_>, mix: &Mix) -> Score {
    wasting(free(room, mix))
}

/// The most free first.
pub(super) fn spread(room: &Room<'_>, mix: &Mix) -> Score {
    wasting(u64::MAX - free(room, mix))
}

/// The least product of asked and free.
pub(super) fn dot_product(asked: &Resources, room: &Room<'_>, mix: &Mix) -> Score {
    let (asked, free) = (parts(asked, mix), parts(&room.free, mix));
    wasting(asked.into_iter().zip(free).map(|(a, b)| a * b).sum())
}

/// The least sum of squares of what is left.
pub(super) fn l2(asked: &Resources, room: &Room<'_>, mix: &Mix) -> Score {
    let (asked, free) = (parts(asked, mix), parts(&room.free, mix));
    let left = free
        .into_iter()
        .zip(asked)
        .map(|(b, a)| b.saturating_sub(a));
    wasting(left.map(|left| left * left).sum())
}

/// How much is free, over all kinds, in millionths of the largest machine. Of machines with GPUs only CPUs and GPUs count,
/// as in the published comparison: memory is seldom what is short beside GPUs, and counting it allocates one
/// GPU in a hundred less.
fn free(room: &Room<'_>, mix: &Mix) -> u64 {
    let [cpus, mem, disk, gpus] = parts(&room.free, mix);
    if room.has_gpus() {
        cpus + gpus
    } else {
        cpus + mem + disk
    }
}

fn wasting(waste: u64) -> Score {
    Score {
        waste,
        ..Score::default()
    }
}

// Four products of parts fit into 64 bits.
const _: () = assert!(MACHINE < 1 << 29);
