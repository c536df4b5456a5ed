//! Flows of datagrams that the kernel keeps track of: it leads them where the first packet went, for as long as some come. Whoever
//! keeps sending from one port (forwarders of names, statistics, logs) would never reach the next container of a port.
//!
//! The kernel is asked for all flows, and told which to forget: messages of nfnetlink, as `conntrack -D` sends them.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::net::netlink::{NETFILTER, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with,
};
use tracing::{debug, warn};

use super::rules::Forward;

/// The kernel answers at once.
const PATIENCE: Duration = Duration::from_secs(5);

/// The kernel fills at most so much at a time (NLMSG_GOODSIZE, up to 32 KiB).
const ANSWER_BYTES: usize = 64 << 10;

/// Flows that are forgotten at once: more than a port has at any time, and no more memory than a megabyte.
const MAX_FLOWS: usize = 10_000;

/// A header of netlink, and that of nfnetlink behind it (linux/netlink.h, linux/netfilter/nfnetlink.h).
const HEADER_BYTES: usize = 16;
const HEADERS_BYTES: usize = HEADER_BYTES + 4;

/// Kinds of messages: NLMSG_ERROR, NLMSG_DONE; IPCTNL_MSG_CT_GET and _DELETE of the subsystem of flows (1).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const GET: u16 = 0x0101;
const DELETE: u16 = 0x0102;

/// NLM_F_REQUEST with NLM_F_DUMP: all there are; with NLM_F_ACK: say what came of it.
const ALL: u16 = 0x0301;
const ANSWERED: u16 = 0x0005;

/// Attributes (linux/netfilter/nfnetlink_conntrack.h): CTA_TUPLE_ORIG and _REPLY; in them CTA_TUPLE_IP and _PROTO; in those
/// CTA_IP_V4_SRC, and CTA_PROTO_NUM, _SRC_PORT, _DST_PORT.
const ORIGINAL: u16 = 1;
const REPLY: u16 = 2;
const IP: u16 = 1;
const PROTOCOL: u16 = 2;
const IP_SOURCE: u16 = 1;
const NUMBER: u16 = 1;
const SOURCE_PORT: u16 = 2;
const TARGET_PORT: u16 = 3;

/// The number of UDP.
const UDP: u8 = 17;

/// Datagrams between two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    /// The port that they are sent to.
    pub(super) port: u16,
    /// Where they are led.
    pub(super) to: SocketAddrV4,
}

/// Has the kernel forget flows of datagrams to these ports that lead elsewhere, or no longer; the next packet of each begins a new one.
/// Where that fails it is told, and all else goes on. Blocks for some milliseconds.
pub(super) fn forget(ports: &[Forward], is_wrong: impl Fn(Flow, SocketAddrV4) -> bool) {
    if ports.is_empty() {
        return;
    }
    let is_wrong = |flow: Flow| {
        let mut meant = ports.iter().filter(|one| one.port == flow.port);
        meant.any(|one| is_wrong(flow, one.to))
    };
    match forget_all(is_wrong) {
        Ok(flows) => debug!(
            flows,
            "flows of datagrams to ports that lead elsewhere now are forgotten"
        ),
        Err(error) => {
            warn!(%error, "flows of datagrams to a port may still lead where it led before")
        }
    }
}

fn forget_all(is_wrong: impl Fn(Flow) -> bool) -> io::Result<usize> {
    let kernel = Kernel::new()?;
    let found = kernel.find(is_wrong)?;
    for original in &found {
        kernel.delete(original)?;
    }
    Ok(found.len())
}

/// A socket to the kernel.
struct Kernel(OwnedFd);

