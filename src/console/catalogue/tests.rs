//! What the catalogue promises.

use std::cell::Cell;
use std::path::Path;

use super::*;
use crate::id::Id;

thread_local! {
    /// The lines about ended leases that this thread has read, further than to their names.
    pub(super) static READ_ENDED: Cell<usize> = const { Cell::new(0) };
}

pub(super) fn entry(name: &str, path: &str, content: &str) -> Entry {
    let (key, bytes) = (Id::of(content.as_bytes()), content.len() as u64);
    Entry {
        name: name.to_owned(),
        path: path.into(),
        key,
        sha256: key,
        bytes,
        copies: 7,
        stored: 5,
        folder: false,
        begun: false,
        lease: None,
    }
}

pub(super) fn catalogue() -> (tempfile::TempDir, Catalogue) {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::of(folder.path().join("new"));
    (folder, catalogue)
}

#[test]
fn a_file_is_found_by_its_name_and_by_any_unique_beginning_of_its_key() {
    let (_folder, catalogue) = catalogue();
    assert_eq!(catalogue.find("a.pdf"), Ok(None));
    let (one, two) = (entry("a.pdf", "/a.pdf", "1"), entry("b", "/b", "2"));
    catalogue.add(&one).unwrap();
    catalogue.add(&two).unwrap();
    assert_eq!(catalogue.find("a.pdf"), Ok(Some(one.key)));
    let key = two.key.to_string();
    for digits in [&key[..6], &key[..7].to_uppercase(), &key] {
        assert_eq!(catalogue.find(digits), Ok(Some(two.key)), "{digits}");
    }
    assert_eq!(catalogue.find(&key[..5]), Ok(None), "too few digits");
}

#[test]
fn the_lease_of_a_file_is_the_same_each_time_until_it_is_ended() {
    let (_folder, catalogue) = catalogue();
    let (one, other) = (catalogue.secret(b"1").unwrap(), catalogue.secret(b"2").unwrap());
    assert!(one != other && catalogue.secret(b"1").unwrap() == one);
    catalogue.end(&[one]).unwrap();
    let next = catalogue.secret(b"1").unwrap();
    assert!(next != one && next != other && catalogue.secret(b"1").unwrap() == next);
    catalogue.end(&[next]).unwrap();
    assert!(![one, next, other].contains(&catalogue.secret(b"1").unwrap()));
    assert_eq!(catalogue.secret(b"2").unwrap(), other);
}

#[test]
fn the_latest_from_one_place_is_meant_and_two_places_of_one_name_are_told_apart() {
    let (_folder, catalogue) = catalogue();
    let (old, new) = (entry("a", "/x/a", "old"), entry("a", "/x/a", "new"));
    catalogue.add(&old).unwrap();
    catalogue.add(&new).unwrap();
    assert_eq!(catalogue.find("a"), Ok(Some(new.key)));
    assert_eq!(catalogue.entries().unwrap(), [old, new.clone()], "the older one is still known by its key");
    catalogue.add(&entry("a", "/y/a", "other")).unwrap();
    let error = catalogue.find("a").unwrap_err();
    assert!(error.contains("/x/a") && error.contains("/y/a"), "{error}");
    catalogue.add(&entry("a", "/y/a", "new")).unwrap();
    assert_eq!(catalogue.find("a"), Ok(Some(new.key)), "the same bytes at both places");
}

#[test]
fn a_file_gets_further_names_and_is_forgotten_by_name_or_key() {
    let (_folder, catalogue) = catalogue();
    let one = entry("a", "/a", "1");
    assert!(!catalogue.name(&one.key, "best").unwrap(), "it is not known yet");
    catalogue.add(&one).unwrap();
    assert!(catalogue.name(&one.key, "best").unwrap());
    assert_eq!(catalogue.find("best"), Ok(Some(one.key)));
    assert_eq!(catalogue.forget("a").unwrap(), std::slice::from_ref(&one));
    assert_eq!((catalogue.find("a"), catalogue.find("best")), (Ok(None), Ok(Some(one.key))));
    assert_eq!(catalogue.forget(&one.key.to_string()[..8]).unwrap().len(), 1);
    assert_eq!(catalogue.entries().unwrap(), []);
    assert_eq!(catalogue.forget("a").unwrap(), []);
}

