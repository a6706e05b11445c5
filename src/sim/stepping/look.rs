//! What a peer is like after so many of its moments: a new node is given them again, and looked at.

use std::collections::BTreeMap;

use super::tape::Tape;
use crate::classroom;
use crate::node::job::JobId;
use crate::node::{Action, Event, Node};
use crate::sim::moments::words::said;
use crate::wire::Body;

/// What can be looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ViewKind {
    Table,
    Pending,
    Jobs,
    Holdings,
}

impl ViewKind {
    pub(super) const ALL: [Self; 4] = [Self::Table, Self::Pending, Self::Jobs, Self::Holdings];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Pending => "pending",
            Self::Jobs => "jobs",
            Self::Holdings => "holdings",
        }
    }

    /// What is said where there is none of it.
    pub(super) const fn none(self) -> &'static str {
        match self {
            Self::Table => "it knows no peer",
            Self::Pending => "it waits for no answer",
            Self::Jobs => "no job is with a worker",
            Self::Holdings => "it holds nothing",
        }
    }
}

/// What a view shows: names, and what there is to say of each. A row of a routing table has a name for each of its
/// peers.
type Rows = Vec<(String, String)>;

/// A peer, looked at.
#[derive(Default)]
pub(super) struct PeerLook([Rows; ViewKind::ALL.len()]);

impl PeerLook {
    pub(super) fn rows(&self, view: ViewKind) -> &[(String, String)] {
        &self.0[view as usize]
    }

    /// What is in this look and not in the other, and the other way round, for each view in which they differ.
    pub(super) fn changes(&self, since: &Self) -> Vec<String> {
        ViewKind::ALL.into_iter().filter_map(|view| changes(view, since.rows(view), self.rows(view))).collect()
    }
}

fn changes(view: ViewKind, before: &[(String, String)], after: &[(String, String)]) -> Option<String> {
    let name = |(name, about): &(String, String)| match view {
        ViewKind::Table => format!("{name}: {about}"),
        _ => name.clone(),
    };
    let missing = |from: &[(String, String)], of: &[(String, String)], sign: char| {
        let there: std::collections::BTreeSet<String> = from.iter().map(name).collect();
        let named = of.iter().map(name).filter(move |name| !there.contains(name));
        named.map(|name| format!("{sign}{name}")).collect::<Vec<_>>()
    };
    let changed = [missing(after, before, '-'), missing(before, after, '+')].concat();
    (!changed.is_empty()).then(|| format!("{:<9} {}", view.name(), changed.join(", ")))
}

/// The nodes that were looked at last, each with how many of its moments it was given. Going on costs what comes;
/// going back costs a life from its beginning, some hundredths of a second.
#[derive(Default)]
pub(super) struct Looks(BTreeMap<usize, (usize, Node)>);

impl Looks {
    /// Looks at a life after the first `count` of its moments.
    pub(super) fn at(&mut self, tape: &Tape, life: usize, count: usize) -> PeerLook {
        let new = || (0, classroom::join(tape.history.beginnings[life].node()));
        let (given, node) = self.0.entry(life).or_insert_with(new);
        if *given > count {
            (*given, *node) = new();
        }
        let mut actions = Vec::new();
        for &moment in &tape.of_life(life, count)[*given..] {
            let moment = &tape.history.moments[moment].moment;
            node.handle(moment.at, moment.event.clone(), &mut actions);
            actions.clear();
        }
        *given = count;
        PeerLook([table(tape, node), pending(tape, node, life, count), jobs(tape, life, count), holdings(node)])
    }
}

fn table(tape: &Tape, node: &Node) -> Rows {
    let named = |row: crate::overlay::TableRow| {
        let spare = (row.spare > 0).then(|| (row.label.clone(), format!("{} to take a place", row.spare)));
        let peers = row.peers.into_iter().map(|peer| tape.history.name_of(peer.addr));
        peers.map(|peer| (row.label.clone(), peer)).chain(spare).collect::<Vec<_>>()
    };
    node.overlay().table().into_iter().flat_map(named).collect()
}

/// The requests that the life sent and whose answers the node waits for.
fn pending(tape: &Tape, node: &Node, life: usize, count: usize) -> Rows {
    let mut rows: BTreeMap<u64, (String, String)> = BTreeMap::new();
    for &moment in tape.of_life(life, count) {
        for action in &tape.history.moments[moment].moment.actions {
            if let Action::Send { to, message, .. } = action
                && let (Body::Request(_), Some(purpose)) = (&message.body, node.purpose(message.magic))
            {
                rows.entry(message.magic).or_insert_with(|| {
                    let (what, to) = (said(&message.body), tape.history.name_of(*to));
                    let about = format!("{what} to {to}, asked at {} s for {}", tape.at(moment), purpose.name());
                    (tape.history.number_of(message.magic), about)
                });
            }
        }
    }
    let mut rows: Rows = rows.into_values().collect();
    rows.sort_by_key(|(number, _)| (number.len(), number.clone()));
    rows
}

/// The jobs that workers do: begun, and without an outcome yet.
fn jobs(tape: &Tape, life: usize, count: usize) -> Rows {
    let mut out: BTreeMap<JobId, (String, String)> = BTreeMap::new();
    for &number in tape.of_life(life, count) {
        let moment = &tape.history.moments[number].moment;
        if let Event::JobDone { job, .. } = &moment.event {
            out.remove(job);
        }
        for action in &moment.actions {
            if let Action::Start { job, work } = action {
                let about = format!("{}, begun at {} s", said(work), tape.at(number));
                out.insert(*job, (format!("job {job}"), about));
            }
        }
    }
    out.into_values().collect()
}

fn holdings(node: &Node) -> Rows {
    let blocks = node.held().map(|(key, size)| (key.short(), format!("{size} bytes")));
    let files =
        node.named_files().into_iter().map(|(file, version)| (file.to_string(), format!("{} bytes", version.size)));
    blocks.chain(files).collect()
}
