//! What a framework waits to run: shapes, how many of each, and where they may go.
//!
//! A shape is what the allocator can aim an offer at. It holds only what can be told of an agent by
//! itself: constraints that compare with where other instances stand are turned into these, or left
//! out, by the framework, whose matcher decides in the end.

mod of_waiting; // the shape of tasks that wait for the matcher

use mete_model::{Resources, Role};

use crate::constraints::{
    BadConstraint, Constraint, Field, MAX_STATED_BYTES, Patterns, Place, Rule,
};

/// Shapes in one statement of demand: a framework with more kinds of tasks waiting names the most
/// urgent.
pub const MAX_SHAPES: usize = 1_000;
/// How many of one shape may wait: ten times what the largest clusters run, and so few that sums over
/// all shapes stay far from what numbers hold.
pub const MAX_COUNT: u32 = 1_000_000;
/// Constraints of one shape, those that are only preferred among them: people state one or two.
pub const MAX_CONSTRAINTS: usize = 32;
/// Ports without a number of one shape: an agent has no more.
pub const MAX_ANY_PORTS: u32 = 65_536;
/// The longest name of a shape, in bytes: as of ids.
pub const MAX_NAME_BYTES: usize = 255;

/// A whole device, in thousandths.
const WHOLE_GPU: u64 = 1_000;

/// Names a shape within the allocator: it says what an offer was made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ShapeId(pub u64);

/// So many tasks of one kind that a framework waits to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// What the framework calls it; only for explanations.
    pub name: Option<String>,
    /// In which of the framework's roles; `None`: its first by name.
    pub role: Option<Role>,
    /// What each takes, ports with a number in it.
    pub resources: Resources,
    /// How many ports each takes besides, whichever are there.
    pub any_ports: u32,
    /// All have to hold; [static](Constraint::is_static) ones only.
    pub constraints: Vec<Constraint>,
    /// Agents where all of these hold, too, come first, however well others fit; static ones only. They keep nothing away.
    pub preferred: Vec<Constraint>,
    /// At most so many of these on one agent; those that run there already do not count.
    pub max_per_agent: Option<u32>,
    /// Of what, where something is reserved for its role.
    pub takes: Takes,
    /// How many wait, at least one.
    pub count: u32,
}

/// Of what a shape takes that names no reservation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takes {
    /// What is reserved for its role first, then what is nobody's.
    #[default]
    Any,
    /// What is nobody's, and nothing that is reserved.
    Unreserved,
    /// What is reserved for its role, and nothing else.
    Reserved,
}

/// Why a shape is none.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadShape {
    /// Too long to be meant.
    #[error("its name has {0} bytes, at most {MAX_NAME_BYTES} are allowed")]
    Name(usize),
    /// Nothing would ever be taken for it.
    #[error("it asks for nothing: no resources, no ports")]
    Empty,
    /// More than one device and a part of another.
    #[error("it asks for {0} thousandths of a GPU; that is a part of one, or whole ones")]
    Gpus(u64),
    /// None, or more than can be meant.
    #[error("its count is {0}; 1 to {MAX_COUNT} may wait")]
    Count(u32),
    /// More than an agent has.
    #[error("it asks for {0} ports, at most {MAX_ANY_PORTS} are allowed")]
    Ports(u32),
    /// None of them could go anywhere.
    #[error("its max_per_agent is 0; no agent could take any")]
    NonePerAgent,
    /// More than can be meant.
    #[error(
        "it has {0} constraints, preferred ones counted, at most {MAX_CONSTRAINTS} are allowed"
    )]
    Constraints(usize),
    /// A constraint that compares with other instances.
    #[error(transparent)]
    NotStatic(#[from] BadShapeConstraint),
}

/// Why a constraint cannot be one of a shape.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum BadShapeConstraint {
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] BadConstraint),
    /// Longer than an explanation shows.
    #[error("what it stands for has {0} bytes, at most {MAX_STATED_BYTES} are allowed")]
    Stated(usize),
    /// It compares with where other instances stand, which an allocator does not know.
    #[error(
        "{0} compares with other instances; a shape takes IS, LIKE, UNLIKE, and CLUSTER with a value"
    )]
    NotStatic(String),
}

