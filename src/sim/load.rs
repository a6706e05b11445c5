//! A large network under load: a grown network, lookups all the while, and as much churn, loss and death as asked for.
//!
//! A lookup is compared with the [ground truth](super::truth) at the time at which it ends: did it find the nearest
//! peer, and did it find all of the nearest?

use std::time::Duration;

use self::run::LoadRun;
use super::deaths::DeathReport;
use super::grown::Shape;
use super::lifetimes::Lifetimes;
use super::network::Weather;
use super::tally::{Counts, PurposeTally};
use super::world::Violation;
use crate::config::REPLICAS;
use crate::overlay::OverlayKind;
use crate::time::Time;

mod files;
mod run;

/// Slices of time that a run is reported in.
pub const SLICES: usize = 20;

/// Bytes of each file that is stored.
pub const FILE_BYTES: usize = 16 * 1024;

/// All settings of a run: they determine it.
#[derive(Clone, Debug)]
pub struct LoadPlan {
    /// The sizes of the routing tables.
    pub shape: Shape,
    /// The seed of all randomness.
    pub seed: u64,
    /// Peers at the beginning.
    pub peers: usize,
    /// Lookups, spread evenly over the time.
    pub lookups: usize,
    /// The virtual time that the run lasts.
    pub lasts: Duration,
    /// The network's delays and losses.
    pub weather: Weather,
    /// Peers that die a minute on average, without a goodbye; each is replaced by one that joins.
    pub churn: f64,
    /// The law by which lifetimes are drawn, so that their mean is that of `churn`.
    pub lifetimes: Lifetimes,
    /// Share of all peers that die at once in the beginning, so that every table is full of them.
    pub dead: f64,
    /// Share of slow peers. Every second of them takes 300 ms to 1 s longer to answer, the others stop now and then as
    /// a process does that was swapped out: every 30 s on average, for 1 to 5 s. They begin no lookups.
    pub slow: f64,
    /// Share of all peers that die at once, when a quarter of the time has passed.
    pub kill: f64,
    /// Files of [`FILE_BYTES`] that are stored in the first tenth of the time.
    pub files: usize,
    /// Copies of each block that the network keeps.
    pub replicas: usize,
}

/// The result of a lookup that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct LookupResult {
    /// The time at which the lookup was started.
    pub asked: Time,
    /// How long the lookup took.
    pub took: Duration,
    /// Requests in the longest chain.
    pub hops: u32,
    /// Whether it found the peer nearest to the key.
    pub nearest: bool,
    /// Whether it found exactly the nearest peers, in order.
    pub all: bool,
}

/// What happened in one slice of a run's time.
#[derive(Clone, Default, Debug)]
pub struct Slice {
    /// The slice's beginning, since the start of the run.
    pub begins: Duration,
    /// Lookups that began in the slice and ended.
    pub found: Vec<LookupResult>,
    /// Lookups that began in the slice and never ended.
    pub unanswered: usize,
    /// What was sent in the slice.
    pub sent: PurposeTally,
    /// Peers alive at the end of the slice.
    pub alive: usize,
}

/// The report of a run.
#[derive(Clone, Debug)]
pub struct LoadReport {
    /// The run in slices of equal length.
    pub slices: Vec<Slice>,
    /// What was sent until the time was over.
    pub sent: PurposeTally,
    /// Peers alive, on average.
    pub alive: f64,
    /// How deaths became known until the time was over.
    pub deaths: DeathReport,
    /// What became of the files.
    pub files: FileReport,
    /// The world's counts in the end, when the last lookups were over too.
    pub counts: Counts,
}

impl LoadReport {
    /// All lookups that ended.
    pub fn found(&self) -> impl Iterator<Item = &LookupResult> {
        self.slices.iter().flat_map(|slice| &slice.found)
    }

    /// How many lookups began.
    pub fn asked(&self) -> usize {
        self.slices.iter().map(|slice| slice.found.len() + slice.unanswered).sum()
    }
}

/// What became of the files of a run. A file whose user died before it was stored counts nowhere.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct FileReport {
    /// Files that were stored, as their users were told.
    pub stored: usize,
    /// Files whose users were told that they were not.
    pub failed: usize,
    /// Stored files of which a block was on no living peer's disk when the time was over.
    pub lost: usize,
}

/// The progress of a run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LoadStage {
    /// Peers grown so far, and peers in all.
    Growing(usize, usize),
    /// The network is grown.
    Grown,
    /// Virtual time passed so far, and in all.
    Running(Duration, Duration),
}

