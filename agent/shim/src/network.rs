//! A network with a loopback and nothing else, mounted on a file: it lives as long as the mount or somebody in it.

use std::path::Path;

use rustix::io::Errno;
use rustix::mount::mount_bind;

use crate::process::text_of;
use crate::{DONE, FAILED, system};

/// Makes one; returns an exit code, standard error says what is wrong.
pub(crate) fn run(file: &Path) -> u8 {
    system::close_from(3);
    match make(file) {
        Ok(()) => DONE,
        Err((what, errno)) => {
            eprintln!("{what}: {}", text_of(errno));
            FAILED
        }
    }
}

fn make(file: &Path) -> Result<(), (&'static str, Errno)> {
    let at = |what| move |errno| (what, errno);
    system::own_network().map_err(at("a network namespace"))?;
    system::loopback_up().map_err(at("the loopback device"))?;
    mount_bind("/proc/self/ns/net", file).map_err(at("mounting it"))
}
