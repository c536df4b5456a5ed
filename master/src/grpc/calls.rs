//! What frameworks say: `mesos.v1.scheduler.Call` into words of the core. What makes no sense becomes a call that is
//! refused in words, never a lost one; a task that makes no sense becomes a task that is answered.

use std::collections::BTreeSet;

use mete_daemon::auth::Principal;
use mete_master_core::{
    Accept, BadGroup, BadTask, Call, LinkId, OfferRules, Operation, OperationKind, Subscription,
    TaskName, View,
};
use mete_model::container::MountSource;
use mete_model::{
    AgentId, FrameworkId, FrameworkInfo, OfferId, OperationId, Resources, Role, TaskGroup, TaskSpec,
};
use mete_proto::convert::framework::min_allocatable;
use mete_proto::convert::ids::update_id;
use mete_proto::convert::offer::refusal;
use mete_proto::convert::resources;
use mete_proto::convert::task::{alone, grace_period};
use mete_proto::convert::{
    ConvertError, Within as _, account, demand, executor, offer_constraints, role,
};
use mete_proto::mesos::v1 as wire;
use wire::offer::operation;
use wire::scheduler::call::Type;
use wire::scheduler::{Call as WireCall, OfferConstraints, call};

use crate::resize;

/// The name of a call, or its number when it has no name here.
pub(crate) fn name(call: &WireCall) -> String {
    match call.r#type {
        None => "a call without type".to_owned(),
        Some(number) => Type::try_from(number).map_or_else(
            |_| number.to_string(),
            |known| known.as_str_name().to_owned(),
        ),
    }
}

/// How a framework comes.
///
/// # Errors
/// Names the field that makes no sense.
pub(crate) fn subscription(call: &WireCall, link: LinkId) -> Result<Subscription, ConvertError> {
    let subscribe = part(call.subscribe.as_ref(), "subscribe")?;
    let mut info =
        FrameworkInfo::try_from(&subscribe.framework_info).within("subscribe.framework_info")?;
    if let Some(id) = returning(call)? {
        info.id = Some(id);
    }
    Ok(Subscription {
        link,
        info,
        checkpoint: subscribe.framework_info.checkpoint(),
        suppressed: roles(&subscribe.suppressed_roles, "subscribe.suppressed_roles")?,
        rules: rules(
            &subscribe.framework_info,
            subscribe.offer_constraints.as_ref(),
        )
        .within("subscribe")?,
        may_return: true,
    })
}

/// Who has a secret of its own speaks for frameworks of its name alone. One that names no principal gets the caller's, unless
/// it has been let in without one: then it stays as it is.
///
/// # Errors
/// Names both.
pub(crate) fn sign(
    call: &mut WireCall,
    caller: Option<&Principal>,
    view: &View,
) -> Result<(), String> {
    let info = call.subscribe.as_mut().map(|part| &mut part.framework_info);
    let update = call.update_framework.as_mut();
    let Some(info) = info.or_else(|| update.map(|part| &mut part.framework_info)) else {
        return Ok(());
    };
    check_principal(info.principal.as_deref(), caller)?;
    let id = call.framework_id.as_ref().filter(|id| !id.value.is_empty());
    let id = id.or(info.id.as_ref());
    let id = id.and_then(|id| FrameworkId::new(&id.value).ok());
    let known = id.and_then(|id| view.frameworks.get(&id));
    let known = known.filter(|known| !known.is_nameless());
    let is_nobodys = known.is_some_and(|known| known.info.principal.is_none());
    if let Some(caller) = caller.filter(|caller| caller.has_own_secret() && !is_nobodys) {
        info.principal
            .get_or_insert_with(|| caller.name.to_string());
    }
    Ok(())
}

/// Who has a secret of its own speaks for frameworks of its name alone, and for those of nobody.
///
/// # Errors
/// Names both.
pub(crate) fn check_principal(
    named: Option<&str>,
    caller: Option<&Principal>,
) -> Result<(), String> {
    match (named, caller.filter(|caller| caller.has_own_secret())) {
        (Some(named), Some(caller)) if *named != *caller.name => Err(format!(
            "the caller is {}, FrameworkInfo.principal is {named}",
            caller.name
        )),
        _ => Ok(()),
    }
}

