//! A search for a pattern: sorts of messages, jobs and events, of which each came of the one before it.
//!
//! `find_node nodes` is an answer `nodes` that came of a question `find_node`; with `…` (or `...`) between them, any
//! moments may lie between. A chain begins at the latest where the clock began something, since deadlines lead from
//! everything to everything.

use super::history::{CameOf, History};
use crate::node::Event;

/// A word of a pattern, and whether any moments may lie between the one before and it.
struct Word {
    sort: String,
    far: bool,
}

impl History {
    /// Where the pattern is found: for each place its moments, those between them included, the first cause first.
    ///
    /// # Errors
    /// It names a sort that is not there, or none; says what there is.
    pub fn find(&self, pattern: &str) -> Result<Vec<Vec<usize>>, String> {
        let sorts: Vec<String> = (0..self.moments.len()).map(|moment| self.sort(moment)).collect();
        let mut words = Vec::new();
        let mut far = false;
        for word in pattern.split_whitespace() {
            if word == "…" || word == "..." {
                far = true;
                continue;
            }
            let sort = word.to_lowercase();
            if !sorts.contains(&sort) {
                return Err(format!("nothing here is called '{word}'; there are {}", list(&sorts)));
            }
            words.push(Word { sort, far: std::mem::take(&mut far) });
        }
        if words.is_empty() {
            return Err(format!(
                "a pattern is the names of messages, as in 'find_node … nodes'; there are {}",
                list(&sorts)
            ));
        }
        Ok((0..self.moments.len()).filter_map(|moment| self.ends(moment, &words, &sorts)).collect())
    }

    /// The moments of the pattern that ends with this one, if it does.
    fn ends(&self, moment: usize, words: &[Word], sorts: &[String]) -> Option<Vec<usize>> {
        let (last, before) = words.split_last()?;
        if last.sort != sorts[moment] {
            return None;
        }
        if before.is_empty() {
            return Some(vec![moment]);
        }
        let mut between = vec![moment];
        let mut cause = self.before(moment);
        while let Some(present) = cause {
            if let Some(mut found) = self.ends(present, before, sorts) {
                found.extend(between.iter().rev());
                return Some(found);
            }
            between.push(present);
            cause = self.before(present).filter(|_| last.far);
        }
        None
    }

    fn before(&self, moment: usize) -> Option<usize> {
        let seen = &self.moments[moment];
        match seen.cause {
            CameOf::Moment(cause) if cause < moment && seen.moment.event != Event::Tick => Some(cause),
            _ => None,
        }
    }
}

fn list(sorts: &[String]) -> String {
    let mut sorts: Vec<&str> = sorts.iter().map(String::as_str).collect();
    sorts.sort_unstable();
    sorts.dedup();
    sorts.join(", ")
}
