//! Answers as people read them.

use std::fmt::Write;
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytesize::ByteSize;

use super::beside;
use super::catalogue::Entry;
use super::escape::{escape, shown};
use super::explained;
use super::folder;
use super::health;
use super::help;
use super::leases;
use super::reply::{ConsoleAnswer, Imported, LeftOut, LineReply, Named, TestResult, Tested};
use crate::config::{UPKEEP_KIB, UPKEEP_MESSAGES};
use crate::lease::LAST;
use crate::node::notice::{PeerInfo, Status, too_few_copies};
use crate::node::{Answer, Failure};
use crate::overlay::TableRow;
use crate::peer::{Peer, told_of_silent};
use crate::runtime::since_1970;

/// The answer as text of one or more lines, without the last line end.
pub(super) fn render(reply: &LineReply) -> String {
    let text = match reply {
        LineReply::Node(answer) => render_answer(answer, None),
        LineReply::File(named) => of_file(named),
        LineReply::Console(ConsoleAnswer::Threads(seen)) => seen.to_string(),
        LineReply::Console(ConsoleAnswer::Paused(paused)) => paused.to_string(),
        LineReply::Console(ConsoleAnswer::All { answers }) => lines(answers.iter().map(render)),
        LineReply::Console(ConsoleAnswer::Files { files }) if files.is_empty() => {
            "there is no such file in the catalogue: nothing was stored from here, or under another name".to_owned()
        }
        LineReply::Console(ConsoleAnswer::Files { files }) => lines(files.iter().map(entry)),
        LineReply::Console(ConsoleAnswer::Named { key, name }) => format!("{key} is called {} too", escape(name)),
        LineReply::Console(ConsoleAnswer::Forgotten { files }) => {
            let key = |file: &Entry| if file.begun { "not finished".to_owned() } else { format!("key {}", file.key) };
            let keys = files.iter().map(|file| format!("forgot {}, {}", escape(&file.name), key(file)));
            lines(keys.chain(["the network keeps what it has".to_owned()]))
        }
        LineReply::Console(ConsoleAnswer::Imported(of)) => imported(of),
        LineReply::Console(ConsoleAnswer::StoredFolder(folder)) => folder::stored(folder),
        LineReply::Console(ConsoleAnswer::RetrievedFolder(folder)) => folder::retrieved(folder),
        LineReply::Console(ConsoleAnswer::Listed(listed)) => folder::listed(listed),
        LineReply::Console(ConsoleAnswer::Shown(shown)) => lines(shown.text.split('\n').map(escape_line)),
        LineReply::Console(ConsoleAnswer::Help { commands, columns }) => help::help(commands, *columns),
        LineReply::Console(ConsoleAnswer::Begun { job, line }) => format!("[{job}] runs: {}", escape(line)),
        LineReply::Console(ConsoleAnswer::Jobs { jobs }) => beside::text(jobs, time),
        LineReply::Console(ConsoleAnswer::Cancelling { job }) => format!("[{job}] is cancelled"),
        LineReply::Console(ConsoleAnswer::Tested { files, .. }) => lines(files.iter().map(tested)),
    };
    text.trim_end_matches('\n').to_owned()
}

