//! Which addresses are the machine's own: who calls from one of them runs here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// Whether an address is one of this machine: of loopback, or of any of its devices.
///
/// The kernel is asked from where it would speak to it, which is the address itself where it is the machine's own, and is
/// never so where it is another's, whatever may be bound here (`ip_nonlocal_bind`). Nothing is sent.
pub(crate) fn is_own(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    if ip.is_loopback() {
        return true;
    }
    let mut to = address;
    if ip != address.ip() {
        to = SocketAddr::new(ip, address.port());
    }
    // Any number will do; with none, nobody can be spoken to.
    to.set_port(to.port().max(1));
    let from: IpAddr = match ip {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let source = UdpSocket::bind((from, 0)).and_then(|socket| {
        socket.connect(to)?;
        socket.local_addr()
    });
    source.is_ok_and(|source| source.ip() == ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().expect("an address"), 4_711)
    }

    #[test]
    fn the_machine_s_own_addresses_are_its_own_in_every_form_and_no_others_are() {
        for ip in ["127.0.0.1", "127.9.8.7", "::1", "::ffff:127.0.0.1"] {
            assert!(is_own(at(ip)), "{ip}");
        }
        // Set aside for documentation (RFC 5737, RFC 3849): nobody has them.
        for ip in ["192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1"] {
            assert!(!is_own(at(ip)), "{ip}");
        }
        assert!(!is_own(at("0.0.0.0")) && !is_own(at("255.255.255.255")));
    }

    #[test]
    fn the_addresses_of_devices_are_its_own() {
        // Those by which the machine speaks to others, where it can.
        let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        if socket.connect("192.0.2.1:1").is_err() {
            return;
        }
        let IpAddr::V4(own) = socket.local_addr().expect("bound").ip() else {
            panic!("of version 4");
        };

        assert!(is_own(SocketAddr::new(own.into(), 80)), "{own}");
        assert!(is_own(SocketAddr::new(own.to_ipv6_mapped().into(), 80)));
    }
}
