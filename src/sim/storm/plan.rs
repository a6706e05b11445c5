//! The settings of a storm, and its report.

use std::fmt;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{CALM_AFTER, CALM_BEFORE, STORM, Storm};
use crate::id::Id;
use crate::overlay::OverlayKind;
use crate::sim::choices::{Choices, WaitingEvent};
use crate::sim::faults::{Strike, schedule};
use crate::sim::kind;
use crate::sim::sabotage::Saboteur;
use crate::sim::tally::Counts;
use crate::sim::trace::Trace;
use crate::sim::world::{RecordSink, Violation};

/// All settings of a storm: they determine the run.
#[derive(Clone, Debug)]
pub struct StormPlan {
    /// The overlay.
    pub kind: OverlayKind,
    /// Whether the peers are a classroom ring, whose users store and request files by name instead of blocks.
    pub classroom: bool,
    /// The seed of all randomness.
    pub seed: u64,
    /// Peers at the beginning.
    pub peers: usize,
    /// Random faults on the schedule; the firewalls beside them are more.
    pub faults: usize,
    /// If given, only these faults of the schedule strike.
    pub only: Option<Vec<usize>>,
    /// Hostile peers among the others, of each [role](crate::sim::HostileRole::ALL) in turn. A classroom has two at
    /// most.
    pub hostile: usize,
    /// How the driver is broken, if it is.
    pub saboteur: Option<&'static Saboteur>,
    /// What is delivered before what is due.
    pub choices: Choices,
}

/// The report of a storm.
#[derive(Clone, Debug)]
pub struct StormReport {
    /// SHA-256 of the trace, if it was traced.
    pub digest: Option<Id>,
    /// The world's counts.
    pub counts: Counts,
    /// Virtual time that passed.
    pub lasted: Duration,
    /// Stores that succeeded, and stores that were answered.
    pub stored: (usize, usize),
    /// Retrieves that succeeded, and retrieves that were answered.
    pub retrieved: (usize, usize),
    /// Files of which the storm left no copy, and files that were stored.
    pub lost: (usize, usize),
    /// Bytes a second that each honest peer sent while faults struck, blocks among them.
    pub rate: u64,
    /// What a user waited longest for while faults struck.
    pub slowest: Duration,
}

impl StormPlan {
    /// How long a storm lasts in its own time, but for the last checks.
    pub const LASTS: Duration = CALM_BEFORE.saturating_add(STORM).saturating_add(CALM_AFTER);

    /// A run of `seed` in which everything else is drawn from the seed too: 20 to 60 peers, 5 to 25 faults.
    pub fn random(kind: OverlayKind, seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let (peers, faults) = (rng.random_range(20..=60), rng.random_range(5..=25));
        let (saboteur, choices) = (None, Choices::default());
        Self { kind, classroom: false, seed, peers, faults, only: None, hostile: 0, saboteur, choices }
    }

    /// A run of a classroom ring of 4 to 12 peers; everything else is drawn from the seed too.
    pub fn classroom(seed: u64) -> Self {
        let mut rng = StdRng::seed_from_u64(seed ^ 0x5eed);
        let (peers, faults) = (rng.random_range(4..=12), rng.random_range(3..=15));
        Self { classroom: true, peers, faults, ..Self::random(OverlayKind::Ring, seed) }
    }

    /// The schedule of faults, those that are left out included.
    pub fn strikes(&self) -> Vec<Strike> {
        schedule(&mut StdRng::seed_from_u64(self.seed), self.peers, self.faults, STORM)
    }

    /// The numbers of the faults that strike.
    pub fn striking(&self) -> Vec<usize> {
        self.only.clone().unwrap_or_else(|| (0..self.strikes().len()).collect())
    }

    /// Runs the storm.
    ///
    /// # Errors
    /// The first thing that must hold and did not.
    pub fn run(&self, trace: Trace) -> Result<StormReport, Violation> {
        self.run_recorded(trace, None)
    }

    /// Runs the storm, and gives `recorder` the lines of a record of all peers.
    ///
    /// # Errors
    /// The first thing that must hold and did not.
    pub fn run_recorded(&self, trace: Trace, recorder: Option<RecordSink>) -> Result<StormReport, Violation> {
        let mut storm = Storm::new(self, trace, recorder);
        storm.pass()?;
        Ok(storm.report())
    }

    /// What waits when so many moments have happened; none if there is no time between that moment and the next.
    pub(in crate::sim) fn waiting(&self, done: u64) -> Option<Vec<WaitingEvent>> {
        let mut storm = Storm::new(self, Trace::off(), None);
        storm.world.script.look = Some(done);
        // It ends there.
        drop(storm.pass());
        storm.world.script.seen.take()
    }
}

impl fmt::Display for StormPlan {
    /// The command that runs it again.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { seed, peers, faults, hostile, .. } = self;
        let overlay = kind::name(self.kind);
        let classroom = if self.classroom { " --classroom" } else { "" };
        let saboteur = self.saboteur.map_or(String::new(), |saboteur| format!(" --saboteur {}", saboteur.name));
        write!(
            f,
            "kadring sim --storm{saboteur}{classroom} --overlay {overlay} --seed {seed} --peers {peers} --faults {faults}"
        )?;
        if *hostile > 0 {
            write!(f, " --hostile {hostile}")?;
        }
        if let Some(only) = &self.only {
            let only: Vec<String> = only.iter().map(usize::to_string).collect();
            write!(f, " --only {}", if only.is_empty() { "none".to_owned() } else { only.join(",") })?;
        }
        if !self.choices.is_empty() {
            write!(f, " --choose {}", self.choices)?;
        }
        Ok(())
    }
}

impl fmt::Display for StormReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { digest, counts, lasted, stored, retrieved, lost, rate, slowest } = self;
        write!(
            f,
            "all in order after {lasted:.0?}: {} events, {} messages, {} lost on the way; of {} files stored {}, of {} asked \
             back {} came, {} of {} lost with all their holders; a peer sent {rate} bytes a second in the storm, and no \
             user waited longer than {slowest:.1?}",
            counts.events, counts.sent, counts.lost, stored.1, stored.0, retrieved.1, retrieved.0, lost.0, lost.1
        )?;
        digest.map_or(Ok(()), |digest| write!(f, "; trace {digest}"))
    }
}
