//! The two levels: demand, offer, acceptance, for one task after the other.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use mete_model::{
    AgentId, AttributeValue, Attributes, Capability, Endpoint, FrameworkId, Offer, OfferId,
    Resources, Role, Timestamp,
};
use mete_placement::{
    AgentFacts, Allocator, Constraint, FrameworkFacts, GPU_MODEL, Grant, Options, Policy, Shape,
    Waiting, match_tasks,
};

use crate::openb::cluster::Filled;
use crate::openb::trace::{MODELS, Machine, Pod, gpus_milli};

/// When everything happens.
pub(super) const NOON: Timestamp = Timestamp::from_millis(43_200_000);

/// Master and frameworks in one.
pub(super) struct Cluster {
    pub(super) allocator: Allocator,
    policy: Policy,
    frameworks: Vec<(FrameworkId, Role)>,
    attributes: BTreeMap<AgentId, Attributes>,
    offers_made: u64,
}

/// A task that runs.
pub(super) struct Running {
    pub(super) framework: usize,
    agent: AgentId,
    resources: Resources,
}

/// All arrivals, one after the other, each of the next framework; what does not fit at once is refused for ever.
pub(super) fn fill(
    policy: Policy,
    machines: &[Machine],
    arrivals: &[Pod],
    frameworks: u64,
) -> Result<Filled> {
    let mut cluster = Cluster::new(policy, machines, frameworks as usize)?;
    let mut filled = Filled::new(gpus_milli(machines));
    let (mut asked, mut allocated) = (0, 0);
    for (at, pod) in arrivals.iter().enumerate() {
        let framework = at % cluster.frameworks.len();
        asked += pod.asked.gpus_milli;
        cluster.demand(framework, [(pod, 1)])?;
        let mut waiting = vec![Vec::new(); cluster.frameworks.len()];
        waiting[framework].push(pod);
        for (running, _) in cluster.serve(&waiting)? {
            ensure!(
                running.framework == framework,
                "an offer to whom it was not made for"
            );
            allocated += pod.asked.gpus_milli;
        }
        cluster.demand(framework, [])?;
        filled.step(asked, allocated);
    }
    Ok(filled)
}

impl Cluster {
    /// Empty machines, and frameworks in roles of their own.
    pub(super) fn new(policy: Policy, machines: &[Machine], frameworks: usize) -> Result<Self> {
        let mut allocator = Allocator::new(Options {
            policy,
            region: None,
        });
        let mut attributes = BTreeMap::new();
        for (at, machine) in machines.iter().enumerate() {
            let mut facts = AgentFacts::new(machine.total.clone());
            let model = MODELS[usize::from(machine.group) - 1];
            facts
                .attributes
                .set(GPU_MODEL, AttributeValue::Text(model.into()));
            let id = AgentId::new(format!("openb-S{at}"))?;
            attributes.insert(id.clone(), facts.attributes.clone());
            allocator.add_agent(id, facts);
        }
        let mut all = Vec::new();
        for at in 0..frameworks {
            let id = FrameworkId::new(format!("openb-{at:04}"))?;
            let role = Role::new(&format!("role-{at}"))?;
            let mut facts = FrameworkFacts::in_roles([role.clone()]);
            facts.capabilities = [Capability::GpuResources, Capability::GpuFractions].into();
            allocator.add_framework(id.clone(), facts);
            allocator.set_demand(&id, Vec::new());
            all.push((id, role));
        }
        Ok(Self {
            allocator,
            policy,
            frameworks: all,
            attributes,
            offers_made: 0,
        })
    }

    /// What a framework waits for, most urgent first, and how many of each.
    pub(super) fn demand<'a>(
        &mut self,
        framework: usize,
        pods: impl IntoIterator<Item = (&'a Pod, u32)>,
    ) -> Result<()> {
        let shapes = pods.into_iter().map(|(pod, count)| {
            let mut shape = shape(pod)?;
            shape.count = count;
            Ok(shape)
        });
        let shapes: Result<Vec<Shape>> = shapes.collect();
        let (id, _) = &self.frameworks[framework];
        self.allocator.set_demand(id, shapes?);
        Ok(())
    }

