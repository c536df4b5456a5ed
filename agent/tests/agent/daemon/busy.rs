//! What an ended task held cannot be removed at first: it is tried again, by the same agent.

use std::fs;

use mete_model::TaskState;
use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use super::killed::{Process, leftovers};
use super::master::{Master, task};
use super::world::Work;
use crate::support::until;

#[tokio::test]
async fn a_task_directory_with_a_mount_in_it_goes_once_that_is_gone() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can mount");
        return;
    }
    let mut master = Master::start().await;
    let work = Work::new();
    let agent = Process::start(&work, master.address);
    let (mut link, _) = master.admit().await;
    link.run(&task("t", "exec sleep 1000")).await;
    link.until(TaskState::Running).await;
    let mut tasks = fs::read_dir(work.path.join("tasks")).unwrap().flatten();
    let dir = tasks.next().unwrap().path();
    let busy = dir.join("busy");
    fs::create_dir(&busy).unwrap();
    mount("busy", &busy, "tmpfs", MountFlags::empty(), None).unwrap();

    link.kill("t").await;
    link.until(TaskState::Killed).await;
    until(|| agent.log().contains("leftovers of a task stay for now")).await;
    let stayed = dir.exists();
    unmount(&busy, UnmountFlags::empty()).unwrap();

    assert!(stayed, "it was not forgotten");
    until(|| !dir.exists()).await;
    drop(link);
    agent.stop().await;
    until(|| leftovers(&work).is_empty()).await;
}
