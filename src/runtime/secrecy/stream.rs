//! A connection, sealed under the network key where there is one.
//!
//! ```text
//! who connects   48 bytes   the first message of Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s
//! the other      48 bytes   the second
//! both           <length in 2 bytes, big-endian> and so many bytes, again and again: what is said, in sealed pieces
//! ```
//! A client that cannot make the first message is answered nothing, nor is a message that was recorded and comes again.
//! A peer that was started since, or another than it was meant for, answers it once with a second message, of random
//! bytes, and a client that sent it can say nothing further.

use std::cell::RefCell;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use snow::{Builder, HandshakeState, TransportState};

use super::Keyring;
use crate::runtime::bounded_lines::UntilDeadline;
use crate::runtime::clock::Clock;
use crate::seal::{CONTEXT, NetworkKey};

const PATTERN: &str = "Noise_NNpsk0_25519_ChaChaPoly_BLAKE2s";

/// Bytes of each message of the handshake.
const HANDSHAKE: usize = 48;

/// Bytes of a length, and of a tag.
const HEAD: usize = 2;
const TAG: usize = 16;

/// Bytes that one sealed piece holds at most.
const PIECE: usize = u16::MAX as usize - TAG;

/// Bytes that are received at a time at first; a longer piece gets more.
const ROOM: usize = 4096;

/// A connection that one thread uses. Others may shut it down.
pub(in crate::runtime) struct Stream {
    tcp: Arc<TcpStream>,
    sealed: Option<RefCell<Sealed>>,
}

struct Sealed {
    noise: TransportState,
    /// The network key that both sides showed.
    key: NetworkKey,
    /// What came: of it, `came` is yet to be opened.
    raw: Vec<u8>,
    came: std::ops::Range<usize>,
    /// What was opened: of it, `opened` is yet to be taken.
    text: Vec<u8>,
    opened: std::ops::Range<usize>,
    leaving: Vec<u8>,
}

impl Stream {
    /// Of a connection to `to` that `dial` makes: it begins to speak. The other side has `limit` to answer. A peer that
    /// closes it unanswered may have another of the keys: it is dialled again for each that is listed.
    ///
    /// # Errors
    /// What `dial` says, or that the other side did not answer.
    pub(in crate::runtime) fn open(
        to: SocketAddr,
        keys: Option<&Keyring>,
        limit: Duration,
        dial: impl Fn() -> io::Result<Arc<TcpStream>>,
    ) -> io::Result<Self> {
        let Some(keys) = keys else { return Ok(Self { tcp: dial()?, sealed: None }) };
        let mut unanswered = None;
        for key in keys.keys_for(to) {
            let plain = Self { tcp: dial()?, sealed: None };
            match plain.begin(&key, limit) {
                Ok(stream) => {
                    keys.heard(to, key);
                    return Ok(stream);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                    unanswered = Some(error.kind());
                }
                Err(error) => return Err(error),
            }
        }
        let why = "it closed the connection unanswered: it may have another network key";
        Err(io::Error::new(unanswered.unwrap_or(io::ErrorKind::Other), why))
    }

    fn begin(self, key: &NetworkKey, limit: Duration) -> io::Result<Self> {
        let mut noise = handshake(key, Builder::build_initiator)?;
        let mut message = [0; HANDSHAKE];
        noise.write_message(&[], &mut message).map_err(broken)?;
        (&self).write_all(&message)?;
        self.receive(&mut message, limit)?;
        noise.read_message(&message, &mut []).map_err(broken)?;
        self.sealed(noise, key)
    }

