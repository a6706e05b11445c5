//! What no command touches: files that stand where it would write.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use kadring::id::Id;
use serde_json::Value;
use tempfile::TempDir;

use super::running::{address, assert_ends, code, folder, key_of, printed, run, said, text};
use crate::support::{Launch, PeerProcess, file};

/// A peer, a file of three blocks, and another file that somebody holds dear.
struct Scene {
    folder: TempDir,
    peer: PeerProcess,
    path: PathBuf,
    original: Vec<u8>,
    dear: PathBuf,
}

const DEAR: &str = "what somebody holds dear";

impl Scene {
    fn new() -> Self {
        let folder = folder();
        let peer = Launch::new(folder.path().join("peer")).start();
        let (path, original) = file(&folder, "original", 1, 2_500_000);
        let dear = folder.path().join("dear");
        fs::write(&dear, DEAR).expect("writable");
        Self { folder, peer, path, original, dear }
    }

    fn at(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn bootstrap(&self) -> String {
        address(&self.peer)
    }

    #[track_caller]
    fn assert_dear_is_whole(&self) {
        assert_eq!(fs::read_to_string(&self.dear).expect("there"), DEAR);
    }

    #[track_caller]
    fn assert_refused(&self, command: &[&str], code: i32, reason: &str) {
        assert_ends(&[command, &["--bootstrap", &self.bootstrap()]].concat(), code, reason);
        self.assert_dear_is_whole();
        assert!(fs::read(&self.path).expect("there") == self.original);
    }

    #[track_caller]
    fn done(&self, command: &[&str]) -> String {
        let output = run(&[command, &["--bootstrap", &self.bootstrap()]].concat());
        assert_eq!(code(&output), Some(0), "{command:?}: {}", said(&output));
        printed(&output)
    }
}

#[test]
fn a_manifest_takes_the_place_of_nothing_but_a_manifest_and_nothing_is_stored_before_that_is_clear() {
    let mut scene = Scene::new();
    let (path, dear) = (scene.path.clone(), scene.dear.clone());
    let (path, dear) = (text(&path), text(&dear));
    let link = scene.at("link");
    symlink(&scene.dear, &link).expect("a link");
    let same = scene.at("same");
    fs::hard_link(&scene.path, &same).expect("a second name");
    for (command, reason) in [
        (&["store", path, "--manifest", dear][..], "is no manifest"),
        (&["store", path, "--manifest", text(&link)], "is no manifest"),
        (&["store", path, "--manifest", path], "is the file to be stored"),
        (&["store", path, "--manifest", text(&same)], "is the file to be stored"),
        (&["store", path, dear, "--manifest", "other"], "--manifest"),
    ] {
        scene.assert_refused(command, 2, reason);
    }
    assert_eq!(scene.peer.blocks(), [""; 0], "nothing was stored");
    // At the console it is the same.
    for (line, kind) in [
        (format!("store {path} --manifest {dear}"), "exists"),
        (format!("store {path} --manifest {path}"), "usage"),
        (format!("store {path} {dear} --manifest other"), "usage"),
    ] {
        let answer = scene.peer.ask(&line);
        assert_eq!((&answer["answer"], &answer["kind"]), (&"failed".into(), &kind.into()), "{answer}");
        scene.assert_dear_is_whole();
    }
    assert_eq!(scene.peer.blocks(), [""; 0], "nothing was stored");
}

#[test]
fn of_two_files_that_are_there_both_are_stored_and_neither_is_replaced() {
    let scene = Scene::new();
    let (path, dear) = (text(&scene.path), text(&scene.dear));
    let link = scene.at("link");
    symlink(&scene.dear, &link).expect("a link");
    for second in [dear, text(&link), path] {
        let stored = scene.done(&["store", path, second]);
        assert_eq!(stored.lines().filter(|line| line.starts_with("key ")).count(), 2, "{stored}");
        assert!(stored.contains(&format!("stored {second}: ")), "{stored}");
        scene.assert_dear_is_whole();
        assert!(fs::read(&scene.path).expect("there") == scene.original);
    }
}

#[test]
fn a_manifest_is_written_where_nothing_is_and_replaces_an_older_one_of_either_form() {
    let scene = Scene::new();
    let path = text(&scene.path);
    let [seed, whole, empty] = ["seed", "whole", "empty"].map(|name| scene.at(name));
    fs::write(&empty, "").expect("writable");
    let stored = scene.done(&["store", path, text(&seed)]);
    assert!(stored.contains("\nmanifest of 3 blocks, 2500000 bytes\n"), "{stored}");
    assert!(stored.contains("seed is the manifest of ") && stored.contains(" now, and was not stored"), "{stored}");
    scene.done(&["store", path, "--manifest", text(&whole)]);
    let (as_seed, as_whole) = (fs::read(&seed).expect("there"), fs::read(&whole).expect("there"));
    assert!(as_seed != as_whole);
    scene.done(&["store", path, text(&whole)]);
    scene.done(&["store", path, "--manifest", text(&seed)]);
    scene.done(&["store", path, text(&empty)]);
    assert_eq!(fs::read(&seed).expect("there"), as_whole);
    assert_eq!((fs::read(&whole).expect("there"), fs::read(&empty).expect("there")), (as_seed.clone(), as_seed));
}

#[test]
fn a_manifest_of_the_second_name_is_the_seeds_text_to_the_byte() {
    let scene = Scene::new();
    let list = scene.at("list");
    scene.done(&["store", text(&scene.path), text(&list)]);
    let blocks = scene.original.chunks(1 << 20);
    let expected: String = blocks.map(|block| format!("{}${}|", kadring::id::Id::of(block), block.len())).collect();
    assert_eq!(fs::read_to_string(&list).expect("there"), expected);
}

#[test]
fn a_manifest_that_shows_itself_whole_is_refused_wherever_it_was_cut_and_by_2() {
    let scene = Scene::new();
    let (manifest, cut, back) = (scene.at("manifest"), scene.at("cut"), scene.at("back"));
    let stored = scene.done(&["store", text(&scene.path), "--manifest", text(&manifest)]);
    let whole = fs::read(&manifest).expect("there");
    let line_ends: Vec<usize> = (1..whole.len()).filter(|&at| whole[at - 1] == b'\n').collect();
    for at in [1, whole.len() / 2, whole.len() - 1].into_iter().chain(line_ends) {
        fs::write(&cut, &whole[..at]).expect("writable");
        scene.assert_refused(&["retrieve", text(&cut), text(&back)], 2, "cut");
        assert!(!back.exists(), "cut at {at}");
    }
    let retrieved = scene.done(&["retrieve", text(&manifest), text(&back)]);
    assert!(fs::read(&back).expect("there") == scene.original && !retrieved.contains("whole"), "{retrieved}");
    let sha256 = stored.lines().find(|line| line.starts_with("sha256 ")).expect("it tells");
    assert!(retrieved.contains(sha256), "{retrieved}");
    // The hash that it names is held against the file.
    let other = String::from_utf8(whole).expect("text").replace(&sha256["sha256 ".len()..], &"0".repeat(64));
    fs::write(&cut, other).expect("writable");
    scene.assert_refused(&["retrieve", text(&cut), text(&scene.at("other"))], 6, "promises");
    assert!(!scene.at("other").exists());
}

#[test]
fn a_files_hash_that_was_not_computed_is_told_as_the_word_of_who_stored_it() {
    let scene = Scene::new();
    let (manifest, blocks) = (scene.at("manifest"), scene.at("blocks"));
    let stored = scene.done(&["store", text(&scene.path), "--manifest", text(&manifest)]);
    let sha256 = stored.lines().find_map(|line| line.strip_prefix("sha256 ")).expect("it tells");
    // A list of the same blocks that claims another file's hash; its key is as good as any.
    let false_one = "ab".repeat(32);
    let forged = fs::read_to_string(&manifest).expect("text").replace(sha256, &false_one);
    let key = Id::of(forged.as_bytes()).to_string();
    fs::create_dir(&blocks).expect("writable");
    fs::write(blocks.join(&key), forged).expect("writable");
    scene.done(&["import", text(&blocks)]);
    let retrieve = |source: &str, dest: &str| scene.done(&["retrieve", source, text(&scene.at(dest))]);
    assert!(retrieve(&key, "one").contains(&format!("sha256 {false_one}, says who stored it\n")));
    assert!(fs::read(scene.at("one")).expect("there") == scene.original);
    assert!(retrieve(text(&manifest), "two").contains(&format!("sha256 {sha256}\n")), "it was computed");
    let told = scene.done(&["retrieve", &key, text(&scene.at("three")), "--json"]);
    let told: Value = serde_json::from_str(&told).expect("one line of JSON");
    assert_eq!((&told["sha256"], told.get("hashed")), (&false_one.into(), None));
}

#[test]
fn a_list_that_cannot_show_that_it_is_whole_says_what_it_names() {
    let scene = Scene::new();
    let list = scene.at("list");
    scene.done(&["store", text(&scene.path), text(&list)]);
    let short = fs::read_to_string(&list).expect("there");
    fs::write(&list, &short[..=short.find('|').expect("three blocks")]).expect("writable");
    let retrieved = scene.done(&["retrieve", text(&list), text(&scene.at("back"))]);
    assert!(
        retrieved.contains("the list names 1 block, 1048576 bytes and cannot show that it is whole"),
        "{retrieved}"
    );
}

#[test]
fn an_empty_list_replaces_no_file() {
    let scene = Scene::new();
    let list = scene.at("list");
    fs::write(&list, "").expect("writable");
    for force in [&[][..], &["--force"]] {
        let command = [&["retrieve", text(&list), text(&scene.dear)], force].concat();
        scene.assert_refused(&command, 2, "an empty list replaces no file");
    }
    scene.done(&["retrieve", text(&list), text(&scene.at("new"))]);
    assert_eq!(fs::read(scene.at("new")).expect("there"), b"");
}

#[test]
fn a_destination_is_replaced_only_by_force_and_keeps_its_mode() {
    let scene = Scene::new();
    let dear = text(&scene.dear).to_owned();
    fs::set_permissions(&dear, fs::Permissions::from_mode(0o600)).expect("our own file");
    let key = key_of(&run(&["store", text(&scene.path), "--bootstrap", &scene.bootstrap()]));
    scene.assert_refused(&["retrieve", &key, &dear], 2, "replaced only with --force");
    let json = run(&["retrieve", &key, &dear, "--json", "--bootstrap", &scene.bootstrap()]);
    let answer: Value = serde_json::from_slice(&json.stdout).expect("one line of JSON");
    assert_eq!((code(&json), &answer["kind"]), (Some(2), &"exists".into()), "{answer}");
    // Of as many bytes, but others.
    let twin = scene.at("twin");
    fs::write(&twin, vec![7; scene.original.len()]).expect("writable");
    scene.assert_refused(&["retrieve", &key, text(&twin)], 2, "replaced only with --force");
    assert!(fs::read(&twin).expect("there").iter().all(|byte| *byte == 7));
    for dest in [&dear, text(&twin)] {
        scene.done(&["retrieve", &key, dest, "--force"]);
        assert!(fs::read(dest).expect("there") == scene.original);
    }
    assert_eq!(fs::metadata(&dear).expect("there").permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_destination_that_holds_these_very_bytes_is_success_and_untouched() {
    let mut scene = Scene::new();
    let list = scene.at("list");
    let stored = scene.done(&["store", text(&scene.path), text(&list)]);
    let key = stored.lines().find_map(|line| line.strip_prefix("key ")).expect("a key").to_owned();
    let dest = scene.at("back");
    fs::write(&dest, &scene.original).expect("writable");
    fs::set_permissions(&dest, fs::Permissions::from_mode(0o444)).expect("our own file");
    let before = fs::metadata(&dest).expect("there").modified().expect("it has a time");
    for source in [&key, text(&list)] {
        for force in [&[][..], &["--force"]] {
            let said = scene.done(&[&["retrieve", source, text(&dest)], force].concat());
            assert!(said.starts_with("there already: 2.4 MiB in 3 blocks"), "{said}");
        }
    }
    let answer = scene.peer.ask(&format!("retrieve {key} {}", text(&dest)));
    assert_eq!((&answer["answer"], &answer["standing"]), (&"retrieved".into(), &true.into()), "{answer}");
    assert_eq!(fs::metadata(&dest).expect("there").modified().expect("it has a time"), before);
    assert_eq!(parts(scene.folder.path()), [""; 0], "nothing was begun");
}

/// Files that a retrieve left under a temporary name.
fn parts(folder: &Path) -> Vec<String> {
    let names = fs::read_dir(folder).expect("there").map(|file| file.expect("readable").file_name());
    names.filter_map(|name| name.into_string().ok()).filter(|name| name.ends_with(".part")).collect()
}

#[test]
fn the_same_file_stored_again_onto_a_damaged_block_is_kept_anew() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm); 4] = [
        ("emptied", |block| fs::write(block, "").expect("there")),
        ("cut", |block| fs::File::options().write(true).open(block).expect("there").set_len(4096).expect("there")),
        ("flipped", |block| {
            let mut bytes = fs::read(block).expect("there");
            bytes[9] ^= 1;
            fs::write(block, bytes).expect("there");
        }),
        ("deleted", |block| fs::remove_file(block).expect("there")),
    ];
    for restarted in [true, false] {
        for (how, harm) in &harms {
            let mut scene = Scene::new();
            let bootstrap = |scene: &Scene| scene.bootstrap();
            let key = key_of(&run(&["store", text(&scene.path), "--bootstrap", &bootstrap(&scene)]));
            let name = kadring::id::Id::of(&scene.original[..1 << 20]).to_string();
            let block = scene.at("peer/blocks").join(&name[..2]).join(&name);
            if restarted {
                let data = scene.peer.kill();
                harm(&block);
                scene.peer = Launch::new(data).start();
            } else {
                harm(&block);
            }
            assert_eq!(key_of(&run(&["store", text(&scene.path), "--bootstrap", &bootstrap(&scene)])), key);
            assert!(fs::read(&block).expect("it is kept anew") == scene.original[..1 << 20], "{how}, {restarted}");
            let back = scene.at("back");
            scene.done(&["retrieve", &key, text(&back)]);
            assert!(fs::read(&back).expect("there") == scene.original, "{how}, restarted: {restarted}");
        }
    }
}

