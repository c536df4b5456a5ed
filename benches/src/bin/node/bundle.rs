//! A root of one static program, as an image for the agent and as a bundle for `crun`.

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use tar::{Builder, EntryType, Header};
use tokio::time::Instant;

use crate::look;

/// What the image is called.
pub(crate) const IMAGE: &str = "localhost/node:1";

/// A program without libraries that is a shell and all that a shell needs (Debian: busybox-static).
const BUSYBOX: &str = "/bin/busybox";
/// Names that it answers to.
const NAMES: [&str; 2] = ["bin/sh", "bin/sleep"];
/// What the container of `crun` does; the first byte says that it runs.
const SPEAKING: &str = "echo; exec sleep 100000";
/// `crun` does not work where version 2 of control groups has a controller beside version 1; in a mount namespace
/// without version 2 it does.
const WITHOUT_V2: &str = "umount /sys/fs/cgroup/unified 2> /dev/null; exec \"$@\"";

/// Writes what `docker save` would: one layer.
pub(crate) fn save(archive: &Path) -> Result<()> {
    let layer = layer()?;
    let config = json!({
        "architecture": match std::env::consts::ARCH { "x86_64" => "amd64", "aarch64" => "arm64", other => other },
        "os": "linux",
        "config": { "Env": ["PATH=/bin"] },
        "rootfs": { "type": "layers", "diff_ids": [sha256(&layer)] },
    });
    let names = json!([{ "Config": "config.json", "RepoTags": [IMAGE], "Layers": ["layer.tar"] }]);
    let mut tar = Builder::new(fs::File::create(archive)?);
    for (name, content) in [
        ("manifest.json", names.to_string().into_bytes()),
        ("config.json", config.to_string().into_bytes()),
        ("layer.tar", layer),
    ] {
        let mut header = header(EntryType::Regular, content.len());
        tar.append_data(&mut header, name, content.as_slice())?;
    }
    Ok(tar.finish()?)
}

fn layer() -> Result<Vec<u8>> {
    let busybox = fs::read(BUSYBOX).with_context(|| format!("no {BUSYBOX}"))?;
    let mut tar = Builder::new(Vec::new());
    let mut file = header(EntryType::Regular, busybox.len());
    tar.append_data(&mut file, "bin/busybox", busybox.as_slice())?;
    for name in NAMES {
        let mut link = header(EntryType::Symlink, 0);
        tar.append_link(&mut link, name, "busybox")?;
    }
    Ok(tar.into_inner()?)
}

fn header(kind: EntryType, bytes: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_size(bytes as u64);
    header
}

fn sha256(bytes: &[u8]) -> String {
    let digits = digest(&SHA256, bytes);
    let digits = digits.as_ref().iter().map(|byte| format!("{byte:02x}"));
    format!("sha256:{}", digits.collect::<String>())
}

/// The same root as a bundle.
pub(crate) struct Bundle {
    dir: PathBuf,
}

impl Bundle {
    /// Makes it in a new directory.
    pub(crate) fn make(dir: PathBuf) -> Result<Self> {
        let bin = dir.join("rootfs/bin");
        fs::create_dir_all(&bin)?;
        fs::copy(BUSYBOX, bin.join("busybox")).with_context(|| format!("no {BUSYBOX}"))?;
        for name in NAMES {
            symlink("busybox", dir.join("rootfs").join(name))?;
        }
        for empty in ["proc", "dev", "sys"] {
            fs::create_dir(dir.join("rootfs").join(empty))?;
        }
        fs::write(dir.join("config.json"), config().to_string())?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o700))?;
        Ok(Self { dir })
    }

    /// From the start of `crun run` to the first word of the program in the container. `None`: there is no `crun`.
    pub(crate) fn run(&self, id: &str) -> Result<Option<Duration>> {
        let pid_file = self.dir.join("pid");
        let begin = Instant::now();
        let spawned = Command::new("crun")
            .args(["run", "--detach", "--bundle"])
            .arg(&self.dir)
            .arg("--pid-file")
            .arg(&pid_file)
            .arg(id)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn();
        let Ok(mut crun) = spawned else {
            return Ok(None);
        };
        let mut out = crun.stdout.take().context("is piped")?;
        let said = out.read_exact(&mut [0]);
        let took = begin.elapsed();
        let ended = crun.wait()?;
        ensure!(said.is_ok() && ended.success(), "crun has run nothing");
        look::kill(fs::read_to_string(&pid_file)?.trim().parse()?);
        // It is killed already; this removes what it had.
        Command::new("crun")
            .args(["delete", "--force", id])
            .status()?;
        Ok(Some(took))
    }
}

/// What `crun` is to be run in: this program again, where it finds no version 2 of control groups.
pub(crate) fn without_v2(arguments: &[&str]) -> Result<Command> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private"])
        .args(["sh", "-c", WITHOUT_V2, "sh"])
        .arg(std::env::current_exe()?)
        .args(arguments);
    Ok(command)
}

/// Namespaces and limits as the agent gives them to a task of 10 thousandths of a CPU and 32 MiB on the host's network.
fn config() -> Value {
    let namespaces = ["pid", "ipc", "uts", "mount"].map(|kind| json!({ "type": kind }));
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": ["sh", "-c", SPEAKING],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
        ],
        "linux": {
            "namespaces": namespaces,
            "resources": {
                "cpu": { "shares": 10 },
                "memory": { "limit": 32 << 20 },
                "pids": { "limit": 4096 },
            },
        },
    })
}
