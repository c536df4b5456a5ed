//! Networks by name, by the plugins of CNI 1.0: programs that are told on standard input and in their environment what to
//! do, and answer with a result.
//!
//! ```text
//! *.conflist, *.conf   one network each: a name, and plugins in order
//! ADD                  in order, each with the result of the one before; the last result is that of the network
//! CHECK                in order, DEL in reverse order, with that result
//! ```
//! What a container was added with is kept with it: it leaves in the way it came, whatever the files say by then.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::warn;

use super::NetworkError;
use super::programs::{FOLDERS, run};

/// The largest file that is read: some hundred bytes as a rule.
const MAX_CONFIG_BYTES: u64 = 1 << 20;

/// Most files that are looked at.
const MAX_FILES: usize = 256;

/// Most plugins of one network.
const MAX_PLUGINS: usize = 16;

/// Endings of files that describe networks.
const ENDINGS: [&str; 3] = ["conf", "conflist", "json"];

/// The version that is spoken when a file names none.
const VERSION: &str = "1.0.0";

/// Networks by name.
#[derive(Clone, Debug, Default)]
pub(super) struct Cni {
    /// Where networks are described.
    pub(super) config: Option<PathBuf>,
    /// Where plugins are looked for.
    pub(super) plugins: Vec<PathBuf>,
}

/// A container on one network.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Attachment {
    pub(super) network: String,
    /// The device inside: `eth0`.
    pub(super) device: String,
    /// As they were described.
    plugins: Vec<Map<String, Value>>,
    /// What came of it; `None`: it was perhaps not even begun.
    result: Option<Value>,
}

/// Whom plugins are told of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Guest<'a> {
    pub(super) container: &'a str,
    pub(super) namespace: &'a Path,
}

impl Attachment {
    /// Its IPv4 addresses there.
    pub(super) fn addresses(&self) -> Vec<Ipv4Addr> {
        let ips = self
            .result
            .as_ref()
            .and_then(|result| result.get("ips")?.as_array());
        let all = ips.into_iter().flatten().filter_map(|ip| {
            let address = ip.get("address")?.as_str()?;
            address.split('/').next()?.parse().ok()
        });
        all.collect()
    }

    /// Name servers that the network has, in order.
    pub(super) fn servers(&self) -> Vec<String> {
        let servers = self
            .result
            .as_ref()
            .and_then(|result| result.get("dns")?.get("nameservers")?.as_array());
        let texts = servers.into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    }
}

impl Cni {
    /// The networks that are described, by name. Files that make no sense are told in the log and left out.
    pub(super) fn networks(&self) -> BTreeMap<String, Vec<Map<String, Value>>> {
        let mut networks = BTreeMap::new();
        let Some(folder) = &self.config else {
            return networks;
        };
        let entries = fs::read_dir(folder).into_iter().flatten().flatten();
        let mut files: Vec<_> = entries
            .map(|entry| entry.path())
            .filter(|path| {
                path.extension()
                    .is_some_and(|one| ENDINGS.iter().any(|ending| one == *ending))
            })
            .take(MAX_FILES)
            .collect();
        files.sort();
        for file in files {
            match read(&file) {
                Ok((name, plugins)) => {
                    // As everywhere with CNI: the first file in order of names has it.
                    networks.entry(name).or_insert(plugins);
                }
                Err(error) => {
                    warn!(file = %file.display(), %error, "description of a network is left out")
                }
            }
        }
        networks
    }

    /// What a container is going to be added to.
    ///
    /// # Errors
    /// A name that nothing describes.
    pub(super) fn plan(&self, names: &[String]) -> Result<Vec<Attachment>, NetworkError> {
        let mut known = self.networks();
        let one = |(at, name): (usize, &String)| {
            let plugins = known.remove(name).ok_or_else(|| NetworkError::Unable {
                kind: name.clone(),
                why: match &self.config {
                    Some(folder) => format!("no file in {} describes it", folder.display()),
                    None => "no networks by name are set up (--network-cni-config)".to_owned(),
                },
            })?;
            Ok(Attachment {
                network: name.clone(),
                device: format!("eth{at}"),
                plugins,
                result: None,
            })
        };
        names.iter().enumerate().map(one).collect()
    }

