//! Whatever comes in: each reader of bytes that others wrote, and a node among strangers who say what they like.
//!
//! Each target is a test, which tries random inputs and those kept in `__fuzz__`, and a target for a fuzzer that learns
//! from what it reached (`tests/fuzz/run.sh NAME`). More random inputs: `BOLERO_RANDOM_ITERATIONS=1000000`.

mod node;
mod said;

use std::fs;

use bolero::check;
use kadring::config::MAX_BLOCK_SIZE;
use kadring::console::catalogue::Catalogue;
use kadring::console::{Defaults, Grammar, escape};
use kadring::file::{Manifest, ManifestEntry, local};
use kadring::id::Id;
use kadring::lease::Note;
use kadring::seal::{Keys, SeenDatagrams};
use kadring::store::DiskStore;
use kadring::wire::{BlockHead, Dialect, MAX_CONTROL_LINE};
use said::{Change, Said, changed, peer};

/// Inputs that a run of all tests tries: with those that are kept they take seconds.
const TRIES: usize = 4_000;

#[test]
fn a_datagram_or_line_is_read_or_refused_and_what_is_read_is_written_and_read_as_the_same() {
    check!().with_iterations(TRIES).with_type::<(Said, Vec<Change>, bool)>().for_each(|(said, changes, ring)| {
        let dialect = if *ring { Dialect::Ring } else { Dialect::Kademlia };
        let mut text = Vec::new();
        let me = peer(0);
        dialect.encode(&said.message(), &me, peer(1).addr, &mut text);
        let text = changed(text, changes);
        let _ = dialect.foreign_request(&text);
        let Ok(read) = dialect.decode(&text) else { return };
        let mut again = Vec::new();
        dialect.encode(&read, &me, peer(1).addr, &mut again);
        assert!(again.len() <= MAX_CONTROL_LINE, "{}", String::from_utf8_lossy(&again));
        let mut read_again = dialect.decode(&again).expect("what is written can be read");
        // On the ring the writer puts its own name under what it says.
        let mut read = read;
        (read.sender, read_again.sender) = (None, None);
        (read.answers, read_again.answers) = (None, None);
        assert_eq!(read.magic, read_again.magic);
        assert!(*ring || read.body == read_again.body, "{read:?} was read as {read_again:?}");
    });
}

#[test]
fn a_manifest_is_read_or_refused_and_what_is_read_is_written_as_it_was() {
    check!().with_iterations(TRIES).with_type::<(Vec<(u8, u16)>, u8, Vec<Change>)>().for_each(
        |(blocks, kind, changes)| {
            let entries = blocks.iter().map(|(of, size)| ManifestEntry { key: Id::of(&[*of]), size: u64::from(*size) });
            let entries: Vec<_> = entries.collect();
            let size = entries.iter().map(|entry| entry.size).sum();
            let (sha256, folder) = ((kind & 1 > 0).then(|| Id::of(b"file")), kind & 3 == 3);
            let manifest = Manifest { level: kind >> 6, size, sha256, folder, entries };
            let block = changed(manifest.encode(), changes);
            if let Ok(Some(read)) = Manifest::decode(&block) {
                assert_eq!(read.encode(), block);
            }
            let _ = local::read(&block);
        },
    );
}

#[test]
fn a_line_of_the_console_is_a_command_or_says_what_is_wrong_with_it() {
    let grammar = Grammar::new(Defaults::default());
    let lines = [
        "store 'a b' --manifest m --for 30d --copies 3",
        "retrieve 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08/a/b dest --force",
        "check x y --verify --repair",
        "wait copies x 3 --deadline 10s",
        "lookup 00 --explain",
        "renew a --for ever",
        "ping [::1]:7000",
        "name 9f86d0 'new name'",
        "help sto",
        "quit --no-handover",
    ];
    check!().with_iterations(TRIES).with_type::<(u8, Vec<Change>)>().for_each(|(line, changes)| {
        let line = lines[usize::from(*line) % lines.len()].as_bytes().to_vec();
        let line = String::from_utf8_lossy(&changed(line, changes)).into_owned();
        if let Err(error) = grammar.parse(&line) {
            assert!(!error.to_string().is_empty());
        }
        assert!(!escape(&line).chars().any(char::is_control), "{line:?}");
    });
}

#[test]
fn a_line_of_the_journal_is_read_or_refused_and_what_is_read_is_written_as_it_is() {
    let lines = [
        "block 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 00000000000000000000000000000001:5:3",
        "renewed 00000000000000000000000000000001:0:7",
        "ended 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 1700000000",
    ];
    check!().with_iterations(TRIES).with_type::<(u8, Vec<Change>)>().for_each(|(line, changes)| {
        let line = lines[usize::from(*line) % lines.len()].as_bytes().to_vec();
        let line = String::from_utf8_lossy(&changed(line, changes)).into_owned();
        if let Ok(note) = line.parse::<Note>() {
            assert_eq!(note.to_string().parse::<Note>().as_ref(), Ok(&note), "{line:?}");
        }
    });
}

/// What a peer says before the bytes of a block. The bytes behind it are tried where they are read, in
/// `runtime/transfer/connections/tests.rs`.
#[test]
fn the_head_of_a_block_is_a_size_that_a_block_may_have_or_a_reason_or_nothing() {
    let heads = ["1048576", "0", "21", "error: there is none", "error: "];
    check!().with_iterations(TRIES).with_type::<(u8, Vec<Change>)>().for_each(|(head, changes)| {
        let head = heads[usize::from(*head) % heads.len()].as_bytes().to_vec();
        let line = String::from_utf8_lossy(&changed(head, changes)).into_owned();
        match BlockHead::read(&line) {
            BlockHead::Size(size) => {
                assert!(size <= MAX_BLOCK_SIZE && line.len() <= 10, "{line:?}");
                assert_eq!(line.trim_start_matches('0'), size.to_string().trim_start_matches('0'));
            }
            BlockHead::Refused(reason) => assert_eq!(format!("error: {reason}"), line),
            BlockHead::Malformed => assert!(!line.starts_with("error: ") && !heads.contains(&line.as_str())),
        }
    });
}

