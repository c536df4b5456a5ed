//! Shims with real containers: a busybox as image. Needs root, and says so without.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Stdio};
use std::thread;
use std::time::Duration;

use mete_agent_core::task_dir::{
    Command, Container, End, Exit, Launch, Layers, Mounted, Net, PidFile, ProcessLimit, Root,
    Runtime, RuntimeKind, SANDBOX_INSIDE, Source, TaskDir, TaskFile, User,
};
use mete_model::LinuxCapability;
use rustix::process::{Pid, Signal, kill_process};

/// Long enough for a loaded machine; a test that gets here has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// The program that is nothing but a shim.
fn program() -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let place = tests.parent().unwrap().parent().unwrap();
    place.join("examples/shim")
}

/// Whether containers can be made here; says why not.
fn possible() -> bool {
    let root = rustix::process::geteuid().is_root();
    let busybox = Path::new("/usr/bin/busybox").exists() || Path::new("/bin/busybox").exists();
    if !root || !busybox {
        eprintln!("skipped: containers need root and busybox-static (scripts/install-deps test)");
    }
    root && busybox
}

/// An OCI runtime to build the containers of all tests, if there is to be one: `METE_OCI_RUNTIME=/usr/bin/crun`.
fn runtime(room: String) -> Option<Runtime> {
    let program = std::env::var("METE_OCI_RUNTIME").ok()?;
    let kind = RuntimeKind::ALL
        .into_iter()
        .find(|kind| program.ends_with(kind.as_str()));
    fs::create_dir_all(&room).unwrap();
    Some(Runtime {
        kind: kind.unwrap(),
        program,
        room,
    })
}

/// One task in a container; whatever of it still runs dies with it.
struct Fixture {
    root: tempfile::TempDir,
    launch: Launch,
    shim: Option<Child>,
}

impl Fixture {
    fn shell(text: &str) -> Self {
        let root = tempfile::tempdir().unwrap();
        for name in [
            "task",
            "sandbox",
            "image/bin",
            "image/etc",
            "upper",
            "work",
            "place",
        ] {
            fs::create_dir_all(root.path().join(name)).unwrap();
        }
        let busybox = ["/usr/bin/busybox", "/bin/busybox"]
            .into_iter()
            .find(|path| Path::new(path).exists());
        fs::copy(busybox.unwrap(), root.path().join("image/bin/busybox")).unwrap();
        symlink("busybox", root.path().join("image/bin/sh")).unwrap();
        let at = |name: &str| root.path().join(name).to_str().unwrap().to_owned();
        let mut launch = Launch::new(Command::Shell(text.into()), at("sandbox"));
        launch.environment = BTreeMap::from([("PATH".into(), "/bin".into())]);
        launch.container = Some(Container {
            images: Vec::new(),
            root: Root::Layers(Layers {
                lower: vec![at("image")],
                upper: at("upper"),
                work: at("work"),
            }),
            place: at("place"),
            mounts: vec![Mounted {
                target: SANDBOX_INSIDE.into(),
                source: Source::Path {
                    root: at("sandbox"),
                    below: String::new(),
                    make: false,
                },
                read_only: false,
            }],
            volumes: Vec::new(),
            working_dir: SANDBOX_INSIDE.into(),
            hostname: Some("inside".into()),
            network: Net::Host,
            capabilities: LinuxCapability::USUAL.map(|one| one.to_string()).into(),
            privileged: false,
            seccomp: true,
            no_new_privileges: true,
            read_only_root: false,
            shm_bytes: 1 << 20,
            rlimits: Vec::new(),
            users: None,
            devices: Vec::new(),
            stop_signal: 15,
            runtime: runtime(at("room")),
        });
        Self {
            root,
            launch,
            shim: None,
        }
    }

