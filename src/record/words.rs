//! What happened, in a few words, for traces and logs: from the JSON of a record, so that a new message or job has its
//! words at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::Serialize;
use serde_json::Value;

use crate::node::{Action, Event, Notice, Obstacle};
use crate::wire::Message;

/// Names by which a reader tells peers and messages apart.
#[derive(Default)]
pub(crate) struct Names {
    pub(crate) peers: BTreeMap<SocketAddr, String>,
    /// Short numbers of magic ones, in the order in which they first appear.
    pub(crate) magics: BTreeMap<u64, usize>,
}

/// Around what is said: the words inside say it all.
const WRAPS: [&str; 4] = ["Request", "Response", "Ring", "Named"];
/// Fields that hold what is said inside.
const INSIDE: [&str; 2] = ["what", "store"];
/// Fields that tell what it is about, the first that is there.
const SUBJECTS: [&str; 9] = ["key", "id", "file", "slot", "entry", "path", "dest", "reason", "entries"];
/// What is called as others are that say the same in more words, or in fewer.
const CALLED: [(&str, &str); 3] = [("Holder", "node"), ("Here", "node"), ("Named", "nodes")];
/// Digits of a key, for people.
const DIGITS: usize = 6;

/// The name of a message, job, outcome or command and what it is about, such as `find_node 4f2a11`.
pub(crate) fn said(value: &impl Serialize) -> String {
    serde_json::to_value(value).map_or_else(|error| error.to_string(), |value| describe(&value))
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(name) => snake(name),
        Value::Object(fields) => {
            let Some((name, inner)) = fields.iter().next() else { return String::new() };
            let inside = INSIDE.iter().find_map(|field| inner.get(field)).filter(|inside| inside.is_object());
            let text = match inside.or_else(|| inside_string(inner)) {
                Some(inside) => describe(inside),
                None if WRAPS.contains(&name.as_str()) && is_said(inner) => describe(inner),
                None => format!("{} {}", snake(name), subject(inner)),
            };
            text.trim_end().to_owned()
        }
        _ => subject(value),
    }
}

/// Whether it is a name with what it is about; else it is the fields of something that is called as a wrap is.
fn is_said(value: &Value) -> bool {
    let name = value.as_str().or_else(|| value.as_object()?.keys().next().map(String::as_str));
    name.is_some_and(|name| name.starts_with(char::is_uppercase))
}

/// What is routed may need no fields: then it is a word.
fn inside_string(inner: &Value) -> Option<&Value> {
    inner.get("what").filter(|what| what.is_string())
}

fn subject(value: &Value) -> String {
    match value {
        // Of a path the last part is enough.
        Value::String(path) if path.contains('/') && !path.ends_with('/') => {
            let last = path.rsplit('/').next().unwrap_or_default();
            subject(&Value::String(last.to_owned()))
        }
        Value::String(text) if text.len() == 64 && text.bytes().all(|digit| digit.is_ascii_hexdigit()) => {
            // A classroom's ids are small numbers.
            let number = text.trim_start_matches('0');
            if number.len() <= 2 { number.to_owned() } else { text[..DIGITS].to_owned() }
        }
        Value::String(text) => text.clone(),
        Value::Array(list) => format!("×{}", list.len()),
        Value::Object(fields) => SUBJECTS.iter().find_map(|field| fields.get(*field)).map_or(String::new(), subject),
        Value::Number(number) => number.to_string(),
        Value::Bool(_) | Value::Null => String::new(),
    }
}

/// `FindNode` as `find_node`.
fn snake(name: &str) -> String {
    if let Some((_, called)) = CALLED.iter().find(|(known, _)| *known == name) {
        return (*called).to_owned();
    }
    let mut text = String::new();
    for (at, letter) in name.char_indices() {
        if letter.is_uppercase() && at > 0 && !name[..at].ends_with(' ') {
            text.push('_');
        }
        text.extend(letter.to_lowercase());
    }
    text
}

impl Names {
    pub(crate) fn peer(&self, addr: &SocketAddr) -> String {
        self.peers.get(addr).cloned().unwrap_or_else(|| addr.to_string())
    }

    pub(crate) fn number(&self, magic: u64) -> String {
        format!("#{}", self.magics.get(&magic).map_or_else(|| magic.to_string(), usize::to_string))
    }

    fn message(&self, message: &Message) -> String {
        format!("{} {}", self.number(message.magic), said(&message.body))
    }