/// The id with which a framework comes back, which must be the same wherever it stands.
///
/// # Errors
/// Names the id that is none, or is not the other one.
pub(crate) fn returning(call: &WireCall) -> Result<Option<FrameworkId>, ConvertError> {
    let named = |id: Option<&wire::FrameworkId>, path: &str| {
        let id = id.filter(|id| !id.value.is_empty());
        id.map(FrameworkId::try_from).transpose().within(path)
    };
    let info = call.subscribe.as_ref().map(|part| &part.framework_info);
    let info = named(
        info.and_then(|info| info.id.as_ref()),
        "subscribe.framework_info.id",
    )?;
    let id = named(call.framework_id.as_ref(), "framework_id")?;
    match (id, info) {
        (Some(id), Some(info)) if id != info => {
            let rule = "it is not the id in subscribe.framework_info";
            Err(ConvertError::bad_value("framework_id", id, rule))
        }
        (id, info) => Ok(id.or(info)),
    }
}

/// Any call but the first, of the framework whose stream it is.
pub(crate) fn from_wire(call: &WireCall, framework: &FrameworkId) -> Call {
    let other = call
        .framework_id
        .as_ref()
        .filter(|id| !id.value.is_empty() && id.value != framework.as_str());
    if let Some(other) = other {
        let name = name(call);
        let why = format!(
            "{name} names framework {:?}, this stream is of {framework}",
            other.value
        );
        return Call::Refused { why };
    }
    convert(call).unwrap_or_else(|bad| Call::Refused {
        why: format!("{} makes no sense: {bad}", name(call)),
    })
}

/// Any call but the first.
///
/// # Errors
/// Names the part that is missing, or the field that makes no sense.
pub(crate) fn convert(call: &WireCall) -> Result<Call, ConvertError> {
    let Some(Ok(kind)) = call.r#type.map(Type::try_from) else {
        return Ok(refused(call, "is not known"));
    };
    Ok(match kind {
        Type::Unknown => refused(call, "is not known"),
        Type::Subscribe => refused(call, "was said before on this stream"),
        Type::Teardown => Call::Teardown,
        Type::Accept => Call::Accept(accept(part(call.accept.as_ref(), "accept")?)?),
        Type::Decline => {
            let decline = part(call.decline.as_ref(), "decline")?;
            Call::Decline {
                offers: offers(&decline.offer_ids, "decline.offer_ids")?,
                refuse_for: refusal(decline.filters.as_ref()),
            }
        }
        Type::Revive => {
            let named = call.revive.as_ref().map_or(&[][..], |part| &part.roles);
            let roles = roles(named, "revive.roles")?;
            Call::Revive { roles }
        }
        Type::Suppress => {
            let named = call.suppress.as_ref().map_or(&[][..], |part| &part.roles);
            let roles = roles(named, "suppress.roles")?;
            Call::Suppress { roles }
        }
        Type::Kill => kill(part(call.kill.as_ref(), "kill")?)?,
        Type::Acknowledge => acknowledge(part(call.acknowledge.as_ref(), "acknowledge")?)?,
        Type::Reconcile => reconcile(part(call.reconcile.as_ref(), "reconcile")?)?,
        Type::Demand => {
            let shapes = demand::from_wire(part(call.demand.as_ref(), "demand")?);
            Call::Demand(shapes.within("demand")?)
        }
        Type::UpdateFramework => update(part(call.update_framework.as_ref(), "update_framework")?)?,
        Type::Request => Call::Ignored { name: "REQUEST" },
        Type::Message => message(part(call.message.as_ref(), "message")?)?,
        Type::Shutdown => shutdown(part(call.shutdown.as_ref(), "shutdown")?)?,
        Type::AcceptInverseOffers => {
            let path = "accept_inverse_offers";
            let accept = part(call.accept_inverse_offers.as_ref(), path)?;
            answer_inverse(
                &accept.inverse_offer_ids,
                path,
                accept.filters.as_ref(),
                true,
            )?
        }
        Type::DeclineInverseOffers => {
            let path = "decline_inverse_offers";
            let decline = part(call.decline_inverse_offers.as_ref(), path)?;
            answer_inverse(
                &decline.inverse_offer_ids,
                path,
                decline.filters.as_ref(),
                false,
            )?
        }
        // No news of an operation asks for it.
        Type::AcknowledgeOperationStatus => acknowledge_operation(call)?,
        Type::ReconcileOperations => reconcile_operations(call)?,
    })
}

fn refused(call: &WireCall, what: &str) -> Call {
    Call::Refused {
        why: format!("{} {what}", name(call)),
    }
}

fn part<'a, T>(part: Option<&'a T>, path: &str) -> Result<&'a T, ConvertError> {
    part.ok_or_else(|| ConvertError::missing(path))
}

