//! What is the next thing to do for an app, and whether an action is done. Pure.
//!
//! Asked after every event, it gives the same answer until something was done about it: so a plan goes on after a
//! restart, and after every loss, without remembering how far it was.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::sync::Arc;

use crate::deployment::moving;
use crate::deployment::plan::ActionKind;
use crate::deployment::scale_down;
use crate::deployment::upgrade::{self, Moves, Standing};
use crate::spec::app::AppSpec;
use crate::spec::history::AppVersion;
use crate::state::apps::{App, Target};
use crate::state::instances::{Instance, InstanceId, InstanceState, KillReason};

/// Instances of one app that wait as values of their own. More are wanted, but made only when these are launched, so
/// that `"instances": 4000000000` costs no memory.
pub const MAX_WAITING: u32 = 1_000;

/// Instances of a daemon app that wait for agents which have none yet: so many agents that come together get theirs at once,
/// and the others soon after.
const DAEMONS_WAITING: u32 = 20;

/// What is to be done for an app.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Todo {
    /// These go.
    pub condemn: Vec<(InstanceId, KillReason)>,
    /// These wait for an offer in vain.
    pub forget: Vec<InstanceId>,
    /// These wait for an offer of what they hold, from now on.
    pub recall: Vec<InstanceId>,
    /// These wait for it no more, and keep what they hold.
    pub park: Vec<InstanceId>,
    /// These wait for an offer with a version that is not wanted any more.
    pub renew: Vec<InstanceId>,
    /// So many more wait from now on.
    pub add: u32,
    /// So many are missing in all.
    pub missing: u32,
    /// The version of new instances.
    pub version: Option<Arc<AppVersion>>,
}

/// What is to be done for an app.
pub fn todo(app: &App) -> Todo {
    match &app.target {
        Some(target) => keep(app, target),
        None => {
            let (waiting, placed): (Vec<_>, Vec<_>) = app
                .instances
                .values()
                .filter(|instance| !instance.is_condemned())
                .partition(|instance| instance.state == InstanceState::Waiting);
            Todo {
                condemn: placed
                    .iter()
                    .map(|instance| (instance.id.clone(), KillReason::AppRemoved))
                    .collect(),
                forget: ids(&waiting),
                ..Todo::default()
            }
        }
    }
}

fn keep(app: &App, target: &Target) -> Todo {
    let (waiting, placed): (Vec<_>, Vec<_>) = app
        .active()
        .filter(|instance| !instance.is_reserved())
        .partition(|instance| instance.state == InstanceState::Waiting);
    let (new, old): (Vec<_>, Vec<_>) = placed
        .into_iter()
        .partition(|instance| is_new(instance, target));
    let (condemned, old_condemned) = condemned(app, target);
    let spec = &target.version.spec;
    let is_replaced = !old.is_empty() || old_condemned > 0;
    // What is replaced anyway is not moved as well; what has a volume cannot be moved.
    let (leaving, new): (Vec<_>, Vec<_>) = new
        .into_iter()
        .partition(|one| one.is_leaving && !is_replaced && one.holding.is_none());
    let wanted = match is_everywhere(target) {
        // One on each agent that has one already, of whatever config, going or not; then on others.
        true if is_replaced => hosts(app),
        true => count(new.len()).saturating_add(DAEMONS_WAITING),
        false => target.instances,
    };
    let standing = Standing {
        wanted,
        new_placed: count(new.len()),
        new_ready: count(new.iter().filter(|instance| instance.is_ready()).count()),
        old_placed: count(old.len()),
        condemned,
        old_condemned,
        is_resident: spec.is_resident(),
    };
    let (moves, kill_leaving) = moves(standing, count(leaving.len()), spec);
    let returning = match is_replaced {
        true => Returning::default(), // there is no room for another before they have ended, and they are waited for anyway
        false => returning(app, spec),
    };
    let holders = holders(app, spec, moves.wait, returning);
    let taken = holders.waiting.len() + holders.returning;
    let wait = (moves.wait.min(MAX_WAITING) as usize).saturating_sub(taken);
    let surplus = waiting.len().saturating_sub(wait);
    let (kept, forget) = waiting.split_at(waiting.len() - surplus);
    let stale: Vec<_> = kept
        .iter()
        .copied()
        .chain(holders.waiting)
        .filter(|instance| instance.version != target.version)
        .collect();
    let mut condemn = go(spec, &old, moves.kill_old, KillReason::Replaced);
    condemn.append(&mut go(spec, &new, moves.kill_new, KillReason::ScaledDown));
    condemn.append(&mut go(spec, &leaving, kill_leaving, KillReason::Moved));
    let unfit = holders.unfit.iter();
    condemn.extend(unfit.map(|one| (one.id.clone(), KillReason::Wiped)));
    Todo {
        condemn,
        forget: ids(forget),
        recall: ids(&holders.recall),
        park: ids(&holders.park),
        renew: ids(&stale),
        add: count(wait.saturating_sub(waiting.len())),
        missing: moves.wait - count(holders.returning),
        version: Some(Arc::clone(&target.version)),
    }
}

/// So many of some instances, those that go first.
fn go(
    spec: &AppSpec,
    from: &[&Arc<Instance>],
    number: u32,
    reason: KillReason,
) -> Vec<(InstanceId, KillReason)> {
    let (from, number) = (from.iter().copied(), number as usize);
    let victims = scale_down::victims(from, number, spec.kill_selection, grouped_by(spec));
    victims.into_iter().map(|id| (id, reason)).collect()
}

/// How many instances are on their way out and stay with what they hold, once their tasks have ended.
#[derive(Clone, Copy, Default)]
struct Returning {
    /// They are launched again.
    again: usize,
    /// Fewer were wanted: they are when more are wanted.
    surplus: usize,
}

