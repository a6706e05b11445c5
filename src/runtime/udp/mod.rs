//! `udp-recv`: waits for datagrams. And the other direction, which the node thread does itself.
//!
//! How datagrams pass between this program and the system has two ways behind one face: [`plain`], one datagram with
//! one call, which is the one to read first, and [`batched`], many with one call, which only Linux has. A batch that
//! finds the node's inbox full for a quarter of a second is lost, as datagrams may be, and counted.

mod asked_at;
#[cfg(target_os = "linux")]
mod batched;
#[cfg(target_os = "linux")]
mod packet_info;
mod plain;
#[cfg(debug_assertions)]
mod weather;

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::SendTimeoutError;
use nix::errno::Errno;

use self::asked_at::AskedAt;
use super::channels::Gauged;
use super::clock::Clock;
use super::secrecy::Keyring;
use super::{Role, fault, portable, sockets};
use crate::gauges::{self, Activity};
use crate::seal::SeenDatagrams;
use crate::time::Time;
use crate::wire::{Dialect, MAX_DATAGRAM_RECEIVED, Malformed, Message};

#[cfg(target_os = "linux")]
pub(super) use self::packet_info::tell_where_asked;

/// Datagrams that pass together at most.
pub(super) const BATCH: usize = 64;

/// How datagrams come.
trait Receive {
    /// Waits for at least one, and gives what came to `take`.
    fn receive(&mut self, take: &mut dyn FnMut(ArrivedDatagram<'_>)) -> io::Result<()>;
}

/// How datagrams leave.
trait SendDatagrams {
    /// Makes those of one length that can leave as one only then. It is done to texts, before they are sealed.
    fn level(&mut self, _datagrams: &mut [LeavingDatagram]) {}

    /// Sends them, and waits for nothing: what the system refuses is lost, as datagrams may be. Where that is because
    /// this machine has no way there, the datagram tells.
    fn send(&mut self, datagrams: &mut [LeavingDatagram]);
}

/// A datagram as it comes.
struct ArrivedDatagram<'a> {
    from: SocketAddr,
    /// The address of ours that it came to, where the socket has several and the system tells.
    at: Option<IpAddr>,
    bytes: &'a [u8],
}

/// A datagram as it leaves.
#[derive(Clone)]
struct LeavingDatagram {
    to: SocketAddr,
    /// The address of ours that it shall leave from; none: the system chooses. So it does where that address is ours no
    /// longer, and this is none then.
    from: Option<IpAddr>,
    text: Vec<u8>,
    /// The magic of the request that it holds, if it holds one.
    asks: Option<u64>,
    /// The system refused it, for this machine has no way there.
    no_way: bool,
}

impl LeavingDatagram {
    /// The system refused it.
    fn refused(&mut self, error: Errno) {
        log::debug!("a datagram to {} was refused: {error}", self.to);
        // The last two: the address is of a family that the socket does not serve, or one that it cannot leave for.
        self.no_way = matches!(error, Errno::ENETUNREACH | Errno::EHOSTUNREACH | Errno::EAFNOSUPPORT | Errno::EINVAL);
    }
}

fn receiver(socket: Arc<UdpSocket>) -> Box<dyn Receive> {
    #[cfg(target_os = "linux")]
    if !portable::only() {
        return Box::new(batched::DatagramReceiver::new(socket));
    }
    debug_assert!(portable::only(), "it is all that other systems have");
    Box::new(plain::DatagramReceiver::new(socket))
}

/// Sealed datagrams are sent as they are, to the byte.
#[cfg_attr(not(target_os = "linux"), expect(unused_variables, reason = "the plain way changes none"))]
fn sender(socket: Arc<UdpSocket>, sealed: bool) -> Box<dyn SendDatagrams> {
    #[cfg(target_os = "linux")]
    if !portable::only() {
        return Box::new(batched::DatagramSender::new(socket, sealed));
    }
    Box::new(plain::DatagramSender::new(socket))
}

/// A datagram that came.
pub(super) struct Datagram {
    /// The address it came from.
    pub(super) from: SocketAddr,
    /// The address of ours that it came to, where the socket has several.
    pub(super) at: Option<IpAddr>,
    /// Its length in bytes.
    pub(super) bytes: u32,
    /// What it says, or what is wrong with it where its sender should know, and the dialect to say that in.
    pub(super) message: Result<Message, (Malformed, Dialect)>,
}

/// Datagrams that came together.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) datagrams: Vec<Datagram>,
    /// How many found the node's inbox full since the peer started.
    pub(super) dropped: u64,
    /// When it was put there.
    pub(super) put: Time,
}

/// While the node's inbox is full for no longer than this, the socket's own buffer takes what comes.
const FULL_FOR: Duration = Duration::from_millis(250);