    fn container(&mut self) -> &mut Container {
        self.launch.container.as_mut().unwrap()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn dir(&self) -> TaskDir {
        TaskDir::new(self.at("task"))
    }

    /// Starts the shim and waits until it says that the program runs, or says nothing.
    fn start(&mut self) -> bool {
        fs::write(self.dir().launch(), self.launch.encode()).unwrap();
        let log = fs::File::create(self.dir().shim_log()).unwrap();
        let mut shim = Process::new(program());
        shim.arg(self.dir().path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log);
        let mut shim = shim.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(shim.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        self.shim = Some(shim);
        line == "running\n"
    }

    /// Waits for the shim's end and reads what it wrote down.
    fn end(&mut self) -> Exit {
        let mut shim = self.shim.take().unwrap();
        until("the shim has ended", || shim.try_wait().unwrap().is_some());
        let log = fs::read_to_string(self.dir().shim_log()).unwrap();
        Exit::decode(&fs::read(self.dir().exit()).unwrap_or_else(|error| panic!("{error}: {log}")))
            .unwrap()
    }

    /// Runs it to its end; what it said, and how it ended.
    fn run(mut self) -> (String, Exit) {
        self.start();
        let exit = self.end();
        let said = ["stdout", "stderr"]
            .map(|name| fs::read_to_string(self.at("sandbox").join(name)).unwrap());
        (said.concat(), exit)
    }

    /// Waits until a file of the sandbox has a whole line.
    fn said(&self, file: &str) -> String {
        let path = self.at("sandbox").join(file);
        let whole = || fs::read_to_string(&path).is_ok_and(|text| text.ends_with('\n'));
        until("it has said something", whole);
        fs::read_to_string(path).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if let Some(mut shim) = self.shim.take() {
            if let Ok(bytes) = fs::read(self.dir().pid()) {
                let runner = PidFile::decode(&bytes).unwrap().runner.unwrap();
                let _ = kill_process(Pid::from_raw(runner.task.pid).unwrap(), Signal::KILL);
            }
            let _ = shim.kill();
            let _ = shim.wait();
        }
    }
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let mut waited = Duration::ZERO;
    while !is_so() {
        assert!(waited < PATIENCE, "{what}: not within {PATIENCE:?}");
        thread::sleep(Duration::from_millis(2));
        waited += Duration::from_millis(2);
    }
}

/// Runs a shell line in a container as it is by default.
fn run(text: &str) -> (String, Exit) {
    Fixture::shell(text).run()
}

#[test]
fn output_exit_codes_and_signals_are_those_of_the_task() {
    if !possible() {
        return;
    }
    let (said, exit) = run("echo out; echo err >&2; exit 3");
    assert_eq!(
        (said.as_str(), exit.end),
        ("out\nerr\n", End::Exited { code: 3 })
    );

    assert_eq!(run("kill -TERM $$").1.end, End::Signaled { signal: 15 });
    assert_eq!(run("kill -SEGV $$").1.end, End::Signaled { signal: 11 });
    assert!(exit.started_at_us.is_some());
}

#[test]
fn what_the_task_leaves_behind_ends_with_it() {
    if !possible() {
        return;
    }
    let (said, exit) = run("busybox setsid busybox sleep 1000 & busybox sleep 0; echo done");

    assert_eq!(
        (said.as_str(), exit.end),
        ("done\n", End::Exited { code: 0 })
    );
}

#[test]
fn environment_place_and_user_are_those_of_the_launch() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell(
        "echo $A; pwd; busybox id -u; busybox id -G; busybox hostname; echo x > made; busybox grep CapEff /proc/self/status",
    );
    task.launch.environment.insert("A".into(), "b c".into());
    task.launch.user = Some(User {
        name: "somebody".into(),
        uid: 1234,
        gid: 4321,
        groups: vec![4321, 77],
    });
    std::os::unix::fs::chown(task.at("sandbox"), Some(1234), Some(4321)).unwrap();

    let (said, exit) = task.run();

    let expected = "b c\n/mnt/mesos/sandbox\n1234\n4321 77\ninside\nCapEff:\t0000000000000000\n";
    assert_eq!(
        (said.as_str(), exit.end),
        (expected, End::Exited { code: 0 })
    );
}

#[test]
fn nothing_of_the_machine_is_seen() {
    if !possible() {
        return;
    }
    let text = "busybox ls -x / | busybox tr -s ' \\n' ' '; echo; set -- /proc/[0-9]*; echo $#; \
                busybox ls /dev; for fd in /proc/$$/fd/*; do busybox readlink $fd; done | busybox grep -c /; busybox cat /proc/self/cgroup | busybox grep -c mete";
    let (said, _) = run(text);

    // crun makes a link to what is masked.
    let lines: Vec<&str> = said.lines().filter(|line| *line != "core").collect();
    assert_eq!(lines[0].trim(), "bin dev etc mnt proc sys", "{said}");
    // The first process and the shell.
    assert_eq!(lines[1], "2", "{said}");
    let devices = [
        "fd", "full", "mqueue", "null", "ptmx", "pts", "random", "shm", "stderr", "stdin",
        "stdout", "tty", "urandom", "zero",
    ];
    assert_eq!(lines[2..16], devices, "{said}");
    // /dev/null; the shell's other handles are pipes.
    assert_eq!(lines[16..], ["1", "0"], "{said}");
}

#[test]
fn the_first_process_cannot_be_looked_into() {
    if !possible() {
        return;
    }
    for ways_in in ["/proc/1/exe", "/proc/1/root", "/proc/1/cwd", "/proc/1/fd/0"] {
        let (said, _) = run(&format!("busybox readlink {ways_in} || echo no"));
        assert_eq!(said, "no\n", "{ways_in}");
    }
    let mut traced = Fixture::shell("busybox kill -KILL 1; echo alive; : < /proc/1/mem");
    traced.container().seccomp = false;
    let (said, exit) = traced.run();
    assert!(said.starts_with("alive\n") && !exit.is_success(), "{said}");
}

#[test]
fn roots_powers_are_few() {
    if !possible() {
        return;
    }
    let text = "busybox grep -E '^(CapInh|CapPrm|CapEff|CapBnd|CapAmb|NoNewPrivs|Seccomp):' /proc/self/status";
    let (said, _) = run(text);

    let usual = LinuxCapability::USUAL
        .iter()
        .fold(0_u64, |bits, one| bits | 1 << one.number());
    let none = "0000000000000000";
    let expected = format!(
        "CapInh:\t{none}\nCapPrm:\t{usual:016x}\nCapEff:\t{usual:016x}\nCapBnd:\t{usual:016x}\nCapAmb:\t{none}\nNoNewPrivs:\t1\nSeccomp:\t2\n"
    );
    assert_eq!(said, expected);
}

#[test]
fn the_machine_cannot_be_changed() {
    if !possible() {
        return;
    }
    let refused = [
        "busybox mknod /tmp-node b 8 0",
        "busybox mount -t tmpfs x /mnt",
        "busybox unshare -m true",
        "busybox umount /proc",
        "busybox chroot /proc/1/root /bin/sh -c true",
        "echo 1 > /proc/sys/kernel/panic",
        "echo b > /proc/sysrq-trigger",
        "busybox sethostname",
        "busybox hostname other",
        "busybox dmesg",
        "busybox ls /sys/firmware | busybox grep .",
        "busybox mkdir /sys/fs/cgroup/x",
    ];
    for line in refused {
        let (said, exit) = run(&format!("{line} && exit 77"));
        assert!(
            !exit.is_success() && exit.end != End::Exited { code: 77 },
            "{line}: {said}"
        );
    }
}

#[test]
fn the_filter_refuses_what_capabilities_would_allow() {
    if !possible() {
        return;
    }
    let with_filter = |seccomp| {
        let mut task = Fixture::shell("busybox unshare -m busybox true");
        task.container().capabilities.push("SYS_ADMIN".into());
        task.container().seccomp = seccomp;
        task.run().1.is_success()
    };
    let mut without_admin = Fixture::shell("busybox unshare -U busybox true");
    without_admin.container().seccomp = true;
    let (said, exit) = without_admin.run();

    // A user namespace needs no capability at all: only the filter stands in the way.
    assert!(
        said.contains("Operation not permitted") && !exit.is_success(),
        "{said}"
    );
    assert!(with_filter(false) && with_filter(true));
    let mut unfiltered = Fixture::shell("busybox unshare -U busybox true");
    unfiltered.container().seccomp = false;
    assert!(unfiltered.run().1.is_success());
}

#[test]
fn the_filter_holds_for_every_user_whether_new_privileges_are_allowed_or_not() {
    if !possible() {
        return;
    }
    let run = |no_new_privileges| {
        let text = "busybox grep -E '^(Uid|NoNewPrivs|Seccomp):' /proc/self/status";
        let mut task = Fixture::shell(text);
        task.container().no_new_privileges = no_new_privileges;
        task.container().working_dir = "/".into();
        task.launch.user = Some(User {
            name: "u".into(),
            uid: 1234,
            gid: 1234,
            groups: vec![],
        });
        task.run().0
    };

    let expected =
        |flag| format!("Uid:\t1234\t1234\t1234\t1234\nNoNewPrivs:\t{flag}\nSeccomp:\t2\n");
    assert_eq!([run(true), run(false)], [expected(1), expected(0)]);
}

#[test]
fn a_read_only_root_leaves_the_sandbox_and_memory_to_write_to() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell(
        "echo x > /file; echo y > here && echo z > /scratch/file && busybox cat here /scratch/file; busybox df -k /scratch /dev/shm | busybox grep -o '^tmpfs *[0-9]*'",
    );
    task.container().read_only_root = true;
    task.container().mounts.push(Mounted {
        target: "/scratch".into(),
        source: Source::Tmpfs {
            size_bytes: Some(64 << 10),
        },
        read_only: false,
    });
    let (said, _) = task.run();

