//! The classroom ring: the assignment's commands, its lines on standard output, everything else on standard error.

mod output;
mod place;

use std::fs;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use crossbeam_channel::bounded;
use kadring::console::answers::Answers;
use kadring::console::beside::CommandJobs;
use kadring::console::classroom::{self, AssignmentLines};
use kadring::console::perform::Performer;
use kadring::console::terminal::{self, Restore, Stdin};
use kadring::console::{Console, End, Format, Screen, json};
use kadring::runtime::{Ended, LastAct, LocalPeer, Options, StartError, since_1970, temporary_folder};
use signal_hook::consts::SIGINT;
use signal_hook::low_level;
use tempfile::TempDir;

use self::output::{HandedReplies, RingOutput};
use self::place::RingPlace;
use super::client::tell_trouble;
use super::console_thread::{ConsoleThread, edit};
use super::signals::outliving_signals;
use super::{Exit, Failed, end_in_a_while, events, log_to, ready};
use crate::args::{RingArgs, RingTask, RingWays};

/// What the console says waits to be told in so many lines at most; the console waits then.
const SAID: usize = 64;

/// What Ctrl-D is answered with.
const RING_ON_CTRL_D: &str =
    "Ctrl-D does not end this peer, and it reads on: Quit leaves the ring, Ctrl-C ends it at once";

/// Runs a peer of the classroom ring until it is told to quit.
pub(crate) fn run(args: RingArgs) -> anyhow::Result<Exit> {
    let (RingTask::Init { ways, .. } | RingTask::Join { ways, .. }) = &args.task;
    let format = ways.format.format();
    run_in(&args.task, ways, format).or_else(|error| tell_trouble(error, format, io::stdout()))
}

fn run_in(task: &RingTask, ways: &RingWays, format: Format) -> anyhow::Result<Exit> {
    let screen = Screen::stderr();
    let input = terminal::stdin_is();
    // Where standard error goes elsewhere, a program may read the lines: they come without anything of an editor.
    let edited = input == Stdin::Person && format == Format::Text && io::stderr().is_terminal();
    let level = match (ways.verbose, input) {
        (true, _) => "kadring=debug,warn",
        (_, Stdin::Person) => "info",
        _ => "warn",
    };
    log_to(&screen, level);
    ways.ready_file.as_deref().map(ready::forget_gone).transpose()?;
    let place = RingPlace::new(task)?;
    let store = temporary_folder();
    let store = store.map_err(|error| Failed::start(format!("cannot make a temporary folder: {error}")))?;
    let restore = Arc::new(edited.then(Restore::new));
    let options = Options { on_abrupt_end: Some(last_act(&store, &restore)), ..place.options(ways, &store) };
    let of = (ways.network.name, ways.network.keys().map_err(Failed::usage)?);
    let network = (of.1.is_some(), of.0);
    let events = ways.events.as_deref().map(|path| events::to(path, network)).transpose()?;
    let on_end = Some(LastAct(Arc::new(end_soon)));
    let options = Options { keys: of.1.clone(), events, on_end, ..options };
    let (peer, notices) = outliving_signals(|| LocalPeer::start_watched(options)).map_err(|error| match error {
        StartError::PortInUse { addr, protocol } => Failed::start(place.who_is_there(addr, protocol, of.clone())),
        error => Failed::start(error),
    })?;
    ways.ready_file.as_deref().map(ready::forget).transpose()?;
    let _shown = peer.handle().show_thread("main");
    let lines = AssignmentLines { me: peer.me(), quiet_pings: ways.quiet_pings };
    let mut output = RingOutput::new(lines, format);
    output.until_joined(&notices, &place, of)?;
    if let Some(now) = peer.ready(Some(Duration::ZERO)) {
        let announced = ready::announce(&now, network, ways.ready_file.as_deref())?;
        if format == Format::Json {
            output.output.line(&json::ready(&announced, since_1970()));
        }
    }
    let (replies, console_replies) = bounded(SAID);
    if input == Stdin::Background {
        log::warn!("no commands are read: the terminal belongs to another process");
    } else {
        let grammar = classroom::grammar();
        let (editor, above) = if edited { edit(&grammar, None, None, &screen, &place.name()) } else { (None, None) };
        if above.is_some() {
            output.go_above_prompt(&screen);
        }
        output.above = above;
        let performer = Performer::new(peer.handle(), screen).with_jobs(CommandJobs::default());
        let console =
            Console::new(performer, grammar, Answers::new(Arc::new(HandedReplies(replies)))).ended_by_ctrl_c();
        let thread = ConsoleThread { console, editor, exit_on_eof: false, on_ctrl_d: RING_ON_CTRL_D };
        peer.handle().spawn_console(move || end(thread)).context("cannot start the console's thread")?;
    }
    output.until_left(&notices, console_replies);
    let ended = peer.wait();
    end_soon(ended.clone());
    Ok(ended.into())
}

/// The peer has ended: the reader of its last lines may be stuck.
fn end_soon(ended: Ended) {
    end_in_a_while(Exit::from(ended) as i32);
}

/// What is left to do once the console has ended.
fn end(thread: ConsoleThread) {
    match thread.run() {
        // The reader of the peer's last lines may be stuck.
        Some((End::Left, _)) => end_in_a_while(Exit::Done as i32),
        Some((End::Interrupted, _)) => drop(low_level::raise(SIGINT)),
        _ => {}
    }
}

/// SIGTERM or SIGHUP makes the peer leave without a handover: its successor has a copy of what it keeps. Any other
/// signal, and a second one, is the assignment's abrupt departure: the process only removes its temporary folder, puts
/// the terminal back and ends at once.
fn last_act(store: &TempDir, restore: &Arc<Option<Restore>>) -> LastAct<i32> {
    let (store, restore) = (store.path().to_owned(), Arc::clone(restore));
    LastAct(Arc::new(move |signal| {
        // The process ends even if the disk does not answer.
        end_in_a_while(128 + signal);
        let _ = fs::remove_dir_all(&store);
        if let Some(restore) = &*restore {
            restore.put_back();
        }
    }))
}
