//! Commands that change the leases of one file at the same time.

use crossbeam_channel::{Sender, bounded};

use super::*;

#[test]
fn numbers_of_copies_that_are_changed_at_once_leave_no_lease_that_nobody_can_end() {
    let (_folder, catalogue, performer) = bench(&[("a", &drawn(None))]);
    let before = catalogue.entries().unwrap();
    // Both have looked into the catalogue before either has changed it.
    for copies in [3, 5] {
        performer.change_copies(&catalogue, &before, "a", copies).unwrap();
    }
    let laid = performer.backend.0.lock().clone().into_iter().filter_map(|command| match command {
        Command::Lay { lease, .. } => Some(lease.id),
        _ => None,
    });
    let laid: BTreeSet<LeaseId> = laid.collect();
    let known: BTreeSet<LeaseId> = leases(&catalogue)[0].1.secrets.iter().map(Secret::id).collect();
    assert_eq!((laid.len(), laid), (2, known));
}

/// A node whose peers have heard of everything, and which looks whether the key is held while it tells them.
struct Watched(Catalogue, Sender<bool>);

impl Backend for Watched {
    fn submit(&self, command: Command) -> Receiver<Notice> {
        let other = Catalogue::of(self.0.path().parent().expect("its folder"));
        self.1.send(other.hold(Some(&BTreeSet::from([Key::of(b"it")])), Duration::ZERO).is_err()).unwrap();
        Obedient::default().submit(command)
    }

    fn threads(&self) -> ThreadsSeen {
        ThreadsSeen::default()
    }
}

#[test]
fn what_changes_the_leases_of_a_file_keeps_others_from_them_until_it_is_written() {
    let (_folder, catalogue, _) = bench(&[("a", &drawn(Some(now() + 50)))]);
    for change in [Change::Copies(3), Change::Renew(None), Change::Delete] {
        // Each change is one command for the node, and `copies` two.
        let (seen, held) = bounded(2);
        let words = ["a".to_owned()];
        let backend = Watched(catalogue.clone(), seen);
        let performer = Performer::new(backend, Screen::plain()).with_catalogue(Some(catalogue.clone()));
        let reply = performer.change_leases(&words, &change);
        assert_eq!(reply.verdict(), None, "{change:?}: {}", reply.to_text());
        let held: Vec<bool> = held.try_iter().collect();
        assert!(!held.is_empty() && held.iter().all(|held| *held), "{change:?}: {held:?}");
    }
    assert!(catalogue.hold(None, Duration::ZERO).is_ok(), "all have let go");
}

#[test]
fn a_peer_renews_no_lease_that_a_command_changes_and_looks_again_a_second_later() {
    let due = Owned { lasts: Some(1000), ..drawn(Some(now() + 100)) };
    let (_folder, catalogue, performer) = bench(&[("a", &due)]);
    let held = catalogue.hold(None, Duration::ZERO).unwrap();
    let (before, next) = (now(), performer.renew_due(&catalogue, &mut Vec::new()));
    assert!(next.is_some_and(|next| (before + 1..=now() + 1).contains(&next)), "{next:?}");
    assert!(performer.backend.0.lock().is_empty(), "nobody was told");
    drop(held);
    performer.renew_due(&catalogue, &mut Vec::new());
    assert_eq!(performer.backend.0.lock().len(), 1);
}
