//! What happens at a peer, as lines of JSON for a file or a program.
//!
//! A line that cannot be written, because the disk is full, is lost, and so is what the peer tells while a slow reader
//! keeps this waiting; as soon as that is over, an event says how many are missing.

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use crossbeam_channel::Receiver;

use super::json;
use crate::network::NetworkName;
use crate::node::Notice;
use crate::peer::Peer;
use crate::runtime::since_1970;

/// Writes events until their reader is gone.
pub struct EventLog<W> {
    to: W,
    /// Whether a network key seals the peer's traffic, and the name of its network.
    network: (bool, NetworkName),
    /// Lines that could not be written, and that the reader was not told of.
    lost: u64,
    /// The last line was cut short.
    torn: bool,
    closed: bool,
}

impl<W: Write> EventLog<W> {
    /// Writes to `to` what happens at a peer of this network: whether a key seals its traffic, and its name.
    pub fn new(to: W, network: (bool, NetworkName)) -> Self {
        Self { to, network, lost: 0, torn: false, closed: false }
    }

    /// Tells what happens at the peer `me` until it has ended.
    pub fn run(&mut self, me: &Peer, notices: &Receiver<Notice>) {
        self.line(&json::watching(me, since_1970()));
        for notice in notices {
            self.tell(me, &notice, since_1970());
        }
    }

    fn tell(&mut self, me: &Peer, notice: &Notice, now: Duration) {
        if let Some(line) = json::event(notice, now) {
            self.line(&line);
        }
        if let Notice::Joined { .. } = notice {
            self.line(&json::ready(&json::Announced::new(me.id, me.addr.port(), self.network).text(), now));
        }
    }

    fn line(&mut self, line: &str) {
        let before = self.lost;
        let told = before == 0 || self.write(&json::missed(before, since_1970()));
        if told {
            self.lost = 0;
        }
        if !told || !self.write(line) {
            self.lost += 1;
            if before == 0 && !self.closed {
                log::warn!("events are lost: they cannot be written now");
            }
        }
    }

    /// Writes a whole line; whether it is written.
    fn write(&mut self, line: &str) -> bool {
        if self.closed {
            return false;
        }
        let begin = if self.torn { "\n" } else { "" };
        let whole = format!("{begin}{line}\n");
        let (mut left, mut error) = (whole.as_bytes(), None);
        while !left.is_empty() && error.is_none() {
            match self.to.write(left) {
                Ok(0) => error = Some(io::Error::from(ErrorKind::WriteZero)),
                Ok(count) => left = &left[count..],
                Err(again) if again.kind() == ErrorKind::Interrupted => {}
                Err(other) => error = Some(other),
            }
        }
        // The newline before a line that is begun anew ends the torn one.
        self.torn =
            !left.is_empty() && (left.len() < whole.len() - begin.len() || (self.torn && left.len() == whole.len()));
        let error = error.or_else(|| self.to.flush().err());
        self.closed = error.as_ref().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe);
        error.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    /// A disk with room for so many bytes.
    #[derive(Default)]
    struct Disk(Vec<u8>, usize);

    impl Write for &mut Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let room = bytes.len().min(self.1);
            self.1 -= room;
            self.0.extend_from_slice(&bytes[..room]);
            if room == 0 { Err(ErrorKind::StorageFull.into()) } else { Ok(room) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_loses_lines_and_the_next_says_how_many() {
        let me = Peer::new(Id::ZERO, "127.0.0.1:7000".parse().unwrap());
        let up = Notice::PeerUp { peer: me };
        let line = json::event(&up, Duration::ZERO).unwrap();
        let mut disk = Disk(Vec::new(), line.len() + 10);
        let mut log = EventLog::new(&mut disk, (false, NetworkName::default()));
        for _ in 0..3 {
            log.tell(&me, &up, Duration::ZERO);
        }
        log.to.1 = 10_000;
        log.tell(&me, &up, Duration::ZERO);
        let text = String::from_utf8(disk.0).unwrap();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!((lines[0], lines[1], lines[3]), (&*line, &line[..9], &*line), "{text}");
        assert!(lines[2].contains("\"missed\"") && lines[2].contains("\"missed\":2"), "{text}");
        assert_eq!(lines.len(), 4);
    }
}
