//! `/v2/groups`: apps in groups in groups, their former versions, and changes to all of a group at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mete_model::Timestamp;
use mete_proto::rest::apps::AppInfo;
use mete_proto::rest::deployments::DeploymentSteps;
use mete_proto::rest::groups::GroupUpdate;
use mete_proto::rest::pods::PodStatus;
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::spec::group::Group;
use mete_service_framework_core::spec::history::AppVersion;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::apps::App;
use mete_service_framework_core::state::groups::Tree;
use mete_service_framework_core::validate::Violation;
use mete_service_framework_core::{Input, Reply, View, Wanted};
use serde::Serialize;
use serde_json::json;

use super::access::May;
use super::apps::{Embed, described, info};
use super::audit::touched;
use super::body::Said;
use super::change::{ask, location};
use super::convert;
use super::deployments::step;
use super::failure::Failure;
use super::params::{Caller, InPath, Params};
use super::pieces::{self, Part};
use super::{Api, at};

pub(super) fn routes() -> Router<Api> {
    let root = get(root)
        .post(create_in_root)
        .put(put_root)
        .patch(patch_root)
        .delete(remove_all);
    Router::new().merge(at("/v2/groups", root)).route(
        "/v2/groups/{*path}",
        get(read).post(create).put(put).patch(patch).delete(remove),
    )
}

/// What part of a group a path names; `None` is the root.
#[derive(Debug, PartialEq, Eq)]
enum Target {
    Group(Option<AppId>),
    Apps(Option<AppId>),
    Versions(Option<AppId>),
    Version(Option<AppId>, String),
}

impl Target {
    /// Reads what follows `/v2/groups/`. Slashes at either end do not matter.
    fn parse(path: &str) -> Result<Self, Failure> {
        let path = path.trim_matches('/');
        let (head, last) = path.rsplit_once('/').unwrap_or(("", path));
        let (above, second) = head.rsplit_once('/').unwrap_or(("", head));
        Ok(match (second, last) {
            (_, "apps") => Self::Apps(group(head)?),
            (_, "versions") => Self::Versions(group(head)?),
            ("versions", version) => Self::Version(group(above)?, version.to_owned()),
            _ => Self::Group(group(path)?),
        })
    }

    /// Of which group something is asked; `None` is the root.
    fn group(&self) -> Option<&AppId> {
        match self {
            Self::Group(id) | Self::Apps(id) | Self::Versions(id) | Self::Version(id, _) => {
                id.as_ref()
            }
        }
    }
}

/// The group of a path; `None` for the root.
fn group(path: &str) -> Result<Option<AppId>, Failure> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    let id = AppId::new(path);
    id.map(Some)
        .map_err(|_| Failure::no_such_group(format_args!("/{path}")))
}

/// Which parts of a group are printed; all when nothing is said.
#[derive(Clone, Copy)]
struct Parts {
    apps: bool,
    pods: bool,
    groups: bool,
}

impl Parts {
    fn read(params: &Params) -> Self {
        let all: Vec<&str> = params.all("embed").collect();
        let has = |word| all.is_empty() || all.contains(&word);
        Self {
            apps: has("group.apps") || all.iter().any(|word| word.starts_with("group.apps.")),
            pods: has("group.pods"),
            groups: has("group.groups"),
        }
    }
}

async fn root(State(api): State<Api>, may: May, params: Params) -> Response {
    let view = api.handle.view();
    let all = present(&view, &may, &params);
    let parts = all.of(None, &params);
    written(&api, &view, &params, parts)
}

