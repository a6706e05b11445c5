//! Two runs side by side: which moments both have, and which only one of them.
//!
//! Peers are the same by their names, moments by what they say: without the numbers of messages and jobs, and with a
//! peer's name instead of its id. For each peer the longest common sequence is found; of the moments that both runs
//! have, as many as possible share a row, so that each run still is in its own order.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::columns::{Style, coloured, cut};
use super::history::History;

/// Moments of one of two runs.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    /// The whole run.
    pub history: &'a History,
    /// The moments of it that are compared.
    pub moments: &'a [usize],
}

/// A row of the comparison: a moment of the left run, of the right one, or the same of both.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct DiffRow {
    /// The number of the moment in each run.
    pub(super) moments: [Option<usize>; 2],
    /// Whether only one of the runs has it. Else a moment that stands alone happened at another point in the other run.
    pub(super) differs: bool,
}

/// A moment that says the same often is compared with so many of the other run, nearest in their count.
const NEAREST_COMPARED: usize = 24;
/// Moments that are the same are shown for so many rows before and after what differs.
const AROUND: usize = 3;

/// Compares two runs.
pub(super) fn compare(left: Side<'_>, right: Side<'_>) -> Vec<DiffRow> {
    let (left_says, right_says) = (left.by_peer(), right.by_peer());
    let mut pairs: Vec<(usize, usize)> = Vec::new();
    for (peer, ours) in &left_says {
        if let Some(theirs) = right_says.get(peer) {
            let common = rising(&candidates(ours, theirs));
            pairs.extend(common.into_iter().map(|(a, b)| (ours[a].0, theirs[b].0)));
        }
    }
    pairs.sort_unstable();
    let shared = rising(&pairs);
    let both = [pairs.iter().map(|pair| pair.0).collect::<Vec<_>>(), {
        let mut theirs: Vec<usize> = pairs.iter().map(|pair| pair.1).collect();
        theirs.sort_unstable();
        theirs
    }];
    lay_out([left, right], &shared, &both)
}

/// The rows: what is shared stands in one, what lies between in rows of its own, by time.
fn lay_out(sides: [Side<'_>; 2], shared: &[(usize, usize)], both: &[Vec<usize>; 2]) -> Vec<DiffRow> {
    let mut rows = Vec::new();
    let mut next = [0, 0];
    let ends = [sides[0].moments.len(), sides[1].moments.len()];
    for stop in shared.iter().map(|&(a, b)| [a, b]).chain([ends]) {
        loop {
            let at = |side: usize| (next[side] < stop[side]).then(|| sides[side].at(next[side]));
            let side = match (at(0), at(1)) {
                (Some(left), Some(right)) => usize::from(right < left),
                (Some(_), None) => 0,
                (None, Some(_)) => 1,
                (None, None) => break,
            };
            let mut moments = [None; 2];
            moments[side] = Some(sides[side].moments[next[side]]);
            rows.push(DiffRow { moments, differs: both[side].binary_search(&next[side]).is_err() });
            next[side] += 1;
        }
        if stop != ends || next != ends {
            rows.push(DiffRow {
                moments: [Some(sides[0].moments[stop[0]]), Some(sides[1].moments[stop[1]])],
                differs: false,
            });
            next = [stop[0] + 1, stop[1] + 1];
        }
    }
    rows
}

impl Side<'_> {
    fn at(&self, place: usize) -> i64 {
        self.history.moments[self.moments[place]].at
    }

    /// For each peer its moments: their places among those compared, and what they say.
    fn by_peer(&self) -> BTreeMap<&str, Vec<(usize, String)>> {
        let peers = &self.history.peers;
        let ids: BTreeMap<String, &str> =
            peers.iter().map(|peer| (peer.me.id.to_string()[..6].to_owned(), peer.name.as_str())).collect();
        let mut found: BTreeMap<&str, Vec<(usize, String)>> = BTreeMap::new();
        for (place, &moment) in self.moments.iter().enumerate() {
            let name = peers[self.history.moments[moment].peer].name.as_str();
            found.entry(name).or_default().push((place, plain(&self.history.tell(moment), &ids)));
        }
        found
    }
}

