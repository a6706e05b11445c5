//! `udp-recv`: waits for datagrams. And the other direction, which the node thread does itself.
//!
//! Both move up to [`BATCH`] datagrams with one system call (`recvmmsg`, `sendmmsg`): at a hundred thousand requests a
//! second the calls, the wake-ups and the channel are what costs, so each is paid once a batch. A batch that finds the
//! node's inbox full is lost, as datagrams may be, and counted.

use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, TrySendError};
use nix::errno::Errno;
use nix::sys::socket::{ControlMessage, MsgFlags, MultiHeaders, SockaddrStorage, recvmmsg, sendmmsg, sendmsg};

use super::asked_at::{self, AskedAt, LeavesFrom};
use super::sockets::{canonical, is_dual, mapped};
use super::{Role, Shared, fault};
use crate::config::{PADDED_MIN, PADDING};
use crate::wire::{Dialect, MAX_DATAGRAM_RECEIVED, Malformed, Message};

/// Datagrams that one system call moves at most.
const BATCH: usize = 64;

/// Datagrams to one address that are worth a call of their own.
const RUN_MIN: usize = 3;

/// Bytes of a run at most: what the system takes as one datagram, less the headers.
const RUN_MAX: usize = 65_000;

/// Never waiting: a full buffer is loss, and the node does not block.
const FLAGS: MsgFlags = MsgFlags::MSG_DONTWAIT;

/// A datagram that came.
pub(super) struct Datagram {
    /// The address it came from.
    pub(super) from: SocketAddr,
    /// The address of ours that it came to, where the socket has several.
    pub(super) at: Option<IpAddr>,
    /// Its length.
    pub(super) bytes: u32,
    /// What it says, or what is wrong with it where its sender should know.
    pub(super) message: Result<Message, Malformed>,
}

/// Where `udp-recv` puts what it receives, and gets emptied batches back from.
pub(super) struct Inbox {
    pub(super) batches: Sender<Vec<Datagram>>,
    pub(super) spent: Receiver<Vec<Datagram>>,
}

/// Receives until the peer stops.
pub(super) fn run(shared: &Shared, socket: &UdpSocket, dialect: Dialect, inbox: &Inbox) {
    // One byte more than allowed shows which ones are too long. Of one run of zeros the system gives only those pages
    // that a datagram reaches; an idle peer needs few.
    let mut room = vec![0_u8; (MAX_DATAGRAM_RECEIVED + 1) * BATCH];
    let (buffers, _) = room.as_chunks_mut();
    let several = socket.local_addr().is_ok_and(|bound| bound.ip().is_unspecified());
    let mut headers = MultiHeaders::preallocate(BATCH, several.then(asked_at::room));
    while !shared.stopping.load(Ordering::Relaxed) {
        let mut batch = inbox.spent.try_recv().unwrap_or_default();
        if let Err(error) = receive(socket, dialect, buffers, &mut headers, &mut batch) {
            // An earlier datagram of ours met a closed port, or a signal came: neither ends anything.
            log::debug!("receiving: {error}");
            continue;
        }
        let count = batch.len() as u64;
        if count > 0 {
            fault::point(Role::UdpRecv);
        }
        match inbox.batches.try_send(batch) {
            Ok(()) => {}
            Err(TrySendError::Full(_)) => {
                shared.dropped.fetch_add(count, Ordering::Relaxed);
            }
            Err(TrySendError::Disconnected(_)) => return,
        }
    }
}

fn receive(
    socket: &UdpSocket,
    dialect: Dialect,
    buffers: &mut [[u8; MAX_DATAGRAM_RECEIVED + 1]],
    headers: &mut MultiHeaders<SockaddrStorage>,
    batch: &mut Vec<Datagram>,
) -> io::Result<()> {
    let mut came = [(0_usize, None, None); BATCH];
    let mut count = 0;
    let mut slices: Vec<_> = buffers.iter_mut().map(|buffer| [IoSliceMut::new(buffer)]).collect();
    for received in recvmmsg(socket.as_raw_fd(), headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None)? {
        let at = received.cmsgs().ok().and_then(asked_at::arrived_at);
        came[count] = (received.bytes, received.address.as_ref().and_then(to_std), at);
        count += 1;
    }
    for (buffer, (len, from, at)) in buffers.iter().zip(&came[..count]) {
        let Some(from) = *from else { continue };
        if *len > MAX_DATAGRAM_RECEIVED || from.port() == 0 {
            continue;
        }
        let message = dialect.decode(&buffer[..*len]);
        if !matches!(message, Err(Malformed { magic: None, .. })) {
            batch.push(Datagram { from, at: *at, bytes: *len as u32, message });
        }
    }
    Ok(())
}