    /// A round, and every offer answered by its framework's matcher, which launches one at most of each that waits; what was
    /// launched, each with its place among what its framework waited for.
    pub(super) fn serve(&mut self, waiting: &[Vec<&Pod>]) -> Result<Vec<(Running, usize)>> {
        let mut launched = Vec::new();
        for grant in self.allocator.round(NOON) {
            let framework = self
                .frameworks
                .iter()
                .position(|(id, _)| *id == grant.framework)
                .context("a grant to whom we know")?;
            launched.extend(self.answer(framework, grant, &waiting[framework])?);
        }
        Ok(launched)
    }

    fn answer(
        &mut self,
        framework: usize,
        grant: Grant,
        waiting: &[&Pod],
    ) -> Result<Vec<(Running, usize)>> {
        let offer = self.offer(&grant)?;
        let fitting: Vec<usize> = (0..waiting.len())
            .filter(|at| grant.resources.contains(&waiting[*at].asked))
            .collect();
        let waiting: Vec<Waiting> = fitting
            .iter()
            .map(|at| {
                let mut one = Waiting::new(waiting[*at].asked.clone());
                one.constraints = shape(waiting[*at])?.constraints;
                Ok(one)
            })
            .collect::<Result<_>>()?;
        let matched = match_tasks(&waiting, &[offer], self.policy, 0);
        let mut rest = grant.resources.clone();
        let mut running = Vec::new();
        for launch in matched.launches {
            let taken = launch.resources;
            rest = rest.minus(&taken).context("a launch is in its offer")?;
            self.allocator
                .launched(&grant.agent, &grant.framework, &grant.role, &taken);
            let task = Running {
                framework,
                agent: grant.agent.clone(),
                resources: taken,
            };
            running.push((task, fitting[launch.waiting]));
        }
        let Grant {
            framework,
            role,
            agent,
            units,
            ..
        } = grant;
        self.allocator
            .give_back(NOON, &agent, &framework, &role, &rest, Duration::ZERO);
        let count = u32::try_from(running.len()).unwrap_or(u32::MAX);
        self.allocator
            .answered(&agent, &framework, &role, &units, count);
        Ok(running)
    }

    fn offer(&mut self, grant: &Grant) -> Result<Offer> {
        self.offers_made += 1;
        let attributes = self.attributes.get(&grant.agent).cloned();
        Ok(Offer {
            id: OfferId::new(format!("openb-O{}", self.offers_made))?,
            framework: grant.framework.clone(),
            agent: grant.agent.clone(),
            endpoint: Endpoint {
                hostname: grant.agent.to_string(),
                ip: "127.0.0.1".to_owned(),
                port: 5051,
            },
            role: grant.role.clone(),
            resources: grant.resources.clone(),
            attributes: attributes.unwrap_or_default(),
            domain: None,
            unavailability: None,
        })
    }

    /// A task ends.
    pub(super) fn end(&mut self, task: &Running) {
        let (framework, role) = &self.frameworks[task.framework];
        self.allocator
            .release(&task.agent, framework, role, &task.resources);
    }

    /// Dominant share of a framework.
    pub(super) fn share(&self, framework: usize) -> f64 {
        let (id, _) = &self.frameworks[framework];
        self.allocator.share(id).unwrap_or(0.0)
    }

    /// How many CPUs a framework has.
    pub(super) fn cpus_milli(&self, framework: usize) -> u64 {
        let (id, _) = &self.frameworks[framework];
        let allocated = self.allocator.framework_allocated(id);
        allocated.map_or(0, |held| held.cpus_milli)
    }

    pub(super) fn role(&self, framework: usize) -> &Role {
        &self.frameworks[framework].1
    }
}

fn shape(pod: &Pod) -> Result<Shape> {
    let mut shape = Shape::new(pod.asked.clone());
    if pod.groups != mete_placement::packing::Groups::ANY {
        let models = (1_u16..)
            .zip(MODELS)
            .filter(|(group, _)| pod.groups.allow(*group));
        let models: Vec<&str> = models.map(|(_, model)| model).collect();
        let one_of = models.join("|");
        shape
            .constraints
            .push(Constraint::parse(GPU_MODEL, "LIKE", Some(&one_of))?);
    }
    Ok(shape)
}
