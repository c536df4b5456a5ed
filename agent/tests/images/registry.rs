//! A real registry in a directory of its own, which is gone after the test.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::sample::Sample;

/// Long enough for a loaded machine; a test that gets here has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Runs a tool to its end.
pub(crate) fn run(program: &str, arguments: &[&str]) {
    let output = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("{program} (scripts/install-deps test): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{program} {arguments:?}: {said}");
}

/// The registry of the distribution project.
pub(crate) struct Real {
    server: Child,
    pub(crate) address: String,
    directory: tempfile::TempDir,
}

impl Real {
    pub(crate) async fn start() -> Self {
        Self::start_with("", |_| String::new()).await
    }

    /// With the user `mete` and the password `open sesame`.
    pub(crate) async fn start_with_login() -> Self {
        let login = "mete:$2b$05$KGEeFWo8654lUBRWs3YQducZVqvhFqVezWqYbb0ZJPoEeYk09amIS\n";
        Self::start_with("", |directory| {
            let users = directory.join("htpasswd");
            std::fs::write(&users, login).unwrap();
            let path = users.display();
            format!("auth: {{htpasswd: {{realm: here, path: {path}}}}}\n")
        })
        .await
    }

    /// Over TLS, with a certificate and its key.
    pub(crate) async fn start_with_tls(certificate: &str, key: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (certificate_at, key_at) = (directory.path().join("pem"), directory.path().join("key"));
        std::fs::write(&certificate_at, certificate).unwrap();
        std::fs::write(&key_at, key).unwrap();
        let tls = format!(
            ", tls: {{certificate: {}, key: {}}}",
            certificate_at.display(),
            key_at.display()
        );
        // The files are read at the start.
        Self::start_with(&tls, |_| String::new()).await
    }

    /// With something more in its part on HTTP, and in all of its configuration.
    async fn start_with(http: &str, more: impl Fn(&Path) -> String) -> Self {
        // Another process may take the port before the registry does: then once more.
        for _ in 0..5 {
            let directory = tempfile::tempdir().unwrap();
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            drop(listener);
            let storage = directory.path().join("storage");
            let config = format!(
                "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'{http}}}\n{}",
                storage.display(),
                more(directory.path())
            );
            let file = directory.path().join("config.yml");
            std::fs::write(&file, config).unwrap();
            let server = Command::new("docker-registry")
                .arg("serve")
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("docker-registry (scripts/install-deps test)");
            let mut real = Self {
                server,
                address,
                directory,
            };
            if real.answers().await {
                return real;
            }
        }
        panic!("docker-registry does not start");
    }

    /// Whether it comes up; it ends when it cannot.
    async fn answers(&mut self) -> bool {
        let client = mete_daemon::http_client::plain()
            .no_proxy()
            .build()
            .unwrap();
        let url = format!("http://{}/v2/", self.address);
        let up = async {
            while client.get(&url).send().await.is_err() {
                if self.server.try_wait().unwrap().is_some() {
                    return false;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            true
        };
        tokio::time::timeout(PATIENCE, up).await.unwrap_or(false)
    }

    /// Puts an image in, as it is, with a tool that is not ours.
    pub(crate) fn push(&self, sample: &Sample, name: &str, more: &[&str]) -> String {
        let layout = self.directory.path().join("layout");
        let _ = std::fs::remove_dir_all(&layout);
        sample.write_layout(&layout, "x");
        self.push_layout(&layout, name, more)
    }

    pub(crate) fn push_layout(&self, layout: &Path, name: &str, more: &[&str]) -> String {
        let reference = format!("{}/{name}", self.address);
        let from = format!("oci:{}:x", layout.display());
        let to = format!("docker://{reference}");
        let fixed = [
            "copy",
            "--quiet",
            "--insecure-policy",
            "--dest-tls-verify=false",
        ];
        run("skopeo", &[&fixed, more, &[&from, &to]].concat());
        reference
    }
}

impl Drop for Real {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
