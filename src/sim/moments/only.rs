//! One request alone: the moments that a word names, and what they came of.

use std::collections::BTreeSet;

use super::history::{CameOf, History};
use super::words::said;
use crate::node::{Action, Event, Notice};

/// Digits that name a key.
const DIGITS: usize = 4;

impl History {
    /// The moments that `word` names, with what led to them, in order. It is the number or the name of a command, then
    /// all that came of it is among them; or the first digits of a key; or a sort of message, job or event.
    ///
    /// # Errors
    /// It names nothing here; says what there is.
    pub fn only(&self, word: &str) -> Result<Vec<usize>, String> {
        let word = word.to_lowercase();
        let commands: Vec<usize> = (0..self.moments.len()).filter(|&moment| self.is_command(moment, &word)).collect();
        let mut found: BTreeSet<usize> = self.effects(&commands);
        if commands.is_empty() {
            let is_key = Self::is_key(&word);
            let named =
                |moment: &usize| if is_key { self.mentions(*moment, &word) } else { self.is_of(*moment, &word) };
            let named: Vec<usize> = (0..self.moments.len()).filter(named).collect();
            found.extend(named.into_iter().flat_map(|moment| self.without_clocks(moment)));
        }
        if found.is_empty() {
            Err(format!("nothing here is called '{word}'; {}", self.there_is()))
        } else {
            Ok(found.into_iter().collect())
        }
    }

    pub(in crate::sim) fn is_command(&self, moment: usize, word: &str) -> bool {
        let Event::Command { id, command } = &self.moments[moment].moment.event else { return false };
        let text = said(command);
        let name = text.split(' ').next().unwrap_or_default();
        word.parse() == Ok(*id) || name == word || name.strip_prefix(word).is_some_and(|rest| rest.starts_with('_'))
    }

    /// What came of these commands, until each was answered; deadlines lead from everything to everything, so what only
    /// the clock began is left out.
    fn effects(&self, commands: &[usize]) -> BTreeSet<usize> {
        let mut found = BTreeSet::new();
        for &command in commands {
            let mut effects = BTreeSet::from([command]);
            for (moment, seen) in self.moments.iter().enumerate().skip(command) {
                let by_clock = seen.moment.event == Event::Tick;
                if let (CameOf::Moment(cause), false) = (seen.cause, by_clock)
                    && effects.contains(&cause)
                {
                    effects.insert(moment);
                }
                if self.answers(command, moment) {
                    // What the answer waited for belongs to it, even where that was a deadline.
                    effects.extend(self.why(moment).into_iter().filter(|cause| *cause >= command));
                    break;
                }
            }
            found.extend(effects);
        }
        found
    }

    fn answers(&self, asked: usize, moment: usize) -> bool {
        let (asked, seen) = (&self.moments[asked], &self.moments[moment]);
        let Event::Command { id, .. } = asked.moment.event else { return false };
        let answer =
            |action: &Action| matches!(action, Action::Notify(Notice::Answer { command, .. }) if *command == id);
        asked.peer == seen.peer && seen.moment.actions.iter().any(answer)
    }

    /// Whether a key that begins so is in it.
    pub(in crate::sim) fn mentions(&self, moment: usize, digits: &str) -> bool {
        let text = serde_json::to_string(&self.moments[moment].moment).unwrap_or_default();
        text.contains(&format!("\"{digits}"))
    }

    /// Whether a message, job or event in it is called so.
    pub(in crate::sim) fn is_of(&self, moment: usize, word: &str) -> bool {
        self.sorts(moment).iter().any(|sort| sort == word)
    }

    /// What the messages, jobs and events of a moment are called.
    fn sorts(&self, moment: usize) -> Vec<String> {
        let actions = self.moments[moment].moment.actions.iter().filter_map(|action| match action {
            Action::Send { message, .. } => Some(first_word(said(&message.body))),
            Action::Start { work, .. } => Some(first_word(said(work))),
            _ => None,
        });
        std::iter::once(self.sort(moment)).chain(actions).collect()
    }

    /// What the message, outcome or other event of a moment is called.
    pub(super) fn sort(&self, moment: usize) -> String {
        first_word(match &self.moments[moment].moment.event {
            Event::Message { message, .. } | Event::Undeliverable { message, .. } => said(&message.body),
            Event::JobDone { outcome, .. } => said(outcome),
            event => said(event),
        })
    }

    /// What led to a moment, back to what a clock began.
    fn without_clocks(&self, moment: usize) -> Vec<usize> {
        let chain = self.why(moment);
        let begun = chain.iter().rposition(|&moment| self.moments[moment].moment.event == Event::Tick);
        chain[begun.unwrap_or_default()..].to_vec()
    }

    /// Whether a word can only be the first digits of a key.
    pub(in crate::sim) fn is_key(word: &str) -> bool {
        word.len() >= DIGITS && word.bytes().all(|digit| digit.is_ascii_hexdigit())
    }

    /// What can be asked for.
    pub(in crate::sim) fn there_is(&self) -> String {
        let all = 0..self.moments.len();
        let commands: BTreeSet<String> = all
            .clone()
            .filter_map(|moment| match &self.moments[moment].moment.event {
                Event::Command { id, command } => Some(format!("{id} ({})", said(command))),
                _ => None,
            })
            .collect();
        let sorts: BTreeSet<String> = all.flat_map(|moment| self.sorts(moment)).collect();
        let list = |words: BTreeSet<String>| words.into_iter().collect::<Vec<_>>().join(", ");
        let commands = match commands.len() {
            0 => "no commands".to_owned(),
            _ => format!("the commands {}", list(commands)),
        };
        format!("there are {commands}, the first {DIGITS} digits or more of a key, and {}", list(sorts))
    }
}

fn first_word(text: String) -> String {
    text.split(' ').next().unwrap_or_default().to_owned()
}
