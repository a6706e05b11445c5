//! `link-N`: sends the ring's control lines to one other peer over a kept connection.
//!
//! The node never waits for a connection, so each peer it talks to has a thread here with a queue of its own. A message
//! that cannot be delivered comes back to the node as [`Event::Undeliverable`]: on the ring that is how a dead
//! neighbour is noticed at once, where its machine is up and refuses the connection. Nothing is ever received on these
//! connections (answers come over the other side's own link), so one that turns readable was closed. A link without work
//! for a while ends.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender};
use socket2::{Domain, Socket, Type};

use super::tcp_serve::IDLE_LIMIT;
use super::threads::{Roster, Worker, message as said};
use super::{Role, Shared, fault};
use crate::node::{Event, Obstacle};
use crate::peer::Peer;
use crate::wire::{Body, Message};

/// Messages that wait for one peer at most, and how many answers may be among them: strangers choose where those go.
const QUEUE: usize = 1024;
const QUEUE_ANSWERS: usize = 64;

/// Links at a time, and how many of them may have been opened to answer somebody. Strangers say where their answers go,
/// to ever new places if they like; the ring's own messages go to the few peers that it knows.
const MAX_LINKS: usize = 512;
const MAX_ANSWERING: usize = 256;

/// A peer that does not take a connection within this time cannot be reached.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// A link without work ends after this long, before the other side closes the connection.
const IDLE: Duration = IDLE_LIMIT.checked_div(2).expect("two is not zero");

/// One that was opened to answer somebody makes room sooner.
const IDLE_ANSWERING: Duration = Duration::from_secs(2);

/// The links of a peer, by address.
pub(super) struct Links {
    shared: Arc<Shared>,
    me: Peer,
    events: Sender<Event>,
    roster: Roster,
    links: HashMap<SocketAddr, Link>,
    next: u64,
}

struct Link {
    queue: Sender<Outbound>,
    thread: Worker,
    /// Opened to answer somebody.
    answering: bool,
}

/// A message, and the address of ours that it shall leave from.
type Outbound = (Message, Option<IpAddr>);

/// A connection, and the address of ours that it should leave from.
type Kept = (TcpStream, Option<IpAddr>);

impl Links {
    pub(super) fn new(shared: Arc<Shared>, me: Peer, events: Sender<Event>, roster: Roster) -> Self {
        Self { shared, me, events, roster, links: HashMap::new(), next: 0 }
    }

    /// Sends a message, without waiting; gives a request back if too many messages wait for this peer already. An answer
    /// is dropped then: whoever waits for it asks again, and its loss is no sign that nobody is there. It leaves from our
    /// address `from`, or from whichever the system chooses.
    pub(super) fn send(&mut self, to: SocketAddr, from: Option<IpAddr>, message: Message) -> Result<(), Box<Message>> {
        let mut message = message;
        let answering = !matches!(message.body, Body::Request(_));
        let refuse = |message| if answering { Ok(()) } else { Err(Box::new(message)) };
        if let Some(link) = self.links.get(&to) {
            // Nobody else sends here, so between this look and the sending nothing is added.
            if link.queue.len() >= if answering { QUEUE_ANSWERS } else { QUEUE } {
                return refuse(message);
            }
            match link.queue.send((message, from)) {
                Ok(()) => return Ok(()),
                // The link has ended for want of work.
                Err(SendError((refused, _))) => message = refused,
            }
        }
        if !self.has_room(answering) {
            log::debug!("no link to {to}: there are too many");
            return refuse(message);
        }
        match self.open(to, answering) {
            Ok(queue) => queue.send((message, from)).map_err(|SendError((refused, _))| Box::new(refused)),
            Err(error) => {
                log::warn!("no link to {to}: {error}");
                Err(Box::new(message))
            }
        }
    }

    /// Whether one more may be opened.
    fn has_room(&mut self, answering: bool) -> bool {
        self.links.retain(|_, link| !link.thread.is_finished());
        let answers = self.links.values().filter(|link| link.answering).count();
        self.links.len() < MAX_LINKS && !(answering && answers >= MAX_ANSWERING)
    }

