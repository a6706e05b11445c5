//! What happens at a peer, told to a file or to whoever reads its output.

use std::fs::{self, OpenOptions};

use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::{Value, json};

use super::running::{assert_ends, folder, printed, run, text};
use crate::support::{Launch, file};

fn events(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"))).collect()
}

#[test]
fn events_are_appended_to_a_file_from_the_first_on_with_the_progress_and_the_codes_of_commands() {
    let folder = folder();
    let log = folder.path().join("events");
    fs::write(&log, "{\"event\":\"before\"}\n").expect("writable");
    let (path, _) = file(&folder, "original", 1, 3_000_000);
    let mut peer = Launch::new(folder.path().join("peer")).args(&["--events", text(&log)]).start();
    let key = peer.store(&path);
    let back = folder.path().join("back");
    assert_eq!(peer.ask(&format!("retrieve {key} {}", text(&back)))["answer"], "retrieved");
    assert_eq!(peer.ask("store nosuch")["answer"], "failed");
    peer.ask("quit");
    let (port, id) = (peer.port, peer.id.clone());
    assert_eq!(peer.wait(), Some(4));
    let told = events(&fs::read_to_string(&log).expect("it is there"));
    let names: Vec<_> = told.iter().map(|event| event["event"].as_str().expect("a name")).collect();
    assert_eq!(names[..4], ["before", "watching", "joined", "ready"], "{names:?}");
    let ready = ["id", "udp", "sealed", "network"].map(|field| &told[3][field]);
    assert_eq!(ready, [&json!(id), &json!(port), &json!(false), &json!("kadring")]);
    let of = |name: &str| told.iter().filter(move |event| event["event"] == name).collect::<Vec<_>>();
    let progress = of("progress");
    let first = progress.first().expect("there is some");
    assert_eq!((&first["phase"], &first["of"]), (&json!("storing"), &json!(3_000_000)), "{first}");
    let ended: Vec<_> = of("ended").iter().map(|event| (event["phase"].clone(), event["code"].clone())).collect();
    let ends = [("storing", 0), ("retrieving", 0), ("storing", 4), ("handing_over", 0)];
    assert_eq!(ended, ends.map(|(phase, code)| (json!(phase), json!(code))));
    assert_eq!(of("ended")[0]["command"], first["command"], "of the same command");
    assert_eq!((of("stored").len(), of("block_stored").len(), of("left").len()), (1, 4, 1), "{names:?}");
    assert_eq!((&of("stored")[0]["file"], &of("stored")[0]["key"]), (&json!(text(&path)), &json!(key)));
    let retrieved = of("retrieved");
    assert_eq!((&retrieved[0]["key"], &retrieved[0]["dest"]), (&json!(key), &json!(text(&back))), "{retrieved:?}");
}

#[test]
fn events_of_standard_output_stand_between_the_answers_and_a_place_that_is_none_is_told() {
    let folder = folder();
    let data = folder.path().join("data");
    let arguments = ["peer", "--port", "0", "--json", "--events", "-", "--exit-on-eof", "--data", text(&data)];
    let printed = printed(&run(&arguments));
    let names: Vec<_> =
        events(&printed).iter().filter_map(|event| event["event"].as_str().map(str::to_owned)).collect();
    let times = |name: &str| names.iter().filter(|other| *other == name).count();
    assert_eq!((times("ready"), times("left")), (1, 1), "{printed}");
    let nowhere = folder.path().join("no/such/folder/events");
    assert_ends(&["peer", "--port", "0", "--events", text(&nowhere)], 7, "cannot write events to ");
}

#[test]
fn a_reader_of_events_that_does_not_read_holds_up_neither_the_peer_nor_its_end() {
    let folder = folder();
    let pipe = folder.path().join("pipe");
    mkfifo(&pipe, Mode::S_IRWXU).expect("a pipe");
    let _reader = OpenOptions::new().read(true).write(true).open(&pipe).expect("it opens");
    let (path, _) = file(&folder, "original", 1, 1000);
    let mut peer = Launch::new(folder.path().join("peer")).args(&["--events", text(&pipe)]).start();
    // More than the pipe holds.
    let again = format!("store{}", format!(" '{}'", path.display()).repeat(150));
    for _ in 0..2 {
        assert_eq!(peer.ask(&again)["answer"], "all");
    }
    assert_eq!(peer.ask("status")["answer"], "status");
    peer.signal(Signal::SIGTERM);
    assert_eq!(peer.wait(), Some(0), "{}", peer.said());
    assert!(peer.said().contains("left behind, stuck in what never returns: the threads events"), "{}", peer.said());
}
