//! What is stepped through: moments in the order in which they happened, and what is noted between them.

use crate::sim::moments::history::History;
use crate::time::Time;

/// Moments from the first to the last. A step is one of them; *done* is how many of them have happened.
pub(super) struct Tape {
    pub(super) history: History,
    /// The numbers of each life's moments.
    lives: Vec<Vec<usize>>,
    /// What was noted, and how many moments had happened then.
    notes: Vec<(usize, String)>,
    /// Why nothing comes after the last moment.
    pub(super) end: String,
}

impl Tape {
    pub(super) fn new(history: History, notes: Vec<(usize, String)>, end: String) -> Self {
        let mut lives = vec![Vec::new(); history.beginnings.len()];
        for (number, seen) in history.moments.iter().enumerate() {
            lives[seen.life].push(number);
        }
        Self { history, lives, notes, end }
    }

    pub(super) fn len(&self) -> usize {
        self.history.moments.len()
    }

    /// When a moment happened, since the first one.
    pub(super) fn at(&self, moment: usize) -> Time {
        let at = self.history.moments.get(moment).map_or(0, |seen| seen.at);
        Time::from_micros(u64::try_from(at).unwrap_or_default())
    }

    /// What a moment's peer is called.
    pub(super) fn peer(&self, moment: usize) -> &str {
        &self.history.peers[self.history.moments[moment].peer].name
    }

    /// The life that a peer has or had last when `done` moments had happened, and how many of them were that life's.
    pub(super) fn life_of(&self, peer: usize, done: usize) -> Option<(usize, usize)> {
        let is_its = |&moment: &usize| moment < done && self.history.moments[moment].peer == peer;
        let life = self.lives.iter().rposition(|moments| moments.first().is_some_and(is_its))?;
        Some((life, self.of_life_until(life, done)))
    }

    /// How many of a life's moments were among the first `done`.
    pub(super) fn of_life_until(&self, life: usize, done: usize) -> usize {
        self.lives[life].partition_point(|&moment| moment < done)
    }

    /// The first moments of a life.
    pub(super) fn of_life(&self, life: usize, count: usize) -> &[usize] {
        &self.lives[life][..count]
    }

    /// What was noted when so many moments had happened.
    pub(super) fn notes(&self, done: usize) -> impl Iterator<Item = &str> {
        let from = self.notes.partition_point(|(at, _)| *at < done);
        self.notes[from..].iter().take_while(move |(at, _)| *at == done).map(|(_, what)| what.as_str())
    }

    /// The first moment from which on the core does something else today than was recorded.
    pub(super) fn unfaithful(&self) -> Option<usize> {
        self.history.moments.iter().position(|seen| !seen.faithful)
    }
}