/// What a moment says, without numbers that are others in each run.
fn plain(say: &str, ids: &BTreeMap<String, &str>) -> String {
    let mut words = Vec::new();
    let mut before = "";
    for word in say.split(' ') {
        let bare = word.trim_end_matches([',', ':']);
        let number = bare.strip_prefix('#').unwrap_or(bare);
        let counts = bare.starts_with('#') || before == "job";
        before = bare;
        if counts && number.bytes().all(|digit| digit.is_ascii_digit()) {
            continue;
        }
        words.push(ids.get(bare).copied().unwrap_or(word));
    }
    words.join(" ")
}

/// Places in both lists that say the same.
fn candidates(ours: &[(usize, String)], theirs: &[(usize, String)]) -> Vec<(usize, usize)> {
    let mut places: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (place, (_, say)) in theirs.iter().enumerate() {
        places.entry(say).or_default().push(place);
    }
    let mut count: BTreeMap<&str, usize> = BTreeMap::new();
    let mut pairs = Vec::new();
    for (place, (_, say)) in ours.iter().enumerate() {
        let Some(same) = places.get(say.as_str()) else { continue };
        let nth = count.entry(say).or_default();
        let near = nth.saturating_sub(NEAREST_COMPARED).min(same.len())..(*nth + NEAREST_COMPARED).min(same.len());
        *nth += 1;
        pairs.extend(same[near].iter().map(|&other| (place, other)));
    }
    pairs
}

/// The most of these pairs that rise in both of their numbers, in order; the pairs are sorted.
fn rising(pairs: &[(usize, usize)]) -> Vec<(usize, usize)> {
    // For each length the pair with the least second number that ends so long a sequence, and for each pair the one
    // before it.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = vec![None; pairs.len()];
    let mut from = 0;
    while from < pairs.len() {
        let group = pairs[from..].iter().take_while(|pair| pair.0 == pairs[from].0).count();
        // Of pairs with the same first number only one can be taken: the greatest second number goes first.
        for pair in (from..from + group).rev() {
            let place = ends.partition_point(|&end| pairs[end].1 < pairs[pair].1);
            before[pair] = place.checked_sub(1).map(|shorter| ends[shorter]);
            match ends.get_mut(place) {
                None => ends.push(pair),
                // Of those that end alike the earliest stays.
                Some(end) if pairs[*end].1 == pairs[pair].1 => {}
                Some(end) => *end = pair,
            }
        }
        from += group;
    }
    let mut found = Vec::new();
    let mut last = ends.last().copied();
    while let Some(pair) = last {
        found.push(pairs[pair]);
        last = before[pair];
    }
    found.reverse();
    found
}

/// Writes the comparison as text: `<` is only in the first run, `>` only in the second, `~` in both at different
/// points; what both have is shown around what differs.
///
/// # Errors
/// The writer's.
pub fn write(left: Side<'_>, right: Side<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let rows = compare(left, right);
    let near =
        |row: usize| rows[row.saturating_sub(AROUND)..rows.len().min(row + AROUND + 1)].iter().any(|row| row.differs);
    let width = left.history.peers.iter().chain(&right.history.peers).map(|peer| peer.name.chars().count());
    let width = width.max().unwrap_or_default();
    writeln!(out, "{:>11} {:>11}   {:width$} ", "µs, first", "µs, second", "")?;
    // Where one run has ended, all of the other differs: its beginning is enough.
    let ends = [0, 1].map(|side| rows.iter().rposition(|row| row.moments[side].is_some()).map_or(0, |last| last + 1));
    let shown = rows.len().min(ends[0].min(ends[1]) + AROUND);
    let mut hidden = 0;
    for (number, row) in rows[..shown].iter().enumerate() {
        if near(number) {
            tell_hidden(&mut hidden, out)?;
            line([left, right], *row, (width, style), out)?;
        } else {
            hidden += 1;
        }
    }
    tell_hidden(&mut hidden, out)?;
    if shown < rows.len() {
        writeln!(out, "{:>23}   … {} moments after the end of the other run", "", rows.len() - shown)?;
    }
    writeln!(out, "{}", tally(&rows))
}

