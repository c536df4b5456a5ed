//! GPUs as they were given: the nodes of a task's own, and no others. Harmless nodes stand in for GPUs.

use std::fs;
use std::path::Path;

use mete_agent::cgroups::{Hierarchies, scope_of};
use mete_model::{Device, Devices, LinuxCapability, TaskSpec, TaskState};

use super::contained::contained;
use super::master::Master;
use super::world::Work;
use crate::containers::possible;
use crate::support::until;

/// Two whole GPUs, each with a node of its own and one that they share.
const GPUS: [&str; 3] = [
    "--resources=gpus:2;cpus:2;mem:512",
    "--gpu-device=0=/dev/loop-control,/dev/fuse",
    "--gpu-device=1=/dev/loop0,/dev/fuse",
];

fn with_gpu(mut spec: TaskSpec, index: u16) -> TaskSpec {
    let device = Device {
        index,
        milli: 1_000,
    };
    let devices = Devices::new(vec![device]).unwrap();
    spec.resources = spec.resources.with_named_devices(devices);
    spec
}

fn stand_ins() -> bool {
    let all = ["/dev/loop-control", "/dev/fuse", "/dev/loop0"];
    let there = all.iter().all(|path| Path::new(path).exists());
    if !there {
        eprintln!("skipped: needs {}", all.join(", "));
    }
    there
}

#[tokio::test]
async fn a_container_sees_the_nodes_of_its_gpus_and_no_others() {
    if !possible() || !stand_ins() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let _agent = work.start(master.address, &GPUS);
    let (mut link, _) = master.admit().await;
    let line = "for one in loop-control loop0 fuse null; do test -e /dev/$one && echo -n \"$one \"; done; \
                busybox stat -c %t:%T /dev/fuse 2> /dev/null || echo none";

    link.run(&with_gpu(contained("zero", line, |_| {}), 0))
        .await;
    link.until(TaskState::Finished).await;
    link.run(&with_gpu(contained("one", line, |_| {}), 1)).await;
    link.until(TaskState::Finished).await;
    link.run(&contained("without", line, |_| {})).await;
    link.until(TaskState::Finished).await;

    assert_eq!(
        work.said_now("zero", "stdout"),
        "loop-control fuse null a:e5\n"
    );
    assert_eq!(work.said_now("one", "stdout"), "loop0 fuse null a:e5\n");
    assert_eq!(work.said_now("without", "stdout"), "null none\n");
}

#[tokio::test]
async fn a_gpu_that_is_not_there_is_named() {
    if !possible() {
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let more = ["--resources=gpus:1", "--gpu-device=0=/dev/no-such-gpu"];
    let _agent = work.start(master.address, &more);
    let (mut link, _) = master.admit().await;

    link.run(&with_gpu(contained("t", "true", |_| {}), 0)).await;

    let failed = link.until(TaskState::Failed).await;
    let message = failed.message.unwrap();
    assert!(
        message.contains("device /dev/no-such-gpu of GPU 0"),
        "{message}"
    );
}

#[tokio::test]
async fn a_container_that_may_make_nodes_can_use_only_its_own() {
    let hierarchies = Hierarchies::of_this_host();
    if !possible() || !stand_ins() {
        return;
    }
    if !hierarchies.v1.contains_key("devices") {
        return eprintln!("skipped: needs the devices group of version 1");
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let more = [&GPUS[..], &["--allow-capability=MKNOD"]].concat();
    let _agent = work.start(master.address, &more);
    let (mut link, _) = master.admit().await;
    let mknod: LinuxCapability = "MKNOD".parse().unwrap();
    // The null device by another name may be made and used; the loop device, which another has, not even made.
    let line = "busybox mknod /dev/mine c 1 3 && echo > /dev/mine && echo made; \
                busybox mknod /dev/foreign b 7 0 2> /dev/null || echo refused; \
                exec 3< /dev/loop-control && echo opened";

    let spec = contained("t", line, |one| one.isolation.add.extend([mknod]));
    link.run(&with_gpu(spec, 0)).await;
    link.until(TaskState::Finished).await;

    assert_eq!(work.said_now("t", "stdout"), "made\nrefused\nopened\n");
    let scope = scope_of("agent", &work.path.canonicalize().unwrap());
    let group = hierarchies.v1["devices"].join("mete").join(&scope);
    until(|| {
        let mut left = fs::read_dir(&group).unwrap().flatten();
        !left.any(|one| one.file_type().is_ok_and(|kind| kind.is_dir()))
    })
    .await;
}