fn to_std(address: &SockaddrStorage) -> Option<SocketAddr> {
    if let Some(v4) = address.as_sockaddr_in() {
        return Some(SocketAddrV4::new(v4.ip(), v4.port()).into());
    }
    let v6 = address.as_sockaddr_in6()?;
    Some(canonical(SocketAddrV6::new(v6.ip(), v6.port(), v6.flowinfo(), v6.scope_id()).into()))
}

/// Datagrams on their way out: collected during a turn of the node, sent together at its end.
///
/// Most of what an answer costs is its way through the system's network layers. Datagrams to one address take that way
/// together: the system gets them as one and cuts it where it arrives (`UDP_SEGMENT`). The pieces have to be of one
/// length, so long ones that differ a little get a few spaces, which JSON allows at its end.
pub(super) struct Outgoing {
    socket: Arc<UdpSocket>,
    texts: Vec<Vec<u8>>,
    to: Vec<Option<SockaddrStorage>>,
    headers: MultiHeaders<SockaddrStorage>,
    /// Where each of them leaves from, if that is known; and what it takes to say so, where the socket has several
    /// addresses.
    from: Vec<Option<IpAddr>>,
    choice: Option<Choice>,
    /// Whether the system takes runs (Linux 4.18 and later do), until it refuses one.
    takes_runs: bool,
}

/// What a socket needs that is bound to all addresses.
struct Choice {
    asked_at: AskedAt,
    /// It serves both families.
    dual: bool,
    /// Headers with room for where a datagram leaves from.
    headers: MultiHeaders<SockaddrStorage>,
}

impl Outgoing {
    pub(super) fn new(socket: Arc<UdpSocket>) -> Self {
        let several = socket.local_addr().ok().filter(|bound| bound.ip().is_unspecified());
        let choice = several.map(|bound| Choice {
            asked_at: AskedAt::default(),
            dual: is_dual(bound),
            headers: MultiHeaders::preallocate(BATCH, Some(asked_at::room())),
        });
        Self {
            socket,
            from: Vec::with_capacity(BATCH),
            choice,
            texts: std::iter::repeat_with(Vec::new).take(BATCH).collect(),
            to: Vec::with_capacity(BATCH),
            headers: MultiHeaders::preallocate(BATCH, None),
            takes_runs: true,
        }
    }

    /// Adds a datagram whose text `write` writes, unless it is longer than `limit` bytes.
    pub(super) fn push(&mut self, to: SocketAddr, limit: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let text = &mut self.texts[self.to.len()];
        text.clear();
        write(text);
        if text.len() > limit {
            return;
        }
        let (to, from) = match &self.choice {
            Some(choice) if choice.dual => (mapped(to), choice.asked_at.source(&to)),
            Some(choice) => (to, choice.asked_at.source(&to)),
            None => (to, None),
        };
        self.to.push(Some(to.into()));
        self.from.push(from);
        if self.to.len() == BATCH {
            self.flush();
        }
    }

    /// Sends what was added. What the system refuses is lost, as datagrams may be.
    pub(super) fn flush(&mut self) {
        let mut rest = 0..self.to.len();
        while !rest.is_empty() {
            let run = self.next_run(rest.clone());
            self.send(rest.start..run.start);
            rest.start = run.end;
            self.send_run(run);
        }
        self.to.clear();
        self.from.clear();
    }

    /// Somebody spoke to our address `at`: it is answered from there.
    pub(super) fn heard(&mut self, from: SocketAddr, at: IpAddr) {
        if let Some(choice) = &mut self.choice {
            choice.asked_at.heard(from, at);
        }
    }