#[test]
fn a_renewal_leaves_leases_that_never_end_or_were_renewed_for_longer_as_they_are() {
    let (_folder, catalogue) = catalogue();
    let lease = |until| Owned { secrets: vec![draw().unwrap()], until, lasts: Some(10), copies: 0 };
    let with =
        |name: &str, content: &str, lease: &Owned| Entry { lease: Some(lease.clone()), ..entry(name, "/a", content) };
    let (ends, never, longer) = (lease(Some(20)), lease(None), lease(Some(90)));
    for entry in [with("a", "1", &ends), with("b", "1", &never), with("c", "2", &longer)] {
        catalogue.add(&entry).unwrap();
    }
    let until_30 = |lease: &Owned| Owned { until: Some(30), ..lease.clone() };
    let renewed =
        [with("a", "1", &until_30(&ends)), with("b", "1", &until_30(&never)), with("c", "2", &until_30(&longer))];
    // Another lease was laid meanwhile, of which nobody was told.
    let (further, told) = (lease(Some(20)), lease(Some(25)));
    catalogue.add(&with("d", "3", &further)).unwrap();
    catalogue.change_all(&[&renewed[..], &[with("d", "3", &told)]].concat()).unwrap();
    let leases = catalogue.entries().unwrap().into_iter().map(|entry| entry.lease.unwrap());
    assert_eq!(leases.collect::<Vec<_>>(), [until_30(&ends), never, longer, further]);
}

#[test]
fn a_catalogue_that_cannot_be_looked_at_is_not_taken_for_an_empty_one() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a file");
    std::fs::write(&file, "").unwrap();
    assert!(Catalogue::of(file.join("state")).listed().is_err());
    assert!(Catalogue::of(folder.path().join("none yet")).listed().unwrap().is_empty());
}

#[test]
fn a_line_is_withdrawn_unless_another_has_come_after_it() {
    let (_folder, catalogue) = catalogue();
    catalogue.add(&entry("a", "/a", "1")).unwrap();
    let (file, line) = catalogue.append(&entry("b", "/b", "2")).unwrap();
    catalogue.withdraw(&file, line).unwrap();
    let names = || catalogue.listed().unwrap().into_iter().map(|entry| entry.name).collect::<Vec<_>>();
    assert_eq!(names(), ["a"]);
    let (file, line) = catalogue.append(&entry("c", "/c", "3")).unwrap();
    catalogue.add(&entry("d", "/d", "4")).unwrap();
    catalogue.withdraw(&file, line).unwrap();
    assert_eq!(names(), ["a", "c", "d"]);
}

#[test]
fn what_an_end_of_the_process_left_of_a_new_catalogue_is_taken_by_the_next() {
    let (folder, catalogue) = catalogue();
    catalogue.add(&entry("a", "/a", "1")).unwrap();
    std::fs::write(folder.path().join("new/catalogue.new"), "half a li").unwrap();
    catalogue.write(&[entry("b", "/b", "2")]).unwrap();
    assert_eq!(catalogue.listed().unwrap().len(), 1);
    let elsewhere = folder.path().join("elsewhere");
    std::fs::write(&elsewhere, "dear").unwrap();
    std::os::unix::fs::symlink(&elsewhere, folder.path().join("new/catalogue.new")).unwrap();
    catalogue.write(&[entry("c", "/c", "3")]).unwrap();
    assert_eq!(std::fs::read(elsewhere).unwrap(), b"dear", "no link is followed");
    assert_eq!(std::fs::read_dir(folder.path().join("new")).unwrap().count(), 2, "the catalogue and its lock");
}

#[test]
fn lines_that_cannot_be_read_are_set_aside_and_the_others_stay() {
    let (_folder, catalogue) = catalogue();
    let (one, two) = (entry("a", "/a", "1"), entry("b", "/b", "2"));
    catalogue.add(&one).unwrap();
    let whole = fs::read(catalogue.path()).unwrap();
    // Cut off in the middle of a line; more is written behind it.
    fs::write(catalogue.path(), [&whole[..], &whole[..30]].concat()).unwrap();
    catalogue.add(&two).unwrap();
    let before = fs::read(catalogue.path()).unwrap();
    assert_eq!(catalogue.entries().unwrap(), [one, two]);
    assert_eq!(fs::read(catalogue.folder.join("catalogue.damaged-1")).unwrap(), before);
    assert_eq!(fs::read(catalogue.path()).unwrap().split(|byte| *byte == b'\n').count(), 3, "two lines");
}