#[test]
fn a_ready_file_and_a_record_take_the_place_of_nothing_but_their_like() {
    let scene = Scene::new();
    let dear = text(&scene.dear);
    assert_ends(&["peer", "--port", "0", "--ready-file", dear], 2, "is no ready file");
    assert_ends(&["peer", "--port", "0", "--ready-file", text(scene.folder.path())], 2, "is no ready file");
    assert_ends(&["peer", "--port", "0", "--record", dear], 7, "another file is there");
    scene.assert_dear_is_whole();
    let [ready, record] = ["ready", "record"].map(|name| scene.at(name));
    for _ in 0..2 {
        let args = ["peer", "--port", "0", "--exit-on-eof", "--ready-file", text(&ready), "--record", text(&record)];
        assert_ends(&args, 0, "");
    }
    assert!(fs::read_to_string(&ready).expect("written").contains("\"pid\""));
    let mode = |path: &Path| fs::metadata(path).expect("written").permissions().mode() & 0o777;
    assert_eq!([&ready, &record].map(|path| mode(path)), [0o600; 2], "the record tells its peer's random numbers");
}

/// Somebody else may have made a link where the user writes.
#[test]
fn a_ready_file_takes_the_place_of_a_link_and_a_record_is_not_written_through_one() {
    let scene = Scene::new();
    let target = scene.at("target");
    // As an older record and a ready file look: an empty file, and one of a process that is gone.
    for content in ["", "{\"pid\":2147483647}"] {
        let [ready, record] = ["ready", "record"].map(|name| scene.at(name));
        fs::write(&target, content).expect("writable");
        for link in [&ready, &record] {
            symlink(&target, link).expect("a link");
        }
        let announces = ["peer", "--port", "0", "--exit-on-eof", "--ready-file", text(&ready)];
        assert_ends(&announces, 0, "");
        let there = fs::symlink_metadata(&ready).expect("written");
        assert!(there.is_file() && there.permissions().mode() & 0o777 == 0o600, "the link is gone");
        assert_ends(&["peer", "--port", "0", "--exit-on-eof", "--record", text(&record)], 7, text(&record));
        assert_eq!(fs::read_to_string(&target).expect("there"), content);
        for path in [ready, record] {
            fs::remove_file(path).expect("there");
        }
    }
}

