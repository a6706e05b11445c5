//! `link-N`: sends the ring's control lines to one other peer over a kept connection.
//!
//! The node never waits for a connection, so each peer it talks to has a thread here with a queue of its own. A message
//! that cannot be delivered comes back to the node as [`Event::Undeliverable`]: on the ring that is how a dead
//! neighbour is noticed at once, where its machine is up and refuses the connection. Nothing is ever received on these
//! connections (answers come over the other side's own link), so one that turns readable was closed. A link without work
//! for a while ends.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, SendError, Sender};

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
    queue: Sender<Message>,
    thread: Worker,
    /// Opened to answer somebody.
    answering: bool,
}

impl Links {
    pub(super) fn new(shared: Arc<Shared>, me: Peer, events: Sender<Event>, roster: Roster) -> Self {
        Self { shared, me, events, roster, links: HashMap::new(), next: 0 }
    }

    /// Sends a message, without waiting; gives a request back if too many messages wait for this peer already. An answer
    /// is dropped then: whoever waits for it asks again, and its loss is no sign that nobody is there.
    pub(super) fn send(&mut self, to: SocketAddr, message: Message) -> Result<(), Box<Message>> {
        let mut message = message;
        let answering = !matches!(message.body, Body::Request(_));
        let refuse = |message| if answering { Ok(()) } else { Err(Box::new(message)) };
        if let Some(link) = self.links.get(&to) {
            // Nobody else sends here, so between this look and the sending nothing is added.
            if link.queue.len() >= if answering { QUEUE_ANSWERS } else { QUEUE } {
                return refuse(message);
            }
            match link.queue.send(message) {
                Ok(()) => return Ok(()),
                // The link has ended for want of work.
                Err(SendError(refused)) => message = refused,
            }
        }
        if !self.has_room(answering) {
            log::debug!("no link to {to}: there are too many");
            return refuse(message);
        }
        match self.open(to, answering) {
            Ok(queue) => queue.send(message).map_err(|SendError(refused)| Box::new(refused)),
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

    fn open(&mut self, to: SocketAddr, answering: bool) -> io::Result<&Sender<Message>> {
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
    messages: &Receiver<Message>,
    events: &Sender<Event>,
) {
    let mut connection = None;
    let mut text = Vec::new();
    while let Ok(message) = messages.recv_timeout(idle) {
        text.clear();
        shared.dialect.encode(&message, me, to, &mut text);
        // A fault of ours in one delivery is no reason to lose what waits behind it.
        let delivery = catch_unwind(AssertUnwindSafe(|| deliver(to, &mut connection, &text)));
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

/// Sends a line over the kept connection, or over a fresh one if there is none or it was closed.
fn deliver(to: SocketAddr, connection: &mut Option<TcpStream>, text: &[u8]) -> io::Result<()> {
    fault::point(Role::Link);
    if let Some(kept) = connection.take_if(|kept| is_open(kept)) {
        let kept = connection.insert(kept);
        if kept.write_all(text).is_ok() {
            return Ok(());
        }
    }
    let fresh = TcpStream::connect_timeout(&to, CONNECT_LIMIT)?;
    fresh.set_nodelay(true)?;
    fresh.set_write_timeout(Some(CONNECT_LIMIT))?;
    connection.insert(fresh).write_all(text)
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
