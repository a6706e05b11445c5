//! Files where datagrams get lost and where peers come and go, and what peers know of those that left.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::{Rng, RngExt, SeedableRng};

use super::network::Network;
use super::{Bench, Done};
use crate::common::blocks::same;
use crate::common::measure::{Bound, Samples, Unit, figure, samples, title, verdict};
use crate::common::process::PeerProcess;

/// Under churn one peer is killed and another started so often.
const TURN: Duration = Duration::from_secs(2);

/// Who left is listed nowhere after this.
const FORGOTTEN: Duration = Duration::from_secs(60);

/// What became of files that were stored and brought back.
#[derive(Default)]
struct Passage {
    stores: Samples,
    retrieves: Samples,
    retrieved: usize,
}

impl Bench {
    /// Files through a network that loses datagrams, doubles a tenth and has a fifth come late.
    pub(super) fn lossy(&self) -> Done {
        title("Eight peers (kad), 7 copies; of 100 datagrams 10 come twice and 20 late");
        if !cfg!(debug_assertions) {
            figure("not measured: no datagram gets lost in this build", "add --profile dev");
            return Ok(());
        }
        let mut network = self.network_in("30,10,20", "kad", 8, 7)?;
        let rounds = if self.small { 3 } else { 20 };
        for (name, size) in [("1 KiB", 1 << 10), ("64 KiB", 1 << 16), ("1 MiB", 1 << 20)] {
            let passage = self.pass_files(&mut network, rounds, size)?;
            samples(format_args!("30 % lost: store of {name}"), &passage.stores, Unit::Seconds);
            samples(format_args!("30 % lost: retrieve of {name}"), &passage.retrieves, Unit::Seconds);
            verdict(format_args!("retrieved of {rounds}"), passage.retrieved as f64, Bound::AtLeast(rounds as f64));
            for (what, took, most) in [("store", &passage.stores, 1.0), ("retrieve", &passage.retrieves, 0.3)] {
                verdict(format_args!("seconds to {what} {name}, median"), took.median(), Bound::AtMost(most));
            }
        }
        drop(network);
        let files = if self.small { 6 } else { 30 };
        let passage = self.pass_files(&mut self.network_in("50,10,20", "kad", 8, 7)?, files, 1 << 20)?;
        samples("50 % lost: store of 1 MiB", &passage.stores, Unit::Seconds);
        samples("50 % lost: retrieve of 1 MiB", &passage.retrieves, Unit::Seconds);
        verdict(format_args!("retrieved of {files}"), passage.retrieved as f64, Bound::AtLeast(files as f64));
        Ok(())
    }

    /// Stores so many files of this size through one peer after another, and retrieves each through another one.
    fn pass_files(&self, network: &mut Network, count: usize, size: usize) -> io::Result<Passage> {
        let mut rng = StdRng::seed_from_u64(size as u64);
        let (mut passage, peers) = (Passage::default(), network.peers.len());
        for number in 0..count {
            let Some((key, took)) = self.store(&mut network.peers[number % peers], &mut rng, size)? else { continue };
            passage.stores.push(took);
            let start = Instant::now();
            if self.retrieves(&mut network.peers[(number + 3) % peers], &key)? {
                passage.retrieves.push(start.elapsed().as_secs_f64());
                passage.retrieved += same(&self.folder.join("source"), &self.folder.join("dest"))? as usize;
            }
        }
        Ok(passage)
    }

    /// Stores a file of so many random bytes, and tells its key and how many seconds that took; or that it failed.
    fn store(&self, peer: &mut PeerProcess, rng: &mut StdRng, size: usize) -> io::Result<Option<(String, f64)>> {
        let (source, mut bytes) = (self.folder.join("source"), vec![0; size]);
        rng.fill_bytes(&mut bytes);
        fs::write(&source, &bytes)?;
        let start = Instant::now();
        let answer = peer.ask(&format!("store '{}'", source.display()))?;
        Ok(answer["key"].as_str().map(|key| (key.to_owned(), start.elapsed().as_secs_f64())))
    }

