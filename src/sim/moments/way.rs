//! The critical path: what the last of some moments waited for, one thing after the other.

use super::history::History;
use crate::node::Event;

/// What can be waited for: messages under way, work of other threads, the clock, and whatever else.
const WAITS: [&str; 4] = ["messages", "work", "the clock", "others"];

impl History {
    /// The chain of causes that leads to the last of these moments, as far as it is among them, the first cause first.
    pub fn way(&self, moments: &[usize]) -> Vec<usize> {
        let Some(&last) = moments.last() else { return Vec::new() };
        self.why(last).into_iter().filter(|moment| moments.binary_search(moment).is_ok()).collect()
    }

    /// Where the time went on this way, in a line.
    pub fn waits(&self, way: &[usize]) -> String {
        let mut sums = [0; WAITS.len()];
        for pair in way.windows(2) {
            let (cause, effect) = (&self.moments[pair[0]], &self.moments[pair[1]]);
            let sort = match effect.moment.event {
                Event::Message { .. } => 0,
                Event::JobDone { .. } => 1,
                Event::Tick => 2,
                _ => 3,
            };
            sums[sort] += effect.at - cause.at;
        }
        let parts: Vec<String> = WAITS
            .iter()
            .zip(sums)
            .filter(|(_, sum)| *sum > 0)
            .map(|(what, sum)| format!("{} for {what}", millis(sum)))
            .collect();
        let parts = if parts.is_empty() { "for nothing".to_owned() } else { parts.join(", ") };
        format!("the last of them waited {}: {parts}", millis(sums.iter().sum()))
    }
}

/// Microseconds as milliseconds, for people.
pub(super) fn millis(micros: i64) -> String {
    format!("{:.3} ms", micros as f64 / 1e3)
}
