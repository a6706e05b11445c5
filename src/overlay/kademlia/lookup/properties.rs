//! What a lookup keeps to, whatever answers, silence and lies come in whatever order.
//!
//! `PROPTEST_CASES` and `PROPTEST_RNG_SEED` make it try more cases and others. A case that fails is printed, and its
//! seed with it.

use std::collections::BTreeSet;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;

use super::*;
use crate::overlay::Late;

/// Peers in a network, and addresses: peer n lives at address n.
const PEERS: usize = 40;

/// What happens next to one of the questions that are out.
#[derive(Clone, Debug)]
enum What {
    /// Names come: peers as they are, or (address, id) as they are not. The answer is signed, or comes from an older
    /// peer.
    Names(Vec<(Index, Option<Index>)>, bool),
    /// It says that it holds the block.
    Holds,
    /// Its answer keeps us waiting, perhaps so long that it is doubted.
    Waits(bool),
    /// Its answer does not come.
    Lost,
    /// It goes: it says goodbye, or is found dead.
    Goes(bool),
}

#[derive(Clone, Debug)]
struct Scenario {
    goal: Goal,
    /// The id of each peer, and whether it lives.
    peers: Vec<(u16, bool)>,
    /// The lookup starts from the first so many peers.
    start: usize,
    /// The first so many named themselves lately.
    named: usize,
    /// The first so many answered a moment ago, if they live.
    fresh: usize,
    /// The last so many left questions without an answer lately.
    suspects: usize,
    steps: Vec<(Index, What)>,
}

fn scenarios() -> impl Strategy<Value = Scenario> {
    let around = (245..=u8::MAX).prop_map(Goal::Around);
    let goal = prop_oneof![Just(Goal::Peers), Just(Goal::Holders), Just(Goal::MoreHolders), Just(Goal::Survey), around];
    let peers = proptest::collection::btree_map(1..2000_u16, proptest::bool::weighted(0.8), PEERS);
    let peers = peers.prop_map(|peers| peers.into_iter().collect::<Vec<_>>()).prop_shuffle();
    let name = (any::<Index>(), proptest::option::weighted(0.2, any::<Index>()));
    let what = prop_oneof![
        6 => (proptest::collection::vec(name, 0..10), any::<bool>()).prop_map(|(names, signed)| What::Names(names, signed)),
        1 => Just(What::Holds),
        2 => any::<bool>().prop_map(What::Waits),
        1 => Just(What::Lost),
        1 => any::<bool>().prop_map(What::Goes),
    ];
    let steps = proptest::collection::vec((any::<Index>(), what), 0..150);
    let known = (0..2 * WIDTH, 0..PEERS, 0..2 * WIDTH, 0..WIDTH);
    (goal, peers, known, steps).prop_map(|(goal, peers, (start, named, fresh, suspects), steps)| Scenario {
        goal,
        peers,
        start,
        named,
        fresh,
        suspects,
        steps,
    })
}

/// A question that is out.
struct Out {
    at: usize,
    /// It is a ping that asks for the id.
    ping: bool,
    /// It is overdue.
    late: bool,
    /// Its answer is not waited for where WIDTH others live.
    doubted: bool,
}

/// A lookup among the peers of a scenario, and what an observer knows of it.
struct Run {
    scenario: Scenario,
    lookup: Lookup,
    out: Vec<Out>,
    questions: u32,
    /// Peers that answered, and peers that failed, left or did not prove their ids.
    heard: BTreeSet<usize>,
    gone: BTreeSet<usize>,
}

impl Run {
    fn new(scenario: Scenario) -> Self {
        let peers: Vec<Peer> = (0..PEERS).map(|at| scenario.peer(at)).collect();
        let is_fresh = |peer: &Peer| peers[..scenario.fresh].contains(peer) && scenario.peers[index(peer)].1;
        let start = peers[..scenario.start].to_vec();
        let lookup = Lookup::new(Id::ZERO, scenario.goal, Id::from_u64(9999), start, is_fresh);
        let (heard, gone) = (BTreeSet::new(), BTreeSet::new());
        Self { scenario, lookup, out: Vec::new(), questions: 0, heard, gone }
    }

    /// A scenario until the lookup is over. When nothing happens any more, each question fails in its time.
    fn through(scenario: Scenario) -> Self {
        let steps = scenario.steps.clone();
        let mut run = Self::new(scenario);
        run.ask();
        for (pick, what) in &steps {
            if run.lookup.is_over() {
                return run;
            }
            run.happen(pick, what);
            run.ask();
        }
        while let Some(Out { at, ping, .. }) = run.out.pop().filter(|_| !run.lookup.is_over()) {
            run.fail(at, ping);
            run.ask();
        }
        run
    }

    /// Sends every question that may go out.
    fn ask(&mut self) {
        let scenario = &self.scenario;
        let is_suspect = |at| at >= PEERS - scenario.suspects;
        let known = |peer: &Peer| PeerKnowledge {
            named: index(peer) < scenario.named && is_true(scenario, peer),
            dead: is_suspect(index(peer)),
        };
        while let Some(question) = self.lookup.next(known) {
            let at = index(&question.peer);
            let is_near = self.lookup.goal.level() == Some(question.peer.id.leading_zeros());
            assert!(!is_near, "{} is asked, which stands nearer to the key than the lookup goes", question.peer.id);
            assert!(!self.out.iter().any(|out| out.at == at && !out.ping), "{at} is asked twice at a time");
            self.out.push(Out { at, ping: false, late: is_suspect(at), doubted: is_suspect(at) });
            self.questions += 1;
            let on_time = |out: &&Out| !out.ping && !out.late && !self.gone.contains(&out.at);
            let awaited = self.out.iter().filter(on_time).count();
            assert!(awaited <= if self.lookup.asks_all { WIDTH } else { ALPHA }, "{awaited} questions are out");
        }
        let holds = self.lookup.shortlist.iter().any(|entry| entry.standing.holds());
        let in_vain = matches!(self.lookup.goal, Goal::Holders | Goal::MoreHolders) && !holds;
        if self.out.iter().all(|out| out.doubted) && self.lookup.result().0.len() == WIDTH && !in_vain {
            assert!(self.lookup.is_over(), "it waits for the silent: {:?}", self.lookup.shortlist);
        }
    }

