//! A file that was stored under two keys: by an older program that made a list of its one block, and by this one.

use super::*;

#[test]
fn what_ends_on_one_key_of_a_file_leaves_what_was_stored_under_another_key_of_it() {
    let (shared, own) = (drawn(None), drawn(None));
    let both = Owned { secrets: [&shared.secrets[..], &own.secrets].concat(), ..owned(&[]) };
    for change in [Change::Delete, Change::Copies(2)] {
        for (lease, ends) in [(&both, Some(own.secrets[0])), (&shared, None)] {
            let (_folder, catalogue, performer) = bench(&[("new", lease)]);
            catalogue.add(&Entry { key: Key::of(b"a list"), ..entry("old", &shared) }).unwrap();
            let reply = performer.change_leases(&["new".to_owned()], &change);
            assert_eq!(reply.verdict(), None, "{}", reply.to_text());
            let asked = std::mem::take(&mut *performer.backend.0.lock());
            let changes = asked.into_iter().flat_map(|command| match command {
                Command::Lease { changes, .. } => changes,
                _ => Vec::new(),
            });
            let told: Vec<_> = changes.collect();
            let ended: Vec<_> = ends.map(|secret| (Key::of(b"it"), LeaseChange::Ended(secret))).into_iter().collect();
            assert_eq!(told, ended, "{change:?}");
            let left: Vec<(String, Owned)> = leases(&catalogue);
            assert!(left.contains(&("old".to_owned(), shared.clone())), "{change:?}: {left:?}");
            let ended = catalogue.ended().unwrap();
            assert!(!ended.names(&shared.secrets[0].id()), "another store of it gets it again");
        }
    }
}

#[test]
fn a_delete_by_a_name_tells_the_keys_of_what_was_stored_before_and_is_kept_under_it() {
    let (old, older) = (Key::of(b"old"), Key::of(b"older"));
    let (_folder, catalogue, performer) = bench(&[]);
    for key in [older, old, Key::of(b"it")] {
        catalogue.add(&Entry { key, ..entry("a", &drawn(None)) }).unwrap();
    }
    let delete = || performer.change_leases(&["a".to_owned()], &Change::Delete);
    let newest = delete();
    let json: serde_json::Value = serde_json::from_str(&newest.to_json()).unwrap();
    let both = BTreeSet::from([old, older]).iter().map(Key::to_string).collect::<Vec<_>>();
    assert_eq!(json["name_keeps"], serde_json::json!(both));
    assert!(
        newest.to_text().contains(&format!("what was stored before under that name is kept on: {}", both.join(", ")))
    );
    assert!(delete().to_text().contains(&format!("kept on: {older}")));
    let last = delete();
    assert!(last.verdict().is_none() && !last.to_text().contains("before"), "{}", last.to_text());
}

#[test]
fn a_file_that_fits_a_block_has_another_secret_than_where_it_had_a_list() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    let stamped = |size: u64| {
        fs::File::create(&path).unwrap().set_len(size).unwrap();
        stamp(&path, &fs::metadata(&path).unwrap()).len()
    };
    assert_eq!(stamped(1), stamped(u64::from(MAX_BLOCK_SIZE)) + 8);
}
