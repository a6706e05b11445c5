//! Clients that join for one command and leave. They are guests: no routing table ever holds them, and they hold no
//! blocks.

use std::io::{self, IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use kadring::config::Config;
use kadring::console::catalogue::Catalogue;
use kadring::console::finding::{self, resolve_source};
use kadring::console::health::{CheckRequest, Subject};
use kadring::console::perform::{Performer, resolve};
use kadring::console::spec::{LineTask, Store};
use kadring::console::terminal::{self, REPLACE, Stdin, is_yes};
use kadring::console::terms::Terms;
use kadring::console::{Format, LineReply, Output, Screen, escape};
use kadring::node::{Answer, Command, Failure, FailureKind, Source};
use kadring::peer::on_which_bind;
use kadring::raw_text;
use kadring::runtime::{Handle, Keyring, LocalPeer, Options, Spooled, connect, ending_signals, every_address};
use signal_hook::flag;

use super::signals::{NextSignal, end_as_by_sigpipe, end_by, watch_signals};
use super::standard::{STANDARD, UntilTold, beside, exit_once_written, is_standard, spool};
use super::unjoined::{answers_but, filtered, heard, no_way, ping_all, strange};
use super::{Exit, Failed, JoinAddresses, bootstrap, ctl, log_to, stderr};
use crate::args::{
    CatArgs, CheckArgs, ImportArgs, JoinArgs, LookupArgs, LsArgs, OverlayName, PingArgs, RetrieveArgs, StoreArgs,
};

/// Times that a guest tries to join, 1.75 s each: even where half of all datagrams get lost, three dozen do not.
const JOINS: usize = 3;

/// `kadring store`.
pub(crate) fn store(args: StoreArgs) -> anyhow::Result<Exit> {
    let format = args.format.format();
    join_and_store(args).or_else(|error| tell_trouble(error, format, io::stdout()))
}

fn join_and_store(args: StoreArgs) -> anyhow::Result<Exit> {
    let config = args.copies.config().map_err(Failed::usage)?;
    let form = ctl::Form { format: args.format.format(), quiet: args.quiet };
    let handed_on = hand_on(&args.join, form, || {
        if !args.copies.are_silent() {
            return Err(Failed::usage("--replicas and --quorum are those of the peer that runs with --data"));
        }
        let words =
            |words: &mut dyn Iterator<Item = &String>| words.map(|word| raw_text::path(word)).collect::<Vec<_>>();
        let (name, globs) = (words(&mut args.name.iter()), words(&mut args.exclude.iter()));
        let manifest = args.manifest.iter().flat_map(|path| [Path::new("--manifest"), path]);
        let name = name.iter().flat_map(|name| [Path::new("--name"), name]);
        let exclude = globs.iter().flat_map(|glob| [Path::new("--exclude"), glob]);
        let skip = args.skip_unreadable.then(|| Path::new("--skip-unreadable"));
        let lasts = args.lasts.iter().flat_map(|lasts| [Path::new("--for"), Path::new(lasts)]);
        let copies = args.number.iter().flat_map(|number| [Path::new("--copies"), Path::new(number)]);
        let options = manifest.chain(name).chain(exclude).chain(skip).chain(lasts).chain(copies);
        let files = args.files.iter().map(PathBuf::as_path);
        Ok(typed([Path::new("store")].into_iter().chain(options).chain([Path::new("--")]).chain(files)))
    });
    if let Some(exit) = handed_on? {
        return Ok(exit);
    }
    let screen = Screen::stderr();
    log_to(&screen, "warn");
    let manifest = args.local_manifest().map_err(Failed::usage)?;
    let spooled = if args.files.iter().any(|file| is_standard(file)) { Some(spool(&screen)?) } else { None };
    let (tree, terms) = (args.tree(), args.terms().map_err(Failed::usage)?);
    let mut files = args.files;
    for file in files.iter_mut().filter(|file| is_standard(file)) {
        *file = spooled.as_ref().map_or_else(|| STANDARD.into(), Spooled::path);
    }
    let guest = join(&args.join, config)?;
    let performer = Performer::new(guest.handle(), screen).with_catalogue(Catalogue::of_user());
    let mut reply =
        performer.perform(LineTask::Store(Store { files, manifest, name: args.name, keep: false, tree, terms }));
    if let Some(spooled) = &spooled {
        reply.rename(&spooled.path(), Path::new(STANDARD));
    }
    leave(guest);
    Ok(if args.quiet { tell_keys(&reply) } else { tell(&reply, args.format.format(), io::stdout()) })
}

/// Writes the keys of what was stored, a line each, and what failed or was left out to standard error.
fn tell_keys(reply: &LineReply) -> Exit {
    let mut output = Output::of_client(Format::Text, io::stdout());
    let keys: Vec<String> = reply.keys().iter().map(ToString::to_string).collect();
    output.line(&keys.join("\n"));
    let mut trouble = Output::new(Format::Text, stderr());
    reply.failures().iter().for_each(|failed| trouble.reply(failed));
    reply.notes().iter().for_each(|note| trouble.line(note));
    exit_of(reply, &output)
}

/// `kadring retrieve`.
pub(crate) fn retrieve(args: RetrieveArgs) -> anyhow::Result<Exit> {
    retrieve_and_tell(&args, true)
}

/// `kadring cat`.
pub(crate) fn cat(args: CatArgs) -> anyhow::Result<Exit> {
    let CatArgs { file: source, join, format } = args;
    retrieve_and_tell(&RetrieveArgs { source, dest: STANDARD.into(), force: false, join, format }, false)
}

/// `kadring ls`.
pub(crate) fn ls(args: LsArgs) -> anyhow::Result<Exit> {
    let all = args.all.then(|| "--all".to_owned());
    let words = || Ok(["ls".to_owned()].into_iter().chain(all).chain(["--".to_owned(), args.folder.clone()]).collect());
    let request = || Ok((LineTask::ListFolder { word: args.folder.clone(), all: args.all }, Config::default()));
    hand_on_or_ask(&args.join, args.format.format(), words, request)
}

/// `tells` of what was retrieved to standard output, elsewhere.
fn retrieve_and_tell(args: &RetrieveArgs, tells: bool) -> anyhow::Result<Exit> {
    let format = args.format.format();
    join_and_retrieve(args, tells).or_else(|error| tell_trouble(error, format, beside(is_standard(&args.dest))))
}

fn join_and_retrieve(args: &RetrieveArgs, tells: bool) -> anyhow::Result<Exit> {
    let form = ctl::Form { format: args.format.format(), quiet: !tells };
    let handed_on = hand_on(&args.join, form, || {
        let source = match &args.source {
            Source::Key(key) => PathBuf::from(key.to_string()),
            Source::Manifest(path) => path.clone(),
        };
        let force = args.force.then(|| Path::new("--force"));
        Ok(typed([Path::new("retrieve")].into_iter().chain(force).chain([Path::new("--"), &source, &args.dest])))
    });
    if let Some(exit) = handed_on? {
        return Ok(exit);
    }
    // A bar and the file would write over each other.
    let shows_file = is_standard(&args.dest) && io::stdout().is_terminal();
    let screen = if shows_file { Screen::plain() } else { Screen::stderr() };
    log_to(&screen, "warn");
    let catalogue = Catalogue::of_user();
    let source = resolve_source(catalogue.as_ref(), Path::new(""), args.source.clone()).map_err(Failed::from)?;
    let guest = join(&args.join, Config::default())?;
    if is_standard(&args.dest) {
        let performer = Performer::new(guest.handle().session(), screen).with_catalogue(catalogue);
        let mut out = UntilTold::new()?;
        let reply = performer.forgetful().stream(source, &mut out);
        leave(guest);
        if out.is_broken() {
            return Ok(end_as_by_sigpipe());
        }
        if !tells && reply.failure().is_none() {
            return Ok(Exit::Done);
        }
        // Standard output holds the file, so the answer goes elsewhere.
        return Ok(tell(&reply, args.format.format(), stderr()));
    }
    let performer = Performer::new(guest.handle(), screen).with_catalogue(catalogue);
    let request = LineTask::Ask(Command::Retrieve { source, dest: args.dest.clone(), replace: args.force });
    let reply = performer.perform_or_ask(request, &mut |what| args.format.format() == Format::Text && confirm(what));
    leave(guest);
    Ok(tell(&reply, args.format.format(), io::stdout()))
}

/// Asks the person at the terminal whether a file may be replaced; without a terminal the answer is no.
pub(super) fn confirm(what: &str) -> bool {
    if terminal::stdin_is() != Stdin::Person || !io::stderr().is_terminal() {
        return false;
    }
    // Nothing is under way that a signal could end in order, and no thread but this one waits for the answer.
    let asks = Arc::new(AtomicBool::new(true));
    for signal in ending_signals() {
        let _ = flag::register_conditional_default(signal, Arc::clone(&asks));
    }
    stderr().say(&format!("{}\n{REPLACE}", escape(what)));
    let mut answer = String::new();
    let agrees = stderr().flush().is_ok() && io::stdin().read_line(&mut answer).is_ok() && is_yes(&answer);
    // This thread set it, and signals' handlers read it alone: nothing else rests on it (`Relaxed`).
    asks.store(false, Ordering::Relaxed);
    agrees
}

/// `kadring lookup`.
pub(crate) fn lookup(args: LookupArgs) -> anyhow::Result<Exit> {
    let format = args.format.format();
    let LookupArgs { key, explain, svg, .. } = &args;
    let words = || {
        let mut words = vec!["lookup".to_owned(), key.clone()];
        words.extend(explain.then(|| "--explain".to_owned()));
        words.extend(svg.iter().flat_map(|file| ["--svg".to_owned(), raw_text::text_of(file)]));
        Ok(words)
    };
    let catalogue = Catalogue::of_user();
    let lookup = || LineTask::Lookup { word: key.clone(), explain: *explain, svg: svg.clone() };
    let request = || finding::resolve(catalogue.as_ref(), Path::new(""), lookup());
    hand_on_or_ask(&args.join, format, words, || Ok((request().map_err(Failed::from)?, Config::default())))
}

/// `kadring check`.
pub(crate) fn check(args: CheckArgs) -> anyhow::Result<Exit> {
    let CheckArgs { files, verify, repair, join, copies, format } = args;
    let words = || {
        let options = [(verify, "--verify"), (repair, "--repair")].into_iter().filter(|(given, _)| *given);
        let options = options.map(|(_, option)| option.to_owned()).chain(["--".to_owned()]);
        Ok(["check".to_owned()].into_iter().chain(options).chain(files.iter().cloned()).collect())
    };
    let request = || {
        let files = files.iter().map(|word| Subject::of(word)).collect::<Result<_, _>>().map_err(Failed::usage)?;
        let request = LineTask::Check(CheckRequest { files, verify, repair });
        let resolved = finding::resolve(Catalogue::of_user().as_ref(), Path::new(""), request).map_err(Failed::from)?;
        Ok((resolved, copies.config().map_err(Failed::usage)?))
    };
    hand_on_or_ask(&join, format.format(), words, request)
}

/// `kadring import`.
pub(crate) fn import(args: ImportArgs) -> anyhow::Result<Exit> {
    let words = || {
        let lasts = args.lasts.iter().flat_map(|lasts| [Path::new("--for"), Path::new(lasts)]);
        Ok(typed([Path::new("import")].into_iter().chain(lasts).chain([Path::new("--"), &args.dir])))
    };
    let request = || {
        let terms = Terms::read(args.lasts.as_deref(), None).map_err(Failed::usage)?;
        Ok((LineTask::Import { folder: args.dir.clone(), terms }, args.copies.config().map_err(Failed::usage)?))
    };
    hand_on_or_ask(&args.join, args.format.format(), words, request)
}

/// Has the running peer do what `words` say, where one was named; else joins, and asks what `request` says.
pub(super) fn hand_on_or_ask(
    args: &JoinArgs,
    format: Format,
    words: impl FnOnce() -> Result<Vec<String>, Failed>,
    request: impl FnOnce() -> Result<(LineTask, Config), Failed>,
) -> anyhow::Result<Exit> {
    let handed_on = hand_on(args, ctl::Form { format, quiet: false }, words);
    let asked = handed_on.and_then(|exit| match exit {
        Some(exit) => Ok(exit),
        None => {
            let (request, config) = request()?;
            ask(|| join(args, config), request, format)
        }
    });
    asked.or_else(|error| tell_trouble(error, format, io::stdout()))
}

/// `kadring ping`.
pub(crate) fn ping(args: PingArgs) -> anyhow::Result<Exit> {
    let format = args.format.format();
    log_to(&Screen::stderr(), "warn");
    answer_ping(&args)
        .map(|reply| tell(&reply, format, io::stdout()))
        .or_else(|failed| tell_trouble(failed.into(), format, io::stdout()))
}

fn answer_ping(args: &PingArgs) -> Result<LineReply, Failed> {
    let addrs = resolve(&args.addr).map_err(Failed::not_found)?;
    let keys = args.network.keys().map_err(Failed::usage)?;
    let config = Config { network: args.network.name, ..Config::default() };
    let guest = start(every_address(), JoinAddresses::default(), args.overlay, keys.clone(), config)?;
    let reply = Performer::new(guest.handle(), Screen::stderr()).perform(LineTask::Ping(args.addr.clone()));
    leave(guest);
    Ok(match reply {
        LineReply::Node(Answer::Failed(Failure { kind: FailureKind::TimedOut, .. })) => {
            let strange = strange(&addrs, args.overlay.into(), (args.network.name, keys));
            let strange = strange.map(|reason| LineReply::failed(FailureKind::NotStarted, reason));
            let filtered = || filtered(&addrs).map(|reason| LineReply::failed(FailureKind::TimedOut, reason));
            strange.or_else(filtered).unwrap_or(reply)
        }
        reply => reply,
    })
}

fn ask(start: impl FnOnce() -> Result<LocalPeer, Failed>, request: LineTask, format: Format) -> anyhow::Result<Exit> {
    let screen = Screen::stderr();
    log_to(&screen, "warn");
    match start() {
        Ok(guest) => {
            let performer: Performer<Handle> =
                Performer::new(guest.handle(), screen).with_catalogue(Catalogue::of_user());
            let reply = performer.perform(request);
            leave(guest);
            Ok(tell(&reply, format, io::stdout()))
        }
        Err(failed) => tell_trouble(failed.into(), format, io::stdout()),
    }
}

/// Ends the guest once it has its answer. What remains is to write the answer, whose reader may never take it: from now
/// on a signal ends the process at once.
fn leave(guest: LocalPeer) {
    let (gone, told) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    for signal in ending_signals() {
        let _ = flag::register_conditional_default(signal, Arc::clone(&gone));
        let _ = flag::register_usize(signal, Arc::clone(&told), signal.unsigned_abs() as usize);
    }
    drop(guest);
    // A signal that comes now finds `gone` set or has set `told` before it is read: one order for both (`SeqCst`).
    gone.store(true, Ordering::SeqCst);
    end_by(told.load(Ordering::SeqCst));
}

/// Writes the answer; as text, a failure goes to standard error. An answer that cannot be written is a failure.
pub(super) fn tell(reply: &LineReply, format: Format, out: impl Write + Send + 'static) -> Exit {
    let mut output = match reply.failure() {
        Some(_) if format == Format::Text => Output::of_client(format, stderr()),
        _ => Output::of_client(format, out),
    };
    output.reply(reply);
    exit_of(reply, &output)
}

/// The exit code of an answer that was written, or could not be.
fn exit_of(reply: &LineReply, output: &Output) -> Exit {
    reply.verdict().map_or_else(|| exit_once_written(output), Exit::from)
}

/// Where a program reads the answers, an error before the command was given is written as an answer too.
pub(super) fn tell_trouble(
    error: anyhow::Error,
    format: Format,
    out: impl Write + Send + 'static,
) -> anyhow::Result<Exit> {
    match error.downcast_ref::<Failed>() {
        Some(failed) if format == Format::Json => {
            Output::new(format, out).reply(&LineReply::failed(failed.exit.into(), failed.to_string()));
            Ok(failed.exit)
        }
        _ => Err(error),
    }
}

/// Has the peer do it that runs with the data folder that was named. None where a guest is to join instead.
fn hand_on(
    args: &JoinArgs,
    form: ctl::Form,
    words: impl FnOnce() -> Result<Vec<String>, Failed>,
) -> anyhow::Result<Option<Exit>> {
    let Some(data) = &args.data else { return Ok(None) };
    let peer = match connect(data) {
        Ok(peer) => peer,
        Err(error) if args.bootstrap.is_empty() => return Err(ctl::nobody(data, &error).into()),
        Err(_) => return Ok(None),
    };
    let screen = Screen::stderr();
    log_to(&screen, "warn");
    let signal = NextSignal::asks()?;
    ctl::perform(&peer, data, words()?, form, (&screen, &signal)).map(Some)
}

/// Words for a running peer, which takes them as text.
fn typed<'a>(words: impl Iterator<Item = &'a Path>) -> Vec<String> {
    words.map(raw_text::text_of).collect()
}

