//! What a user asked: begun here, answered here where nothing has to be waited for.

use super::classroom::Classroom;
use super::clear::Clear;
use super::command::{Command, CommandId};
use super::context::{AskPurpose, LookupPurpose};
use super::departure::Departure;
use super::get::{Get, Onto};
use super::job::Outcome;
use super::notice::{Answer, FailureKind, PeerInfo, Status};
use super::pending::Waiting;
use super::put::{Flow, Order, Put};
use super::{Node, Source};
use crate::config::INTERRUPT_WINDOW;
use crate::overlay::{Goal, Target};
use crate::wire::Request;

impl Node {
    pub(super) fn on_command(&mut self, id: CommandId, command: Command) {
        if self.cx.departing {
            return self.cx.fail(id, FailureKind::Other, "this peer is leaving the network");
        }
        match command {
            Command::Store { path, manifest, keep } => self.store(id, Order { path, manifest, keep }),
            Command::Retrieve { source, dest, replace } => self.retrieve(id, source, Onto { dest, replace }),
            Command::Clear { sources } => {
                let mut clear = Clear::new(id, sources);
                if clear.go_on(&mut self.cx) == Flow::Goes {
                    self.clears.insert(id, clear);
                }
            }
            Command::List => {
                let blocks = self.cx.holdings.iter().collect();
                self.cx.answer(id, Answer::List { blocks });
            }
            Command::Lookup { key } => {
                let purpose = LookupPurpose::User { command: id, key, since: self.cx.now, holders: Vec::new() };
                self.cx.look_up(key, Goal::Survey, purpose);
            }
            Command::Peers => {
                let cx = &mut self.cx;
                let info = |peer: crate::peer::Peer| PeerInfo { rtt: cx.pending.round_trip(&peer.addr), peer };
                let peers = cx.overlay.peers().into_iter().map(info).collect();
                cx.answer(id, Answer::Peers { peers });
            }
            Command::Table => {
                let rows = self.cx.overlay.table();
                self.cx.answer(id, Answer::Table { rows });
            }
            Command::Status => {
                let status = self.status();
                self.cx.answer(id, Answer::Status(status));
            }
            Command::Ping { addr } => {
                self.cx.ask(Target { id: None, addr }, Request::Ping, AskPurpose::User(id));
            }
            Command::StoreFile { file } => Classroom::store(&mut self.cx, id, file),
            Command::RequestFile { file } => Classroom::request(&mut self.cx, id, file),
            Command::Interrupt { handover } => self.interrupt(id, handover),
            Command::Quit { handover } => self.quit(id, handover),
        }
    }

    /// Ends what is under way for the user; the second time within a short while, ends the peer.
    fn interrupt(&mut self, id: CommandId, handover: bool) {
        let now = self.cx.now;
        if self.interrupted.replace(now).is_some_and(|last| now.since(last) <= INTERRUPT_WINDOW) {
            return self.quit(id, handover);
        }
        const REASON: &str = "cancelled";
        let mut commands = self.end_transfers(FailureKind::Cancelled, REASON);
        let is_user = |waiting: &Waiting<AskPurpose>| matches!(waiting.purpose, AskPurpose::User(_));
        let pings = self.cx.pending.take_where(is_user).into_iter().filter_map(|waiting| match waiting.purpose {
            AskPurpose::User(command) => Some(command),
            _ => None,
        });
        let lookups = self.cx.lookups.iter().filter_map(|(&lookup, purpose)| match purpose {
            LookupPurpose::User { command, .. } => Some((lookup, *command)),
            _ => None,
        });
        let lookups: Vec<_> = lookups.collect();
        let (lookups, asked): (Vec<_>, Vec<_>) = lookups.into_iter().unzip();
        let ended: Vec<CommandId> = pings.chain(asked).collect();
        lookups.into_iter().for_each(|lookup| self.cx.cancel_lookup(lookup));
        self.clears.values_mut().for_each(Clear::cancel);
        commands += ended.len() + self.clears.len();
        ended.into_iter().for_each(|command| self.cx.fail(command, FailureKind::Cancelled, REASON));
        self.cx.answer(id, Answer::Interrupted { commands });
    }

    /// Ends all stores and retrieves; how many there were.
    fn end_transfers(&mut self, kind: FailureKind, reason: &str) -> usize {
        let (puts, gets) = (std::mem::take(&mut self.puts), std::mem::take(&mut self.gets));
        let count = puts.len() + gets.len();
        for (_, mut put) in puts {
            let reason = format!("{reason} before the whole file was stored; store it again");
            put.give_up(&mut self.cx, (kind, reason));
        }
        for (_, mut get) in gets {
            get.give_up(&mut self.cx, kind, reason.to_owned());
        }
        count
    }

    fn store(&mut self, id: CommandId, order: Order) {
        let put = self.next_transfer();
        let file = Put::new(&mut self.cx, put, id, order);
        self.puts.insert(put, file);
    }

    fn retrieve(&mut self, id: CommandId, source: Source, onto: Onto) {
        let get = self.next_transfer();
        let file = Get::new(&mut self.cx, get, id, source, onto);
        self.gets.insert(get, file);
    }

    fn next_transfer(&mut self) -> u64 {
        self.next_transfer += 1;
        self.next_transfer
    }

    /// Ends what is under way for the user, then hands the blocks over.
    fn quit(&mut self, id: CommandId, handover: bool) {
        self.end_transfers(FailureKind::Other, "this peer was told to leave the network");
        if !self.cx.config.guest {
            self.order_save_peers();
        }
        if handover && self.cx.config.named_files {
            self.cx.departing = true;
            return self.classroom.leave(&mut self.cx, id);
        }
        self.depart(id, handover);
    }

    /// Hands the blocks over and says goodbye.
    pub(super) fn depart(&mut self, id: CommandId, handover: bool) {
        let departure = Departure::new(&mut self.cx, id, handover);
        self.departure = Some(departure);
        self.advance_departure(Departure::go_on);
    }

    pub(super) fn on_clear_step(&mut self, command: CommandId, outcome: Outcome) {
        let Some(clear) = self.clears.get_mut(&command) else { return };
        let (flow, gone) = clear.on_step(&mut self.cx, outcome);
        if let Some(key) = gone {
            self.cx.holdings.remove(&key);
            self.repair.forget(&key);
            self.heal.forget(&key);
        }
        if flow == Flow::Over {
            self.clears.remove(&command);
        }
    }

    fn status(&self) -> Status {
        let cx = &self.cx;
        Status {
            me: cx.overlay.me(),
            overlay: cx.overlay.kind().name().to_owned(),
            uptime: cx.now.since(self.started),
            peers: cx.overlay.peers().len(),
            blocks: cx.holdings.len(),
            bytes: cx.holdings.bytes(),
            pending: cx.pending.len(),
            lookups: cx.lookups.len(),
            transfers: self.puts.len() + self.gets.len(),
            repairs: self.repair.len() + self.heal.len(),
            messages: (cx.traffic.received, cx.traffic.sent),
            dropped: cx.traffic.dropped,
        }
    }
}
