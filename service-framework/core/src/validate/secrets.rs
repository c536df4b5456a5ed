//! Which secrets an app or a pod may name.
//!
//! A secret lies in a tree as apps do: `shop/db/password` is for `/shop/db` and what lies below it, as DC/OS' users know it.
//! One that lies at the top, and a variable of the service framework, is for all.

use std::collections::BTreeMap;

use super::Violation;
use crate::spec::app::{AppId, AppSpec};

/// Each has a source that the app may name.
pub(super) fn sources(spec: &AppSpec, found: &mut Vec<Violation>) {
    for (name, source) in &spec.secrets {
        let mut violation = |text: String| {
            found.push(Violation::new(format!("/secrets/{name}/source"), text));
        };
        if source.is_empty() {
            violation("must not be empty".to_owned());
        } else if let Some(group) = group(source).filter(|group| !is_below(&spec.id, group)) {
            let text = format!("is for apps and pods of /{group} only");
            violation(text);
        }
    }
}

/// Variables name secrets that are there.
pub(super) fn named(
    path: &str,
    variables: &BTreeMap<String, String>,
    secrets: &BTreeMap<String, String>,
    found: &mut Vec<Violation>,
) {
    for (variable, secret) in variables {
        if !secrets.contains_key(secret) {
            let text = format!("references an undefined secret '{secret}'");
            found.push(Violation::new(format!("{path}/{variable}/secret"), text));
        }
    }
}

/// Files, and logins for images, are secrets that are there.
pub(super) fn in_files(spec: &AppSpec, found: &mut Vec<Violation>) {
    let mut check = |path: String, secret: &String| {
        if !spec.secrets.contains_key(secret) {
            let text = format!("references an undefined secret '{secret}'");
            found.push(Violation::new(path, text));
        }
    };
    if let Some(container) = &spec.container {
        // As they are printed: after all other volumes.
        let others = container.volumes.len() + container.persistent.len();
        for (at, file) in (others..).zip(&container.secrets) {
            check(format!("/container/volumes({at})/secret"), &file.secret);
        }
    }
    let container = spec.container.as_ref();
    if let Some(secret) = container.and_then(|one| one.pull_secret.as_ref()) {
        check("/container/docker/pullConfig/secret".to_owned(), secret);
    }
    for (at, container) in spec.containers().iter().enumerate() {
        let image = container.image.as_ref();
        if let Some(secret) = image.and_then(|image| image.pull_secret.as_ref()) {
            check(format!("/containers({at})/image/pullConfig/secret"), secret);
        }
    }
    for (at, volume) in spec.volumes().iter().enumerate() {
        if let Some(secret) = volume.secret() {
            check(format!("/volumes({at})/secret"), secret);
        }
    }
}

/// The path of the group whose secret it is; `None` when it is for all. Written as a file is found: empty segments and
/// dots lead nowhere.
fn group(source: &str) -> Option<String> {
    if source.starts_with("env:") {
        return None;
    }
    let parts = source.split('/').filter(|part| !["", "."].contains(part));
    let mut parts: Vec<&str> = parts.collect();
    parts.pop();
    (!parts.is_empty()).then(|| parts.join("/"))
}

/// Whether an app is that of this path, or lies below it.
fn is_below(app: &AppId, group: &str) -> bool {
    app.as_str()
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(group))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_for_its_group_and_those_at_the_top_are_for_all() {
        for (app, source, may) in [
            ("/web", "password", true),
            ("/web", "/password", true),
            ("/web", "env:shop/password", true),
            ("/web", "shop/password", false),
            ("/shop/web", "shop/password", true),
            ("/shop/db/sql", "shop/password", true),
            ("/shop/web", "/shop//./password", true),
            ("/web", "./shop/password", false),
            ("/web", "//shop//password", false),
            ("/shop", "shop/password", true),
            ("/shop/web", "shop/db/password", false),
            ("/shopping/web", "shop/password", false),
            ("/shop", "shop/web/password", false),
            ("/shop/web", "shop/../bank/password", false),
            ("/shop/web", "Shop/password", false),
        ] {
            let id = AppId::new(app).expect("good");
            let mut spec = AppSpec::new(id);
            spec.secrets.insert("pw".to_owned(), source.to_owned());
            let mut found = Vec::new();

            sources(&spec, &mut found);

            assert_eq!(found.is_empty(), may, "{app} {source}: {found:?}");
        }
    }
}