    /// Adds a container to a network. Blocks.
    pub(super) fn add(&self, guest: Guest<'_>, to: &mut Attachment) -> Result<(), NetworkError> {
        let mut result = None;
        for plugin in &to.plugins {
            let answer = self.call("ADD", guest, to, plugin, result.as_ref())?;
            let parsed: Value =
                serde_json::from_slice(&answer).map_err(|error| NetworkError::Program {
                    program: format!("plugin {}", kind(plugin)),
                    said: format!("its result makes no sense: {error}"),
                })?;
            result = Some(parsed);
        }
        to.result = result;
        Ok(())
    }

    /// Whether all is as it was made. Blocks.
    pub(super) fn check(&self, guest: Guest<'_>, on: &Attachment) -> Result<(), NetworkError> {
        for plugin in &on.plugins {
            self.call("CHECK", guest, on, plugin, on.result.as_ref())?;
        }
        Ok(())
    }

    /// Takes a container from a network; one that is not on it is fine. Goes on when a plugin fails. Blocks.
    pub(super) fn del(&self, guest: Guest<'_>, from: &Attachment) -> Result<(), NetworkError> {
        let mut outcome = Ok(());
        for plugin in from.plugins.iter().rev() {
            let done = self.call("DEL", guest, from, plugin, from.result.as_ref());
            outcome = done.map(drop).and(outcome);
        }
        outcome
    }

    fn call(
        &self,
        command: &str,
        guest: Guest<'_>,
        attachment: &Attachment,
        plugin: &Map<String, Value>,
        result: Option<&Value>,
    ) -> Result<Vec<u8>, NetworkError> {
        let program = self.program(kind(plugin))?;
        let mut config = plugin.clone();
        config.insert("name".to_owned(), json!(attachment.network));
        config.entry("cniVersion").or_insert_with(|| json!(VERSION));
        if let Some(result) = result {
            config.insert("prevResult".to_owned(), result.clone());
        }
        let folders = std::env::join_paths(&self.plugins).unwrap_or_default();
        let mut call = Command::new(program);
        call.env_clear()
            .env("PATH", FOLDERS)
            .env("CNI_COMMAND", command)
            .env("CNI_CONTAINERID", guest.container)
            .env("CNI_NETNS", guest.namespace)
            .env("CNI_IFNAME", &attachment.device)
            .env("CNI_PATH", folders);
        run(&mut call, Value::Object(config).to_string().as_bytes())
    }

    fn program(&self, kind: &str) -> Result<PathBuf, NetworkError> {
        // A name, never a path: descriptions are the operator's, programs are those of the folders.
        let is_name = !kind.is_empty() && !kind.contains('/') && kind != "..";
        let places = self.plugins.iter().map(|folder| folder.join(kind));
        let mut found = places.filter(|place| is_name && place.is_file());
        found.next().ok_or_else(|| NetworkError::Unable {
            kind: kind.to_owned(),
            why: "there is no such plugin (--network-cni-plugins)".to_owned(),
        })
    }
}

