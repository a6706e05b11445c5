//! What becomes of leases, as the catalogue and the holders hear of it.

mod at_once;
mod other_keys;
mod renewing;

use std::collections::VecDeque;
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use crossbeam_channel::{Receiver, unbounded};
use parking_lot::Mutex;

use super::renew::renewed_for;
use super::*;
use crate::console::catalogue::READ;
use crate::console::reply::ConsoleAnswer;
use crate::console::terms::{Lasting, Terms};
use crate::console::{Screen, finding};
use crate::file::ManifestEntry;
use crate::file::tree::list_keys;
use crate::id::Id;
use crate::lease::LeaseId;
use crate::node::Notice;
use crate::peer::Peer;
use crate::runtime::ThreadsSeen;

fn owned(secrets: &[Secret]) -> Owned {
    Owned { secrets: secrets.to_vec(), until: Some(u64::MAX - 1), lasts: Some(60), copies: 3 }
}

#[test]
fn the_same_file_has_the_same_secret_until_it_is_changed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    fs::write(&path, "1").unwrap();
    let stamp = || stamp(&path, &fs::metadata(&path).unwrap());
    let before = stamp();
    assert_eq!(stamp(), before);
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    fs::write(&path, "2").unwrap();
    fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_ne!(stamp(), before, "under an old time stamp too");
}

/// A node on which every peer has heard of everything, unless another answer is prepared.
#[derive(Clone, Default)]
struct Obedient(Arc<Mutex<Vec<Command>>>, Arc<Mutex<VecDeque<Answer>>>);

/// So many copies heard of it; so many peers are silent, and lists could not be had.
fn heard(copies: u64, silent: usize, unread: u64) -> Answer {
    let silent = vec![Peer { id: Id::ZERO, addr: ([127, 0, 0, 1], 7000).into() }; silent];
    Answer::Leased { copies, free: copies, peers: 1, silent, unread, missing: 0, took: Duration::ZERO }
}

impl Backend for Obedient {
    fn submit(&self, command: Command) -> Receiver<Notice> {
        let (sender, receiver) = unbounded();
        self.0.lock().push(command);
        let took = Duration::ZERO;
        let obeyed = Answer::Leased { copies: 2, free: 0, peers: 1, silent: Vec::new(), unread: 0, missing: 0, took };
        let answer = self.1.lock().pop_front().unwrap_or(obeyed);
        sender.send(Notice::Answer { command: 1, answer }).unwrap();
        receiver
    }

    fn threads(&self) -> ThreadsSeen {
        ThreadsSeen::default()
    }
}

/// A catalogue with these names of one file, each with its lease; and a console beside it.
fn bench(entries: &[(&str, &Owned)]) -> (tempfile::TempDir, Catalogue, Performer<Obedient>) {
    let folder = tempfile::tempdir().unwrap();
    let catalogue = Catalogue::of(folder.path());
    for (name, lease) in entries {
        catalogue.add(&entry(name, lease)).unwrap();
    }
    let performer = Performer::new(Obedient::default(), Screen::plain()).with_catalogue(Some(catalogue.clone()));
    (folder, catalogue, performer)
}

fn entry(name: &str, lease: &Owned) -> Entry {
    Entry {
        name: name.to_owned(),
        path: name.into(),
        key: Key::of(b"it"),
        sha256: Key::of(b"it"),
        bytes: 1,
        copies: 1,
        stored: 1,
        folder: false,
        begun: false,
        lease: Some(lease.clone()),
    }
}

fn drawn(until: Option<UnixTime>) -> Owned {
    Owned { until, lasts: until.map(|_| 60), ..owned(&[draw().unwrap()]) }
}

fn leases(catalogue: &Catalogue) -> Vec<(String, Owned)> {
    let entries = catalogue.entries().unwrap().into_iter();
    entries.map(|entry| (entry.name, entry.lease.unwrap())).collect()
}

#[test]
fn another_number_of_copies_is_kept_as_long_as_the_best_lease_on_the_file_says() {
    let (ever, short) = (drawn(None), drawn(Some(now() + 5)));
    for names in [["thesis", "draft"], ["draft", "thesis"]] {
        let lease = |name| if name == "thesis" { &ever } else { &short };
        let (_folder, catalogue, performer) = bench(&names.map(|name| (name, lease(name))));
        let reply = performer.change_leases(&["thesis".to_owned()], &Change::Copies(3));
        assert_eq!(reply.verdict(), None, "{}", reply.to_text());
        let asked = performer.backend.0.lock().clone();
        let [Command::Lay { lease, .. }, Command::Lease { changes, .. }] = &asked[..] else { panic!("{asked:?}") };
        assert_eq!((lease.until, lease.copies), (None, 3), "{names:?}");
        assert_eq!(changes.len(), 2, "both leases end");
        for (name, own) in leases(&catalogue) {
            let ids: Vec<_> = own.secrets.iter().map(Secret::id).collect();
            assert_eq!((own.until, own.copies, ids), (None, 3, vec![lease.id]), "{name}");
        }
    }
}

