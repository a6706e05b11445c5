//! Options from a configuration file.

use std::fs;
use std::net::UdpSocket;

use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;

use super::running::{assert_ends, code, folder, run, text};
use crate::support::{Launch, file, program, until};

#[test]
fn a_peer_and_its_clients_take_options_from_one_file_and_names_of_files_in_it_begin_beside_it() {
    let folder = folder();
    let config = folder.path().join("kadring.toml");
    let ready = folder.path().join("ready");
    fs::write(&config, "capacity = \"1MB\"\nready-file = \"ready\"\nexit-on-eof = true\n").expect("writable");
    let mut peer = Launch::new(folder.path().join("peer")).args(&["--config", text(&config)]).start();
    let announced: Value = serde_json::from_slice(&fs::read(&ready).expect("it is there")).expect("JSON");
    assert_eq!(announced["udp"], peer.port);
    // A client's file: it needs no option that the file has, and leaves those of others to them.
    let of_client = format!("bootstrap = [\"127.0.0.1:{}\"]\nport = 1\nquiet = true\n", peer.port);
    let client = folder.path().join("client.toml");
    fs::write(&client, of_client).expect("writable");
    let (path, _) = file(&folder, "original", 1, 1000);
    let stored = run(&["store", text(&path), "--config", text(&client)]);
    assert_eq!(stored.stdout.len(), 65, "the key alone: {stored:?}");
    peer.close_input();
    assert_eq!(peer.wait(), Some(0));
}

#[test]
fn the_command_line_goes_before_the_environment_and_both_before_the_file() {
    let folder = folder();
    let config = folder.path().join("kadring.toml");
    let nobody = "127.0.0.1:9";
    fs::write(&config, format!("bootstrap = \"{nobody}\"\nid = \"{}\"\n", "1".repeat(64))).expect("writable");
    let id = |digit: &str| digit.repeat(64);
    let first = Launch::new(folder.path().join("first")).start();
    let start =
        |name: &str| Launch::new(folder.path().join(name)).env("KADRING_CONFIG", text(&config)).through(first.port);
    assert_eq!(start("file").start().id, id("1"));
    assert_eq!(start("environment").env("KADRING_ID", &id("2")).start().id, id("2"));
    let mut typed = start("typed").env("KADRING_ID", &id("2")).args(&["--id", &id("3")]).start();
    assert_eq!(typed.id, id("3"));
    assert_eq!(typed.ask("peers")["peers"].as_array().map(Vec::len), Some(1), "it came to the one that was typed");
}

#[test]
fn a_mistake_in_the_file_is_told_with_its_line_and_exits_2() {
    let folder = folder();
    let config = folder.path().join("kadring.toml");
    fs::write(&config, "# a remark\nhandover-limt = \"5s\"\n").expect("writable");
    let told = format!("{}:2: there is no option \"handover-limt\"; did you mean handover-limit?", text(&config));
    assert_ends(&["peer", "--config", text(&config)], 2, &told);
    assert_ends(&["ring", "init", "2", "4", "5", "30", "--config", text(&config)], 2, &told);
    assert_ends(&["ping", "127.0.0.1:9", "--config", text(&config)], 2, &told);
    fs::write(&config, "handover-limit = \"soon\"\n").expect("writable");
    assert_ends(&["peer", "--config", text(&config)], 2, ":1: invalid value 'soon' for handover-limit: ");
    fs::write(&config, "port = true\n").expect("writable");
    assert_ends(&["peer", "--config", text(&config)], 2, ":1: port is a text in quotes, or a number");
    assert_ends(&["peer", "--config", "no such file"], 2, "cannot read the configuration file no such file");
    // What is wrong on the command line is told as ever.
    assert_ends(&["peer", "--config"], 2, "a value is required for '--config <FILE>'");
    assert_ends(&["store", "--config", "/dev/null"], 2, "required arguments");
    let help = program().args(["peer", "--help"]).output().expect("it runs");
    assert!(String::from_utf8_lossy(&help.stdout).contains("begin in the folder where the file itself lies"));
    assert_eq!(code(&help), Some(0));
}

#[test]
fn a_configuration_that_has_yet_to_come_through_a_pipe_is_waited_for_with_a_word() {
    let folder = folder();
    let (config, errors) = (folder.path().join("pipe"), folder.path().join("errors"));
    mkfifo(&config, Mode::S_IRWXU).expect("a pipe");
    let log = fs::File::create(&errors).expect("writable");
    let nobody = UdpSocket::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound").to_string();
    let client = program().args(["ping", &nobody, "--config", text(&config)]).stderr(log).spawn();
    let mut client = client.expect("it starts");
    until(|| fs::read_to_string(&errors).is_ok_and(|said| said.contains("waiting for what is to be written to")));
    fs::write(&config, "json = true\n").expect("it is read");
    assert_eq!(client.wait().expect("it ends").code(), Some(5));
    assert_ends(&["ping", &nobody, "--config", "/dev/ptmx"], 2, "it is a terminal");
}
