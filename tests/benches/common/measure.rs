//! Samples, medians and the lines that tell them.

use std::fmt;

/// Measurements of one thing, one for each round.
#[derive(Default)]
pub(crate) struct Samples(Vec<f64>);

/// What a ratio should be.
#[derive(Clone, Copy)]
pub(crate) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Samples {
    pub(crate) fn push(&mut self, sample: f64) {
        self.0.push(sample);
    }

    /// The same measurements in another unit.
    pub(crate) fn scaled(&self, factor: f64) -> Self {
        Self(self.0.iter().map(|sample| sample * factor).collect())
    }

    pub(crate) fn median(&self) -> f64 {
        self.quantile(0.5)
    }

    /// The smallest sample that at least the part `part` of all samples does not exceed.
    pub(crate) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let rank = (sorted.len() as f64 * part).ceil() as usize;
        sorted.get(rank.saturating_sub(1)).copied().unwrap_or(f64::NAN)
    }
}

impl Extend<f64> for Samples {
    fn extend<I: IntoIterator<Item = f64>>(&mut self, samples: I) {
        self.0.extend(samples);
    }
}

/// The title of a group of measurements.
pub(crate) fn title(text: impl fmt::Display) {
    println!("\n{text}");
}

/// A line of a measurement that is compared with nothing.
pub(crate) fn figure(what: impl fmt::Display, value: impl fmt::Display) {
    println!("  {:<52} {value}", what.to_string());
}

/// The median of `samples`, with the range they were in.
pub(crate) fn samples(what: impl fmt::Display, samples: &Samples, unit: Unit) {
    let [low, median, high] = [0.0, 0.5, 1.0].map(|part| unit.show(samples.quantile(part)));
    figure(what, format_args!("{median}   ({low} to {high})"));
}

/// How a number with `bound` fares.
pub(crate) fn verdict(what: impl fmt::Display, value: f64, bound: Bound) {
    let (met, limit) = match bound {
        Bound::AtLeast(limit) => (value >= limit, format!("at least {limit}")),
        Bound::AtMost(limit) => (value <= limit, format!("at most {limit}")),
    };
    figure(what, format_args!("{value:.3}   (target: {limit}) {}", if met { "met" } else { "MISSED" }));
}

/// What a number counts.
#[derive(Clone, Copy)]
pub(crate) enum Unit {
    PerSecond,
    Seconds,
    Micros,
    Bytes,
}

impl Unit {
    pub(crate) fn show(self, value: f64) -> String {
        match self {
            Self::PerSecond => format!("{value:.0}/s"),
            Self::Seconds => format!("{value:.3} s"),
            Self::Micros => format!("{value:.1} us"),
            Self::Bytes => format!("{:.2} MiB", value / f64::from(1 << 20)),
        }
    }
}
