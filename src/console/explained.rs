//! The questions of a lookup, for people.

use std::time::Duration;

use super::text::count;
use crate::node::explain::{Asked, Outcome, Wish};

/// A table of the questions: a heading and a line for each; nothing where there are none.
pub(super) fn questions(asked: &[Asked]) -> Vec<String> {
    if asked.is_empty() {
        return Vec::new();
    }
    let bits = asked.iter().any(|asked| asked.bits.is_some());
    let heading = format!("{:>9} {:>9}{}  question", "at", "took", if bits { "  bits" } else { "" });
    let lines = asked.iter().map(|one| {
        let took = one.took.map_or_else(|| "-".to_owned(), millis);
        let bits = if bits {
            format!(" {:>5}", one.bits.map_or_else(String::new, |bits| bits.to_string()))
        } else {
            String::new()
        };
        let id = one.id.map_or_else(|| "an unknown peer".to_owned(), |id| id.short());
        format!("{:>9} {took:>9}{bits}  {id} {}: {} {}", millis(one.begun), one.addr, wish(one.request), became(one))
    });
    [heading].into_iter().chain(lines).collect()
}

fn millis(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}

const fn wish(wish: Wish) -> &'static str {
    match wish {
        Wish::Nearer => "who is nearer?",
        Wish::Block => "do you hold it, or who is nearer?",
        Wish::Proof => "who are you?",
        Wish::Owner => "whose is it?",
    }
}

fn became(asked: &Asked) -> String {
    let outcome = match asked.outcome {
        Outcome::Open => "not waited for".to_owned(),
        Outcome::Named { peers, new } => format!("named {}, {new} of them new", count(peers as u64, "peer")),
        Outcome::Holds => "holds it".to_owned(),
        Outcome::Known => "said who it is".to_owned(),
        Outcome::Owned => "the owner answered".to_owned(),
        Outcome::Silent => "no answer".to_owned(),
    };
    let late = asked.late.map(|late| format!(", late after {}", millis(late)));
    let doubted = asked.doubted.map(|doubted| format!(", doubted after {}", millis(doubted)));
    [Some(outcome), late, doubted].into_iter().flatten().collect()
}