    assert!(
        said.contains("can't create /file: Read-only file system"),
        "{said}"
    );
    assert!(said.starts_with("y\nz\n"), "{said}");
    let sizes: Vec<&str> = said
        .lines()
        .filter_map(|line| line.strip_prefix("tmpfs"))
        .map(str::trim)
        .collect();
    assert_eq!(sizes, ["64", "1024"]);
}

#[test]
fn volumes_of_the_image_are_written_to_whatever_the_root_is() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell(
        "echo y > /data/new; busybox cat /data/old /data/new; echo z > /made/deep/file && busybox cat /lib/deep/file; echo x > /file; busybox stat -c '%a %u' /data",
    );
    let (image, data) = (task.at("image"), task.at("image/data"));
    fs::create_dir(&data).unwrap();
    fs::write(data.join("old"), "old\n").unwrap();
    chown(&data, Some(1234), Some(1234)).unwrap();
    fs::set_permissions(&data, fs::Permissions::from_mode(0o750)).unwrap();
    symlink("/made", image.join("lib")).unwrap();
    fs::create_dir(image.join("made")).unwrap();
    task.container().read_only_root = true;
    task.container().volumes = vec!["/data".into(), "/lib/deep".into()];

    task.start();
    let exit = task.end();

    let said = ["stdout", "stderr"]
        .map(|name| fs::read_to_string(task.at("sandbox").join(name)).unwrap())
        .concat();
    // A runtime gives the shell its whole path for a name.
    let said = said.replace("/bin/sh: ", "sh: ");
    let expected = "old\ny\nz\n750 1234\nsh: can't create /file: Read-only file system\n";
    assert_eq!(said, expected, "{exit:?}");
    assert!(
        !image.join("made/deep").exists(),
        "the image stays as it is"
    );
    assert_eq!(fs::read_dir(data).unwrap().count(), 1);
}