/// `named` is the file that the answer tells of, if it tells of one.
fn render_answer(answer: &Answer, named: Option<&str>) -> String {
    match answer {
        Answer::Stored { .. } | Answer::Retrieved { .. } => transferred(answer, named),
        Answer::Manifest { manifest: Some(manifest), .. } => {
            format!("a list of {}", count(manifest.entries.len() as u64, "block"))
        }
        Answer::Manifest { manifest: None, bytes } => format!("a block of {}", amount(*bytes)),
        Answer::Checked(checked) => health::checked(checked, named),
        Answer::Scrubbed(scrubbed) => health::scrubbed(scrubbed),
        Answer::Waited { took } => format!("true after {}", time(*took)),
        Answer::Cleared { blocks, kept } => cleared(*blocks, *kept),
        Answer::Leased { .. } => leases::told(answer, named),
        Answer::List { blocks } => {
            let total = blocks.iter().map(|&(_, size)| u64::from(size)).sum();
            let sum = format!("{}, {}", count(blocks.len() as u64, "block"), amount(total));
            lines(blocks.iter().map(|(key, size)| format!("{key} {size:>8}")).chain([sum]))
        }
        Answer::Lookup { key, peers, holders, hops, took, asked: questions } => {
            let asked = format!("{} in a row, {}", count((*hops).into(), "request"), time(*took));
            let holds = |peer: &&Peer| holders.iter().any(|holder| holder.id == peer.id);
            let named = peers.iter().map(|peer| {
                let mark = if holds(&peer) { "  holds it" } else { "" };
                format!("{}{mark}", who(peer))
            });
            let others = holders.iter().filter(|holder| !peers.iter().any(|peer| peer.id == holder.id));
            let others = others.map(|holder| format!("{}  holds it, though it need not", who(holder)));
            let explained = explained::questions(questions, *took);
            lines([format!("key {key}: {asked}")].into_iter().chain(named).chain(others).chain(explained))
        }
        Answer::Peers { peers } => {
            let sum = count(peers.len() as u64, "peer");
            lines(peers.iter().map(peer_info).chain([sum]))
        }
        Answer::Table { rows } if rows.is_empty() => "the table is empty".to_owned(),
        Answer::Table { rows } => lines(rows.iter().map(row)),
        Answer::Status(numbers) => status(numbers),
        Answer::Pong { peer, rtt } => format!("{} answered in {}", who(peer), time(*rtt)),
        Answer::FileStored { file, at, bytes, took } => match bytes {
            Some(bytes) => format!("file {file} is kept by {} ({} in {})", who(at), amount(*bytes), time(*took)),
            None => format!("there is no {file}.pdf here to give: {} keeps what it has, or an empty file", who(at)),
        },
        Answer::FileReceived { file, from, bytes, sha256, took } => {
            let pace = pace(*bytes, *took);
            format!("file {file} received from {}, {} in {pace}\nsha256 {sha256}", who(from), amount(*bytes))
        }
        Answer::Left { handed_over, left_behind, offered, kept, .. } => {
            left(*handed_over, *left_behind, *offered, *kept)
        }
        Answer::Interrupted { commands } => format!("{} cancelled", count(*commands as u64, "command")),
        Answer::Failed(failure) => match named.filter(|name| !escape(&failure.reason).contains(name)) {
            Some(name) => format!("error: {name}: {}", escape(&failure.reason)),
            None => error(failure),
        },
    }
}

/// The answer to a store or a retrieve.
fn transferred(answer: &Answer, named: Option<&str>) -> String {
    let named = named.map_or_else(String::new, |name| format!("{name}: "));
    match answer {
        Answer::Stored { key, sha256, bytes, blocks, lists, copies, wanted, listed, unreached, lacking, took } => {
            let (size, pace) = (amount(*bytes), pace(*bytes, *took));
            let copies = copies_of(copies, *wanted, *unreached);
            let lists = if *lists == 0 { String::new() } else { format!(" and {}", count(*lists, "list")) };
            let blocks = format!("{}{lists}", count(*blocks, "block"));
            let listed = listed.map_or_else(String::new, |listed| format!("\nmanifest of {}", listing(listed, *bytes)));
            format!(
                "key {key}\nstored {named}{size} as {blocks} ({copies}) in {pace}{listed}\nsha256 {sha256}{}",
                why(lacking)
            )
        }
        Answer::Retrieved { bytes, blocks, standing: true, complete, .. } => {
            let list = list_of(*blocks, *bytes, *complete);
            format!(
                "there already: {} in {}, verified; nothing was written{list}",
                amount(*bytes),
                count(*blocks, "block")
            )
        }
        Answer::Retrieved { bytes, resumed, sha256, hashed, blocks, holders, took, complete, .. } => {
            let found =
                if *resumed > 0 { format!(", {} of it found in place", amount(*resumed)) } else { String::new() };
            let pace = pace(bytes.saturating_sub(*resumed), *took);
            let whose = if *hashed { "" } else { ", says who stored it" };
            let sha256 = sha256.map_or_else(String::new, |sha256| format!("\nsha256 {sha256}{whose}"));
            let holders = if *holders == 0 { "this peer".to_owned() } else { count(*holders as u64, "peer") };
            let list = list_of(*blocks, *bytes, *complete);
            let blocks = count(*blocks, "block");
            format!("retrieved {} in {blocks} from {holders}{found}, in {pace}{list}{sha256}", amount(*bytes))
        }
        _ => String::new(),
    }
}

