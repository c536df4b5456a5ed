//! What a framework waits to run: the call DEMAND.

use std::sync::Arc;

use mete_model::Role;
use mete_placement::constraints::{Constraint, MAX_STATED_BYTES, Patterns};
use mete_placement::demand::{self, BadShapeConstraint, Shape, Takes};

use super::{ConvertError, Within as _, resources, role};
use crate::mesos::v1::scheduler::call;

/// Every shape of a demand, most urgent first.
///
/// # Errors
/// Names the field and the value that cannot be meant.
pub fn from_wire(demand: &call::Demand) -> Result<Vec<Shape>, ConvertError> {
    let mut patterns = Patterns::default();
    let shapes = demand.shapes.iter().enumerate();
    shapes
        .map(|(at, message)| shape(message, &mut patterns).within(format_args!("shapes[{at}]")))
        .collect()
}

/// The demand for these shapes.
pub fn to_wire(shapes: &[Shape]) -> call::Demand {
    call::Demand {
        shapes: shapes.iter().map(message).collect(),
    }
}

fn shape(message: &call::Shape, patterns: &mut Patterns) -> Result<Shape, ConvertError> {
    let constraints = constraints_from(&message.constraints, "constraints", patterns)?;
    let preferred = constraints_from(&message.preferred, "preferred", patterns)?;
    let shape = Shape {
        name: message.name.clone(),
        role: message
            .role
            .as_deref()
            .map(|name| role("role", name))
            .transpose()?,
        resources: resources::from_wire(&message.resources)?,
        any_ports: message.any_ports.unwrap_or(0),
        constraints,
        preferred,
        max_per_agent: message.max_per_agent,
        takes: takes(message)?,
        count: message.count.unwrap_or(1),
    };
    checked(shape, message.constraints.len() + message.preferred.len())
}

fn takes(message: &call::Shape) -> Result<Takes, ConvertError> {
    let says = |word: Option<bool>| word.unwrap_or(false);
    match (says(message.unreserved), says(message.reserved)) {
        (false, false) => Ok(Takes::Any),
        (true, false) => Ok(Takes::Unreserved),
        (false, true) => Ok(Takes::Reserved),
        (true, true) => Err(ConvertError::bad_ask("reserved", &TakesNothing)),
    }
}

/// Nothing is both.
#[derive(Debug, thiserror::Error)]
#[error("it is to take nothing that is reserved and nothing else: that is nothing")]
struct TakesNothing;

fn constraints_from(
    messages: &[call::shape::Constraint],
    field: &str,
    patterns: &mut Patterns,
) -> Result<Vec<Constraint>, ConvertError> {
    // The check of the shape refuses more; no need to read them all.
    let messages = messages.iter().take(demand::MAX_CONSTRAINTS).enumerate();
    let read = messages.map(|(at, message)| {
        let read = constraint_from(message, patterns);
        read.map_err(|bad| ConvertError::bad_ask(format!("{field}[{at}]"), &bad))
    });
    read.collect()
}

/// The shape, if it can be meant.
fn checked(shape: Shape, constraints: usize) -> Result<Shape, ConvertError> {
    let named = |path: &str, bad: &demand::BadShape| ConvertError::bad_ask(path, bad);
    if constraints > demand::MAX_CONSTRAINTS {
        let bad = demand::BadShape::Constraints(constraints);
        return Err(named("constraints", &bad));
    }
    shape.check().map_err(|bad| {
        let path = match &bad {
            demand::BadShape::Name(_) => "name",
            demand::BadShape::Empty | demand::BadShape::Gpus(_) => "resources",
            demand::BadShape::Count(_) => "count",
            demand::BadShape::Ports(_) => "any_ports",
            demand::BadShape::NonePerAgent => "max_per_agent",
            demand::BadShape::Constraints(_) | demand::BadShape::NotStatic(_) => "constraints",
        };
        named(path, &bad)
    })?;
    Ok(shape)
}

fn message(shape: &Shape) -> call::Shape {
    call::Shape {
        name: shape.name.clone(),
        resources: resources::to_wire(&shape.resources),
        count: Some(shape.count),
        constraints: shape.constraints.iter().map(constraint).collect(),
        preferred: shape.preferred.iter().map(constraint).collect(),
        role: shape.role.as_ref().map(Role::to_string),
        any_ports: Some(shape.any_ports).filter(|ports| *ports > 0),
        max_per_agent: shape.max_per_agent,
        unreserved: (shape.takes == Takes::Unreserved).then_some(true),
        reserved: (shape.takes == Takes::Reserved).then_some(true),
    }
}

fn constraint_from(
    message: &call::shape::Constraint,
    patterns: &mut Patterns,
) -> Result<Constraint, BadShapeConstraint> {
    let call::shape::Constraint {
        field,
        operator,
        value,
        stated,
    } = message;
    if let Some(long) = stated.as_ref().filter(|text| text.len() > MAX_STATED_BYTES) {
        return Err(BadShapeConstraint::Stated(long.len()));
    }
    Ok(Constraint {
        stated: stated.as_deref().map(Arc::from),
        ..demand::constraint(field, operator, value.as_deref(), patterns)?
    })
}

fn constraint(constraint: &Constraint) -> call::shape::Constraint {
    let (operator, value) = constraint.words();
    call::shape::Constraint {
        field: constraint.field.as_str().to_owned(),
        operator: operator.to_owned(),
        value: value.map(std::borrow::Cow::into_owned),
        stated: constraint.stated.as_deref().map(str::to_owned),
    }
}
