//! What makes a part of resources special: for whom it is reserved, whether it may be withdrawn or used
//! by several tasks at once, and whether it is a volume.

use std::collections::BTreeSet;
use std::fmt;

use crate::framework::Capability;
use crate::role::Role;

/// Most reservations on top of one another. Roles are paths of at most 255 bytes, deep ones are rare.
pub const MAX_RESERVATIONS: usize = 32;

/// What makes a part of resources special. The default is nothing: plain resources.
///
/// Two parts can be added only if their tags are equal, labels and principals included, as in Mesos.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Tag {
    /// For whom, as a stack: the role of each stands strictly below that of the one before, only the first
    /// may be static. Empty: unreserved.
    pub reservations: Vec<Reservation>,
    /// May be withdrawn from who uses it.
    pub revocable: bool,
    /// May be used by several tasks at once; only volumes are.
    pub shared: bool,
    /// What is kept on the disk, when it is.
    pub volume: Option<Volume>,
}

/// One reservation of a stack.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Reservation {
    /// For whom; never `*`.
    pub role: Role,
    /// Who made it so.
    pub kind: ReservationKind,
    /// Who reserved it, when that is known.
    pub principal: Option<String>,
    /// For people and tools; a label may have no value.
    pub labels: Vec<(String, Option<String>)>,
}

/// Who reserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReservationKind {
    /// The agent, when it starts.
    Static,
    /// A framework or an operator, while the agent runs.
    Dynamic,
}

/// Disk whose content outlives tasks. Indivisible: it is taken whole or not at all.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Volume {
    /// Unique among the volumes of its agent and role.
    pub id: String,
    /// Where tasks find it.
    pub container_path: String,
    /// Whether tasks may only read it.
    pub read_only: bool,
    /// Who created it, when that is known.
    pub principal: Option<String>,
}

/// Why a stack of reservations cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadStack {
    /// Everybody's cannot be somebody's.
    #[error("role \"*\" cannot be reserved for")]
    AnyRole,
    /// A refinement is for a role further down.
    #[error("reservation for role \"{below}\" is not strictly below that for role \"{above}\"")]
    NotBelow {
        /// The reservation refined.
        above: Role,
        /// The refinement.
        below: Role,
    },
    /// A static reservation refines nothing.
    #[error("static reservation for role \"{0}\" refines another; only the first may be static")]
    StaticRefinement(Role),
    /// Too many.
    #[error("{0} reservations on top of one another; at most {MAX_RESERVATIONS}")]
    TooDeep(usize),
}

impl Tag {
    /// Statically reserved for a role.
    pub fn reserved(role: Role) -> Self {
        Self {
            reservations: vec![Reservation {
                role,
                kind: ReservationKind::Static,
                principal: None,
                labels: Vec::new(),
            }],
            ..Self::default()
        }
    }

    /// Whether nothing is special.
    pub fn is_plain(&self) -> bool {
        self.reservations.is_empty() && !self.revocable && !self.shared && self.volume.is_none()
    }

    /// Whom it is reserved for in the end; `None` when unreserved.
    pub fn role(&self) -> Option<&Role> {
        self.reservations.last().map(|last| &last.role)
    }

    /// Whether a role may have it: unreserved, or reserved for that role or one above it.
    pub fn is_for(&self, role: &Role) -> bool {
        self.role().is_none_or(|reserved| role.is_within(reserved))
    }

    /// Whether a framework with these capabilities knows what it gets.
    pub fn is_understood_by(&self, capabilities: &BTreeSet<Capability>) -> bool {
        let can = |capability| capabilities.contains(&capability);
        (!self.revocable || can(Capability::RevocableResources))
            && (!self.shared || can(Capability::SharedResources))
            && (!self.is_refined() || can(Capability::ReservationRefinement))
    }

    /// Whether an agent does not know of it by itself: reserved while it ran, or a volume.
    pub fn is_made_at_run_time(&self) -> bool {
        let dynamic = |one: &Reservation| one.kind == ReservationKind::Dynamic;
        self.volume.is_some() || self.reservations.iter().any(dynamic)
    }

    /// Whether both are one volume. Where tasks find it and whether they may write is for each of them to say.
    pub fn is_same_volume(&self, other: &Self) -> bool {
        let (Some(one), Some(two)) = (&self.volume, &other.volume) else {
            return false;
        };
        one.id == two.id
            && one.principal == two.principal
            && self.shared == other.shared
            && self.revocable == other.revocable
            && self.reservations == other.reservations
    }

    /// What it was made of at run time: without dynamic reservations, no volume.
    #[must_use]
    pub fn as_the_agent_has_it(&self) -> Self {
        let is_static = |one: &&Reservation| one.kind == ReservationKind::Static;
        Self {
            reservations: self
                .reservations
                .iter()
                .filter(is_static)
                .cloned()
                .collect(),
            revocable: self.revocable,
            shared: false,
            volume: None,
        }
    }

