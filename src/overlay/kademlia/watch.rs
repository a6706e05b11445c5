//! Which peers look after which, and how a death gets about (after SWIM: Das, Gupta and Motivala 2002).
//!
//! A peer pings those contacts to which it is among the [`WATCHERS`] nearest, its *wards*. So each peer has that many
//! watchers, be they its own nearest or not, and however large the network is, a peer sends as few pings. No watcher is
//! appointed: each peer sees from its own table whether it is to watch, and takes over where a nearer peer is silent. A
//! watcher that finds its ward dead tells those that may know it, and each of them pings it once before it believes
//! that. Any other peer near the dead one tells the watchers. And a peer that comes to know of a death tells its own
//! wards that may know the dead one too, in the pings that they get anyway: one death each time, however many there
//! are. Where many die at a time, watchers with their wards, there is a [roll call](RollCall). And where so many die
//! all the time that there is more news than can be handed on, each death is told to half as many: lives are short
//! there, hardly any table is full, and what a lookup meets that is dead costs it a round trip or two.

use std::collections::VecDeque;
use std::ops::Range;
use std::time::Duration;

use super::bucket::{Bucket, Contact};
use super::upkeep::WARD_PING_EVERY;
use super::{K, Kademlia, QuestionPurpose};
use crate::config::{FIRST_TIMEOUT, WIDTH};
use crate::id::Id;
use crate::overlay::roll_call::RollCall;
use crate::overlay::{Effect, Incoming};
use crate::patience;
use crate::peer::Peer;
use crate::recent::Recent;
use crate::time::Time;
use crate::wire::Request;

/// Peers that look after each: both have to go for a death to go unnoticed.
const WATCHERS: usize = 2;

/// The nearest contacts of the dead that its watcher tells. Each of as many has room for it in its bucket, whatever the
/// size of the network, and those further off mostly have not.
pub(super) const TOLD: usize = 2 * K;

/// A peer that was found dead, or that a contact says is gone, is not pinged for this long because others name it.
const BURIED: Duration = Duration::from_secs(60);

/// Once a watcher told of a death, those that come to know of it leave the telling to it for this long.
const HEARD: Duration = Duration::from_secs(10);

/// A ward that answered this recently is not pinged.
const WARD_FRESH_FOR: Duration = Duration::from_secs(1);

/// Deaths that wait to be handed on to the wards; more are left to others.
const HANDED_ON: usize = 8;

/// The nearest contacts of the dead that its watcher tells where more wait.
const TOLD_OF_MANY: usize = K;

/// The dead that are remembered, at least.
const DEAD_KEPT: usize = 256;

/// Pings in a row that a contact may leave without an answer; then it is gone. The first goes out once, the others
/// again and again, so that hardly any peer is given up by chance.
const FAILURES: u8 = 2;

/// The same where others found it gone already; each goes out once, unless this peer hears badly.
const FAILURES_TOLD: u8 = 1;

/// What each contact that lives and was silent at first adds to this peer's deafness, for each that answers at once
/// takes one away: what is heard from nine of ten is heard well.
const DEAFER: u8 = 8;

/// The deafest that this peer takes itself to be: where a tenth of all datagrams gets lost, few stretches of luck are
/// long enough that it forgets that.
const DEAFEST: u8 = 4 * DEAFER;

/// How long a peer is silent before those that look after it call it dead: at least, for they may ping it at once, and
/// where nothing gets lost at most.
pub(in crate::overlay) fn silence() -> [Duration; 2] {
    let pings =
        |first| patience::silence_after(first, patience::ONCE) + patience::silence_after(first, patience::CHECK);
    [pings(patience::MIN_DECISION), WARD_PING_EVERY + pings(FIRST_TIMEOUT)]
}

/// What is known of the dead, and of this peer's own hearing.
#[derive(Default)]
pub(super) struct DeathWatch {
    /// When a peer was found dead, or a stranger was told to be.
    buried: Recent<Peer, Time, DEAD_KEPT>,
    /// Peers of which a watcher, theirs or ours, said that they are gone: the others are told too.
    told: Recent<Peer, Time, DEAD_KEPT>,
    /// The dead that those further off have yet to be told of.
    untold: Vec<Peer>,
    /// The dead that the wards have yet to be told of.
    handed_on: VecDeque<Peer>,
    /// Every contact is looked after once where many died at a time.
    roll_call: RollCall,
    /// How much of what others say this peer misses: then it is slow to give them up, for it may be to blame itself
    /// (the local health of Dadgar, Phillips and Currey, "Lifeguard", 2018).
    deafness: u8,
}