    /// Which address of ours somebody spoke to last, where there are several.
    pub(super) fn source(&self, to: &SocketAddr) -> Option<IpAddr> {
        self.choice.as_ref()?.asked_at.source(to)
    }

    /// The next datagrams in `range` that can leave as one; none: an empty range at its end.
    fn next_run(&self, range: Range<usize>) -> Range<usize> {
        let end = range.end;
        let mut runs = range.filter(|_| self.takes_runs).map(|first| first..self.run_end(first, end));
        runs.find(|run| run.len() >= RUN_MIN).unwrap_or(end..end)
    }

    /// Where the datagrams end that go to where `first` goes and are as long, or long enough to be made so.
    fn run_end(&self, first: usize, end: usize) -> usize {
        let (mut shortest, mut longest) = (usize::MAX, 0);
        let fits = |at: &usize| {
            let len = self.texts[*at].len();
            (shortest, longest) = (shortest.min(len), longest.max(len));
            let padding = if shortest < PADDED_MIN { 0 } else { PADDING };
            let total = longest * (at + 1 - first);
            let alike = self.to[*at] == self.to[first] && self.from[*at] == self.from[first];
            longest - shortest <= padding && total <= RUN_MAX && alike
        };
        first + (first..end).take_while(fits).count()
    }

    /// Sends datagrams as they are, with one call for each stretch that leaves from one address, if the system takes all.
    fn send(&mut self, mut range: Range<usize>) {
        while !range.is_empty() {
            let from = self.from[range.start];
            let end = range.clone().find(|&at| self.from[at] != from).unwrap_or(range.end);
            match self.send_from(from, range.start..end) {
                Ok(sent) => range.start += sent.max(1),
                Err(Errno::EINTR) => {}
                Err(error) if from.is_some() && no_longer_ours(error) => self.let_system_choose(range.start),
                Err(error) => {
                    log::debug!("a datagram was refused: {error}");
                    range.start += 1;
                }
            }
        }
    }

    fn send_from(&mut self, from: Option<IpAddr>, range: Range<usize>) -> nix::Result<usize> {
        let slices: Vec<_> = self.texts[range.clone()].iter().map(|text| [IoSlice::new(text)]).collect();
        let (socket, to) = (self.socket.as_raw_fd(), &self.to[range]);
        if let (Some(from), Some(choice)) = (from, &mut self.choice) {
            let from = LeavesFrom::new(from, choice.dual);
            let sent = sendmmsg(socket, &mut choice.headers, slices.iter(), to, [from.message()], FLAGS)?;
            return Ok(sent.count());
        }
        Ok(sendmmsg(socket, &mut self.headers, slices.iter(), to, [], FLAGS)?.count())
    }

    /// The address that this datagram should leave from is not ours any longer.
    fn let_system_choose(&mut self, at: usize) {
        self.from[at] = None;
        if let (Some(choice), Some(to)) = (&mut self.choice, self.to[at].as_ref().and_then(to_std)) {
            choice.asked_at.forget(&to);
        }
    }

    /// Sends datagrams as one that the system cuts.
    fn send_run(&mut self, run: Range<usize>) {
        let Some(longest) = self.texts[run.clone()].iter().map(Vec::len).max() else { return };
        let to = self.to[run.start];
        for text in &mut self.texts[run.clone()] {
            text.resize(longest, b' ');
        }
        let slices: Vec<_> = self.texts[run.clone()].iter().map(|text| IoSlice::new(text)).collect();
        let cut = longest as u16;
        let dual = self.choice.as_ref().is_some_and(|choice| choice.dual);
        let from = self.from[run.start].map(|from| LeavesFrom::new(from, dual));
        let told = std::iter::once(ControlMessage::UdpGsoSegments(&cut));
        let told: Vec<_> = told.chain(from.as_ref().map(LeavesFrom::message)).collect();
        if let Err(error) = sendmsg(self.socket.as_raw_fd(), &slices, &told, FLAGS, to.as_ref()) {
            // These two say that no run will ever go; any other may be about this one, or about now. So may these where
            // the address to leave from is no longer ours.
            if matches!(error, Errno::EINVAL | Errno::EIO) && from.is_none() {
                log::debug!("datagrams leave one by one from now on, for several as one were refused: {error}");
                self.takes_runs = false;
            }
            self.send(run);
        }
    }
}

