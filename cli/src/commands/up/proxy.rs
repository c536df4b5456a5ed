//! The end of HAProxy. It outlives its follower by design, so `mete up` ends it by itself.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, sleep};

/// HAProxy that has not ended by then is killed.
const PATIENCE: Duration = Duration::from_secs(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(20);

/// Ends every HAProxy that was started with the configuration in `dir`, and removes its sockets.
pub(super) async fn end(dir: &Path) {
    let deadline = Instant::now() + PATIENCE;
    let mut how = Signal::TERM;
    loop {
        let running = processes(dir);
        if running.is_empty() {
            break;
        }
        if Instant::now() >= deadline {
            how = Signal::KILL;
        }
        for pid in running {
            // It may have ended by itself meanwhile.
            let _ = kill_process(pid, how);
        }
        sleep(LOOK).await;
    }
    for socket in ["admin.sock", "master.sock"] {
        // Not there when HAProxy never came up.
        let _ = fs::remove_file(dir.join(socket));
    }
}

/// Master and workers, old ones too: all that were started with a configuration in `dir`.
fn processes(dir: &Path) -> Vec<Pid> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let words: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
        let program = words.first().copied().unwrap_or_default();
        let ours = program.ends_with(b"haproxy")
            && words
                .iter()
                .any(|word| word.starts_with(dir.as_os_str().as_encoded_bytes()));
        if let (true, Some(pid)) = (ours, Pid::from_raw(pid)) {
            found.push(pid);
        }
    }
    found
}
