//! The usual duration of something that is measured again and again.

use std::time::Duration;

/// A smoothed duration: each measurement moves it by an eighth of the way (the gain of RFC 6298, section 2).
#[derive(Clone, Copy, Default, Debug)]
pub(crate) struct Smoothed(Option<Duration>);

impl Smoothed {
    /// The usual duration; none before the first measurement.
    pub(crate) const fn get(self) -> Option<Duration> {
        self.0
    }

    /// Takes in one more measurement. The first stands as it is.
    pub(crate) fn add(&mut self, measured: Duration) {
        self.0 = Some(self.0.map_or(measured, |usual| (usual * 7 + measured) / 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_measurement_stands_and_each_further_one_moves_it_by_an_eighth() {
        let mut smoothed = Smoothed::default();
        assert_eq!(smoothed.get(), None);
        smoothed.add(Duration::from_millis(800));
        assert_eq!(smoothed.get(), Some(Duration::from_millis(800)));
        smoothed.add(Duration::from_millis(1600));
        assert_eq!(smoothed.get(), Some(Duration::from_millis(900)));
        (0..100).for_each(|_| smoothed.add(Duration::from_millis(100)));
        assert_eq!(smoothed.get().map(|usual| usual.as_millis()), Some(100));
    }
}
