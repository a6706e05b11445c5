//! `link-N`: sends the ring's control lines to one other peer over a kept connection.
//!
//! The node never waits for a connection, so each peer it talks to has a thread here with a queue of its own. A message
//! that cannot be delivered comes back to the node as [`Event::Undeliverable`]: on the ring that is how a dead
//! neighbour is noticed at once, where its machine is up and refuses the connection. While a connection is late, the
//! node is told of each request that waits for it, which may go another way meanwhile; and if it does not come about,
//! all that wait come back. No answer comes on these connections (answers come over the other side's own link), so one
//! that turns readable was closed, or a line on it was refused: it is given up either way. A link without work looks
//! for that now and then, and ends by it, or after a while. Where the other side confirms nothing any more, as a
//! machine that is gone, the system closes the connection, and the next line opens another one.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::iter;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, SendError, Sender};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
#[cfg(target_os = "linux")]
use nix::sys::socket::{setsockopt, sockopt::TcpUserTimeout};
use socket2::Socket;

use super::channels::LINES;
use super::descriptors::ConnectionShares;
use super::post::Post;
use super::secrecy::{Keyring, Stream};
use super::sockets::outgoing;
use super::tcp_serve::IDLE_LIMIT;
use super::threads::{Roster, Worker, message as said};
use super::{Role, fault};
#[cfg(target_os = "linux")]
use crate::config::LINK_UNCONFIRMED;
use crate::config::{LATE_CONNECTION, LINK_IDLE, LINK_IDLE_ANSWERING};
use crate::gauges;
use crate::node::{Event, Obstacle};
use crate::peer::Peer;
use crate::source::{Subnet, leaves_enough};
use crate::store::is_shortage;
use crate::wire::{Body, Dialect, Message};

/// Messages that wait for one peer at most, and how many answers may be among them: strangers choose where those go.
const QUEUE: usize = LINES.most();
const QUEUE_ANSWERS: usize = 64;

/// A peer that does not take a connection within this time cannot be reached.
const LINK_LIMIT: Duration = Duration::from_secs(2);

/// While a connection is late, what came to wait for it is looked at this often.
const GLANCE: Duration = Duration::from_millis(50);

/// Before a link without work ends, it looks so often whether the other side has closed its connection.
const LOOKS: u32 = 6;

const _: () = assert!(LINK_IDLE.as_secs() + 10 <= IDLE_LIMIT.as_secs(), "a link ends before the other side ends it");

/// Messages that a link was given and has not taken, or that it takes none any more: it retires only while none waits,
/// so each that it was given is delivered or comes back.
///
/// One number for both, in whose one order (`SeqCst`) a message is either given before the link retires or refused.
#[derive(Default)]
struct WaitingMessages(AtomicUsize);

impl WaitingMessages {
    const RETIRED: usize = usize::MAX;

    /// Counts one more, if there is room for it. The node alone does this.
    fn admit(&self, room: usize) -> Admission {
        match self.0.fetch_update(SeqCst, SeqCst, |waiting| (waiting < room).then(|| waiting + 1)) {
            Ok(_) => Admission::Given,
            Err(Self::RETIRED) => Admission::Retired,
            Err(_) => Admission::Full,
        }
    }

    /// Whether the link has nothing to do.
    fn is_empty(&self) -> bool {
        self.0.load(SeqCst) == 0
    }

    /// The link took one.
    fn take(&self) {
        self.0.fetch_sub(1, SeqCst);
    }