/// Where `udp-recv` puts what it receives, and gets emptied batches back from.
pub(super) struct Inbox {
    pub(super) batches: crossbeam_channel::Sender<Batch>,
    pub(super) spent: crossbeam_channel::Receiver<Vec<Datagram>>,
}

/// Receives until the peer stops.
pub(super) fn run(
    stopping: &AtomicBool,
    clock: Clock,
    socket: Arc<UdpSocket>,
    mut reader: DatagramReader,
    inbox: &Inbox,
) {
    let mut receiver = receiver(socket);
    let mut dropped = 0;
    while !stopping.load(Ordering::Relaxed) {
        let mut datagrams = inbox.spent.try_recv().unwrap_or_default();
        gauges::at(Activity::Waits);
        let mut arrived_at = None;
        let received = receiver.receive(&mut |arrived| {
            arrived_at = arrived_at.or_else(|| gauges::came(Activity::Datagrams));
            datagrams.extend(reader.read(&arrived));
        });
        if let Err(error) = received {
            // An earlier datagram of ours met a closed port, or a signal came: neither ends anything.
            log::debug!("receiving: {error}");
            continue;
        }
        let count = datagrams.len() as u64;
        if count > 0 {
            fault::point(Role::UdpRecv);
        }
        let batch = Batch { datagrams, dropped, put: clock.gauged(arrived_at) };
        let given = inbox.batches.send_timeout(batch, FULL_FOR);
        Gauged::Datagrams.note(inbox.batches.len());
        match given {
            Ok(()) => {}
            Err(SendTimeoutError::Timeout(_)) => dropped += count,
            Err(SendTimeoutError::Disconnected(_)) => return,
        }
    }
}

/// What understands datagrams.
pub(super) struct DatagramReader {
    dialect: Dialect,
    keys: Option<Arc<Keyring>>,
    seen: SeenDatagrams,
    text: Vec<u8>,
}

impl DatagramReader {
    /// Reads datagrams in this dialect, sealed under these keys, if any.
    pub(super) fn new(dialect: Dialect, keys: Option<Arc<Keyring>>) -> Self {
        Self { dialect, keys, seen: SeenDatagrams::default(), text: Vec::new() }
    }

    /// What a datagram says; none if no peer can be told anything about it. What was sealed under no key of ours, or
    /// came before, is none.
    fn read(&mut self, arrived: &ArrivedDatagram<'_>) -> Option<Datagram> {
        let &ArrivedDatagram { from, at, bytes } = arrived;
        if bytes.len() > MAX_DATAGRAM_RECEIVED || from.port() == 0 {
            return None;
        }
        let Some(keys) = &self.keys else { return read(arrived, self.dialect) };
        let (stamp, key) = keys.open(bytes, &mut self.text)?;
        if !self.seen.is_new(stamp) {
            return None;
        }
        keys.heard(from, key);
        read(&ArrivedDatagram { from, at, bytes: &self.text }, self.dialect)
    }
}

fn read(arrived: &ArrivedDatagram<'_>, dialect: Dialect) -> Option<Datagram> {
    let &ArrivedDatagram { from, at, bytes } = arrived;
    let message = match dialect.decode(bytes) {
        Ok(message) => Ok(message),
        Err(Malformed { magic: None, .. }) => {
            let (other, malformed) = dialect.foreign_request(bytes)?;
            Err((malformed, other))
        }
        Err(malformed) => Err((malformed, dialect)),
    };
    Some(Datagram { from, at, bytes: bytes.len() as u32, message })
}

/// Datagrams on their way out: collected during a turn of the node, sent together at its end.
pub(super) struct Outgoing {
    sender: Box<dyn SendDatagrams>,
    /// Of the datagrams here, so many wait. The others keep room for a text.
    leaving: Vec<LeavingDatagram>,
    count: usize,
    keys: Option<Arc<Keyring>>,
    /// The one address that the socket is bound to, if it is one.
    only: Option<IpAddr>,
    asked_at: AskedAt,
    /// Requests that did not leave, for this machine has no way there.
    unsent: Vec<(SocketAddr, u64)>,
    #[cfg(debug_assertions)]
    weather: Option<weather::DatagramWeather>,
}

impl Outgoing {
    pub(super) fn new(socket: Arc<UdpSocket>, keys: Option<Arc<Keyring>>) -> Self {
        let only = socket.local_addr().ok().and_then(sockets::only);
        let (sender, leaving) = (sender(socket, keys.is_some()), Vec::with_capacity(BATCH));
        Self {
            sender,
            leaving,
            count: 0,
            keys,
            only,
            asked_at: AskedAt::default(),
            unsent: Vec::new(),
            #[cfg(debug_assertions)]
            weather: weather::DatagramWeather::of_environment(),
        }
    }