    /// Whether a file is brought back: whole, as its list has its hash.
    fn retrieves(&self, peer: &mut PeerProcess, key: &str) -> io::Result<bool> {
        let dest = self.folder.join("dest");
        let answer = peer.ask(&format!("retrieve {key} '{}' --force", dest.display()))?;
        Ok(answer["answer"] == "retrieved")
    }

    /// One peer after another is killed, and another one comes.
    pub(super) fn churn(&self) -> Done {
        const FILES: usize = 100;
        let span = Duration::from_secs(if self.small { 60 } else { 240 });
        title(format_args!("Sixteen peers (kad), for {} s one killed and one new every 2 s", span.as_secs()));
        for (copies, most) in [(5, 0.0), (3, 5.0)] {
            let mut network = self.network("kad", 16, copies)?;
            let mut rng = StdRng::seed_from_u64(8);
            let mut keys = Vec::new();
            for number in 0..FILES {
                keys.extend(self.store(&mut network.peers[number % 16], &mut rng, 20_000)?.map(|(key, _)| key));
            }
            self.rest();
            let (start, mut killed, mut late) = (Instant::now(), 0_u32, Duration::ZERO);
            while start.elapsed() < span {
                drop(network.peers.swap_remove(rng.random_range(0..network.peers.len())));
                network.add(16)?;
                killed += 1;
                late = late.max(start.elapsed().saturating_sub(TURN * killed));
                // So often one is killed, however long the last one took.
                thread::sleep((TURN * killed).saturating_sub(start.elapsed()));
            }
            self.rest();
            let mut lost = 0;
            for (number, key) in keys.iter().enumerate() {
                lost += usize::from(!self.retrieves(&mut network.peers[number % 16], key)?);
            }
            // What the machine keeps waiting comes at once then, and is more than was to be measured.
            figure("a kill came late by at most", format_args!("{:.1} s", late.as_secs_f64()));
            let what = format!("{copies} copies, {killed} killed: lost of {} files", keys.len());
            verdict(what, lost as f64, Bound::AtMost(most));
        }
        Ok(())
    }

    /// Peers leave in three ways, and others still list them or not.
    pub(super) fn left(&self) -> Done {
        let (peers, each) = if self.small { (16, 2) } else { (40, 4) };
        for overlay in ["kad", "ring"] {
            let mut network = self.network(overlay, peers, 7)?;
            self.rest();
            title(format_args!(
                "{peers} peers ({overlay}), {each} left in each of three ways, {} s ago",
                FORGOTTEN.as_secs()
            ));
            let mut gone: Vec<PeerProcess> = network.peers.drain(peers - 3 * each..).collect();
            let ids: Vec<String> = gone.iter().map(|peer| peer.id.to_string()).collect();
            for peer in &mut gone[..each] {
                peer.ask("quit")?;
            }
            gone[each..2 * each].iter().try_for_each(|peer| peer.signal(Signal::SIGTERM))?;
            gone[2 * each..].iter().try_for_each(|peer| peer.signal(Signal::SIGKILL))?;
            // What is measured is what is left after this time.
            thread::sleep(FORGOTTEN);
            let mut listed = Vec::new();
            for peer in &mut network.peers {
                let answer = peer.ask("peers")?;
                let of = answer["peers"].as_array().ok_or_else(|| io::Error::other(answer.to_string()))?;
                let known: BTreeSet<&str> = of.iter().filter_map(|peer| peer["id"].as_str()).collect();
                listed.push(ids.iter().map(|id| known.contains(&**id)).collect::<Vec<_>>());
            }
            for (way, of) in ["quit", "SIGTERM", "SIGKILL"].into_iter().zip((0..ids.len()).step_by(each)) {
                let pairs: usize =
                    listed.iter().map(|known| known[of..of + each].iter().filter(|is| **is).count()).sum();
                verdict(
                    format_args!("still listed after {way}, of {} pairs", each * listed.len()),
                    pairs as f64,
                    Bound::AtMost(0.0),
                );
            }
        }
        Ok(())
    }
}
