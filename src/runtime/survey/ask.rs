//! How one peer is asked: by the thread that calls, over sockets of its own, with a limit to each wait.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::time::Duration;

use socket2::SockRef;

use super::Surveyed;
use crate::id::Id;
use crate::network::NetworkName;
use crate::overlay::OverlayKind;
use crate::peer::Peer;
use crate::runtime::bounded_lines::{BoundedLines, StreamLine, UntilDeadline, is_timeout, uninterrupted};
use crate::runtime::clock::Clock;
use crate::runtime::secrecy::{Keyring, Stream};
use crate::runtime::sockets;
use crate::time::Time;
use crate::wire::ring::{RingRequest, RingResponse};
use crate::wire::{Body, Dialect, MAX_CONTROL_LINE, MAX_DATAGRAM_RECEIVED, Message, Request, Response, Sender};

/// An answer may take this long.
pub(super) const ANSWER_LIMIT: Duration = Duration::from_millis(500);

/// Times that a datagram is sent at most.
pub(super) const TIMES_SENT: u32 = 3;

/// Places near which each Kademlia peer is asked whom it knows: itself, and as many halves, quarters, … of the space.
const ASKED_PLACES: usize = 8;

/// A guest of the network, which asks as `id`.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) id: Id,
    /// All addresses of this machine: peers name others that are elsewhere.
    pub(super) any: SocketAddr,
    pub(super) network: NetworkName,
    pub(super) keys: Option<Arc<Keyring>>,
}

/// A question that goes out by a datagram.
struct SurveyQuestion {
    to: SocketAddr,
    dialect: Dialect,
    request: Request,
}

/// Characters of what says no peer that are shown.
const SHOWN: usize = 60;

/// Stands for a datagram that is sealed under no key of ours, or under none.
const UNSEALED: &[u8] = b"something that is not sealed under the network key";

/// What came on questions.
#[derive(Default)]
struct SurveyAnswers {
    /// By the questions' places.
    right: BTreeMap<usize, Response>,
    /// From where a refusal came, or something that is no message of a peer's, and what it says.
    strange: Option<(SocketAddr, String)>,
}

impl SurveyAnswers {
    /// This came from `from`. The first of the questions went out under `magic`, the others under the numbers that
    /// follow.
    fn hear(&mut self, questions: &[SurveyQuestion], magic: u64, from: SocketAddr, text: &[u8]) {
        let (mut asked, mut understood) = (false, false);
        for (at, question) in questions.iter().enumerate().filter(|(_, question)| question.to == from) {
            asked = true;
            let Ok(message) = question.dialect.decode(text) else { continue };
            understood = true;
            match message.body {
                _ if message.magic != magic + at as u64 => {}
                Body::Response(response) => drop(self.right.insert(at, response)),
                Body::Error(reason) => self.refuse(from, reason, questions),
                Body::Request(_) => {}
            }
        }
        if asked && !understood {
            let said: String = String::from_utf8_lossy(text).chars().take(SHOWN).collect();
            self.strange = Some((from, format!("it is no peer, and says {said:?}")));
        }
    }

    /// A question was refused. A peer that is asked in both dialects refuses one of them for that alone.
    fn refuse(&mut self, from: SocketAddr, reason: String, questions: &[SurveyQuestion]) {
        let of_dialect = questions.iter().any(|question| question.dialect.other_asked() == reason);
        if !of_dialect || self.strange.is_none() {
            self.strange = Some((from, reason));
        }
    }
}

/// What answers a ping first, if anything does.
pub(super) enum PingAnswer {
    Peer(Peer, OverlayKind),
    /// Something that is no peer, or a peer that does not talk to strangers of this network, and what it says.
    Strange(SocketAddr, String),
    Nobody,
}

