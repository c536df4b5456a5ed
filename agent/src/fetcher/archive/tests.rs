//! Archives of each kind, made here or by `tar`; damaged, hostile and random ones.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::process::Command;

use ::tar::{Builder, EntryType, Header};
use ::zip::write::{SimpleFileOptions, ZipWriter};
use proptest::prelude::*;

use super::*;

/// A sandbox, with a directory beside it in which nothing may change.
struct Place {
    directory: tempfile::TempDir,
    sandbox: PathBuf,
    outside: PathBuf,
}

impl Place {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let (sandbox, outside) = (
            directory.path().join("sandbox"),
            directory.path().join("outside"),
        );
        fs::create_dir(&sandbox).expect("made");
        // One that is there already: entries could be led into it.
        fs::create_dir_all(outside.join("a")).expect("made");
        fs::write(outside.join("kept"), "kept").expect("written");
        Self {
            directory,
            sandbox,
            outside,
        }
    }

    /// Unpacks what has this name.
    fn unpack(&self, name: &str, archive: &[u8]) -> Result<(), UnpackError> {
        self.unpack_within(name, archive, Limits::USUAL, &Stop::default())
    }

    fn unpack_within(
        &self,
        name: &str,
        archive: &[u8],
        limits: Limits,
        stop: &Stop,
    ) -> Result<(), UnpackError> {
        let path = self.directory.path().join("archive");
        fs::write(&path, archive).expect("written");
        let file = File::open(path).expect("there");
        let into = Beneath::open(&self.sandbox, None).expect("opens");
        let kind = Kind::of(name).expect("a kind");
        unpack(kind, file, Path::new(name), &into, limits, stop)
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.join(name)).expect(name)
    }

    /// Fails when anything is not as it was outside of the sandbox, or a link in it leads there.
    fn check(&self) {
        let outside = listing(&self.outside);
        let expected = BTreeMap::from([
            (PathBuf::from("a"), "directory".to_owned()),
            (PathBuf::from("kept"), "kept 1".to_owned()),
        ]);
        assert_eq!(outside, expected, "outside of the sandbox");
        let top = fs::read_dir(self.directory.path()).expect("read");
        for entry in top {
            let name = entry.expect("an entry").file_name();
            let is_known = ["sandbox", "outside", "archive"]
                .iter()
                .any(|known| name == *known);
            assert!(is_known, "{name:?} beside the sandbox");
        }
        let root = self.sandbox.canonicalize().expect("there");
        for path in listing(&self.sandbox).keys() {
            // A link to what is not there leads nowhere.
            if let Ok(end) = self.sandbox.join(path).canonicalize() {
                assert!(end.starts_with(&root), "{path:?} leads to {end:?}");
            }
        }
    }
}

/// What is below a directory, without following links.
fn listing(directory: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![directory.to_owned()];
    while let Some(here) = waiting.pop() {
        for entry in fs::read_dir(here).expect("read") {
            let path = entry.expect("an entry").path();
            let kind = path.symlink_metadata().expect("there");
            let text = if kind.is_dir() {
                waiting.push(path.clone());
                "directory".to_owned()
            } else if kind.is_symlink() {
                format!("-> {:?}", fs::read_link(&path).expect("read"))
            } else {
                let text = fs::read_to_string(&path).unwrap_or_default();
                format!("{text} {}", kind.nlink())
            };
            let below = path.strip_prefix(directory).expect("below");
            found.insert(below.to_owned(), text);
        }
    }
    found
}

/// A header with any path, also one that the tar crate would not write.
fn header(kind: EntryType, path: &str, target: &str, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(0o4755);
    header.set_mtime(1_000_000_000);
    header.set_size(size as u64);
    let fields = header.as_old_mut();
    fields.name[..path.len()].copy_from_slice(path.as_bytes());
    fields.linkname[..target.len()].copy_from_slice(target.as_bytes());
    header.set_cksum();
    header
}

/// Kind, path, and what is in it: the text of a file, the target of a link.
type Entry<'a> = (EntryType, &'a str, &'a str);