/// An answer about a file, which it names.
fn of_file(of: &Named) -> String {
    let Named { file, answer, kept_as, deleted_as, name_keeps, .. } = of;
    let name = shown(file);
    let named = |names: &[String]| names.iter().map(|name| escape(name).into_owned()).collect::<Vec<_>>().join(", ");
    let kept = (!kept_as.is_empty()).then(|| format!("the same file is kept on as {}", named(kept_as)));
    let is = if answer.verdict().is_some() { "is to be" } else { "is" };
    let deleted = (!deleted_as.is_empty()).then(|| format!("all of it {is} deleted: {}", named(deleted_as)));
    let keys: Vec<String> = name_keeps.iter().map(ToString::to_string).collect();
    let keeps =
        (!keys.is_empty()).then(|| format!("what was stored before under that name is kept on: {}", named(&keys)));
    let answer = render_answer(answer, Some(&name)).trim_end_matches('\n').to_owned();
    lines([answer].into_iter().chain(of.second_name()).chain(kept).chain(deleted).chain(keeps))
}

/// What became of this peer's copies.
fn cleared(blocks: u64, kept: u64) -> String {
    let kept = match kept {
        0 => String::new(),
        _ => format!("; no copy of {} was found elsewhere, so here they stay (but for --force)", count(kept, "other")),
    };
    format!("cleared {}{kept}", count(blocks, "block"))
}

/// What happened to the blocks of a peer that has left.
fn left(handed_over: u64, left_behind: u64, offered: bool, kept: bool) -> String {
    let went = if offered {
        format!("; {} handed over", count(handed_over, "block"))
    } else {
        " without a handover".to_owned()
    };
    if left_behind == 0 {
        return format!("left{went}");
    }
    let copies = if offered { "their only copies known" } else { "this peer's copies" };
    let fate = if kept { "stay in its data folder" } else { "are gone with it, for it had no --data" };
    format!("left{went}, {left_behind} left behind: {copies} {fate}")
}

/// What a local manifest names.
fn listing(blocks: u64, bytes: u64) -> String {
    format!("{}, {bytes} bytes", count(blocks, "block"))
}

/// The line about a list of blocks that does not show whether it is whole; empty for another source.
fn list_of(blocks: u64, bytes: u64, complete: bool) -> String {
    let list = format!("\nthe list names {} and cannot show that it is whole", listing(blocks, bytes));
    if complete { String::new() } else { list }
}

fn imported(imported: &Imported) -> String {
    let Imported { blocks, bytes, key, left_out, failed, .. } = imported;
    let key = key.map_or_else(String::new, |key| format!("key {key}\n"));
    let sum = format!("{key}imported {}, {}", count(*blocks, "block"), amount(*bytes));
    let line = |what: &str, LeftOut { file, reason }: &LeftOut| format!("{what} {}: {}", shown(file), escape(reason));
    let left_out = left_out.iter().map(|file| line("left out", file));
    lines([sum].into_iter().chain(left_out).chain(failed.iter().map(|file| line("error:", file))))
}

