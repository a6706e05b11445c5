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
use super::process::Usage;
use super::wrap::Wrap;

/// Requests that wait for an answer at any time.
const OUTSTANDING: usize = 64;

/// After this long without any answer, what is outstanding is taken for lost and asked anew.
const PATIENCE: Duration = Duration::from_millis(50);

/// Different questions.
const REQUESTS: usize = 1024;

/// The first magic: of sixteen digits, as are all that follow in any time worth measuring.
const FIRST_MAGIC: u64 = 1_000_000_000_000_000;

/// Asks one server, over and over.
pub(crate) struct Generator {
    socket: UdpSocket,
    batch: Batch,
    me: Peer,
    requests: Vec<Vec<u8>>,
    next_magic: u64,
    wrap: Wrap,
}

/// What came of a while of asking.
pub(crate) struct Answered {
    pub(crate) per_second: f64,
    /// Microseconds of the server's processor time for each.
    pub(crate) cost: f64,
    pub(crate) lost: u64,
}

impl Generator {
    /// Will ask the server at `server`, in the open.
    pub(crate) fn new(server: SocketAddr) -> io::Result<Self> {
        Self::wrapped(server, Wrap::new(None))
    }

    /// Will ask the server at `server` in such words.
    pub(crate) fn wrapped(server: SocketAddr, wrap: Wrap) -> io::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0")?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let mut rng = StdRng::seed_from_u64(1);
        let me = Peer::new(Id::random(&mut rng), socket.local_addr()?);
        let requests = (0..REQUESTS).map(|_| request(me, Id::random(&mut rng))).collect();
        Ok(Self { socket, batch: Batch::new(), me, requests, next_magic: FIRST_MAGIC, wrap })
    }

    /// Asks until `time` is over; anything that comes back counts. `usage` tells what the server costs.
    pub(crate) fn run(&mut self, time: Duration, usage: impl Fn() -> io::Result<Usage>) -> io::Result<Answered> {
        let cost_before = usage()?.cpu_of_threads;
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
        let cost = (usage()?.cpu_of_threads - cost_before) * 1e6 / answers.max(1) as f64;
        self.drain();
        Ok(Answered { per_second, cost, lost })
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
            let texts: Vec<_> = self.batch.datagrams().filter_map(|bytes| self.wrap.open(bytes)).collect();
            for message in texts.iter().filter_map(|text| kad::decode(text).ok()) {
                match message.body {
                    Body::Response(Response::Nodes(nodes)) if nodes.len() >= width => {
                        self.drain();
                        return Ok(());
                    }
                    Body::Request(Request::Ping) => {
                        let pong = Message::response(message.magic, RequestKind::Ping, Response::Node(self.me));
                        self.socket.send(&self.wrap.seal(text(&pong)))?;
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

    /// Asks `count` questions, each with a magic of its own.
    fn ask(&mut self, count: usize) -> io::Result<()> {
        let first = self.next_magic as usize % REQUESTS;
        let questions = &mut self.requests[first..(first + count).min(REQUESTS)];
        let asked = questions.len();
        for question in questions.iter_mut() {
            self.next_magic += 1;
            put_magic(self.next_magic, question);
        }
        if self.wrap.is_open() {
            self.batch.send(&self.socket, questions)?;
        } else {
            let sealed: Vec<_> = questions.iter().map(|question| self.wrap.seal(question.clone())).collect();
            self.batch.send(&self.socket, &sealed)?;
        }
        if asked < count { self.ask(count - asked) } else { Ok(()) }
    }

    /// Drops answers that are still on their way.
    fn drain(&mut self) {
        while self.batch.receive(&self.socket).is_ok() {}
    }
}

/// The question for the peers nearest to `id`, without the spaces by which a stranger pays for its whole answer.
fn request(me: Peer, id: Id) -> Vec<u8> {
    text(&Message::request(FIRST_MAGIC, Sender::member(me.id, me.addr), Request::FindNode { id }))
        .trim_ascii_end()
        .to_vec()
}

/// Writes `magic` over the one in `question`, which has as many digits: writing all anew would cost the asking core
/// more than answering costs an echo.
fn put_magic(magic: u64, question: &mut [u8]) {
    let (start, end) = (br#"{"magic":"#.len(), br#"{"magic":"#.len() + 16);
    let mut rest = magic;
    for digit in question[start..end].iter_mut().rev() {
        *digit = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
}

fn text(message: &Message) -> Vec<u8> {
    let mut text = Vec::with_capacity(256);
    kad::encode(message, &mut text);
    text
}