    /// Whether whoever reserved it keeps it for something of their own, which the labels name.
    pub fn is_labelled(&self) -> bool {
        self.reservations.iter().any(|one| !one.labels.is_empty())
    }

    /// Whether a reservation refines another.
    pub const fn is_refined(&self) -> bool {
        self.reservations.len() > 1
    }

    /// Checks the rules of the stack.
    ///
    /// # Errors
    /// [`BadStack`] names the roles that do not fit.
    pub fn check_stack(&self) -> Result<(), BadStack> {
        if self.reservations.len() > MAX_RESERVATIONS {
            return Err(BadStack::TooDeep(self.reservations.len()));
        }
        if self.reservations.iter().any(|one| one.role == Role::any()) {
            return Err(BadStack::AnyRole);
        }
        for two in self.reservations.windows(2) {
            let (above, below) = (&two[0], &two[1]);
            if below.role == above.role || !below.role.is_within(&above.role) {
                return Err(BadStack::NotBelow {
                    above: above.role.clone(),
                    below: below.role.clone(),
                });
            }
            if below.kind == ReservationKind::Static {
                return Err(BadStack::StaticRefinement(below.role.clone()));
            }
        }
        Ok(())
    }
}

impl ReservationKind {
    /// The name on the wire: `STATIC`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Static => "STATIC",
            Self::Dynamic => "DYNAMIC",
        }
    }
}

/// What stands between name and quantity, as Mesos prints it:
/// `(reservations: [(STATIC,prod),(DYNAMIC,prod/web,ops)])[id:path]{REV}<SHARED>`.
impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, one) in self.reservations.iter().enumerate() {
            f.write_str(if at == 0 { "(reservations: [" } else { "," })?;
            write!(f, "({},{}", one.kind.as_str(), one.role)?;
            if let Some(principal) = &one.principal {
                write!(f, ",{principal}")?;
            }
            f.write_str(")")?;
        }
        if !self.reservations.is_empty() {
            f.write_str("])")?;
        }
        if let Some(volume) = &self.volume {
            let mode = if volume.read_only { ":ro" } else { "" };
            write!(f, "[{}:{}{mode}]", volume.id, volume.container_path)?;
        }
        if self.revocable {
            f.write_str("{REV}")?;
        }
        if self.shared {
            f.write_str("<SHARED>")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(text: &str) -> Role {
        Role::new(text).expect("good")
    }

    fn stack(kinds: &[(&str, ReservationKind)]) -> Tag {
        let reservations = kinds.iter().map(|&(path, kind)| Reservation {
            role: role(path),
            kind,
            principal: None,
            labels: Vec::new(),
        });
        Tag {
            reservations: reservations.collect(),
            ..Tag::default()
        }
    }

    #[test]
    fn a_stack_goes_down_the_tree_and_only_its_first_is_static() {
        use ReservationKind::{Dynamic, Static};

        assert_eq!(
            stack(&[("a", Static), ("a/b", Dynamic)]).check_stack(),
            Ok(())
        );
        for bad in [
            vec![("*", Dynamic)],
            vec![("a", Dynamic), ("a", Dynamic)],
            vec![("a", Dynamic), ("b", Dynamic)],
            vec![("a/b", Dynamic), ("a", Dynamic)],
            vec![("a", Dynamic), ("ab", Dynamic)],
            vec![("a", Dynamic), ("a/b", Static)],
        ] {
            assert!(stack(&bad).check_stack().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn what_is_reserved_is_for_the_role_and_those_below() {
        use ReservationKind::Dynamic;
        let tag = stack(&[("a", Dynamic), ("a/b", Dynamic)]);

        assert!(tag.is_for(&role("a/b")) && tag.is_for(&role("a/b/c")));
        assert!(!tag.is_for(&role("a")) && !tag.is_for(&role("a/bc")));
        assert!(Tag::default().is_for(&role("a")));
    }

    #[test]
    fn a_tag_prints_as_mesos_prints_it() {
        let mut tag = Tag::reserved(role("prod"));
        tag.reservations.push(Reservation {
            role: role("prod/web"),
            kind: ReservationKind::Dynamic,
            principal: Some("ops".into()),
            labels: Vec::new(),
        });
        tag.volume = Some(Volume {
            id: "v1".into(),
            container_path: "data".into(),
            read_only: false,
            principal: None,
        });

        assert_eq!(
            tag.to_string(),
            "(reservations: [(STATIC,prod),(DYNAMIC,prod/web,ops)])[v1:data]"
        );
    }
}