/// Starts a guest and waits until it has joined. It knows one way in, and nothing of the network yet, so where much
/// gets lost it tries again before it says that no peer is there.
fn join(args: &JoinArgs, config: Config) -> Result<LocalPeer, Failed> {
    let bind = every_address();
    let (known, names) = (bootstrap(&args.bootstrap, bind.ip())?, args.bootstrap.join(", "));
    if let Some(reason) = no_way(&known.addrs) {
        return Err(Failed::timed_out(format!("no way leads from here to {names}: {reason}")));
    }
    let keys = args.network.keys().map_err(Failed::usage)?;
    let config = Config { network: args.network.name, ..config };
    let mut refused = None;
    for attempt in 1..=JOINS {
        if attempt == 2 {
            log::warn!("nobody has answered at {names} yet; trying on for some seconds");
        }
        let guest = start(bind, known.clone(), args.overlay, keys.clone(), config.clone())?;
        // Where no peer let it in, one may answer all the same.
        let asked = if attempt > 1 { ping_all(&guest.handle(), &known.addrs) } else { Vec::new() };
        match guest.ready(None) {
            Some(ready) if ready.peers > 0 => return Ok(guest),
            Some(_) => refused = heard(&asked).and_then(Result::err),
            None => return Err(Failed::start("it was told to end before it had joined")),
        }
    }
    let refused = refused.map(|reason| answers_but(&names, &reason));
    Err(match refused.or_else(|| strange(&known.addrs, args.overlay.into(), (args.network.name, keys))) {
        Some(reason) => Failed::start(reason),
        None => Failed::timed_out(match filtered(&known.addrs) {
            Some(reason) => format!("nobody answered at {names}: {reason}"),
            None => format!("nobody answered at {names}; does a peer run there{}?", on_which_bind(&known.addrs)),
        }),
    })
}

/// Starts a guest. The peers that it hears of may be on any network, so it listens on all addresses.
fn start(
    bind: SocketAddr,
    known: JoinAddresses,
    overlay: OverlayName,
    keys: Option<Arc<Keyring>>,
    config: Config,
) -> Result<LocalPeer, Failed> {
    let options = Options {
        bind,
        bootstrap: known.addrs,
        hosts: known.hosts,
        overlay: overlay.into(),
        config: Config { guest: true, ..config },
        keys,
        on_signal: Some(Command::Quit { handover: false }),
        ..Options::default()
    };
    watch_signals();
    LocalPeer::start(options).map_err(Failed::start)
}