    fn open(&mut self, to: SocketAddr, answering: bool) -> io::Result<&Sender<Outbound>> {
        self.next += 1;
        let number = self.next;
        // A bounded channel would take the room for all its messages at once, for each of hundreds of links.
        let (queue, messages) = crossbeam_channel::unbounded();
        let (shared, me, events) = (Arc::clone(&self.shared), self.me, self.events.clone());
        let idle = if answering { IDLE_ANSWERING } else { IDLE };
        let thread =
            self.roster.spawn_another(Role::Link, number, move || run(&shared, &me, to, idle, &messages, &events))?;
        Ok(&self.links.entry(to).insert_entry(Link { queue, thread, answering }).into_mut().queue)
    }

    /// Each link sends what waits, and ends.
    pub(super) fn close(self) {
        drop(self);
    }
}

fn run(
    shared: &Shared,
    me: &Peer,
    to: SocketAddr,
    idle: Duration,
    messages: &Receiver<Outbound>,
    events: &Sender<Event>,
) {
    let mut connection = None;
    let mut text = Vec::new();
    while let Ok((message, from)) = messages.recv_timeout(idle) {
        text.clear();
        shared.dialect.encode(&message, me, to, &mut text);
        // A fault of ours in one delivery is no reason to lose what waits behind it.
        let delivery = catch_unwind(AssertUnwindSafe(|| deliver(to, from, &mut connection, &text)));
        let obstacle = match delivery {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                log::debug!("{to} cannot be reached: {error}");
                let refused = error.kind() == io::ErrorKind::ConnectionRefused;
                Some(if refused { Obstacle::Refused } else { Obstacle::Silence })
            }
            Err(panic) => {
                log::error!("a message to {to} was not sent, by a fault of kadring: {}", said(&*panic));
                // It says nothing about the other side.
                Some(Obstacle::Crowd)
            }
        };
        if let Some(obstacle) = obstacle {
            connection = None;
            if events.send(Event::Undeliverable { to, message, obstacle }).is_err() {
                return;
            }
        }
    }
}

/// Sends a line over the kept connection, or over a fresh one if there is none, it leaves from elsewhere or was closed.
fn deliver(to: SocketAddr, from: Option<IpAddr>, connection: &mut Option<Kept>, text: &[u8]) -> io::Result<()> {
    fault::point(Role::Link);
    if let Some(kept) = connection.take_if(|(kept, leaves_from)| *leaves_from == from && is_open(kept)) {
        let (kept, _) = connection.insert(kept);
        if kept.write_all(text).is_ok() {
            return Ok(());
        }
    }
    let fresh = connect(to, from)?;
    fresh.set_nodelay(true)?;
    fresh.set_write_timeout(Some(CONNECT_LIMIT))?;
    connection.insert((fresh, from)).0.write_all(text)
}

fn connect(to: SocketAddr, from: Option<IpAddr>) -> io::Result<TcpStream> {
    let Some(from) = from else { return TcpStream::connect_timeout(&to, CONNECT_LIMIT) };
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, None)?;
    if let Err(error) = socket.bind(&SocketAddr::new(from, 0).into()) {
        log::debug!("{from} is not ours any longer: {error}");
        return TcpStream::connect_timeout(&to, CONNECT_LIMIT);
    }
    socket.connect_timeout(&to.into(), CONNECT_LIMIT)?;
    Ok(socket.into())
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
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_line_leaves_from_the_address_that_was_asked() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        let mut connection = None;
        let mut held = Vec::new();
        // The last one is not ours, so the system chooses.
        for from in [Some([127, 0, 0, 2]), None, Some([127, 0, 0, 3]), Some([192, 0, 2, 1])] {
            deliver(to, from.map(IpAddr::from), &mut connection, b"line\n").unwrap();
            let (stream, came_from) = listener.accept().unwrap();
            let expected = from.filter(|ip| ip[0] == 127).unwrap_or([127, 0, 0, 1]);
            assert_eq!(came_from.ip(), IpAddr::from(expected));
            held.push(stream);
        }
    }
}
