//! Every command is answered once, whatever becomes of it.

use super::leases::{lease, secret};
use super::*;
use crate::name::FileName;
use crate::node::{Command, CommandId, LeaseChange, Source, Until};

/// The command after `this` of a list that has one of each kind: a new kind does not compile before it stands here.
fn next(this: &Command) -> Option<Command> {
    let (key, limit, name) =
        (key(1), Some(Duration::from_secs(60)), || "0007".parse::<FileName>().expect("it is a name"));
    Some(match this {
        Command::Store { .. } => Command::StoreBlock { path: "file".into(), keep: false },
        Command::StoreBlock { .. } => Command::StoreListing { path: "file".into(), keep: false },
        Command::StoreListing { .. } => {
            Command::Retrieve { source: Source::Key(key), dest: "back".into(), replace: false }
        }
        Command::Retrieve { .. } => Command::RetrieveListing { key, dest: "back".into() },
        Command::RetrieveListing { .. } => Command::RetrieveBlock { key, size: 10, dest: "back".into() },
        Command::RetrieveBlock { .. } => Command::RetrieveManifest { key },
        Command::RetrieveManifest { .. } => Command::Span,
        Command::Span => Command::Clear { sources: vec![Source::Key(key)], force: false },
        Command::Clear { .. } => {
            Command::Check { sources: vec![Source::Key(key)], verify: true, repair: true, lease: None }
        }
        Command::Check { .. } => Command::Wait { until: Until::Safe, limit },
        Command::Wait { .. } => Command::Scrub,
        Command::Scrub => {
            let changes = vec![(key, LeaseChange::Renewed(lease(1, None)))];
            Command::Lease { changes, listed: BTreeSet::new(), copies: 0 }
        }
        Command::Lease { .. } => Command::Disown { secrets: vec![secret(1)] },
        Command::Disown { .. } => Command::Lay { keys: vec![key], lease: lease(1, None) },
        Command::Lay { .. } => Command::List,
        Command::List => Command::Lookup { key },
        Command::Lookup { .. } => Command::Explain { key },
        Command::Explain { .. } => Command::Peers,
        Command::Peers => Command::Table,
        Command::Table => Command::Status,
        Command::Status => Command::Ping { addr: addr(9) },
        Command::Ping { .. } => Command::StoreFile { file: name() },
        Command::StoreFile { .. } => Command::RequestFile { file: name() },
        Command::RequestFile { .. } => Command::Interrupt { commands: Vec::new(), handover: true },
        Command::Interrupt { .. } => Command::Cancel { command: 99 },
        Command::Cancel { .. } => Command::OnLease { lease: lease(1, None), store: Box::new(Command::Status) },
        Command::OnLease { .. } => Command::Quit { handover: true },
        Command::Quit { .. } => return None,
    })
}

/// How often a command is answered: every job fails, nobody is heard of for an hour, and then its user ends it.
fn answers(command: Command) -> usize {
    const ID: CommandId = 5;
    let mut bench = Bench::new(Config::default(), 3, 0).start(&[]);
    let is_answer = |action: &Action| matches!(action, Action::Notify(Notice::Answer { command: ID, .. }));
    let (mut actions, mut count) = (bench.does(Event::Command { id: ID, command }), 0);
    let end = bench.now + Duration::from_secs(3600);
    loop {
        count += actions.iter().filter(|action| is_answer(action)).count();
        let out = jobs(&actions);
        actions = out.into_iter().flat_map(|(job, _)| bench.ends(job, failed(JobErrorKind::NotFound))).collect();
        if actions.is_empty() {
            match bench.wait(end.since(bench.now)) {
                Some(further) => actions = further,
                None => break,
            }
        }
    }
    let actions = bench.does(Event::Command { id: ID + 1, command: Command::Cancel { command: ID } });
    count + actions.iter().filter(|action| is_answer(action)).count()
}

#[test]
fn every_command_is_answered_exactly_once_on_a_lease_too() {
    let mut command = Command::Store { path: "file".into(), manifest: None, keep: false };
    loop {
        assert_eq!(answers(command.clone()), 1, "{command:?}");
        let on_lease = command.clone().on(Some(lease(1, None)));
        assert_eq!(answers(on_lease), 1, "{command:?}, on a lease");
        let Some(next) = next(&command) else { break };
        command = next;
    }
}