#[test]
fn to_delete_a_name_ends_no_lease_of_another_name_and_to_delete_a_key_ends_all() {
    let (one, two) = (drawn(None), drawn(None));
    let both = Owned { secrets: [&one.secrets[..], &two.secrets].concat(), ..owned(&[]) };
    let ended = |performer: &Performer<Obedient>| {
        let asked = std::mem::take(&mut *performer.backend.0.lock());
        let changes = asked.into_iter().flat_map(|command| match command {
            Command::Lease { changes, .. } => changes,
            _ => Vec::new(),
        });
        changes.map(|(_, change)| change).collect::<BTreeSet<_>>()
    };
    let ends = |secrets: &[Secret]| secrets.iter().copied().map(LeaseChange::Ended).collect::<BTreeSet<_>>();
    let delete = |performer: &Performer<Obedient>, word: &str| {
        let reply = performer.change_leases(&[word.to_owned()], &Change::Delete);
        assert_eq!(reply.verdict(), None, "{}", reply.to_text());
        reply.to_text()
    };
    let (_folder, catalogue, performer) = bench(&[("a", &one), ("b", &both), ("c", &one)]);
    let said = delete(&performer, "b");
    assert!(said.ends_with("them are kept on\nthe same file is kept on as a, c"), "{said}");
    assert_eq!(ended(&performer), ends(&two.secrets));
    // What is on the same lease under another name is kept, and nobody is told.
    let said = delete(&performer, "c");
    assert!(said.ends_with("the network keeps what it has"), "{said}");
    assert_eq!((ended(&performer), leases(&catalogue)), (BTreeSet::new(), vec![("a".to_owned(), one.clone())]));
    let (_folder, catalogue, performer) = bench(&[("a", &one), ("b", &two)]);
    let said = delete(&performer, &Key::of(b"it").to_string());
    assert!(said.ends_with("all of it is deleted: a, b"), "{said}");
    assert_eq!((ended(&performer), leases(&catalogue)), (ends(&both.secrets), Vec::new()));
}

#[test]
fn names_that_are_deleted_at_once_go_as_if_one_after_another_and_end_the_lease_they_share() {
    let (one, two) = (drawn(None), drawn(None));
    let (folder, catalogue, performer) = bench(&[("a", &one), ("b", &one), ("c", &two), ("d", &two)]);
    let delete = |words: &[&str]| {
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        performer.change_leases(&words, &Change::Delete)
    };
    let inode = || fs::metadata(folder.path().join("catalogue")).unwrap().ino();
    READ.set(0);
    let (before, reply) = (inode(), delete(&["a", "b", "a", "c"]));
    assert_eq!(READ.get(), 8, "all four lines when it begins, and when it is written");
    assert!(inode() != before && leases(&catalogue) == [("d".to_owned(), two.clone())]);
    assert_eq!(reply.verdict(), Some(FailureKind::Partial), "one was named twice: {}", reply.to_text());
    let asked = performer.backend.0.lock().clone();
    let [Command::Lease { changes, .. }] = &asked[..] else { panic!("{asked:?}") };
    assert_eq!(changes, &[(Key::of(b"it"), LeaseChange::Ended(one.secrets[0]))]);
    let full = fill(&folder);
    catalogue.add(&entry("e", &two)).unwrap();
    for words in [&["d", "e"][..], &["d"]] {
        assert!(delete(words).to_text().contains("cannot write the catalogue"), "{words:?}");
        assert_eq!(performer.backend.0.lock().len(), 1, "nobody else was told");
    }
    fs::remove_dir(full).unwrap();
    assert_eq!((delete(&["d", "e"]).verdict(), leases(&catalogue)), (None, Vec::new()));
}

#[test]
fn a_delete_that_not_all_heard_of_is_done_once_no_copy_is_left_and_one_that_nobody_heard_of_is_not() {
    use FailureKind::{NotFound, TimedOut, Unknown};
    let delete = |performer: &Performer<Obedient>, answer: Answer| {
        performer.backend.1.lock().push_back(answer);
        let reply = performer.change_leases(&["a".to_owned()], &Change::Delete);
        (reply.verdict(), reply.to_text())
    };
    for until in [None, Some(now() + 1000)] {
        let (_folder, catalogue, performer) = bench(&[("a", &drawn(until))]);
        assert_eq!(delete(&performer, heard(0, 0, 1)).0, Some(NotFound), "its holders may be off");
        assert_eq!(delete(&performer, heard(0, 1, 1)).0, Some(TimedOut));
        assert_eq!(delete(&performer, heard(0, 0, 1)).0, Some(NotFound), "and have not heard of it since");
        assert_eq!(delete(&performer, heard(3, 1, 0)).0, Some(Unknown));
        assert!(leases(&catalogue)[0].1.until.is_some_and(|until| until <= now()), "it is listed as ended");
        assert_eq!(delete(&performer, heard(0, 1, 1)).0, Some(TimedOut), "who is silent may keep it still");
        let (verdict, said) = delete(&performer, heard(0, 0, 1));
        assert_eq!(verdict, None, "{said}");
        assert!(said.contains("none is left"), "{said}");
        assert_eq!(leases(&catalogue), Vec::new());
    }
}

