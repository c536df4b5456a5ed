//! Which agents a framework wants offers of at all: Mesos' offer constraints.
//!
//! For each role there is a list of groups, of which one has to hold; in a group all constraints have to
//! hold. A constraint looks at one attribute (or host name, region, zone) of the agent. A predicate about
//! text holds for an attribute that is no text, and one that denies holds where there is no attribute, as
//! in Mesos.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use mete_model::AttributeValue;

use crate::constraints::{Field, Pattern, Place};

/// Constraints of one role, over all groups: what Marathon states for hundreds of apps at once.
pub const MAX_ATTRIBUTE_CONSTRAINTS: usize = 1_000;

/// What must be true of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// It is there.
    Exists,
    /// It is not there.
    NotExists,
    /// It is this text.
    TextEquals(String),
    /// It is not this text.
    TextNotEquals(String),
    /// The whole of it matches.
    TextMatches(Pattern),
    /// It does not match as a whole.
    TextNotMatches(Pattern),
}

impl Predicate {
    fn holds(&self, value: &Value<'_>) -> bool {
        match (self, value) {
            (Self::Exists, there) => *there != Value::Missing,
            (Self::NotExists, there) => *there == Value::Missing,
            (Self::TextEquals(_) | Self::TextMatches(_), Value::Missing) => false,
            (Self::TextNotEquals(_) | Self::TextNotMatches(_), Value::Missing) => true,
            (_, Value::NoText) => true,
            (Self::TextEquals(wanted), Value::Text(text)) => wanted == text,
            (Self::TextNotEquals(unwanted), Value::Text(text)) => unwanted != text,
            (Self::TextMatches(pattern), Value::Text(text)) => pattern.matches(text),
            (Self::TextNotMatches(pattern), Value::Text(text)) => !pattern.matches(text),
        }
    }
}

/// What an agent has in a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value<'a> {
    Missing,
    NoText,
    Text(&'a str),
}

/// One constraint: what it looks at, and what must be true of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttributeConstraint {
    /// What it looks at.
    pub field: Field,
    /// What must be true of it.
    pub predicate: Predicate,
}

impl AttributeConstraint {
    /// Whether it holds at a place.
    pub fn holds(&self, place: Place<'_>) -> bool {
        let value = match &self.field {
            Field::Hostname => Value::Text(place.hostname),
            Field::Region => place
                .domain
                .map_or(Value::Missing, |domain| Value::Text(&domain.region)),
            Field::Zone => place
                .domain
                .map_or(Value::Missing, |domain| Value::Text(&domain.zone)),
            Field::Attribute(name) => match place.attributes.get(name) {
                None => Value::Missing,
                Some(AttributeValue::Text(text)) => Value::Text(text),
                Some(AttributeValue::Scalar(_) | AttributeValue::Ranges(_)) => Value::NoText,
            },
        };
        self.predicate.holds(&value)
    }

    /// What a place has in the field it looks at, for people; `None` when it has nothing.
    pub fn found<'a>(&self, place: Place<'a>) -> Option<Cow<'a, str>> {
        self.field.value(place)
    }
}

/// As a sentence without a verb of its own: `rack equals "a"`.
impl fmt::Display for AttributeConstraint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.field.as_str())?;
        match &self.predicate {
            Predicate::Exists => f.write_str(" exists"),
            Predicate::NotExists => f.write_str(" does not exist"),
            Predicate::TextEquals(text) => write!(f, " equals {text:?}"),
            Predicate::TextNotEquals(text) => write!(f, " does not equal {text:?}"),
            Predicate::TextMatches(pattern) => write!(f, " matches {:?}", pattern.as_str()),
            Predicate::TextNotMatches(pattern) => {
                write!(f, " does not match {:?}", pattern.as_str())
            }
        }
    }
}

/// The constraints of one role. Cheap to copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfferConstraints {
    groups: Arc<[Vec<AttributeConstraint>]>,
}

/// Why groups are no offer constraints (the first two are rules of Mesos).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadOfferConstraints {
    /// Nothing could ever hold.
    #[error("there are no groups; leave the role out to be offered every agent")]
    NoGroups,
    /// Everything would hold.
    #[error("group {0} has no constraints; leave the role out to be offered every agent")]
    EmptyGroup(usize),
    /// More than can be meant.
    #[error("there are {0} constraints, at most {MAX_ATTRIBUTE_CONSTRAINTS} are allowed")]
    TooMany(usize),
}

impl OfferConstraints {
    /// One of the groups has to hold, and in it everything.
    ///
    /// # Errors
    /// [`BadOfferConstraints`] when there is no group, an empty one, or too much.
    pub fn new(groups: Vec<Vec<AttributeConstraint>>) -> Result<Self, BadOfferConstraints> {
        if groups.is_empty() {
            return Err(BadOfferConstraints::NoGroups);
        }
        if let Some(at) = groups.iter().position(Vec::is_empty) {
            return Err(BadOfferConstraints::EmptyGroup(at));
        }
        let count = groups.iter().map(Vec::len).sum();
        if count > MAX_ATTRIBUTE_CONSTRAINTS {
            return Err(BadOfferConstraints::TooMany(count));
        }
        Ok(Self {
            groups: groups.into(),
        })
    }

