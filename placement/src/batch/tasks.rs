//! Tasks laid onto what agents or offers have free.
//!
//! What tasks ask becomes a vector: scalars, ports by count, and as 0 or 1 what only one task can have or only
//! some bins offer (a port asked twice, a GPU by more than half, a class of tasks that may not go everywhere).
//! Vectors cannot say all, such as which parts share a GPU; therefore [`TaskPlan::layout`] takes everything
//! exactly, device by device, and finds another place for what does not fit after all.

mod columns; // the dimensions, and what asks and bins are in each
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use mete_model::Resources;

use super::{BadSizes, Plan, improve};
use columns::Columns;

/// A task to be placed.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ask {
    /// What it takes; GPUs without saying which.
    pub resources: Resources,
    /// Tasks of one class may go to the same bins. The caller numbers them; zero is as good as any.
    pub class: u32,
}

/// A plan of tasks, to be improved in steps.
#[derive(Clone, Debug)]
pub struct TaskPlan {
    asks: Vec<Ask>,
    free: Vec<Resources>,
    plan: Plan,
}

/// Where each task goes. Every task is in it once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Task, bin, and what it takes there, with its GPUs chosen; in the order of the tasks.
    pub placed: Vec<(usize, usize, Resources)>,
    /// Tasks without a place, in order.
    pub unplaced: Vec<usize>,
}

impl TaskPlan {
    /// Places as many of `asks` as possible where `permit(class, bin)` and what is `free` allow, and then on as
    /// few bins as possible. What a bin has reserved counts only for asks of the same reservation: callers that
    /// mean the whole hand in [`Resources::flat`].
    ///
    /// # Errors
    /// When there are more tasks or bins than can be numbered.
    pub fn new(
        asks: Vec<Ask>,
        free: Vec<Resources>,
        permit: impl Fn(u32, usize) -> bool,
    ) -> Result<Self, BadSizes> {
        let columns = Columns::of(&asks, free.len(), permit);
        let items = asks.iter().map(|ask| columns.asked(ask)).collect();
        let bins = free.iter().enumerate();
        let bins = bins.map(|(bin, free)| columns.offered(bin, free)).collect();
        let plan = Plan::on_bins(items, bins)?;
        Ok(Self { asks, free, plan })
    }

    /// As [`improve`](super::improve).
    pub fn improve(&mut self, steps: u64, seed: u64) -> bool {
        improve(&mut self.plan, steps, seed)
    }

    /// The plan by numbers.
    pub const fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The plan as it can be carried out, everything taken exactly. `permit` is the same as in
    /// [`new`](Self::new).
    pub fn layout(&self, permit: impl Fn(u32, usize) -> bool) -> Layout {
        let mut left = self.free.clone();
        let mut layout = Layout::default();
        let mut homeless: Vec<usize> = Vec::new();
        let mut used = vec![false; left.len()];
        for (bin, items) in self.plan.bins() {
            used[bin] = true;
            for task in self.most_gpus_first(items) {
                let ask = &self.asks[task];
                let taken = permit(ask.class, bin)
                    .then(|| take(&mut left[bin], &ask.resources))
                    .flatten();
                match taken {
                    Some(taken) => layout.placed.push((task, bin, taken)),
                    None => homeless.push(task),
                }
            }
        }
        let others = self.plan.unplaced().iter().chain(self.plan.too_big());
        homeless.extend(others.map(|&task| task as usize));
        homeless.sort_unstable();
        // Bins in use first, so that no other is begun without need.
        let mut order: Vec<usize> = (0..left.len()).collect();
        order.sort_by_key(|&bin| (!used[bin], bin));
        let mut hopeless: BTreeSet<&Ask> = BTreeSet::new();
        for task in homeless {
            let ask = &self.asks[task];
            let mut bins = order.iter().filter(|&&bin| permit(ask.class, bin));
            let place = if hopeless.contains(ask) {
                None
            } else {
                bins.find_map(|&bin| Some((bin, take(&mut left[bin], &ask.resources)?)))
            };
            if let Some((bin, taken)) = place {
                layout.placed.push((task, bin, taken));
            } else {
                // What is left only shrinks: an equal ask need not look again.
                hopeless.insert(ask);
                layout.unplaced.push(task);
            }
        }
        layout.placed.sort_unstable_by_key(|(task, ..)| *task);
        layout
    }

    /// Whole GPUs before parts and large parts before small ones: that order wastes least of the devices.
    fn most_gpus_first(&self, items: &[u32]) -> Vec<usize> {
        let mut tasks: Vec<usize> = items.iter().map(|&item| item as usize).collect();
        let gpus = |task: usize| self.asks[task].resources.gpus_milli;
        tasks.sort_unstable_by_key(|&task| (std::cmp::Reverse(gpus(task)), task));
        tasks
    }
}

/// Takes what is asked, with its GPUs chosen; `None` and no change when it is not there.
fn take(left: &mut Resources, asked: &Resources) -> Option<Resources> {
    if !left.contains(asked) {
        return None;
    }
    let pinned = left.pin(asked)?;
    *left = left.minus(&pinned)?;
    Some(pinned)
}