/// How much differs, in a line.
pub(super) fn tally(rows: &[DiffRow]) -> String {
    let count = |wanted: fn(&DiffRow) -> bool| rows.iter().filter(|row| wanted(row)).count();
    format!(
        "{} moments are in both runs, {} of them at different points; {} only in the first (<), {} only in the second (>)",
        count(|row| !row.differs && row.moments[0].is_some()),
        count(|row| !row.differs && row.moments[1].is_none()),
        count(|row| row.differs && row.moments[0].is_some()),
        count(|row| row.differs && row.moments[1].is_some())
    )
}

fn tell_hidden(hidden: &mut usize, out: &mut dyn Write) -> io::Result<()> {
    match std::mem::take(hidden) {
        0 => Ok(()),
        some => writeln!(out, "{:>23}   … {some} rows that do not differ", ""),
    }
}

fn line(sides: [Side<'_>; 2], row: DiffRow, (width, style): (usize, Style), out: &mut dyn Write) -> io::Result<()> {
    let at = |side: usize| {
        row.moments[side].map_or(String::new(), |moment| sides[side].history.moments[moment].at.to_string())
    };
    let side = usize::from(row.moments[0].is_none());
    let (mark, colour) = match (row.differs, row.moments) {
        (_, [Some(_), Some(_)]) => (' ', None),
        (false, _) => ('~', None),
        (true, [Some(_), None]) => ('<', Some(31)),
        (true, _) => ('>', Some(32)),
    };
    let Some(moment) = row.moments[side] else { return Ok(()) };
    let history = sides[side].history;
    let peer = &history.peers[history.moments[moment].peer].name;
    let text = format!("{:>11} {:>11} {mark} {peer:<width$} {}", at(0), at(1), history.tell(moment));
    let text = cut(&text, style.width);
    match colour.filter(|_| style.colour) {
        Some(colour) => writeln!(out, "{}", coloured(&text, colour)),
        None => writeln!(out, "{text}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_sequence_is_found_and_each_place_is_taken_once() {
        let say = |text: &str| text.chars().enumerate().map(|(at, word)| (at, word.to_string())).collect::<Vec<_>>();
        for (ours, theirs, common) in [
            ("abcde", "abxde", "abde"),
            ("aaab", "aab", "aab"),
            ("abc", "", ""),
            ("xay", "yax", "x"),
            ("abab", "baba", "aba"),
        ] {
            let pairs = rising(&candidates(&say(ours), &say(theirs)));
            assert!(pairs.windows(2).all(|two| two[0].0 < two[1].0 && two[0].1 < two[1].1), "{pairs:?}");
            let found: String = pairs.iter().map(|pair| say(ours)[pair.0].1.clone()).collect();
            assert_eq!(found.len(), common.len(), "{ours} {theirs}: {found}");
        }
    }

    #[test]
    fn what_comes_again_later_is_the_same_at_its_first_time() {
        assert_eq!(rising(&[(0, 0), (1, 1), (7, 1), (8, 1)]), [(0, 0), (1, 1)]);
    }

    #[test]
    fn numbers_of_messages_and_jobs_are_no_difference() {
        let ids = BTreeMap::from([("da750b".to_owned(), "4")]);
        let say = plain("2→ #32 find_node da750b ⇒ →2 #32 nodes ×3, job 7 pull 18aa00, job 8: done", &ids);
        assert_eq!(say, "2→ find_node 4 ⇒ →2 nodes ×3, job pull 18aa00, job done");
    }
}