#[test]
fn a_file_with_several_entries_is_renewed_with_the_leases_of_all_of_them_each_as_long_as_it_was_stored_for() {
    let soon = now() + 5;
    let (short, long, ever) = (drawn(Some(soon)), drawn(Some(soon)), drawn(None));
    let long = Owned { lasts: Some(6000), ..long };
    let all = [("short", &short), ("long", &long), ("ever", &ever)];
    for words in [vec!["short".to_owned()], Vec::new(), vec!["short".to_owned(), "ever".to_owned()]] {
        let (_folder, catalogue, performer) = bench(&all);
        let reply = performer.change_leases(&words, &Change::Renew(None));
        assert_eq!(reply.verdict(), None, "{}", reply.to_text());
        for ((name, own), (_, before)) in leases(&catalogue).into_iter().zip(all) {
            let lasts = own.until.map(|until| until - now());
            assert!(lasts.is_some() == before.lasts.is_some(), "{name} {lasts:?}");
            assert!(lasts.zip(before.lasts).is_none_or(|(lasts, before)| lasts.abs_diff(before) < 30), "{name}");
            assert_eq!((own.secrets, own.lasts), (before.secrets.clone(), before.lasts), "{name}");
        }
    }
}

#[test]
fn a_renewed_lease_never_ends_earlier() {
    let own = owned(&[draw().unwrap()]);
    let renewed = |lasting| renewed_for(&entry("a", &own), lasting).lease.unwrap();
    assert_eq!(renewed(Some(Lasting::For(Duration::from_secs(1)))).until, own.until);
    assert_eq!(renewed(Some(Lasting::Ever)).until, None);
    let ever = Owned { until: None, ..own };
    assert_eq!(renewed_for(&entry("a", &ever), Some(Lasting::For(Duration::from_secs(1)))).lease.unwrap(), {
        Owned { lasts: None, ..ever }
    });
}

#[test]
fn a_file_that_was_deleted_while_it_was_stored_is_not_called_stored() {
    let (_folder, catalogue, _) = bench(&[]);
    let (lease, it) = (drawn(None), Key::of(b"it"));
    let (copies, took) = (vec![0, 1], Duration::ZERO);
    let (blocks, lists, wanted, unreached, lacking) = (1, 0, 1, 0, None);
    let stored = Answer::Stored {
        key: it,
        sha256: it,
        bytes: 1,
        blocks,
        lists,
        copies,
        wanted,
        listed: None,
        unreached,
        lacking,
        took,
    };
    let remember =
        || finding::remember((&catalogue, &*Screen::plain()), Path::new("/a"), None, Some(lease.clone()), &stored);
    catalogue.end(&lease.secrets).unwrap();
    let refused = remember().unwrap_err();
    assert_eq!((refused.kind, refused.reason.contains("lease has ended")), (FailureKind::TimedOut, true));
    assert_eq!(catalogue.listed().unwrap(), []);
}

#[test]
fn of_a_file_of_one_block_no_list_is_read_to_renew_it_unless_another_file_is_kept_in_that_list() {
    let data = |bytes: &[u8]| ManifestEntry { key: Key::of(bytes), size: bytes.len() as u64 };
    let stored = |name: &str, blocks: &[ManifestEntry], sha256| Entry {
        key: *list_keys(blocks.iter().copied(), sha256).last().unwrap(),
        bytes: blocks.iter().map(|block| block.size).sum(),
        sha256,
        ..entry(name, &drawn(Some(now() + 60)))
    };
    let (one, empty) = (data(b"one"), Key::of(b""));
    let small = [stored("small", &[one], one.key), stored("empty", &[], empty)];
    let large = stored("large", &[one, data(b"two")], Key::of(b"onetwo"));
    // What has the large one's list for its text, as a user has who stores a local manifest.
    let of_its_list = ManifestEntry { key: large.key, size: 9 };
    let list = stored("its list", &[of_its_list], large.key);
    let (_folder, _, performer) = bench(&[]);
    let entries = [&small[..], &[large.clone(), list.clone()]].concat();
    let (answer, renewed, failed) = performer.tell_holders(&entries, None);
    assert!(matches!(answer, Answer::Leased { .. }) && (renewed.len(), failed.len()) == (4, 0));
    let asked = performer.backend.0.lock().clone();
    let [Command::Lease { changes, listed, .. }] = &asked[..] else { panic!("{asked:?}") };
    let told: BTreeSet<Key> = changes.iter().map(|(key, _)| *key).collect();
    assert_eq!(told, BTreeSet::from([small[0].key, one.key, small[1].key, large.key, list.key]));
    assert_eq!(*listed, BTreeSet::from([small[0].key, one.key, small[1].key, list.key]));
}