impl DeathWatch {
    /// A contact answered a ping: at once, or only when it was asked `again`.
    pub(super) fn heard(&mut self, again: bool) {
        self.deafness = if again { (self.deafness + DEAFER).min(DEAFEST) } else { self.deafness.saturating_sub(1) };
    }

    /// A peer was found dead.
    fn bury(&mut self, now: Time, peer: &Peer) {
        self.buried.insert(*peer, now);
        if self.handed_on.len() < HANDED_ON {
            self.handed_on.push_back(*peer);
        }
    }

    /// It lives: what waits to be told of its death is old.
    pub(super) fn dig_up(&mut self, peer: &Peer) {
        self.buried.remove(peer);
        self.untold.retain(|gone| gone != peer);
        self.handed_on.retain(|gone| gone != peer);
    }

    /// The nearest contacts of a dead peer that its watcher tells.
    fn told_of_each(&self) -> usize {
        // One of those that wait is taken before the others are told.
        if self.handed_on.len() + 1 < HANDED_ON { TOLD } else { TOLD_OF_MANY }
    }

    /// Whether this peer was found dead, or told to be, a moment ago.
    pub(super) fn is_buried(&self, now: Time, peer: &Peer) -> bool {
        self.buried.get(peer).is_some_and(|since| now.since(*since) < BURIED)
    }
}

impl Kademlia {
    /// Pings the wards that were silent for long enough, and tells them of a death if there is news. Pings others too
    /// that perhaps no peer looked after.
    pub(super) fn look_after_wards(&mut self, now: Time, out: &mut Vec<Effect>) {
        let news = self.watch.handed_on.pop_front();
        for peer in self.wards() {
            let silent = self.table.contact(&peer).is_some_and(|contact| contact.silence(now) >= WARD_FRESH_FOR);
            match news.filter(|gone| *gone != peer && self.is_among(TOLD, gone, &peer.id)) {
                Some(gone) => self.check_contact_by(&peer, Request::Gone { peer: gone }, patience::ONCE, out),
                None if silent => self.check_contact(&peer, patience::ONCE, out),
                None => {}
            }
        }
        let contacts = self.table.contacts().map(|contact| (contact.silence(now), contact.peer()));
        for peer in self.watch.roll_call.next_part(now, contacts) {
            self.check_contact(&peer, patience::ONCE, out);
        }
    }

    /// The contacts to which this peer is among the nearest. All others in a contact's bucket are nearer to it, so only
    /// buckets of few have any.
    fn wards(&self) -> Vec<Peer> {
        let sound = |bucket: &&Bucket| bucket.contacts().iter().filter(|contact| contact.is_sound()).count();
        let small = self.table.buckets().iter().filter(|bucket| sound(bucket) <= WATCHERS);
        let contacts = small.flat_map(Bucket::contacts).map(Contact::peer);
        contacts.filter(|peer| self.is_among(WATCHERS, peer, &self.me.id)).collect()
    }

    /// Whether the peer `by` is, was or would be among the `count` nearest to `peer`, as far as this one knows.
    pub(super) fn is_among(&self, count: usize, peer: &Peer, by: &Id) -> bool {
        let distance = by.distance(&peer.id);
        let others = |contact: &Contact| contact.is_sound() && contact.id != peer.id && contact.id != *by;
        let near = self.table.nearest(&peer.id, count, others);
        let me = Some(self.me.id).filter(|me| *me != peer.id && me != by && !self.guest);
        near.iter().map(|other| other.id).chain(me).filter(|other| other.distance(&peer.id) < distance).count() < count
    }