/// What a peer wrote in an earlier life, and a failing disk or a curious person changed.
#[test]
fn the_files_of_an_earlier_life_are_read_as_they_were_or_set_aside_and_a_flipped_byte_names_no_other_peer() {
    let files = ["peers.json", "id", "leases"];
    check!().with_iterations(TRIES / 40).with_type::<(u8, Vec<u8>, Vec<Change>)>().for_each(
        |(which, known, changes)| {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let store = DiskStore::open(folder.path()).expect("it is writable");
            let (me, known) = (Id::of(b"me"), known.iter().take(8).map(|number| peer(*number)).collect::<Vec<_>>());
            let held: Vec<_> = known.iter().map(|peer| (peer.id, 1)).collect();
            let notes: Vec<Note> = held.iter().map(|(key, _)| note(*key)).collect();
            store.save_id(&me).expect("writable");
            store.save_peers(&known).expect("writable");
            store.note(&notes, false).expect("writable");
            let path = folder.path().join(files[usize::from(*which) % files.len()]);
            let written = fs::read(&path).unwrap_or_default();
            let came = changed(written.clone(), changes);
            fs::write(&path, &came).expect("writable");
            let (id, peers, noted) = (store.load_id(), store.load_peers(), store.load_notes(&held));
            let flips = written.iter().zip(&came).filter(|(was, is)| was != is).count();
            if came.len() == written.len() && flips <= 1 {
                assert!(id.as_ref().map_or(true, |id| *id == Some(me)), "{id:?}");
                assert!(peers.iter().all(|peer| known.contains(peer)), "{peers:?} of {known:?}");
                assert!(flips == 1 || peers == known, "{peers:?} of {known:?}");
            }
            assert_eq!(store.load_id().ok(), id.ok());
            assert_eq!(store.load_peers(), peers);
            assert_eq!(store.load_notes(&held).expect("it is read again"), noted.expect("it is read"));
        },
    );
}

/// A lease of this block.
fn note(key: Id) -> Note {
    format!("block {key} 00000000000000000000000000000001:5:3").parse().expect("a line of a journal")
}

/// What comes to a peer that has a network key.
#[test]
fn a_sealed_datagram_opens_as_what_it_was_once_or_not_at_all() {
    let keys = |digits: &str| Keys::parse(&digits.repeat(32)).expect("a key");
    let (keys, others) = (keys("5a"), keys("a5"));
    check!().with_iterations(TRIES).with_type::<(Vec<u8>, u64, Vec<Change>)>().for_each(|(text, number, changes)| {
        let mut sealed = text.clone();
        keys.first().seal(&[7; 16], *number, &mut sealed);
        let (came, mut opened) = (changed(sealed.clone(), changes), Vec::new());
        assert!(others.open(&came, &mut opened).is_none(), "another network's key");
        let stamp = keys.open(&came, &mut opened).map(|(stamp, _)| stamp);
        assert_eq!(stamp.is_some(), came == sealed, "a changed one is none");
        if let Some(stamp) = stamp {
            let mut seen = SeenDatagrams::default();
            assert_eq!(opened, *text);
            assert!(seen.is_new(stamp) && !seen.is_new(stamp), "the same again");
        }
    });
}

#[test]
fn a_catalogue_of_any_bytes_is_read_with_its_sound_lines_and_the_rest_is_set_aside() {
    let entry = r#"{"name":"a","path":"/a","key":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","sha256":"9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08","bytes":1,"copies":7,"stored":5}"#;
    let sound = entry.replace("\"a\"", "\"sound\"");
    check!().with_iterations(TRIES / 40).with_type::<Vec<Change>>().for_each(|changes| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut bytes = changed(entry.as_bytes().to_vec(), changes);
        bytes.extend_from_slice(format!("\n{sound}\n").as_bytes());
        fs::write(folder.path().join("catalogue"), &bytes).expect("writable");
        let catalogue = Catalogue::of(folder.path());
        let entries = catalogue.entries().expect("it is read");
        assert!(entries.iter().any(|entry| entry.name == "sound"), "{}", String::from_utf8_lossy(&bytes));
        assert_eq!(catalogue.entries().expect("it is read again"), entries);
    });
}

/// What is kept in `__fuzz__` is found by a target's name: one that is renamed would go without.
#[test]
fn each_target_has_inputs_that_are_tried_whenever_all_tests_run_and_they_are_small() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/__fuzz__");
    let mut bytes = 0;
    let source = concat!(include_str!("main.rs"), "\nfn node__try_all() {\n    check!().with_iterations(400)");
    let is_target = |item: &&str| item.lines().any(|line| line.starts_with("    check!().with_iterations("));
    let targets = source.split("\nfn ").filter(is_target);
    let names: Vec<&str> = targets.filter_map(|item| item.split('(').next()).collect();
    assert!(names.len() > 6, "{names:?}");
    for name in names {
        let kept = fs::read_dir(format!("{root}/{name}/corpus")).map(|kept| kept.filter_map(Result::ok).collect());
        let kept: Vec<fs::DirEntry> = kept.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(kept.len() >= 10, "{name} has {}", kept.len());
        bytes += kept.iter().map(|file| file.metadata().map_or(0, |about| about.len())).sum::<u64>();
    }
    assert!(bytes < 200_000, "{bytes} bytes");
}
