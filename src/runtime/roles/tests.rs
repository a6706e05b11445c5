//! That the documentation, the picture and the code are the table.

use std::fmt::Write;

use super::super::channels::{Bound, Full};
use super::*;

impl RoleRow {
    fn title(&self) -> String {
        format!("{}{}", self.name, if self.many { "-N" } else { "" })
    }
}

fn takers(channel: &Channel) -> String {
    let roles: Vec<String> = channel.to.iter().map(|role| role.row().title()).collect();
    match (roles.is_empty(), channel.bound) {
        (false, _) => roles.join(", "),
        (true, Bound::System(_)) => "the network".to_owned(),
        (true, _) => "those who watch".to_owned(),
    }
}

/// Each channel once, as the roles give to them.
fn channels() -> Vec<&'static Channel> {
    let mut channels: Vec<&Channel> = vec![&channels::LEAVE];
    for (_, channel) in TABLE.iter().flat_map(|row| row.gives) {
        if channels.iter().all(|known| known.name != channel.name) {
            channels.push(channel);
        }
    }
    channels
}

fn table() -> String {
    let mut text =
        "| thread | file | waits for | may block in | owns | its panic |\n|---|---|---|---|---|---|\n".to_owned();
    for row in &TABLE {
        let RoleRow { file, waits_for, blocks_in, owns, panic, .. } = row;
        let file = if file.ends_with(".rs") { format!("`{file}`") } else { (*file).to_owned() };
        let panic = match panic {
            Panic::EndsThePeer => "ends the peer",
            Panic::Loses(what) => &format!("loses {what}"),
        };
        writeln!(text, "| `{}` | {file} | {waits_for} | {blocks_in} | {owns} | {panic} |", row.title()).unwrap();
    }
    text
}

fn table_of_channels() -> String {
    let mut text = "| channel | to | holds | when it is full |\n|---|---|---|---|\n".to_owned();
    for channel in channels() {
        let holds = match channel.bound {
            Bound::Slots(most) | Bound::Counted(most) => most.to_string(),
            Bound::System(what) => what.to_owned(),
        };
        let (Full::Waits(full) | Full::GoesOn(full)) = channel.full;
        writeln!(text, "| {} | {} | {holds} | {full} |", channel.name, takers(channel)).unwrap();
    }
    text
}

/// The node in the middle: on the left what others give it, on the right what it gives; below what passes it by.
fn picture() -> String {
    let to_node = |channel: &Channel| channel.to.contains(&Role::Node);
    let mut left: Vec<(String, &str)> = Vec::new();
    let mut beside = String::new();
    for row in TABLE.iter().filter(|row| row.role != Role::Node) {
        for (what, channel) in row.gives {
            match to_node(channel) {
                true => left.push((row.title(), what)),
                false => writeln!(beside, "{:>11} ── {what} ──► {}", row.title(), takers(channel)).unwrap(),
            }
        }
    }
    let right: Vec<(String, &str)> = NODE.gives.iter().map(|(what, channel)| (takers(channel), *what)).collect();
    let height = left.len().max(right.len());
    let mut text = format!("{:40}┌──────┐\n", "");
    for at in 0..height {
        let label = if at == height / 2 { "node" } else { "" };
        let given =
            left.get(at).map_or(String::new(), |(from, what)| format!("{from:>11} ── {:─<24}►", format!("{what} ")));
        let gives = right.get(at).map_or(String::new(), |(to, what)| format!("── {:─<20}► {to}", format!("{what} ")));
        writeln!(text, "{given:40}│ {label:4} │{gives}").unwrap();
    }
    text + &format!("{:40}└──────┘\n", "") + &beside
}

/// What stands in the head of a module.
fn head(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line))).collect()
}

#[test]
fn the_documentation_shows_the_table_and_the_picture() {
    let head = head(include_str!("../mod.rs"));
    for shown in [picture(), table(), table_of_channels()] {
        assert!(head.contains(&shown), "the head of runtime/mod.rs must have this:\n{shown}");
    }
}

#[test]
fn the_rows_stand_in_the_order_of_the_roles_and_their_names_fit_a_thread() {
    for (at, row) in TABLE.iter().enumerate() {
        assert_eq!(row.role as usize, at);
        // The system shows 15 bytes.
        assert!(row.name.len() + if row.many { "-9999".len() } else { 0 } <= 15, "{}", row.name);
        assert_eq!(Role::of_thread(row.name), Some(row.role));
    }
    assert_eq!(Role::of_thread("tcp-serve-12"), Some(Role::TcpServe));
}

#[test]
fn the_file_of_each_role_is_there() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/runtime");
    let missing: Vec<_> =
        TABLE.iter().filter(|row| row.role != Role::Console && !folder.join(row.file).is_file()).collect();
    assert!(missing.is_empty(), "{:?}", missing.iter().map(|row| row.file).collect::<Vec<_>>());
}

#[test]
fn the_node_waits_for_no_other_thread_and_no_circle_of_waiting_sends_can_form() {
    let waits = |from: &RoleRow| {
        let waiting = from.gives.iter().filter(|(_, channel)| matches!(channel.full, Full::Waits(_)));
        waiting.flat_map(|(_, channel)| channel.to).collect::<Vec<_>>()
    };
    assert!(waits(&NODE).is_empty());
    // Who waits for nobody is done; who waits only for such is done next. In a circle nobody ever is.
    let mut done: Vec<Role> = Vec::new();
    for _ in &TABLE {
        let free = TABLE.iter().filter(|row| waits(row).iter().all(|to| done.contains(to)));
        done = free.map(|row| row.role).collect();
    }
    assert_eq!(done.len(), TABLE.len(), "{done:?}");
}
