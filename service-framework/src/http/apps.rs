//! `/v2/apps`: read, and which handler a method and a path lead to.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use mete_daemon::clock;
use mete_proto::rest::apps::{AppInfo, AppSingle, Identifiable, Standing, VersionList};
use mete_service_framework_core::View;
use mete_service_framework_core::spec::app::AppId;
use mete_service_framework_core::spec::history::AppVersion;
use mete_service_framework_core::spec::time;
use mete_service_framework_core::state::apps::App;

use super::access::May;
use super::failure::Failure;
use super::params::{InPath, Params, Target};
use super::pieces::{self, Part};
use super::selector::Selector;
use super::{Api, at, change, convert, groups, instances};

pub(super) fn routes() -> Router<Api> {
    let many = get(list)
        .post(change::create)
        .put(change::put_many)
        .patch(change::patch_many);
    Router::new().merge(at("/v2/apps", many)).route(
        "/v2/apps/{*path}",
        get(read)
            .post(change::restart)
            .put(change::put_one)
            .patch(change::patch_one)
            .delete(delete),
    )
}

/// Which parts of an app's standing are printed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Embed {
    tasks: bool,
    readiness: bool,
    last_task_failure: bool,
    stats: bool,
}

impl Embed {
    /// Counts and deployments are always there. Unknown words are passed over, as Marathon does.
    pub(super) fn read(params: &Params) -> Self {
        let mut embed = Self::default();
        for word in params.all("embed") {
            let bare = ["group.apps.", "apps.", "app."]
                .iter()
                .find_map(|prefix| word.strip_prefix(prefix))
                .unwrap_or(word);
            match bare {
                "tasks" => embed.tasks = true,
                "readiness" => embed.readiness = true,
                "lastTaskFailure" => embed.last_task_failure = true,
                "failures" => (embed.tasks, embed.last_task_failure) = (true, true),
                "taskStats" => embed.stats = true,
                "counts" | "count" | "deployments" => {}
                unknown => tracing::debug!(embed = unknown, "unknown part of an app asked for"),
            }
        }
        embed
    }
}

async fn list(State(api): State<Api>, may: May, params: Params) -> Result<Response, Failure> {
    let contains = |text: &str, part: Option<&str>| {
        part.is_none_or(|part| text.to_lowercase().contains(&part.to_lowercase()))
    };
    let said = params.first("label").filter(|said| !said.is_empty()); // As forms send what was left open.
    let selector = said.map(Selector::parse).transpose();
    let selector = selector.map_err(Failure::unprocessable)?;
    let (view, embed) = (api.handle.view(), Embed::read(&params));
    let (cmd, id) = (params.first("cmd"), params.first("id"));
    let apps = view.wanted().filter(|(_, version)| {
        let spec = &*version.spec;
        may.sees(&spec.id)
            && contains(spec.cmd.as_deref().unwrap_or_default(), cmd)
            && contains(spec.id.as_str(), id)
            && selector
                .as_ref()
                .is_none_or(|selector| selector.matches(&spec.labels))
    });
    let parts = pieces::list("{\"apps\":[", chosen(apps), "]}");
    Ok(written(&api, &view, embed, parts))
}

/// An app that is to be printed.
type Chosen = (Arc<App>, Arc<AppVersion>);

/// What it takes to print apps later.
fn chosen<'a>(
    apps: impl Iterator<Item = (&'a Arc<App>, &'a Arc<AppVersion>)>,
) -> impl Iterator<Item = Chosen> {
    apps.map(|(app, version)| (Arc::clone(app), Arc::clone(version)))
}

/// Apps as they stand in this view, printed as they are read.
fn written(api: &Api, view: &Arc<View>, embed: Embed, parts: Vec<Part<Chosen>>) -> Response {
    let (api, view) = (api.clone(), Arc::clone(view));
    pieces::answer(parts, move |(app, version): Chosen| {
        info(&api, &view, &app, &version, embed)
    })
}

