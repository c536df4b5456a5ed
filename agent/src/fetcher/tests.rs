//! From address to sandbox, with real servers.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::response::Redirect;
use axum::routing::get;
use futures::FutureExt as _;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use super::*;

/// Of the text `hello`.
const SUM: &str = "sha256=2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

struct World {
    directory: tempfile::TempDir,
    fetcher: Fetcher,
    sandbox: PathBuf,
}

impl World {
    fn new() -> Self {
        Self::trusting(None)
    }

    fn trusting(ca_file: Option<&Path>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let sandbox = directory.path().join("sandbox");
        fs::create_dir(&sandbox).expect("made");
        let folder = directory.path().join("fetch");
        Self {
            fetcher: Fetcher::open(&folder, 1 << 20, ca_file).expect("opens"),
            directory,
            sandbox,
        }
    }

    async fn fetch(&self, uris: &[FetchUri]) -> Result<(), String> {
        let fetched = self.fetcher.fetch(uris, &self.sandbox, None).await;
        fetched.map_err(|error| error.to_string())
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) -> String {
        let path = self.directory.path().join(name);
        fs::write(&path, content).expect("written");
        path.display().to_string()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.sandbox.join(name)).expect(name)
    }

    fn files(&self, folder: &str) -> usize {
        let folder = self.directory.path().join(folder);
        fs::read_dir(folder).expect("read").count()
    }
}

fn uri(value: impl Into<String>) -> FetchUri {
    FetchUri {
        value: value.into(),
        extract: true,
        executable: false,
        cache: false,
        output_file: None,
    }
}

/// A server that ends with the test.
struct Server {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(routes: Router) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("serves");
        });
        Self { address, task }
    }

    /// Answers `hello` over TLS; asked for anything else than `/hello`, it sends clients to that path over HTTP.
    async fn secure(ca_file: &Path) -> Self {
        let mut authority = CertificateParams::new([]).expect("good");
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let certificate = authority.self_signed(&key).expect("signed");
        fs::write(ca_file, certificate.pem()).expect("written");
        let issuer = Issuer::new(authority, key);
        let key = KeyPair::generate().expect("a key");
        let own = CertificateParams::new(["127.0.0.1".to_owned()]).expect("good");
        let own = own.signed_by(&key, &issuer).expect("signed");
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring has TLS 1.3")
            .with_no_client_auth()
            .with_single_cert(vec![own.der().clone()], key)
            .expect("they belong together");
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let task = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                // A client that does not trust us hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let mut request = Vec::new();
                while !request.ends_with(b"\r\n\r\n") {
                    request.push(stream.read_u8().await.expect("a request"));
                }
                let answer = if request.starts_with(b"GET /hello ") {
                    "HTTP/1.1 200 OK\r\ncontent-length: 5\r\nconnection: close\r\n\r\nhello".into()
                } else {
                    let to = format!("http://{address}/hello");
                    format!(
                        "HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
                    )
                };
                stream.write_all(answer.as_bytes()).await.expect("sent");
                stream.shutdown().await.expect("closed");
            }
        });
        Self { address, task }
    }

    fn uri(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

#[tokio::test]
async fn a_file_is_copied_and_made_executable_when_asked() {
    let world = World::new();
    let mut wanted = uri(format!("file://{}", world.write("run.sh", "#!/bin/sh\n")));
    wanted.executable = true;
    wanted.output_file = Some("bin/start".into());

    world.fetch(&[wanted]).await.expect("fetched");

    let mode = |name: &str| {
        let there = fs::metadata(world.sandbox.join(name)).expect("there");
        there.permissions().mode() & 0o7777
    };
    assert_eq!((mode("bin"), mode("bin/start")), (0o755, 0o755));
    assert_eq!(world.read("bin/start"), "#!/bin/sh\n");
    assert_eq!(world.files("fetch/parts"), 0);
}

#[tokio::test]
async fn what_belongs_to_the_task_belongs_to_its_user() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root gives files away");
        return;
    }
    let world = World::new();
    let user = User {
        name: "web".into(),
        uid: 4_001,
        gid: 4_002,
        groups: Vec::new(),
    };
    fs::set_permissions(world.directory.path(), fs::Permissions::from_mode(0o755)).expect("set");
    let mut archive = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_size(0);
    header.set_mode(0o640);
    archive
        .append_data(&mut header, "deep/file", &[][..])
        .expect("written");
    let archive = world.write("a.tar", archive.into_inner().expect("written"));
    let secret = world.write("secret", "s");
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).expect("set");

    let fetched = world
        .fetcher
        .fetch(&[uri(archive)], &world.sandbox, Some(&user))
        .await;
    fetched.expect("fetched");
    let denied = world
        .fetcher
        .fetch(&[uri(&secret)], &world.sandbox, Some(&user))
        .await;

    for name in ["a.tar", "deep", "deep/file"] {
        let there = fs::metadata(world.sandbox.join(name)).expect("there");
        assert_eq!((there.uid(), there.gid()), (4_001, 4_002), "{name}");
    }
    let denied = denied.expect_err("the file of another").to_string();
    assert_eq!(denied, format!("{secret}: user web may not read it"));
}

