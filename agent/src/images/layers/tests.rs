use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::PathBuf;

use rustix::fs::lgetxattr;
use tar::{Builder, EntryType, Header};

use super::*;

/// A layer in the making.
struct Made(Builder<Vec<u8>>);

impl Made {
    fn new() -> Self {
        Self(Builder::new(Vec::new()))
    }

    /// Any entry, with whatever names: what the library would refuse is written all the same.
    fn any(mut self, kind: EntryType, name: &str, link: &str, content: &[u8]) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(kind);
        header.set_mode(0o644);
        header.set_mtime(1_000_000_000);
        header.set_uid(0);
        header.set_gid(0);
        header.set_size(content.len() as u64);
        let old = header.as_old_mut();
        old.name[..name.len()].copy_from_slice(name.as_bytes());
        old.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_cksum();
        self.0.append(&header, content).expect("appended");
        self
    }

    /// A directory of somebody, with a mode of its own.
    fn directory_of(mut self, name: &str, mode: u32, uid: u64) -> Self {
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_mode(mode);
        header.set_mtime(1_000_000_000);
        header.set_uid(uid);
        header.set_gid(uid);
        header.set_size(0);
        let appended = self.0.append_data(&mut header, name, io::empty());
        appended.expect("appended");
        self
    }

    fn file(self, name: &str, content: &str) -> Self {
        self.any(EntryType::Regular, name, "", content.as_bytes())
    }

    fn directory(self, name: &str) -> Self {
        self.any(EntryType::Directory, name, "", b"")
    }

    fn symlink(self, name: &str, to: &str) -> Self {
        self.any(EntryType::Symlink, name, to, b"")
    }

    fn hard_link(self, name: &str, to: &str) -> Self {
        self.any(EntryType::Link, name, to, b"")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.into_inner().expect("finished")
    }
}

/// A directory with a layer in it, and one beside that must stay as it is.
struct Place {
    directory: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        fs::create_dir(directory.path().join("layer")).expect("made");
        fs::write(directory.path().join("outside"), "untouched").expect("written");
        Self { directory }
    }

    fn layer(&self) -> PathBuf {
        self.directory.path().join("layer")
    }

    fn unpack_as(&self, bytes: &[u8], form: Form, bound: u64) -> Result<Unpacked, LayerError> {
        let limits = Limits { bytes: bound };
        let digest = Digest::of(bytes);
        unpack(
            bytes,
            &digest,
            &self.layer(),
            form,
            limits,
            &CancellationToken::new(),
        )
    }

    fn unpack(&self, made: Made) -> Result<Unpacked, LayerError> {
        self.unpack_as(&made.bytes(), Form::Files, 1 << 20)
    }

    fn is_clean_outside(&self) -> bool {
        let names = fs::read_dir(self.directory.path()).expect("read").count();
        let content = fs::read_to_string(self.directory.path().join("outside"));
        names == 2 && content.is_ok_and(|content| content == "untouched")
    }
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn a_layer_becomes_what_it_says() {
    let place = Place::new();
    let made = Made::new()
        .directory("./")
        .directory("bin/")
        .file("./bin/app", "program")
        .symlink("bin/sh", "/bin/app")
        .hard_link("bin/same", "bin/app")
        .any(EntryType::Fifo, "pipe", "", b"")
        .file("deep/er/file", "1")
        .file("/etc/absolute", "2");

    place.unpack(made).expect("unpacked");

    let layer = place.layer();
    let app = fs::metadata(layer.join("bin/app")).expect("there");
    assert_eq!(
        (app.mode() & 0o7777, app.mtime(), app.len(), app.nlink()),
        (0o644, 1_000_000_000, 7, 2)
    );
    let same = fs::metadata(layer.join("bin/same")).expect("there");
    assert_eq!(same.ino(), app.ino());
    let link = fs::read_link(layer.join("bin/sh")).expect("a link");
    assert_eq!(link, Path::new("/bin/app"));
    let bin = fs::metadata(layer.join("bin")).expect("there");
    assert_eq!(bin.mtime(), 1_000_000_000, "set after the files in it");
    let pipe = fs::symlink_metadata(layer.join("pipe")).expect("there");
    assert!(pipe.file_type().is_fifo());
    assert_eq!(
        fs::read_to_string(layer.join("deep/er/file")).expect("read"),
        "1"
    );
    assert_eq!(
        fs::read_to_string(layer.join("etc/absolute")).expect("read"),
        "2"
    );
    assert!(place.is_clean_outside());
}