async fn read(
    State(api): State<Api>,
    may: May,
    InPath(path): InPath,
    params: Params,
) -> Result<Response, Failure> {
    let (view, embed) = (api.handle.view(), Embed::read(&params));
    match Target::parse(&path) {
        Target::App(id) => one(&api, &view, &id, embed).map(IntoResponse::into_response),
        Target::Below(group) => {
            let below = view.wanted().filter(|(_, version)| {
                let id = &version.spec.id;
                is_below(id, group.as_ref()) && may.sees(id)
            });
            let parts = pieces::list("{\"*\":[", chosen(below), "]}");
            Ok(written(&api, &view, embed, parts))
        }
        Target::Versions(id) => {
            let app = view.app(&id).ok_or_else(|| Failure::no_such_app(&id))?;
            let versions = app
                .versions
                .keys()
                .rev()
                .map(|version| time::text(*version))
                .collect();
            Ok(Json(VersionList { versions }).into_response())
        }
        Target::Version(id, version) => {
            former(&api, &view, &id, &version).map(IntoResponse::into_response)
        }
        Target::Tasks(id) => {
            view.app(&id).ok_or_else(|| Failure::no_such_app(&id))?;
            Ok(Json(instances::of(&api, &view, |app| *app == id)).into_response())
        }
        Target::TasksBelow(group) => {
            groups::there(&view, group.as_ref())?;
            let is_below = |app: &AppId| is_below(app, group.as_ref()) && may.sees(app);
            Ok(Json(instances::of(&api, &view, is_below)).into_response())
        }
        Target::Restart(_) | Target::Task(..) => Err(Failure::method_not_allowed()),
        Target::Bad(id, _) => Err(Failure::no_such_app(id)),
    }
}

async fn delete(
    State(api): State<Api>,
    InPath(path): InPath,
    params: Params,
) -> Result<Response, Failure> {
    match Target::parse(&path) {
        Target::App(id) => change::remove(&api, id, &params)
            .await
            .map(IntoResponse::into_response),
        Target::Tasks(id) => instances::kill_all(&api, &id, &params).await,
        Target::Task(id, task) => instances::kill_one(&api, &id, &task, &params).await,
        Target::Bad(id, _) => Err(Failure::no_such_app(id)),
        Target::Restart(_)
        | Target::Versions(_)
        | Target::Version(..)
        | Target::Below(_)
        | Target::TasksBelow(_) => Err(Failure::method_not_allowed()),
    }
}

/// Whether an app lies below a group; all lie below the root.
fn is_below(app: &AppId, group: Option<&AppId>) -> bool {
    group.is_none_or(|group| app.is_within(group) && app != group)
}

fn one(api: &Api, view: &View, id: &AppId, embed: Embed) -> Result<Json<AppSingle>, Failure> {
    let app = view.app(id).ok_or_else(|| Failure::no_such_app(id))?;
    let version = app
        .wanted
        .as_ref()
        .ok_or_else(|| Failure::no_such_app(id))?;
    let embed = Embed {
        tasks: true,
        last_task_failure: true,
        readiness: embed.readiness || version.spec.readiness_check.is_some(),
        ..embed
    };
    let app = info(api, view, app, version, embed);
    Ok(Json(AppSingle { app }))
}

fn former(
    api: &Api,
    view: &View,
    id: &AppId,
    version: &str,
) -> Result<Json<mete_proto::rest::apps::App>, Failure> {
    let moment = convert::timestamp(version)?;
    let app = view.app(id).ok_or_else(|| Failure::no_such_app(id))?;
    let version = app.versions.get(&moment).ok_or_else(|| {
        Failure::not_found(format!(
            "App '{id}' does not exist in version {}",
            time::text(moment)
        ))
    })?;
    Ok(Json(described(api, version)))
}

pub(super) fn described(api: &Api, version: &AppVersion) -> mete_proto::rest::apps::App {
    mete_proto::rest::apps::App {
        version_info: Some(convert::version_info(version)),
        ..convert::app(version, &api.options.role)
    }
}

pub(super) fn info(
    api: &Api,
    view: &View,
    app: &App,
    version: &AppVersion,
    embed: Embed,
) -> AppInfo {
    let counts = app.counts();
    let role = &api.options.role;
    let deployments = view.deployments_of(&app.id).map(|deployment| Identifiable {
        id: deployment.id.to_string(),
    });
    let tasks = app.instances.values();
    let tasks = || {
        tasks
            .filter_map(|instance| convert::task(instance, role))
            .collect()
    };
    let failure = app
        .last_failure
        .as_ref()
        .filter(|_| embed.last_task_failure);
    let stats = embed
        .stats
        .then(|| convert::stats(clock::now(), app, version));
    let standing = Standing {
        tasks_staged: Some(counts.staged),
        tasks_running: Some(counts.running),
        tasks_healthy: Some(counts.healthy),
        tasks_unhealthy: Some(counts.unhealthy),
        deployments: Some(deployments.collect()),
        readiness_check_results: embed.readiness.then(|| convert::readiness_results(app)),
        tasks: embed.tasks.then(tasks),
        last_task_failure: failure.map(|failure| convert::failure(&app.id, failure)),
        task_stats: stats.clone(),
        tasks_stats: stats,
    };
    AppInfo {
        app: described(api, version),
        standing,
    }
}
