//! What waits, as the master is told it: so that it can aim its offers.
//!
//! ```
//! use mete_framework_sdk::demand::{Demand, Shape};
//! use mete_framework_sdk::matching::WaitingTask;
//! use mete_framework_sdk::{Resources, Task};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut waiting = Vec::new();
//! for number in 0..3 {
//!     let task = Task::shell(format!("crunch-{number}"), "true")?.name("crunch");
//!     waiting.push(WaitingTask::new(task.cpus_milli(500).mem_mb(64)));
//! }
//!
//! let demand = Demand::of(&waiting);
//!
//! let three = Shape { name: Some("crunch".to_owned()), count: 3, ..Shape::new(Resources::cpus_mem(500, 64)) };
//! assert_eq!(demand.shapes(), [three]);
//! # Ok(())
//! # }
//! ```

pub use mete_placement::demand::{BadShape, MAX_SHAPES, Shape};

use mete_placement::demand;

use crate::matching::WaitingTask;

/// Of a task's name, so much names its shape: less than may be, whatever the letters.
const NAME_CHARS: usize = demand::MAX_NAME_BYTES / 4;

/// What waits: shapes, the most urgent first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Demand(Vec<Shape>);

impl Demand {
    /// What these tasks wait for, in their order; those that need the same are one shape. UNIQUE, GROUP_BY, MAX_PER and
    /// CLUSTER are in it as far as they can be told of an agent by itself; [`matching`](crate::matching) decides.
    pub fn of<'a>(waiting: impl IntoIterator<Item = &'a WaitingTask>) -> Self {
        let mut kinds: Vec<(&WaitingTask, u32)> = Vec::new();
        for task in waiting {
            // Tasks of a kind mostly follow each other.
            let known = kinds
                .iter()
                .rposition(|(first, _)| first.needs() == task.needs());
            match known {
                Some(at) => kinds[at].1 = kinds[at].1.saturating_add(1),
                None if kinds.len() < MAX_SHAPES => kinds.push((task, 1)),
                None => {}
            }
        }
        kinds.into_iter().map(shape).collect()
    }

    /// The shapes.
    pub fn shapes(&self) -> &[Shape] {
        &self.0
    }
}

fn shape((first, count): (&WaitingTask, u32)) -> Shape {
    let mut needs = first.needs().clone();
    needs.count = count;
    Shape {
        name: Some(
            first
                .task()
                .name_for_people()
                .chars()
                .take(NAME_CHARS)
                .collect(),
        ),
        ..Shape::of(&needs)
    }
}

/// The first [`MAX_SHAPES`], without those that [cannot be meant](Shape::check): a master would refuse all for them.
impl FromIterator<Shape> for Demand {
    fn from_iter<T: IntoIterator<Item = Shape>>(shapes: T) -> Self {
        let good = shapes.into_iter().filter(|shape| match shape.check() {
            Ok(()) => true,
            Err(why) => {
                tracing::warn!(?shape, %why, "a shape is left out of the demand");
                false
            }
        });
        Self(good.take(MAX_SHAPES).collect())
    }
}

#[cfg(test)]
mod tests {
    use mete_placement::constraints::Placed;

    use super::*;
    use crate::matching::{Constraint, PortAsk};
    use crate::{Resources, Task};

    fn waiting(id: &str, cpus_milli: u64) -> WaitingTask {
        let task = Task::shell(id, "true").expect("an id");
        WaitingTask::new(task.cpus_milli(cpus_milli).mem_mb(32))
    }

    #[test]
    fn tasks_that_need_the_same_are_one_shape_in_the_order_of_the_first() {
        let tasks = [waiting("a", 100), waiting("b", 200), waiting("c", 100)];

        let demand = Demand::of(&tasks);

        let counts: Vec<_> = demand
            .shapes()
            .iter()
            .map(|shape| {
                (
                    shape.name.as_deref(),
                    shape.resources.cpus_milli,
                    shape.count,
                )
            })
            .collect();
        assert_eq!(counts, [(Some("a"), 100, 2), (Some("b"), 200, 1)]);
    }

    #[test]
    fn where_others_stand_is_in_the_shape() {
        let unique = Constraint::parse("hostname", "UNIQUE", None).expect("good");
        let taken = Placed {
            hostname: "left".to_owned(),
            ..Placed::default()
        };
        let task = waiting("a", 100)
            .port(PortAsk::Any, "http")
            .constraint(unique)
            .beside([taken]);

        let demand = Demand::of([&task]);

        let shape = &demand.shapes()[0];
        assert_eq!((shape.any_ports, shape.max_per_agent), (1, Some(1)));
        let constraint = &shape.constraints[0];
        let (operator, value) = constraint.words();
        assert_eq!((operator, value.as_deref()), ("UNLIKE", Some("left")));
        assert_eq!(
            constraint.to_string(),
            "hostname:UNIQUE",
            "as it was stated"
        );
    }

    #[test]
    fn what_cannot_be_meant_is_left_out() {
        let empty = Shape::new(Resources::none());
        let good = Shape::new(Resources::cpus_mem(1, 1));

        let demand: Demand = [empty, good.clone()].into_iter().collect();

        assert_eq!(demand.shapes(), [good]);
    }
}