#[test]
fn directories_of_the_machine_are_seen_where_they_are_mounted() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell(
        "busybox cat /data/file; echo new > /data/made; echo no > /fixed/made; busybox cat /conf/one",
    );
    for name in ["volumes/data", "volumes/fixed"] {
        fs::create_dir_all(task.at(name)).unwrap();
    }
    fs::write(task.at("volumes/data/file"), "hello\n").unwrap();
    fs::write(task.at("volumes/one"), "single\n").unwrap();
    let root = task.at("volumes").to_str().unwrap().to_owned();
    for (target, below, read_only) in [
        ("/data", "data", false),
        ("/fixed", "fixed", true),
        ("/conf/one", "one", true),
    ] {
        let source = Source::Path {
            root: root.clone(),
            below: below.into(),
            make: false,
        };
        task.container().mounts.push(Mounted {
            target: target.into(),
            source,
            read_only,
        });
    }
    let (volumes, made) = (task.at("volumes/fixed/made"), task.at("volumes/data/made"));
    task.start();
    task.end();
    let said =
        ["stdout", "stderr"].map(|name| fs::read_to_string(task.at("sandbox").join(name)).unwrap());

    assert_eq!(said[0], "hello\nsingle\n");
    assert!(
        said[1].contains("can't create /fixed/made: Read-only file system"),
        "{}",
        said[1]
    );
    assert_eq!(fs::read_to_string(made).unwrap(), "new\n");
    assert!(!volumes.exists());
}