#[test]
fn owners_special_bits_and_capabilities_are_kept() {
    if !is_root() {
        eprintln!("skipped: other owners need root");
        return;
    }
    let place = Place::new();
    let capability = b"\x01\0\0\x02\0\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let mut builder = Builder::new(Vec::new());
    let records = [
        ("SCHILY.xattr.security.capability", &capability[..]),
        ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
        ("mtime", b"1000000000.25"),
    ];
    builder.append_pax_extensions(records).expect("appended");
    let mut header = Header::new_ustar();
    header.set_path("ping").expect("a path");
    header.set_mode(0o4755);
    header.set_uid(1234);
    header.set_gid(4321);
    header.set_size(0);
    header.set_cksum();
    builder.append(&header, &b""[..]).expect("appended");
    let bytes = builder.into_inner().expect("finished");

    place
        .unpack_as(&bytes, Form::Files, 1 << 20)
        .expect("unpacked");

    let ping = place.layer().join("ping");
    let found = fs::metadata(&ping).expect("there");
    assert_eq!(
        (found.uid(), found.gid(), found.mode() & 0o7777),
        (1234, 4321, 0o4755)
    );
    assert_eq!(found.mtime_nsec(), 250_000_000);
    let mut value = [0; 64];
    let count = lgetxattr(&ping, "security.capability", &mut value[..]).expect("kept");
    assert_eq!(&value[..count], capability);
    let steering = lgetxattr(&ping, "trusted.overlay.opaque", &mut value[..]);
    assert!(steering.is_err(), "a layer steers no overlay");
}

/// Unpacks what leads out of its tree: the entry is named, and nothing has happened outside.
fn check_refused(made: Made, entry: &str, says: &str) {
    let place = Place::new();

    let error = place.unpack(made).expect_err(entry);

    let LayerError::Bad { entry: named, why } = &error else {
        panic!("{entry}: {error}");
    };
    assert_eq!(named, entry);
    assert!(why.contains(says), "{entry}: {why}");
    assert!(place.is_clean_outside(), "{entry}");
}

#[test]
fn names_that_lead_out_of_the_tree_are_refused() {
    let up = || Made::new().symlink("a", "..");
    let down_and_up = Made::new().directory("d").symlink("d/e", "../..");
    let root = Made::new().symlink("a", "/");

    check_refused(Made::new().file("../outside", "x"), "../outside", "'..'");
    let winding = "a/../../outside";
    check_refused(Made::new().file(winding, "x"), winding, "'..'");
    check_refused(up().file("a/outside", "x"), "a/outside", "symbolic link");
    check_refused(root.file("a/tmp/x", "x"), "a/tmp/x", "symbolic link");
    let deep = "d/e/outside";
    check_refused(down_and_up.file(deep, "x"), deep, "symbolic link");
    check_refused(up().directory("a/new"), "a/new", "symbolic link");
    check_refused(up().symlink("a/new", "x"), "a/new", "symbolic link");
    let whiteout = up().file("a/.wh.outside", "");
    check_refused(whiteout, "a/outside", "symbolic link");
    let opaque = up().file("a/.wh..wh..opq", "");
    check_refused(opaque, "a", "symbolic link");
    let file = Made::new().file("a", "x").file("a/b", "x");
    check_refused(file, "a/b", "no directory");
    check_refused(Made::new().file("./", "x"), "", "place of the root");
}

