//! `/v2/apps`: write. A wish is merged with what is there, asked of the loop, and answered once it is stored.
//!
//! Merging reads the published view, which may be older than what the loop knows; the loop says so then, and the wish
//! is merged anew. Those who merge with the same app do so one after the other.

use std::collections::{BTreeMap, BTreeSet};

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use mete_model::Timestamp;
use mete_proto::rest::apps::{App, AppInfo, Identifiable, Standing};
use mete_proto::rest::deployments::DeploymentResult;
use mete_service_framework_core::spec::app::{AppId, AppSpec};
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::deployments::DeploymentId;
use mete_service_framework_core::validate::Violation;
use mete_service_framework_core::{Change, Input, Origin, Reply, View, Wanted};

use super::Api;
use super::access::May;
use super::audit::touched;
use super::body::Said;
use super::convert::{self, Extent};
use super::failure::Failure;
use super::params::{Caller, InPath, Params, Target};

/// Which deployment a change started.
pub(super) const DEPLOYMENT: HeaderName = HeaderName::from_static("marathon-deployment-id");

/// A wish is merged so often while others change the same app without merging: groups, restarts, kills that scale; then its
/// user is told to try again.
const MAX_MERGES: usize = 10;

/// Apps in one list: as many as fit a body of 8 MiB anyhow; each is held several times over.
const MAX_APPS: usize = 10_000;

/// The answer to a change: status 200, the deployment in body and header.
pub(super) struct Changed {
    pub(super) version: Timestamp,
    pub(super) deployment: DeploymentId,
    pub(super) created: bool,
}

/// Takes the reply to a change.
///
/// # Errors
/// When the core turned it down.
pub(super) fn result(reply: Reply) -> Result<Changed, Failure> {
    let Reply::Changed {
        version,
        deployment,
        created,
    } = reply
    else {
        return Err(reply.into());
    };
    Ok(Changed {
        version,
        deployment,
        created,
    })
}

impl Changed {
    pub(super) fn header(&self) -> [(HeaderName, HeaderValue); 1] {
        let id = HeaderValue::try_from(self.deployment.as_str());
        [(DEPLOYMENT, id.unwrap_or(HeaderValue::from_static("")))]
    }
}

impl IntoResponse for Changed {
    fn into_response(self) -> Response {
        let body = DeploymentResult {
            version: time::text(self.version),
            deployment_id: self.deployment.to_string(),
        };
        (self.header(), Json(body)).into_response()
    }
}

/// POST: 201 and the app.
pub(super) async fn create(
    State(api): State<Api>,
    may: May,
    params: Params,
    caller: Caller,
    Said(said): Said<App>,
) -> Result<Response, Failure> {
    let force = params.switch("force", false)?;
    let id = id_of(said.id.as_ref(), "/id")?;
    may.make(Some(&id))?;
    let spec = convert::apply(AppSpec::new(id.clone()), &said, Extent::Whole)?;
    let wanted = Wanted::Create(Box::new(spec));
    let changed = ask(&api, wanted, force, Some(caller.origin())).await?;
    let view = api.handle.view();
    // It may have been changed or deleted since; the version that was made is kept.
    let versions = view.apps.get(&id).map(|app| &app.versions);
    let app = versions
        .and_then(|versions| versions.get(&changed.version))
        .map(|version| convert::app(version, &api.options.role))
        .unwrap_or(said);
    let body = AppInfo {
        app,
        standing: Standing {
            tasks_staged: Some(0),
            tasks_running: Some(0),
            tasks_healthy: Some(0),
            tasks_unhealthy: Some(0),
            deployments: Some(vec![Identifiable {
                id: changed.deployment.to_string(),
            }]),
            ..Standing::default()
        },
    };
    let location = location(&api, &caller, id.as_str());
    let answer = (StatusCode::CREATED, changed.header(), location, Json(body));
    Ok(touched(answer, [&id]))
}