#[tokio::test]
async fn what_is_not_there_is_told_with_its_address() {
    let server = Server::start(Router::new()).await;
    let world = World::new();
    for (value, says) in [
        (server.uri("/nothing"), "the server answered 404"),
        ("hdfs://x/app".into(), "neither an absolute path"),
        ("/nowhere/at-all".into(), "No such file"),
        ("/dev/null".into(), "only plain files"),
        (format!("/etc/hostname#{SUM}"), "wanted was sha256=2cf24dba"),
    ] {
        let error = world.fetch(&[uri(&value)]).await.expect_err(&value);
        assert!(error.starts_with(&value) && error.contains(says), "{error}");
    }
    assert_eq!(world.files("sandbox"), 0);
    assert_eq!(world.files("fetch/parts"), 0);
}

#[tokio::test]
async fn what_is_secret_in_an_address_is_not_told_when_it_cannot_be_fetched() {
    let gone = || async { Redirect::to("http://me:secret@127.0.0.1:1/b?sig=secret") };
    let server = Server::start(Router::new().route("/away", get(gone))).await;
    let world = World::new();
    let at = server.address;
    for (value, says) in [
        (
            format!("http://me:secret@{at}/a?sig=secret"),
            format!("http://***@{at}/a?***: the server answered 404"),
        ),
        (
            format!("http://me:secret@{at}/away"),
            format!("http://***@{at}/away: "),
        ),
        ("http://me:se/secret@x/a".into(), "http://***: ".into()),
    ] {
        let error = world.fetch(&[uri(&value)]).await.expect_err(&value);
        assert!(error.starts_with(&says), "{error}");
        assert!(
            !error.contains("secret") && !error.contains("sig"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn an_archive_stays_beside_what_comes_out_of_it_unless_it_comes_from_the_cache() {
    let world = World::new();
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    io::Write::write_all(&mut packed, b"text").expect("written");
    let packed = packed.finish().expect("written");
    let own = uri(world.write("own.gz", &packed));
    let mut cached = uri(world.write("cached.gz", &packed));
    cached.cache = true;
    let mut kept = uri(world.write("kept.gz", &packed));
    kept.extract = false;

    world.fetch(&[own, cached, kept]).await.expect("fetched");

    assert_eq!(
        (world.read("own"), world.read("cached")),
        ("text".into(), "text".into())
    );
    let there = |name: &str| world.sandbox.join(name).exists();
    assert!(there("own.gz") && !there("cached.gz"));
    assert!(there("kept.gz") && !there("kept"));
}

#[tokio::test]
async fn what_comes_later_replaces_what_has_its_name() {
    let late = Arc::new(Notify::new());
    let gate = Arc::clone(&late);
    let first = get(move || async move {
        gate.notified().await;
        "first"
    });
    let second = get(move || async move {
        late.notify_one();
        "second"
    });
    let server = Server::start(Router::new().route("/1", first).route("/2", second)).await;
    let world = World::new();
    // The second is there before the first.
    let uris = ["/1", "/2"].map(|path| FetchUri {
        output_file: Some("same".into()),
        ..uri(server.uri(path))
    });

    world.fetch(&uris).await.expect("fetched");

    assert_eq!(world.read("same"), "second");
}

#[tokio::test]
async fn what_is_cached_is_fetched_once_for_many_and_each_has_its_own_copy() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let route = get(move || async move {
        count.fetch_add(1, Ordering::Relaxed);
        "hello"
    });
    let server = Server::start(Router::new().route("/a", route)).await;
    let world = World::new();
    let mut wanted = uri(format!("{}#{SUM}", server.uri("/a")));
    wanted.cache = true;
    let sandboxes: Vec<PathBuf> = (0..8)
        .map(|number| world.directory.path().join(format!("s{number}")))
        .collect();
    for sandbox in &sandboxes {
        fs::create_dir(sandbox).expect("made");
    }

    let uris = [wanted.clone()];
    let jobs = sandboxes
        .iter()
        .map(|sandbox| world.fetcher.fetch(&uris, sandbox, None));
    for fetched in futures::future::join_all(jobs).await {
        fetched.expect("fetched");
    }

    assert_eq!(asked.load(Ordering::Relaxed), 1);
    for sandbox in &sandboxes {
        let path = sandbox.join("a");
        assert_eq!(fs::metadata(&path).expect("there").nlink(), 1);
        fs::write(path, "changed by its task").expect("written");
    }
    world.fetch(&[wanted]).await.expect("fetched");
    assert_eq!(world.read("a"), "hello");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(
        (world.files("fetch/cache"), world.files("fetch/parts")),
        (1, 0)
    );
}

#[tokio::test]
async fn what_has_another_checksum_is_neither_kept_nor_used() {
    let server = Server::start(Router::new().route("/run", get(|| async { "other" }))).await;
    let world = World::new();
    let mut wanted = uri(format!("{}#{SUM}", server.uri("/run")));
    (wanted.cache, wanted.executable) = (true, true);

    let error = world.fetch(&[wanted]).await.expect_err("another sum");

    let found = "sha256=d9298a10d1b0735837dc4bd85dac641b0f3cef27a47e5d53a54f2f3f5b2fcffa";
    let expected = format!("it has the checksum {found}, wanted was {SUM}");
    assert!(error.ends_with(&expected), "{error}");
    assert_eq!(
        (world.files("fetch/cache"), world.files("fetch/parts")),
        (0, 0)
    );
    assert_eq!(world.files("sandbox"), 0);
}

#[tokio::test]
async fn a_download_that_is_given_up_leaves_nothing_behind() {
    let asked = Arc::new(Notify::new());
    let told = Arc::clone(&asked);
    let route = get(move || async move {
        told.notify_one();
        let begun = futures::stream::once(async { Ok::<_, io::Error>("half") });
        axum::body::Body::from_stream(begun.chain(futures::stream::pending()))
    });
    let server = Server::start(Router::new().route("/a", route)).await;
    let world = World::new();
    let uris = [uri(server.uri("/a"))];
    let mut fetching = Box::pin(world.fetch(&uris));
    tokio::select! {
        fetched = &mut fetching => panic!("{fetched:?} without an end"),
        () = asked.notified() => {}
    }

    drop(fetching);

    assert_eq!(world.files("fetch/parts"), 0);
    assert_eq!(world.files("sandbox"), 0);
}

#[tokio::test]
async fn https_is_fetched_from_whom_the_operator_trusts() {
    let directory = tempfile::tempdir().expect("a directory");
    let ca_file = directory.path().join("ca.pem");
    let server = Server::secure(&ca_file).await;
    let hello = format!("https://{}/hello", server.address);
    let plain = Router::new().route("/up", {
        let hello = hello.clone();
        get(move || async move { Redirect::temporary(&hello) })
    });
    let plain = Server::start(plain).await;

    let stranger = World::new().fetch(&[uri(&hello)]).await;
    let world = World::trusting(Some(&ca_file));
    world
        .fetch(&[uri(format!("{hello}#{SUM}")), uri(plain.uri("/up"))])
        .await
        .expect("fetched");
    let down = uri(format!("https://{}/down", server.address));
    let exposed = world.fetch(&[down]).await.expect_err("over HTTP");

    let error = stranger.expect_err("nobody vouches for it");
    assert!(error.contains("invalid peer certificate"), "{error}");
    assert_eq!(
        (world.read("hello"), world.read("up")),
        ("hello".into(), "hello".into())
    );
    assert!(exposed.contains("it leads from https to http"), "{exposed}");
}

#[test]
fn a_file_without_authorities_is_refused_at_the_start() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("ca.pem");
    for (content, says) in [
        (None, "cannot be read as certificates"),
        (Some("no certificate"), "there is no certificate in it"),
    ] {
        if let Some(content) = content {
            fs::write(&path, content).expect("written");
        }
        let opened = Fetcher::open(&directory.path().join("fetch"), 0, Some(&path));
        let error = opened.expect_err("refused").to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(error.contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_full_disk_is_told_and_costs_what_is_cached() {
    let directory = tempfile::tempdir().expect("a directory");
    let Some(disk) = Disk::mount(directory.path()) else {
        eprintln!("skipped: only root mounts a small disk");
        return;
    };
    let fetcher = Fetcher::open(&disk.0.join("fetch"), 1 << 20, None).expect("opens");
    let sandbox = disk.0.join("sandbox");
    fs::create_dir(&sandbox).expect("made");
    let file = |name: &str, bytes: usize| {
        let file = tempfile::NamedTempFile::with_prefix(name).expect("a file");
        fs::write(file.path(), vec![b'x'; bytes]).expect("written");
        file
    };
    let (small, large) = (file("small", 10_000), file("large", 2 << 20));
    let cached = |file: &tempfile::NamedTempFile| FetchUri {
        cache: true,
        output_file: Some("file".into()),
        ..uri(file.path().display().to_string())
    };
    let kept = || {
        fs::read_dir(disk.0.join("fetch/cache"))
            .expect("read")
            .count()
    };
    fetcher
        .fetch(&[cached(&small)], &sandbox, None)
        .await
        .expect("fetched");
    assert_eq!(kept(), 1);

    let error = fetcher.fetch(&[cached(&large)], &sandbox, None).await;

    let error = error.expect_err("no room");
    assert!(
        error.is_disk_full() && error.to_string().contains("No space left"),
        "{error}"
    );
    assert_eq!(kept(), 0);
    let parts = fs::read_dir(disk.0.join("fetch/parts")).expect("read");
    assert_eq!(parts.count(), 0);
}

/// A disk of 1 MiB.
struct Disk(PathBuf);

impl Disk {
    fn mount(path: &Path) -> Option<Self> {
        let mut mount = std::process::Command::new("mount");
        let mount = mount
            .args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"])
            .arg(path);
        let mounted = mount.status().is_ok_and(|status| status.success());
        mounted.then(|| Self(path.to_owned()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = std::process::Command::new("umount")
            .arg("-l")
            .arg(&self.0)
            .status();
    }
}

#[tokio::test]
async fn too_many_are_refused_at_once() {
    let uris = vec![uri("/etc/hostname"); MAX_URIS + 1];
    let error = World::new().fetch(&uris).await.expect_err("too many");
    assert_eq!(error, "101 URIs, at most 100 are fetched for one task");
    assert!(
        World::new().fetch(&[]).now_or_never().is_some(),
        "nothing to do"
    );
}