/// A catalogue that cannot be written, as on a full disk, until what this made is removed.
fn fill(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let full = folder.path().join("catalogue.new");
    fs::create_dir(&full).unwrap();
    full
}

#[test]
fn where_the_catalogue_cannot_be_written_a_delete_ends_no_lease() {
    let (folder, catalogue, performer) = bench(&[("a", &drawn(None))]);
    let full = fill(&folder);
    let delete = || performer.change_leases(&["a".to_owned()], &Change::Delete);
    assert!(delete().to_text().contains("cannot write the catalogue"));
    assert!(performer.backend.0.lock().is_empty(), "nobody was told");
    fs::remove_dir(full).unwrap();
    assert_eq!(delete().verdict(), None);
    assert_eq!((performer.backend.0.lock().len(), leases(&catalogue)), (1, Vec::new()));
}

#[test]
fn what_was_renewed_over_a_full_disk_is_renewed_on_and_written_once_there_is_room() {
    let soon = drawn(Some(now() + 5));
    let (folder, catalogue, performer) = bench(&[("a", &soon)]);
    let full = fill(&folder);
    let mut unwritten = Vec::new();
    let next = performer.renew_due(&catalogue, &mut unwritten).unwrap();
    assert!(next > now() + 20, "it was renewed for a minute, and is due in half of one: in {}", next - now());
    assert_eq!((leases(&catalogue)[0].1.until, performer.backend.0.lock().len()), (soon.until, 1));
    performer.renew_due(&catalogue, &mut unwritten);
    assert_eq!(performer.backend.0.lock().len(), 1, "it is not due again");
    fs::remove_dir(full).unwrap();
    performer.renew_due(&catalogue, &mut unwritten);
    assert!(leases(&catalogue)[0].1.until > Some(now() + 50) && unwritten.is_empty());
}

#[test]
fn what_is_to_be_kept_for_a_while_is_not_stored_for_ever_where_no_line_can_remember_its_lease() {
    let (folder, _catalogue, performer) = bench(&[]);
    let file = folder.path().join("file");
    fs::write(&file, "1").unwrap();
    // Neither the owner's secret nor the line about what is begun can be written.
    fs::create_dir(folder.path().join("owner.new")).unwrap();
    let begin = |performer: &Performer<Obedient>, lasts| {
        performer.lease_on(&file, None, Terms { lasts, copies: None }).map(|begun| begun.is_some())
    };
    let day = Some(Duration::from_secs(86_400));
    let refused = begin(&performer, day).unwrap_err().reason;
    assert!(refused.contains("nothing was stored") && refused.contains("cannot write the catalogue"), "{refused}");
    assert_eq!(begin(&performer, None), Ok(false), "for ever it is stored all the same");
    let without = Performer::new(Obedient::default(), Screen::plain());
    assert!(begin(&without, day).unwrap_err().reason.contains("there is no catalogue"));
    fs::remove_dir(folder.path().join("owner.new")).unwrap();
    assert_eq!(begin(&performer, day), Ok(true));
}

#[test]
fn it_is_told_until_when_a_file_is_kept_and_that_nothing_had_to_be_renewed() {
    let listed = |until| {
        let files = vec![entry("a", &drawn(until))];
        crate::console::text::render(&LineReply::Console(ConsoleAnswer::Files { files }))
    };
    assert!(
        listed(Some(9_999_999_999)).ends_with("  a  kept until 2286-11-20T17:46:39Z"),
        "{}",
        listed(Some(9_999_999_999))
    );
    assert!(listed(Some(1)).ends_with("no longer kept") && listed(None).ends_with("  a"), "{}", listed(None));
    let nothing = |peers, silent| Answer::Leased {
        copies: 0,
        free: 0,
        peers,
        silent,
        unread: 0,
        missing: 0,
        took: Duration::ZERO,
    };
    assert!(told(&nothing(0, Vec::new()), None).starts_with("nobody had to be told"));
    assert!(told(&nothing(1, Vec::new()), None).contains("none is left"), "somebody heard of it");
}