impl Guest {
    /// Which peer answers first at one of `targets`, and of which of `overlays` it is. `magic` names the questions; the
    /// numbers that follow do as well.
    pub(super) fn find(&self, targets: &[SocketAddr], overlays: &[OverlayKind], magic: u64) -> io::Result<PingAnswer> {
        let ways: Vec<_> = targets.iter().flat_map(|&to| overlays.iter().map(move |&of| (to, of))).collect();
        let pings = ways.iter().map(|&(to, of)| SurveyQuestion { to, dialect: of.dialect(), request: Request::Ping });
        let SurveyAnswers { right, strange } = self.exchange(&pings.collect::<Vec<_>>(), 1, magic)?;
        let mut peers = right.into_iter().filter_map(|(at, answer)| {
            answer.node().map(|peer| PingAnswer::Peer(Peer::new(peer.id, ways[at].0), ways[at].1))
        });
        let strange = strange.map_or(PingAnswer::Nobody, |(addr, said)| PingAnswer::Strange(addr, said));
        Ok(peers.next().unwrap_or(strange))
    }

    /// What the peer at `addr` says of itself and of those it knows; none if it does not answer.
    pub(super) fn ask(&self, overlay: OverlayKind, addr: SocketAddr, magic: u64) -> io::Result<Option<Surveyed>> {
        match overlay {
            OverlayKind::Ring => self.ask_ring(addr, magic),
            OverlayKind::Kademlia => self.ask_kademlia(addr, magic),
        }
    }

    /// Asks a peer who it is, and then whom it knows.
    fn ask_kademlia(&self, addr: SocketAddr, magic: u64) -> io::Result<Option<Surveyed>> {
        let PingAnswer::Peer(peer, _) = self.find(&[addr], &[OverlayKind::Kademlia], magic)? else { return Ok(None) };
        let places = std::iter::once(peer.id).chain((0..ASKED_PLACES).map(|bit| peer.id.flip_bit(bit)));
        let question = |id| SurveyQuestion { to: addr, dialect: Dialect::Kademlia, request: Request::FindNode { id } };
        let questions: Vec<SurveyQuestion> = places.map(question).collect();
        let answers = self.exchange(&questions, questions.len(), magic + 1)?;
        let mut surveyed = Surveyed::new(peer, true);
        for answer in answers.right.into_values() {
            if let Response::Nodes(peers) = answer {
                surveyed.knows.extend(peers);
            }
        }
        Ok(Some(surveyed))
    }

    /// Pings a peer over TCP, where an answer may be of any length. It answers over a connection of its own.
    fn ask_ring(&self, addr: SocketAddr, magic: u64) -> io::Result<Option<Surveyed>> {
        let listener = match addr {
            SocketAddr::V4(_) => TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => TcpListener::bind((Ipv6Addr::UNSPECIFIED, 0)),
        }?;
        SockRef::from(&listener).set_read_timeout(Some(ANSWER_LIMIT))?;
        let dial = || TcpStream::connect_timeout(&addr, ANSWER_LIMIT).map(Arc::new);
        let stream = Stream::open(addr, self.keys.as_deref(), ANSWER_LIMIT, dial)?;
        let here = sockets::at_port(stream.tcp().local_addr()?, listener.local_addr()?.port());
        let ping = RingRequest::Ping { predecessors: Vec::new(), successors: Vec::new(), quiet: true };
        (&stream).write_all(&self.text(here, addr, Dialect::Ring, Request::Ring(ping), magic))?;
        let clock = Clock::start();
        let limit = clock.now() + ANSWER_LIMIT;
        // Any program may connect; a program that says something else is not the peer that was asked.
        while clock.now() < limit {
            let (answering, _) = listener.accept()?;
            let answering = Arc::new(answering);
            let Ok(answering) = Stream::accept(answering, self.keys.as_deref(), ANSWER_LIMIT) else { continue };
            let line =
                BoundedLines::default().next(UntilDeadline::new(&answering, clock, limit), |_| MAX_CONTROL_LINE)?;
            let StreamLine::Text(line) = line else { continue };
            if let Some((Response::Ring(RingResponse::Pong { peer, predecessors, successors }), _)) =
                answer(Dialect::Ring, &line).filter(|(_, of)| *of == magic)
            {
                let knows = predecessors.iter().chain(&successors).copied().collect();
                let peer = Peer::new(peer.id, addr);
                return Ok(Some(Surveyed { predecessors, successors, knows, ..Surveyed::new(peer, true) }));
            }
        }
        Ok(None)
    }