/// Reads a constraint of a shape, in the words of Marathon, or HOME.
///
/// # Errors
/// [`BadShapeConstraint`] names the operator and what is wrong with it.
pub fn constraint(
    field: &str,
    operator: &str,
    value: Option<&str>,
    patterns: &mut Patterns,
) -> Result<Constraint, BadShapeConstraint> {
    // One of frameworks and masters; no app states it.
    let constraint = match operator.eq_ignore_ascii_case("HOME") {
        true => Constraint {
            field: Field::from_name(field),
            rule: Rule::Home(value.ok_or(BadConstraint::Missing("HOME"))?.to_owned()),
            stated: None,
        },
        false => Constraint::parse_among(field, operator, value, patterns)?,
    };
    must_be_static(&constraint)?;
    Ok(constraint)
}

fn must_be_static(constraint: &Constraint) -> Result<(), BadShapeConstraint> {
    if constraint.is_static() {
        Ok(())
    } else {
        Err(BadShapeConstraint::NotStatic(constraint.to_string()))
    }
}

impl Shape {
    /// One task that only needs resources.
    pub const fn new(resources: Resources) -> Self {
        Self {
            name: None,
            role: None,
            resources,
            any_ports: 0,
            constraints: Vec::new(),
            preferred: Vec::new(),
            max_per_agent: None,
            takes: Takes::Any,
            count: 1,
        }
    }

    /// How many kinds of resources it names, of the many that an agent may have: what an explanation of it grows with.
    pub fn names(&self) -> usize {
        const MAIN: usize = 4;
        MAIN + self.resources.flat().others().count()
    }

    /// Whether both are the same but for how many wait.
    pub fn is_same_kind(&self, other: &Self) -> bool {
        self.resources == other.resources
            && self.any_ports == other.any_ports
            && self.max_per_agent == other.max_per_agent
            && self.takes == other.takes
            && self.role == other.role
            && self.name == other.name
            && self.constraints == other.constraints
            && self.preferred == other.preferred
    }

    /// Whether it can be meant.
    ///
    /// # Errors
    /// [`BadShape`] names the part that cannot, and its value.
    pub fn check(&self) -> Result<(), BadShape> {
        if let Some(name) = &self.name
            && name.len() > MAX_NAME_BYTES
        {
            return Err(BadShape::Name(name.len()));
        }
        if self.resources.is_empty() && self.any_ports == 0 {
            return Err(BadShape::Empty);
        }
        let gpus = self.resources.gpus_milli;
        if gpus > WHOLE_GPU && !gpus.is_multiple_of(WHOLE_GPU) {
            return Err(BadShape::Gpus(gpus));
        }
        if self.count == 0 || self.count > MAX_COUNT {
            return Err(BadShape::Count(self.count));
        }
        if self.any_ports > MAX_ANY_PORTS {
            return Err(BadShape::Ports(self.any_ports));
        }
        if self.max_per_agent == Some(0) {
            return Err(BadShape::NonePerAgent);
        }
        let constraints = self.constraints.len() + self.preferred.len();
        if constraints > MAX_CONSTRAINTS {
            return Err(BadShape::Constraints(constraints));
        }
        for constraint in self.constraints.iter().chain(&self.preferred) {
            must_be_static(constraint)?;
        }
        Ok(())
    }

    /// Whether it may go to a place, as far as constraints go.
    ///
    /// # Errors
    /// The first constraint that does not hold there.
    pub fn permits(&self, place: Place<'_>) -> Result<(), &Constraint> {
        let broken = self
            .constraints
            .iter()
            .find(|constraint| !constraint.holds(place));
        broken.map_or(Ok(()), Err)
    }

    /// Whether a place is among those that come first.
    pub fn prefers(&self, place: Place<'_>) -> bool {
        let mut preferred = self.preferred.iter();
        preferred.all(|constraint| constraint.holds(place))
    }
}

#[cfg(test)]
mod tests {
    use mete_model::{AttributeValue, Attributes, FaultDomain};

    use super::*;

    fn shape() -> Shape {
        Shape::new(Resources::cpus_mem(1_000, 0))
    }

    fn with(change: impl FnOnce(&mut Shape)) -> Result<(), BadShape> {
        let mut shape = shape();
        change(&mut shape);
        shape.check()
    }

    fn read(
        field: &str,
        operator: &str,
        value: Option<&str>,
    ) -> Result<Constraint, BadShapeConstraint> {
        constraint(field, operator, value, &mut Patterns::default())
    }

