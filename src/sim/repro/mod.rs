//! Published results as experiments: what a paper says, what this program does, and whether the two agree.
//!
//! Each experiment states its conventions, without which a number means nothing: what counts as a hop, whether a
//! request is repeated. The program under test is the one that runs on real sockets; only the network is virtual. The
//! quick size of each experiment is a test.

mod beside;
mod chord;
mod churn;
mod kademlia;
mod survival;

use std::fmt;

use super::world::Violation;

/// An experiment that repeats a published result.
pub struct Experiment {
    /// The experiment's name on the command line.
    pub name: &'static str,
    /// What the experiment measures, in a line.
    pub title: &'static str,
    /// The publication that the values come from.
    pub source: &'static str,
    /// What is counted, and how.
    pub conventions: &'static str,
    /// Whether it runs a quick size of itself too; the values are those of the full size otherwise.
    run: fn(&Setup<'_>) -> Result<Vec<Finding>, Violation>,
}

/// The settings of an experiment's run.
pub struct Setup<'a> {
    /// Whether to run the quick size, which takes seconds.
    pub quick: bool,
    /// The seed of all randomness.
    pub seed: u64,
    /// Called with the share of the work that is done, 0 to 1.
    pub progress: &'a dyn Fn(f64),
}

/// One number of a paper, and ours.
#[derive(Clone, PartialEq, Debug)]
pub struct Finding {
    /// What is measured, and for which setting.
    pub what: String,
    /// The published value.
    pub paper: f64,
    /// The value that this program shows.
    pub ours: f64,
    /// How near the two must be.
    pub tolerance: Tolerance,
}

/// How near our value must be to the published one.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum Tolerance {
    /// At most so much more or less.
    Within(f64),
    /// At most this share of the published value more or less.
    Share(f64),
    /// The published value or more.
    AtLeast,
    /// At most so many times the published value, plus so much.
    AtMost(f64, f64),
}

impl Finding {
    fn new(what: impl Into<String>, paper: f64, ours: f64, tolerance: Tolerance) -> Self {
        Self { what: what.into(), paper, ours, tolerance }
    }

    /// Whether our value is near enough to the published one.
    pub fn passes(&self) -> bool {
        let Self { paper, ours, .. } = *self;
        match self.tolerance {
            Tolerance::Within(most) => (ours - paper).abs() <= most,
            Tolerance::Share(most) => (ours - paper).abs() <= most * paper,
            Tolerance::AtLeast => ours >= paper,
            Tolerance::AtMost(times, more) => ours <= paper * times + more,
        }
    }
}

impl fmt::Display for Tolerance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Within(most) => write!(f, "± {most}"),
            Self::Share(most) => write!(f, "± {:.0} %", most * 100.0),
            Self::AtLeast => f.write_str("or more"),
            Self::AtMost(times, more) => write!(f, "≤ {times} × + {more}"),
        }
    }
}

impl Experiment {
    /// Runs the experiment.
    ///
    /// # Errors
    /// An invariant of the program that did not hold on the way.
    pub fn run(&self, setup: &Setup<'_>) -> Result<Vec<Finding>, Violation> {
        (self.run)(setup)
    }
}

/// All experiments, in the order in which they are best read.
pub const EXPERIMENTS: &[Experiment] = &[
    kademlia::HOPS,
    kademlia::GROWTH,
    kademlia::FOUND_AGAIN,
    survival::SURVIVAL,
    chord::PATH,
    chord::DISTRIBUTION,
    chord::KEYS,
    chord::VIRTUAL,
    chord::FAILURES,
    churn::CHURN,
    beside::BESIDE,
];

/// The experiment of this name.
pub fn find(name: &str) -> Option<&'static Experiment> {
    EXPERIMENTS.iter().find(|experiment| experiment.name == name)
}

/// The mean; 0 of nothing.
fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    let (sum, count) = values.into_iter().fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    if count == 0 { 0.0 } else { sum / f64::from(count) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_passes_if_it_is_near_enough_and_not_else() {
        let passes = |ours, tolerance| Finding::new("", 2.0, ours, tolerance).passes();
        assert!(passes(2.1, Tolerance::Within(0.11)) && !passes(2.2, Tolerance::Within(0.11)));
        assert!(passes(1.6, Tolerance::Share(0.25)) && !passes(1.4, Tolerance::Share(0.25)));
        assert!(passes(2.0, Tolerance::AtLeast) && !passes(1.9, Tolerance::AtLeast));
        assert!(passes(9.0, Tolerance::AtMost(2.0, 5.0)) && !passes(9.1, Tolerance::AtMost(2.0, 5.0)));
    }

    #[test]
    fn names_are_words_for_a_command_line_and_each_is_there_once() {
        for (at, experiment) in EXPERIMENTS.iter().enumerate() {
            assert!(experiment.name.chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{}", experiment.name);
            assert_eq!(EXPERIMENTS.iter().position(|other| other.name == experiment.name), Some(at));
        }
    }
}