    fn happen(&mut self, pick: &Index, what: &What) {
        if self.out.is_empty() {
            return;
        }
        let pick = pick.index(self.out.len());
        let (at, ping) = (self.out[pick].at, self.out[pick].ping);
        let (id, lives) = self.scenario.peers[at];
        let (addr, id) = (addr(at), Id::from_u64(id.into()));
        match what {
            What::Waits(doubted) => {
                if !ping {
                    let out = &mut self.out[pick];
                    (out.late, out.doubted) = (true, out.doubted || *doubted);
                    self.lookup.on(&addr, ShortlistEvent::Late(if *doubted { Late::Doubtful } else { Late::Overdue }));
                }
                return;
            }
            What::Goes(goodbye) => {
                // The death of a peer that is asked again does not undo its first answer.
                if *goodbye || !self.heard.contains(&at) {
                    self.gone.insert(at);
                    self.lookup.on(&addr, if *goodbye { ShortlistEvent::Void } else { ShortlistEvent::Failed });
                }
                return;
            }
            _ => {}
        }
        self.out.remove(pick);
        match what {
            What::Lost => self.fail(at, ping),
            _ if !lives => self.fail(at, ping),
            _ if ping => self.lookup.on_identified(&addr, id),
            What::Holds if self.lookup.goal != Goal::Peers => {
                if self.lookup.on_holder(&addr, id).is_some() {
                    self.heard.insert(at);
                }
            }
            What::Names(names, signed) => {
                let names: Vec<Peer> = names.iter().map(|(at, id)| self.scenario.named(at, id.as_ref())).collect();
                self.heard.insert(at);
                self.lookup.on_names(&addr, &names, WIDTH);
                if *signed {
                    self.lookup.on_identified(&addr, id);
                } else if self.lookup.is_unproven(&addr) {
                    self.out.push(Out { at, ping: true, late: false, doubted: false });
                }
            }
            _ => self.fail(at, ping),
        }
    }

    fn fail(&mut self, at: usize, ping: bool) {
        if !ping && !self.heard.contains(&at) {
            self.gone.insert(at);
        }
        if ping && self.lookup.shortlist.iter().any(|e| e.peer.addr == addr(at) && !e.standing.is_proven()) {
            self.gone.insert(at);
        }
        self.lookup.on(&addr(at), if ping { ShortlistEvent::Unidentified } else { ShortlistEvent::Failed });
    }
}

impl Scenario {
    fn peer(&self, at: usize) -> Peer {
        Peer::new(Id::from_u64(self.peers[at].0.into()), addr(at))
    }

    /// A name in an answer: the peer at an address, or a lie about its id.
    fn named(&self, at: &Index, lie: Option<&Index>) -> Peer {
        let at = at.index(PEERS);
        lie.map_or_else(|| self.peer(at), |lie| Peer::new(Id::from_u64(lie.index(2000) as u64), addr(at)))
    }
}

fn addr(at: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, 0, 1], at as u16 + 1))
}

fn index(peer: &Peer) -> usize {
    usize::from(peer.addr.port()) - 1
}

fn is_true(scenario: &Scenario, peer: &Peer) -> bool {
    scenario.peer(index(peer)) == *peer
}

/// The same cases each time, unless `PROPTEST_RNG_SEED` asks for others. They leave no file behind.
fn config() -> ProptestConfig {
    let config = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    let seed = if let RngSeed::Fixed(seed) = config.rng_seed { seed } else { 1 };
    println!("PROPTEST_RNG_SEED={seed} PROPTEST_CASES={} tries the same cases", config.cases);
    ProptestConfig { rng_seed: RngSeed::Fixed(seed), ..config }
}

proptest! {
    #![proptest_config(config())]

    // On the way each run checks how many questions are out at a time, and that nobody waits for the silent.
    #[test]
    fn a_lookup_ends_whatever_answers_silence_and_lies_come_in_whatever_order(scenario in scenarios()) {
        let run = Run::through(scenario);
        prop_assert!(run.lookup.is_over(), "nothing is out, and it waits: {:?}", run.lookup.shortlist);
        prop_assert!(run.questions <= MAX_QUESTIONS && run.questions <= 2 * PEERS as u32, "each is asked twice at most");
    }

    #[test]
    fn nobody_that_failed_left_or_lied_is_in_the_result(scenario in scenarios()) {
        let run = Run::through(scenario.clone());
        for peer in run.lookup.result().0 {
            let at = index(&peer);
            prop_assert!(is_true(&scenario, &peer), "{} is not at its address", peer);
            prop_assert!(scenario.peers[at].1 && !run.gone.contains(&at), "{} is dead or gone", peer);
            prop_assert!(run.heard.contains(&at) || at < scenario.fresh, "{} never answered", peer);
        }
    }

    #[test]
    fn the_result_is_sorted_by_distance_and_names_each_id_once(scenario in scenarios()) {
        let (peers, _) = Run::through(scenario).lookup.result();
        prop_assert!(peers.len() <= WIDTH && peers.is_sorted_by(|a, b| a.id < b.id), "by distance to 0: {:?}", peers);
    }
}