    /// Whether an agent may be offered.
    pub fn allow(&self, place: Place<'_>) -> bool {
        self.why_not(place).is_none()
    }

    /// What keeps an agent from being offered: of each group the first constraint that does not hold.
    /// `None` when it may be offered.
    pub fn why_not(&self, place: Place<'_>) -> Option<Vec<&AttributeConstraint>> {
        self.groups
            .iter()
            .map(|group| group.iter().find(|constraint| !constraint.holds(place)))
            .collect()
    }

    /// The groups.
    pub fn groups(&self) -> impl Iterator<Item = &[AttributeConstraint]> {
        self.groups.iter().map(Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use mete_model::{Attributes, FaultDomain};

    use super::*;

    fn constraint(field: &str, predicate: Predicate) -> AttributeConstraint {
        AttributeConstraint {
            field: Field::from_name(field),
            predicate,
        }
    }

    fn pattern(text: &str) -> Pattern {
        Pattern::new(text).expect("good")
    }

    /// Every predicate, about the text `a`.
    fn all() -> [Predicate; 6] {
        [
            Predicate::Exists,
            Predicate::NotExists,
            Predicate::TextEquals("a".to_owned()),
            Predicate::TextNotEquals("a".to_owned()),
            Predicate::TextMatches(pattern("a+")),
            Predicate::TextNotMatches(pattern("a+")),
        ]
    }

    fn hold(field: &str, place: Place<'_>) -> [bool; 6] {
        all().map(|predicate| constraint(field, predicate).holds(place))
    }

    fn attributes() -> Attributes {
        let mut attributes = Attributes::new();
        attributes.set("same", AttributeValue::Text("a".into()));
        attributes.set("longer", AttributeValue::Text("aa".into()));
        attributes.set("number", AttributeValue::Scalar(1_000));
        attributes
    }

    #[test]
    fn predicates_hold_as_in_mesos() {
        let attributes = attributes();
        let place = Place {
            hostname: "a",
            domain: None,
            attributes: &attributes,
        };

        assert_eq!(hold("same", place), [true, false, true, false, true, false]);
        assert_eq!(
            hold("longer", place),
            [true, false, false, true, true, false]
        );
        assert_eq!(hold("number", place), [true, false, true, true, true, true]);
        assert_eq!(
            hold("missing", place),
            [false, true, false, true, false, true]
        );
        assert_eq!(
            hold("@hostname", place),
            [true, false, true, false, true, false]
        );
        assert_eq!(hold("@region", place), hold("missing", place));
    }

    #[test]
    fn region_and_zone_are_compared() {
        let attributes = Attributes::new();
        let domain = FaultDomain {
            region: "a".to_owned(),
            zone: "b".to_owned(),
        };
        let place = Place {
            hostname: "h",
            domain: Some(&domain),
            attributes: &attributes,
        };

        assert_eq!(
            hold("@region", place),
            [true, false, true, false, true, false]
        );
        assert_eq!(
            hold("@zone", place),
            [true, false, false, true, false, true]
        );
    }

    #[test]
    fn one_group_is_enough_and_all_of_it_is_needed() {
        let equals =
            |field: &str, text: &str| constraint(field, Predicate::TextEquals(text.to_owned()));
        let constraints = OfferConstraints::new(vec![
            vec![equals("same", "a"), equals("longer", "b")],
            vec![equals("same", "b")],
        ])
        .expect("good");
        let attributes = attributes();
        let place = Place {
            hostname: "h",
            domain: None,
            attributes: &attributes,
        };

        assert!(!constraints.allow(place));
        let why: Vec<String> = constraints
            .why_not(place)
            .expect("refused")
            .into_iter()
            .map(ToString::to_string)
            .collect();
        assert_eq!(why, [r#"longer equals "b""#, r#"same equals "b""#]);

        let either = OfferConstraints::new(vec![
            vec![equals("same", "b")],
            vec![equals("same", "a"), equals("longer", "aa")],
        ]);
        assert!(either.expect("good").allow(place));
    }

    #[test]
    fn what_could_never_or_would_always_hold_is_refused() {
        let exists = constraint("rack", Predicate::Exists);

        assert_eq!(
            OfferConstraints::new(Vec::new()),
            Err(BadOfferConstraints::NoGroups)
        );
        assert_eq!(
            OfferConstraints::new(vec![vec![exists.clone()], Vec::new()]),
            Err(BadOfferConstraints::EmptyGroup(1))
        );
        let many = MAX_ATTRIBUTE_CONSTRAINTS + 1;
        assert_eq!(
            OfferConstraints::new(vec![vec![exists]; many]),
            Err(BadOfferConstraints::TooMany(many))
        );
    }
}