    /// Adds a datagram whose text `write` writes, unless it is longer than `limit` bytes. It may hold the request
    /// `asks`.
    pub(super) fn push(&mut self, to: SocketAddr, asks: Option<u64>, limit: usize, write: impl FnOnce(&mut Vec<u8>)) {
        let from = self.asked_at.source(&to);
        if self.count == self.leaving.len() {
            self.leaving.push(LeavingDatagram { to, from, text: Vec::new(), asks, no_way: false });
        }
        let leaving = &mut self.leaving[self.count];
        (leaving.to, leaving.from, leaving.asks, leaving.no_way) = (to, from, asks, false);
        leaving.text.clear();
        write(&mut leaving.text);
        if leaving.text.len() > limit {
            return;
        }
        self.count += 1;
        if self.count == BATCH {
            self.flush();
        }
    }

    /// Sends what was added.
    pub(super) fn flush(&mut self) {
        let leaving = &mut self.leaving[..std::mem::take(&mut self.count)];
        if leaving.is_empty() {
            return;
        }
        // What is sealed once more leaves behind the others: they keep their places, and their texts' room.
        let mut again = Vec::new();
        if let Some(keyring) = &self.keys {
            self.sender.level(leaving);
            for LeavingDatagram { to, from, text, .. } in leaving.iter_mut() {
                let sealed = keyring.seal(*to, text).into_iter();
                again.extend(sealed.map(|text| LeavingDatagram {
                    to: *to,
                    from: *from,
                    text,
                    asks: None,
                    no_way: false,
                }));
            }
        }
        #[cfg(debug_assertions)]
        if let Some(weather) = &mut self.weather {
            self.sender.send(&mut weather.through(leaving));
            return self.sender.send(&mut weather.through(&again));
        }
        self.sender.send(leaving);
        self.sender.send(&mut again);
        let unsent = leaving.iter().filter(|leaving| leaving.no_way);
        self.unsent.extend(unsent.filter_map(|leaving| Some((leaving.to, leaving.asks?))));
        if !self.asked_at.is_empty() {
            let refused = leaving.iter().filter(|leaving| leaving.from.is_none());
            refused.for_each(|leaving| self.asked_at.forget(&leaving.to));
        }
    }

    /// Takes a request that did not leave, for this machine has no way to its receiver.
    pub(super) fn next_unsent(&mut self) -> Option<(SocketAddr, u64)> {
        self.unsent.pop()
    }

    /// A peer spoke to our address `at`: it is answered from there.
    pub(super) fn heard(&mut self, from: SocketAddr, at: IpAddr) {
        self.asked_at.heard(from, at);
    }