impl Kernel {
    fn new() -> io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let socket = socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            flags,
            Some(NETFILTER),
        )?;
        set_socket_timeout(&socket, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self(socket))
    }

    fn say(&self, kind: u16, flags: u16, attributes: &[u8]) -> io::Result<()> {
        let length = u32::try_from(HEADERS_BYTES + attributes.len()).map_err(io::Error::other)?;
        let mut message = Vec::with_capacity(HEADERS_BYTES + attributes.len());
        message.extend(length.to_ne_bytes());
        message.extend(kind.to_ne_bytes());
        message.extend(flags.to_ne_bytes());
        // The number of the message and of the sender: there is one of each.
        message.extend([0; 8]);
        let family = u8::try_from(AddressFamily::INET.as_raw()).map_err(io::Error::other)?;
        message.extend([family, 0, 0, 0]);
        message.extend(attributes);
        sendto(
            &self.0,
            &message,
            SendFlags::empty(),
            &SocketAddrNetlink::new(0, 0),
        )?;
        Ok(())
    }

    /// The flows that are wrong, as the kernel names them.
    fn find(&self, is_wrong: impl Fn(Flow) -> bool) -> io::Result<Vec<Vec<u8>>> {
        self.say(GET, ALL, &[])?;
        let mut found = Vec::new();
        self.hear(|attributes| {
            let flow = flow(attributes).filter(|flow| is_wrong(*flow));
            if let Some(original) = flow.and_then(|_| part(attributes, ORIGINAL))
                && found.len() < MAX_FLOWS
            {
                found.push(original.to_vec());
            }
        })?;
        Ok(found)
    }

    /// One that has ended by itself meanwhile is fine.
    fn delete(&self, original: &[u8]) -> io::Result<()> {
        const NESTED: u16 = 0x8000;
        let length = u16::try_from(original.len() + 4).map_err(io::Error::other)?;
        let mut attribute = Vec::with_capacity(original.len() + 4);
        attribute.extend(length.to_ne_bytes());
        attribute.extend((ORIGINAL | NESTED).to_ne_bytes());
        attribute.extend(original);
        self.say(DELETE, ANSWERED, &attribute)?;
        match self.hear(|_| {}) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            deleted => deleted,
        }
    }

    /// The kernel's answer, up to its end; each flow in it is passed on as its attributes.
    fn hear(&self, mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut buffer = vec![0; ANSWER_BYTES];
        loop {
            let (count, _) = recv(&self.0, buffer.as_mut_slice(), RecvFlags::empty())?;
            let mut left = buffer.get(..count).unwrap_or_default();
            while let Some(length) = number(left, 0) {
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let message = left.get(..length).filter(|all| all.len() >= HEADER_BYTES);
                let message = message.ok_or(io::ErrorKind::InvalidData)?;
                match short(message, 4) {
                    Some(DONE) => return Ok(()),
                    // Zero is that all is well.
                    Some(ERROR) => return ended(number(message, HEADER_BYTES).unwrap_or_default()),
                    Some(_) | None => each(message.get(HEADERS_BYTES..).unwrap_or_default()),
                }
                left = left.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

/// What the kernel says at the end: a number of errno, negative.
fn ended(said: u32) -> io::Result<()> {
    match said.cast_signed() {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(code.wrapping_neg())),
    }
}

/// A flow of datagrams; others are none.
fn flow(attributes: &[u8]) -> Option<Flow> {
    let original = part(part(attributes, ORIGINAL)?, PROTOCOL)?;
    if part(original, NUMBER)? != [UDP] {
        return None;
    }
    let reply = part(attributes, REPLY)?;
    let address: [u8; 4] = part(part(reply, IP)?, IP_SOURCE)?.try_into().ok()?;
    let port = |of: &[u8], which| Some(u16::from_be_bytes(part(of, which)?.try_into().ok()?));
    Some(Flow {
        port: port(original, TARGET_PORT)?,
        to: SocketAddrV4::new(
            Ipv4Addr::from(address),
            port(part(reply, PROTOCOL)?, SOURCE_PORT)?,
        ),
    })
}

/// What an attribute holds.
fn part(attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    // The upper two bits say how it is written.
    const KIND: u16 = 0x3fff;
    let mut left = attributes;
    loop {
        let length = usize::from(short(left, 0)?);
        let held = left.get(4..length)?;
        if short(left, 2)? & KIND == wanted {
            return Some(held);
        }
        left = left.get(length.next_multiple_of(4)..)?;
    }
}

fn short(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..at + 2)?.try_into().ok()?;
    Some(u16::from_ne_bytes(two))
}

fn number(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_ne_bytes(four))
}