    /// What happened.
    pub(crate) fn event(&self, event: &Event) -> String {
        match event {
            Event::Start { .. } => "starts".to_owned(),
            Event::Message { from, message, .. } => format!("{}→ {}", self.peer(from), self.message(message)),
            Event::Undeliverable { to, message, obstacle } => {
                let sign = if *obstacle == Obstacle::Delay { '…' } else { '×' };
                format!("{sign}{} {}", self.peer(to), self.message(message))
            }
            Event::NoWay { to, .. } => format!("no way to {}", self.peer(to)),
            Event::Validated { addr } => format!("connected to {}", self.peer(addr)),
            Event::Command { id, command } => format!("command {id}: {}", said(command)),
            Event::JobDone { job, outcome } => format!("job {job}: {}", said(outcome)),
            Event::Moved { addr } => format!("is at {addr}"),
            Event::Fetching { file, by, goes_on: true } => format!("{} comes for {file}", self.peer(by)),
            Event::Fetching { file, by, goes_on: false } => format!("{} has ended with {file}", self.peer(by)),
            Event::Fetched { file, by } => format!("{file} fetched by {}", self.peer(by)),
            Event::Damaged { .. }
            | Event::Missing { .. }
            | Event::FolderGone
            | Event::FolderBack { .. }
            | Event::Asked { .. }
            | Event::Delivered { .. }
            | Event::Flows { .. }
            | Event::Dropped { .. }
            | Event::Tick => said(event),
        }
    }

    /// What is to be done about it, if that is more than to tell those who watch.
    pub(crate) fn action(&self, action: &Action) -> Option<String> {
        Some(match action {
            Action::Send { to, message, .. } => format!("→{} {}", self.peer(to), self.message(message)),
            Action::Start { job, work } => format!("job {job} {}", said(work)),
            Action::Notify(Notice::Answer { command, answer }) => {
                format!("answers {command}: {}", answer_word(&serde_json::to_value(answer).unwrap_or_default()))
            }
            Action::Notify(_) => return None,
            Action::Cancel { job } => format!("cancels job {job}"),
            Action::Withdraw { .. } | Action::ForgetPut { .. } | Action::ForgetGet { .. } => said(action),
            Action::Stop => "stops".to_owned(),
        })
    }

    /// The whole moment, in one line; `timing` stands behind it.
    pub(crate) fn moment(&self, event: &Event, actions: &[Action], timing: &str) -> String {
        let actions: Vec<String> = actions.iter().filter_map(|action| self.action(action)).collect();
        let event = self.event(event);
        if actions.is_empty() { event + timing } else { format!("{event} ⇒ {}{timing}", actions.join(", ")) }
    }
}

/// Answers carry their name in a field.
fn answer_word(answer: &Value) -> String {
    let name = answer.get("answer").and_then(Value::as_str);
    name.map_or_else(|| describe(answer), |name| format!("{name} {}", subject(answer)).trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::node::Command;
    use crate::node::job::{Job, NamedJob};
    use crate::peer::Peer;
    use crate::wire::ring::{RingRequest, Route, Routed};
    use crate::wire::{Body, Request, Response};

    #[test]
    fn words_are_short_and_say_what_it_is_about() {
        let key = Id::of(b"block");
        let short = &key.to_string()[..6];
        assert_eq!(said(&Body::Request(Request::FindNode { id: key })), format!("find_node {short}"));
        assert_eq!(said(&Body::Request(Request::Ping)), "ping");
        assert_eq!(said(&Body::Response(Response::Nodes(Vec::new()))), "nodes ×0");
        assert_eq!(said(&Body::Response(Response::Named(Vec::new()))), "nodes ×0");
        assert_eq!(said(&Body::Response(Response::Here)), "node");
        assert_eq!(said(&Body::Error("no room".to_owned())), "error no room");
        assert_eq!(said(&Job::Delete { key }), format!("delete {short}"));
        assert_eq!(said(&Job::Named(NamedJob::Scan)), "scan");
        let origin = Peer::new(Id::from_u64(7), SocketAddr::from(([127, 0, 0, 1], 12007)));
        let route = Route::of(origin);
        let routed = |what| Body::Request(Request::Ring(RingRequest::Routed { route: route.clone(), what }));
        assert_eq!(said(&routed(Routed::Join)), "join");
        let file = "2067".parse().expect("a name");
        assert_eq!(said(&routed(Routed::Request { file })), "request 2067");
        let store = Command::Store { path: "/home/me/report.pdf".into(), manifest: None, keep: false };
        assert_eq!(said(&store), "store report.pdf");
        assert_eq!(said(&routed(Routed::Lookup { key: Id::from_u64(200) })), "lookup c8");
    }
}
