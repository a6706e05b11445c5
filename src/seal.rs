//! What a network key does to a datagram, and the words that both ways of sealing share.
//!
//! A *network key* is a secret of 32 bytes that all peers of a network have, written as 64 hexadecimal digits. Each
//! datagram is one message of XChaCha20-Poly1305:
//!
//! ```text
//! 16 bytes   the session: chosen at random by the sealing process, once for each process
//!  8 bytes   the number of the datagram in its session, big-endian: with the session, the nonce
//!  n bytes   the text, encrypted
//! 16 bytes   the tag
//! ```
//! A nonce never comes twice: sessions differ, and so do the numbers in each. [`SeenDatagrams`] remembers the numbers
//! of each session, so a datagram that comes again is dropped, whatever the clocks say. It remembers for as long as it
//! lives: to a peer that was started again, or to another one than it was meant for, a recorded request is new *once*.
//! It gets an answer that its sender cannot read, and has no other effect: a peer that is entered in a routing table,
//! offers a block or is handed one has answered first, under a number that it had to decrypt. What answers a request of
//! ours bears its number and comes from where it went, once.
//!
//! Each TCP connection begins with the handshake `NNpsk0` of Noise (see `runtime/secrecy/stream.rs`). Both are bound to
//! [`CONTEXT`], so that what another program seals under the same key means nothing here.

use std::collections::BTreeMap;
use std::fmt;

use chacha20::{R20, hchacha};
use data_encoding::HEXLOWER_PERMISSIVE;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, MAX_TAG_LEN, NONCE_LEN, Nonce, UnboundKey};
use thiserror::Error;

/// Bytes of a key.
pub const KEY_BYTES: usize = 32;

/// What is sealed with everything: which program's it is, and in which way.
pub const CONTEXT: &[u8] = b"kadring network key 1";

/// Keys that a network may have at a time: each is tried on whatever comes.
pub const MAX_KEYS: usize = 8;

/// Bytes that a sealed datagram is longer than its text.
pub const OVERHEAD: usize = SESSION + NUMBER + MAX_TAG_LEN;

const SESSION: usize = 16;
const NUMBER: usize = 8;

/// Sessions that are remembered at most; the one that was silent longest goes first.
const MAX_SESSIONS: usize = 4096;

/// Each remembers this many words of 64 numbers: a datagram that so many others of its sender overtook is dropped.
const WORDS: u64 = 128;

/// The secret of a network. It is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct NetworkKey([u8; KEY_BYTES]);

impl fmt::Debug for NetworkKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NetworkKey")
    }
}

impl NetworkKey {
    /// The key of these bytes.
    pub fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes of the key.
    pub fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// What seals and opens one datagram. XChaCha20-Poly1305 is ChaCha20-Poly1305 under a key that HChaCha20 makes of
    /// this one and of the nonce's beginning (draft-irtf-cfrg-xchacha-03, section 2.3).
    fn cipher(&self, session: &[u8; SESSION], number: u64) -> (LessSafeKey, Nonce) {
        let mut nonce = [0; NONCE_LEN];
        nonce[NONCE_LEN - NUMBER..].copy_from_slice(&number.to_be_bytes());
        let key = hchacha::<R20>(&self.0.into(), &(*session).into());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &key).expect("it is as long as a key is");
        (LessSafeKey::new(key), Nonce::assume_unique_for_key(nonce))
    }

    /// Seals `text` as the datagram `number` of `session`. No number may come twice in a session.
    pub fn seal(&self, session: &[u8; SESSION], number: u64, text: &mut Vec<u8>) {
        let (cipher, nonce) = self.cipher(session, number);
        // It fails for texts of hundreds of gigabytes.
        let Ok(tag) = cipher.seal_in_place_separate_tag(nonce, Aad::from(CONTEXT), text) else { return text.clear() };
        text.splice(0..0, session.iter().copied().chain(number.to_be_bytes()));
        text.extend_from_slice(tag.as_ref());
    }

    /// The digits that [`Keys::parse`] reads.
    pub fn digits(&self) -> String {
        HEXLOWER_PERMISSIVE.encode(&self.0)
    }
}

/// Why a text names no keys. It never repeats what stands there.
#[derive(Clone, PartialEq, Eq, Error, Debug)]
pub enum KeyError {
    /// Nothing but empty lines and comments.
    #[error("there is no key; `kadring keygen` makes one")]
    None,
    /// More than can be tried on each datagram.
    #[error("there are more than {MAX_KEYS} keys")]
    TooMany,
    /// A line is no key.
    #[error("line {line} is no key: a key is 64 hexadecimal digits, as `kadring keygen` prints it")]
    Line {
        /// Which, counted from 1.
        line: usize,
    },
}

