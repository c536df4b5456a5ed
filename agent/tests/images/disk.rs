//! What stays on disk over restarts, what goes by age or for want of room, and what happens when there is none.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use mete_agent::images::{ImageError, Images, Pull};
use mete_daemon::clock;

use crate::sample::{Sample, layer, noise};
use crate::servers::{Fake, Host, container, open};

/// A small file system; gone after the test.
struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    /// `None` when we may not mount.
    fn mount(size: &str) -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"])
            .arg(place.path())
            .output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("skipped: mounting a small file system needs root");
        }
        mounted.then_some(Self(place))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).output();
    }
}

async fn provide(
    images: &Images,
    fake: &Fake,
    name: &str,
    who: &str,
) -> Result<String, ImageError> {
    let (reference, who) = (fake.reference(name), container(who));
    let image = images
        .provide(&reference, Pull::IfMissing, &who, |_| {})
        .await?;
    Ok(image.digest)
}

fn names(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[tokio::test]
async fn a_full_disk_fails_the_pull_and_is_as_free_as_before() {
    let Some(disk) = SmallDisk::mount("8m") else {
        return;
    };
    let fits_not = Sample::of(&[layer(&[("a", &noise(6 << 20, 1))])]);
    let comes_not = Sample::of(&[layer(&[("a", &noise(12 << 20, 2))])]);
    let fits = Sample::of(&[layer(&[("a", &noise(1 << 20, 3))])]);
    let all = [
        ("packed:1", &fits_not),
        ("large:1", &comes_not),
        ("small:1", &fits),
    ];
    let fake = Fake::start(&all, |_, _, _| None).await;
    let images = open(disk.0.path(), &[&fake.address], |_| {});
    let root = disk.0.path().join("images");

    // One has room for its packed layer, but not to unpack it; the other not even that.
    for name in ["packed:1", "large:1"] {
        let error = provide(&images, &fake, name, "c").await.unwrap_err();
        assert!(
            matches!(error, ImageError::DiskFull { .. }),
            "{name}: {error}"
        );
        assert!(
            error
                .to_string()
                .ends_with(&format!("/{name}: the disk is full")),
            "{error}"
        );
        assert_eq!(
            (names(&root.join("tmp")), names(&root.join("layers"))),
            (0, 0)
        );
    }

    let small = provide(&images, &fake, "small:1", "c").await;
    assert_eq!(small.unwrap(), fits.digest(), "what fits is pulled");
}

#[tokio::test]
async fn a_restart_finds_what_was_whole_and_removes_the_rest() {
    let sample = Sample::of(&[layer(&[("a", b"1")]), layer(&[("b", b"2")])]);
    let fake = Fake::start(&[("app:1", &sample)], |_, _, _| None).await;
    let host = Host::new(&[&fake.address]);
    provide(&host.images, &fake, "app:1", "c").await.unwrap();
    let root = host.root();
    // What a kill leaves behind: a blob on its way, half a layer, one that nobody has vouched for, a torn record.
    std::fs::write(root.join("tmp/7"), "half a blob").unwrap();
    std::fs::create_dir_all(root.join("tmp/8/etc")).unwrap();
    std::fs::create_dir(root.join("layers/00112233445566778899")).unwrap();
    std::fs::write(root.join("images/torn.json"), "{\"versi").unwrap();

    let again = open(host.directory.path(), &[], |_| {});

    // Without any registry that it could ask.
    let image = again
        .provide(
            &fake.reference("app:1"),
            Pull::IfMissing,
            &container("c"),
            |_| {},
        )
        .await
        .unwrap();
    assert_eq!(image.digest, sample.digest());
    assert_eq!(image.config.cmd, ["/app"]);
    assert_eq!(std::fs::read(image.layers[1].join("b")).unwrap(), b"2");
    assert_eq!((host.unfinished(), host.layers()), (0, 2));
    assert_eq!(names(&root.join("images")), 1);
    assert_eq!(fake.count("manifests/1"), 1);
}

/// A layer with a directory that is everybody's to write to, and nothing in it.
fn everybodys(name: &str) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_mode(0o1777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_size(0);
    builder
        .append_data(&mut header, name, std::io::empty())
        .unwrap();
    builder.into_inner().unwrap()
}

#[tokio::test]
async fn what_layers_mean_together_is_one_more_layer_that_goes_with_the_image() {
    let sample = Sample::of(&[everybodys("tmp"), layer(&[("tmp/x", b"1")])]);
    let fake = Fake::start(&[("app:1", &sample)], |_, _, _| None).await;
    let host = Host::new(&[&fake.address]);
    provide(&host.images, &fake, "app:1", "c").await.unwrap();

    let again = open(host.directory.path(), &[], |_| {});
    let (reference, who) = (fake.reference("app:1"), container("c"));
    let image = again
        .provide(&reference, Pull::IfMissing, &who, |_| {})
        .await
        .unwrap();

    assert_eq!(image.layers.len(), 3);
    let mode = |layer: &Path| {
        let there = std::fs::metadata(layer.join("tmp")).unwrap();
        std::os::unix::fs::PermissionsExt::mode(&there.permissions()) & 0o7777
    };
    assert_eq!(mode(&image.layers[1]), 0o755, "alone it says nothing");
    assert_eq!(mode(&image.layers[2]), 0o1777);
    again.release(&who);
    again.remove(&sample.digest()).await.unwrap();
    assert_eq!(names(&host.root().join("layers")), 0);
}

#[tokio::test]
async fn an_image_with_a_lost_layer_is_pulled_again() {
    let sample = Sample::of(&[layer(&[("a", b"1")]), layer(&[("b", b"2")])]);
    let fake = Fake::start(&[("app:1", &sample)], |_, _, _| None).await;
    let host = Host::new(&[&fake.address]);
    let whole = host
        .images
        .provide(
            &fake.reference("app:1"),
            Pull::IfMissing,
            &container("c"),
            |_| {},
        )
        .await
        .unwrap();
    std::fs::remove_dir_all(&whole.layers[0]).unwrap();

    let again = open(host.directory.path(), &[&fake.address], |_| {});
    assert!(again.list().await.is_empty());
    provide(&again, &fake, "app:1", "c").await.unwrap();

    assert_eq!(fake.count(&sample.layers[0]), 2);
    assert_eq!(fake.count(&sample.layers[1]), 1, "what is left is used");
}

#[tokio::test]
async fn what_is_old_goes_but_never_what_is_held_or_shared() {
    let base = layer(&[("base", b"0")]);
    let old = Sample::of(&[base.clone(), layer(&[("a", b"1")])]);
    let held = Sample::of(&[base, layer(&[("b", b"2")])]);
    let fake = Fake::start(&[("old:1", &old), ("held:1", &held)], |_, _, _| None).await;
    let host = Host::new(&[&fake.address]);
    provide(&host.images, &fake, "old:1", "gone").await.unwrap();
    provide(&host.images, &fake, "held:1", "stays")
        .await
        .unwrap();
    host.images.release(&container("gone"));
    let week = Duration::from_secs(7 * 24 * 3600);

    let early = host.images.collect(clock::now()).await.unwrap();
    assert!(early.images.is_empty());
    let late = host.images.collect(clock::now() + week).await.unwrap();

    assert_eq!(late.images, [old.digest()]);
    assert_eq!(late.names, [fake.reference("old:1")]);
    assert!(late.bytes > 0);
    assert_eq!(host.layers(), 2, "the shared layer stays");
    assert_eq!(host.unfinished(), 0);
    // Also in the next life, when the container still runs.
    let again = open(host.directory.path(), &[], |_| {});
    again.hold(&container("stays"), &held.digest());
    let none = again.collect(clock::now() + week).await.unwrap();
    assert!(none.images.is_empty());
    again.release(&container("stays"));
    let all = again.collect(clock::now() + week + week).await.unwrap();
    assert_eq!(all.images, [held.digest()]);
    assert_eq!(host.layers(), 0);
}

#[tokio::test]
async fn a_full_disk_costs_the_image_that_was_used_longest_ago() {
    let Some(disk) = SmallDisk::mount("16m") else {
        return;
    };
    let samples: Vec<_> = (0..4)
        .map(|seed| Sample::of(&[layer(&[("a", &noise(3 << 20, seed))])]))
        .collect();
    let all: Vec<_> = ["a:1", "b:1", "c:1", "d:1"]
        .into_iter()
        .zip(&samples)
        .collect();
    let fake = Fake::start(&all, |_, _, _| None).await;
    let images = open(disk.0.path(), &[&fake.address], |options| {
        options.high_water_percent = 50
    });
    for (name, _) in &all {
        provide(&images, &fake, name, name.get(..1).unwrap())
            .await
            .unwrap();
    }
    // Three quarters are used. `a` came first, but is used again; `b` is held; so `c` is the oldest that may go.
    for name in ["c", "d", "a"] {
        images.release(&container(name));
    }

    let at_once = images.collect(clock::now()).await.unwrap();
    let later = clock::now() + Duration::from_secs(600);
    let removed = images.collect(later).await.unwrap();

    assert_eq!(at_once.images, [""; 0], "somebody is about to run them");
    assert_eq!(
        removed.images,
        [samples[2].digest(), samples[3].digest()],
        "and no more than is needed"
    );
}

#[tokio::test]
async fn an_operator_removes_names_first_and_nothing_that_is_held() {
    let sample = Sample::of(&[layer(&[("a", b"1")])]);
    let fake = Fake::start(&[("app:1", &sample), ("app:2", &sample)], |_, _, _| None).await;
    let host = Host::new(&[&fake.address]);
    provide(&host.images, &fake, "app:1", "c").await.unwrap();
    provide(&host.images, &fake, "app:2", "d").await.unwrap();
    host.images.release(&container("d"));
    let (one, two) = (fake.reference("app:1"), fake.reference("app:2"));

    let name = host.images.remove(&two).await.unwrap();
    assert_eq!((name.names, name.images), (vec![two.clone()], vec![]));
    let unknown = host.images.remove(&two).await.unwrap_err();
    assert!(matches!(unknown, ImageError::Unknown { .. }), "{unknown}");
    let held = host.images.remove(&one).await.unwrap_err();
    assert!(
        matches!(&held, ImageError::InUse { container, .. } if container == "c"),
        "{held}"
    );
    host.images.release(&container("c"));
    let all = host.images.remove(&sample.digest()).await.unwrap();

    assert_eq!((all.names, all.images), (vec![one], vec![sample.digest()]));
    assert_eq!(host.layers(), 0);
}