/// A line of the catalogue. So many digits of a key name it nearly always.
fn entry(entry: &Entry) -> String {
    let stored = SystemTime::UNIX_EPOCH + Duration::from_millis(entry.stored);
    let stored = humantime::format_rfc3339_seconds(stored);
    let (key, size) = (entry.key.to_string(), amount(entry.bytes));
    let mark = if entry.folder { "/" } else { "" };
    let until = entry.lease.as_ref().and_then(|lease| lease.until);
    let state = match until {
        _ if entry.begun => "  not finished".to_owned(),
        Some(until) if until <= since_1970().as_secs() => "  ended: no longer kept".to_owned(),
        Some(until) => {
            let until = SystemTime::UNIX_EPOCH + Duration::from_secs(until.min(LAST));
            format!("  kept until {}", humantime::format_rfc3339_seconds(until))
        }
        None => String::new(),
    };
    let (key, size) = if entry.begun { ("-", "-") } else { (&key[..12], &*size) };
    format!("{key:12}  {size:>12}  {stored}  {}{mark}{state}", escape(&entry.name))
}

/// A line of a text from outside, in which tabs are as they should be.
fn escape_line(line: &str) -> String {
    line.split('\t').map(escape).collect::<Vec<_>>().join("\t")
}

pub(super) fn lines<T: AsRef<str>>(lines: impl Iterator<Item = T>) -> String {
    let mut text = String::new();
    for line in lines {
        text.push_str(line.as_ref());
        text.push('\n');
    }
    text
}

/// The line of a failure.
pub(super) fn error(failure: &Failure) -> String {
    format!("error: {}", escape(&failure.reason))
}

/// A peer's id and address. A classroom ring's ids are shown as numbers.
pub(super) fn who(peer: &Peer) -> String {
    match peer.id.to_u64() {
        Some(number) => format!("{number:>3} {}", peer.addr),
        None => format!("{} {}", peer.id, peer.addr),
    }
}

fn peer_info(info: &PeerInfo) -> String {
    info.rtt.map_or_else(|| who(&info.peer), |rtt| format!("{}  {}", who(&info.peer), time(rtt)))
}

fn row(row: &TableRow) -> String {
    let mut text = escape(&row.label).into_owned();
    if row.spare > 0 {
        let _ = write!(text, " (and {} to take a place)", row.spare);
    }
    for peer in &row.peers {
        let _ = write!(text, "\n  {}", who(peer));
    }
    text
}

fn status(status: &Status) -> String {
    let Status { me, overlay, uptime, peers, blocks, bytes, pending, lookups, transfers, repairs, .. } = status;
    let Status { network, sealed, capacity, moved, messages, dropped, upkeep: (spent, offered), scrub, .. } = status;
    let Status { was_full, files, .. } = status;
    let room = capacity.map_or_else(String::new, |capacity| format!(" of {}", amount(capacity)));
    let full =
        was_full.map_or_else(String::new, |ago| format!("; full {} ago, and others had to take a block", time(ago)));
    let kept = match files {
        Some(files) => format!("files     {files}"),
        None => format!("blocks    {blocks}, {}{room}{full}", amount(*bytes)),
    };
    let uptime = humantime::format_duration(Duration::from_secs(uptime.as_secs()));
    let (received, sent) = messages;
    let dropped =
        if *dropped == 0 { String::new() } else { format!(", {} lost by being too busy", count(*dropped, "datagram")) };
    [
        format!("id        {}", me.id.to_u64().map_or_else(|| me.id.to_string(), |number| number.to_string())),
        format!("address   {}", me.addr),
        format!("overlay   {}, up for {uptime}", escape(overlay)),
        format!("network   {network}, {}", if *sealed { "sealed by a network key" } else { "open: no network key" }),
        format!("peers     {peers}"),
        kept,
        format!("moved     {} received, {} sent", amount(moved.0), amount(moved.1)),
        format!("doing     {}, {}", count(*transfers as u64, "transfer"), count(*lookups as u64, "lookup")),
        format!("waiting   {}, {}", count(*pending as u64, "request"), count(*repairs as u64, "repair")),
        format!("messages  {received} received, {sent} sent{dropped}"),
        format!(
            "upkeep    {}, {} offered; a second at most {UPKEEP_MESSAGES} and {}",
            count(*spent, "message"),
            amount(*offered),
            amount(u64::from(UPKEEP_KIB) * 1024)
        ),
        health::scrubbing(scrub.as_ref()),
    ]
    .join("\n")
}

