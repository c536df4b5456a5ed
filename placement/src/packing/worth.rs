//! Our own: where what is left loses the least worth.
//!
//! What is free on a machine is worth what tasks to come can still make of it. Each device is worth the
//! dearest parts that typical tasks could still cut out of it (see `stock`). All devices together are
//! worth no more than what the CPUs, the memory and the disk can serve, as typical tasks take them
//! along; of what those cannot serve half still counts, as CPUs may come free. A place costs the worth that is lost by taking
//! it, times how sought after the kind of machine is: who can go anywhere leaves scarce models to those who
//! cannot. Among equal losses, the machine with least left, GPUs counting most.
//!
//! A task without GPUs costs something only where CPUs or memory are short beside free GPUs; on machines
//! without GPUs nothing is ever lost, and the rule is best fit.

use mete_model::resources::devices::WHOLE_DEVICE;

use super::amounts::{Ask, Gpus, Room, parts};
use super::digest::{Digest, PAR};
use super::{Mix, Score};

/// How much more a GPU left over weighs than another kind of resource, among equal losses. Anything from
/// 4 to 32 packs alike.
const GPU_WEIGHT: u64 = 8;
/// Losses are compared in thousandths of a device, so that rounding decides nothing. Worth is counted
/// twice: once as far as it is served, half of it again in any case.
const STEP: u64 = 2_000;

/// The score, and the device it holds for.
pub(super) fn place(ask: Ask, room: &Room<'_>, mix: &Mix) -> (Score, Option<u16>) {
    let waste = waste(room, mix);
    if !room.has_gpus() {
        return (
            Score {
                waste,
                ..Score::default()
            },
            None,
        );
    }
    let digest = mix.digest();
    let devices: u64 = room.levels().map(|level| digest.value(level)).sum();
    let (lost, device) = match ask.gpus {
        Gpus::None => (0, None),
        Gpus::Whole(count) => (digest.value(WHOLE_DEVICE).saturating_mul(count), None),
        Gpus::Part(part) => cheapest(part, room, digest),
    };
    let free = &room.free;
    let before = worth(
        devices,
        digest.served(free.cpus_milli, free.mem_milli, free.disk_milli),
    );
    let after = worth(
        devices.saturating_sub(lost),
        digest.served(
            free.cpus_milli.saturating_sub(ask.cpus_milli),
            free.mem_milli.saturating_sub(ask.mem_milli),
            free.disk_milli.saturating_sub(ask.disk_milli),
        ),
    );
    let loss = before
        .saturating_sub(after)
        .saturating_mul(digest.price(room.group));
    let score = Score {
        loss: i64::try_from((loss + PAR * STEP / 2) / (PAR * STEP)).unwrap_or(i64::MAX),
        waste,
        ..Score::default()
    };
    (score, device)
}

/// What free devices are worth when the rest of the machine serves so much: twice what is served and once all.
fn worth(devices: u64, served: u64) -> u64 {
    2 * devices.min(served) + devices
}

/// The least that a device loses by a part, and which one; of equal ones the tightest.
fn cheapest(part: u16, room: &Room<'_>, digest: &Digest) -> (u64, Option<u16>) {
    let costs = room.choices(part).map(|(at, level)| {
        let lost = digest
            .value(level)
            .saturating_sub(digest.value(level - part));
        (lost, level, at)
    });
    match costs.min() {
        Some((lost, _, at)) => (lost, room.name(at)),
        None => (digest.value(part), None),
    }
}

fn waste(room: &Room<'_>, mix: &Mix) -> u64 {
    let [cpus, mem, disk, gpus] = parts(&room.free, mix);
    if room.has_gpus() {
        cpus + gpus * GPU_WEIGHT
    } else {
        cpus + mem + disk
    }
}