#[test]
fn hard_links_that_lead_out_of_the_tree_are_refused() {
    let link = |to: &str| Made::new().hard_link("h", to);
    let up = Made::new().symlink("a", "..");

    check_refused(link("../outside"), "h", "out of the layer");
    check_refused(link("/outside"), "h", "not in the layer");
    check_refused(link("/etc/passwd"), "h", "not in the layer");
    check_refused(up.hard_link("h", "a/outside"), "h", "symbolic link");
    let own = Made::new().file("h", "x").hard_link("h", "h");
    check_refused(own, "h", "to itself");
    let directory = Made::new().directory("d").hard_link("h", "d");
    check_refused(directory, "h", "no file");
    check_refused(link(""), "h", "leads nowhere");
}

#[test]
fn what_cannot_be_hidden_is_refused() {
    let file = |name: &str| Made::new().file(name, "");

    check_refused(file(".wh..."), ".wh...", "cannot be hidden");
    check_refused(file("x/.wh."), "x/.wh.", "cannot be hidden");
    check_refused(file(".wh.a/b"), ".wh.a/b", "hides something");
}

#[test]
fn what_is_in_the_way_is_replaced_and_never_written_to() {
    let place = Place::new();
    let made = Made::new()
        .symlink("a", "../outside")
        .file("a", "of the layer")
        .symlink("d", "..")
        .directory("d/")
        .file("d/outside", "inside")
        .file("d/outside2", "x")
        .file("d", "now a file")
        .file("h", "first")
        .hard_link("h2", "h")
        .file("h", "second");

    place.unpack(made).expect("unpacked");

    let read = |name: &str| fs::read_to_string(place.layer().join(name)).expect(name);
    assert_eq!(read("a"), "of the layer");
    assert_eq!(read("d"), "now a file");
    assert_eq!((read("h"), read("h2")), ("second".into(), "first".into()));
    assert!(place.is_clean_outside());
}

#[test]
fn device_nodes_are_left_out() {
    let place = Place::new();
    let made = Made::new()
        .any(EntryType::Char, "dev/null", "", b"")
        .any(EntryType::Block, "dev/sda", "", b"")
        .file("dev/file", "x");

    place.unpack(made).expect("unpacked");

    let left: Vec<_> = fs::read_dir(place.layer().join("dev"))
        .expect("read")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    assert_eq!(left, ["file"]);
}

#[test]
fn a_bomb_ends_at_its_bound() {
    let place = Place::new();
    let mut bomb = Made::new();
    for number in 0..8 {
        bomb = bomb.file(&format!("zeros{number}"), &"\0".repeat(1 << 20));
    }
    let plain = bomb.bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("packed");
    let packed = gzip.finish().expect("packed");
    assert!(packed.len() < 1 << 20, "it is small before");

    let error = place
        .unpack_as(&packed, Form::Files, 2 << 20)
        .expect_err("it is too large");

    assert!(
        matches!(error, LayerError::TooLarge { bound, unit: "bytes" } if bound == 2 << 20),
        "{error}"
    );
    let written: u64 = fs::read_dir(place.layer())
        .expect("read")
        .map(|entry| entry.expect("an entry").metadata().expect("there").len())
        .sum();
    assert!(written <= 2 << 20, "{written} bytes were written");
}

#[test]
fn a_layer_may_be_packed_in_three_ways() {
    let plain = Made::new().file("a", "content").bytes();
    let digest = Digest::of(&plain);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).expect("packed");
    let gzip = gzip.finish().expect("packed");
    let zstd = zstd::encode_all(&plain[..], 1).expect("packed");

    for packed in [plain, gzip, zstd] {
        let place = Place::new();
        let limits = Limits { bytes: 1 << 20 };
        let cancel = CancellationToken::new();
        let into = place.layer();
        unpack(&packed[..], &digest, &into, Form::Files, limits, &cancel).expect("unpacked");
        let content = fs::read_to_string(place.layer().join("a")).expect("read");
        assert_eq!(content, "content");
    }
}