    #[test]
    fn a_shape_that_cannot_be_meant_is_refused_with_the_value() {
        assert_eq!(with(|_| {}), Ok(()));
        assert_eq!(
            with(|shape| shape.name = Some("x".repeat(256))),
            Err(BadShape::Name(256))
        );
        assert_eq!(
            with(|shape| shape.resources = Resources::none()),
            Err(BadShape::Empty)
        );
        assert_eq!(
            with(|shape| shape.resources.gpus_milli = 1_500),
            Err(BadShape::Gpus(1_500))
        );
        assert_eq!(with(|shape| shape.resources.gpus_milli = 2_000), Ok(()));
        assert_eq!(with(|shape| shape.resources.gpus_milli = 250), Ok(()));
        assert_eq!(with(|shape| shape.count = 0), Err(BadShape::Count(0)));
        assert_eq!(
            with(|shape| shape.count = MAX_COUNT + 1),
            Err(BadShape::Count(MAX_COUNT + 1))
        );
        assert_eq!(
            with(|shape| shape.any_ports = u32::MAX),
            Err(BadShape::Ports(u32::MAX))
        );
        assert_eq!(
            with(|shape| shape.max_per_agent = Some(0)),
            Err(BadShape::NonePerAgent)
        );
        let is = read("rack", "IS", Some("a")).expect("good");
        assert_eq!(
            with(|shape| shape.constraints = vec![is; MAX_CONSTRAINTS + 1]),
            Err(BadShape::Constraints(MAX_CONSTRAINTS + 1))
        );
        let is = read("rack", "IS", Some("a")).expect("good");
        let halves = with(|shape| {
            shape.constraints = vec![is.clone(); MAX_CONSTRAINTS];
            shape.preferred = vec![is];
        });
        assert_eq!(halves, Err(BadShape::Constraints(MAX_CONSTRAINTS + 1)));
        let unique = Constraint::parse("rack", "UNIQUE", None).expect("good");
        assert_eq!(
            with(|shape| shape.constraints.push(unique)),
            Err(BadShapeConstraint::NotStatic("rack:UNIQUE".to_owned()).into())
        );
    }

    #[test]
    fn operators_that_compare_with_other_instances_are_refused_by_name() {
        for (operator, value) in [
            ("UNIQUE", None),
            ("CLUSTER", None),
            ("GROUP_BY", Some("3")),
            ("MAX_PER", Some("2")),
        ] {
            let refused = read("rack", operator, value).expect_err(operator);
            assert!(refused.to_string().contains(operator), "{refused}");
        }
        assert!(read("rack", "NEAR", Some("a")).is_err());
        assert!(read("rack", "LIKE", Some("((a{1000}){1000}){1000}")).is_err());
    }

    #[test]
    fn a_place_is_permitted_when_every_constraint_holds() {
        let mut shape = shape();
        for (field, operator, value) in [
            ("rack", "IS", "a"),
            ("hostname", "UNLIKE", "h1|h2"),
            ("@region", "CLUSTER", "eu"),
            ("disk", "LIKE", "ssd.*"),
        ] {
            let constraint = read(field, operator, Some(value)).expect("good");
            shape.constraints.push(constraint);
        }
        let mut attributes = Attributes::new();
        attributes.set("rack", AttributeValue::Text("a".into()));
        attributes.set("disk", AttributeValue::Text("ssd-2".into()));
        let domain = |region: &str| FaultDomain {
            region: region.to_owned(),
            zone: "z".to_owned(),
        };
        let (eu, us) = (domain("eu"), domain("us"));
        let place = |hostname, domain| Place {
            hostname,
            domain: Some(domain),
            attributes: &attributes,
        };

        assert_eq!(shape.permits(place("h3", &eu)), Ok(()));
        assert!(shape.prefers(place("h1", &us)), "nothing is preferred");
        assert_eq!(shape.permits(place("h1", &eu)), Err(&shape.constraints[1]));
        assert_eq!(shape.permits(place("h3", &us)), Err(&shape.constraints[2]));
        let bare = Attributes::new();
        let nowhere = Place {
            hostname: "h3",
            domain: None,
            attributes: &bare,
        };
        assert_eq!(shape.permits(nowhere), Err(&shape.constraints[0]));
    }
}
