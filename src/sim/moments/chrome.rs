//! A history as a file for Perfetto (ui.perfetto.dev) and other readers of Chrome's trace events.
//!
//! A process for each peer; its moments are slices of a microsecond, as the time that a turn takes is not recorded. Jobs
//! and commands overlap, so they are asynchronous spans; a message is a flow from the slice of its sending to that of its
//! arrival. One that was lost, or went to a peer that was not recorded, has no second end and is left out.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::history::{Cause, History};
use super::words::said;
use crate::node::{Action, Event, Notice};

/// Writes these moments of a history as JSON.
///
/// # Errors
/// The writer's.
pub fn write(history: &History, moments: &[usize], out: &mut dyn Write) -> io::Result<()> {
    let mut events: Vec<Value> = Vec::new();
    for (pid, peer) in history.peers.iter().enumerate() {
        events.push(
            json!({"ph": "M", "name": "process_name", "pid": pid, "args": {"name": format!("peer {}", peer.name)}}),
        );
    }
    let mut spans = Spans::default();
    let shown = |moment: &usize| moments.binary_search(moment).is_ok();
    for &moment in moments {
        let seen = &history.moments[moment];
        let actions: Vec<String> =
            seen.moment.actions.iter().filter_map(|action| history.names.action(action)).collect();
        let (name, pid) = (history.names.event(&seen.moment.event), seen.peer);
        events.push(json!({
            "ph": "X", "name": name, "ts": seen.at, "dur": 1, "pid": pid, "tid": 0, "args": {"actions": actions},
        }));
        if let (Event::Message { message, .. }, Cause::Moment(sent)) = (&seen.moment.event, seen.cause)
            && shown(&sent)
        {
            let (sent, name) = (&history.moments[sent], said(&message.body));
            let end = |ph: &str, ts: i64, pid: usize| json!({"ph": ph, "cat": "message", "name": name, "id": moment, "bp": "e", "ts": ts, "pid": pid, "tid": 0});
            events.extend([end("s", sent.at, sent.peer), end("f", seen.at, pid)]);
        }
        match &seen.moment.event {
            Event::Command { id, command } => spans.begin(("command", seen.life, *id), (seen.at, pid), said(command)),
            Event::JobDone { job, .. } => spans.end(("job", seen.life, *job), seen.at, &mut events),
            _ => {}
        }
        for action in &seen.moment.actions {
            match action {
                Action::Start { job, work } => spans.begin(("job", seen.life, *job), (seen.at, pid), said(work)),
                Action::Notify(Notice::Answer { command, .. }) => {
                    spans.end(("command", seen.life, *command), seen.at, &mut events);
                }
                _ => {}
            }
        }
    }
    let last = moments.last().map_or(0, |&moment| history.moments[moment].at);
    spans.end_all(last, &mut events);
    serde_json::to_writer(&mut *out, &json!({"displayTimeUnit": "ms", "traceEvents": events}))?;
    writeln!(out)
}

/// What is under way: its sort, the life and its number there.
type Span = (&'static str, usize, u64);

/// Spans that have begun: when, in which process, and what they are.
#[derive(Default)]
struct Spans(BTreeMap<Span, (i64, usize, String)>);

impl Spans {
    fn begin(&mut self, span: Span, (at, pid): (i64, usize), name: String) {
        self.0.insert(span, (at, pid, name));
    }

    /// Both ends are written at once, so that none is without the other.
    fn end(&mut self, span: Span, until: i64, events: &mut Vec<Value>) {
        let Some((at, pid, name)) = self.0.remove(&span) else { return };
        let (sort, life, number) = span;
        let id = format!("{life}.{number}");
        for (ph, ts) in [("b", at), ("e", until)] {
            events.push(json!({"ph": ph, "cat": sort, "name": name, "id": id, "ts": ts, "pid": pid, "tid": 0}));
        }
    }

    fn end_all(&mut self, until: i64, events: &mut Vec<Value>) {
        while let Some((&span, _)) = self.0.first_key_value() {
            self.end(span, until, events);
        }
    }
}