#[test]
fn a_layer_may_end_without_the_filling_of_its_last_entry() {
    let mut bytes = Made::new().file("a", "content").bytes();
    bytes.truncate(512 + "content".len());
    let unpacked = |bytes: &[u8]| {
        let place = Place::new();
        let limits = Limits { bytes: 1 << 20 };
        let cancel = CancellationToken::new();
        let digest = Digest::of(bytes);
        let done = unpack(bytes, &digest, &place.layer(), Form::Files, limits, &cancel);
        done.map(|_| fs::read_to_string(place.layer().join("a")).expect("read"))
    };

    let whole = unpacked(&bytes);
    let cut = unpacked(&bytes[..bytes.len() - 1]);

    assert_eq!(whole.expect("it is all there"), "content");
    assert!(cut.is_err(), "content is missing");
}

#[test]
fn a_layer_that_is_not_what_it_is_called_by_does_not_count() {
    let place = Place::new();
    let bytes = Made::new().file("a", "x").bytes();
    let limits = Limits { bytes: 1 << 20 };
    let other = Digest::of(b"other");

    let into = place.layer();
    let cancel = CancellationToken::new();
    let error = unpack(&bytes[..], &other, &into, Form::Files, limits, &cancel)
        .expect_err("another digest");

    assert!(matches!(error, LayerError::Mismatch { .. }), "{error}");
}

#[test]
fn what_is_damaged_says_so() {
    let whole = Made::new().file("a", &"x".repeat(5000)).bytes();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&whole).expect("packed");
    let mut gzip = gzip.finish().expect("packed");
    gzip.truncate(gzip.len() / 2);
    let mut summed = whole.clone();
    summed[0] = b'b';

    for damaged in [whole[..3000].to_vec(), gzip, summed, vec![7; 2000]] {
        let place = Place::new();
        let error = place
            .unpack_as(&damaged, Form::Files, 1 << 20)
            .expect_err("it is damaged")
            .of("i", "layer 1 of 1");
        assert!(
            matches!(
                error,
                crate::images::ImageError::Malformed { .. }
                    | crate::images::ImageError::BadLayer { .. }
            ),
            "{error}"
        );
    }
}

#[test]
fn a_layer_that_nobody_wants_any_more_ends() {
    let place = Place::new();
    let bytes = Made::new().file("a", "x").bytes();
    let cancel = CancellationToken::new();
    cancel.cancel();
    let limits = Limits { bytes: 1 << 20 };

    let digest = Digest::of(&bytes);
    let into = place.layer();
    let error = unpack(&bytes[..], &digest, &into, Form::Files, limits, &cancel)
        .expect_err("it is given up");

    assert!(matches!(error, LayerError::GivenUp), "{error}");
}

/// Two layers: the upper one hides things of the lower one in each way there is.
fn stack(form: Form) -> (Place, Place) {
    let (lower, upper) = (Place::new(), Place::new());
    let low = Made::new()
        .file("gone", "low")
        .file("stays", "low")
        .directory("emptied")
        .file("emptied/old", "low")
        .directory("anew")
        .file("anew/old", "low")
        .directory("again")
        .file("again/old", "low")
        .symlink("link", "../outside")
        .directory("tree")
        .file("tree/leaf", "low");
    let up = Made::new()
        .file(".wh.gone", "")
        .file(".wh.never", "")
        .directory("emptied")
        .file("emptied/.wh..wh..opq", "")
        .file("emptied/new", "up")
        .file(".wh.anew", "")
        .directory("anew")
        .file("anew/new", "up")
        .file(".wh.again", "")
        .file("again/in/new", "up")
        .directory("link")
        .file("link/file", "up")
        .file("tree", "a file now")
        .any(EntryType::Regular, ".wh..wh.plnk/1.2", "", b"");
    for (place, made) in [(&lower, low), (&upper, up)] {
        place
            .unpack_as(&made.bytes(), form, 1 << 20)
            .expect("unpacked");
    }
    (lower, upper)
}

