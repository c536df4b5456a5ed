//! Nodes of several kinds in the midst of their work, and shapes to find places for.

use mete_model::{MB_MILLI, Resources};
use mete_placement::fleet::Fleet;
use mete_placement::packing::{Groups, Mix};

use crate::dice::Dice;

/// One whole machine and what is free of it.
pub struct Machine {
    /// The whole machine.
    pub total: Resources,
    /// What tasks have left of it.
    pub free: Resources,
    /// Which kind of machine with GPUs; 0 without.
    pub group: u16,
}

/// A cluster: one machine in ten has GPUs, four or eight; the others have 32, 64 or 96 CPUs.
pub struct Machines {
    /// As the fleet knows them, by number.
    pub machines: Vec<Machine>,
    /// The fleet.
    pub fleet: Fleet,
    /// What is typical.
    pub mix: Mix,
    /// What is asked for, each different.
    pub shapes: Vec<Resources>,
}

/// So many machines and 200 shapes, a fifth of them with GPUs. Each machine is filled by tasks of random
/// shapes until so many in a row did not fit.
pub fn machines(count: usize, dice: &mut Dice) -> Machines {
    let shapes = shapes(200, dice);
    let mut all = Machines {
        machines: Vec::with_capacity(count),
        fleet: Fleet::default(),
        mix: Mix::default(),
        shapes,
    };
    for _ in 0..count {
        let (total, group) = match dice.below(10) {
            0 if dice.below(2) == 0 => (machine(64_000, 256, 4_000), 1),
            0 => (machine(96_000, 768, 8_000), 2),
            1..5 => (machine(32_000, 128, 0), 0),
            5..8 => (machine(64_000, 128, 0), 0),
            _ => (machine(96_000, 384, 0), 0),
        };
        let total = total.with_devices();
        all.mix.add_machine(&total, group);
        let free = total.clone();
        all.machines.push(Machine { total, free, group });
    }
    for shape in &all.shapes {
        all.mix.note(shape, Groups::ANY, 1 + dice.below(100) as u32);
    }
    for node in 0..count {
        all.change(node, dice);
    }
    all
}

impl Machines {
    /// The tasks on one machine are others from now on.
    pub fn change(&mut self, node: usize, dice: &mut Dice) {
        let machine = &mut self.machines[node];
        machine.free.clone_from(&machine.total);
        let mut misses = 0;
        while misses < 3 {
            let shape = &self.shapes[dice.below(self.shapes.len() as u64) as usize];
            let taken = machine.free.pin(shape);
            match taken.and_then(|taken| machine.free.minus(&taken)) {
                Some(left) => machine.free = left,
                None => misses += 1,
            }
        }
        let number = u32::try_from(node).expect("few machines");
        self.fleet
            .set(number, &machine.total, &machine.free, machine.group);
    }
}

fn shapes(count: usize, dice: &mut Dice) -> Vec<Resources> {
    let mut shapes: Vec<Resources> = Vec::new();
    while shapes.len() < count {
        let cpus = 500 * (1 + dice.below(16));
        let mut shape = machine(cpus, 0, 0);
        shape.mem_milli = 512 * (1 + dice.below(48)) * MB_MILLI;
        if shapes.len().is_multiple_of(5) {
            shape.gpus_milli = match dice.below(3) {
                0 => 250 * (1 + dice.below(3)),
                1 => 1_000,
                _ => 1_000 * (1 + dice.below(4)),
            };
        }
        if !shapes.contains(&shape) {
            shapes.push(shape);
        }
    }
    shapes
}

fn machine(cpus_milli: u64, mem_gb: u64, gpus_milli: u64) -> Resources {
    let mut machine = Resources::cpus_mem(cpus_milli, mem_gb * 1_024);
    machine.gpus_milli = gpus_milli;
    machine
}
