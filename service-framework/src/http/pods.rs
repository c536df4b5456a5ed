//! `/v2/pods`: containers that run together, how they stand, their former versions, and changes to them.

use std::collections::BTreeMap;

use axum::extract::{FromRequest, Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mete_model::Timestamp;
use mete_proto::rest::pods::{Instance, Pod, PodStatus};
use mete_service_framework_core::spec::app::{AppId, AppSpec};
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::instances::InstanceId;
use mete_service_framework_core::validate::Violation;
use mete_service_framework_core::{Input, Reply, Wanted};

use super::access::May;
use super::audit::touched;
use super::body::Said;
use super::change::{Changed, ask, id_of, location};
use super::failure::Failure;
use super::params::{Caller, InPath, Params};
use super::{Api, at, convert};

pub(super) fn routes() -> Router<Api> {
    Router::new()
        .merge(at("/v2/pods", get(list).post(create)))
        .merge(at("/v2/pods::status", get(all_statuses)))
        .route("/v2/pods/{*path}", get(read).put(put).delete(remove))
}

/// What part of a pod a path names.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The pod itself.
    Pod(AppId),
    /// `::status` of all pods.
    AllStatuses,
    /// `::status`
    Status(AppId),
    /// `::versions`
    Versions(AppId),
    /// `::versions/{version}`
    Version(AppId, String),
    /// `::instances`
    Instances(AppId),
    /// `::instances/{instance}`
    Instance(AppId, String),
    /// Nothing there is, such as `::other`.
    Unknown,
    /// No id of a pod; as it came, made absolute, and what is wrong with it.
    Bad(String, &'static str),
}

impl Target {
    /// Reads what follows `/v2/pods`. Slashes at either end do not matter.
    pub(super) fn parse(path: &str) -> Self {
        let path = path.trim_matches('/');
        let (id, part) = match path.split_once("::") {
            Some((id, part)) => (id.trim_matches('/'), Some(part)),
            None => (path, None),
        };
        if (id, part) == ("", Some("status")) {
            return Self::AllStatuses;
        }
        let id = match AppId::new(id) {
            Ok(id) => id,
            Err(bad) => return Self::Bad(format!("/{id}"), bad.rule()),
        };
        let Some(part) = part else {
            return Self::Pod(id);
        };
        match part.split_once('/') {
            None if part == "status" => Self::Status(id),
            None if part == "versions" => Self::Versions(id),
            None if part == "instances" => Self::Instances(id),
            Some(("versions", version)) => Self::Version(id, version.to_owned()),
            Some(("instances", instance)) => Self::Instance(id, instance.to_owned()),
            None | Some(_) => Self::Unknown,
        }
    }
}

/// GET; HEAD asks whether there are pods at all.
async fn list(State(api): State<Api>, may: May) -> Json<Vec<Pod>> {
    let view = api.handle.view();
    let pods = view.pods().filter(|(pod, _)| may.sees(&pod.id));
    let pods = pods.map(|(_, version)| convert::pod(version, &api.options.role));
    Json(pods.collect())
}

async fn all_statuses(State(api): State<Api>, may: May) -> Json<Vec<PodStatus>> {
    let view = api.handle.view();
    let pods = view.pods().filter(|(pod, _)| may.sees(&pod.id));
    let pods = pods.map(|(pod, version)| convert::pod_status(pod, version, &api.options.role));
    Json(pods.collect())
}

async fn read(State(api): State<Api>, may: May, InPath(path): InPath) -> Result<Response, Failure> {
    let (view, role) = (api.handle.view(), &api.options.role);
    let pod = |id: &AppId| view.pod(id).ok_or_else(|| Failure::no_such_pod(id));
    match Target::parse(&path) {
        Target::Pod(id) => {
            let (_, version) = pod(&id)?;
            Ok(Json(convert::pod(version, role)).into_response())
        }
        Target::AllStatuses => Ok(all_statuses(State(api), may).await.into_response()),
        Target::Status(id) => {
            let (pod, version) = pod(&id)?;
            Ok(Json(convert::pod_status(pod, version, role)).into_response())
        }
        Target::Versions(id) => {
            let versions = pod(&id)?.0.versions.keys().rev();
            let versions: Vec<String> = versions.map(|version| time::text(*version)).collect();
            Ok(Json(versions).into_response())
        }
        Target::Version(id, version) => {
            let moment = convert::timestamp(&version)?;
            let versions = &pod(&id)?.0.versions;
            let version = versions.get(&moment).ok_or_else(|| {
                let version = time::text(moment);
                Failure::not_found(format!("Pod '{id}' does not exist in version {version}"))
            })?;
            Ok(Json(convert::pod(version, role)).into_response())
        }
        Target::Instances(_) | Target::Instance(..) => Err(Failure::method_not_allowed()),
        Target::Unknown => Err(Failure::no_such_uri()),
        Target::Bad(id, _) => Err(Failure::no_such_pod(id)),
    }
}

/// POST: 201 and the pod.
async fn create(
    State(api): State<Api>,
    may: May,
    params: Params,
    caller: Caller,
    Said(said): Said<Pod>,
) -> Result<Response, Failure> {
    let force = params.switch("force", false)?;
    let id = id_of(said.id.as_ref(), "/id")?;
    may.make(Some(&id))?;
    let spec = convert::apply_pod(id.clone(), &said)?;
    let wanted = Wanted::Create(Box::new(spec));
    let changed = ask(&api, wanted, force, Some(caller.origin())).await?;
    let body = Json(made(&api, &id, changed.version, said));
    let location = location(&api, &caller, id.as_str());
    let answer = (StatusCode::CREATED, changed.header(), location, body);
    Ok(touched(answer, [&id]))
}

/// PUT: 200 and the pod, which is all that is said and nothing else, whether it is new or not.
async fn put(
    State(api): State<Api>,
    InPath(path): InPath,
    params: Params,
    caller: Caller,
    Said(said): Said<Pod>,
) -> Result<Response, Failure> {
    let force = params.switch("force", false)?;
    let id = match Target::parse(&path) {
        Target::Pod(id) => id,
        Target::Bad(_, rule) => return Err(Failure::invalid(vec![Violation::new("/id", rule)])),
        Target::Unknown => return Err(Failure::no_such_uri()),
        Target::AllStatuses
        | Target::Status(_)
        | Target::Versions(_)
        | Target::Version(..)
        | Target::Instances(_)
        | Target::Instance(..) => return Err(Failure::method_not_allowed()),
    };
    let named = id_of(said.id.as_ref(), "/id")?;
    let spec: AppSpec = convert::apply_pod(id.clone(), &said)?;
    if named != id {
        let message = format!("'{id}' does not match definition's id ('{named}')");
        return Err(Failure::bad_request(message));
    }
    let wanted = Wanted::Put {
        apps: vec![spec],
        create: true,
        merged_with: BTreeMap::new(),
    };
    let changed = ask(&api, wanted, force, Some(caller.origin())).await?;
    let body = Json(made(&api, &id, changed.version, said));
    Ok((changed.header(), body).into_response())
}

/// A version that was just made, or, when nothing was to be changed, the one there is.
fn made(api: &Api, id: &AppId, version: Timestamp, said: Pod) -> Pod {
    let view = api.handle.view();
    let pod = view.apps.get(id);
    let version = pod.and_then(|pod| pod.versions.get(&version).or(pod.wanted.as_ref()));
    version.map_or(said, |version| convert::pod(version, &api.options.role))
}

/// DELETE of a pod, or of some of its instances.
async fn remove(
    State(api): State<Api>,
    InPath(path): InPath,
    params: Params,
    caller: Caller,
    request: Request,
) -> Result<Response, Failure> {
    match Target::parse(&path) {
        Target::Pod(id) => {
            let force = params.switch("force", false)?;
            let wanted = Wanted::RemovePod(id);
            let changed = ask(&api, wanted, force, Some(caller.origin())).await?;
            Ok(gone(&api, &caller, &changed))
        }
        Target::Instance(id, instance) => {
            let killed = kill(&api, &id, vec![instance.clone()], &params).await?;
            let first = killed.into_iter().next();
            let told = first.ok_or_else(|| Failure::no_such_task(&instance))?;
            Ok(Json(told).into_response())
        }
        Target::Instances(id) => {
            let Said(instances) = Said::<Vec<String>>::from_request(request, &api).await?;
            Ok(Json(kill(&api, &id, instances, &params).await?).into_response())
        }
        Target::Bad(id, _) => Err(Failure::no_such_pod(id)),
        Target::Unknown => Err(Failure::no_such_uri()),
        Target::AllStatuses | Target::Status(_) | Target::Versions(_) | Target::Version(..) => {
            Err(Failure::method_not_allowed())
        }
    }
}

/// 202, and the deployment: in the header, and, as Marathon has it, as the place.
fn gone(api: &Api, caller: &Caller, changed: &Changed) -> Response {
    let place = location(api, caller, &format!("/{}", changed.deployment));
    (StatusCode::ACCEPTED, changed.header(), place).into_response()
}

/// Kills instances of a pod; they are replaced. Those unknown are skipped. `wipe` throws away what an instance has
/// reserved; nothing is reserved yet, so it changes nothing.
async fn kill(
    api: &Api,
    id: &AppId,
    instances: Vec<String>,
    params: &Params,
) -> Result<Vec<Instance>, Failure> {
    let wipe = params.switch("wipe", false)?;
    let view = api.handle.view();
    view.pod(id).ok_or_else(|| Failure::no_such_pod(id))?;
    let mut found = Vec::new();
    for text in instances {
        let Some(instance) = InstanceId::parse(&text).filter(|one| one.as_str() == text) else {
            let message =
                "must fully match regular expression '^(.+)\\.(instance-|marathon-)([^\\.]+)$'";
            return Err(Failure::invalid(vec![Violation::new("/", message)]));
        };
        found.extend(Some(instance).filter(|instance| instance.app() == *id));
    }
    let input = Input::KillInstances {
        instances: found,
        scale: false,
        force: false,
        wipe,
    };
    let reply = api.handle.ask(input).await?;
    let Reply::Killed(killed) = reply else {
        return Err(reply.into());
    };
    let killed = killed.iter();
    Ok(killed.map(|one| convert::pod_instance(one)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_pod_or_a_part_of_it() {
        let id = |text| AppId::new(text).expect("good");
        for path in ["shop/p", "/shop/p/", "//shop/p"] {
            assert_eq!(Target::parse(path), Target::Pod(id("/shop/p")), "{path}");
        }
        assert_eq!(Target::parse("::status"), Target::AllStatuses);
        assert_eq!(Target::parse("/::status"), Target::AllStatuses);
        assert_eq!(Target::parse("p::status"), Target::Status(id("/p")));
        assert_eq!(Target::parse("p/::status"), Target::Status(id("/p")));
        assert_eq!(Target::parse("a/p::versions"), Target::Versions(id("/a/p")));
        let version = Target::Version(id("/p"), "v".to_owned());
        assert_eq!(Target::parse("p::versions/v"), version);
        assert_eq!(Target::parse("p::instances"), Target::Instances(id("/p")));
        let instance = Target::Instance(id("/p"), "p.instance-1".to_owned());
        assert_eq!(Target::parse("p::instances/p.instance-1"), instance);
        assert_eq!(Target::parse("p::other"), Target::Unknown);
        assert_eq!(Target::parse("p::other/x"), Target::Unknown);
        assert!(matches!(Target::parse("A::status"), Target::Bad(text, _) if text == "/A"));
        assert!(matches!(Target::parse("::versions"), Target::Bad(..)));
    }
}