fn returning(app: &App, spec: &AppSpec) -> Returning {
    let mut returning = Returning::default();
    let all = app.instances.values();
    for one in all.filter(|one| one.comes_back() && holds_what_fits(one, spec)) {
        match one.is_scaled_down() {
            false => returning.again += 1,
            true => returning.surplus += 1,
        }
    }
    returning
}

/// Instances that have no task and hold something.
#[derive(Default)]
struct Holders<'a> {
    /// These wait for it from now on.
    recall: Vec<&'a Arc<Instance>>,
    /// These do so no more.
    park: Vec<&'a Arc<Instance>>,
    /// All that wait for it then.
    waiting: Vec<&'a Arc<Instance>>,
    /// So many places are kept for those whose tasks have not ended yet.
    returning: usize,
    /// What these hold is not what is asked for: they were of an app of the same name, or of a former version gone back to.
    unfit: Vec<&'a Arc<Instance>>,
}

/// Those that have a volume go before those that would get another, and those that had a task last before those that are
/// kept for when more are wanted.
fn holders<'a>(app: &'a App, spec: &AppSpec, missing: u32, returning: Returning) -> Holders<'a> {
    let all = app.instances.values();
    let (fit, unfit): (Vec<_>, Vec<_>) = all
        .filter(|instance| instance.is_reserved())
        .partition(|one| holds_what_fits(one, spec));
    let (waiting, mut parked): (Vec<_>, Vec<_>) =
        fit.into_iter().partition(|instance| instance.is_active());
    parked.sort_by_key(|one| Reverse(one.since));
    let missing = missing as usize;
    let free = missing.saturating_sub(waiting.len());
    let again = returning.again.min(free);
    let recall: Vec<_> = parked.into_iter().take(free - again).collect();
    let left = free - again - recall.len();
    Holders {
        park: waiting.iter().skip(missing).copied().collect(),
        waiting: waiting
            .into_iter()
            .take(missing)
            .chain(recall.clone())
            .collect(),
        recall,
        returning: again + returning.surplus.min(left),
        unfit,
    }
}

fn holds_what_fits(instance: &Instance, spec: &AppSpec) -> bool {
    let holding = instance.holding.as_ref();
    holding.is_some_and(|holding| holding.fits(spec))
}

/// Whether as many are kept as there are agents for them.
fn is_everywhere(target: &Target) -> bool {
    target.version.spec.is_daemon() && target.instances > 0
}

/// On how many hosts an app has instances.
fn hosts(app: &App) -> u32 {
    let places = app.instances.values();
    let places = places.filter_map(|instance| instance.place.as_ref());
    let hosts: BTreeSet<&str> = places.map(|place| place.host.as_str()).collect();
    count(hosts.len())
}

/// What may be done now, and how many of those that leave their agents may go.
fn moves(standing: Standing, leaving: u32, spec: &AppSpec) -> (Moves, u32) {
    if leaving == 0 {
        return (upgrade::moves(standing, spec.upgrade_strategy), 0);
    }
    let standing = moving::Standing {
        wanted: standing.wanted,
        staying: standing.new_placed,
        staying_ready: standing.new_ready,
        leaving,
        condemned: standing.condemned,
    };
    let moved = moving::moves(standing, spec.upgrade_strategy);
    let moves = Moves {
        kill_old: 0,
        kill_new: moved.kill_staying,
        wait: moved.wait,
    };
    (moves, moved.kill_leaving)
}

/// How many instances are on their way out, and how many of them are old.
fn condemned(app: &App, target: &Target) -> (u32, u32) {
    let all = app.instances.values();
    let (new, old): (Vec<_>, Vec<_>) = all
        .filter(|instance| instance.is_condemned())
        .partition(|instance| is_new(instance, target));
    (count(new.len() + old.len()), count(old.len()))
}

/// Whether an action of a plan has come to its end. The app is `None` when it is gone.
pub fn is_done(kind: ActionKind, app: Option<&App>) -> bool {
    let Some(app) = app else { return true };
    match kind {
        ActionKind::Stop => app.instances.is_empty(),
        ActionKind::Start => true,
        ActionKind::Scale { .. } | ActionKind::Restart => app
            .target
            .as_ref()
            .is_none_or(|target| is_reached(app, target)),
    }
}

/// As many as wanted do their work, and no others are there but unreachable ones that were given up, and those that wait to
/// take the place of some that leave their agents, or keep what they hold.
fn is_reached(app: &App, target: &Target) -> bool {
    let mut ready = 0;
    for instance in app.instances.values() {
        let is_given_up = matches!(
            instance.state,
            InstanceState::Unreachable { inactive: true, .. }
        );
        let waits = instance.state == InstanceState::Waiting || instance.is_reserved();
        if instance.is_ready() && is_new(instance, target) {
            ready += 1;
        } else if !is_given_up && !waits {
            return false;
        }
    }
    match is_everywhere(target) {
        true => ready > 0,
        false => ready == target.instances,
    }
}

fn is_new(instance: &Instance, target: &Target) -> bool {
    !target.replaces || instance.version.same_config(&target.version)
}

/// The field of the GROUP_BY constraint, if there is one.
fn grouped_by(spec: &AppSpec) -> Option<&str> {
    let constraint = spec
        .constraints
        .iter()
        .find(|constraint| constraint.operator == "GROUP_BY")?;
    Some(&constraint.field)
}

fn ids(instances: &[&Arc<Instance>]) -> Vec<InstanceId> {
    instances
        .iter()
        .map(|instance| instance.id.clone())
        .collect()
}

fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