    /// Asks `questions` by datagrams until `enough` of them are answered; those without an answer are asked again. The
    /// answers come by the questions' places.
    fn exchange(&self, questions: &[SurveyQuestion], enough: usize, magic: u64) -> io::Result<SurveyAnswers> {
        let socket = sockets::bind_udp(self.any)?;
        let (bound, clock) = (socket.local_addr()?, Clock::start());
        let here = sockets::advertised(bound, questions.iter().map(|question| question.to));
        let mut answers = SurveyAnswers::default();
        for round in 1..=TIMES_SENT {
            let open = questions.iter().zip(magic..).enumerate().filter(|(at, _)| !answers.right.contains_key(at));
            let sent = open.flat_map(|(_, (question, magic))| {
                let &SurveyQuestion { to, dialect, ref request } = question;
                let mut text = self.text(here, to, dialect, request.clone(), magic);
                let again = self.keys.as_ref().map(|keyring| keyring.seal(to, &mut text)).unwrap_or_default();
                let to = if sockets::is_dual(bound) { sockets::mapped(to) } else { to };
                std::iter::once(text).chain(again).map(|text| socket.send_to(&text, to)).collect::<Vec<_>>()
            });
            // One way that is closed says nothing of the others.
            if let Some(closed) = sent.reduce(|one, other| one.or(other)) {
                closed?;
            }
            let limit = Time::ZERO + ANSWER_LIMIT * round;
            while answers.right.len() < enough
                && let Some((from, text)) = self.receive(&socket, limit - clock.now())?
            {
                answers.hear(questions, magic, from, &text);
            }
        }
        Ok(answers)
    }

    /// The next datagram that was sealed as ours are, opened, and where it came from; none after `limit`.
    fn receive(&self, socket: &UdpSocket, limit: Duration) -> io::Result<Option<(SocketAddr, Vec<u8>)>> {
        let Some((from, datagram)) = next(socket, limit)? else { return Ok(None) };
        let Some(keyring) = &self.keys else { return Ok(Some((from, datagram))) };
        let mut text = Vec::new();
        // What cannot be opened comes from no peer that has the key, and answers nothing.
        let opened = keyring.open(&datagram, &mut text).is_some();
        Ok(Some((from, if opened { text } else { UNSEALED.to_vec() })))
    }

    fn text(&self, here: SocketAddr, to: SocketAddr, dialect: Dialect, request: Request, magic: u64) -> Vec<u8> {
        let sender = Sender { guest: true, network: self.network, ..Sender::member(self.id, here) };
        let mut text = Vec::new();
        dialect.encode(&Message::request(magic, sender, request), &sender.peer, to, &mut text);
        text
    }
}

/// The next datagram and where it came from; none after `limit`.
fn next(socket: &UdpSocket, limit: Duration) -> io::Result<Option<(SocketAddr, Vec<u8>)>> {
    if limit.is_zero() {
        return Ok(None);
    }
    socket.set_read_timeout(Some(limit))?;
    let mut room = [0; MAX_DATAGRAM_RECEIVED];
    match uninterrupted(|| socket.recv_from(&mut room)) {
        Ok((count, from)) => Ok(Some((sockets::canonical(from), room[..count].to_vec()))),
        Err(error) if is_timeout(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The answer that a text is, and the magic of the question.
fn answer(dialect: Dialect, text: &[u8]) -> Option<(Response, u64)> {
    let message = dialect.decode(text).ok()?;
    match message.body {
        Body::Response(response) => Some((response, message.magic)),
        Body::Request(_) | Body::Error(_) => None,
    }
}
