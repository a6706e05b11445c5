//! What the overlay wants done, and who of the node does it or hears of it.

use super::Node;
use super::action::Action;
use super::exchange::{Patience, SentFor};
use super::life::{Life, LifeEvent};
use super::notice::Notice;
use super::purpose::Purpose;
use super::ticket::{News, Reply};
use super::trouble::Trouble;
use crate::overlay::{AskReason, Effect, LookupId, RingEffect};

impl Node {
    /// Does what the overlay wants done, and what comes of that, until nothing is left.
    pub(super) fn run_effects(&mut self) {
        while !self.desk.effects.is_empty() {
            let mut effects = std::mem::replace(&mut self.desk.effects, std::mem::take(&mut self.spare_effects));
            for effect in effects.drain(..) {
                self.on_effect(effect);
            }
            self.spare_effects = effects;
        }
        // Silence is waited for no longer than any answer.
        let must_be_heard = self.desk.overlay.router().is_some_and(|ring| ring.must_be_heard_leaving());
        let heard = || !(must_be_heard && self.desk.exchange.expects_goodbyes());
        if self.desk.life == Life::SayingGoodbye && heard() {
            self.desk.life = self.desk.life.after(LifeEvent::Heard);
            self.answer_all();
            self.desk.exchange.out().push(Action::Stop);
        }
    }

    fn on_effect(&mut self, effect: Effect) {
        match effect {
            Effect::Ask { to, mut request, tag, tries, step } => {
                // A ping beside a question is the ring's own look after its next hop.
                let looks = step.filter(|step| step.reason != AskReason::Beside);
                let purpose = looks.map_or(Purpose::Upkeep, |step| self.purpose_of(step.lookup));
                if let Some(step) = step {
                    self.desk.explained.on_ask(self.desk.exchange.now(), step, tag, &to, &mut request);
                }
                self.desk.exchange.ask(SentFor::Overlay(tag, purpose), to, request, Patience::Tries(tries));
            }
            Effect::Forward { to, magic, request } => self.desk.exchange.forward(to.addr, magic, request),
            Effect::Respond { to, kind, response } => self.desk.respond(&to, kind, response),
            Effect::Holder { lookup, peer } => {
                if let Some(&ticket) = self.desk.lookups.get(&lookup) {
                    self.reply(ticket, Reply::Holder(peer));
                }
            }
            Effect::Found { lookup, mut found } => {
                found.conclusive &= !self.is_cut_off();
                self.on_end_of(lookup, Reply::Found(found));
            }
            Effect::Joined { peers, shut_out } => {
                self.desk.notify(Notice::Joined { peers, shut_out });
                self.waits.on_joined(self.desk.now());
                self.tell(News::Joined);
            }
            Effect::PeerUp(peer) => {
                self.desk.forgive(peer.addr);
                self.desk.notify(Notice::PeerUp { peer });
                self.waits.on_met(self.desk.now());
                self.tell(News::Up);
            }
            Effect::Twin { addr } => self.desk.trouble(Trouble::Twin { addr }),
            Effect::PeerDown(peer) => {
                self.desk.notify(Notice::PeerDown { peer });
                self.on_dead(peer.addr);
                self.waits.on_change(self.desk.now());
                self.tell(News::Down(&peer));
            }
            Effect::Ring(RingEffect::RouteEnded { lookup, outcome }) => {
                self.on_end_of(lookup, Reply::RouteEnded(outcome))
            }
            Effect::Ring(effect) => {
                self.tell(News::Ring(&effect));
                if let RingEffect::Notice(route) = effect {
                    self.desk.notify(Notice::Route { route });
                }
            }
        }
    }

    fn on_end_of(&mut self, lookup: LookupId, reply: Reply) {
        if let Some(ticket) = self.desk.lookups.remove(&lookup) {
            self.reply(ticket, reply);
        }
    }
}