impl LoadPlan {
    /// A network of so many peers, as live ones are, that no user uses, in fair weather.
    pub fn idle(kind: OverlayKind, peers: usize, lasts: Duration) -> Self {
        Self {
            shape: Shape::usual(kind),
            seed: 1,
            peers,
            lookups: 0,
            lasts,
            weather: Weather::default(),
            churn: 0.0,
            lifetimes: Lifetimes::default(),
            dead: 0.0,
            slow: 0.0,
            kill: 0.0,
            files: 0,
            replicas: REPLICAS,
        }
    }

    /// Runs the network.
    ///
    /// # Errors
    /// The first invariant that did not hold (small networks are checked after every event).
    pub fn run(&self, mut progress: impl FnMut(LoadStage)) -> Result<LoadReport, Violation> {
        LoadRun::new(self, &mut progress).run(&mut progress)
    }

    /// How long a peer lives on average; none without churn.
    pub fn mean_lifetime(&self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.peers as f64 * 60.0 / self.churn).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::node::notice::QuestionOutcome;
    use crate::node::{Answer, Command, Purpose};
    use crate::peer::Peer;
    use crate::sim::bursts::WeatherName;
    use crate::sim::grown::populate;
    use crate::sim::world::{Rules, World};

    fn plan(kind: OverlayKind) -> LoadPlan {
        LoadPlan { lookups: 100, ..LoadPlan::idle(kind, 200, Duration::from_secs(10)) }
    }

    fn run(plan: &LoadPlan) -> LoadReport {
        plan.run(|_| {}).expect("nothing breaks")
    }

    fn longest(report: &LoadReport) -> Duration {
        report.found().map(|found| found.took).max().expect("some were found")
    }

