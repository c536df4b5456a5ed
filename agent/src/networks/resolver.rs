//! Which name servers a container on a network of its own can ask: those of the machine that are not the machine itself.

use std::net::IpAddr;
use std::path::Path;

/// Where the machine says whom it asks; the second is what is behind a server of its own (systemd's).
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

/// The text of a `resolv.conf`. When the machine asks nobody but itself, no server is in it.
pub fn resolver(read: impl Fn(&Path) -> Vec<u8>) -> Vec<u8> {
    let texts = FILES.map(|file| reachable(&String::from_utf8_lossy(&read(Path::new(file)))));
    let asks = |text: &&String| text.lines().any(|line| server(line).is_some());
    let best = texts.iter().find(asks).or_else(|| texts.first());
    best.map(|text| text.clone().into_bytes())
        .unwrap_or_default()
}

/// Without servers on the loopback, which is another one inside.
fn reachable(text: &str) -> String {
    let is_reachable = |line: &&str| server(line).is_none_or(|ip| !ip.is_loopback());
    let lines = text.lines().filter(is_reachable);
    lines.map(|line| format!("{line}\n")).collect()
}

fn server(line: &str) -> Option<IpAddr> {
    let mut words = line.split_ascii_whitespace();
    match (words.next(), words.next()) {
        (Some("nameserver"), Some(address)) => address.split('%').next()?.parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(own: &'static str, behind: &'static str) -> String {
        let read = |path: &Path| match path.starts_with("/etc") {
            true => own.as_bytes().to_vec(),
            false => behind.as_bytes().to_vec(),
        };
        String::from_utf8(resolver(read)).expect("text")
    }

    #[test]
    fn a_server_on_the_loopback_is_replaced_by_those_behind_it() {
        let plain = "search x\nnameserver 192.0.2.1\n";
        assert_eq!(of(plain, ""), plain);
        assert_eq!(of("nameserver 127.0.0.53\n", plain), plain);
        assert_eq!(
            of("search y\nnameserver ::1\nnameserver 192.0.2.9\n", plain),
            "search y\nnameserver 192.0.2.9\n"
        );
        assert_eq!(of("search y\nnameserver 127.0.0.1\n", ""), "search y\n");
    }
}
