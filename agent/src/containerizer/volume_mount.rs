//! Persistent volumes as containers see them: each at a place of its own, and wherever else a path of the sandbox leads to
//! it. In Mesos a volume is mounted in the sandbox before anything else is, so `hostPath: data` beside a volume at `data`
//! means the volume.

use std::path::PathBuf;

/// A persistent volume, and where it is seen inside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeMount {
    /// Absolute path inside, or one below the sandbox.
    pub target: String,
    /// Where it lies on the machine; the agent's own choice, not the task's.
    pub place: PathBuf,
    /// Whether it can only be read.
    pub read_only: bool,
    /// Whether others may be using it at the same time.
    pub is_shared: bool,
}

/// A volume, and a path: below it, or that leads to it.
pub(crate) type Led<'a> = (&'a VolumeMount, String);

/// What a path of a sandbox has of volumes.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct OnPath<'a> {
    /// The volume that the path is on, and the rest of the path below it.
    pub(crate) on: Option<Led<'a>>,
    /// Those that are seen below the path, and where below it.
    pub(crate) below: Vec<Led<'a>>,
}

/// What `path`, which is below the sandbox, has of these; `inside` is where the sandbox is seen.
pub(crate) fn on_path<'a>(
    volumes: impl IntoIterator<Item = &'a VolumeMount>,
    path: &str,
    inside: &str,
) -> OnPath<'a> {
    let wanted = parts(path);
    let mut found = OnPath::default();
    let mut deepest = 0;
    for volume in volumes {
        let Some(target) = in_sandbox(&volume.target, inside) else {
            continue;
        };
        if let Some(rest) = wanted.strip_prefix(target.as_slice()) {
            if found.on.is_none() || target.len() > deepest {
                deepest = target.len();
                found.on = Some((volume, rest.join("/")));
            }
        } else if let Some(rest) = target.strip_prefix(wanted.as_slice()) {
            found.below.push((volume, rest.join("/")));
        }
    }
    found
}

/// How far a path is from the root: what is mounted further away comes later, or it would be hidden.
pub(crate) fn depth(path: &str) -> usize {
    parts(path).len()
}

fn parts(path: &str) -> Vec<&str> {
    let named = |part: &&str| !part.is_empty() && *part != ".";
    path.split('/').filter(named).collect()
}

/// The way to a target from the sandbox; `None`: it is elsewhere.
fn in_sandbox<'a>(target: &'a str, inside: &str) -> Option<Vec<&'a str>> {
    let (way, above) = (parts(target), parts(inside));
    match target.starts_with('/') {
        true => way
            .starts_with(&above)
            .then(|| way.into_iter().skip(above.len()).collect()),
        false => Some(way),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(target: &str) -> VolumeMount {
        VolumeMount {
            target: target.to_owned(),
            place: PathBuf::from("/v").join(target.trim_start_matches('/')),
            read_only: false,
            is_shared: false,
        }
    }

    #[test]
    fn a_path_at_or_below_the_place_of_a_volume_is_on_it() {
        let all = ["data", "./data/inner/", "/in/side/own", "/var/data"].map(volume);
        let on = |path: &str| on_path(&all, path, "/in/side").on;

        assert_eq!(on("data"), Some((&all[0], String::new())));
        assert_eq!(on("/data/./a//b"), Some((&all[0], "a/b".to_owned())));
        assert_eq!(on("data/inner/x"), Some((&all[1], "x".to_owned())));
        assert_eq!(on("own/x"), Some((&all[2], "x".to_owned())));
        assert_eq!(on("database"), None);
        assert_eq!(on("var/data"), None, "that one is not in the sandbox");
    }

    #[test]
    fn volumes_below_a_path_are_seen_through_it() {
        let all = ["a/data", "/in/side/a/b", "/srv", "other"].map(volume);

        let found = on_path(&all, "a", "/in/side");
        assert_eq!(found.on, None);
        let below = [(&all[0], "data".to_owned()), (&all[1], "b".to_owned())];
        assert_eq!(found.below, below);
        assert_eq!(on_path(&all, ".", "/in/side").below.len(), 3);
    }
}