/// PUT of one app: 200, or 201 when it is new.
pub(super) async fn put_one(
    State(api): State<Api>,
    InPath(path): InPath,
    params: Params,
    caller: Caller,
    Said(said): Said<App>,
) -> Result<Response, Failure> {
    let id = writable(&path)?;
    let wish = Wish {
        force: params.switch("force", false)?,
        partial: params.switch("partialUpdate", true)?,
        create: true,
        origin: Some(caller.origin()),
        apps: vec![(id.clone(), said)],
    };
    let changed = wish.make(&api).await?;
    if changed.created {
        let location = location(&api, &caller, id.as_str());
        return Ok((StatusCode::CREATED, location, changed).into_response());
    }
    Ok(changed.into_response())
}

/// PATCH of one app.
pub(super) async fn patch_one(
    State(api): State<Api>,
    InPath(path): InPath,
    params: Params,
    caller: Caller,
    Said(said): Said<App>,
) -> Result<Changed, Failure> {
    let id = Target::parse(&path).into_app()?;
    let wish = Wish {
        force: params.switch("force", false)?,
        partial: true,
        create: false,
        origin: Some(caller.origin()),
        apps: vec![(id, said)],
    };
    wish.make(&api).await
}

/// PUT of a list.
pub(super) async fn put_many(
    State(api): State<Api>,
    may: May,
    params: Params,
    Said(said): Said<Vec<App>>,
) -> Result<Response, Failure> {
    let wish = Wish {
        force: params.switch("force", false)?,
        partial: params.switch("partialUpdate", true)?,
        create: true,
        origin: None,
        apps: listed(said, &may)?,
    };
    let changed = wish.make(&api).await?;
    Ok(touched(changed, wish.apps.iter().map(|(id, _)| id)))
}

/// PATCH of a list.
pub(super) async fn patch_many(
    State(api): State<Api>,
    may: May,
    params: Params,
    Said(said): Said<Vec<App>>,
) -> Result<Response, Failure> {
    let wish = Wish {
        force: params.switch("force", false)?,
        partial: true,
        create: false,
        origin: None,
        apps: listed(said, &may)?,
    };
    let changed = wish.make(&api).await?;
    Ok(touched(changed, wish.apps.iter().map(|(id, _)| id)))
}

/// DELETE of an app. Marathon's code forces by default, whatever its documents say.
pub(super) async fn remove(api: &Api, id: AppId, params: &Params) -> Result<Changed, Failure> {
    let force = params.switch("force", true)?;
    ask(api, Wanted::Remove(id), force, None).await
}

/// POST to `restart`.
pub(super) async fn restart(
    State(api): State<Api>,
    InPath(path): InPath,
    params: Params,
) -> Result<Changed, Failure> {
    match Target::parse(&path) {
        Target::Restart(id) => {
            let force = params.switch("force", false)?;
            ask(&api, Wanted::Restart(id), force, None).await
        }
        Target::Bad(id, _) => Err(Failure::no_such_app(id)),
        Target::App(_)
        | Target::Versions(_)
        | Target::Version(..)
        | Target::Tasks(_)
        | Target::Task(..)
        | Target::Below(_)
        | Target::TasksBelow(_) => Err(Failure::method_not_allowed()),
    }
}

pub(super) async fn ask(
    api: &Api,
    what: Wanted,
    force: bool,
    origin: Option<Origin>,
) -> Result<Changed, Failure> {
    let change = Change {
        what,
        force,
        origin,
    };
    result(api.handle.ask(Input::Change(change)).await?)
}

/// Changes to apps by id, not yet merged with what is there.
struct Wish {
    apps: Vec<(AppId, App)>,
    partial: bool,
    create: bool,
    force: bool,
    origin: Option<Origin>,
}

impl Wish {
    async fn make(&self, api: &Api) -> Result<Changed, Failure> {
        let _turn = api.turns.of(self.apps.iter().map(|(id, _)| id)).await;
        let mut tries = 0;
        loop {
            let wanted = self.merge(&api.handle.view())?;
            let change = Change {
                what: wanted,
                force: self.force,
                origin: self.origin.clone(),
            };
            tries += 1;
            let reply = api.handle.ask(Input::Change(change)).await?;
            if !matches!(reply, Reply::Stale(_)) || tries >= MAX_MERGES {
                return result(reply);
            }
        }
    }