    /// Whether the link may end: nothing waits, and nothing will any more.
    fn retire(&self) -> bool {
        self.0.compare_exchange(0, Self::RETIRED, SeqCst, SeqCst).is_ok()
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Admission {
    Given,
    Full,
    Retired,
}

/// The links of a peer, by address.
pub(super) struct Links {
    dialect: Dialect,
    me: Peer,
    keys: Option<Arc<Keyring>>,
    events: Post,
    roster: Roster,
    links: HashMap<SocketAddr, Link>,
    /// Links at a time. Half of them may have been opened to answer a peer: strangers say where their answers go, to
    /// ever new places if they like; the ring's own messages go to the few peers that it knows.
    most: usize,
    next: u64,
    /// Messages that links were given.
    given: u64,
    idle: Duration,
    idle_answering: Duration,
}

struct Link {
    queue: Sender<Outbound>,
    waiting: Arc<WaitingMessages>,
    thread: Worker,
    /// Messages that links had been given when this one got its last.
    used: u64,
    /// Opened to answer a peer.
    answering: bool,
}

/// A message, and the address of ours that it shall leave from.
type Outbound = (Message, Option<IpAddr>);

/// A connection, and the address of ours that it should leave from.
type KeptConnection = (Stream, Option<IpAddr>);

impl Links {
    pub(super) fn new(dialect: Dialect, me: Peer, keys: Option<Arc<Keyring>>, events: Post, roster: Roster) -> Self {
        let (idle, idle_answering, most) = (LINK_IDLE, LINK_IDLE_ANSWERING, ConnectionShares::of_process().links);
        Self { dialect, me, keys, events, roster, links: HashMap::new(), most, next: 0, given: 0, idle, idle_answering }
    }

    /// Sends a message, without waiting; gives a request back if too many messages wait for this peer already. An
    /// answer is dropped then: the peer that waits for it asks again, and its loss is no sign that no peer is there. It
    /// leaves from our address `from`, or from whichever the system chooses.
    pub(super) fn send(&mut self, to: SocketAddr, from: Option<IpAddr>, message: Message) -> Result<(), Box<Message>> {
        let answering = !matches!(message.body, Body::Request(_));
        let room = if answering { QUEUE_ANSWERS } else { QUEUE };
        let refuse = |message| if answering { Ok(()) } else { Err(Box::new(message)) };
        let mut admitted = self.links.get(&to).map_or(Admission::Retired, |link| link.waiting.admit(room));
        if admitted == Admission::Retired {
            if !self.has_room(to, answering) {
                log::debug!("no link to {to}: there are too many");
                return refuse(message);
            }
            if let Err(error) = self.open(to, answering) {
                log::warn!("no link to {to}: {error}");
                return Err(Box::new(message));
            }
            admitted = Admission::Given;
        }
        match self.links.get_mut(&to) {
            Some(link) if admitted == Admission::Given => {
                self.given += 1;
                link.used = self.given;
                link.queue.send((message, from)).map_err(|SendError((refused, _))| Box::new(refused))
            }
            _ => refuse(message),
        }
    }

    /// Whether one more may be opened. One for a request takes the place of the idle link that was used longest ago. Of
    /// the links that answer, one source leaves as many to others as it has.
    fn has_room(&mut self, to: SocketAddr, answering: bool) -> bool {
        self.links.retain(|_, link| !link.thread.is_finished());
        if !answering && self.links.len() >= self.most {
            let idle = self.links.iter().filter(|(_, link)| link.waiting.is_empty());
            let oldest = idle.min_by_key(|(_, link)| link.used).map(|(addr, _)| *addr);
            if let Some(addr) = oldest {
                self.links.remove(&addr);
            }
        }
        let answers = || self.links.iter().filter(|(_, link)| link.answering);
        let of_source = || answers().filter(|(addr, _)| Subnet::of(**addr) == Subnet::of(to)).count() as u64;
        let left = (self.most / 2).saturating_sub(answers().count()) as u64;
        self.links.len() < self.most && (!answering || leaves_enough(of_source(), 1, left))
    }

    /// Opens a link for a first message, which is counted already.
    fn open(&mut self, to: SocketAddr, answering: bool) -> io::Result<()> {
        self.next += 1;
        // Its bound is counted by `waiting`: slots for all its messages, for each of hundreds of links, would be too
        // much.
        let (queue, messages) = LINES.open();
        let waiting = Arc::new(WaitingMessages(AtomicUsize::new(1)));
        let idle = if answering { self.idle_answering } else { self.idle };
        let (keys, waits) = (self.keys.clone(), Arc::clone(&waiting));
        let held = RefCell::default();
        let line = LinkEnd { dialect: self.dialect, me: self.me, keys, to, idle, waiting: waits, messages, held };
        let events = self.events.clone();
        let thread = self.roster.spawn_another(Role::Link, self.next, move || line.run(&events))?;
        self.links.insert(to, Link { queue, waiting, thread, used: 0, answering });
        Ok(())
    }

    /// Others reach this peer at another address from now on. Links that say the old one send what waits, and end.
    pub(super) fn move_to(&mut self, addr: SocketAddr) {
        self.me.addr = addr;
        self.links.clear();
    }

    /// Each link sends what waits, and ends.
    pub(super) fn close(self) {
        drop(self);
    }
}

/// The thread's end of a link.
struct LinkEnd {
    dialect: Dialect,
    me: Peer,
    keys: Option<Arc<Keyring>>,
    to: SocketAddr,
    idle: Duration,
    waiting: Arc<WaitingMessages>,
    messages: Receiver<Outbound>,
    /// Messages that wait for a late connection, of which the node was told.
    held: RefCell<VecDeque<Outbound>>,
}

impl LinkEnd {
    /// The next message; none once the link has nothing to do any more, or the other side has closed its connection.
    fn next(&self, connection: &mut Option<KeptConnection>) -> Option<Outbound> {
        let held = self.held.borrow_mut().pop_front();
        let next = held.or_else(|| gauges::wait(|| self.wait(connection)));
        next.iter().for_each(|_| self.waiting.take());
        next
    }

    fn wait(&self, connection: &mut Option<KeptConnection>) -> Option<Outbound> {
        let mut left = self.idle;
        loop {
            let span = left.min(self.idle / LOOKS);
            match self.messages.recv_timeout(span) {
                Ok(outbound) => return Some(outbound),
                Err(RecvTimeoutError::Disconnected) => return None,
                Err(RecvTimeoutError::Timeout) => left -= span,
            }
            let is_closed = connection.take_if(|(kept, _)| !is_open(kept.tcp())).is_some();
            // Where it may not retire, a message was given in this very moment.
            if (is_closed || left.is_zero()) && self.waiting.retire() {
                return None;
            }
        }
    }

    fn run(&self, events: &Post) {
        let (mut connection, mut text) = (None, Vec::new());
        let mut failed = None;
        while let Some((message, from)) = self.next(&mut connection) {
            text.clear();
            self.dialect.encode(&message, &self.me, self.to, &mut text);
            let told = Cell::new(false);
            let late = || self.tell_of_delay(events, &message, &told);
            if failed == Some(Obstacle::Silence) {
                // So will the next one be.
                late();
            }
            // A fault of ours in one delivery is no reason to lose what waits behind it.
            let delivery = catch_unwind(AssertUnwindSafe(|| {
                deliver((self.to, from), self.keys.as_deref(), &mut connection, &text, &late)
            }));
            failed = self.obstacle(delivery);
            let Some(obstacle) = failed else { continue };
            connection = None;
            let mut back = vec![message];
            if obstacle == Obstacle::Silence {
                self.tell_of_delay(events, &back[0], &told);
                back.extend(iter::from_fn(|| self.held.borrow_mut().pop_front()).map(|(held, _)| {
                    self.waiting.take();
                    held
                }));
            }
            for message in back {
                if events.send(Event::Undeliverable { to: self.to, message, obstacle }).is_err() {
                    return;
                }
            }
        }
    }

    /// What kept a message from being delivered.
    fn obstacle(&self, delivery: thread::Result<io::Result<()>>) -> Option<Obstacle> {
        match delivery {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                log::debug!("{} cannot be reached: {error}", self.to);
                Some(met(&error))
            }
            Err(panic) => {
                log::error!("a message to {} was not sent, by a fault of kadring: {}", self.to, said(&*panic));
                // It says nothing about the other side.
                Some(Obstacle::Crowd)
            }
        }
    }

    /// The connection is late: tells the node of each request that waits for it, the first of them once.
    fn tell_of_delay(&self, events: &Post, first: &Message, told: &Cell<bool>) {
        let tell = |message: &Message| {
            if matches!(message.body, Body::Request(_)) {
                let message = message.clone();
                // Where the node is gone this thread finds out by what it gives back.
                _ = events.send(Event::Undeliverable { to: self.to, message, obstacle: Obstacle::Delay });
            }
        };
        if !told.replace(true) {
            tell(first);
        }
        for outbound in self.messages.try_iter() {
            tell(&outbound.0);
            self.held.borrow_mut().push_back(outbound);
        }
    }
}

impl Drop for LinkEnd {
    /// However the thread ends, it takes no more.
    fn drop(&mut self) {
        self.waiting.0.store(WaitingMessages::RETIRED, SeqCst);
    }
}

/// Why a line could not be sent. What this peer lacks says nothing about the other side.
fn met(error: &io::Error) -> Obstacle {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Obstacle::Refused,
        _ if is_shortage(error) => Obstacle::Crowd,
        _ => Obstacle::Silence,
    }
}

