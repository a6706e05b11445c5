//! What readers of the catalogue promise to each other, and to those who write it.

use std::cell::Cell;
use std::fs;

use proptest::prelude::*;

use super::super::tests::{catalogue, entry};
use super::super::{Owned, is_beginning};
use super::*;
use crate::console::leases::draw;
use crate::id::Id;

thread_local! {
    /// The lines that this thread has read, further than to their sums.
    pub(in crate::console) static READ: Cell<usize> = const { Cell::new(0) };
}

#[test]
fn no_reader_keeps_a_writer_waiting_or_waits_for_one() {
    let (_folder, catalogue) = catalogue();
    let one = entry("a", "/a", "1");
    catalogue.add(&one).unwrap();
    let secret = catalogue.secret(b"stamp").unwrap();
    // A process that needed the lock would fail for want of it.
    let _writer = catalogue.lock().unwrap();
    assert_eq!(catalogue.listed().unwrap(), std::slice::from_ref(&one));
    assert_eq!(catalogue.entries().unwrap(), std::slice::from_ref(&one));
    assert_eq!(catalogue.fitting("a*").unwrap(), std::slice::from_ref(&one));
    assert_eq!((catalogue.find("a"), catalogue.find("b")), (Ok(Some(one.key)), Ok(None)));
    catalogue.check_owner().unwrap();
    assert_eq!(catalogue.secret(b"stamp").unwrap(), secret);
}

/// Wherever the writer is in its line when a reader comes.
#[test]
fn a_line_that_is_just_being_written_is_read_as_none_or_again_under_the_lock() {
    let (_folder, catalogue) = catalogue();
    let (one, two) = (entry("a", "/a", "1"), entry("b", "/b", "2"));
    catalogue.add(&one).unwrap();
    let before = fs::read(catalogue.path()).unwrap().len();
    catalogue.add(&two).unwrap();
    let whole = fs::read(catalogue.path()).unwrap();
    let (one, both) = (vec![one.clone()], vec![one, two]);
    for cut in before..whole.len() {
        let is_line = cut == before || cut + 1 == whole.len();
        let (entries, damaged) = entries_in(&whole[..cut], |_| true);
        let expected = if cut + 1 == whole.len() { &both } else { &one };
        assert_eq!((&entries, damaged), (expected, usize::from(!is_line)), "{cut}");
        // Nor does it pass because it is another file that is sought.
        assert_eq!(entries_in(&whole[..cut], |_| false).1, usize::from(!is_line), "{cut}");
    }
}

#[test]
fn readers_beside_writers_take_no_line_for_damaged() {
    let (_folder, catalogue) = catalogue();
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..2)
            .map(|number| {
                let catalogue = &catalogue;
                scope.spawn(move || {
                    for of in 0..20 {
                        let name = format!("{number} {of}");
                        catalogue.add(&entry(&name, "/x", &name)).unwrap();
                        let (file, line) = catalogue.append(&entry("refused", "/x", "refused")).unwrap();
                        catalogue.withdraw(&file, line).unwrap();
                        catalogue.forget(&format!("{number} {}", of - 5)).unwrap();
                    }
                })
            })
            .collect();
        while !writers.iter().all(|writer| writer.is_finished()) {
            catalogue.listed().unwrap();
            catalogue.find("0 3").unwrap();
        }
    });
    let left = fs::read_dir(catalogue.path().parent().unwrap()).unwrap().count();
    assert_eq!(left, 2, "the catalogue and its lock");
}

#[test]
fn of_a_thousand_files_the_one_that_is_named_is_read_and_each_is_compared_with_its_sum() {
    let (_folder, catalogue) = catalogue();
    let files: Vec<Entry> = (0..1000).map(|n| entry(&format!("file {n}."), "/x", &n.to_string())).collect();
    catalogue.add(&files[0]).unwrap();
    catalogue.write(&files).unwrap();
    let key = files[777].key;
    for word in ["file 777.", &key.to_string()[..12], &key.to_string()] {
        READ.set(0);
        assert_eq!((catalogue.find(word), READ.get()), (Ok(Some(key)), 1), "{word}");
    }
    READ.set(0);
    assert_eq!((catalogue.find("file 1000."), READ.get()), (Ok(None), 0));
    assert_eq!((catalogue.fitting("file 77?.").unwrap().len(), READ.get()), (10, 11), "77 begins so too");
    let damaged = fs::read_to_string(catalogue.path()).unwrap().replace("\"file 5.\"", "\"file 6.\"");
    fs::write(catalogue.path(), damaged).unwrap();
    assert_eq!(catalogue.find("file 777."), Ok(Some(key)));
    assert!(catalogue.path().with_file_name("catalogue.damaged-1").exists(), "the damage of another line is told");
}

/// A name of letters that JSON writes as they are or not, bytes that are no text, and what stands for such.
fn any_name() -> impl Strategy<Value = String> {
    let parts = [&b"ab"[..], b"0f", b"\"", b"\\", b"\n", b"\xff", "\u{efff}".as_bytes(), "\u{e9}".as_bytes()];
    let part = proptest::sample::select(parts.map(<[u8]>::to_vec).to_vec());
    proptest::collection::vec(part, 1..4).prop_map(|parts| crate::raw_text::text(&parts.concat()))
}

proptest! {
    #[test]
    fn what_is_sought_is_found_as_in_the_whole_list(
        files in proptest::collection::vec((any_name(), 0..3_u8, 0..2_usize, any::<bool>()), 1..6),
        words in proptest::collection::vec(any_name(), 3),
        digits in (0..3_u8, 6..65_usize, any::<bool>()),
    ) {
        let (_folder, catalogue) = catalogue();
        let secrets = [draw().unwrap(), draw().unwrap()];
        for (name, content, secret, begun) in &files {
            let lease = Some(Owned { secrets: vec![secrets[*secret]], until: None, lasts: None, copies: 0 });
            let entry = Entry { lease, ..entry(name, "/x", &content.to_string()) };
            let nothing = Entry { key: Id::ZERO, sha256: Id::ZERO, begun: true, ..entry.clone() };
            catalogue.add(if *begun { &nothing } else { &entry }).unwrap();
        }
        let all = catalogue.listed().unwrap();
        let key = Id::of(digits.0.to_string().as_bytes()).to_string()[..digits.1].to_owned();
        let key = if digits.2 { key.to_uppercase() } else { key };
        prop_assert!(is_beginning(&key));
        let names = files.iter().map(|(name, ..)| name.clone());
        for word in names.chain(words).chain([key]) {
            prop_assert_eq!(catalogue.find(&word), find_among(&all.iter().collect::<Vec<_>>(), &word), "{:?}", word);
            let part: String = word.chars().take(1).collect();
            for pattern in [&word, &part, &format!("{part}*"), &format!("[{part}"), "*"] {
                let fitting: Vec<Entry> = all.iter().filter(|entry| fits(&entry.name, pattern)).cloned().collect();
                prop_assert_eq!(catalogue.fitting(pattern).unwrap(), fitting, "{:?}", pattern);
            }
        }
    }
}
