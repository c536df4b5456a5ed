//! A framework comes, comes back, or takes over from its older self; what it says of itself, and which offers it wants.

use std::collections::BTreeSet;
use std::sync::Arc;

use mete_model::{AgentId, Capability, FrameworkId, FrameworkInfo, Role, Timestamp};
use mete_placement::Shape;
use mete_placement::demand::MAX_SHAPES;
use tracing::{debug, info};

use crate::cluster::{Cluster, Out};
use crate::effects::{Action, Event, MessageToAgent, Reply};
use crate::input::Subscription;
use crate::state::deadlines::Due;
use crate::state::frameworks::{Framework, Life, OfferRules};

/// Why a framework is not let in, or may not change. It gets the text in an ERROR.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum SubscribeError {
    #[error("Framework has been removed")]
    // Clients of Mesos look for these words, then subscribe without an id.
    Removed,
    #[error("suppressed role {0} is not one of the framework's roles")]
    SuppressedNotHeld(Role),
    #[error("{field} names role {role}, which is not one of the framework's roles")]
    RuleNotHeld { field: &'static str, role: Role },
    #[error("principal of framework {framework} cannot change from {} to {}", said(from.as_ref()), said(to.as_ref()))]
    PrincipalChanged {
        framework: FrameworkId,
        from: Option<String>,
        to: Option<String>,
    },
    #[error("user of framework {framework} cannot change from {from:?} to {to:?}")]
    UserChanged {
        framework: FrameworkId,
        from: String,
        to: String,
    },
}

fn said(principal: Option<&String>) -> String {
    principal.map_or_else(|| "none".to_owned(), |name| format!("{name:?}"))
}

impl Cluster {
    pub(crate) fn subscribe(&mut self, now: Timestamp, subscription: Subscription, out: &mut Out) {
        let link = subscription.link;
        if let Err(error) = self.may_subscribe(&subscription) {
            info!(name = subscription.info.name, %error, "framework not let in");
            self.count().subscriptions_refused += 1;
            let event = Event::Error(error.to_string());
            out.act.push(Action::ToFramework { link, event });
            out.act.push(Action::Close { link });
            out.reply = Some(Reply::Refused(error.to_string()));
            return;
        }
        let id = match subscription.info.id.clone() {
            Some(id) => id,
            None => self.frameworks.new_id(&self.settings.incarnation),
        };
        self.count().subscriptions += 1;
        self.leave_old_stream(now, &id, out);
        let before = self.frameworks.get(&id);
        let before = before.map(|known| Arc::clone(&known.info));
        let framework = self.subscribed(now, &id, subscription);
        info!(framework = %id, name = framework.info.name, "framework subscribed");
        self.frameworks.all.insert(id.clone(), Arc::new(framework));
        self.deadlines.clear(&Due::Failover(id.clone()));
        let framework = id.clone();
        self.tell_framework(&id, Event::Subscribed { framework }, out);
        self.tell_operations(now, &id, out);
        self.tell_kept_exits(&id, out);
        self.tell_agents_of_changes(&id, before.as_deref(), out);
        self.ask_for_updates(&id, out);
        out.reply = Some(Reply::Subscribed(id));
    }

    fn may_subscribe(&self, subscription: &Subscription) -> Result<(), SubscribeError> {
        let info = &subscription.info;
        may_hold(info, &subscription.suppressed, &subscription.rules)?;
        let Some(id) = &info.id else {
            return Ok(());
        };
        if self.torn_down.contains_key(id) {
            return Err(SubscribeError::Removed);
        }
        match self.frameworks.get(id) {
            Some(known) if known.is_completed() && !subscription.may_return => {
                Err(SubscribeError::Removed)
            }
            Some(known) if !known.is_nameless() => same_principal(id, &known.info, info),
            Some(_) | None => Ok(()),
        }
    }

    /// The stream that the framework had is told and closed; its offers vanish without a word.
    fn leave_old_stream(&mut self, now: Timestamp, id: &FrameworkId, out: &mut Out) {
        self.drop_offers_to(now, id);
        self.reconciliations.forget(id);
        if let Some(link) = self.frameworks.get(id).and_then(|known| known.link()) {
            let event = Event::Error("Framework failed over".to_owned()); // The words of Mesos.
            out.act.push(Action::ToFramework { link, event });
            out.act.push(Action::Close { link });
            self.count().failovers += 1;
        }
    }