/// Sends a line over the kept connection, or over a fresh one if there is none, it leaves from elsewhere or was closed.
/// A fresh one may be `late`, which is said again and again.
fn deliver(
    (to, from): (SocketAddr, Option<IpAddr>),
    keys: Option<&Keyring>,
    connection: &mut Option<KeptConnection>,
    text: &[u8],
    late: &dyn Fn(),
) -> io::Result<()> {
    fault::point(Role::Link);
    let is_usable = |(kept, leaves_from): &mut KeptConnection| {
        *leaves_from == from && kept.is_in_force(keys) && is_open(kept.tcp())
    };
    if let Some(kept) = connection.take_if(is_usable) {
        let (kept, _) = &*connection.insert(kept);
        if (&mut &*kept).write_all(text).is_ok() {
            return Ok(());
        }
    }
    let fresh = Stream::open(to, keys, LINK_LIMIT, || connect(to, from, late).map(Arc::new))?;
    let (fresh, _) = &*connection.insert((fresh, from));
    (&mut &*fresh).write_all(text)
}

fn connect(to: SocketAddr, from: Option<IpAddr>, late: &dyn Fn()) -> io::Result<TcpStream> {
    // Lines are short, and nothing tells whether they come: where no router cuts packets, they leave in small ones.
    let socket = outgoing(to, from, to.is_ipv6())?;
    socket.set_nonblocking(true)?;
    // Elsewhere the system waits as long as it thinks right.
    #[cfg(target_os = "linux")]
    setsockopt(&socket, TcpUserTimeout, &(LINK_UNCONFIRMED.as_millis() as u32))?;
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(Errno::EINPROGRESS as i32) => return Err(error),
        _ => {}
    }
    let glances = (LINK_LIMIT - LATE_CONNECTION).as_millis() / GLANCE.as_millis();
    let mut waits = iter::once(LATE_CONNECTION).chain(iter::repeat_n(GLANCE, glances as usize));
    while !is_decided(&socket, waits.next().ok_or(io::ErrorKind::TimedOut)?)? {
        late();
    }
    socket.take_error()?.map_or(Ok(()), Err)?;
    socket.set_nonblocking(false)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_write_timeout(Some(LINK_LIMIT))?;
    Ok(socket.into())
}

/// Whether it is known within `wait` what becomes of a connection.
fn is_decided(socket: &Socket, wait: Duration) -> io::Result<bool> {
    let mut ready = [PollFd::new(socket.as_fd(), PollFlags::POLLOUT)];
    let wait = PollTimeout::try_from(wait).map_err(io::Error::other)?;
    match poll(&mut ready, wait) {
        Err(Errno::EINTR) => Ok(false),
        polled => Ok(polled? > 0),
    }
}

/// Whether the other side still has the connection open. It sends nothing but its end.
fn is_open(stream: &TcpStream) -> bool {
    let look = || {
        stream.set_nonblocking(true)?;
        let end = stream.peek(&mut [0; 1]);
        stream.set_nonblocking(false)?;
        end
    };
    matches!(look(), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

#[cfg(test)]
mod tests;