    /// The address of ours that all leaves from; where there are several, the one that `to` spoke to last.
    pub(super) fn source(&self, to: &SocketAddr) -> Option<IpAddr> {
        self.only.or_else(|| self.asked_at.source(to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends `texts` to two sockets in turns of a few each, and returns what each of them got.
    pub(super) fn through(sender: &mut dyn SendDatagrams, texts: &[String]) -> [Vec<String>; 2] {
        let receivers = [(); 2].map(|()| UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let leaving = |(index, text): (usize, &String)| LeavingDatagram {
            to: receivers[index / 7 % 2].local_addr().expect("an address"),
            from: None,
            text: text.clone().into_bytes(),
            asks: None,
            no_way: false,
        };
        sender.send(&mut texts.iter().enumerate().map(leaving).collect::<Vec<_>>());
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
    fn what_is_sent_plainly_arrives_as_it_is() {
        let texts: Vec<String> = (0..60).map(|n| "x".repeat(1 + n * 19)).collect();
        for bound in ["127.0.0.1:0", "0.0.0.0:0"] {
            let socket = Arc::new(UdpSocket::bind(bound).expect("a socket"));
            let got = through(&mut plain::DatagramSender::new(socket), &texts);
            for (which, got) in got.iter().enumerate() {
                let sent: Vec<&String> =
                    texts.iter().enumerate().filter(|(n, _)| n / 7 % 2 == which).map(|(_, text)| text).collect();
                assert_eq!(got.iter().collect::<Vec<_>>(), sent);
            }
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_datagram_that_this_machine_has_no_way_for_tells() {
        type Make = fn(Arc<UdpSocket>) -> Box<dyn SendDatagrams>;
        let ways: [Make; 2] = [
            |socket| Box::new(plain::DatagramSender::new(socket)),
            |socket| Box::new(batched::DatagramSender::new(socket, false)),
        ];
        for way in ways {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
            // The second is of the other family.
            let here = socket.local_addr().expect("bound");
            let to = [here, "[::1]:7000".parse().expect("one"), here];
            let leaving = |to| LeavingDatagram { to, from: None, text: b"text".to_vec(), asks: Some(7), no_way: false };
            let mut datagrams = to.map(leaving);
            way(socket).send(&mut datagrams);
            assert_eq!(datagrams.map(|leaving| leaving.no_way), [false, true, false]);
        }
    }

    #[test]
    fn both_ways_receive_the_same() {
        type Make = fn(Arc<UdpSocket>) -> Box<dyn Receive>;
        let ways: &[Make] = &[
            |socket| Box::new(plain::DatagramReceiver::new(socket)),
            #[cfg(target_os = "linux")]
            |socket| Box::new(batched::DatagramReceiver::new(socket)),
        ];
        for way in ways {
            let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
            let (to, from) = (socket.local_addr().expect("bound"), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
            let texts: Vec<Vec<u8>> = [0, 1, 500, MAX_DATAGRAM_RECEIVED].map(|len| vec![b'x'; len]).into();
            for text in &texts {
                from.send_to(text, to).expect("it is sent");
            }
            let (mut receiver, mut got) = (way(socket), Vec::new());
            while got.len() < texts.len() {
                let take = &mut |arrived: ArrivedDatagram<'_>| got.push((arrived.from, arrived.bytes.to_vec()));
                receiver.receive(take).expect("they are there");
            }
            let sent: Vec<_> = texts.into_iter().map(|text| (from.local_addr().expect("bound"), text)).collect();
            assert!(got == sent);
        }
    }

    #[test]
    fn every_datagram_is_taken_or_counted_as_dropped() {
        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let (to, from) = (socket.local_addr().expect("bound"), UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        // It takes nothing but while somebody waits.
        let (batches, arriving) = crossbeam_channel::bounded(0);
        let (_spent, spent) = crossbeam_channel::bounded(1);
        let run = std::thread::spawn(move || {
            let reader = DatagramReader::new(Dialect::Kademlia, None);
            run(&AtomicBool::new(false), Clock::start(), socket, reader, &Inbox { batches, spent });
        });
        let ping =
            Message::request(1, crate::wire::Sender::member(crate::id::Id::ZERO, to), crate::wire::Request::Ping);
        let mut text = Vec::new();
        Dialect::Kademlia.encode(&ping, &crate::peer::Peer::new(crate::id::Id::ZERO, to), to, &mut text);
        let send = || from.send_to(&text, to).expect("it is sent");
        let (mut sent, mut taken, mut dropped) = (0, 0, 0);
        loop {
            send();
            sent += 1;
            if dropped == 0 {
                // For longer than it is waited for, nobody takes anything.
                crossbeam_channel::after(2 * FULL_FOR).recv().expect("time passes");
                send();
                sent += 1;
            }
            assert!(sent < 10_000, "none is ever dropped, or one is lost");
            let Ok(batch): Result<Batch, _> = arriving.recv_timeout(Duration::from_millis(10)) else { continue };
            taken += batch.datagrams.len() as u64;
            dropped = batch.dropped;
            assert!(taken + dropped <= sent);
            // Each tells how many were dropped before it.
            if dropped > 0 && taken + dropped == sent {
                break;
            }
        }
        drop(arriving);
        send();
        run.join().expect("it ends when nobody takes anything any more");
    }

    #[test]
    fn an_answer_leaves_from_the_address_that_was_asked_until_that_is_ours_no_longer() {
        /// Notes where datagrams shall leave from, and has only one address.
        struct Notes(Arc<parking_lot::Mutex<Vec<Option<IpAddr>>>>);

        impl SendDatagrams for Notes {
            fn send(&mut self, datagrams: &mut [LeavingDatagram]) {
                for leaving in datagrams {
                    self.0.lock().push(leaving.from);
                    leaving.from = leaving.from.filter(IpAddr::is_loopback);
                }
            }
        }

        let socket = Arc::new(UdpSocket::bind("127.0.0.1:0").expect("a socket"));
        let noted = Arc::default();
        let mut outgoing = Outgoing { sender: Box::new(Notes(Arc::clone(&noted))), ..Outgoing::new(socket, None) };
        let (to, ours, gone) = (SocketAddr::from(([127, 0, 0, 1], 9)), [127, 0, 0, 2].into(), [192, 0, 2, 1].into());
        for at in [ours, gone] {
            outgoing.heard(to, at);
            for _ in 0..2 {
                outgoing.push(to, None, 10, |out| out.extend_from_slice(b"text"));
                outgoing.push(to, None, 3, |out| out.extend_from_slice(b"too long"));
                outgoing.flush();
            }
        }
        assert_eq!(*noted.lock(), [Some(ours), Some(ours), Some(gone), None]);
    }
}