/// The keys of a network. The first comes before the others where something is begun; all open.
#[derive(Clone)]
pub struct Keys(Vec<NetworkKey>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let several = if self.0.len() == 1 { "" } else { "s" };
        write!(f, "{} network key{several}", self.0.len())
    }
}

impl Keys {
    /// Reads keys, a line each. Empty lines and lines that begin with `#` are passed over.
    ///
    /// # Errors
    /// [`KeyError`] says which line is wrong.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let mut keys = Vec::new();
        for (at, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let bytes = HEXLOWER_PERMISSIVE.decode(line.as_bytes()).ok().and_then(|bytes| bytes.try_into().ok());
            keys.push(NetworkKey(bytes.ok_or(KeyError::Line { line: at + 1 })?));
        }
        match keys.len() {
            0 => Err(KeyError::None),
            1..=MAX_KEYS => Ok(Self(keys)),
            _ => Err(KeyError::TooMany),
        }
    }

    /// The key to speak under where it is not known which keys the other peer has.
    pub fn first(&self) -> &NetworkKey {
        &self.0[0]
    }

    /// The keys that open.
    pub fn all(&self) -> impl Iterator<Item = &NetworkKey> {
        self.0.iter()
    }

    /// Opens a datagram into `text`, whatever was there, and tells which key did. None if it was sealed with no key of
    /// these, or was changed.
    pub fn open(&self, datagram: &[u8], text: &mut Vec<u8>) -> Option<(DatagramStamp, NetworkKey)> {
        let (session, rest) = datagram.split_first_chunk::<SESSION>()?;
        let (number, sealed) = rest.split_first_chunk::<NUMBER>()?;
        let stamp = DatagramStamp { session: *session, number: u64::from_be_bytes(*number) };
        let (opened, key) = self.0.iter().find_map(|key| {
            text.clear();
            text.extend_from_slice(sealed);
            let (cipher, nonce) = key.cipher(session, stamp.number);
            cipher.open_in_place(nonce, Aad::from(CONTEXT), text).ok().map(|text| (text.len(), key))
        })?;
        text.truncate(opened);
        Some((stamp, key.clone()))
    }
}

/// Which datagram of whose.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct DatagramStamp {
    session: [u8; SESSION],
    number: u64,
}

/// The datagrams that came before.
#[derive(Default)]
pub struct SeenDatagrams {
    sessions: BTreeMap<[u8; SESSION], DatagramSession>,
    turn: u64,
}

struct DatagramSession {
    /// Its highest number that came.
    top: u64,
    /// Of the numbers up to there, which came: a bit each, in a ring.
    came: Box<[u64; WORDS as usize]>,
    /// When one came last.
    turn: u64,
}

impl SeenDatagrams {
    /// Whether this one comes for the first time, as far as is remembered.
    pub fn is_new(&mut self, stamp: DatagramStamp) -> bool {
        self.turn += 1;
        let turn = self.turn;
        if self.sessions.len() >= MAX_SESSIONS && !self.sessions.contains_key(&stamp.session) {
            let silent = self.sessions.iter().min_by_key(|(_, session)| session.turn).map(|(of, _)| *of);
            silent.map(|of| self.sessions.remove(&of));
        }
        let fresh = || DatagramSession { top: stamp.number, came: Box::new([0; WORDS as usize]), turn };
        let session = self.sessions.entry(stamp.session).or_insert_with(fresh);
        session.turn = turn;
        session.take(stamp.number)
    }
}