    /// Of a connection that came: the other side begins to speak, within `limit`. Without the key it is told nothing.
    pub(in crate::runtime) fn accept(tcp: Arc<TcpStream>, keys: Option<&Keyring>, limit: Duration) -> io::Result<Self> {
        let plain = Self { tcp, sealed: None };
        let Some(keys) = keys else { return Ok(plain) };
        let mut message = [0; HANDSHAKE];
        plain.receive(&mut message, limit)?;
        for key in keys.keys().all() {
            let mut noise = handshake(key, Builder::build_responder)?;
            if noise.read_message(&message, &mut []).is_ok() {
                let begun = message.first_chunk().expect("it is longer");
                if !keys.is_new(*begun) {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, "a recorded connection was sent again"));
                }
                noise.write_message(&[], &mut message).map_err(broken)?;
                (&plain).write_all(&message)?;
                return plain.sealed(noise, key);
            }
        }
        Err(io::Error::new(io::ErrorKind::InvalidData, "whoever connected has not the network key"))
    }

    fn receive(&self, message: &mut [u8], limit: Duration) -> io::Result<()> {
        let clock = Clock::start();
        UntilDeadline::new(self, clock, clock.now() + limit).read_exact(message)
    }

    fn sealed(self, noise: HandshakeState, key: &NetworkKey) -> io::Result<Self> {
        let noise = noise.into_transport_mode().map_err(broken)?;
        let (raw, none) = (vec![0; ROOM], Vec::new);
        let key = key.clone();
        let sealed = Sealed { noise, key, raw, came: 0..0, text: none(), opened: 0..0, leaving: none() };
        Ok(Self { sealed: Some(RefCell::new(sealed)), ..self })
    }

    /// The connection itself: to shut it down, to set limits, or to look whether it lives.
    pub(in crate::runtime) fn tcp(&self) -> &Arc<TcpStream> {
        &self.tcp
    }

    /// Whether the key is still one of those in force under which the connection is sealed, if it is.
    pub(in crate::runtime) fn is_in_force(&self, keys: Option<&Keyring>) -> bool {
        let listed =
            |(sealed, keys): (&RefCell<Sealed>, &Keyring)| keys.keys().all().any(|key| *key == sealed.borrow().key);
        self.sealed.as_ref().zip(keys).is_none_or(listed)
    }

    /// Whether what is said is sealed: bytes cannot go past this.
    pub(in crate::runtime) fn is_sealed(&self) -> bool {
        self.sealed.is_some()
    }

    /// Bytes that came and were not taken yet, those of a piece that has not come to its end among them.
    pub(in crate::runtime) fn held(&self) -> usize {
        self.sealed.as_ref().map_or(0, |sealed| {
            let sealed = sealed.borrow();
            sealed.came.len() + sealed.opened.len()
        })
    }

    /// Waits once for bytes, and gives those that can be taken; none if a piece has not come to its end yet.
    pub(in crate::runtime) fn read_some(&self, room: &mut [u8]) -> io::Result<Option<usize>> {
        match &self.sealed {
            None => (&*self.tcp).read(room).map(Some),
            Some(sealed) => sealed.borrow_mut().read(&self.tcp, room),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(count) = self.read_some(room)? {
                return Ok(count);
            }
        }
    }
}

impl Write for &Stream {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        match &self.sealed {
            None => (&*self.tcp).write(text),
            Some(sealed) => sealed.borrow_mut().write(&self.tcp, text),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sealed {
    fn read(&mut self, mut tcp: &TcpStream, room: &mut [u8]) -> io::Result<Option<usize>> {
        let count = self.take(room)?;
        if count > 0 || room.is_empty() {
            return Ok(Some(count));
        }
        self.raw.copy_within(self.came.clone(), 0);
        self.came = 0..self.came.len();
        let wanted = self.wanted().unwrap_or(0).max(ROOM);
        if self.raw.len() < wanted {
            self.raw.resize(wanted, 0);
        }
        match tcp.read(&mut self.raw[self.came.end..])? {
            0 if self.came.is_empty() => return Ok(Some(0)),
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => self.came.end += count,
        }
        self.take(room).map(|count| (count > 0).then_some(count))
    }

    /// Gives what was opened, else what the next piece holds. Zero: none is here to its end.
    fn take(&mut self, room: &mut [u8]) -> io::Result<usize> {
        while self.opened.is_empty() {
            let Some(wanted) = self.wanted().filter(|wanted| *wanted <= self.came.len()) else { return Ok(0) };
            let piece = &self.raw[self.came.start..][HEAD..wanted];
            self.came.start += wanted;
            // A piece that fits is opened where it is wanted, and copied no more. An empty one is none.
            if room.len() >= piece.len() {
                match self.noise.read_message(piece, room).map_err(broken)? {
                    0 => continue,
                    count => return Ok(count),
                }
            }
            self.text.resize(self.text.len().max(piece.len()), 0);
            self.opened = 0..self.noise.read_message(piece, &mut self.text).map_err(broken)?;
        }
        let count = room.len().min(self.opened.len());
        room[..count].copy_from_slice(&self.text[self.opened.start..][..count]);
        self.opened.start += count;
        Ok(count)
    }

    /// Bytes of the piece that comes, with its length; none while that is unknown.
    fn wanted(&self) -> Option<usize> {
        let head = self.raw[self.came.clone()].first_chunk::<HEAD>()?;
        Some(HEAD + usize::from(u16::from_be_bytes(*head)))
    }

    /// Sends the beginning of `text` as one piece, all of it or an error.
    fn write(&mut self, mut tcp: &TcpStream, text: &[u8]) -> io::Result<usize> {
        let text = &text[..text.len().min(PIECE)];
        let sealed = text.len() + TAG;
        self.leaving.resize(self.leaving.len().max(HEAD + sealed), 0);
        self.leaving[..HEAD].copy_from_slice(&(sealed as u16).to_be_bytes());
        self.noise.write_message(text, &mut self.leaving[HEAD..]).map_err(broken)?;
        tcp.write_all(&self.leaving[..HEAD + sealed])?;
        Ok(text.len())
    }
}

type Build<'a> = fn(Builder<'a>) -> Result<HandshakeState, snow::Error>;

fn handshake<'a>(key: &'a NetworkKey, build: Build<'a>) -> io::Result<HandshakeState> {
    let builder = Builder::new(PATTERN.parse().map_err(broken)?).psk(0, key.bytes()).map_err(broken)?;
    builder.prologue(CONTEXT).and_then(build).map_err(broken)
}

