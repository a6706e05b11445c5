//! Who answers where no network was found to join.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::Receiver;
use kadring::network::NetworkName;
use kadring::node::{Answer, Command, Failure, FailureKind, Notice};
use kadring::overlay::OverlayKind;
use kadring::runtime::survey::Surveyor;
use kadring::runtime::{Handle, Keyring};

/// Who refuses a ping has done so this soon after a join was in vain.
const REFUSED_BY: Duration = Duration::from_millis(500);

/// Pings everybody there.
pub(super) fn ping_all(peer: &Handle, addrs: &[SocketAddr]) -> Vec<Receiver<Notice>> {
    addrs.iter().map(|&addr| peer.submit(Command::Ping { addr })).collect()
}

/// What somebody says of those [pinged](ping_all) that answers soon, but not as a peer of this network does.
pub(super) fn refusal(asked: &[Receiver<Notice>]) -> Option<String> {
    asked.iter().find_map(refusal_of)
}

/// What something that is no peer says at one of these addresses, if nobody else answers there.
pub(super) fn strange(
    addrs: &[SocketAddr],
    overlay: OverlayKind,
    network: (NetworkName, Option<Arc<Keyring>>),
) -> Option<String> {
    let error = Surveyor::new(addrs, Some(overlay), network).err()?;
    (error.kind() == io::ErrorKind::InvalidData).then(|| error.to_string())
}

/// That whoever answers at `names` gives this reason for not being joined.
pub(super) fn answers_but(names: &str, reason: &str) -> String {
    format!("something answers at {names}, but: {reason}")
}

fn refusal_of(asked: &Receiver<Notice>) -> Option<String> {
    match asked.recv_timeout(REFUSED_BY) {
        Ok(Notice::Answer { answer: Answer::Failed(Failure { kind: FailureKind::Other, reason }), .. }) => Some(reason),
        _ => None,
    }
}
