//! What goes around a message: nothing, or what a network key seals.

use kadring::seal::Keys;
use rand::TryRng;
use rand::rngs::SysRng;

/// How one end of a network says what it says.
pub(crate) struct Wrap {
    keys: Option<Keys>,
    /// Begins the nonces; each end has its own.
    session: [u8; 16],
    next: u64,
}

impl Wrap {
    /// Under the network keys of this text, or open.
    pub(crate) fn new(keys: Option<&str>) -> Self {
        let keys = keys.map(|text| Keys::parse(text).expect("a key of 64 digits"));
        let mut session = [0; 16];
        SysRng.try_fill_bytes(&mut session).expect("the system gives randomness");
        Self { keys, session, next: 0 }
    }

    /// The message as it travels.
    pub(crate) fn seal(&mut self, mut text: Vec<u8>) -> Vec<u8> {
        if let Some(keys) = &self.keys {
            self.next += 1;
            keys.first().seal(&self.session, self.next, &mut text);
        }
        text
    }

    /// The message that came; none where it is not ours to read.
    pub(crate) fn open(&self, datagram: &[u8]) -> Option<Vec<u8>> {
        let Some(keys) = &self.keys else { return Some(datagram.to_vec()) };
        let mut text = Vec::new();
        keys.open(datagram, &mut text).map(|_| text)
    }

    /// Whether messages travel as they are.
    pub(crate) fn is_open(&self) -> bool {
        self.keys.is_none()
    }
}