    /// A contact says that a peer is gone. If that is a contact too, it is pinged before it is believed.
    pub(super) fn on_news(&mut self, now: Time, from: &Incoming, gone: &Peer, out: &mut Vec<Effect>) {
        let Some(teller) = self.table.at(&from.asker.addr).map(|contact| contact.id) else { return };
        let watches = self.is_among(WATCHERS, gone, &teller);
        if self.table.contact(gone).is_some_and(|contact| contact.silence(now) >= WARD_FRESH_FOR) {
            // What our own watcher hands on was told by another one, unless that is up to us.
            let handed_on = self.is_among(WATCHERS, &self.me, &teller) && !self.is_among(WATCHERS, gone, &self.me.id);
            if watches || handed_on {
                self.watch.told.insert(*gone, now);
            }
            self.check_contact(gone, self.tries_if_told(), out);
            return;
        }
        if watches && teller.distance(&gone.id) < self.me.id.distance(&gone.id) {
            self.watch.untold.retain(|peer| peer != gone);
        }
        if self.table.contact(gone).is_none() {
            // It may introduce itself all the same: then it is pinged.
            self.watch.buried.insert(*gone, now);
        }
    }

    /// Whether a silent contact is to be given up, after so many pings without an answer; and if not, how often the
    /// next one goes out.
    pub(super) fn next_tries(&self, now: Time, peer: &Peer, failures: u8) -> Option<u8> {
        let is_told = self.is_told(now, peer);
        let (enough, tries) = if is_told { (FAILURES_TOLD, self.tries_if_told()) } else { (FAILURES, patience::CHECK) };
        (failures < enough + self.watch.deafness / DEAFER).then_some(tries)
    }

    /// How often a ping goes out to a contact of which others say that it is gone.
    fn tries_if_told(&self) -> u8 {
        if self.watch.deafness < DEAFER { patience::ONCE } else { patience::CHECK }
    }

    /// How often a ping goes out to a contact that says goodbye.
    pub(super) fn tries_of_departure(&self) -> u8 {
        if self.watch.deafness < DEAFER { patience::DEATH_NEWS } else { patience::CHECK }
    }

    fn is_told(&self, now: Time, peer: &Peer) -> bool {
        self.watch.told.get(peer).is_some_and(|since| now.since(*since) < HEARD)
    }

    /// A contact was found dead. A peer that looked after it tells every peer that may know it, unless another one did.
    /// A peer that would have been told tells those that look after it. Any other one meets it late, and does not tell
    /// what is old.
    pub(super) fn on_death(&mut self, now: Time, dead: &Peer, out: &mut Vec<Effect>) {
        self.watch.bury(now, dead);
        self.watch.roll_call.note_death(now, self.table.len() + 1);
        if self.guest || self.is_told(now, dead) {
            return;
        }
        if self.is_among(WATCHERS, dead, &self.me.id) {
            self.tell_of(dead, 0..WIDTH, patience::DEATH_NEWS, out);
            self.watch.untold.push(*dead);
        } else if self.is_among(TOLD, dead, &self.me.id) {
            self.tell_of(dead, 0..WATCHERS, patience::ONCE, out);
        }
    }

    /// A contact said goodbye. It told the others itself, but once and no more: the nearest one makes sure.
    pub(super) fn on_goodbye(&mut self, now: Time, gone: &Peer, out: &mut Vec<Effect>) {
        self.watch.bury(now, gone);
        self.watch.roll_call.note_death(now, self.table.len() + 1);
        if !self.guest && self.is_among(1, gone, &self.me.id) {
            self.tell_of(gone, 0..WIDTH, patience::DEATH_NEWS, out);
            self.watch.untold.push(*gone);
        }
    }

    /// Tells those further off of the dead, unless a nearer watcher did meanwhile.
    pub(super) fn tell_the_rest(&mut self, out: &mut Vec<Effect>) {
        let last = self.watch.told_of_each();
        for gone in std::mem::take(&mut self.watch.untold) {
            self.tell_of(&gone, WIDTH..last, patience::ONCE, out);
        }
    }