fn broken(error: snow::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("sealed under no network key of this peer: {error}"))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;
    use crate::runtime::secrecy::new_key;

    const LIMIT: Duration = Duration::from_secs(5);

    fn ring(keys: &[&NetworkKey]) -> Keyring {
        let lines: Vec<String> = keys.iter().map(|key| key.digits()).collect();
        Keyring::of_text(&lines.join("\n"), "a test").expect("keys")
    }

    /// Both ends of a connection, as they take each other.
    fn ends(one: &Keyring, other: &Keyring) -> (io::Result<Stream>, io::Result<Stream>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = listener.local_addr().expect("bound");
        std::thread::scope(|scope| {
            let accepting = scope.spawn(move || accept_of(&listener, other));
            let opened = Stream::open(to, Some(one), LIMIT, || TcpStream::connect(to).map(Arc::new));
            (opened, accepting.join().expect("it does not panic"))
        })
    }

    /// What becomes of the next connection that comes.
    fn accept_of(listener: &TcpListener, keys: &Keyring) -> io::Result<Stream> {
        Stream::accept(Arc::new(listener.accept().expect("it is there").0), Some(keys), LIMIT)
    }

    #[test]
    fn what_is_said_arrives_as_it_is_whatever_its_length() {
        let (old, new) = (new_key().expect("a key"), new_key().expect("a key"));
        let (one, other) = ends(&ring(&[&old]), &ring(&[&new, &old]));
        let (one, other) = (one.expect("it has the key"), other.expect("it has the key"));
        let lens = [0, 1, 100, ROOM, PIECE - 1, PIECE, PIECE + 1, 1 << 20];
        let said: Vec<Vec<u8>> = lens.map(|len| (0..len).map(|at| (at / 3) as u8).collect()).into();
        let all = said.concat();
        std::thread::scope(|scope| {
            scope.spawn(move || {
                said.iter().for_each(|text| (&one).write_all(text).expect("it is taken"));
            });
            let mut heard = Vec::new();
            (&other).read_to_end(&mut heard).expect("it is opened");
            assert!(heard == all);
        });
    }

    #[test]
    fn who_has_another_key_is_not_taken_and_told_nothing() {
        let (one, other) = ends(&ring(&[&new_key().expect("a key")]), &ring(&[&new_key().expect("a key")]));
        let error = other.err().expect("another key");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = one.err().expect("another key");
        assert!(error.to_string().contains("another network key"), "{error}");
    }

    #[test]
    fn who_has_only_the_second_key_is_dialled_again_under_it_and_at_once_the_next_time() {
        let (old, new) = (new_key().expect("a key"), new_key().expect("a key"));
        let (sleeper, rotating) = (ring(&[&old]), ring(&[&new, &old]));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let to = listener.local_addr().expect("bound");
        std::thread::scope(|scope| {
            let came = scope.spawn(|| [(); 3].map(|()| accept_of(&listener, &sleeper).is_ok()));
            for _ in 0..2 {
                Stream::open(to, Some(&rotating), LIMIT, || TcpStream::connect(to).map(Arc::new))
                    .expect("it has the old key");
            }
            assert_eq!(came.join().expect("it does not panic"), [false, true, true]);
        });
    }

    #[test]
    fn a_beginning_that_was_recorded_gets_not_one_byte_of_an_answer() {
        let key = ring(&[&new_key().expect("a key")]);
        let mut recorded = [0; HANDSHAKE];
        let mut noise = handshake(key.keys().first(), Builder::build_initiator).expect("a key");
        noise.write_message(&[], &mut recorded).expect("it fits");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        for time in 0..10 {
            let mut tcp = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
            let accepted = Arc::new(listener.accept().expect("it is there").0);
            tcp.write_all(&recorded).expect("it is open");
            assert_eq!(Stream::accept(accepted, Some(&key), LIMIT).is_ok(), time == 0);
            let mut answer = Vec::new();
            let _ = tcp.read_to_end(&mut answer);
            assert_eq!(answer.len(), if time == 0 { HANDSHAKE } else { 0 });
        }
    }

    #[test]
    fn a_piece_that_was_changed_ends_the_connection() {
        let key = new_key().expect("a key");
        let (one, other) = ends(&ring(&[&key]), &ring(&[&key]));
        let (one, other) = (one.expect("it has the key"), other.expect("it has the key"));
        (&**one.tcp()).write_all(&[&[0, 20][..], &[7; 20]].concat()).expect("it is open");
        let error = (&other).read(&mut [0; 9]).expect_err("nobody sealed it");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    /// Puts `one`'s sealed pieces of these texts in a row, and how much is sealed by the end of each.
    fn pieces(one: &Stream, texts: &[Vec<u8>]) -> (Vec<u8>, Vec<usize>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let tap = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (mut tapped, mut sealed, mut ends) = (listener.accept().expect("it is there").0, Vec::new(), Vec::new());
        let mut sealing = one.sealed.as_ref().expect("it has a key").borrow_mut();
        for text in texts {
            assert_eq!(sealing.write(&tap, text).expect("it is taken"), text.len());
            ends.push(ends.last().unwrap_or(&0) + HEAD + text.len() + TAG);
        }
        drop(tap.shutdown(std::net::Shutdown::Write));
        tapped.read_to_end(&mut sealed).expect("it is read");
        (sealed, ends)
    }

    /// A target for a fuzzer too: what comes over a connection is changed and cut in whatever way.
    #[test]
    fn of_what_was_sealed_and_then_changed_or_cut_anywhere_the_pieces_before_that_arrive_and_nothing_after() {
        let key = new_key().expect("a key");
        type Case = (Vec<(u8, u16)>, Vec<(u16, u8)>, u8, u8);
        bolero::check!().with_iterations(300).with_type::<Case>().for_each(|(said, changes, cut, room)| {
            let (one, other) = ends(&ring(&[&key]), &ring(&[&key]));
            let (one, other) = (one.expect("it has the key"), other.expect("it has the key"));
            let said = said.iter().take(4).map(|(byte, len)| vec![*byte; usize::from(*len) % 6000]);
            let texts: Vec<Vec<u8>> = said.collect();
            let (sealed, ends) = pieces(&one, &texts);
            let mut sent = sealed.clone();
            for (at, byte) in changes {
                let at = usize::from(*at) % (sent.len() + 1);
                if byte % 3 == 0 { sent.truncate(at) } else { drop(sent.splice(at..(at + 1).min(sent.len()), [*byte])) }
            }
            let intact = sealed.iter().zip(&sent).take_while(|(sealed, sent)| sealed == sent).count();
            let whole = ends.iter().take_while(|end| **end <= intact).count();
            other.tcp().set_nonblocking(true).expect("possible");
            let (mut heard, mut room) = (Vec::new(), vec![0; 1 + usize::from(*room) * 40]);
            let mut hear = || -> io::Result<()> {
                loop {
                    match other.read_some(&mut room)? {
                        Some(0) => return Ok(()),
                        count => heard.extend_from_slice(&room[..count.unwrap_or(0)]),
                    }
                }
            };
            let mut end = Ok(());
            for chunk in sent.chunks(1 + usize::from(*cut) * 40) {
                (&**one.tcp()).write_all(chunk).expect("it is open");
                end = hear();
                if end.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::WouldBlock) {
                    break;
                }
            }
            if end.as_ref().err().is_none_or(|error| error.kind() == io::ErrorKind::WouldBlock) {
                one.tcp().shutdown(std::net::Shutdown::Write).expect("it is open");
                other.tcp().set_nonblocking(false).expect("possible");
                end = hear();
            }
            assert!(heard == texts[..whole].concat(), "{} bytes of {whole} pieces", heard.len());
            let is_all = whole.checked_sub(1).map_or(0, |last| ends[last]) == sent.len();
            assert_eq!(end.is_ok(), is_all, "{end:?} after {whole} pieces of {}", texts.len());
        });
    }
}
