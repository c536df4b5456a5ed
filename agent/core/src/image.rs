//! What an image says of the program in it: the part of an image's configuration that tasks inherit.

mod program; // what becomes of a task's command in an image

use std::collections::BTreeMap;

pub use program::{Inside, InsideError, inside, signal_number};
use serde::{Deserialize, Serialize};

/// The configuration of an image, as far as it concerns the task that runs it. Missing fields are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageConfig {
    /// The program, and the arguments that always come first.
    pub entrypoint: Vec<String>,
    /// The arguments, or the program when there is no entrypoint; what a task says takes their place.
    pub cmd: Vec<String>,
    /// `NAME=value`, in order; the last of one name counts.
    pub env: Vec<String>,
    /// `user`, `uid`, `user:group` or `uid:gid`; empty: root.
    pub user: String,
    /// Absolute path inside the image; empty: none is named.
    pub working_dir: String,
    /// A name or number of a signal that asks the program to end; `None`: SIGTERM.
    pub stop_signal: Option<String>,
    /// `80/tcp`; for people.
    pub exposed_ports: Vec<String>,
    /// Absolute paths inside the image whose content is not worth keeping with the image.
    pub volumes: Vec<String>,
    /// For people and tools.
    pub labels: BTreeMap<String, String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_image_does_not_say_is_empty() {
        let config: ImageConfig =
            serde_json::from_str(r#"{"cmd":["/bin/sh"],"unknown":1}"#).expect("reads");

        let expected = ImageConfig {
            cmd: vec!["/bin/sh".to_owned()],
            ..ImageConfig::default()
        };
        assert_eq!(config, expected);
    }
}
