//! How long peers live.
//!
//! Peers that each live for an exponential time come and go as a Poisson process does: that is the churn under which
//! Bamboo was measured (Rhea et al., USENIX 2004). What people's computers really do has a heavier tail: many stay for
//! minutes, few for days, and who has stayed long will stay longer. The Pareto law here is the shifted one of Leonard,
//! Yao and Loguinov (SIGMETRICS 2005): P(life > x) = (1 + x/β)^-α with their α = 3, and mean β/(α - 1).

use std::time::Duration;

use clap::ValueEnum;
use rand::RngExt;
use rand::rngs::StdRng;

/// The exponent α of the Pareto law.
const SHAPE: f64 = 3.0;

/// The law by which peers' lifetimes are drawn.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, ValueEnum)]
pub enum Lifetimes {
    /// Memoryless: deaths are a Poisson process.
    #[default]
    Exponential,
    /// Heavy-tailed: most peers go soon, some stay very long.
    Pareto,
    /// No lifetimes: deaths come one by one, at equal intervals, and strike any peer.
    Even,
}

impl Lifetimes {
    /// The lifetime of a peer that joins; none if deaths strike any peer.
    pub(super) fn whole(self, mean: Duration, rng: &mut StdRng) -> Option<Duration> {
        match self {
            Self::Exponential => exponential(mean, rng),
            Self::Pareto => pareto(mean, SHAPE, rng),
            Self::Even => None,
        }
    }

    /// What is left of the lifetime of a peer that is met in a network which has run for ever. Those who live long are
    /// met more often: of a shifted Pareto law, what is left follows such a law too, with α - 1 for α.
    pub(super) fn rest(self, mean: Duration, rng: &mut StdRng) -> Option<Duration> {
        match self {
            Self::Exponential => exponential(mean, rng),
            Self::Pareto => pareto(mean, SHAPE - 1.0, rng),
            Self::Even => None,
        }
    }
}

/// A share in (0, 1].
fn lot(rng: &mut StdRng) -> f64 {
    1.0 - rng.random::<f64>()
}

fn exponential(mean: Duration, rng: &mut StdRng) -> Option<Duration> {
    Duration::try_from_secs_f64(-lot(rng).ln() * mean.as_secs_f64()).ok()
}

fn pareto(mean: Duration, shape: f64, rng: &mut StdRng) -> Option<Duration> {
    let scale = mean.as_secs_f64() * (SHAPE - 1.0);
    Duration::try_from_secs_f64(scale * (lot(rng).powf(-1.0 / shape) - 1.0)).ok()
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    const MEAN: Duration = Duration::from_secs(120);

    fn drawn(draw: impl Fn(&mut StdRng) -> Option<Duration>) -> Vec<f64> {
        let mut rng = StdRng::seed_from_u64(1);
        let mut lives: Vec<f64> = (0..200_000).filter_map(|_| Some(draw(&mut rng)?.as_secs_f64())).collect();
        lives.sort_by(f64::total_cmp);
        lives
    }

    fn mean(lives: &[f64]) -> f64 {
        lives.iter().sum::<f64>() / lives.len() as f64
    }

    #[test]
    fn lifetimes_have_the_mean_asked_for() {
        for law in [Lifetimes::Exponential, Lifetimes::Pareto] {
            let mean = mean(&drawn(|rng| law.whole(MEAN, rng)));
            assert!((mean / MEAN.as_secs_f64() - 1.0).abs() < 0.02, "{law:?}: {mean} s");
        }
        assert!(drawn(|rng| Lifetimes::Even.whole(MEAN, rng)).is_empty());
    }

    #[test]
    fn half_of_exponential_lifetimes_end_within_0_693_of_the_mean_and_of_pareto_lifetimes_within_0_52() {
        for (law, median) in [(Lifetimes::Exponential, 0.693), (Lifetimes::Pareto, 0.520)] {
            let lives = drawn(|rng| law.whole(MEAN, rng));
            let measured = lives[lives.len() / 2] / MEAN.as_secs_f64();
            assert!((measured / median - 1.0).abs() < 0.02, "{law:?}: {measured}");
        }
    }

    #[test]
    fn a_peer_that_is_met_has_longer_to_live_than_a_new_one_only_where_the_tail_is_heavy() {
        let longer = |law: Lifetimes| {
            let half = |lives: Vec<f64>| lives[lives.len() / 2];
            half(drawn(|rng| law.rest(MEAN, rng))) / half(drawn(|rng| law.whole(MEAN, rng)))
        };
        assert!((longer(Lifetimes::Exponential) - 1.0).abs() < 0.02);
        assert!((longer(Lifetimes::Pareto) - 1.59).abs() < 0.05, "{}", longer(Lifetimes::Pareto));
    }
}