/// A file of less than a block is that block. What a reader would take for a list of blocks is none, whole or broken.
#[test]
fn the_key_of_a_file_of_less_than_a_block_is_its_sha_256_unless_it_begins_as_a_list_does() {
    let scene = Scene::new();
    let list = b"kadring-manifest 1\nlevel 0\nsize 0\n".to_vec();
    let broken = b"kadring-manifest 1\nlevel of it".to_vec();
    let full = 1 << 20;
    let own = [(vec![1], true), (vec![2; 100_000], true), (vec![3; full - 1], true)];
    let others = [(vec![4; full], false), (vec![5; full + 1], false), (list, false), (broken, false), (vec![], false)];
    for (bytes, is_own) in own.into_iter().chain(others) {
        let (path, back) = (scene.at("small"), scene.at("back"));
        fs::write(&path, &bytes).expect("writable");
        let key = scene.done(&["store", "-q", text(&path)]).trim().to_owned();
        let sha256 = Id::of(&bytes).to_string();
        assert_eq!(key == sha256, is_own, "of {} bytes", bytes.len());
        assert_eq!(scene.done(&["retrieve", &key, "-"]).as_bytes(), String::from_utf8_lossy(&bytes).as_bytes());
        let answer: Value =
            serde_json::from_str(&scene.done(&["retrieve", &key, text(&back), "--json"])).expect("JSON");
        assert_eq!((&answer["sha256"], &answer["bytes"]), (&sha256.into(), &bytes.len().into()), "{answer}");
        assert!(fs::read(&back).expect("there") == bytes);
        scene.done(&["check", &key, "--verify"]);
        fs::remove_file(&back).expect("there");
    }
}