fn accept(accept: &call::Accept) -> Result<Accept, ConvertError> {
    let mut operations = Vec::with_capacity(accept.operations.len());
    for (at, operation) in accept.operations.iter().enumerate() {
        operations
            .push(convert_operation(operation).within(format_args!("accept.operations[{at}]"))?);
    }
    Ok(Accept {
        offers: offers(&accept.offer_ids, "accept.offer_ids")?,
        operations,
        refuse_for: refusal(accept.filters.as_ref()),
    })
}

fn convert_operation(operation: &wire::offer::Operation) -> Result<Operation, ConvertError> {
    let kind = operation::Type::try_from(operation.r#type.unwrap_or_default());
    if kind == Ok(operation::Type::Launch) {
        let launch = part(operation.launch.as_ref(), "launch")?;
        let tasks = launch.task_infos.iter();
        let tasks = tasks.map(|info| task(info, operation.id.is_some()));
        return Ok(Operation::Launch(tasks.collect()));
    }
    if kind == Ok(operation::Type::LaunchGroup) {
        let launch = part(operation.launch_group.as_ref(), "launch_group")?;
        return Ok(launch_group(launch, operation.id.is_some()));
    }
    if let Ok(kind) = kind
        && let Some((kind, resources)) = reshape(kind, operation)?
    {
        let id = operation.id.as_ref().map(TryInto::try_into).transpose();
        return Ok(Operation::Reshape {
            id: id.within("id")?,
            kind,
            resources,
            account: account::named(reshaped(operation))?,
        });
    }
    let name = kind.map_or_else(
        |_| format!("operation {}", operation.r#type.unwrap_or_default()),
        |kind| kind.as_str_name().to_owned(),
    );
    Ok(Operation::NotCarried { name })
}

/// A group of which one part makes no sense makes none; its tasks are answered all the same.
fn launch_group(launch: &operation::LaunchGroup, feedback: bool) -> Operation {
    let infos = &launch.task_group.tasks;
    let names = infos.iter().map(|info| TaskName::of(&info.task_id.value));
    let tasks = names.collect();
    let group = match feedback {
        true => Err("a LAUNCH_GROUP cannot have an operation id".to_owned()), // The rule of Mesos.
        false => executor::group(&launch.executor, infos).map_err(|bad| bad.to_string()),
    };
    let group = group.and_then(|group| accounted(group, infos, &launch.executor));
    let group = group.and_then(|group| {
        let mut tasks = group.tasks.iter();
        let why = tasks.find_map(untold_secret);
        why.map_or(Ok(group), Err)
    });
    Operation::LaunchGroup(group.map(Box::new).map_err(|why| BadGroup { tasks, why }))
}

/// Each task with the role that its framework says its resources were handed out to.
fn accounted(
    group: TaskGroup,
    infos: &[wire::TaskInfo],
    executor: &wire::ExecutorInfo,
) -> Result<TaskGroup, String> {
    let tasks = group.tasks.into_iter().zip(infos);
    let tasks = tasks.map(|(spec, info)| with_account(Ok(spec), info, Some(executor)));
    Ok(TaskGroup {
        executor: group.executor,
        tasks: tasks.collect::<Result<_, _>>()?,
    })
}

/// RESERVE, UNRESERVE, CREATE, DESTROY, GROW_VOLUME, SHRINK_VOLUME, and of what; `None` when it is another.
fn reshape(
    kind: operation::Type,
    operation: &wire::offer::Operation,
) -> Result<Option<(OperationKind, Resources)>, ConvertError> {
    let (kind, path, named) = match kind {
        operation::Type::Reserve => {
            let reserve = part(operation.reserve.as_ref(), "reserve")?;
            if !reserve.source.is_empty() {
                let what = "reservations made out of others at once are";
                return Err(ConvertError::not_carried("reserve.source", what));
            }
            (OperationKind::Reserve, "reserve", &reserve.resources)
        }
        operation::Type::Unreserve => {
            let unreserve = part(operation.unreserve.as_ref(), "unreserve")?;
            (OperationKind::Unreserve, "unreserve", &unreserve.resources)
        }
        operation::Type::Create => {
            let create = part(operation.create.as_ref(), "create")?;
            (OperationKind::Create, "create", &create.volumes)
        }
        operation::Type::Destroy => {
            let destroy = part(operation.destroy.as_ref(), "destroy")?;
            (OperationKind::Destroy, "destroy", &destroy.volumes)
        }
        operation::Type::GrowVolume => {
            let grow = part(operation.grow_volume.as_ref(), "grow_volume")?;
            return resize::grow(&grow.volume, &grow.addition)
                .within("grow_volume")
                .map(Some);
        }
        operation::Type::ShrinkVolume => {
            let shrink = part(operation.shrink_volume.as_ref(), "shrink_volume")?;
            return resize::shrink(&shrink.volume, &shrink.subtract)
                .within("shrink_volume")
                .map(Some);
        }
        operation::Type::Unknown
        | operation::Type::Launch
        | operation::Type::LaunchGroup
        | operation::Type::CreateDisk
        | operation::Type::DestroyDisk => return Ok(None),
    };
    let resources = resources::from_wire(named).within(path)?;
    Ok(Some((kind, resources)))
}

/// What [`reshape`] is about, as it was named.
fn reshaped(operation: &wire::offer::Operation) -> impl Iterator<Item = &wire::Resource> {
    let lists = [
        operation.reserve.as_ref().map(|one| &one.resources),
        operation.unreserve.as_ref().map(|one| &one.resources),
        operation.create.as_ref().map(|one| &one.volumes),
        operation.destroy.as_ref().map(|one| &one.volumes),
    ];
    let grow = operation.grow_volume.as_ref();
    let grow = grow.map(|grow| [&grow.volume, &grow.addition]);
    let shrink = operation.shrink_volume.as_ref();
    let shrink = shrink.map(|shrink| &shrink.volume);
    let lists = lists.into_iter().flatten().flatten();
    lists.chain(grow.into_iter().flatten()).chain(shrink)
}

/// One that makes no sense, be it by its name alone, is none and is answered; the others are launched.
fn task(info: &wire::TaskInfo, feedback: bool) -> Result<TaskSpec, BadTask> {
    let spec = match feedback {
        true => Err("a LAUNCH cannot have an operation id".to_owned()), // The rule of Mesos.
        false => with_account(alone(info), info, info.executor.as_deref()),
    };
    let spec = spec.and_then(|spec| match sees_parent(&spec) {
        true => Err("a volume of a parent's sandbox is for tasks of a group".to_owned()),
        false => untold_secret(&spec).map_or(Ok(spec), Err),
    });
    spec.map_err(|why| BadTask {
        task: TaskName::of(&info.task_id.value),
        why,
    })
}

/// The same with the role that its framework says its resources were handed out to, and those of its executor.
fn with_account(
    spec: Result<TaskSpec, ConvertError>,
    info: &wire::TaskInfo,
    executor: Option<&wire::ExecutorInfo>,
) -> Result<TaskSpec, String> {
    let resources = executor.into_iter().flat_map(|one| &one.resources);
    let account = account::named(info.resources.iter().chain(resources));
    let spec = spec.and_then(|spec| {
        Ok(TaskSpec {
            account: account?,
            ..spec
        })
    });
    spec.map_err(|bad| bad.to_string())
}

fn sees_parent(spec: &TaskSpec) -> bool {
    let mounts = spec
        .container
        .iter()
        .flat_map(|container| &container.mounts);
    let mut sources = mounts.map(|mount| &mount.source);
    sources.any(|source| matches!(source, MountSource::Parent(_)))
}

/// What is wrong with a task of which a secret is not told.
fn untold_secret(spec: &TaskSpec) -> Option<String> {
    let mut mounts = spec.container.iter().flat_map(|one| &one.mounts);
    let untold = mounts.find(|mount| mount.source == MountSource::Secret(None))?;
    Some(format!("the secret of {} has no value", untold.target))
}

fn kill(kill: &call::Kill) -> Result<Call, ConvertError> {
    let agent = kill.agent_id.as_ref().map(TryInto::try_into).transpose();
    let policy = kill.kill_policy.as_ref().map_or(Ok(None), grace_period);
    Ok(Call::Kill {
        task: (&kill.task_id).try_into().within("kill.task_id")?,
        agent: agent.within("kill.agent_id")?,
        grace_period: policy.within("kill.kill_policy")?,
    })
}

fn message(message: &call::Message) -> Result<Call, ConvertError> {
    let (agent, executor) = (&message.agent_id, &message.executor_id);
    Ok(Call::MessageExecutor {
        agent: agent.try_into().within("message.agent_id")?,
        executor: executor.try_into().within("message.executor_id")?,
        data: message.data.clone(),
    })
}

fn shutdown(shutdown: &call::Shutdown) -> Result<Call, ConvertError> {
    let (agent, executor) = (&shutdown.agent_id, &shutdown.executor_id);
    Ok(Call::ShutdownExecutor {
        agent: agent.try_into().within("shutdown.agent_id")?,
        executor: executor.try_into().within("shutdown.executor_id")?,
    })
}

fn acknowledge(acknowledge: &call::Acknowledge) -> Result<Call, ConvertError> {
    let (agent, task) = (&acknowledge.agent_id, &acknowledge.task_id);
    Ok(Call::Acknowledge {
        agent: agent.try_into().within("acknowledge.agent_id")?,
        task: task.try_into().within("acknowledge.task_id")?,
        uuid: update_id("acknowledge.uuid", &acknowledge.uuid)?,
    })
}

fn reconcile(reconcile: &call::Reconcile) -> Result<Call, ConvertError> {
    let tasks = reconcile.tasks.iter().map(|named| {
        let agent = named.agent_id.as_ref().map(TryInto::try_into).transpose();
        Ok((
            (&named.task_id).try_into().within("task_id")?,
            agent.within("agent_id")?,
        ))
    });
    let tasks: Result<_, ConvertError> = tasks.collect();
    Ok(Call::Reconcile(tasks.within("reconcile.tasks")?))
}

fn answer_inverse(
    ids: &[wire::OfferId],
    path: &str,
    filters: Option<&wire::Filters>,
    accepted: bool,
) -> Result<Call, ConvertError> {
    Ok(Call::AnswerInverse {
        offers: offers(ids, path)?,
        accepted,
        refuse_for: refusal(filters),
    })
}

fn acknowledge_operation(call: &WireCall) -> Result<Call, ConvertError> {
    let path = "acknowledge_operation_status";
    let acknowledge = part(call.acknowledge_operation_status.as_ref(), path)?;
    let agent = part(acknowledge.agent_id.as_ref(), &format!("{path}.agent_id"))?; // The rule of Mesos.
    let agent: Result<AgentId, ConvertError> = agent.try_into();
    let operation: Result<OperationId, ConvertError> = (&acknowledge.operation_id).try_into();
    Ok(Call::AcknowledgeOperation {
        agent: agent.within(format_args!("{path}.agent_id"))?,
        operation: operation.within(format_args!("{path}.operation_id"))?,
        uuid: update_id(&format!("{path}.uuid"), &acknowledge.uuid)?,
    })
}

fn reconcile_operations(call: &WireCall) -> Result<Call, ConvertError> {
    let path = "reconcile_operations";
    let reconcile = part(call.reconcile_operations.as_ref(), path)?;
    let named = reconcile.operations.iter().map(|named| {
        let agent = named.agent_id.as_ref().map(TryInto::try_into).transpose();
        let agent = agent.within(format_args!("{path}.operations.agent_id"))?;
        let id: Result<OperationId, ConvertError> = (&named.operation_id).try_into();
        let id = id.within(format_args!("{path}.operations.operation_id"))?;
        Ok((id, agent))
    });
    Ok(Call::ReconcileOperations(
        named.collect::<Result<_, ConvertError>>()?,
    ))
}

/// Which offers a framework takes at all.
fn rules(
    info: &wire::FrameworkInfo,
    constraints: Option<&OfferConstraints>,
) -> Result<OfferRules, ConvertError> {
    Ok(OfferRules {
        constraints: offer_constraints::from_wire(constraints).within("offer_constraints")?,
        min_allocatable: min_allocatable(info).within("framework_info")?,
    })
}

fn update(update: &call::UpdateFramework) -> Result<Call, ConvertError> {
    let info = FrameworkInfo::try_from(&update.framework_info);
    let suppressed = roles(
        &update.suppressed_roles,
        "update_framework.suppressed_roles",
    )?;
    Ok(Call::UpdateFramework {
        info: Box::new(info.within("update_framework.framework_info")?),
        suppressed,
        rules: rules(&update.framework_info, update.offer_constraints.as_ref())
            .within("update_framework")?,
    })
}

fn offers(ids: &[wire::OfferId], path: &str) -> Result<Vec<OfferId>, ConvertError> {
    let ids: Result<_, ConvertError> = ids.iter().map(TryInto::try_into).collect();
    ids.within(path)
}

fn roles(texts: &[String], path: &str) -> Result<BTreeSet<Role>, ConvertError> {
    texts.iter().map(|text| role(path, text)).collect()
}
