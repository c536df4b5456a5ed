use super::*;
use std::fs;
use std::time::Duration;

const HYBRID: &str = "\
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/with\\040space rw,relatime - cgroup2 cgroup2 rw,nsdelegate
";

/// A directory that looks like a version 2 hierarchy.
fn fake_v2(controllers: &str) -> (tempfile::TempDir, Hierarchies) {
    let root = tempfile::tempdir().unwrap();
    let scope = root.path().join("mete/agent-1");
    for group in [
        root.path(),
        &root.path().join("mete"),
        &scope,
        &scope.join("c1"),
    ] {
        fs::create_dir_all(group).unwrap();
        for file in [
            "cgroup.controllers",
            "cgroup.subtree_control",
            "cgroup.kill",
            "cgroup.procs",
            "cpu.weight",
            "cpu.max",
            "memory.low",
            "memory.max",
            "memory.swap.max",
            "memory.oom.group",
            "pids.max",
        ] {
            fs::write(
                group.join(file),
                if file == "cgroup.controllers" {
                    controllers
                } else {
                    ""
                },
            )
            .unwrap();
        }
    }
    let hierarchies = Hierarchies {
        v1: BTreeMap::new(),
        v2: Some(root.path().to_owned()),
    };
    (root, hierarchies)
}

#[test]
fn hierarchies_are_found_by_controller() {
    let found = Hierarchies::parse(HYBRID);

    assert_eq!(found.v1["cpu"], Path::new("/sys/fs/cgroup/cpu,cpuacct"));
    assert_eq!(found.v1["cpuacct"], found.v1["cpu"]);
    assert_eq!(found.v1["memory"], Path::new("/sys/fs/cgroup/memory"));
    assert!(!found.v1.contains_key("pids"));
    assert_eq!(
        found.v2.as_deref(),
        Some(Path::new("/sys/fs/cgroup/with space"))
    );
}

#[test]
fn version_2_is_used_where_it_has_the_controllers() {
    let (root, hierarchies) = fake_v2("cpuset cpu io memory pids");
    let mut options = Options::new("agent-1".into());
    options.cpu_quota = true;

    let groups = Cgroups::set_up(&hierarchies, options);
    let plan = groups.create("c1", Limits::new(500, 64 << 20)).unwrap();

    assert_eq!(groups.isolation().to_string(), "cpu v2, memory v2, pids v2");
    let group = root.path().join("mete/agent-1/c1");
    let read = |file: &str| fs::read_to_string(group.join(file)).unwrap();
    assert_eq!(plan.v2.as_deref(), group.to_str());
    assert_eq!(
        (read("cpu.weight"), read("cpu.max")),
        ("20".into(), "50000 100000".into())
    );
    assert_eq!(
        (read("memory.max"), read("memory.swap.max")),
        ("67108864".into(), "0".into())
    );
    assert_eq!(
        (read("memory.oom.group"), read("pids.max")),
        ("1".into(), "4096".into())
    );
    assert_eq!(
        plan.oom_file(),
        Some(format!("{}/memory.events", group.display()))
    );
}

#[test]
fn the_last_word_on_what_a_container_may_use_counts_whenever_its_groups_are_made() {
    let (root, hierarchies) = fake_v2("cpu memory pids");
    let groups = Cgroups::set_up(&hierarchies, Options::new("agent-1".into()));
    let most = || {
        let file = root.path().join("mete/agent-1/c1/memory.max");
        fs::read_to_string(file).ok()
    };
    let megabytes = |number: u64| Limits::new(500, number << 20);
    let is = |number: u64| Some((number << 20).to_string());

    groups.note_width("c1", megabytes(192));
    groups.create("c1", megabytes(160)).unwrap();
    assert_eq!(most(), is(192));
    groups.note_width("c1", megabytes(224));
    groups.note_width("c1", megabytes(256));
    groups.widen("c1").unwrap();
    groups.widen("c1").unwrap();
    assert_eq!(most(), is(256));
    groups.forget_width("c1");
    groups.create("c1", megabytes(160)).unwrap();
    assert_eq!(most(), is(160));
}