/// What is to be seen of them together.
fn check_stack(root: &Path, link_is: &str) {
    let read = |name: &str| fs::read_to_string(root.join(name)).ok();
    assert_eq!(read("gone"), None);
    assert_eq!(read("stays").as_deref(), Some("low"));
    assert_eq!(read("emptied/old"), None);
    assert_eq!(read("emptied/new").as_deref(), Some("up"));
    assert_eq!(read("anew/old"), None);
    assert_eq!(read("anew/new").as_deref(), Some("up"));
    assert_eq!(read("again/old"), None);
    assert_eq!(read("again/in/new").as_deref(), Some("up"));
    assert_eq!(read("link/file").as_deref(), Some(link_is));
    assert_eq!(read("tree").as_deref(), Some("a file now"));
    let mut names: Vec<_> = fs::read_dir(root)
        .expect("read")
        .map(|entry| entry.expect("an entry").file_name())
        .collect();
    names.sort();
    assert_eq!(names, ["again", "anew", "emptied", "link", "stays", "tree"]);
}

#[test]
fn flattened_layers_are_one_directory_in_either_form() {
    let mut forms = vec![Form::Files];
    if is_root() {
        forms.push(Form::Overlay);
    } else {
        eprintln!("skipped in part: overlay's own signs need root");
    }
    for form in forms {
        let (lower, upper) = stack(form);
        let target = tempfile::tempdir().expect("a directory");

        flatten(&[lower.layer(), upper.layer()], target.path()).expect("copied");

        check_stack(target.path(), "up");
        assert!(lower.is_clean_outside());
        let stays = fs::metadata(target.path().join("stays")).expect("there");
        assert_eq!(stays.mtime(), 1_000_000_000);
    }
}

#[test]
fn stacked_layers_are_one_directory_under_overlayfs() {
    let (lower, upper) = stack(if is_root() {
        Form::Overlay
    } else {
        Form::Files
    });
    let at = tempfile::tempdir().expect("a directory");
    let lowers = format!(
        "lowerdir={}:{}",
        upper.layer().display(),
        lower.layer().display()
    );
    let mounted = std::process::Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &lowers])
        .arg(at.path())
        .output();
    if !mounted.is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: mounting an overlay needs root and a kernel with overlayfs");
        return;
    }
    struct Mounted<'a>(&'a Path);
    impl Drop for Mounted<'_> {
        fn drop(&mut self) {
            let _ = std::process::Command::new("umount")
                .arg("-l")
                .arg(self.0)
                .output();
        }
    }
    let mounted = Mounted(at.path());

    check_stack(mounted.0, "up");
}

/// Three layers, of which the upper ones have no entries for directories of the lowest.
fn implying(form: Form) -> [(Place, Unpacked); 3] {
    let low = Made::new()
        .directory_of("tmp", 0o1777, 0)
        .directory_of("data", 0o750, 1234)
        .directory_of("data/deep", 0o700, 1235)
        .file("data/gone", "low")
        .directory_of("usr", 0o755, 0)
        .directory_of("usr/lib", 0o711, 7)
        .directory_of("usr/lib/arch", 0o710, 8)
        .file("usr/lib/libc", "low")
        .file("usr/lib/old", "low")
        .symlink("lib", "usr/lib")
        .symlink("nowhere", "/never/there")
        .directory_of("again", 0o700, 9)
        .directory_of("shut", 0o700, 9)
        .file("shut/old", "low");
    let middle = Made::new()
        .file("tmp/x", "middle")
        .file("data/.wh.gone", "")
        .file("data/deep/er/file", "middle")
        .file("lib/new", "middle")
        .file("lib/.wh.old", "")
        .file("lib/arch/x", "middle")
        .file("lib/newer", "middle")
        .file("lib/dead", "middle")
        .file("nowhere/file", "middle")
        .file("again/file", "middle")
        .file("shut/.wh..wh..opq", "")
        .file("shut/new", "middle")
        .file("own/file", "middle");
    let top = Made::new()
        .file("lib/libc", "top")
        .file("lib/.wh.dead", "")
        .file("usr/lib/newer", "top")
        .directory_of("again", 0o711, 10);
    [low, middle, top].map(|made| {
        let place = Place::new();
        let unpacked = place.unpack_as(&made.bytes(), form, 1 << 20);
        (place, unpacked.expect("unpacked"))
    })
}

