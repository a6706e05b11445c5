//! Whether a peer has others. Its user hears when it has none any more, and when it has one again. One stranger that
//! comes and goes can bring about both as often as it likes: within a while each is told once, and at its end what is
//! true then, if that was not told last.

use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, after, never};
use kadring::node::Notice;
use kadring::overlay::RouteNotice;
use kadring::peer::Peer;

/// Within this time each is told once.
const TOLD_ONCE_IN: Duration = Duration::from_secs(60);

/// The lines that are told in that time: that it is alone, and that it is so no longer, or the reverse.
const LINES: u8 = 2;

/// The peers that this one has, by what the notices tell.
pub(super) struct PeersSeen {
    peers: usize,
    /// It has lost the last one, or found none.
    alone: bool,
    /// What its user was told last.
    told_alone: bool,
    /// The lines told lately, and when that is over; never, while none was.
    lines: u8,
    due: Receiver<Instant>,
    /// The peer that answered first when it was alone.
    found: Option<Peer>,
    leaving: bool,
}

impl PeersSeen {
    /// Of a peer whose user was told, or not, that it found no peer to join.
    pub(super) fn new(alone: bool) -> Self {
        Self { peers: 0, alone, told_alone: alone, lines: 0, due: never(), found: None, leaving: false }
    }

    /// Takes a notice in; what its user is to hear then.
    pub(super) fn hear(&mut self, notice: &Notice) -> Option<String> {
        match notice {
            Notice::Joined { peers, .. } => self.peers = *peers,
            // Its user heard that: that it is in after all is to be heard too.
            Notice::Route { route: RouteNotice::JoinRefused { .. } } if self.peers == 0 => {
                (self.alone, self.told_alone) = (true, true);
            }
            Notice::PeerUp { peer } => {
                self.peers += 1;
                if std::mem::take(&mut self.alone) {
                    self.found = Some(*peer);
                }
            }
            Notice::PeerDown { .. } => {
                self.alone |= self.peers == 1 && !self.leaving;
                self.peers = self.peers.saturating_sub(1);
            }
            _ => {}
        }
        if self.lines == LINES { None } else { self.news() }
    }

    /// When there may be something to tell that was not told at once.
    pub(super) fn due(&self) -> Receiver<Instant> {
        self.due.clone()
    }

    /// What is to be told now that it is due.
    pub(super) fn line(&mut self) -> Option<String> {
        (self.lines, self.due) = (0, never());
        self.news()
    }

    /// What is true and was not told.
    fn news(&mut self) -> Option<String> {
        if self.alone == self.told_alone || self.leaving && self.alone {
            return None;
        }
        if self.lines == 0 {
            self.due = after(TOLD_ONCE_IN);
        }
        (self.told_alone, self.lines) = (self.alone, self.lines + 1);
        Some(match self.found.filter(|_| !self.alone) {
            Some(peer) => format!("this peer is alone no longer: {peer} answers"),
            None => "no other peer answers any more: this peer is alone, and keeps asking".to_owned(),
        })
    }

    /// This peer leaves: whom it loses meanwhile is nothing to tell of.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }
}

#[cfg(test)]
mod tests {
    use kadring::id::Id;

    use super::*;

    fn up(n: u16) -> Notice {
        Notice::PeerUp { peer: Peer::new(Id::ZERO, ([127, 0, 0, 1], n).into()) }
    }

    fn down(n: u16) -> Notice {
        Notice::PeerDown { peer: Peer::new(Id::ZERO, ([127, 0, 0, 1], n).into()) }
    }

    /// Which of the notices are told of.
    fn told(company: &mut PeersSeen, notices: &[Notice]) -> Vec<usize> {
        (0..notices.len()).filter(|&at| company.hear(&notices[at]).is_some()).collect()
    }

    #[test]
    fn the_last_peer_that_goes_and_the_first_that_comes_back_are_told_of_once() {
        let joined = Notice::Joined { peers: 2, shut_out: 0 };
        let notices = [up(1), up(2), joined, down(1), down(2), up(1), up(2), down(2)];
        assert_eq!(told(&mut PeersSeen::new(false), &notices), [4, 5]);
        // Of a peer that found nobody, the first that it finds.
        let nobody = [Notice::Joined { peers: 0, shut_out: 0 }, up(1), up(2)];
        assert_eq!(told(&mut PeersSeen::new(true), &nobody), [1]);
        // And of one that a ring did not let in at first.
        let refused = Notice::Route { route: RouteNotice::JoinRefused { reason: String::new() } };
        assert_eq!(told(&mut PeersSeen::new(false), &[refused, nobody[0].clone(), up(1), up(2)]), [2]);
    }

    #[test]
    fn a_stranger_that_comes_and_goes_a_thousand_times_is_told_of_once_each_way_and_the_truth_in_the_end() {
        let mut company = PeersSeen::new(false);
        let flaps: Vec<Notice> = (0..1000).flat_map(|_| [up(1), down(1)]).collect();
        assert_eq!(told(&mut company, &flaps), [1, 2], "alone, and alone no longer");
        let is_alone = |line: Option<String>| line.map(|line| line.contains("alone, and keeps asking"));
        assert_eq!(is_alone(company.line()), Some(true), "it came to that at last");
        assert_eq!(told(&mut company, &flaps), [0], "and once more");
        assert_eq!(is_alone(company.line()), Some(true));
        assert_eq!(told(&mut company, &[up(1), down(1), up(1)]), [0]);
        assert_eq!(is_alone(company.line()), None, "what was told is true");
        assert_eq!(told(&mut company, &[down(1), up(1)]), [0, 1], "calm again");
    }

    #[test]
    fn the_first_of_a_network_and_one_that_leaves_say_nothing_of_it() {
        assert_eq!(told(&mut PeersSeen::new(false), &[Notice::Joined { peers: 0, shut_out: 0 }, up(1)]), [0; 0]);
        let mut leaving = PeersSeen::new(false);
        assert!(leaving.hear(&up(1)).is_none());
        leaving.leave();
        assert!(leaving.hear(&down(1)).is_none());
        assert!(leaving.line().is_none());
    }
}