/// What the system says of a datagram that shall leave from an address that this machine has not, or has no more.
fn no_longer_ours(error: Errno) -> bool {
    matches!(error, Errno::EINVAL | Errno::EADDRNOTAVAIL | Errno::ENETUNREACH)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Sends `texts` to two sockets in turns of a few each, and returns what each of them got.
    fn through(takes_runs: bool, texts: &[String]) -> [Vec<String>; 2] {
        let socket = || UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let (from, receivers) = (socket(), [socket(), socket()]);
        let mut outgoing = Outgoing { takes_runs, ..Outgoing::new(Arc::new(from)) };
        for (index, text) in texts.iter().enumerate() {
            let to = receivers[index / 7 % 2].local_addr().expect("an address");
            outgoing.push(to, MAX_DATAGRAM_RECEIVED, |out| out.extend_from_slice(text.as_bytes()));
        }
        outgoing.flush();
        assert_eq!(outgoing.takes_runs, takes_runs, "the system refused a run");
        receivers.map(|receiver| {
            receiver.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
            let mut buffer = [0; MAX_DATAGRAM_RECEIVED];
            std::iter::from_fn(|| {
                let len = receiver.recv(&mut buffer).ok()?;
                Some(String::from_utf8_lossy(&buffer[..len]).into_owned())
            })
            .collect()
        })
    }

    #[test]
    fn what_leaves_as_one_arrives_as_the_datagrams_it_was_made_of() {
        // Of all lengths, with stretches of nearly the same: runs begin and end anywhere.
        let lens = [40, 700, 710, 731, 1150, 1200];
        let texts: Vec<String> = (0..60).map(|n| format!("{n:0>len$}", len = lens[n / 9 % 6] + n % 5)).collect();
        for takes_runs in [true, false] {
            let got = through(takes_runs, &texts);
            for (which, got) in got.iter().enumerate() {
                let sent: Vec<&String> =
                    texts.iter().enumerate().filter(|(n, _)| n / 7 % 2 == which).map(|(_, text)| text).collect();
                assert_eq!(got.iter().map(|text| text.trim_end()).collect::<Vec<_>>(), sent);
                let padding = got.iter().zip(&sent).map(|(got, sent)| got.len() - sent.len()).max();
                assert!(padding.is_some_and(|most| most <= if takes_runs { PADDING } else { 0 }), "{padding:?}");
            }
        }
    }

    #[test]
    fn short_datagrams_and_a_few_that_are_alike_stay_as_they_are() {
        let short: Vec<String> = (0..40).map(|n| "x".repeat(400 + n % 9)).collect();
        let few: Vec<String> = (0..4).map(|n| "x".repeat(if n < 2 { 800 + n } else { 1000 + n })).collect();
        for texts in [short, few] {
            let mut got = through(true, &texts).concat();
            let mut sent = texts.clone();
            got.sort_unstable();
            sent.sort_unstable();
            assert_eq!(got, sent);
        }
    }

    #[test]
    fn an_address_that_is_ours_no_longer_costs_no_datagram() {
        let receiver = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        receiver.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
        let to = receiver.local_addr().expect("an address");
        let mut outgoing = Outgoing::new(Arc::new(UdpSocket::bind("0.0.0.0:0").expect("a socket")));
        outgoing.heard(to, [192, 0, 2, 1].into());
        // A run, and one alone.
        for count in [5, 1] {
            for _ in 0..count {
                outgoing.push(to, MAX_DATAGRAM_RECEIVED, |out| out.extend_from_slice(b"text"));
            }
            outgoing.flush();
            for _ in 0..count {
                let (_, from) = receiver.recv_from(&mut [0; 10]).expect("it arrives");
                assert_eq!(from.ip(), to.ip(), "the system chose");
            }
        }
        assert!(outgoing.takes_runs && outgoing.source(&to).is_none());
    }
}