fn tested(tested: &Tested) -> String {
    let file = shown(&tested.file);
    match &tested.result {
        TestResult::Equal { key, sha256, bytes, stored_in, retrieved_in } => {
            let (stored, retrieved) = (pace(*bytes, *stored_in), pace(*bytes, *retrieved_in));
            format!(
                "{file}: equal, {}\n  stored in {stored}, retrieved in {retrieved}\n  sha256 {sha256}\n  key {key}",
                amount(*bytes)
            )
        }
        TestResult::Failed(failure) => format!("error: {file}: {}", escape(&failure.reason)),
    }
}

/// How many blocks got how many copies, in words; all alike in the usual case. Fewer than wanted is told, and who did
/// not answer.
pub(super) fn copies_of(copies: &[u64], wanted: usize, unreached: usize) -> String {
    let got: Vec<(usize, u64)> = copies.iter().copied().enumerate().filter(|&(_, blocks)| blocks > 0).collect();
    let silent = told_of_silent(unreached);
    match got[..] {
        [] => "no copies".to_owned(),
        [(each, _)] if each >= wanted => format!("{} of each", count(each as u64, "copy")),
        [(each, _)] if unreached > 0 => format!("{} of each; {wanted} wanted{silent}", count(each as u64, "copy")),
        _ => {
            let parts: Vec<_> =
                got.iter().map(|&(each, blocks)| format!("{} of {blocks}", count(each as u64, "copy"))).collect();
            format!("{}; {wanted} wanted{silent}", parts.join(", "))
        }
    }
}

/// That this was stored with too few copies, and why, for who is told no more of it.
pub(super) fn too_few(
    file: &Path,
    copies: &[u64],
    wanted: usize,
    unreached: usize,
    lacking: &Option<String>,
) -> Option<String> {
    too_few_copies(copies, wanted)?;
    Some(format!("{}: too few copies: {}{}", shown(file), copies_of(copies, wanted, unreached), why(lacking)))
}

/// Why there are fewer copies, as a line of its own.
pub(super) fn why(lacking: &Option<String>) -> String {
    lacking.as_ref().map_or_else(String::new, |why| format!("\nfewer copies than wanted: {}", escape(why)))
}

pub(super) fn count(number: u64, what: &str) -> String {
    match (number, what.strip_suffix('y')) {
        (1, _) => format!("1 {what}"),
        (_, Some(stem)) => format!("{number} {stem}ies"),
        _ => format!("{number} {what}s"),
    }
}

pub(super) fn amount(bytes: u64) -> String {
    if bytes < 1024 { count(bytes, "byte") } else { ByteSize(bytes).display().iec().to_string() }
}

pub(super) fn time(time: Duration) -> String {
    match time.as_secs_f64() {
        seconds if seconds >= 60.0 => humantime::format_duration(Duration::from_secs(time.as_secs())).to_string(),
        seconds if seconds >= 1.0 => format!("{seconds:.1} s"),
        seconds => format!("{:.2} ms", seconds * 1000.0),
    }
}

/// A time, and the bytes a second where the transfer was large enough.
pub(super) fn pace(bytes: u64, took: Duration) -> String {
    let seconds = took.as_secs_f64();
    if bytes < 1 << 20 || seconds <= 0.0 {
        return time(took);
    }
    // A rate is shown with two digits: precision is not lost where it matters.
    let rate = ByteSize((bytes as f64 / seconds) as u64);
    format!("{} ({}/s)", time(took), rate.display().iec())
}