    /// Tells the contacts nearest to a peer, of these ranks, that it is gone.
    fn tell_of(&mut self, gone: &Peer, ranks: Range<usize>, tries: u8, out: &mut Vec<Effect>) {
        let others = |contact: &Contact| contact.is_sound() && contact.id != gone.id;
        for peer in self.table.nearest(&gone.id, ranks.end, others).into_iter().skip(ranks.start) {
            self.ask(peer.into(), Request::Gone { peer: *gone }, tries, QuestionPurpose::News { peer }, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;
    use crate::overlay::kademlia::contacts::Bid;

    /// Whole tables of a network of so many peers.
    fn network(count: u8) -> Vec<Kademlia> {
        let mut rng = StdRng::seed_from_u64(count.into());
        let peers: Vec<Peer> =
            (0..count).map(|n| Peer::new(Id::random(&mut rng), ([10, 0, 0, n], 7000).into())).collect();
        let grow = |me: &Peer| {
            let mut overlay = Kademlia::new(*me, [0; 32], false);
            overlay.fill(Time::ZERO, &peers);
            overlay
        };
        peers.iter().map(grow).collect()
    }

    #[test]
    fn each_peer_has_its_watchers_whatever_the_size_and_nobody_watches_many() {
        for count in [2, 3, 8, 40, 200] {
            let network = network(count);
            let wards: Vec<Vec<Peer>> = network.iter().map(Kademlia::wards).collect();
            for overlay in &network {
                let watchers = wards.iter().filter(|wards| wards.contains(&overlay.me)).count();
                assert_eq!(watchers, WATCHERS.min(usize::from(count) - 1), "of {count}");
            }
            assert!(wards.iter().all(|wards| wards.len() <= 8), "of {count}");
        }
    }

    #[test]
    fn who_comes_after_the_watchers_takes_over_where_one_is_silent() {
        let mut network = network(40);
        let ward = network[0].me;
        let mut near = network.iter().map(|overlay| overlay.me).filter(|peer| *peer != ward).collect::<Vec<_>>();
        near.sort_by_key(|peer| peer.id.distance(&ward.id));
        let third = network.iter_mut().find(|overlay| overlay.me == near[WATCHERS]).expect("it is one of them");
        assert!(!third.wards().contains(&ward));
        third.doubt(&near[0], &mut Vec::new());
        assert!(third.wards().contains(&ward));
    }

    #[test]
    fn a_peer_that_answers_is_not_taken_for_dead_though_it_finds_no_place_and_nobody_is_told_of_its_death() {
        let mut network = network(200);
        let late = network[199].me;
        let overlay = network.iter_mut().find(|overlay| overlay.me != late && overlay.table.contact(&late).is_none());
        let overlay = overlay.expect("most tables have no place for it");
        overlay.watch.bury(Time::ZERO, &late);
        overlay.watch.untold.push(late);
        overlay.confirm(Time::ZERO, late, Bid::Wait, &mut Vec::new());
        assert!(overlay.table.contact(&late).is_none() && !overlay.watch.is_buried(Time::ZERO, &late));
        assert!(overlay.watch.untold.is_empty() && overlay.watch.handed_on.is_empty());
    }

    #[test]
    fn a_death_is_told_to_as_many_as_may_know_the_dead_one_and_to_half_of_them_where_many_die_all_the_time() {
        for (others, told) in [(HANDED_ON - 2, TOLD), (HANDED_ON - 1, TOLD_OF_MANY)] {
            let mut network = network(200);
            let dead = network[0].me;
            network.sort_by_key(|overlay| overlay.me.id.distance(&dead.id));
            let (far, mut out) = (network[100].me, Vec::new());
            let watcher = &mut network[1];
            (0..others).for_each(|_| watcher.watch.bury(Time::ZERO, &far));
            watcher.on_death(Time::ZERO, &dead, &mut out);
            watcher.look_after_wards(Time::ZERO, &mut Vec::new());
            watcher.tell_the_rest(&mut out);
            let news = Request::Gone { peer: dead };
            let tells = |effect: &&Effect| matches!(effect, Effect::Ask { request, .. } if *request == news);
            assert_eq!(out.iter().filter(tells).count(), told, "{others} others");
        }
    }

    #[test]
    fn of_those_that_find_a_peer_dead_only_those_that_would_have_been_told_tell_anybody() {
        let mut network = network(200);
        let dead = network[0].me;
        network.sort_by_key(|overlay| overlay.me.id.distance(&dead.id));
        let told = [1, 10, 199].map(|nth: usize| {
            let mut out = Vec::new();
            network[nth].on_death(Time::ZERO, &dead, &mut out);
            out.len()
        });
        assert_eq!(told, [WIDTH, WATCHERS, 0]);
    }
}