async fn read(
    State(api): State<Api>,
    may: May,
    InPath(path): InPath,
    params: Params,
) -> Result<Response, Failure> {
    let view = api.handle.view();
    let target = Target::parse(&path)?;
    if let Some(group) = target.group().filter(|group| !may.sees_in(group)) {
        return Err(no_such(Some(group)));
    }
    match target {
        Target::Group(id) => {
            there(&view, id.as_ref())?;
            let all = present(&view, &may, &params);
            let parts = all.of(id, &params);
            Ok(written(&api, &view, &params, parts))
        }
        Target::Apps(id) => {
            let is_in = |app: &App| app.id.is_in(id.as_ref()) && may.sees(&app.id);
            let below = view.wanted().filter(|(app, _)| is_in(app));
            let below = below.map(|(app, version)| Member::app(app, version));
            let parts = pieces::list("[", below, "]");
            Ok(written(&api, &view, &params, parts))
        }
        Target::Versions(id) => {
            there(&view, id.as_ref())?;
            let versions = view.trees().filter(|(_, tree)| tree.has(id.as_ref()));
            let versions = versions.map(|(version, _)| time::text(version));
            Ok(Json(versions.collect::<Vec<String>>()).into_response())
        }
        Target::Version(id, version) => {
            let moment = convert::timestamp(&version)?;
            let tree = view.trees().find(|(version, _)| *version == moment);
            let tree = tree.filter(|(_, tree)| tree.has(id.as_ref()));
            let Some((version, tree)) = tree else {
                return Err(no_such(id.as_ref()));
            };
            let all = All::former(version, &tree, &may);
            let parts = all.of(id, &params);
            Ok(written(&api, &view, &params, parts))
        }
    }
}

pub(super) fn there(view: &View, id: Option<&AppId>) -> Result<(), Failure> {
    let is_there = id.is_none_or(|id| view.groups.get(id).is_some());
    is_there.then_some(()).ok_or_else(|| no_such(id))
}

fn no_such(id: Option<&AppId>) -> Failure {
    Failure::no_such_group(id.map_or("/", AppId::as_str))
}

/// All groups, and the apps and pods right below each.
struct All<'a> {
    groups: &'a BTreeMap<AppId, Arc<Group>>,
    below: BTreeMap<Option<AppId>, Vec<&'a AppId>>,
    apps: BTreeMap<Option<AppId>, Vec<Member>>,
    pods: BTreeMap<Option<AppId>, Vec<Member>>,
    version: Timestamp,
}

/// An app or a pod that is to be printed.
enum Member {
    App {
        app: Arc<App>,
        version: Arc<AppVersion>,
    },
    Pod {
        pod: Arc<App>,
        version: Arc<AppVersion>,
    },
    /// Of which nothing is said but what was wanted.
    FormerApp(Arc<AppVersion>),
}

/// What is printed of it.
#[derive(Serialize)]
#[serde(untagged)]
enum Printed {
    App(Box<AppInfo>),
    Pod(Box<PodStatus>),
}

impl Member {
    fn app(app: &Arc<App>, version: &Arc<AppVersion>) -> Self {
        Self::App {
            app: Arc::clone(app),
            version: Arc::clone(version),
        }
    }

    fn printed(&self, api: &Api, view: &View, embed: Embed) -> Printed {
        match self {
            Self::App { app, version } => {
                Printed::App(Box::new(info(api, view, app, version, embed)))
            }
            Self::Pod { pod, version } => {
                let status = convert::pod_status(pod, version, &api.options.role);
                Printed::Pod(Box::new(status))
            }
            Self::FormerApp(version) => Printed::App(Box::new(AppInfo {
                app: described(api, version),
                ..AppInfo::default()
            })),
        }
    }
}

/// Groups as they stand in this view, printed as they are read.
fn written(api: &Api, view: &Arc<View>, params: &Params, parts: Vec<Part<Member>>) -> Response {
    let (api, view, embed) = (api.clone(), Arc::clone(view), Embed::read(params));
    pieces::answer(parts, move |member: Member| {
        member.printed(&api, &view, embed)
    })
}

/// As they are now.
fn present<'a>(view: &'a View, may: &May, params: &Params) -> All<'a> {
    let parts = Parts::read(params);
    let mut all = All::new(view.groups.all(), view.groups.version(), may);
    let is_asked = |app: &App| parts.apps && may.sees(&app.id);
    for (app, version) in view.wanted().filter(|(app, _)| is_asked(app)) {
        let member = Member::app(app, version);
        all.apps.entry(app.id.parent()).or_default().push(member);
    }
    let is_asked = |pod: &App| parts.pods && may.sees(&pod.id);
    for (pod, version) in view.pods().filter(|(pod, _)| is_asked(pod)) {
        let member = Member::Pod {
            pod: Arc::clone(pod),
            version: Arc::clone(version),
        };
        all.pods.entry(pod.id.parent()).or_default().push(member);
    }
    all
}