#[test]
fn what_is_asked_for_is_kept_and_a_limit_is_above_it() {
    let (root, hierarchies) = fake_v2("cpu memory pids");
    let groups = Cgroups::set_up(&hierarchies, Options::new("agent-1".into()));
    let scope = root.path().join("mete/agent-1");
    let read = |file: &str| fs::read_to_string(scope.join(file)).unwrap();
    let mut limits = Limits::new(500, 64 << 20);
    limits.cpu_limit = Some(Limit::At(2_000));
    limits.mem_limit = Some(Limit::At(128 << 20));

    groups.create("c1", limits).unwrap();

    assert_eq!(read("memory.low"), "max");
    assert_eq!(read("c1/memory.low"), (64 << 20).to_string());
    assert_eq!(read("c1/memory.max"), (128 << 20).to_string());
    assert_eq!(read("c1/cpu.max"), "200000 100000");
    limits.cpu_limit = Some(Limit::Unlimited);
    limits.mem_limit = Some(Limit::Unlimited);
    fs::write(scope.join("c1/memory.max"), "as it was").unwrap();
    fs::write(scope.join("c1/cpu.max"), "as it was").unwrap();
    groups.create("c1", limits).unwrap();
    assert_eq!(read("c1/memory.max"), "as it was");
    assert_eq!(read("c1/cpu.max"), "as it was");
}

#[test]
fn a_small_task_still_gets_the_least_that_works() {
    let (root, hierarchies) = fake_v2("cpu memory pids");
    let groups = Cgroups::set_up(&hierarchies, Options::new("agent-1".into()));

    groups.create("c1", Limits::new(1, 1)).unwrap();

    let group = root.path().join("mete/agent-1/c1");
    assert_eq!(fs::read_to_string(group.join("cpu.weight")).unwrap(), "1");
    assert_eq!(
        fs::read_to_string(group.join("memory.max")).unwrap(),
        (32 << 20).to_string()
    );
}

#[test]
fn a_host_without_control_groups_says_what_is_missing() {
    let options = Options::new("agent-1".into());
    let groups = Cgroups::set_up(&Hierarchies::default(), options.clone());

    let plan = groups.create("c1", Limits::new(1_000, 1 << 30)).unwrap();

    let unwanted = Cgroups::none(options).isolation().to_string();
    assert!(
        unwanted.starts_with("no cpu limit (--isolation none), "),
        "{unwanted}"
    );
    assert!(plan.is_empty());
    assert_eq!(usage(&plan), Usage::default());
    assert_eq!(kill(&plan), 0);
    let text = groups.isolation().to_string();
    assert!(
        text.starts_with("no cpu limit (the host has no such control group), no memory limit"),
        "{text}"
    );
}

/// A directory that looks like a version 1 hierarchy; its groups have the file, if there is one.
fn fake_blkio(file: Option<&str>) -> (tempfile::TempDir, Hierarchies) {
    let root = tempfile::tempdir().unwrap();
    for group in ["mete", "mete/agent-1", "mete/agent-1/c1"] {
        let group = root.path().join(group);
        fs::create_dir_all(&group).unwrap();
        if let Some(file) = file {
            fs::write(group.join(file), "").unwrap();
        }
    }
    let hierarchies = Hierarchies {
        v1: BTreeMap::from([("blkio".to_owned(), root.path().to_owned())]),
        v2: None,
    };
    (root, hierarchies)
}

