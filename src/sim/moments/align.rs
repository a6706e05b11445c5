//! Puts the clocks of several recorded lives side by side: by the date that each record begins with, and where that is
//! not good enough, by the least time that a message took from one to the other and back.

use std::collections::BTreeMap;

/// Clocks of one machine, told apart by no more than this, are left as they are, in microseconds.
const CLOCK_ERROR: i64 = 500;

/// How much later the times of each life are to be taken, in microseconds. `least` tells for two lives, by their
/// numbers, the least time that a message from the first to the second seems to take. The first life stays as it is
/// where it can; where there is a way at all, each message then comes at least a microsecond after it was sent.
pub(super) fn shifts(lives: usize, least: &BTreeMap<(usize, usize), i64>) -> Vec<i64> {
    let mut shifts = vec![None; lives];
    for start in 0..lives {
        if shifts[start].is_some() {
            continue;
        }
        shifts[start] = Some(0);
        let mut next = vec![start];
        while let Some(from) = next.pop() {
            for to in 0..lives {
                let (there, back) = (least.get(&(from, to)), least.get(&(to, from)));
                if shifts[to].is_none() && (there.is_some() || back.is_some()) {
                    shifts[to] = shifts[from].map(|shift: i64| shift + between(there.copied(), back.copied()));
                    next.push(to);
                }
            }
        }
    }
    let mut shifts: Vec<i64> = shifts.into_iter().map(Option::unwrap_or_default).collect();
    // What the pairs do not agree on: the later one waits.
    for _ in 0..lives {
        for (&(from, to), &took) in least {
            shifts[to] = shifts[to].max(shifts[from] - took + 1);
        }
    }
    shifts
}

/// How much later the second clock is to be taken, if a message seems to take so long there and back.
fn between(there: Option<i64>, back: Option<i64>) -> i64 {
    match (there, back) {
        (Some(there), Some(back)) => {
            let apart = (back - there) / 2;
            if there >= 0 && back >= 0 && apart.abs() <= CLOCK_ERROR { 0 } else { apart }
        }
        (Some(there), None) => (-there).max(0),
        (None, Some(back)) => back.min(0),
        (None, None) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_that_agree_are_left_and_others_meet_in_the_middle() {
        let good = BTreeMap::from([((0, 1), 100), ((1, 0), 300)]);
        assert_eq!(shifts(2, &good), [0, 0]);
        // The second clock is 10 s ahead, a way takes 200 µs.
        let ahead = BTreeMap::from([((0, 1), 10_000_200), ((1, 0), -9_999_800)]);
        assert_eq!(shifts(2, &ahead), [0, -10_000_000]);
    }

    #[test]
    fn every_message_comes_after_it_was_sent() {
        // 1 and 2 are known to 0 by one way each, and to one another by both.
        let least = BTreeMap::from([((0, 1), -50), ((2, 0), 1200), ((1, 2), -1000), ((2, 1), 3000)]);
        let shifts = shifts(3, &least);
        for (&(from, to), took) in &least {
            assert!(took + shifts[to] - shifts[from] > 0, "{from} to {to}: {shifts:?}");
        }
    }
}