#[test]
fn a_file_is_refused_a_name_of_a_folder_that_is_not_there_and_leaves_nothing_but_a_folder_comes_there() {
    let scene = Scene::new();
    let join = ["--bootstrap", &scene.bootstrap()];
    let tree = scene.at("tree");
    fs::create_dir(&tree).expect("writable");
    fs::write(tree.join("small"), "small").expect("writable");
    let [one, all] = [&scene.path, &tree].map(|path| key_of(&run(&[&["store", text(path)], &join[..]].concat())));
    let dest = scene.at("new/");
    let before = fs::read_dir(scene.folder.path()).expect("readable").count();
    for source in [&one, &format!("{all}/small")] {
        assert_ends(&[&["retrieve", source, text(&dest)], &join[..]].concat(), 2, "name a file, without a / behind");
        let through = ["ctl", "--data", text(&scene.peer.data), "retrieve", source, text(&dest)];
        assert_ends(&through, 2, "name a file, without a / behind");
        assert_eq!(fs::read_dir(scene.folder.path()).expect("readable").count(), before, "something was left");
    }
    let brought = run(&[&["retrieve", &all, text(&dest)], &join[..]].concat());
    assert_eq!(code(&brought), Some(0), "{}", said(&brought));
    assert_eq!(fs::read(dest.join("small")).expect("it came"), b"small");
}
