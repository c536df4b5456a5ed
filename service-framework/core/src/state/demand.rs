//! What waits for offers, as the master is told it: a shape for each app, and one for each instance that waits for what it
//! holds; those that wait the longest first.
//!
//! Kept up app by app, so that a step that touches none of those that wait costs nothing.

use std::collections::BTreeMap;

use mete_model::Timestamp;
use mete_placement::Shape;
use mete_placement::demand::MAX_SHAPES;

use crate::spec::app::AppId;

/// Instances of one app that may be launched now, or something that is to be given back.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Need {
    /// When the first of them began to wait.
    pub(crate) since: Timestamp,
    pub(crate) shape: Shape,
}

/// What waits, and what of it the master knows.
#[derive(Clone, Debug, Default)]
pub(crate) struct Demand {
    needs: BTreeMap<AppId, Vec<Need>>,
    /// Something has changed since [`Self::told`].
    is_changed: bool,
    told: Told,
}

/// What the master knows of what waits.
#[derive(Clone, Debug, Default)]
enum Told {
    /// Nothing: the link is a new one.
    #[default]
    Nothing,
    /// What it was told, less some that was launched since: it counts that off by itself.
    Less,
    /// Just this.
    These(Vec<Shape>),
}

impl Demand {
    /// Notes what waits of an app now.
    pub(crate) fn note(&mut self, app: &AppId, needs: Vec<Need>) {
        let before = self.needs.get(app).map_or(&[] as &[Need], Vec::as_slice);
        if before == needs {
            return;
        }
        self.is_changed = true;
        if needs.is_empty() {
            self.needs.remove(app);
        } else {
            self.needs.insert(app.clone(), needs);
        }
    }

    /// The link is a new one: its master knows nothing.
    pub(crate) fn forget_told(&mut self) {
        self.told = Told::Nothing;
        self.is_changed = true;
    }

    /// Some of it was launched. What waits now is told anew, also when it is as much as before: another instance may have
    /// begun to wait at the same moment.
    pub(crate) fn launched(&mut self) {
        self.told = Told::Less;
        self.is_changed = true;
    }

    /// What the master is to be told, if it is something new.
    pub(crate) fn take_news(&mut self) -> Option<Vec<Shape>> {
        if !std::mem::take(&mut self.is_changed) {
            return None;
        }
        let shapes = self.shapes();
        let is_new = match &self.told {
            // It takes it that nothing waits.
            Told::Nothing => !shapes.is_empty(),
            Told::Less => true,
            Told::These(told) => *told != shapes,
        };
        if !is_new {
            return None;
        }
        self.told = Told::These(shapes.clone());
        Some(shapes)
    }

    fn shapes(&self) -> Vec<Shape> {
        let all = self.needs.iter();
        let mut needs: Vec<(&AppId, &Need)> = all
            .flat_map(|(app, needs)| needs.iter().map(move |need| (app, need)))
            .collect();
        needs.sort_by_key(|(app, need)| (need.since, *app));
        let shapes = needs.into_iter().map(|(_, need)| need.shape.clone());
        shapes.take(MAX_SHAPES).collect()
    }
}

#[cfg(test)]
mod tests {
    use mete_model::Resources;

    use super::*;

    fn app(name: &str) -> AppId {
        AppId::new(name).expect("good")
    }

    fn need(since: u64, cpus_milli: u64) -> Vec<Need> {
        vec![Need {
            since: Timestamp::from_millis(since),
            shape: Shape::new(Resources::cpus_mem(cpus_milli, 0)),
        }]
    }

    fn told(demand: &mut Demand) -> Option<Vec<u64>> {
        let cpus = |shape: Shape| shape.resources.cpus_milli;
        let shapes = demand.take_news()?;
        Some(shapes.into_iter().map(cpus).collect())
    }

    #[test]
    fn those_that_wait_the_longest_come_first_and_nothing_is_told_twice() {
        let mut demand = Demand::default();
        demand.note(&app("/a"), need(2, 100));
        demand.note(&app("/b"), need(1, 200));

        assert_eq!(told(&mut demand), Some(vec![200, 100]));
        demand.note(&app("/b"), need(1, 200));
        assert_eq!(told(&mut demand), None);
        demand.note(&app("/b"), Vec::new());
        assert_eq!(told(&mut demand), Some(vec![100]));
        demand.note(&app("/a"), Vec::new());
        assert_eq!(told(&mut demand), Some(Vec::new()));
    }

    #[test]
    fn what_waits_in_place_of_what_was_launched_is_told_though_it_is_as_much() {
        let mut demand = Demand::default();
        demand.note(&app("/a"), need(1, 100));
        assert_eq!(told(&mut demand), Some(vec![100]));

        demand.launched();
        demand.note(&app("/a"), Vec::new());
        demand.note(&app("/a"), need(2, 100));

        assert_eq!(told(&mut demand), Some(vec![100]));
        assert_eq!(told(&mut demand), None);
    }

    #[test]
    fn a_new_link_is_told_all_there_is() {
        let mut demand = Demand::default();
        demand.forget_told();
        assert_eq!(told(&mut demand), None);
        demand.note(&app("/a"), need(1, 100));
        told(&mut demand);

        demand.forget_told();

        assert_eq!(told(&mut demand), Some(vec![100]));
    }
}
