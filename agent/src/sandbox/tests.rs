use super::*;
use std::os::unix::fs::symlink;
use std::process::Command;

/// A sandbox beside a secret.
fn sandbox() -> (tempfile::TempDir, PathBuf, Sandbox) {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("sandbox");
    create(&path, None).unwrap();
    fs::write(root.path().join("secret"), "secret").unwrap();
    fs::create_dir(path.join("logs")).unwrap();
    fs::write(path.join("logs/app.log"), "0123456789").unwrap();
    let open = Sandbox::open(&path).unwrap();
    (root, path, open)
}

#[test]
fn no_path_leads_out_of_the_sandbox() {
    let (root, path, sandbox) = sandbox();
    symlink("../secret", path.join("up")).unwrap();
    symlink(root.path().join("secret"), path.join("absolute")).unwrap();
    symlink("..", path.join("above")).unwrap();
    symlink("/proc/self/root/etc/passwd", path.join("magic")).unwrap();
    symlink("loop", path.join("loop")).unwrap();

    for name in [
        "../secret",
        "logs/../../secret",
        "/etc/passwd",
        "up",
        "absolute",
        "above/secret",
        "magic",
        "loop",
        "\0",
        "logs/app.log\0",
    ] {
        let refused = sandbox.read(name, 0, 10).unwrap_err();
        assert!(
            matches!(refused, FileError::Outside(_)),
            "{name}: {refused:?}"
        );
    }
    for name in ["..", "/", "above", "logs/../.."] {
        let refused = sandbox.list(name).unwrap_err();
        assert!(
            matches!(refused, FileError::Outside(_)),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn links_that_stay_inside_are_followed() {
    let (_root, path, sandbox) = sandbox();
    symlink("logs/app.log", path.join("latest")).unwrap();
    symlink("../logs", path.join("logs/self")).unwrap();

    assert_eq!(sandbox.read("latest", 0, 4).unwrap().data, b"0123");
    assert_eq!(
        sandbox
            .read("logs/../logs/self/app.log", 8, 100)
            .unwrap()
            .data,
        b"89"
    );
}

#[test]
fn reads_are_bounded_and_tell_the_size() {
    let (_root, path, sandbox) = sandbox();
    fs::write(path.join("big"), vec![b'x'; 3 * MAX_READ_BYTES]).unwrap();

    let chunk = |offset, length| sandbox.read("logs/app.log", offset, length).unwrap();
    assert_eq!(
        chunk(3, 4),
        Chunk {
            offset: 3,
            data: b"3456".to_vec(),
            size: 10
        }
    );
    assert_eq!(
        chunk(-1, 4),
        Chunk {
            offset: 10,
            data: vec![],
            size: 10
        }
    );
    assert_eq!(
        chunk(10, 4),
        Chunk {
            offset: 10,
            data: vec![],
            size: 10
        }
    );
    assert_eq!(
        chunk(99, 4),
        Chunk {
            offset: 10,
            data: vec![],
            size: 10
        }
    );
    assert_eq!(chunk(i64::MAX, usize::MAX).data, b"");
    assert_eq!(
        sandbox.read("big", 1, usize::MAX).unwrap().data.len(),
        MAX_READ_BYTES
    );
    assert!(matches!(
        sandbox.read("big", -2, 1),
        Err(FileError::BadOffset(-2))
    ));
}

#[test]
fn only_plain_files_are_read_and_only_directories_are_listed() {
    let (_root, path, sandbox) = sandbox();
    assert!(
        Command::new("mkfifo")
            .arg(path.join("pipe"))
            .status()
            .unwrap()
            .success()
    );

    let said = |refused: FileError| refused.to_string();
    assert_eq!(
        said(sandbox.read("pipe", 0, 1).unwrap_err()),
        "pipe: it is a pipe, not a file"
    );
    assert_eq!(
        said(sandbox.read("logs", 0, 1).unwrap_err()),
        "logs: it is a directory, not a file"
    );
    assert_eq!(
        said(sandbox.list("logs/app.log").unwrap_err()),
        "logs/app.log: it is a file, not a directory"
    );
    assert_eq!(
        said(sandbox.read("nothing", 0, 1).unwrap_err()),
        "nothing: there is no such file or directory in the sandbox"
    );
}

#[test]
fn a_listing_shows_what_is_there_and_is_bounded() {
    let (_root, path, sandbox) = sandbox();
    symlink("/etc/passwd", path.join("link")).unwrap();

    let top = sandbox.list("").unwrap();
    let names: Vec<_> = top
        .entries
        .iter()
        .map(|entry| (entry.name.as_str(), entry.is_directory()))
        .collect();
    assert_eq!(names, [("link", false), ("logs", true)]);
    let logs = sandbox.list("logs").unwrap();
    assert_eq!(
        (
            logs.entries[0].name.as_str(),
            logs.entries[0].size,
            logs.is_cut
        ),
        ("app.log", 10, false)
    );

    for number in 0..=MAX_ENTRIES {
        fs::write(path.join("logs").join(number.to_string()), "").unwrap();
    }
    let many = sandbox.list("logs").unwrap();
    assert_eq!((many.entries.len(), many.is_cut), (MAX_ENTRIES, true));
}

#[test]
fn removing_follows_no_link() {
    let (root, path, _sandbox) = sandbox();
    let outside = root.path().join("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "kept").unwrap();
    symlink(&outside, path.join("directory")).unwrap();
    symlink(outside.join("file"), path.join("file")).unwrap();

    remove_tree(&path).unwrap();

    assert!(!path.exists());
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "kept");
    remove_tree(&path).unwrap();
}

#[test]
fn a_link_in_the_place_of_a_sandbox_is_not_followed() {
    let (root, path, _sandbox) = sandbox();
    let link = root.path().join("link");
    symlink(&path, &link).unwrap();

    assert!(remove_tree(&link).is_err());
    assert!(Sandbox::open(&link).is_err());

    assert!(path.join("logs/app.log").exists());
}

#[test]
fn a_tree_of_any_depth_is_removed() {
    let (_root, path, _sandbox) = sandbox();
    let mut at = rustix::fs::open(&path, OFlags::PATH, Mode::empty()).unwrap();
    for _ in 0..3_000 {
        rustix::fs::mkdirat(&at, "deeper", Mode::RWXU).unwrap();
        at = rustix::fs::openat(&at, "deeper", OFlags::PATH, Mode::empty()).unwrap();
    }

    remove_tree(&path).unwrap();

    assert!(!path.exists());
}

#[test]
fn a_mount_inside_a_sandbox_is_not_emptied() {
    let (root, path, _sandbox) = sandbox();
    let data = root.path().join("data");
    fs::create_dir(&data).unwrap();
    fs::write(data.join("file"), "kept").unwrap();
    let mount = path.join("logs");
    if !Command::new("mount")
        .arg("--bind")
        .args([&data, &mount])
        .stderr(std::process::Stdio::null())
        .status()
        .unwrap()
        .success()
    {
        eprintln!("needs root: nothing can be mounted");
        return;
    }

    let refused = remove_tree(&path);
    assert!(
        Command::new("umount")
            .arg(&mount)
            .status()
            .unwrap()
            .success()
    );

    assert!(refused.is_err());
    assert_eq!(fs::read_to_string(data.join("file")).unwrap(), "kept");
}

#[test]
fn a_reserve_makes_room_on_a_full_disk() {
    let root = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
        .arg(root.path())
        .stderr(std::process::Stdio::null())
        .status();
    if !mounted.unwrap().success() {
        eprintln!("needs root: no small file system can be mounted");
        return;
    }
    let reserve = Reserve::new(root.path().join("reserve"), 256 << 10);

    reserve.restore().unwrap();
    let filled = fs::write(root.path().join("hog"), vec![0; 2 << 20]).unwrap_err();
    let full = space(root.path()).unwrap();
    let refused = fs::write(root.path().join("record"), "record");
    reserve.release().unwrap();
    let after = fs::write(root.path().join("record"), "record");
    let again = reserve.restore();
    let held = reserve.is_held();
    fs::remove_file(root.path().join("hog")).unwrap();
    let at_last = reserve.restore();
    assert!(
        Command::new("umount")
            .arg(root.path())
            .status()
            .unwrap()
            .success()
    );

    assert_eq!(filled.kind(), io::ErrorKind::StorageFull);
    assert_eq!((full.total_bytes, full.free_bytes), (1 << 20, 0));
    assert!(refused.is_err() && after.is_ok());
    assert!(again.is_err() && !held && at_last.is_ok());
}