    #[test]
    fn in_a_still_grown_network_every_lookup_finds_all_of_the_nearest_peers() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let report = run(&plan(kind));
            assert_eq!(report.found().filter(|found| found.nearest).count(), 100, "{kind:?}");
            assert_eq!(report.found().filter(|found| found.all).count(), 100, "{kind:?}");
        }
    }

    #[test]
    fn deaths_and_churn_are_counted_and_seen() {
        let even = LoadPlan { churn: 60.0, lifetimes: Lifetimes::Even, kill: 0.3, ..plan(OverlayKind::Kademlia) };
        let report = run(&even);
        assert_eq!(report.slices.last().map(|slice| slice.alive), Some(140));
        let right = report.found().filter(|found| found.nearest).count();
        assert!((60..=100).contains(&right), "{right} of {}", report.asked());
    }

    #[test]
    fn under_random_lifetimes_the_size_is_steady_and_deaths_are_as_many_as_asked_for() {
        for lifetimes in [Lifetimes::Exponential, Lifetimes::Pareto] {
            let lasts = Duration::from_secs(60);
            let report = run(&LoadPlan { churn: 100.0, lifetimes, lasts, lookups: 0, ..plan(OverlayKind::Ring) });
            assert!(report.slices.iter().all(|slice| slice.alive == 200), "{lifetimes:?}");
            // 100 on average; some of those who die soon nobody came to know.
            let deaths = report.deaths.deaths;
            assert!((70..=130).contains(&deaths), "{lifetimes:?}: {deaths} deaths");
        }
    }

    #[test]
    fn deaths_become_known_to_the_replica_set_and_in_a_still_network_nobody_is_declared_dead_who_lives() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let lasts = Duration::from_secs(60);
            let report = run(&LoadPlan { dead: 0.05, lasts, lookups: 0, peers: 100, ..plan(kind) }).deaths;
            assert_eq!((report.deaths, report.false_alarms), (5, 0), "{kind:?}");
            assert_eq!(report.unknown, [], "{kind:?}");
            assert!(report.known.iter().all(|took| *took > Duration::from_millis(100)), "{:?}", report.known);
        }
    }

    #[test]
    fn the_dead_are_in_all_tables_when_the_lookups_begin() {
        let report = run(&LoadPlan { dead: 0.4, ..plan(OverlayKind::Kademlia) });
        assert_eq!(report.slices[0].alive, 120);
        assert!(longest(&report) > Duration::from_millis(300), "{:?}", longest(&report));
    }

    #[test]
    fn what_is_sent_is_told_apart_by_its_purpose() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let idle = run(&LoadPlan { lookups: 0, ..plan(kind) }).sent;
            let busy = run(&plan(kind)).sent;
            assert_eq!(idle.of(Purpose::Lookup).messages, 0, "{kind:?}");
            assert!(idle.of(Purpose::Upkeep).messages > 100, "{kind:?}: {idle:?}");
            assert!(busy.of(Purpose::Lookup).messages >= 200, "{kind:?}: {busy:?}");
            assert!(busy.of(Purpose::Lookup).bytes > 100 * busy.of(Purpose::Lookup).messages, "{kind:?}: {busy:?}");
            assert_eq!(busy.of(Purpose::Transfer).messages + busy.of(Purpose::Repair).messages, 0, "{kind:?}");
        }
    }

    #[test]
    fn a_slow_peer_s_answers_take_that_much_longer() {
        let rtt = Duration::from_millis(20);
        for lag in [Duration::ZERO, Duration::from_millis(150), Duration::from_millis(500)] {
            let kind = OverlayKind::Kademlia;
            let mut rules = Rules::new(1, Box::new(move |me, config, seed| kind.build(me, seed, config.guest)));
            rules.weather = Weather::still(rtt);
            let mut world = World::new(rules);
            populate(&mut world, &Shape::usual(kind), 2, |_| {});
            world.slow_down(1, lag);
            let command = world.command(0, Command::Lookup { key: Id::of(b"any") });
            let answered = world.run_until_answered(0, command, Duration::from_secs(30)).expect("nothing breaks");
            assert!(answered && world.now() == Time::ZERO + rtt + 2 * lag, "{lag:?}: at {}", world.now());
        }
    }

    #[test]
    fn an_explained_lookup_tells_whom_it_asked_and_finds_what_a_plain_one_finds() {
        for kind in [OverlayKind::Kademlia, OverlayKind::Ring] {
            let mut world =
                World::new(Rules::new(1, Box::new(move |me, config, seed| kind.build(me, seed, config.guest))));
            populate(&mut world, &Shape::usual(kind), 60, |_| {});
            let key = Id::of(b"any");
            let mut ask = |command| {
                let command = world.command(0, command);
                assert!(world.run_until_answered(0, command, Duration::from_secs(30)).expect("nothing breaks"));
                world.take_answer(0, command)
            };
            let Some(Answer::Lookup { peers: plain, asked, .. }) = ask(Command::Lookup { key }) else { panic!() };
            assert!(asked.is_empty(), "nobody wanted to know");
            let Some(Answer::Lookup { peers, asked, took, .. }) = ask(Command::Explain { key }) else { panic!() };
            assert_eq!(peers, plain);
            assert!(!asked.is_empty() && asked.is_sorted_by_key(|asked| asked.begun), "{asked:?}");
            for one in &asked {
                let over = one.begun + one.took.unwrap_or_default();
                assert!(over <= took && (one.took.is_none() == (one.outcome == QuestionOutcome::Open)), "{one:?}");
            }
            // Those behind the nearest two may have been heard of a moment ago.
            let answered = |peer: &Peer| asked.iter().any(|one| one.addr == peer.addr && one.took.is_some());
            let me = world.peer(0);
            assert!(
                kind == OverlayKind::Ring || peers.iter().take(2).all(|peer| *peer == me || answered(peer)),
                "{asked:?}"
            );
        }
    }

    #[test]
    fn files_outlive_few_deaths_and_are_lost_with_all_their_copies() {
        let lasts = Duration::from_secs(100);
        let files = LoadPlan { files: 20, peers: 40, lookups: 0, lasts, replicas: 2, ..plan(OverlayKind::Ring) };
        let calm = run(&LoadPlan { kill: 0.02, ..files.clone() });
        assert_eq!(calm.files, FileReport { stored: 20, failed: 0, lost: 0 });
        assert!(calm.sent.of(Purpose::Transfer).bytes > (20 * FILE_BYTES) as u64, "{:?}", calm.sent);
        let doomed = run(&LoadPlan { kill: 0.8, ..files }).files;
        assert!(doomed.lost > 5, "{doomed:?}");
    }

    #[test]
    fn every_hardship_makes_lookups_slower_and_the_same_seed_gives_the_same_figures() {
        let calm = plan(OverlayKind::Kademlia);
        let hardships = [
            LoadPlan { weather: WeatherName::WifiLossy.weather(), ..calm.clone() },
            LoadPlan { weather: Weather { one_way: 0.1, ..Weather::default() }, ..calm.clone() },
            LoadPlan { slow: 0.3, ..calm.clone() },
            LoadPlan { dead: 0.2, ..calm.clone() },
            LoadPlan { churn: 600.0, lifetimes: Lifetimes::Pareto, ..calm.clone() },
        ];
        let usual = longest(&run(&calm));
        for hard in hardships {
            let report = run(&hard);
            assert!(longest(&report) > usual, "{hard:?}");
            let again = run(&hard);
            assert_eq!((again.counts, &again.deaths), (report.counts, &report.deaths), "{hard:?}");
            assert!(again.found().eq(report.found()), "{hard:?}");
            let other = run(&LoadPlan { seed: 2, ..hard });
            assert_ne!(other.counts, report.counts);
        }
    }
}
