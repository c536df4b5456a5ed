//! Which agents a framework wants offers of: `OfferConstraints`, in SUBSCRIBE and UPDATE_FRAMEWORK.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::Role;
use mete_placement::constraints::{BadPattern, Field, Pattern, Patterns};
use mete_placement::offer_constraints::{
    AttributeConstraint, MAX_ATTRIBUTE_CONSTRAINTS, OfferConstraints, Predicate,
};

use super::{ConvertError, Within as _, role};
use crate::mesos::v1::scheduler as wire;
use wire::attribute_constraint::predicate::{self, Predicate as WirePredicate};
use wire::attribute_constraint::selector::{PseudoattributeType, Selector};
use wire::offer_constraints::RoleConstraints;
use wire::offer_constraints::role_constraints::Group;

/// The constraints by role; a role that is not in it is offered every agent.
///
/// # Errors
/// Names the field and the value that cannot be meant.
pub fn from_wire(
    constraints: Option<&wire::OfferConstraints>,
) -> Result<BTreeMap<Role, OfferConstraints>, ConvertError> {
    let mut patterns = Patterns::default();
    let mut by_role = BTreeMap::new();
    let entries = constraints
        .into_iter()
        .flat_map(|constraints| &constraints.role_constraints);
    for (name, entry) in entries {
        let path = format!("role_constraints[{name:?}]");
        let constraints = of_role(entry, &mut patterns).within(&path)?;
        by_role.insert(role(path, name)?, constraints);
    }
    Ok(by_role)
}

/// The same as a message; `None` when there are none.
pub fn to_wire(by_role: &BTreeMap<Role, OfferConstraints>) -> Option<wire::OfferConstraints> {
    let entry = |(role, constraints): (&Role, &OfferConstraints)| {
        let groups = constraints.groups().map(|group| Group {
            attribute_constraints: group.iter().map(constraint_to_wire).collect(),
        });
        let groups = groups.collect();
        (role.to_string(), RoleConstraints { groups })
    };
    (!by_role.is_empty()).then(|| wire::OfferConstraints {
        role_constraints: by_role.iter().map(entry).collect(),
    })
}

fn constraint_to_wire(constraint: &AttributeConstraint) -> wire::AttributeConstraint {
    let pseudo = |kind: PseudoattributeType| Selector::PseudoattributeType(kind.into());
    let selector = match &constraint.field {
        Field::Hostname => pseudo(PseudoattributeType::Hostname),
        Field::Region => pseudo(PseudoattributeType::Region),
        Field::Zone => pseudo(PseudoattributeType::Zone),
        Field::Attribute(name) => Selector::AttributeName(name.to_string()),
    };
    let value = String::clone;
    let regex = |pattern: &Pattern| pattern.as_str().to_owned();
    let predicate = match &constraint.predicate {
        Predicate::Exists => WirePredicate::Exists(predicate::Exists {}),
        Predicate::NotExists => WirePredicate::NotExists(predicate::NotExists {}),
        Predicate::TextEquals(text) => {
            let value = value(text);
            WirePredicate::TextEquals(predicate::TextEquals { value })
        }
        Predicate::TextNotEquals(text) => {
            let value = value(text);
            WirePredicate::TextNotEquals(predicate::TextNotEquals { value })
        }
        Predicate::TextMatches(pattern) => {
            let regex = regex(pattern);
            WirePredicate::TextMatches(predicate::TextMatches { regex })
        }
        Predicate::TextNotMatches(pattern) => {
            let regex = regex(pattern);
            WirePredicate::TextNotMatches(predicate::TextNotMatches { regex })
        }
    };
    wire::AttributeConstraint {
        selector: wire::attribute_constraint::Selector {
            selector: Some(selector),
        },
        predicate: wire::attribute_constraint::Predicate {
            predicate: Some(predicate),
        },
    }
}

fn of_role(
    entry: &wire::offer_constraints::RoleConstraints,
    patterns: &mut Patterns,
) -> Result<OfferConstraints, ConvertError> {
    let mut groups = Vec::with_capacity(entry.groups.len().min(MAX_ATTRIBUTE_CONSTRAINTS));
    let mut left = MAX_ATTRIBUTE_CONSTRAINTS;
    for (at, group) in entry.groups.iter().enumerate() {
        let constraints = &group.attribute_constraints;
        let Some(rest) = left.checked_sub(constraints.len()) else {
            let rule = "one role has at most 1000 attribute constraints";
            return Err(ConvertError::bad_value("groups", entry.groups.len(), rule));
        };
        left = rest;
        let read = constraints.iter().enumerate().map(|(number, message)| {
            constraint(message, patterns).within(format_args!("attribute_constraints[{number}]"))
        });
        let read: Result<Vec<_>, _> = read.collect();
        groups.push(read.within(format_args!("groups[{at}]"))?);
    }
    OfferConstraints::new(groups).map_err(|bad| ConvertError::bad_ask("groups", &bad))
}

fn constraint(
    message: &wire::AttributeConstraint,
    patterns: &mut Patterns,
) -> Result<AttributeConstraint, ConvertError> {
    let predicate = message.predicate.predicate.as_ref();
    Ok(AttributeConstraint {
        field: field(message.selector.selector.as_ref()).within("selector")?,
        predicate: predicate_of(predicate, patterns).within("predicate")?,
    })
}

fn field(selector: Option<&Selector>) -> Result<Field, ConvertError> {
    match selector {
        None => Err(ConvertError::missing("attribute_name")),
        // Not by name: an attribute may be called `hostname`.
        Some(Selector::AttributeName(name)) => Ok(Field::Attribute(Arc::from(name.as_str()))),
        Some(Selector::PseudoattributeType(number)) => {
            match PseudoattributeType::try_from(*number) {
                Ok(PseudoattributeType::Hostname) => Ok(Field::Hostname),
                Ok(PseudoattributeType::Region) => Ok(Field::Region),
                Ok(PseudoattributeType::Zone) => Ok(Field::Zone),
                Ok(PseudoattributeType::Unknown) | Err(_) => Err(ConvertError::bad_value(
                    "pseudoattribute_type",
                    number,
                    "there are HOSTNAME (1), REGION (2) and ZONE (3)",
                )),
            }
        }
    }
}

fn predicate_of(
    predicate: Option<&WirePredicate>,
    patterns: &mut Patterns,
) -> Result<Predicate, ConvertError> {
    Ok(match predicate {
        None => return Err(ConvertError::missing("exists")),
        Some(WirePredicate::Exists(_)) => Predicate::Exists,
        Some(WirePredicate::NotExists(_)) => Predicate::NotExists,
        Some(WirePredicate::TextEquals(text)) => Predicate::TextEquals(text.value.clone()),
        Some(WirePredicate::TextNotEquals(text)) => Predicate::TextNotEquals(text.value.clone()),
        Some(WirePredicate::TextMatches(text)) => {
            Predicate::TextMatches(pattern("text_matches.regex", &text.regex, patterns)?)
        }
        Some(WirePredicate::TextNotMatches(text)) => {
            Predicate::TextNotMatches(pattern("text_not_matches.regex", &text.regex, patterns)?)
        }
    })
}

fn pattern(path: &str, regex: &str, patterns: &mut Patterns) -> Result<Pattern, ConvertError> {
    patterns
        .read(regex)
        .map_err(|bad| ConvertError::bad_ask(path, &BadRegex { regex, bad }))
}

/// A regular expression that is refused, at most its beginning, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot use the pattern {:?}: {bad}", .regex.chars().take(super::SHOWN_CHARS).collect::<String>())]
struct BadRegex<'a> {
    regex: &'a str,
    bad: BadPattern,
}