fn kind(plugin: &Map<String, Value>) -> &str {
    plugin
        .get("type")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// The name of a network and its plugins, each with the version of the file.
fn read(file: &Path) -> io::Result<(String, Vec<Map<String, Value>>)> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, text);
    if fs::metadata(file)?.len() > MAX_CONFIG_BYTES {
        return Err(bad("it is too large"));
    }
    let all: Map<String, Value> = serde_json::from_slice(&fs::read(file)?)?;
    let name = all
        .get("name")
        .and_then(Value::as_str)
        .filter(|name| !name.is_empty());
    let name = name.ok_or_else(|| bad("it has no name"))?.to_owned();
    let mut plugins = match all.get("plugins") {
        None => vec![all.clone()],
        Some(Value::Array(list)) => {
            let objects = list.iter().map(|one| one.as_object().cloned());
            let objects: Option<Vec<_>> = objects.collect();
            objects.ok_or_else(|| bad("a plugin of it is no object"))?
        }
        Some(_) => return Err(bad("its plugins are no list")),
    };
    if plugins.is_empty() || plugins.len() > MAX_PLUGINS {
        return Err(bad("it has no plugins, or too many"));
    }
    if plugins.iter().any(|plugin| kind(plugin).is_empty()) {
        return Err(bad("a plugin of it has no type"));
    }
    let version = all
        .get("cniVersion")
        .cloned()
        .unwrap_or_else(|| json!(VERSION));
    for plugin in &mut plugins {
        plugin.insert("cniVersion".to_owned(), version.clone());
    }
    Ok((name, plugins))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A folder with one network of two plugins that write down what they are told.
    fn folder() -> (tempfile::TempDir, Cni) {
        let place = tempfile::tempdir().unwrap();
        for plugin in ["first", "second"] {
            let path = place.path().join(plugin);
            let log = place.path().join("log");
            let text = format!(
                "#!/bin/sh\necho $CNI_COMMAND {plugin} $CNI_CONTAINERID $CNI_IFNAME $CNI_NETNS $(cat) >> {}\n\
                 [ $CNI_COMMAND = ADD ] || exit 0\n\
                 echo '{{\"by\":\"{plugin}\",\"ips\":[{{\"address\":\"10.9.0.2/24\"}}],\"dns\":{{\"nameservers\":[\"10.9.0.1\"]}}}}'\n",
                log.display()
            );
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        let list = r#"{"cniVersion":"0.4.0","name":"blue","plugins":[{"type":"first"},{"type":"second"}]}"#;
        fs::write(place.path().join("10-blue.conflist"), list).unwrap();
        fs::write(place.path().join("20-bad.conf"), r#"{"type":"first"}"#).unwrap();
        fs::write(
            place.path().join("30-blue.conf"),
            r#"{"name":"blue","type":"x"}"#,
        )
        .unwrap();
        let cni = Cni {
            config: Some(place.path().to_owned()),
            plugins: vec![place.path().to_owned()],
        };
        (place, cni)
    }

    #[test]
    fn plugins_are_called_in_order_and_back() {
        let (place, cni) = folder();
        let guest = Guest {
            container: "c1",
            namespace: Path::new("/run/netns/x"),
        };
        let mut planned = cni.plan(&["blue".to_owned()]).unwrap();
        let attachment = planned.first_mut().unwrap();

        cni.add(guest, attachment).unwrap();
        cni.check(guest, attachment).unwrap();
        cni.del(guest, attachment).unwrap();

        assert_eq!(attachment.addresses(), [Ipv4Addr::new(10, 9, 0, 2)]);
        assert_eq!(attachment.servers(), ["10.9.0.1"]);
        let result = |by: &str| {
            format!(
                r#""prevResult":{{"by":"{by}","dns":{{"nameservers":["10.9.0.1"]}},"ips":[{{"address":"10.9.0.2/24"}}]}},"#
            )
        };
        let line = |command: &str, plugin: &str, before: &str| {
            format!(
                "{command} {plugin} c1 eth0 /run/netns/x {{\"cniVersion\":\"0.4.0\",\"name\":\"blue\",{before}\"type\":\"{plugin}\"}}\n"
            )
        };
        let expected = [
            line("ADD", "first", ""),
            line("ADD", "second", &result("first")),
            line("CHECK", "first", &result("second")),
            line("CHECK", "second", &result("second")),
            line("DEL", "second", &result("second")),
            line("DEL", "first", &result("second")),
        ];
        let log = fs::read_to_string(place.path().join("log")).unwrap();
        assert_eq!(log, expected.concat());
    }

    #[test]
    fn what_is_not_described_is_named() {
        let (_place, cni) = folder();

        let unknown = cni.plan(&["green".to_owned()]).unwrap_err().to_string();
        let none = Cni::default()
            .plan(&["green".to_owned()])
            .unwrap_err()
            .to_string();

        assert!(unknown.contains("green: no file in"), "{unknown}");
        assert!(none.ends_with("(--network-cni-config)"), "{none}");
    }
}
