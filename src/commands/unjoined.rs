//! What answers where no network was found to join.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use kadring::id::Id;
use kadring::network::NetworkName;
use kadring::node::{Answer, Command, Failure, FailureKind, Notice};
use kadring::overlay::OverlayKind;
use kadring::runtime::survey::Surveyor;
use kadring::runtime::{Handle, Keyring};
use nix::errno::Errno;

/// A peer that answers a ping has done so this soon after a join was in vain.
const ANSWERED_BY: Duration = Duration::from_millis(500);

/// A program that takes a connection has done so this soon.
const CONNECTED_BY: Duration = Duration::from_secs(1);

/// Addresses that are tried so at most.
const CONNECTIONS: usize = 2;

/// Why the system can send to none of these addresses; none if it can to one. Nothing is sent.
pub(super) fn no_way(addrs: &[SocketAddr]) -> Option<io::Error> {
    let known = [Errno::ENETUNREACH, Errno::EHOSTUNREACH, Errno::EADDRNOTAVAIL, Errno::EAFNOSUPPORT];
    let is_known = |error: &io::Error| error.raw_os_error().is_some_and(|code| known.contains(&Errno::from_raw(code)));
    let connect = |addr: &SocketAddr| {
        let any = if addr.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        UdpSocket::bind((any, 0))?.connect(addr)
    };
    let mut last = None;
    for addr in addrs {
        last = Some(connect(addr).err().filter(is_known)?);
    }
    last
}

/// Pings each of these addresses.
pub(super) fn ping_all(peer: &Handle, addrs: &[SocketAddr]) -> Vec<Receiver<Notice>> {
    addrs.iter().map(|&addr| peer.submit(Command::Ping { addr })).collect()
}

/// The first that answers soon of those [pinged](ping_all), if one does: its id, or what it says if it does not answer
/// as a peer of this network.
pub(super) fn heard(asked: &[Receiver<Notice>]) -> Option<Result<Id, String>> {
    asked.iter().find_map(heard_of)
}

/// What something that is no peer says at one of these addresses, if no peer answers there.
pub(super) fn strange(
    addrs: &[SocketAddr],
    overlay: OverlayKind,
    network: (NetworkName, Option<Arc<Keyring>>),
) -> Option<String> {
    let error = Surveyor::new(addrs, Some(overlay), network).err()?;
    (error.kind() == io::ErrorKind::InvalidData).then(|| error.to_string())
}

/// Why no peer answers datagrams at addresses of which one takes connections; none if none does.
pub(super) fn filtered(addrs: &[SocketAddr]) -> Option<String> {
    let connects = |addr: &&SocketAddr| TcpStream::connect_timeout(addr, CONNECTED_BY).is_ok();
    let addr = addrs.iter().take(CONNECTIONS).find(connects)?;
    Some(format!(
        "TCP connects to {addr}, and UDP brings no answer: it may be filtered on the way, and a peer needs both; or who \
         listens there is no peer, or has another network key"
    ))
}

/// That the peer which answers at `names` gives this reason for not being joined.
pub(super) fn answers_but(names: &str, reason: &str) -> String {
    format!("something answers at {names}, but: {reason}")
}

fn heard_of(asked: &Receiver<Notice>) -> Option<Result<Id, String>> {
    match asked.recv_timeout(ANSWERED_BY).ok()? {
        Notice::Answer { answer: Answer::Pong { peer, .. }, .. } => Some(Ok(peer.id)),
        Notice::Answer { answer: Answer::Failed(Failure { kind: FailureKind::Other, reason }), .. } => {
            Some(Err(reason))
        }
        _ => None,
    }
}