#[test]
fn no_link_leads_out_of_a_volume_or_into_the_kernels_own() {
    if !possible() {
        return;
    }
    let refusal = |target: &str, below: &str| {
        let mut task = Fixture::shell("true");
        fs::create_dir_all(task.at("volumes")).unwrap();
        symlink("/etc", task.at("volumes/out")).unwrap();
        symlink("/proc/self", task.at("image/kernel")).unwrap();
        symlink("/", task.at("image/top")).unwrap();
        let root = task.at("volumes").to_str().unwrap().to_owned();
        let source = Source::Path {
            root,
            below: below.into(),
            make: false,
        };
        task.container().mounts.push(Mounted {
            target: target.into(),
            source,
            read_only: false,
        });
        task.run().1.sentence()
    };

    for (target, below) in [
        ("/m", "out"),
        ("/m", "../task"),
        ("/kernel", ""),
        ("/top", ""),
        ("/proc/sys", ""),
    ] {
        let said = refusal(target, below);
        assert!(
            said.starts_with("could not be started: building the container: "),
            "{target} {below}: {said}"
        );
    }
}

#[test]
fn a_container_without_a_network_has_a_loopback_only() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell(
        "busybox grep -c : /proc/net/dev; busybox ping -c 1 -W 5 127.0.0.1 > /dev/null && echo up",
    );
    task.container().network = Net::None;

    let (said, _) = task.run();

    // Tunnels of the kernel may be there, too, and are down; on the machine there is at least one more device.
    assert!(said.ends_with("up\n"), "{said}");
    let mut outside = Fixture::shell("busybox ls /sys/class/net");
    outside.container().network = Net::None;
    assert!(!outside.run().0.contains("eth"));
}

#[test]
fn limits_of_each_process_hold() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell("ulimit -n; ulimit -c");
    for (kind, soft) in [("nofile", 123), ("core", 0)] {
        task.container().rlimits.push(ProcessLimit {
            kind: kind.into(),
            soft: Some(soft),
            hard: Some(soft),
        });
    }
    assert_eq!(task.run().0, "123\n0\n");

    let mut unknown = Fixture::shell("true");
    unknown.container().rlimits.push(ProcessLimit {
        kind: "luck".into(),
        soft: None,
        hard: None,
    });
    assert!(unknown.run().1.sentence().contains("luck"));
}

