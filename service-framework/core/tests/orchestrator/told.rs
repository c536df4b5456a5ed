//! Effects as lines of text, so that tests compare them whole: instances are numbered as they appear.

use mete_model::machine::Effects;
use mete_placement::Shape;
use mete_service_framework_core::record::Record;
use mete_service_framework_core::{Action, Launch, LaunchGroup, Orchestrator};

/// Names for ids that come from chance.
#[derive(Default)]
pub(crate) struct Names(Vec<String>);

impl Names {
    /// Every line with ids replaced: `I1`, `I2`, … for instances, `D` for deployments.
    pub(crate) fn lines(&mut self, effects: &Effects<Orchestrator>) -> Vec<String> {
        let stored = effects.store.iter().map(record);
        let acted = effects.act.iter().map(action);
        stored
            .chain(acted)
            .map(|line| self.replace(&line))
            .collect()
    }

    fn replace(&mut self, line: &str) -> String {
        let mut out = String::new();
        let mut rest = line;
        while let Some(at) = rest.find(".instance-") {
            let start = rest[..at].rfind(' ').map_or(0, |blank| blank + 1);
            let end = at + ".instance-".len() + 36;
            let id = &rest[start..end];
            let number = self
                .0
                .iter()
                .position(|known| known == id)
                .unwrap_or_else(|| {
                    self.0.push(id.to_owned());
                    self.0.len() - 1
                });
            out.push_str(&rest[..start]);
            out.push_str(&format!("I{}", number + 1));
            rest = &rest[end..];
        }
        out + rest
    }
}

fn record(record: &Record) -> String {
    match record {
        Record::Framework(id) => format!("store framework {id}"),
        Record::FrameworkRemoved => "forget framework".to_owned(),
        Record::App(app) => {
            let target = app.target.as_ref().map_or_else(
                || "nothing".to_owned(),
                |target| target.instances.to_string(),
            );
            format!(
                "store app {} wanted {} kept {target}",
                app.id,
                app.wanted.is_some()
            )
        }
        Record::AppRemoved(id) => format!("forget app {id}"),
        Record::Version(version) => format!("store version of {}", version.spec.id),
        Record::VersionRemoved(id, _) => format!("forget version of {id}"),
        Record::Failures(id, all) => format!("store failure of {id} {}", all[0].state),
        Record::Instance(instance) => {
            format!("store instance {} {}", instance.id, instance.condition())
        }
        Record::InstanceRemoved(id) => format!("forget instance {id}"),
        Record::Deployment(_) => "store deployment".to_owned(),
        Record::DeploymentRemoved(_) => "forget deployment".to_owned(),
        Record::Proxy(id) => format!("store proxy {id}"),
        Record::Group(id, _) => format!("group {id}"),
        Record::GroupRemoved(id) => format!("forget group {id}"),
        Record::Former(_, former) => {
            format!(
                "former of {} apps, {} groups",
                former.apps.len(),
                former.groups.len()
            )
        }
        Record::FormerRemoved(_) => "forget former".to_owned(),
        Record::ProxyRemoved(id) => format!("forget proxy {id}"),
        Record::Release(id, _) => format!("store release of {id}"),
        Record::ReleaseRemoved(id) => format!("forget release of {id}"),
    }
}

/// What is done with offers.
fn told(release: usize, reserve: usize, launches: &[Launch], groups: &[LaunchGroup]) -> String {
    let task = |launch: &Launch| format!(" {} on {}", launch.task.id, launch.task.agent);
    let mut all = vec![" give back".to_owned(); release];
    all.extend(vec![" keep".to_owned(); reserve]);
    all.extend(launches.iter().map(task));
    all.extend(groups.iter().map(|group| {
        let members: Vec<_> = group.tasks.iter().map(task).collect();
        format!(" together{}", members.join(" and"))
    }));
    all.join(",")
}

fn action(action: &Action) -> String {
    match action {
        Action::Accept {
            offers,
            release,
            reserve,
            launches,
            groups,
            refuse: _,
        } => {
            let done = told(release.len(), reserve.len(), launches, groups);
            let offers: Vec<_> = offers.iter().map(|offer| offer.as_str()).collect();
            format!("accept {}:{done}", offers.join(","))
        }
        Action::Decline { offers, refuse } => {
            let offers: Vec<_> = offers.iter().map(|offer| offer.as_str()).collect();
            format!("decline {} for {refuse:?}", offers.join(","))
        }
        Action::AcceptInverse(questions) => {
            let questions: Vec<_> = questions.iter().map(|offer| offer.as_str()).collect();
            format!("leaves {}", questions.join(","))
        }
        Action::Roles(roles) => format!("take roles {roles:?}"),
        Action::Demand(shapes) if shapes.is_empty() => "demand nothing".to_owned(),
        Action::Demand(shapes) => {
            let shape = |shape: &Shape| {
                format!(
                    " {}x {}",
                    shape.count,
                    shape.name.as_deref().unwrap_or_default()
                )
            };
            let shapes: Vec<String> = shapes.iter().map(shape).collect();
            format!("demand{}", shapes.join(","))
        }
        Action::Revive => "revive".to_owned(),
        Action::Suppress => "suppress".to_owned(),
        Action::Kill { task, .. } => format!("kill {task}"),
        Action::Acknowledge { task, .. } => format!("acknowledge {task}"),
        Action::AskReserved { .. } => "ask what is reserved".to_owned(),
        Action::AcknowledgeOperation(done) => format!("acknowledge {}", done.operation),
        Action::Reconcile { tasks } if tasks.is_empty() => "reconcile all".to_owned(),
        Action::Reconcile { tasks } => {
            let tasks: Vec<_> = tasks.iter().map(|(task, _)| format!(" {task}")).collect();
            format!("reconcile{}", tasks.join(","))
        }
        Action::Probe(probe) => {
            format!(
                "ask {} {:?} at {}:{}",
                probe.instance, probe.check, probe.host, probe.port
            )
        }
        Action::Publish(event) => format!("publish {}", event.what.type_name()),
    }
}