    fn merge(&self, view: &View) -> Result<Wanted, Failure> {
        let (mut apps, mut merged_with) = (Vec::new(), BTreeMap::new());
        for (id, said) in &self.apps {
            let present = view.app(id).and_then(|app| app.wanted.as_ref());
            if present.is_none() && !self.create {
                return Err(Failure::no_such_app(id));
            }
            let present = present.filter(|_| self.partial);
            // In an app that is replaced whole, as what was read before, it says which one it was.
            if let Some(version) = &said.version
                && (present.is_some() || names_version_alone(said))
            {
                apps.push(former(view, id, said, version)?);
                continue;
            }
            let (base, extent) = match present {
                Some(present) => {
                    merged_with.insert(id.clone(), present.version);
                    ((*present.spec).clone(), Extent::Part)
                }
                None => (AppSpec::new(id.clone()), Extent::Whole),
            };
            apps.push(convert::apply(base, said, extent)?);
        }
        Ok(Wanted::Put {
            apps,
            create: self.create,
            merged_with,
        })
    }
}

/// The app as it was in a former version: `{"version": "…"}` goes back to it.
fn former(view: &View, id: &AppId, said: &App, version: &str) -> Result<AppSpec, Failure> {
    if !names_version_alone(said) {
        let message = "The 'version' field may only be combined with the 'id' field.";
        return Err(Failure::invalid(vec![Violation::new("/", message)]));
    }
    let version = convert::timestamp(version)?;
    let app = view.app(id).ok_or_else(|| Failure::no_such_app(id))?;
    let former = app.versions.get(&version).ok_or_else(|| {
        let version = time::text(version);
        Failure::not_found(format!("App '{id}' does not exist in version {version}"))
    })?;
    Ok((*former.spec).clone())
}

fn names_version_alone(said: &App) -> bool {
    let alone = App {
        id: said.id.clone(),
        version: said.version.clone(),
        ..App::default()
    };
    *said == alone
}

/// Apps of a list by their ids, each of which occurs once and may be changed.
fn listed(said: Vec<App>, may: &May) -> Result<Vec<(AppId, App)>, Failure> {
    if said.len() > MAX_APPS {
        let message = format!("has {} apps, may have {MAX_APPS}", said.len());
        return Err(Failure::wrong_shape(vec![Violation::new("/", message)]));
    }
    let mut seen = BTreeSet::new();
    let mut apps = Vec::new();
    for (at, app) in said.into_iter().enumerate() {
        let path = format!("/({at})/id");
        let id = id_of(app.id.as_ref(), &path)?;
        may.make(Some(&id))?;
        if !seen.insert(id.clone()) {
            let message = format!("{id} occurs more than once in the list");
            return Err(Failure::invalid(vec![Violation::new(path, message)]));
        }
        apps.push((id, app));
    }
    Ok(apps)
}

/// The id that is said of an app or a pod.
pub(super) fn id_of(said: Option<&String>, path: &str) -> Result<AppId, Failure> {
    let Some(id) = said else {
        let missing = Violation::new(path, "error.path.missing");
        return Err(Failure::wrong_shape(vec![missing]));
    };
    let bad = |rule: &str| Failure::invalid(vec![Violation::new(path, rule)]);
    AppId::new(id).map_err(|error| bad(error.rule()))
}

/// The app that a PUT makes or changes; a bad id is a wish that makes no sense.
fn writable(path: &str) -> Result<AppId, Failure> {
    let target = Target::parse(path);
    if let Target::Bad(_, rule) = target {
        return Err(Failure::invalid(vec![Violation::new("/id", rule)]));
    }
    target.into_app()
}

/// The bare id on the server's root, as Marathon says it.
pub(super) fn location(api: &Api, caller: &Caller, id: &str) -> [(HeaderName, HeaderValue); 1] {
    let host = caller.host.as_deref().unwrap_or(&api.leader);
    let address = HeaderValue::try_from(format!("http://{host}{id}"));
    [(LOCATION, address.unwrap_or(HeaderValue::from_static("/")))]
}