    /// The framework as it is from now on, and known to the allocator. User and checkpoint stay what they were.
    fn subscribed(
        &mut self,
        now: Timestamp,
        id: &FrameworkId,
        subscription: Subscription,
    ) -> Framework {
        let mut info = subscription.info;
        info.id = Some(id.clone());
        let known = self.frameworks.get(id);
        if let Some(known) = known.filter(|known| !known.is_nameless()) {
            info.user.clone_from(&known.info.user);
        }
        let mut framework = Framework {
            id: id.clone(),
            info: Arc::new(info),
            checkpoint: subscription.checkpoint,
            life: Life::Active {
                link: subscription.link,
            },
            suppressed: subscription.suppressed,
            rules: subscription.rules,
            demand: [].into(),
            registered_at: now,
            reregistered_at: None,
        };
        if let Some(known) = known {
            framework.checkpoint = known.checkpoint;
            framework.registered_at = known.registered_at;
            framework.reregistered_at = Some(now);
        }
        self.introduce(id, &framework);
        if !framework.suppressed.is_empty() {
            self.allocator.suppress(id, Some(&framework.suppressed));
        }
        framework
    }

    /// The allocator knows a framework that has subscribed; whatever it said before does not count.
    fn introduce(&mut self, id: &FrameworkId, framework: &Framework) {
        self.allocator.add_framework(id.clone(), framework.facts());
    }

    /// UPDATE_FRAMEWORK: all or nothing.
    pub(crate) fn update_framework(
        &mut self,
        now: Timestamp,
        id: &FrameworkId,
        (mut info, suppressed, rules): (FrameworkInfo, BTreeSet<Role>, OfferRules),
        out: &mut Out,
    ) {
        let Some(known) = self.frameworks.get(id) else {
            return;
        };
        let checked = may_hold(&info, &suppressed, &rules)
            .and_then(|()| same_principal(id, &known.info, &info))
            .and_then(|()| same_user(id, &known.info, &info));
        if let Err(error) = checked {
            return self.refuse_call(error.to_string(), out);
        }
        let before = known.info.clone();
        let woken: BTreeSet<Role> = known.suppressed.difference(&suppressed).cloned().collect();
        for offer in self.offers.of_framework(id) {
            let role = self.offers.get(&offer).map(|offer| offer.role.clone());
            if role.is_some_and(|role| !info.roles.contains(&role)) {
                self.rescind(now, &offer, out);
            }
        }
        info.id = Some(id.clone());
        if let Some(framework) = self.frameworks.get_mut(id) {
            framework.info = Arc::new(info);
            framework.suppressed.clone_from(&suppressed);
            framework.rules = rules;
        }
        self.tell_changes(id);
        self.tell_agents_of_changes(id, Some(&before), out);
        if !woken.is_empty() {
            self.allocator.revive(id, Some(&woken));
        }
        if !suppressed.is_empty() {
            self.allocator.suppress(id, Some(&suppressed));
        }
        out.reply = Some(Reply::Done);
    }

    /// Agents on which a framework has something hear what it says of itself now, and bring that to the next master.
    fn tell_agents_of_changes(
        &self,
        id: &FrameworkId,
        before: Option<&FrameworkInfo>,
        out: &mut Out,
    ) {
        let Some(framework) = self.frameworks.get(id) else {
            return;
        };
        if before.is_none_or(|before| *before == *framework.info) {
            return;
        }
        let of_tasks = self.tasks.of_framework(id).map(|task| task.agent.clone());
        let executors = self.executors.custom_of(id).into_iter();
        let of_executors = executors.map(|executor| executor.agent);
        let agents: BTreeSet<AgentId> = of_tasks.chain(of_executors).collect();
        for agent in agents {
            let framework = Arc::clone(&framework.info);
            self.tell_agent(&agent, MessageToAgent::UpdateFramework { framework }, out);
        }
    }

    /// The allocator hears what a framework says of itself now. What waits in a role that it left waits no more.
    fn tell_changes(&mut self, id: &FrameworkId) {
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        let facts = framework.facts();
        let is_held = |shape: &&Shape| {
            let role = shape.role.as_ref();
            role.is_none_or(|role| facts.roles.contains(role))
        };
        let left: Vec<Shape> = framework.demand.iter().filter(is_held).cloned().collect();
        let is_less = left.len() < framework.demand.len();
        if is_less {
            framework.demand = left.clone().into();
        }
        self.allocator.update_framework(id, facts);
        if is_less {
            self.allocator.set_demand(id, left);
        }
    }