#[test]
fn a_flipped_bit_that_leaves_good_json_is_noticed_and_older_lines_are_read() {
    let (_folder, catalogue) = catalogue();
    let (older, one, two) = (entry("older", "/a", "0"), entry("a", "/a", "1"), entry("b", "/b", "2"));
    catalogue.add(&one).unwrap();
    fs::write(catalogue.path(), format!("{}\n", serde_json::to_string(&older).unwrap())).unwrap();
    catalogue.add(&one).unwrap();
    catalogue.add(&two).unwrap();
    assert_eq!(catalogue.entries().unwrap(), [older.clone(), one.clone(), two]);
    let damaged = fs::read_to_string(catalogue.path()).unwrap().replace(r#""name":"b""#, r#""name":"c""#);
    fs::write(catalogue.path(), &damaged).unwrap();
    assert_eq!(catalogue.entries().unwrap(), [older, one]);
    assert_eq!(fs::read_to_string(catalogue.folder.join("catalogue.damaged-1")).unwrap(), damaged);
}

#[test]
fn nobody_else_reads_the_keys() {
    use std::os::unix::fs::PermissionsExt;
    let (_folder, catalogue) = catalogue();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    catalogue.add(&entry("a", "/a", "1")).unwrap();
    catalogue.add(&entry("b", "/b", "2")).unwrap();
    assert_eq!((mode(&catalogue.folder), mode(&catalogue.path())), (0o700, 0o600));
    catalogue.forget("a").unwrap();
    assert_eq!(mode(&catalogue.path()), 0o600);
}

#[test]
fn many_at_once_lose_nothing() {
    let (_folder, catalogue) = catalogue();
    std::thread::scope(|scope| {
        for number in 0..8 {
            let catalogue = &catalogue;
            scope.spawn(move || {
                for of in 0..10 {
                    let name = format!("{number} {of}");
                    catalogue.add(&entry(&name, "/x", &name)).unwrap();
                    catalogue.forget(&format!("{number} {}", of - 5)).unwrap();
                }
            });
        }
    });
    assert_eq!(catalogue.entries().unwrap().len(), 8 * 5);
}

#[test]
fn a_lock_that_another_process_holds_is_waited_for_so_long_and_no_longer() {
    let (_folder, catalogue) = catalogue();
    let held = catalogue.lock().unwrap();
    let again = File::open(catalogue.folder.join(LOCK)).unwrap();
    let error = lock(&again, Duration::from_millis(5)).unwrap_err();
    assert!(error.to_string().contains("another process holds catalogue.lock"), "{error}");
    drop(held);
    lock(&again, Duration::ZERO).unwrap();
}

#[test]
fn patterns_are_those_of_a_shell_or_a_part_of_the_name() {
    for (name, pattern, expected) in [
        ("report.pdf", "*.pdf", true),
        ("report.pdf", "*.pd", false),
        ("report.pdf", "r?port*", true),
        ("report.pdf", "port", true),
        ("report.pdf", "", true),
        ("aXbXc", "a*b*c", true),
        ("aXbX", "a*b*c", false),
        ("", "*", true),
        ("", "?", false),
        ("report [1].pdf", "rep[a-z]rt*", true),
        ("a[b", "[b", true),
    ] {
        assert_eq!(fits(name, pattern), expected, "{name} {pattern}");
    }
}

#[test]
fn a_lease_that_is_ended_after_a_line_was_cut_off_is_known_to_have_ended() {
    let (folder, catalogue) = catalogue();
    let [first, secret] = [draw().unwrap(), draw().unwrap()];
    catalogue.end(&[first]).unwrap();
    let path = folder.path().join("new").join(ENDED);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 9]).unwrap();
    catalogue.end(&[secret]).unwrap();
    let ended = catalogue.ended().unwrap();
    assert!(ended.names(&secret.id()) && !ended.names(&first.id()));
}

#[test]
fn among_very_many_ended_leases_a_store_reads_the_line_of_its_own_alone() {
    let (_folder, catalogue) = catalogue();
    let others: Vec<Secret> = (0..10_000).map(|_| draw().unwrap()).collect();
    let first = catalogue.secret(b"stamp").unwrap();
    catalogue.end(&others[..5000]).unwrap();
    catalogue.end(&[first]).unwrap();
    catalogue.end(&others[5000..]).unwrap();
    READ_ENDED.set(0);
    let second = catalogue.secret(b"stamp").unwrap();
    let stored = |secret| {
        let lease = Some(Owned { secrets: vec![secret], until: None, lasts: None, copies: 0 });
        catalogue.add_stored(&Entry { lease, ..entry("a", "/a", "1") }).unwrap()
    };
    assert_eq!((second == first, stored(second), READ_ENDED.get()), (false, true, 1));
    assert_eq!((stored(first), READ_ENDED.get()), (false, 2));
}
