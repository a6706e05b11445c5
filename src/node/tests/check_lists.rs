//! Checks read the lists of blocks, each once.

use super::health::check;
use super::waits::{guest, until_answered};
use super::*;
use crate::file::{Manifest, ManifestEntry};
use crate::node::health::Health;
use crate::node::{Command, Source};

/// A tree of so many levels whose lists each name one list below so many times, down to one block: what `check` reads
/// and asks until it ends.
fn lists_read(levels: u64, times: usize) -> usize {
    let mut bench = Bench::new(Config::default(), 2, 9).start(&[]);
    let mut todo = check(&mut bench, false);
    let mut read = 0;
    while answer(&todo).is_none() {
        assert!(read < 1000, "it does not end");
        let mut next = Vec::new();
        for (to, magic, _) in requests(&todo) {
            next.extend(bench.hears_answer(to, magic, Response::Node(peer(1))));
        }
        for (job, work) in jobs(&todo) {
            let Job::Unpack { key: list, .. } = work else { panic!("{work:?}") };
            let depth = (1..=levels).find(|depth| key(*depth) == list).expect("it is one of them");
            read += 1;
            let size = |depth: u64| (times as u64).pow((levels + 1 - depth) as u32);
            let entry = ManifestEntry { key: key(depth + 1), size: size(depth + 1) };
            let level = (levels - depth) as u8;
            let sha256 = (depth == 1).then(|| key(99));
            let entries = vec![entry; times];
            let manifest = Manifest { level, size: size(depth), sha256, folder: false, entries };
            next.extend(bench.ends(job, Outcome::Unpacked { manifest }));
        }
        assert!(!next.is_empty(), "it waits for nothing");
        todo = next;
    }
    read
}

#[test]
fn a_check_reads_a_list_once_however_often_a_file_names_it() {
    assert_eq!(lists_read(1, 4), 1);
    assert_eq!(lists_read(4, 4), 4);
}

/// A list of lists or of blocks, each of 10 bytes.
fn list_of(level: u8, numbers: &[u64]) -> Manifest {
    let entries: Vec<_> = numbers.iter().map(|n| ManifestEntry { key: key(*n), size: 10 }).collect();
    let size = entries.iter().map(|entry| entry.size).sum();
    Manifest { level, size, sha256: None, folder: false, entries }
}

/// Who stores a list of blocks as a file has a block that is data there, and a list elsewhere.
#[test]
fn a_list_that_another_file_has_as_data_is_read_all_the_same_before_and_while_its_copies_are_looked_for() {
    for sources in [&[1, 2][..], &[1, 3], &[2, 1], &[3, 1]] {
        let mut bench = guest(2);
        let reply = |to: SocketAddr, request: &Request| {
            let holder = (1..3).map(peer).find(|peer| peer.addr == to);
            holder.filter(|_| matches!(request, Request::FindValue { .. })).map(Response::Node)
        };
        let end = |work: &Job| {
            let Job::Unpack { key: of, .. } = work else { return None };
            let manifest = match (1..4).find(|n| key(*n) == *of) {
                Some(1) => list_of(0, &[2, 5]),
                Some(2) => list_of(0, &[4]),
                _ => list_of(1, &[2]),
            };
            Some(Outcome::Unpacked { manifest })
        };
        let sources: Vec<_> = sources.iter().map(|n| Source::Key(key(*n))).collect();
        let command = Command::Check { sources: sources.clone(), verify: false, repair: false, lease: None };
        let (answer, _) = until_answered(&mut bench, command, reply, end);
        let Answer::Checked(checked) = answer else { panic!("{answer:?}") };
        assert!(checked.each.iter().any(|block| block.key == key(4)), "{sources:?}: {:?}", checked.each);
        assert_eq!((checked.health, checked.unread), (Health::Whole, 0), "{sources:?}");
        bench.node.check().expect("nothing is left over");
    }
}