    /// REVIVE. One role that is not held drops the whole call, as in Mesos.
    pub(crate) fn revive(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        if !self.holds_all(id, roles) {
            return;
        }
        let some = (!roles.is_empty()).then_some(roles);
        self.allocator.revive(id, some);
        if !self.maintenance.is_empty() {
            Arc::make_mut(&mut self.maintenance).revive(id);
        }
        let Some(framework) = self.frameworks.get(id) else {
            return;
        };
        if framework.suppressed.is_empty() {
            return;
        }
        if let Some(framework) = self.frameworks.get_mut(id) {
            match some {
                Some(roles) => framework.suppressed.retain(|role| !roles.contains(role)),
                None => framework.suppressed.clear(),
            }
        }
    }

    /// SUPPRESS. One role that is not held drops the whole call, as in Mesos.
    pub(crate) fn suppress(&mut self, id: &FrameworkId, roles: &BTreeSet<Role>) {
        if !self.holds_all(id, roles) {
            return;
        }
        let some = (!roles.is_empty()).then_some(roles);
        self.allocator.suppress(id, some);
        if let Some(framework) = self.frameworks.get_mut(id) {
            let more = some.unwrap_or(&framework.info.roles).clone();
            framework.suppressed.extend(more);
        }
    }

    fn holds_all(&self, id: &FrameworkId, roles: &BTreeSet<Role>) -> bool {
        let Some(framework) = self.frameworks.get(id) else {
            return false;
        };
        let held = roles.is_subset(&framework.info.roles);
        if !held {
            debug!(framework = %id, ?roles, "call names a role that the framework does not hold");
        }
        held
    }

    /// DEMAND: replaces the whole demand told before.
    pub(crate) fn set_demand(&mut self, id: &FrameworkId, shapes: Vec<Shape>, out: &mut Out) {
        if shapes.len() > MAX_SHAPES {
            let why = format!(
                "DEMAND has {} shapes, at most {MAX_SHAPES} count",
                shapes.len()
            );
            return self.refuse_call(why, out);
        }
        let Some(framework) = self.frameworks.get_mut(id) else {
            return;
        };
        let roles = shapes.iter().filter_map(|shape| shape.role.as_ref());
        let mut left = roles.filter(|role| !framework.info.roles.contains(role));
        if let Some(role) = left.next() {
            let why =
                format!("DEMAND names role {role}, which is not one of the framework's roles");
            return self.refuse_call(why, out);
        }
        let takes_parts = framework.info.can(Capability::GpuFractions);
        let is_part = |shape: &&Shape| !shape.resources.gpus_milli.is_multiple_of(1_000);
        if let Some(shape) = shapes.iter().find(|shape| !takes_parts && is_part(shape)) {
            let gpus = shape.resources.gpus_milli as f64 / 1e3;
            let why = format!(
                "DEMAND asks for gpus {gpus}: parts of GPUs are for frameworks with the capability GPU_FRACTIONS"
            );
            return self.refuse_call(why, out);
        }
        framework.demand = shapes.clone().into();
        self.allocator.set_demand(id, shapes);
        out.reply = Some(Reply::Done);
    }
}

fn may_hold(
    info: &FrameworkInfo,
    suppressed: &BTreeSet<Role>,
    rules: &OfferRules,
) -> Result<(), SubscribeError> {
    if let Some(role) = suppressed.difference(&info.roles).next() {
        return Err(SubscribeError::SuppressedNotHeld(role.clone()));
    }
    let constrained = rules.constraints.keys();
    let constrained = constrained.map(|role| ("offer_constraints", role));
    let filtered = rules.min_allocatable.keys();
    let filtered = filtered.map(|role| ("offer_filters", role));
    let mut named = constrained.chain(filtered);
    match named.find(|(_, role)| !info.roles.contains(*role)) {
        Some((field, role)) => Err(SubscribeError::RuleNotHeld {
            field,
            role: role.clone(),
        }),
        None => Ok(()),
    }
}

fn same_principal(
    id: &FrameworkId,
    from: &FrameworkInfo,
    to: &FrameworkInfo,
) -> Result<(), SubscribeError> {
    if from.principal == to.principal {
        return Ok(());
    }
    Err(SubscribeError::PrincipalChanged {
        framework: id.clone(),
        from: from.principal.clone(),
        to: to.principal.clone(),
    })
}

fn same_user(
    id: &FrameworkId,
    from: &FrameworkInfo,
    to: &FrameworkInfo,
) -> Result<(), SubscribeError> {
    if from.user == to.user {
        return Ok(());
    }
    Err(SubscribeError::UserChanged {
        framework: id.clone(),
        from: from.user.clone(),
        to: to.user.clone(),
    })
}
