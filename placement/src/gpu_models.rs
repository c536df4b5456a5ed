//! Models of GPUs: machines with GPUs are told apart by them, so that packing can spare scarce ones. Both levels
//! number them as they come.

use std::collections::BTreeMap;
use std::sync::Arc;

use mete_model::{AttributeValue, Attributes, Resources};

use crate::constraints::{Constraint, Field, Place};
use crate::packing::Groups;

/// The attribute that says which model an agent's GPUs are of.
pub const GPU_MODEL: &str = "gpu_model";

/// Those seen so far, each with its number; there are a handful.
#[derive(Clone, Debug, Default)]
pub(crate) struct GpuModels {
    numbers: BTreeMap<String, u16>,
}

impl GpuModels {
    /// The [group](crate::packing::Node::group) of a machine: zero without GPUs. GPUs of which no model is said are of one
    /// kind.
    pub(crate) fn group_of(&mut self, total: &Resources, attributes: &Attributes) -> u16 {
        if total.gpus_milli == 0 {
            return 0;
        }
        let model = attributes
            .get(GPU_MODEL)
            .map_or_else(String::new, ToString::to_string);
        let next = u16::try_from(self.numbers.len() + 1).unwrap_or(0);
        *self.numbers.entry(model).or_insert(next)
    }

    /// On which of them a task may go, as far as its constraints look at [`GPU_MODEL`].
    pub(crate) fn groups_for(&self, constraints: &[Constraint]) -> Groups {
        let model = Field::from_name(GPU_MODEL);
        if constraints.iter().all(|one| one.field != model) {
            return Groups::ANY;
        }
        let may = |name: &str| {
            let mut attributes = Attributes::new();
            attributes.set(GPU_MODEL, AttributeValue::Text(Arc::from(name)));
            let place = Place {
                hostname: "",
                domain: None,
                attributes: &attributes,
            };
            let mut of_model = constraints.iter().filter(|one| one.field == model);
            of_model.all(|one| one.holds(place))
        };
        let known = self.numbers.iter().filter(|(name, _)| may(name));
        known.map(|(_, group)| *group).collect()
    }
}
