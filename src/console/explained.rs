//! The questions of a lookup, for people: a table, and where the lookup's time went.

use std::time::Duration;

use super::escape::escape;
use super::text::count;
use crate::node::notice::{AskedFor, AskedQuestion, QuestionOutcome};
use crate::overlay::AskReason;

/// A table of the questions of a lookup that took so long: a heading and a line for each; below it where the time went,
/// and who passed a question on. Nothing where there are none.
pub(super) fn questions(asked: &[AskedQuestion], took: Duration) -> Vec<String> {
    if asked.is_empty() {
        return Vec::new();
    }
    let heading = format!("{:>9} {:>9} {:>8} {:>6}  {:<8} question", "at", "took", "distance", "gained", "why");
    let lines = asked.iter().map(|one| {
        let took = one.took.map_or_else(|| "-".to_owned(), millis);
        let distance = one.distance.map_or_else(String::new, |bits| format!("2^{bits}"));
        let gained = one.gained.map_or_else(String::new, |bits| format!("{bits:+}"));
        let begins = format!("{:>9} {took:>9} {distance:>8} {gained:>6}  {:<8}", millis(one.begun), why(one.reason));
        format!("{begins} {}: {} {}", who(one), wish(one), became(one))
    });
    [heading].into_iter().chain(lines).chain(time_went(asked, took)).chain(ways(asked)).collect()
}

/// A line for each question that the lookup's time went by with, and one for what is left.
fn time_went(asked: &[AskedQuestion], took: Duration) -> Vec<String> {
    let waited = asked.iter().filter_map(|one| Some((one, one.waited?)));
    let lines: Vec<String> =
        waited.clone().map(|(one, span)| format!("{:>11}  {}: {}", millis(span), who(one), spent(one, span))).collect();
    let rest = took.saturating_sub(waited.map(|(_, span)| span).sum());
    let rest = (!rest.is_zero()).then(|| format!("{:>11}  what was no answer to a question of its own", millis(rest)));
    [format!("of {} went", millis(took))].into_iter().chain(lines).chain(rest).collect()
}

/// What so much time brought.
fn spent(one: &AskedQuestion, span: Duration) -> String {
    let messages = count(u64::from(one.sent), "message");
    if one.took == Some(span) {
        return match one.outcome {
            QuestionOutcome::Silent => format!("a silent peer: {messages}"),
            QuestionOutcome::Refused { .. } => format!("a peer that refused: {messages}"),
            _ if one.sent > 1 => format!("an answer, after {messages}"),
            _ => "an answer".to_owned(),
        };
    }
    let how = if one.doubted == Some(span) { "doubted" } else { "late" };
    let ends = match one.outcome {
        QuestionOutcome::Open | QuestionOutcome::Silent => "a silent peer",
        _ => "a slow peer",
    };
    format!("{ends}, {how}: {messages}")
}

/// The peers that passed each question on, where that was told.
fn ways(asked: &[AskedQuestion]) -> impl Iterator<Item = String> {
    let told = asked.iter().filter(|one| !one.trail.is_empty());
    told.map(|one| {
        let hops = one.trail.iter().map(|peer| format!("{} {}", peer.id.short(), peer.addr));
        format!("passed on by {}, and answered by the owner", hops.collect::<Vec<_>>().join(", by "))
    })
}

pub(super) fn millis(span: Duration) -> String {
    format!("{:.2} ms", span.as_secs_f64() * 1e3)
}

pub(super) fn who(one: &AskedQuestion) -> String {
    let id = one.id.map_or_else(|| "an unknown peer".to_owned(), |id| id.short());
    format!("{id} {}", one.addr)
}

pub(super) const fn why(reason: AskReason) -> &'static str {
    match reason {
        AskReason::Nearest => "nearest",
        AskReason::Wide => "wide",
        AskReason::Repeat => "repeat",
        AskReason::Proof => "proof",
        AskReason::Beside => "beside",
    }
}

fn wish(one: &AskedQuestion) -> &'static str {
    match one.request {
        AskedFor::Nearer => "who is nearer?",
        AskedFor::Block => "do you hold it, or who is nearer?",
        AskedFor::Proof if one.reason == AskReason::Beside => "are you there?",
        AskedFor::Proof => "who are you?",
        AskedFor::Owner => "whose is it?",
    }
}

/// What became of a question.
pub(super) fn became(asked: &AskedQuestion) -> String {
    let outcome = match asked.outcome {
        QuestionOutcome::Open => "not waited for".to_owned(),
        QuestionOutcome::Named { peers, new } => format!("named {}, {new} of them new", count(peers as u64, "peer")),
        QuestionOutcome::Holds => "holds it".to_owned(),
        QuestionOutcome::Known => "said who it is".to_owned(),
        QuestionOutcome::Owned => "the owner answered".to_owned(),
        QuestionOutcome::Refused { ref reason } => format!("refused: {}", escape(reason)),
        QuestionOutcome::Silent => "no answer".to_owned(),
    };
    let late = asked.late.map(|late| format!(", late after {}", millis(late)));
    let doubted = asked.doubted.map(|doubted| format!(", doubted after {}", millis(doubted)));
    let sent = (asked.sent > 1).then(|| format!(", {} messages", asked.sent));
    [Some(outcome), late, doubted, sent].into_iter().flatten().collect()
}