#[test]
fn layers_lie_on_top_of_one_another_and_stay_as_they_are() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell(
        "busybox cat /etc/a /etc/b; echo mine > /etc/a; busybox rm /etc/b; busybox ls /etc",
    );
    fs::create_dir_all(task.at("second/etc")).unwrap();
    fs::write(task.at("image/etc/a"), "lower\n").unwrap();
    fs::write(task.at("image/etc/b"), "kept\n").unwrap();
    fs::write(task.at("second/etc/a"), "upper\n").unwrap();
    let second = task.at("second").to_str().unwrap().to_owned();
    let Root::Layers(layers) = &mut task.container().root else {
        panic!("layers")
    };
    layers.lower.push(second);
    let kept = [task.at("image/etc/b"), task.at("second/etc/a")];
    task.start();
    task.end();

    assert_eq!(
        fs::read_to_string(task.at("sandbox/stdout")).unwrap(),
        "upper\nkept\na\n"
    );
    assert_eq!(
        kept.map(|path| fs::read_to_string(path).unwrap()),
        ["kept\n", "upper\n"]
    );
}

#[test]
fn a_program_that_is_not_in_the_image_is_named() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell("");
    task.launch.command = Command::Program {
        path: "/usr/bin/env".into(),
        arguments: vec![],
    };

    let (_, exit) = task.run();

    let expected = "could not be started: executing the program: /usr/bin/env: No such file or directory (os error 2)";
    assert_eq!(exit.sentence(), expected);
}

#[test]
fn the_machines_own_files_can_be_the_root_and_only_be_read() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell("");
    let hidden = task.at("upper").to_str().unwrap().to_owned();
    fs::write(task.at("upper/secret"), "x").unwrap();
    let token = task.at("token").to_str().unwrap().to_owned();
    fs::write(&token, "secret\n").unwrap();
    task.launch.command = Command::Shell(format!(
        "cat {token} 2>/dev/null; ls {hidden} 2>/dev/null | wc -l; touch /etc/made 2>/dev/null || echo no; set -- /proc/[0-9]*; echo $#"
    ));
    task.launch
        .environment
        .insert("PATH".into(), "/usr/bin:/bin".into());
    let sandbox = task.at("sandbox").to_str().unwrap().to_owned();
    let container = task.container();
    container.root = Root::Machine {
        hidden: vec![hidden, token],
    };
    container.mounts[0].target.clone_from(&sandbox);
    container.working_dir = sandbox;

    let (said, exit) = task.run();

    // The first process and the shell.
    assert_eq!(said, "0\nno\n2\n", "{}", exit.sentence());
}

#[test]
fn a_sandbox_on_another_file_system_than_the_machines_root_is_there() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell("");
    let disk = task.at("disk");
    fs::create_dir(&disk).unwrap();
    let _mounted = Tmpfs::on(&disk);
    let sandbox = disk.join("tasks/sandbox");
    fs::create_dir_all(&sandbox).unwrap();
    fs::write(disk.join("other"), "x").unwrap();
    fs::remove_dir(task.at("sandbox")).unwrap();
    symlink(&sandbox, task.at("sandbox")).unwrap();
    let sandbox = sandbox.to_str().unwrap().to_owned();
    task.launch = Launch {
        command: Command::Shell(format!("touch made; pwd; ls {}", disk.display())),
        sandbox: sandbox.clone(),
        ..task.launch.clone()
    };
    let path = ("PATH".to_owned(), "/usr/bin:/bin".to_owned());
    task.launch.environment = BTreeMap::from([path]);
    let container = task.container();
    container.root = Root::Machine { hidden: Vec::new() };
    container.mounts[0] = Mounted {
        target: sandbox.clone(),
        source: Source::Path {
            root: sandbox.clone(),
            below: String::new(),
            make: false,
        },
        read_only: false,
    };
    container.working_dir.clone_from(&sandbox);

    let (said, exit) = task.run();

    assert_eq!(said, format!("{sandbox}\ntasks\n"), "{}", exit.sentence());
}