impl<'a> All<'a> {
    fn new(groups: &'a BTreeMap<AppId, Arc<Group>>, version: Timestamp, may: &May) -> Self {
        let mut below: BTreeMap<Option<AppId>, Vec<&AppId>> = BTreeMap::new();
        for id in groups.keys().filter(|id| may.sees_in(id)) {
            below.entry(id.parent()).or_default().push(id);
        }
        Self {
            groups,
            below,
            apps: BTreeMap::new(),
            pods: BTreeMap::new(),
            version,
        }
    }

    /// As they were, without how anything stood.
    fn former(version: Timestamp, tree: &'a Tree, may: &May) -> Self {
        let mut all = Self::new(&tree.groups, version, may);
        for (id, app) in tree.apps.iter().filter(|(id, _)| may.sees(id)) {
            if app.spec.is_pod() {
                let member = Member::Pod {
                    pod: Arc::new(App::new(id.clone())),
                    version: Arc::clone(app),
                };
                all.pods.entry(id.parent()).or_default().push(member);
                continue;
            }
            let member = Member::FormerApp(Arc::clone(app));
            all.apps.entry(id.parent()).or_default().push(member);
        }
        all
    }

    /// A group as [`GroupInfo`](mete_proto::rest::groups::GroupInfo) is printed.
    fn of(mut self, id: Option<AppId>, params: &Params) -> Vec<Part<Member>> {
        let mut parts = Vec::new();
        self.take(id, Parts::read(params), &mut parts);
        parts
    }

    fn take(&mut self, id: Option<AppId>, asked: Parts, out: &mut Vec<Part<Member>>) {
        let group = id.as_ref().and_then(|id| self.groups.get(id));
        let dependencies = group.map(|group| &group.dependencies).into_iter().flatten();
        let dependencies: Vec<String> = dependencies.map(ToString::to_string).collect();
        let enforce_role = group.is_some_and(|group| group.enforce_role);
        let apps = self.apps.remove(&id).filter(|_| asked.apps);
        let pods = self.pods.remove(&id).filter(|_| asked.pods);
        let below = self.below.remove(&id).filter(|_| asked.groups);
        let path = id.map_or_else(|| "/".to_owned(), |id| id.to_string());
        out.push(Part::Text(format!("{{\"id\":{}", json!(path))));
        out.extend(pieces::list(",\"apps\":[", apps.unwrap_or_default(), "]"));
        out.extend(pieces::list(",\"pods\":[", pods.unwrap_or_default(), "]"));
        out.push(Part::Text(",\"groups\":[".to_owned()));
        for (at, id) in below.unwrap_or_default().into_iter().enumerate() {
            if at > 0 {
                out.push(Part::Text(",".to_owned()));
            }
            self.take(Some(id.clone()), asked, out);
        }
        let enforced = if enforce_role {
            ",\"enforceRole\":true"
        } else {
            ""
        };
        let version = json!(time::text(self.version));
        out.push(Part::Text(format!(
            "],\"dependencies\":{}{enforced},\"version\":{version}}}",
            json!(dependencies),
        )));
    }
}

async fn create_in_root(
    state: State<Api>,
    may: May,
    params: Params,
    caller: Caller,
    said: Said<GroupUpdate>,
) -> Result<Response, Failure> {
    create(state, may, InPath(String::new()), params, caller, said).await
}

/// POST: 201, and where it is.
async fn create(
    State(api): State<Api>,
    may: May,
    InPath(path): InPath,
    params: Params,
    caller: Caller,
    Said(said): Said<GroupUpdate>,
) -> Result<Response, Failure> {
    let force = params.switch("force", false)?;
    let id = convert::group_id(&said, writable(&path)?.as_ref())?;
    may.make(id.as_ref())?;
    let what = convert::new_group(id.clone(), &said)?;
    let changed = ask(&api, what, force, None).await?;
    let path = id.as_ref().map_or("/", AppId::as_str);
    let location = location(&api, &caller, path);
    let answer = (StatusCode::CREATED, location, changed);
    Ok(touched(answer, &id))
}

async fn put_root(
    state: State<Api>,
    may: May,
    params: Params,
    said: Said<GroupUpdate>,
) -> Result<Response, Failure> {
    put(state, may, InPath(String::new()), params, said).await
}

