//! Answers as programs read them. [`PAGE`] documents every field; a test compares.

use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Number, Value, json};

use super::escape::escape_json;
use super::reply::LineReply;
use crate::id::Id;
use crate::network::NetworkName;
use crate::node::{FailureKind, Notice, Phase};
use crate::peer::Peer;

/// The fields of every answer, for people.
pub const PAGE: &str = include_str!("json.txt");

/// The answer as one line of JSON, without its end.
pub(super) fn render(reply: &LineReply) -> String {
    // Every map in an answer has text for keys and no value refuses, so this cannot fail.
    let mut value = serde_json::to_value(reply)
        .unwrap_or_else(|error| json!({ "answer": "failed", "kind": "other", "reason": error.to_string() }));
    if let Some(files) = value.get_mut("files").and_then(Value::as_array_mut) {
        files.iter_mut().filter_map(|file| file.get_mut("lease")).for_each(in_milliseconds);
    }
    let listed = value["answer"] == "list";
    escape_json(plain(value, listed).to_string())
}

/// A lease of the catalogue, whose times are in seconds there.
fn in_milliseconds(lease: &mut Value) {
    for time in ["until", "lasts"] {
        if let Some(seconds) = lease[time].as_u64() {
            lease[time] = seconds.saturating_mul(1000).into();
        }
    }
}

/// The first event: from here on all are told.
pub(super) fn watching(me: &Peer, time: Duration) -> String {
    json!({ "event": "watching", "time": milliseconds_of(time), "id": me.id, "addr": me.addr }).to_string()
}

/// The event that a peer is ready, of the fields in `announced`, a JSON object.
pub fn ready(announced: &str, time: Duration) -> String {
    let mut value: Value = serde_json::from_str(announced).unwrap_or_default();
    value["event"] = "ready".into();
    value["time"] = milliseconds_of(time).into();
    value.to_string()
}

/// What tells where a peer is that is ready, in this order.
#[derive(Serialize)]
pub struct Announced {
    id: Id,
    udp: u16,
    tcp: u16,
    pid: u32,
    sealed: bool,
    network: NetworkName,
    /// Peers that answer and did not let this one in, where it is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    shut_out: Option<usize>,
}

impl Announced {
    /// What this process tells of its peer `id` on `port`: whether a network key seals its traffic, and the name of its
    /// network.
    pub fn new(id: Id, port: u16, (sealed, network): (bool, NetworkName)) -> Self {
        Self { id, udp: port, tcp: port, pid: std::process::id(), sealed, network, shut_out: None }
    }

    /// The same of a peer that is alone, for so many that answer did not let it in.
    pub fn shut_out(self, by: usize) -> Self {
        Self { shut_out: (by > 0).then_some(by), ..self }
    }

    /// It as JSON.
    pub fn text(&self) -> String {
        // Nothing in it can fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// So many events are missing here.
pub(super) fn missed(notices: u64, time: Duration) -> String {
    json!({ "event": "missed", "time": milliseconds_of(time), "missed": notices }).to_string()
}

/// A command has made progress, or has ended.
fn of_command(notice: &Notice) -> Option<Value> {
    let (mut value, session) = match *notice {
        Notice::Step { command, session, phase, done, of } => {
            let unit = if phase == Phase::HandingOver { "blocks" } else { "bytes" };
            (json!({ "event": "progress", "command": command, "phase": phase, unit: done, "of": of }), session)
        }
        Notice::Ended { command, session, phase, failure } => {
            let code = failure.map_or(0, FailureKind::code);
            (json!({ "event": "ended", "command": command, "phase": phase, "code": code }), session)
        }
        _ => return None,
    };
    // People know a session by the number that `jobs` tells.
    if session > 0 {
        value["job"] = session.into();
    }
    Some(value)
}

/// One of the classroom ring's lines.
pub fn line(line: &str, time: Duration) -> String {
    escape_json(json!({ "event": "line", "time": milliseconds_of(time), "line": line }).to_string())
}

fn milliseconds_of(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// A notice as one line of JSON, at a time since 1970; none where it tells nothing of the peer's life.
pub(super) fn event(notice: &Notice, time: Duration) -> Option<String> {
    if let Some(mut value) = of_command(notice) {
        value["time"] = milliseconds_of(time).into();
        return Some(value.to_string());
    }
    let (mut value, kind) = match notice {
        Notice::File { file, news } => {
            let mut value = serde_json::to_value(news).ok()?;
            value["file"] = file.to_string().into();
            value["event"] = "file".into();
            (value, "event")
        }
        Notice::Answer { answer, .. } => (serde_json::to_value(answer).ok()?, "answer"),
        Notice::Done { answer, named, .. } => {
            let (mut value, named) = (serde_json::to_value(answer).ok()?, serde_json::to_value(named).ok()?);
            value.as_object_mut()?.extend(named.as_object()?.clone());
            (value, "answer")
        }
        Notice::Progress { .. } | Notice::Trouble { .. } | Notice::Route { .. } => return None,
        other => (serde_json::to_value(other).ok()?, "notice"),
    };
    let fields = value.as_object_mut()?;
    let event = fields.remove(kind)?;
    fields.insert("event".to_owned(), event);
    fields.insert("time".to_owned(), milliseconds_of(time).into());
    Some(escape_json(plain(value, false).to_string()))
}

/// A value with each time as a number of milliseconds, and in a list each pair of key and size as an object.
fn plain(value: Value, listed: bool) -> Value {
    match value {
        Value::Object(fields) => milliseconds(&fields).unwrap_or_else(|| {
            Value::Object(fields.into_iter().map(|(name, value)| (name, plain(value, listed))).collect())
        }),
        Value::Array(values) => Value::Array(values.into_iter().map(|value| block(value, listed)).collect()),
        other => other,
    }
}

fn block(value: Value, listed: bool) -> Value {
    match value.as_array().map(Vec::as_slice) {
        Some([key, bytes]) if listed => json!({ "key": key, "bytes": bytes }),
        _ => plain(value, listed),
    }
}

/// The milliseconds of a time in the form that serde gives it; none of anything else. Microseconds are told.
fn milliseconds(fields: &Map<String, Value>) -> Option<Value> {
    let (seconds, nanos) = (fields.get("secs")?.as_u64()?, fields.get("nanos")?.as_u64()?);
    let micros = seconds.checked_mul(1_000_000)?.checked_add(nanos / 1000)?;
    // The digits behind the point come out as they are: a time of years has fewer than 2^53 microseconds.
    Number::from_f64(micros as f64 / 1000.0).filter(|_| fields.len() == 2).map(Value::Number)
}

#[cfg(test)]
mod tests;