#[test]
fn directories_without_an_entry_are_what_they_are_in_layers_below() {
    let mut forms = vec![Form::Files];
    if is_root() {
        forms.push(Form::Overlay);
    } else {
        eprintln!("skipped in part: owners need root");
    }
    for form in forms {
        let layers = implying(form);
        let told = layers.each_ref().map(|(place, unpacked)| Told {
            place: place.layer(),
            implied: unpacked.implied.clone(),
        });
        let mended = Place::new();

        let is_any = mend(&told, &mended.layer(), form, &CancellationToken::new());

        assert!(is_any.expect("mended"));
        let mut all: Vec<PathBuf> = told.iter().map(|layer| layer.place.clone()).collect();
        all.push(mended.layer());
        let target = tempfile::tempdir().expect("a directory");
        flatten(&all, target.path()).expect("copied");
        let root = target.path();
        for (name, mode, uid) in [
            ("tmp", 0o1777, 0),
            ("data", 0o750, 1234),
            ("data/deep", 0o700, 1235),
            ("data/deep/er", 0o755, 0),
            ("usr/lib", 0o711, 7),
            ("usr/lib/arch", 0o710, 8),
            ("again", 0o711, 10),
            ("shut", 0o700, 9),
            ("own", 0o755, 0),
            ("nowhere", 0o755, 0),
        ] {
            let there = fs::symlink_metadata(root.join(name)).expect(name);
            assert!(there.is_dir(), "{name}");
            assert_eq!(there.mode() & 0o7777, mode, "{name}");
            if is_root() {
                assert_eq!((there.uid(), there.gid()), (uid, uid), "{name}");
            }
        }
        let link = fs::read_link(root.join("lib")).expect("a link");
        assert_eq!(link, Path::new("usr/lib"));
        for (name, content) in [
            ("tmp/x", Some("middle")),
            ("data/gone", None),
            ("usr/lib/libc", Some("top")),
            ("usr/lib/new", Some("middle")),
            ("usr/lib/old", None),
            ("usr/lib/arch/x", Some("middle")),
            ("usr/lib/newer", Some("top")),
            ("usr/lib/dead", None),
            ("nowhere/file", Some("middle")),
            ("shut/old", None),
            ("shut/new", Some("middle")),
        ] {
            let read = fs::read_to_string(root.join(name)).ok();
            assert_eq!(read.as_deref(), content, "{name}");
        }
    }
}

#[test]
fn layers_that_say_all_of_themselves_need_nothing_on_top() {
    let (lower, upper) = (Place::new(), Place::new());
    let low = Made::new().directory_of("tmp", 0o1777, 0);
    let up = Made::new()
        .directory_of("tmp", 0o1777, 0)
        .file("tmp/x", "up")
        .file("own/file", "up");
    let told = [(&lower, low), (&upper, up)].map(|(place, made)| Told {
        implied: place.unpack(made).expect("unpacked").implied,
        place: place.layer(),
    });
    let mended = Place::new();

    let is_any = mend(
        &told,
        &mended.layer(),
        Form::Files,
        &CancellationToken::new(),
    );

    assert_eq!(told[1].implied, BTreeSet::from([PathBuf::from("own")]));
    assert!(!is_any.expect("looked at"));
}

#[test]
fn what_must_be_remembered_has_a_bound() {
    // Each directory has a name of hundreds of bytes, and none of them is written twice.
    let mut builder = Builder::new(Vec::new());
    let long = "n".repeat(200);
    let deep = [long.as_str(); 15].join("/");
    let records = MAX_PAX / 2;
    for number in 0..200 {
        let attribute = vec![b'v'; records];
        let set = [("SCHILY.xattr.user.a", attribute.as_slice())];
        builder.append_pax_extensions(set).expect("appended");
        let mut header = Header::new_gnu();
        header.set_entry_type(EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        let name = format!("{deep}/{number}");
        builder
            .append_data(&mut header, name, io::empty())
            .expect("appended");
    }
    let bytes = builder.into_inner().expect("finished");
    let place = Place::new();

    let error = place
        .unpack_as(&bytes, Form::Files, 1 << 30)
        .expect_err("it is too much to remember");

    assert!(matches!(error, LayerError::TooLarge { .. }), "{error}");
}

/// As much as one set of pax records may have.
const MAX_PAX: usize = 1 << 20;
