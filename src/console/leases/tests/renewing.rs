//! What is renewed after it was deleted.

use super::*;

fn renew(performer: &Performer<Obedient>, words: &[&str]) -> LineReply {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    performer.change_leases(&words, &Change::Renew(Some(Lasting::For(Duration::from_secs(9000)))))
}

/// Copies that heard of it, and those of them that no lease keeps.
fn leased(copies: u64, free: u64) -> Answer {
    Answer::Leased { copies, free, peers: 1, silent: Vec::new(), unread: 0, missing: 0, took: Duration::ZERO }
}

#[test]
fn what_was_deleted_while_a_holder_was_silent_is_not_renewed() {
    for until in [None, Some(now() + 50)] {
        let (_folder, catalogue, performer) = bench(&[("a", &drawn(until))]);
        performer.backend.1.lock().push_back(heard(2, 1, 0));
        let deleted = performer.change_leases(&["a".to_owned()], &Change::Delete);
        assert_eq!(deleted.verdict(), Some(FailureKind::Unknown), "{}", deleted.to_text());
        let before = leases(&catalogue);
        performer.backend.0.lock().clear();
        let reply = renew(&performer, &["a"]);
        assert_eq!(reply.verdict(), Some(FailureKind::NotFound), "{}", reply.to_text());
        assert!(reply.to_text().contains("store it again"), "{}", reply.to_text());
        assert_eq!(renew(&performer, &[]).verdict(), None, "there is nothing to renew");
        assert!(
            performer
                .backend
                .0
                .lock()
                .iter()
                .all(|told| matches!(told, Command::Lease { changes, .. } if changes.is_empty()))
        );
        assert_eq!(leases(&catalogue), before);
        let again = performer.change_leases(&["a".to_owned()], &Change::Delete);
        assert_eq!(again.verdict(), None, "{}", again.to_text());
        assert_eq!(leases(&catalogue), []);
    }
}

#[test]
fn what_was_deleted_by_another_copy_of_the_catalogue_is_not_called_renewed_and_the_rest_is() {
    let (gone, kept) = (drawn(Some(now() + 50)), drawn(Some(now() + 50)));
    let (_folder, catalogue, performer) = bench(&[("a", &gone)]);
    catalogue.add(&Entry { key: Key::of(b"other"), ..entry("b", &kept) }).unwrap();
    // Both at once, each alone in the order of keys, and what is left.
    let alone = |key: &[u8]| if Key::of(key) == Key::of(b"it") { leased(2, 2) } else { leased(2, 0) };
    let mut keys = [&b"it"[..], b"other"];
    keys.sort_unstable_by_key(|key| Key::of(key));
    performer.backend.1.lock().extend([leased(4, 2), alone(keys[0]), alone(keys[1]), leased(2, 0)]);
    let reply = renew(&performer, &[]);
    let text = reply.to_text();
    assert!(reply.verdict().is_some() && text.contains("a") && text.contains("was deleted"), "{text}");
    for (name, lease) in leases(&catalogue) {
        let before = if name == "a" { &gone } else { &kept };
        assert_eq!(lease.until == before.until, name == "a", "{name}");
    }
}

#[test]
fn a_peer_that_renews_by_itself_notes_no_time_of_what_was_deleted_elsewhere() {
    let due = Owned { lasts: Some(1000), ..drawn(Some(now() + 100)) };
    let (_folder, catalogue, performer) = bench(&[("a", &due)]);
    performer.backend.1.lock().extend([leased(2, 2), leased(2, 2)]);
    performer.renew_due(&catalogue, &mut Vec::new());
    assert_eq!(leases(&catalogue), [("a".to_owned(), due)]);
}
