//! What the user asks: which part gets which command, and those that concern the whole node.

use super::life::LifeEvent;
use super::notice::{Answer, FailureKind, Status};
use super::ticket::{News, PartId};
use super::{Command, CommandId, Node, Until};
use crate::config::INTERRUPT_WINDOW;

/// What a command that the user ends says first.
const CANCELLED: &str = "cancelled";

impl Node {
    pub(super) fn on_command(&mut self, id: CommandId, command: Command) {
        self.desk.asked.insert(id);
        if self.desk.is_leaving() {
            if matches!(command, Command::Quit { handover: false }) {
                self.end_handover();
            }
            return self.desk.fail(id, FailureKind::Gone, "this peer is leaving the network");
        }
        let owner = match command {
            Command::Store { .. }
            | Command::StoreBlock { .. }
            | Command::StoreListing { .. }
            | Command::OnLease { .. } => PartId::Puts,
            Command::Retrieve { .. }
            | Command::RetrieveListing { .. }
            | Command::RetrieveBlock { .. }
            | Command::RetrieveManifest { .. } => PartId::Gets,
            Command::Clear { .. } => PartId::Clears,
            Command::Check { .. } | Command::Wait { until: Until::Copies { .. }, .. } => PartId::Checks,
            Command::Lease { .. } | Command::Disown { .. } => PartId::LeaseChanges,
            Command::Lay { .. } => PartId::Lays,
            Command::StoreFile { .. } | Command::RequestFile { .. } => PartId::NamedFiles,
            Command::List
            | Command::Lookup { .. }
            | Command::Explain { .. }
            | Command::Peers
            | Command::Table
            | Command::Ping { .. }
            | Command::Span => PartId::User,
            Command::Scrub => PartId::Scrub,
            Command::Wait { until: Until::Safe, .. } => PartId::Safety,
            Command::Wait { until, limit } => return self.wait(id, until, limit),
            Command::Status => {
                let status = self.status();
                return self.desk.answer(id, Answer::Status(status));
            }
            Command::Interrupt { commands, handover } => return self.interrupt(id, &commands, handover),
            Command::Cancel { command } => {
                let commands = self.end(Some(command), FailureKind::Cancelled, CANCELLED);
                return self.desk.answer(id, Answer::Interrupted { commands });
            }
            Command::Quit { handover } => return self.leave(id, handover),
        };
        match self.part(owner) {
            Some((part, desk)) => part.on_command(desk, id, command),
            None => {
                self.desk.fail(id, FailureKind::Usage, "this peer has no part that does that");
            }
        }
    }

    /// Ends what is under way for the user, or one command of it; how many commands that ended. Questions that are soon
    /// answered end only where they are cancelled: those left when the peer stops fail then.
    fn end(&mut self, whose: Option<CommandId>, kind: FailureKind, reason: &str) -> usize {
        let ended: usize = self.parts.iter_mut().map(|(_, part)| part.end(&mut self.desk, whose, kind, reason)).sum();
        ended + self.end_waits(whose, kind, reason)
    }

    /// Ends these commands; the second time within a short while, ends the peer.
    fn interrupt(&mut self, id: CommandId, commands: &[CommandId], handover: bool) {
        let now = self.desk.now();
        if self.interrupted.replace(now).is_some_and(|last| now.since(last) <= INTERRUPT_WINDOW) {
            return self.leave(id, handover);
        }
        let ended = commands.iter().map(|&command| self.end(Some(command), FailureKind::Cancelled, CANCELLED));
        let commands = ended.sum();
        self.desk.answer(id, Answer::Interrupted { commands });
    }

    /// [Ends](Self::end) what is under way for the user; then this peer leaves.
    fn leave(&mut self, id: CommandId, handover: bool) {
        self.end(None, FailureKind::Gone, "this peer was told to leave the network");
        self.desk.life = self.desk.life.after(LifeEvent::Told);
        self.quit = Some((id, handover));
        self.tell(News::Leaving { handover });
    }

    /// This peer is told once more to leave, and at once: it hands over nothing more and says goodbye in this turn.
    fn end_handover(&mut self) {
        if let Some((_, handover)) = &mut self.quit {
            *handover = false;
        }
        self.tell(News::Leaving { handover: false });
    }

    /// Begins the departure, once no part has to stay. Whether it began.
    pub(super) fn depart_if_nothing_keeps_us(&mut self) -> bool {
        let Some((command, handover)) = self.quit else { return false };
        if self.parts.iter().any(|(_, part)| part.keeps_here(&self.desk)) {
            return false;
        }
        self.quit = None;
        if let Some((departure, desk)) = self.part(PartId::Departure) {
            departure.on_command(desk, command, Command::Quit { handover });
        }
        true
    }

    /// Nothing more will come of what has no answer yet.
    pub(super) fn answer_all(&mut self) {
        for command in std::mem::take(&mut self.desk.asked) {
            self.desk.fail(command, FailureKind::Gone, "this peer left the network before that was done");
        }
    }

    fn status(&self) -> Status {
        let desk = &self.desk;
        let under_way = |owners: &[PartId]| {
            let those = self.parts.iter().filter(|(owner, _)| owners.contains(owner));
            those.map(|(_, part)| part.under_way()).sum()
        };
        let traffic = desk.exchange.traffic;
        Status {
            me: desk.me(),
            overlay: desk.overlay.kind().name().to_owned(),
            network: desk.config.network,
            sealed: false,
            uptime: desk.now().since(self.started),
            peers: desk.overlay.peers().len(),
            blocks: desk.holdings.len(),
            bytes: desk.holdings.bytes(),
            capacity: desk.holdings.capacity(),
            was_full: desk.was_full(),
            files: self.parts.iter().find_map(|(_, part)| part.named_files(desk)).map(|files| files.len()),
            moved: (0, 0),
            pending: desk.exchange.waiting(),
            lookups: desk.lookups.len(),
            transfers: under_way(&[PartId::Puts, PartId::Gets]),
            repairs: under_way(&[PartId::Repair, PartId::Heal]),
            messages: (traffic.received, traffic.sent),
            dropped: traffic.dropped,
            upkeep: desk.repair_budget.total(),
            scrub: self.parts.iter().find_map(|(_, part)| part.scrubbing(desk)),
        }
    }
}
