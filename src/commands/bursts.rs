//! Notices that come once for each block: thousands at a join, or where a disk rots. The first is told as it is. Those
//! that follow it soon are counted, and their number is told; the events tell each.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never};
use kadring::node::Notice;
use log::Level;

/// What was counted is told after this long.
const COUNTED_FOR: Duration = Duration::from_secs(2);

/// The notices of one sort.
struct Burst {
    /// How the sort is told from others, at what level it is told, and what became of so many more blocks.
    is_of: fn(&Notice) -> bool,
    level: Level,
    what: &'static str,
    /// When what was counted is told; never while nothing of the sort came lately.
    due: Receiver<Instant>,
    lately: bool,
    more: u64,
}

/// The notices of all sorts that come for each block.
pub(super) struct NoticeBursts([Burst; 2]);

impl NoticeBursts {
    pub(super) fn new() -> Self {
        let of = |is_of, level, what| Burst { is_of, level, what, due: never(), lately: false, more: 0 };
        Self([
            of(|notice| matches!(notice, Notice::BlockRepaired { .. }), Level::Info, "repaired"),
            of(
                |notice| matches!(notice, Notice::BlockDamaged { .. }),
                Level::Warn,
                "damaged or gone, to be fetched anew",
            ),
        ])
    }

    /// A notice comes. Whether it is told now; else it is counted.
    pub(super) fn tells(&mut self, notice: &Notice) -> bool {
        let Some(burst) = self.0.iter_mut().find(|burst| (burst.is_of)(notice)) else { return true };
        if std::mem::replace(&mut burst.lately, true) {
            burst.more += 1;
            return false;
        }
        burst.due = after(COUNTED_FOR);
        true
    }

    /// When something that was counted is told next.
    pub(super) fn due(&self) -> [&Receiver<Instant>; 2] {
        [&self.0[0].due, &self.0[1].due]
    }

    /// What was counted of a sort that is due, if anything was.
    pub(super) fn line(&mut self, sort: usize) -> Option<(Level, String)> {
        let burst = &mut self.0[sort];
        let more = std::mem::take(&mut burst.more);
        burst.lately = more > 0;
        burst.due = if burst.lately { after(COUNTED_FOR) } else { never() };
        let blocks = if more == 1 { "block" } else { "blocks" };
        burst.lately.then(|| (burst.level, format!("{more} more {blocks} {}", burst.what)))
    }
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use kadring::id::Key;
    use kadring::peer::Peer;

    use super::*;

    #[test]
    fn of_thousands_of_blocks_the_first_is_told_and_the_others_are_counted_until_it_is_calm() {
        let (key, to) = (Key::ZERO, Peer::new(Key::ZERO, SocketAddr::from((Ipv4Addr::LOCALHOST, 1))));
        let mut bursts = NoticeBursts::new();
        let repaired = Notice::BlockRepaired { key, to };
        let told = (0..3000).filter(|_| bursts.tells(&repaired)).count();
        assert_eq!(told, 1);
        assert!(bursts.tells(&Notice::BlockDamaged { key }), "what is of another sort is told too");
        assert!(bursts.tells(&Notice::PeerUp { peer: to }) && bursts.tells(&Notice::PeerUp { peer: to }));
        assert_eq!(bursts.line(0), Some((Level::Info, "2999 more blocks repaired".to_owned())));
        assert!(!bursts.tells(&repaired), "it is not calm yet");
        assert_eq!(bursts.line(0), Some((Level::Info, "1 more block repaired".to_owned())));
        assert_eq!((bursts.line(0), bursts.line(1)), (None, None));
        assert!(bursts.tells(&repaired), "calm again");
    }
}