#[test]
fn disks_are_weighed_by_cpus_within_what_the_kernel_takes() {
    let weights = |file: &str, cpus_milli: &[u64]| -> Vec<String> {
        let (root, hierarchies) = match file.starts_with("io.") {
            true => fake_v2("cpu io memory pids"),
            false => fake_blkio(Some(file)),
        };
        let scope = root.path().join("mete/agent-1");
        for group in [root.path().join("mete"), scope.clone(), scope.join("c1")] {
            fs::write(group.join(file), "").unwrap();
        }
        let groups = Cgroups::set_up(&hierarchies, Options::new("agent-1".into()));
        assert!(groups.isolation().disks.is_some(), "{file}");
        let all = fs::read_to_string(scope.join(file)).unwrap();
        let cpus = thread::available_parallelism().unwrap().get();
        let most = if file == "io.weight" { 10_000 } else { 1_000 };
        assert_eq!(all, (cpus * 100).min(most).to_string());
        let of_task = cpus_milli.iter().map(|&cpus_milli| {
            groups.create("c1", Limits::new(cpus_milli, 1)).unwrap();
            fs::read_to_string(scope.join("c1").join(file)).unwrap()
        });
        of_task.collect()
    };
    let asked = [1, 250, 2_000, 50_000, 500_000];

    assert_eq!(
        weights("io.weight", &asked),
        ["1", "25", "200", "5000", "10000"]
    );
    assert_eq!(
        weights("io.bfq.weight", &asked),
        ["1", "25", "200", "1000", "1000"]
    );
    assert_eq!(
        weights("blkio.bfq.weight", &asked),
        ["1", "25", "200", "1000", "1000"]
    );
    assert_eq!(
        weights("blkio.weight", &asked),
        ["10", "25", "200", "1000", "1000"]
    );
}

#[test]
fn without_weights_of_disks_no_group_is_made_for_them() {
    let (root, hierarchies) = fake_blkio(None);
    fs::remove_dir(root.path().join("mete/agent-1/c1")).unwrap();

    let groups = Cgroups::set_up(&hierarchies, Options::new("agent-1".into()));

    assert_eq!(groups.isolation().disks, None);
    assert!(groups.plan_for("c1").is_empty());
    assert!(!root.path().join("mete").exists());
}

#[test]
fn two_work_directories_never_share_a_scope() {
    let one = scope_of("agent 1", Path::new("/var/lib/one"));
    let other = scope_of("agent 1", Path::new("/var/lib/other"));

    assert!(one.starts_with("agent_1-"));
    assert_ne!(one, other);
    assert_eq!(one, scope_of("agent 1", Path::new("/var/lib/one")));
}

#[test]
fn this_host_limits_measures_kills_and_forgets_a_task() {
    let groups = Cgroups::set_up(
        &Hierarchies::of_this_host(),
        Options::new(format!("test-{}", std::process::id())),
    );
    if !groups.isolation().missing.is_empty() {
        eprintln!("needs writable control groups: {}", groups.isolation());
        return;
    }
    let plan = groups.create("c1", Limits::new(250, 48 << 20)).unwrap();
    let (group, files) = match groups.isolation().disks {
        Some(1) => (plan.v1.get("blkio"), ["blkio.weight", "blkio.bfq.weight"]),
        _ => (plan.v2.as_ref(), ["io.weight", "io.bfq.weight"]),
    };
    let read = |file| fs::read_to_string(Path::new(group?).join(file)).ok();
    let weights: Vec<String> = files.into_iter().filter_map(read).collect();
    assert_eq!(weights.is_empty(), groups.isolation().disks.is_none());
    // `25`, or `default 25`.
    assert!(
        weights.iter().all(|text| text.ends_with("25\n")),
        "{weights:?}"
    );
    let enter: String = plan
        .enter_files()
        .iter()
        .chain(&plan.v2.as_ref().map(|dir| format!("{dir}/cgroup.procs")))
        .map(|file| format!("echo 0 > {file}; "))
        .collect();
    let script = format!("{enter} setsid sleep 1000 & sleep 1000 & wait");
    let mut child = std::process::Command::new("sh")
        .args(["-c", &script])
        .spawn()
        .unwrap();
    while members(&plan).len() != 3 {
        thread::sleep(Duration::from_millis(2));
    }

    let usage = usage(&plan);
    let orphans = groups.orphans(&BTreeSet::new());
    let left = kill(&plan);
    child.wait().unwrap();
    remove(&plan).unwrap();
    groups.tear_down();

    assert_eq!(
        (usage.mem_limit_bytes, usage.processes, usage.pids),
        (Some(48 << 20), Some(3), Some(3))
    );
    assert!(
        usage.cpu.total_ns.is_some() && usage.mem_bytes.is_some() && usage.mem_rss_bytes.is_some(),
        "{usage:?}"
    );
    assert_eq!(orphans, BTreeMap::from([("c1".to_owned(), plan.clone())]));
    assert_eq!(left, 0);
    assert!(
        plan.directories()
            .iter()
            .all(|group| !Path::new(group).exists())
    );
}