fn tar(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for (kind, path, text) in entries {
        let (target, content) = match kind.is_file() {
            true => ("", text.as_bytes()),
            false => (*text, &[][..]),
        };
        let header = header(*kind, path, target, content.len());
        builder.append(&header, content).expect("written");
    }
    builder.into_inner().expect("written")
}

fn zip(entries: &[(&str, u32, &str)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(io::Cursor::new(Vec::new()));
    for (path, mode, text) in entries {
        let options = SimpleFileOptions::default().unix_permissions(*mode & 0o7777);
        if mode & 0o170_000 == 0o120_000 {
            writer.add_symlink(*path, *text, options).expect("written");
        } else {
            writer.start_file(*path, options).expect("written");
            writer.write_all(text.as_bytes()).expect("written");
        }
    }
    writer.finish().expect("written").into_inner()
}

fn pack(packing: Packing, bytes: &[u8]) -> Vec<u8> {
    match packing {
        Packing::None => bytes.to_vec(),
        Packing::Gzip => {
            let mut to = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            to.write_all(bytes).expect("written");
            to.finish().expect("written")
        }
        Packing::Bzip2 => {
            let mut to = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
            to.write_all(bytes).expect("written");
            to.finish().expect("written")
        }
        Packing::Xz => {
            let mut to = liblzma::write::XzEncoder::new(Vec::new(), 1);
            to.write_all(bytes).expect("written");
            to.finish().expect("written")
        }
        Packing::Zstd => zstd::encode_all(bytes, 1).expect("written"),
    }
}

const FILE: EntryType = EntryType::Regular;
const LINK: EntryType = EntryType::Symlink;
const SECOND_NAME: EntryType = EntryType::Link;

#[test]
fn tar_archives_of_every_packing_are_unpacked() {
    let archive = tar(&[
        (EntryType::Directory, "./", ""),
        (EntryType::Directory, "app/", ""),
        (FILE, "app/run.sh", "#!/bin/sh\n"),
        (LINK, "app/bin/start", "../run.sh"),
        (SECOND_NAME, "again", "./app/run.sh"),
        (FILE, "./data/deep/file", "text"),
    ]);
    for (ending, kind) in KINDS {
        let Kind::Tar(packing) = kind else { continue };
        let place = Place::new();

        place
            .unpack(&format!("a{ending}"), &pack(packing, &archive))
            .expect(ending);

        assert_eq!(place.read("app/bin/start"), "#!/bin/sh\n", "{ending}");
        assert_eq!(place.read("data/deep/file"), "text");
        let script = fs::metadata(place.sandbox.join("again")).expect("there");
        assert_eq!(script.permissions().mode() & 0o7777, 0o755, "no setuid");
        assert_eq!((script.nlink(), script.mtime()), (2, 1_000_000_000));
        place.check();
    }
}

#[test]
fn a_packed_file_is_unpacked_under_its_name_without_the_ending() {
    for (ending, kind) in KINDS {
        let Kind::Single(packing) = kind else {
            continue;
        };
        let place = Place::new();

        // Two in a row are one, as all of these programs have it.
        let twice = [pack(packing, b"one "), pack(packing, b"two")].concat();
        place
            .unpack(&format!("conf/a.json{ending}"), &twice)
            .expect(ending);

        assert_eq!(place.read("a.json"), "one two", "{ending}");
    }
}

#[test]
fn zip_archives_are_unpacked() {
    let place = Place::new();
    let archive = zip(&[
        ("app/run.sh", 0o100_755, "#!/bin/sh\n"),
        ("app/start", 0o120_777, "run.sh"),
        ("plain", 0o100_644, "text"),
    ]);

    place.unpack("a.ZIP", &archive).expect("unpacked");

    assert_eq!(place.read("app/start"), "#!/bin/sh\n");
    assert_eq!(place.read("plain"), "text");
    let mode = fs::metadata(place.sandbox.join("app/run.sh"))
        .expect("there")
        .mode();
    assert_eq!(mode & 0o7777, 0o755);
    place.check();
}

#[test]
fn what_tar_writes_is_unpacked_long_names_too() {
    let long = format!("{}/{}", "d".repeat(120), "f".repeat(150));
    for format in ["gnu", "posix", "ustar", "v7"] {
        let place = Place::new();
        let from = place.directory.path().join("outside");
        let name = match format {
            "v7" | "ustar" => "short/name",
            _ => &long,
        };
        let path = from.join(name);
        fs::create_dir_all(path.parent().expect("above")).expect("made");
        fs::write(&path, "text").expect("written");
        symlink(path.file_name().expect("name"), path.with_file_name("l")).expect("linked");
        let packed = Command::new("tar")
            .args(["-c", "--format", format, "-C"])
            .arg(&from)
            .arg(".")
            .output()
            .expect("tar runs");
        assert!(packed.status.success(), "{packed:?}");

        place.unpack("a.tar", &packed.stdout).expect(format);

        assert_eq!(listing(&place.sandbox), listing(&from), "{format}");
    }
}

#[test]
fn hostile_entries_are_refused_by_name() {
    let cases: [(&str, &[Entry<'_>], &str); 13] = [
        ("../x", &[(FILE, "../x", "")], "a part \"..\""),
        ("a/../../x", &[(FILE, "a/../../x", "")], "a part \"..\""),
        ("/tmp/x", &[(FILE, "/tmp/x", "")], "absolute"),
        (".", &[(FILE, ".", "")], "no name"),
        ("l", &[(LINK, "l", "/etc")], "lead out"),
        ("l", &[(LINK, "l", "..")], "lead out"),
        ("a/l", &[(LINK, "a/l", "b/../../..")], "lead out"),
        ("h", &[(SECOND_NAME, "h", "../outside/kept")], "lead out"),
        ("h", &[(SECOND_NAME, "h", "nothing")], "not a file"),
        (
            "l/x",
            &[
                (LINK, "l", "d"),
                (EntryType::Directory, "d", ""),
                (FILE, "l/x", ""),
            ],
            "through a link",
        ),
        // A link with a second name lower down would lead further up.
        (
            "h",
            &[
                (FILE, "a/b/f", ""),
                (LINK, "a/b/l", "../.."),
                (SECOND_NAME, "h", "a/b/l"),
            ],
            "not a file",
        ),
        ("dev", &[(EntryType::Char, "dev", "")], "a device"),
        ("pipe", &[(EntryType::Fifo, "pipe", "")], "a pipe"),
    ];
    for (name, entries, says) in cases {
        let place = Place::new();

        let error = place.unpack("a.tar", &tar(entries)).expect_err(name);

        let text = error.to_string();
        assert!(
            text.starts_with(&format!("{name:?}")) && text.contains(says),
            "{text}"
        );
        place.check();
    }
    for (name, mode, target) in [
        ("../x", 0o100_644, ""),
        ("/x", 0o100_644, ""),
        ("l", 0o120_777, "/etc"),
    ] {
        let place = Place::new();

        let error = place
            .unpack("a.zip", &zip(&[(name, mode, target)]))
            .expect_err(name);

        assert!(
            error.to_string().starts_with(&format!("{name:?}")),
            "{error}"
        );
        place.check();
    }
}

#[test]
fn a_bomb_ends_at_the_bound() {
    let zeros = vec![0; 1 << 20];
    let content = String::from_utf8(zeros.clone()).expect("zeros");
    let limits = Limits {
        bytes: 100_000,
        entries: 3,
    };
    for (name, archive) in [
        ("a.gz", pack(Packing::Gzip, &zeros)),
        ("a.xz", pack(Packing::Xz, &zeros)),
        (
            "a.tar.zst",
            pack(Packing::Zstd, &tar(&[(FILE, "a", &content)])),
        ),
        ("a.zip", zip(&[("a", 0o644, &content)])),
    ] {
        let place = Place::new();

        let error = place.unpack_within(name, &archive, limits, &Stop::default());

        let error = error.expect_err(name).to_string();
        assert_eq!(error, "100000 bytes or more come out of it", "{name}");
        let on_disk: u64 = fs::read_dir(&place.sandbox)
            .expect("read")
            .map(|entry| entry.expect("an entry").metadata().expect("there").len())
            .sum();
        assert!(on_disk <= limits.bytes, "{name}: {on_disk} bytes");
    }
    for (name, archive) in [
        ("a.tar", tar(&[(FILE, "a", ""); 4])),
        (
            "a.zip",
            zip(&[("a", 0, ""), ("b", 0, ""), ("c", 0, ""), ("d", 0, "")]),
        ),
    ] {
        let error = Place::new().unpack_within(name, &archive, limits, &Stop::default());
        let error = error.expect_err(name).to_string();
        assert_eq!(error, "it has more than 3 entries", "{name}");
    }
}

#[test]
fn a_name_that_never_ends_is_not_taken_into_memory() {
    let header = header(EntryType::GNULongName, "././@LongLink", "", 1 << 20);
    let mut builder = Builder::new(Vec::new());
    builder
        .append(&header, &vec![b'a'; 1 << 20][..])
        .expect("written");
    let archive = builder.into_inner().expect("written");

    let error = Place::new()
        .unpack("a.tar", &archive)
        .expect_err("too long");

    assert!(
        error.to_string().contains("longer than 4095 bytes"),
        "{error}"
    );
}

#[test]
fn damage_is_told() {
    let archive = tar(&[(FILE, "a", "text")]);
    let mut packed = pack(Packing::Gzip, &archive);
    let checksum = packed.len() - 8;
    packed[checksum] ^= 1;
    let cut = pack(Packing::Xz, &archive);
    for (name, bytes) in [
        ("a.tgz", &packed[..]),
        ("a.txz", &cut[..cut.len() / 2]),
        ("a.tar.bz2", b"no archive"),
        ("a.tar", &archive[..600]),
        ("a.zip", b"no archive"),
    ] {
        let error = Place::new().unpack(name, bytes).expect_err(name);
        assert!(matches!(error, UnpackError::Damaged(_)), "{name}: {error}");
    }
}

#[test]
fn unpacking_ends_when_nobody_waits() {
    let stop = Stop::default();
    stop.ask();
    for (name, archive) in [
        ("a.tar", tar(&[(FILE, "a", "text")])),
        ("a.zip", zip(&[("a", 0, "text")])),
        ("a.gz", pack(Packing::Gzip, b"text")),
    ] {
        let place = Place::new();

        let error = place.unpack_within(name, &archive, Limits::USUAL, &stop);

        assert!(matches!(error, Err(UnpackError::Stopped)), "{name}");
    }
}

/// Paths and targets made of few names, so that entries meet.
fn path() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        4 => Just("a"), 4 => Just("b"), 2 => Just("way"), 2 => Just(".."), 1 => Just("."),
        1 => Just("outside"), 1 => Just("kept"), 1 => Just(""),
    ];
    prop::collection::vec(part, 1..5).prop_map(|parts| parts.join("/"))
}

fn entry() -> impl Strategy<Value = (EntryType, String, String)> {
    let kind = prop_oneof![
        3 => Just(FILE), 3 => Just(LINK), 2 => Just(SECOND_NAME), 2 => Just(EntryType::Directory),
    ];
    (kind, path(), path())
}

proptest! {
    #[test]
    fn no_archive_writes_outside_of_the_sandbox(
        entries in prop::collection::vec(entry(), 1..8),
        is_zip: bool,
    ) {
        let place = Place::new();
        // What a task may have left there. It leads out by itself, so `check` must not find it.
        let way = place.sandbox.join("way");
        symlink("../outside", &way).expect("linked");

        // One by one, so that what is refused does not hide what comes after it.
        for (kind, path, text) in &entries {
            let archive = match is_zip {
                false => tar(&[(*kind, path, text)]),
                true => {
                    let mode = if *kind == LINK { 0o120_777 } else { 0o100_644 };
                    zip(&[(path, mode, text)])
                }
            };
            let name = if is_zip { "a.zip" } else { "a.tar" };
            // Most are refused; what counts is what is there afterwards.
            let _ = place.unpack(name, &archive);
        }

        if fs::read_link(&way).is_ok_and(|target| target == Path::new("../outside")) {
            fs::remove_file(&way).expect("removed");
        }
        place.check();
    }
}
