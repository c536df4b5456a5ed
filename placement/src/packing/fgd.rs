//! Fragmentation gradient descent: "Beware of Fragmentation", Weng et al., USENIX ATC 2023.
//!
//! The fragment of a machine for a typical task is what is free of GPUs that the task cannot use: all of
//! it when the task needs none, may not run there, or does not fit; otherwise the devices with less than it
//! needs. A place is the better, the less the fragment of its machine grows, on average over the typical
//! tasks. As published, growth is seen through a sigmoid cut to whole hundredths; with the many ties that
//! makes the lowest number wins, without them it packs worse (measured: one point less of the GPUs).

use mete_model::resources::devices::WHOLE_DEVICE;

use super::amounts::{Ask, Gpus, Room};
use super::digest::Typical;
use super::{Mix, Score};

/// From which growth on, in thousandths of a GPU, 100 × sigmoid passes the next whole number above 50:
/// 1000 × ln(k / (100 − k)) for k = 51 to 99. Below 50 it is the same with the sign changed.
const STEPS: [i64; 49] = [
    40, 80, 120, 160, 201, 241, 282, 323, 364, 405, 447, 490, 532, 575, 619, 663, 708, 754, 800,
    847, 895, 944, 994, 1_046, 1_099, 1_153, 1_208, 1_266, 1_325, 1_386, 1_450, 1_516, 1_586,
    1_658, 1_735, 1_815, 1_901, 1_992, 2_091, 2_197, 2_314, 2_442, 2_587, 2_752, 2_944, 3_178,
    3_476, 3_892, 4_595,
];

/// The score, and the device it holds for.
pub(super) fn place(ask: Ask, room: &Room<'_>, mix: &Mix) -> (Score, Option<u16>) {
    let typical = mix.digest().typical();
    let before = fragment(typical, room.group, room.free.cpus_milli, room.levels());
    let cpus = room.free.cpus_milli.saturating_sub(ask.cpus_milli);
    let score = |after: i64| Score {
        loss: -steps((before - after).div_euclid(typical.weight().max(1))),
        ..Score::default()
    };
    match ask.gpus {
        Gpus::None => (
            score(fragment(typical, room.group, cpus, room.levels())),
            None,
        ),
        Gpus::Whole(count) => {
            let levels = room.levels_without(count);
            (score(fragment(typical, room.group, cpus, levels)), None)
        }
        Gpus::Part(part) => room
            .choices(part)
            .map(|(at, _)| {
                let levels = room.levels_with_part(at, part);
                (score(fragment(typical, room.group, cpus, levels)), at)
            })
            .min()
            .map_or_else(Default::default, |(score, at)| (score, room.name(at))),
    }
}

/// Thousandths of a GPU that are of no use, summed over the typical tasks by their weight.
fn fragment(
    typical: &Typical,
    group: u16,
    cpus_milli: u64,
    levels: impl Iterator<Item = u16> + Clone,
) -> i64 {
    let idle: i64 = levels.clone().map(i64::from).sum();
    let mut sum = 0;
    for task in typical.tasks() {
        let useless = if task.cpus_milli > cpus_milli || !task.groups.allow(group) {
            idle
        } else {
            match task.gpus {
                Gpus::None => idle,
                Gpus::Part(part) => useless(levels.clone(), part, 1, idle),
                Gpus::Whole(count) => useless(levels.clone(), WHOLE_DEVICE, count, idle),
            }
        };
        sum += task.weight * useless;
    }
    sum
}

/// What a task that needs `count` devices with `least` free cannot use.
fn useless(levels: impl Iterator<Item = u16>, least: u16, count: u64, idle: i64) -> i64 {
    let (mut fitting, mut small) = (0, 0);
    for level in levels {
        if level >= least {
            fitting += 1;
        } else {
            small += i64::from(level);
        }
    }
    if fitting < count { idle } else { small }
}

/// 100 × sigmoid of what is won, in thousandths of a GPU, cut to a whole number.
fn steps(won_milli: i64) -> i64 {
    let passed = |milli| STEPS.partition_point(|step| *step <= milli) as i64;
    if won_milli >= 0 {
        50 + passed(won_milli)
    } else {
        // The steps below are the mirror: at exactly one of them it still is passed.
        49 - passed(-won_milli - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_sigmoid() {
        for milli in -6_000_i32..6_000 {
            let exact = 100.0 / (1.0 + (-f64::from(milli) / 1_000.0).exp());
            let step = steps(i64::from(milli)) as f64;

            assert!(
                step <= exact + 0.02 && exact < step + 1.02,
                "{milli}: {step} for {exact}"
            );
        }
    }
}