/// PUT: 200 whether it is new or not; with `dryRun` what would be done.
async fn put(
    State(api): State<Api>,
    may: May,
    InPath(path): InPath,
    params: Params,
    Said(said): Said<GroupUpdate>,
) -> Result<Response, Failure> {
    let (force, dry) = (
        params.switch("force", false)?,
        params.switch("dryRun", false)?,
    );
    let id = convert::group_id(&said, writable(&path)?.as_ref())?;
    may.make(id.as_ref())?;
    let what = convert::group(id.clone(), &said)?;
    if !dry {
        return Ok(touched(ask(&api, what, force, None).await?, &id));
    }
    let reply = api.handle.ask(Input::DryRun(what)).await?;
    let Reply::Planned(steps) = reply else {
        return Err(reply.into());
    };
    let steps = steps.iter().map(step).collect();
    Ok(Json(DeploymentSteps { steps }).into_response())
}

/// PATCH: only whether a group at the top enforces its role.
async fn patch(
    State(api): State<Api>,
    may: May,
    InPath(path): InPath,
    Said(said): Said<GroupUpdate>,
) -> Result<StatusCode, Failure> {
    let id = writable(&path)?;
    may.make(id.as_ref())?;
    if id.as_ref().is_none_or(|id| id.parent().is_some()) {
        return Err(Failure::unprocessable("Path needs to be top-level"));
    }
    there(&api.handle.view(), id.as_ref())?;
    let only = GroupUpdate {
        enforce_role: said.enforce_role,
        ..GroupUpdate::default()
    };
    let what = convert::group(id, &only)?;
    if said.enforce_role.is_some() {
        ask(&api, what, false, None).await?;
    }
    Ok(StatusCode::OK)
}

async fn patch_root(
    state: State<Api>,
    may: May,
    said: Said<GroupUpdate>,
) -> Result<StatusCode, Failure> {
    patch(state, may, InPath(String::new()), said).await
}

async fn remove_all(State(api): State<Api>, may: May, params: Params) -> Result<Response, Failure> {
    may.make(None)?;
    let force = params.switch("force", false)?;
    let changed = ask(&api, Wanted::RemoveGroup(None), force, None).await?;
    Ok(changed.into_response())
}

async fn remove(
    State(api): State<Api>,
    may: May,
    InPath(path): InPath,
    params: Params,
) -> Result<Response, Failure> {
    let force = params.switch("force", false)?;
    let Target::Group(id) = Target::parse(&path)? else {
        return Err(Failure::method_not_allowed());
    };
    may.make(id.as_ref())?;
    let changed = ask(&api, Wanted::RemoveGroup(id), force, None).await?;
    Ok(changed.into_response())
}

/// The group that is written to; a bad path is a wish that makes no sense.
fn writable(path: &str) -> Result<Option<AppId>, Failure> {
    let path = path.trim_matches('/');
    if path.is_empty() {
        return Ok(None);
    }
    let bad = |rule: &str| Failure::invalid(vec![Violation::new("/id", rule)]);
    AppId::new(path)
        .map(Some)
        .map_err(|error| bad(error.rule()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_a_group_its_apps_or_its_versions() {
        let id = |text| Some(AppId::new(text).expect("good"));
        let parse = |path| Target::parse(path).ok();
        for path in ["shop/eu", "/shop/eu/", "//shop/eu"] {
            assert_eq!(parse(path), Some(Target::Group(id("/shop/eu"))), "{path}");
        }
        assert_eq!(parse("/"), Some(Target::Group(None)));
        assert_eq!(parse("apps"), Some(Target::Apps(None)));
        assert_eq!(parse("shop/apps"), Some(Target::Apps(id("/shop"))));
        assert_eq!(parse("versions"), Some(Target::Versions(None)));
        assert_eq!(parse("a/versions/"), Some(Target::Versions(id("/a"))));
        let version = |id| Some(Target::Version(id, "v".to_owned()));
        assert_eq!(parse("versions/v"), version(None));
        assert_eq!(parse("a/b/versions/v"), version(id("/a/b")));
        assert_eq!(parse("A b"), None);
    }
}