impl DatagramSession {
    fn take(&mut self, number: u64) -> bool {
        let (word, top) = (number / 64, self.top / 64);
        if word + WORDS <= top {
            return false;
        }
        if word > top {
            let first = (top + 1).max(word.saturating_sub(WORDS - 1));
            (first..=word).for_each(|word| self.came[(word % WORDS) as usize] = 0);
        }
        self.top = self.top.max(number);
        let (came, bit) = (&mut self.came[(word % WORDS) as usize], 1 << (number % 64));
        let new = *came & bit == 0;
        *came |= bit;
        new
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SESSION_OF: [u8; SESSION] = [7; SESSION];

    fn keys(numbers: &[u8]) -> Keys {
        let lines: Vec<String> = numbers.iter().map(|&number| NetworkKey([number; KEY_BYTES]).digits()).collect();
        Keys::parse(&lines.join("\n")).expect("they are keys")
    }

    proptest! {
        #[test]
        fn what_is_sealed_is_opened_by_whoever_has_the_key_and_nobody_else(
            text in proptest::collection::vec(any::<u8>(), 0..1300), number: u64,
        ) {
            let (mut datagram, mut opened) = (text.clone(), Vec::new());
            keys(&[1, 2]).first().seal(&SESSION_OF, number, &mut datagram);
            prop_assert_eq!(datagram.len(), text.len() + OVERHEAD);
            let stamp = DatagramStamp { session: SESSION_OF, number };
            prop_assert_eq!(keys(&[3, 1]).open(&datagram, &mut opened), Some((stamp, keys(&[1]).first().clone())));
            prop_assert_eq!(&opened, &text);
            prop_assert_eq!(keys(&[2, 3]).open(&datagram, &mut opened), None);
        }

        #[test]
        fn what_was_changed_or_cut_anywhere_is_not_opened(
            text in proptest::collection::vec(any::<u8>(), 0..100), at: prop::sample::Index, bit in 0..8_u8,
        ) {
            let (mut datagram, mut opened) = (text, Vec::new());
            keys(&[1]).first().seal(&SESSION_OF, 1, &mut datagram);
            let at = at.index(datagram.len());
            prop_assert_eq!(keys(&[1]).open(&datagram[..at], &mut opened), None);
            datagram[at] ^= 1 << bit;
            prop_assert_eq!(keys(&[1]).open(&datagram, &mut opened), None);
        }

        #[test]
        fn each_number_is_new_once_in_any_order_and_never_when_it_is_much_too_late(
            numbers in proptest::collection::vec(0..20_000_u64, 1..400),
        ) {
            let (mut seen, mut came, mut top) = (SeenDatagrams::default(), std::collections::BTreeSet::new(), 0);
            for number in numbers {
                let new = seen.is_new(DatagramStamp { session: SESSION_OF, number });
                prop_assert!(!(new && came.contains(&number)), "{number} came twice");
                prop_assert!(new || came.contains(&number) || number + 64 * (WORDS - 1) <= top, "{number} is new");
                came.insert(number);
                top = top.max(number);
            }
        }
    }

    /// With the key and the nonce of draft-irtf-cfrg-xchacha-03, appendix A.3. The crate chacha20poly1305 made this of
    /// it.
    #[test]
    fn what_is_sealed_is_what_xchacha20_poly1305_makes_of_it() {
        let (mut datagram, session) = (b"Ladies and Gentlemen of the class of '99".to_vec(), *b"@ABCDEFGHIJKLMNO");
        let keys = Keys::parse("808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f").expect("a key");
        keys.first().seal(&session, u64::from_be_bytes(*b"PQRSTUVW"), &mut datagram);
        let sealed = [
            "404142434445464748494a4b4c4d4e4f5051525354555657",
            "bd6d179d3e83d43b9576579493c0e939572a1700252bfaccbed2902c21396cbb731c7f1b0b4aa644",
            "7f0fcf26c8eeefdb217c0ac2bfa01b87",
        ];
        assert_eq!(HEXLOWER_PERMISSIVE.encode(&datagram), sealed.concat());
    }

    #[test]
    fn sessions_have_numbers_of_their_own_and_the_one_that_is_silent_is_forgotten() {
        let mut seen = SeenDatagrams::default();
        let stamp = |session: u64, number| {
            let mut of = SESSION_OF;
            of[..8].copy_from_slice(&session.to_be_bytes());
            DatagramStamp { session: of, number }
        };
        for session in 0..2 * MAX_SESSIONS as u64 {
            assert!(seen.is_new(stamp(session, 1)));
            assert!(!seen.is_new(stamp(session, 1)));
            seen.is_new(stamp(0, session + 2));
        }
        assert_eq!(seen.sessions.len(), MAX_SESSIONS);
        assert!(!seen.is_new(stamp(0, 2 * MAX_SESSIONS as u64)), "it spoke all the time");
    }

    #[test]
    fn a_text_that_names_no_keys_is_refused_without_repeating_it() {
        let good = NetworkKey([1; KEY_BYTES]).digits();
        let error = |text: &str| Keys::parse(text).expect_err("no keys");
        assert_eq!(error("\n# only a comment\n"), KeyError::None);
        assert_eq!(error(&format!("{good}\n{}", &good[1..])), KeyError::Line { line: 2 });
        assert_eq!(error(&format!("{good}\n").repeat(MAX_KEYS + 1)), KeyError::TooMany);
        assert!(!error("secret").to_string().contains("secret"));
        assert!(Keys::parse(&format!("# new\r\n{}\r\n", good.to_uppercase())).is_ok());
        assert_eq!(format!("{:?} {:?}", keys(&[1]), NetworkKey([1; KEY_BYTES])), "1 network key NetworkKey");
        assert_eq!(format!("{:?}", keys(&[1, 2])), "2 network keys");
    }
}
