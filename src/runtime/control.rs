//! `control`: waits for clients of the control socket, through which a running peer is talked to from any shell.
//!
//! Each client gets two threads, because two things may come next and a thread waits for one: `client-N` waits for the
//! client's line, then for its end; `command-N` does what the line says and writes what comes of it. A client that
//! leaves (Ctrl-C, a closed terminal, SIGKILL) ends its command so.
//!
//! The socket lies in the data folder, which one peer at a time owns, so one that is found there was left by a peer
//! that is gone. It is made in a folder that only its owner may enter and gets its name when it is ready: there is no
//! moment at which another user could open it.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket;

use super::bounded_lines::{BoundedLines, Line};
use super::channels::CLIENTS;
use super::clock::Clock;
use super::seldom::Seldom;
use super::threads::{Roster, Worker};
use super::{Handle, Role, Session, fault};
use crate::gauges;

/// The socket's name in the data folder.
const NAME: &str = "control";

/// Clients served at a time; and commands that run beside the lines of a console.
pub const MAX_CLIENTS: usize = CLIENTS.most();

/// Bytes of a client's line at most: the system passes no longer command lines on (`ARG_MAX` and what JSON adds).
const LONGEST_LINE: usize = 4 << 20;

/// After the system refused to accept, the next try is made this much later.
const BREATH: Duration = Duration::from_millis(50);

/// Does what a client said: the commands are asked of the session, and what comes of them is written to the client.
pub type ServeClient = Arc<dyn Fn(&Session, &[u8], &UnixStream) + Send + Sync>;

/// The control socket of a peer; closed, it is gone.
pub(super) struct Control {
    ends: Arc<Ends>,
    path: PathBuf,
}

struct Ends {
    listener: UnixListener,
    /// Set once; the shutdown of the listener wakes its reader to see it (`Relaxed`).
    stopping: AtomicBool,
}

/// Listens in `folder` and serves clients until [`Control::close`].
pub(super) fn listen(folder: &Path, peer: &Handle, serve: ServeClient) -> io::Result<Control> {
    let path = folder.join(NAME);
    let ends = Arc::new(Ends { listener: bind(folder, &path)?, stopping: AtomicBool::new(false) });
    let (of_thread, peer) = (Arc::clone(&ends), peer.clone());
    peer.roster.clone().spawn(Role::Control, move || accept(&of_thread, &peer, &serve))?;
    Ok(Control { ends, path })
}

/// Connects to the peer that runs with this data folder.
///
/// # Errors
/// No peer runs there, or it is another user's.
pub fn connect(folder: &Path) -> io::Result<UnixStream> {
    let open = File::open(folder)?;
    UnixStream::connect(short(&open, folder).join(NAME))
}

impl Control {
    /// Tells its threads to end.
    pub(super) fn close(self) {
        self.ends.stopping.store(true, Ordering::Relaxed);
        let _ = fs::remove_file(&self.path);
        let _ = socket::shutdown(self.ends.listener.as_raw_fd(), socket::Shutdown::Both);
        // Elsewhere that ends no `accept`, but a connection does.
        #[cfg(not(target_os = "linux"))]
        let _ = self.path.parent().map(connect);
    }
}

fn bind(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    match fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            let reason = format!("{} is there and is no socket", path.display());
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, reason));
        }
        _ => {}
    }
    let private = tempfile::Builder::new().permissions(Permissions::from_mode(0o700)).tempdir_in(folder)?;
    let open = File::open(private.path())?;
    let made = short(&open, private.path()).join(NAME);
    let listener = UnixListener::bind(&made)?;
    fs::set_permissions(&made, Permissions::from_mode(0o600))?;
    fs::rename(&made, path)?;
    Ok(listener)
}

/// Another path of an open folder, since a socket's may have but a hundred bytes.
fn short(open: &File, folder: &Path) -> PathBuf {
    if cfg!(target_os = "linux") {
        PathBuf::from(format!("/proc/self/fd/{}", open.as_raw_fd()))
    } else {
        folder.to_owned()
    }
}

/// A client that is connected.
struct Client {
    stream: Arc<UnixStream>,
    thread: Worker,
}

impl Drop for Client {
    /// Whatever becomes of `control`, no client's thread waits for ever.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// `control`: waits for clients.
fn accept(ends: &Ends, peer: &Handle, serve: &ServeClient) {
    let mut clients: BTreeMap<u64, Client> = BTreeMap::new();
    let (mut next, clock) = (0, Clock::start());
    let (full, refused) = (Seldom::default(), Seldom::default());
    loop {
        let accepted = gauges::wait(|| ends.listener.accept());
        if ends.stopping.load(Ordering::Relaxed) {
            return;
        }
        fault::point(Role::Control);
        clients.retain(|_, client| !client.thread.is_finished());
        if accepted.is_ok() && clients.len() >= MAX_CLIENTS {
            // Dropped, it is told by the end.
            let level = full.level(clock.now());
            log::log!(level, "a client of the control socket was turned away: {MAX_CLIENTS} are connected");
            continue;
        }
        next += 1;
        let begun = accepted.and_then(|(stream, _)| {
            let stream = Arc::new(stream);
            let session = peer.session();
            let thread = attend(&stream, session, serve, &peer.roster)?;
            Ok(Client { stream, thread })
        });
        match begun {
            Ok(client) => drop(clients.insert(next, client)),
            Err(error) => {
                log::log!(refused.level(clock.now()), "a client of the control socket could not be taken: {error}");
                std::thread::park_timeout(BREATH);
            }
        }
    }
}

/// Starts `client-N`.
fn attend(stream: &Arc<UnixStream>, session: Session, serve: &ServeClient, roster: &Roster) -> io::Result<Worker> {
    let (stream, serve) = (Arc::clone(stream), Arc::clone(serve));
    roster.spawn_another(Role::Client, session.number(), move || {
        fault::point(Role::Client);
        let mut lines = BoundedLines::default();
        let Ok(Line::Text(line)) = gauges::wait(|| lines.next(&*stream, |_| LONGEST_LINE)) else { return };
        let (over, asks) = (Over(Arc::clone(&stream)), session.clone());
        // However it ends, the client hears of it.
        let command = session.spawn(move || serve(&asks, &line, &over.0));
        if let Err(error) = command {
            return log::warn!("a command from the control socket could not be done: {error}");
        }
        // The end of the client, or of the command; a client that says more wants no more of what it said before.
        let _ = gauges::wait(|| lines.read(&*stream, &mut [0]));
        session.cancel();
    })
}

/// Ends a connection when dropped.
struct Over(Arc<UnixStream>);

impl Drop for Over {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}
