//! A history as a file for Perfetto (ui.perfetto.dev) and other readers of Chrome's trace events.
//!
//! A process for each peer, and in it a lane for each thread that is known. Moments are slices on the node's lane: the
//! first of a turn is as long as the turn, where that was recorded, and any other a microsecond. What a worker did for
//! a job is a slice on its own lane. Jobs, commands and waits in queues overlap, so they are asynchronous spans; a
//! message is a flow from the slice of its sending to that of its arrival. A message that was lost, or went to a peer
//! that was not recorded, has no second end and is left out.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::{Value, json};

use super::history::{CameOf, History, Seen};
use super::words::said;
use crate::node::{Action, Event, Notice};
use crate::record::{Queued, Work};

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
    let (mut spans, mut lanes) = (Spans::default(), Lanes::default());
    let shown = |moment: &usize| moments.binary_search(moment).is_ok();
    for &moment in moments {
        let seen = &history.moments[moment];
        let actions: Vec<String> =
            seen.moment.actions.iter().filter_map(|action| history.names.action(action)).collect();
        let (name, pid) = (history.names.event(&seen.moment.event), seen.peer);
        let took = lanes.turn(seen);
        events.push(json!({
            "ph": "X", "name": name, "ts": seen.at, "dur": took, "pid": pid, "tid": 0,
            "args": {"actions": actions, "timing": seen.moment.timing},
        }));
        lanes.draw(seen, moment, &mut events);
        if let (Event::Message { message, .. }, CameOf::Moment(sent)) = (&seen.moment.event, seen.cause)
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

/// The lanes of threads, by process and name; the node's is 0. And when the last turn of each process ended.
#[derive(Default)]
struct Lanes(BTreeMap<(usize, String), usize>, BTreeMap<usize, i64>);

impl Lanes {
    /// How long the slice of a moment is: that of its turn, if it is the first of it.
    fn turn(&mut self, seen: &Seen) -> u64 {
        let Some(timing) = &seen.moment.timing else { return 1 };
        let until = seen.at + timing.took as i64;
        let is_first = self.1.insert(seen.peer, until) != Some(until);
        if is_first { timing.took.max(1) } else { 1 }
    }

    /// Draws a moment's wait in its queue, and the work that it is the outcome of.
    fn draw(&mut self, seen: &Seen, moment: usize, events: &mut Vec<Value>) {
        let (pid, timing) = (seen.peer, seen.moment.timing.as_ref());
        if let Some(Queued { queue, put, .. }) = timing.and_then(|timing| timing.queued.as_ref()) {
            for (ph, ts) in [("b", seen.time(*put)), ("e", seen.at)] {
                let id = format!("queue {moment}");
                events.push(json!({"ph": ph, "cat": "queue", "name": queue, "id": id, "ts": ts, "pid": pid, "tid": 0}));
            }
        }
        let Some(Work { worker, from, until }) = timing.and_then(|timing| timing.work.as_ref()) else { return };
        let next = self.0.len() + 1;
        let tid = *self.0.entry((pid, worker.to_string())).or_insert_with(|| {
            let args = json!({"name": worker});
            events.push(json!({"ph": "M", "name": "thread_name", "pid": pid, "tid": next, "args": args}));
            next
        });
        let name = if let Event::JobDone { job, outcome } = &seen.moment.event {
            format!("job {job}: {}", said(outcome))
        } else {
            String::new()
        };
        let (from, until) = (seen.time(*from), seen.time(*until));
        let dur = (until - from).max(1);
        events.push(json!({"ph": "X", "name": name, "ts": from, "dur": dur, "pid": pid, "tid": tid}));
    }
}

/// What is under way: its sort, the life and its number there.
type TrackSpan = (&'static str, usize, u64);

/// Spans that have begun: when, in which process, and what they are.
#[derive(Default)]
struct Spans(BTreeMap<TrackSpan, (i64, usize, String)>);

impl Spans {
    fn begin(&mut self, span: TrackSpan, (at, pid): (i64, usize), name: String) {
        self.0.insert(span, (at, pid, name));
    }

    /// Both ends are written at once, so that none is without the other.
    fn end(&mut self, span: TrackSpan, until: i64, events: &mut Vec<Value>) {
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
