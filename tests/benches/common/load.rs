//! A load generator: `find_node` requests to one server, a fixed number of them outstanding.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use kadring::id::Id;
use kadring::peer::Peer;
use kadring::wire::{Body, Message, Request, RequestKind, Response, Sender, kad};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::batch::Batch;

/// Requests that wait for an answer at any time.
const OUTSTANDING: usize = 64;

/// After this long without any answer, what is outstanding is taken for lost and asked anew.
const PATIENCE: Duration = Duration::from_millis(50);

/// Asks one server, over and over.
pub(crate) struct Generator {
    socket: UdpSocket,
    batch: Batch,
    me: Peer,
    targets: Vec<Id>,
    next_magic: u64,
}

/// What came of a while of asking.
pub(crate) struct Answered {
    pub(crate) per_second: f64,
    pub(crate) lost: u64,
}

impl Generator {
    /// Will ask the server at `server`.
    pub(crate) fn new(server: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut rng = StdRng::seed_from_u64(1);
        let me = Peer::new(Id::random(&mut rng), socket.local_addr()?);
        let targets = (0..256).map(|_| Id::random(&mut rng)).collect();
        Ok(Self { socket, batch: Batch::new(), me, targets, next_magic: 1 << 50 })
    }

    /// Asks until `time` is over; anything that comes back counts.
    pub(crate) fn run(&mut self, time: Duration) -> io::Result<Answered> {
        let start = Instant::now();
        let (mut answers, mut lost) = (0, 0);
        self.ask(OUTSTANDING)?;
        while start.elapsed() < time {
            let came = match self.batch.receive(&self.socket) {
                Ok(()) => self.batch.datagrams().count(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    lost += OUTSTANDING as u64;
                    self.ask(OUTSTANDING)?;
                    continue;
                }
                Err(error) => return Err(error),
            };
            answers += came;
            self.ask(came)?;
        }
        let per_second = answers as f64 / start.elapsed().as_secs_f64();
        self.drain();
        Ok(Answered { per_second, lost })
    }

    /// Asks one by one until an answer is a whole one: `width` nodes. A peer tells a stranger less, so its pings are
    /// answered meanwhile.
    pub(crate) fn become_known(&mut self, width: usize) -> io::Result<()> {
        let deadline = Instant::now() + Duration::from_secs(30);
        while Instant::now() < deadline {
            self.ask(1)?;
            if self.batch.receive(&self.socket).is_err() {
                continue;
            }
            let messages: Vec<_> = self.batch.datagrams().filter_map(|bytes| kad::decode(bytes).ok()).collect();
            for message in messages {
                match message.body {
                    Body::Response(Response::Nodes(nodes)) if nodes.len() >= width => {
                        self.drain();
                        return Ok(());
                    }
                    Body::Request(Request::Ping) => {
                        let pong = Message::response(message.magic, RequestKind::Ping, Response::Node(self.me));
                        self.socket.send(&text(&pong))?;
                    }
                    _ => {}
                }
            }
        }
        Err(io::Error::new(io::ErrorKind::TimedOut, "the peer does not give whole answers"))
    }

    /// Time of one question and its answer, with nothing else outstanding.
    pub(crate) fn round_trip(&mut self) -> io::Result<Duration> {
        let start = Instant::now();
        self.ask(1)?;
        self.batch.receive(&self.socket)?;
        Ok(start.elapsed())
    }

    fn ask(&mut self, count: usize) -> io::Result<()> {
        let questions: Vec<_> = (0..count).map(|_| self.question()).collect();
        self.batch.send(&self.socket, &questions)
    }

    fn question(&mut self) -> Vec<u8> {
        self.next_magic += 1;
        let id = self.targets[self.next_magic as usize % self.targets.len()];
        let sender = Sender::member(self.me.id, self.me.addr);
        text(&Message::request(self.next_magic, sender, Request::FindNode { id }))
    }

    /// Drops answers that are still on their way.
    fn drain(&mut self) {
        while self.batch.receive(&self.socket).is_ok() {}
    }
}

fn text(message: &Message) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    kad::encode(message, &mut text);
    text
}