/// A file system of its own; unmounted at the end.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn on(place: &Path) -> Self {
        let mut mount = Process::new("mount");
        let done = mount.args(["-t", "tmpfs", "test"]).arg(place).status();
        assert!(done.unwrap().success());
        Self(place.to_owned())
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn killing_everything_leaves_no_mounts() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell("echo ready; busybox sleep 1000");
    assert!(task.start());
    task.said("stdout");
    let runner = PidFile::decode(&fs::read(task.dir().pid()).unwrap())
        .unwrap()
        .runner
        .unwrap();
    let place = task.root.path().to_str().unwrap().to_owned();
    let mounts_of =
        |pid: &str| fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
    assert!(mounts_of(&runner.task.pid.to_string()).contains("overlay"));
    assert!(!mounts_of("self").contains(&place));

    for pid in [runner.shim.pid, runner.task.pid] {
        kill_process(Pid::from_raw(pid).unwrap(), Signal::KILL).unwrap();
    }
    until("the container is gone", || {
        !mounts_of(&runner.task.pid.to_string()).contains("overlay")
    });

    assert!(!mounts_of("self").contains(&place));
    fs::remove_dir_all(task.at("place")).unwrap();
    fs::remove_dir_all(task.at("upper")).unwrap();
}

#[test]
fn a_check_runs_where_the_task_runs() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell("echo ready > /made; echo ready; busybox sleep 1000");
    task.launch.environment.insert("A".into(), "b".into());
    assert!(task.start());
    task.said("stdout");
    let check = |line: &str| {
        let mut check = Process::new(program());
        check.arg("--check").arg(task.dir().path());
        check
            .args(["20", "/bin/sh", "sh", "-c", line])
            .env_clear()
            .env("C", "d");
        let output = check.output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        (
            said,
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };

    let seen = "busybox cat /made; pwd; echo $A $C; busybox hostname; busybox ps -o args | busybox grep -c '^busybox sleep'";
    let (said, code, error) = check(seen);
    assert_eq!(
        said, "ready\n/mnt/mesos/sandbox\nb d\ninside\n1\n",
        "{error}"
    );
    assert_eq!(code, Some(0));
    assert_eq!(check("exit 3").1, Some(3));
    assert_eq!(check("busybox unshare -U busybox true").1, Some(1));
    let powers = "busybox grep -E '^(CapBnd|Seccomp|NoNewPrivs):' /proc/self/status";
    let usual = LinuxCapability::USUAL
        .iter()
        .fold(0_u64, |bits, one| bits | 1 << one.number());
    assert_eq!(
        check(powers).0,
        format!("CapBnd:\t{usual:016x}\nNoNewPrivs:\t1\nSeccomp:\t2\n")
    );
}

#[test]
fn a_check_ends_with_its_time() {
    if !possible() {
        return;
    }
    let mut task = Fixture::shell("echo ready; busybox sleep 1000");
    assert!(task.start());
    task.said("stdout");
    let mut check = Process::new(program());
    check.arg("--check").arg(task.dir().path());
    check.args([
        "1",
        "/bin/sh",
        "sh",
        "-c",
        "echo $$ > /check; busybox sleep 999",
    ]);

    let status = check.status().unwrap();

    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(14)
    );
    let pid = fs::read_to_string(task.at("upper/check")).unwrap();
    assert!(pid.trim().parse::<u32>().is_ok());
    let runner = PidFile::decode(&fs::read(task.dir().pid()).unwrap())
        .unwrap()
        .runner
        .unwrap();
    let inside = PathBuf::from(format!(
        "/proc/{}/root/proc/{}",
        runner.task.pid,
        pid.trim()
    ));
    until("the check is gone", || !inside.exists());
}

#[test]
fn whether_containers_can_be_built_is_found_out_by_building_one() {
    if !possible() {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let probe = |place: &Path| {
        Process::new(program())
            .arg("--probe")
            .arg(place)
            .output()
            .unwrap()
    };

    let good = probe(place.path());
    let bad = probe(&place.path().join("not-there"));

    assert!(
        good.status.success(),
        "{}",
        String::from_utf8_lossy(&good.stderr)
    );
    assert!(!bad.status.success() && !bad.stderr.is_empty());
}
