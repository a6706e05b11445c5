//! Whether a peer has others. Its user hears when it has none any more, and when it has one again.

use kadring::node::Notice;

/// The peers that this one has, by what the notices tell.
pub(super) struct PeersSeen {
    peers: usize,
    /// Its user was told that it is alone.
    alone: bool,
    leaving: bool,
}

impl PeersSeen {
    /// Of a peer whose user was told, or not, that it found nobody to join.
    pub(super) fn new(alone: bool) -> Self {
        Self { peers: 0, alone, leaving: false }
    }

    /// Takes a notice in; what its user is to hear then.
    pub(super) fn hear(&mut self, notice: &Notice) -> Option<String> {
        match notice {
            Notice::Joined { peers, .. } => self.peers = *peers,
            Notice::PeerUp { peer } => {
                self.peers += 1;
                if std::mem::take(&mut self.alone) {
                    return Some(format!("this peer is alone no longer: {peer} answers"));
                }
            }
            Notice::PeerDown { .. } => {
                let last = self.peers == 1;
                self.peers = self.peers.saturating_sub(1);
                if last && !self.leaving {
                    self.alone = true;
                    return Some("no other peer answers any more: this peer is alone, and keeps asking".to_owned());
                }
            }
            _ => {}
        }
        None
    }

    /// This peer leaves: whom it loses meanwhile is nothing to tell of.
    pub(super) fn leave(&mut self) {
        self.leaving = true;
    }
}

#[cfg(test)]
mod tests {
    use kadring::id::Id;
    use kadring::peer::Peer;

    use super::*;

    fn up(n: u16) -> Notice {
        Notice::PeerUp { peer: Peer::new(Id::ZERO, ([127, 0, 0, 1], n).into()) }
    }

    fn down(n: u16) -> Notice {
        Notice::PeerDown { peer: Peer::new(Id::ZERO, ([127, 0, 0, 1], n).into()) }
    }

    /// Which of the notices are told of.
    fn told(mut company: PeersSeen, notices: &[Notice]) -> Vec<usize> {
        (0..notices.len()).filter(|&at| company.hear(&notices[at]).is_some()).collect()
    }

    #[test]
    fn the_last_peer_that_goes_and_the_first_that_comes_back_are_told_of_once() {
        let joined = Notice::Joined { peers: 2, shut_out: 0 };
        let notices = [up(1), up(2), joined, down(1), down(2), up(1), up(2), down(2), down(1)];
        assert_eq!(told(PeersSeen::new(false), &notices), [4, 5, 8]);
        // Of a peer that found nobody, the first that it finds.
        assert_eq!(told(PeersSeen::new(true), &[Notice::Joined { peers: 0, shut_out: 0 }, up(1), up(2)]), [1]);
    }

    #[test]
    fn the_first_of_a_network_and_one_that_leaves_say_nothing_of_it() {
        assert_eq!(told(PeersSeen::new(false), &[Notice::Joined { peers: 0, shut_out: 0 }, up(1)]), [0; 0]);
        let mut leaving = PeersSeen::new(false);
        assert!(leaving.hear(&up(1)).is_none());
        leaving.leave();
        assert!(leaving.hear(&down(1)).is_none());
    }
}
