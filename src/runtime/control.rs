//! `control`: waits for clients of the control socket, through which a running peer is talked to from any shell.
//!
//! Each client gets two threads, because two things may come next and a thread waits for one: `client-N` waits for the
//! client's line, then for its end; `command-N` does what the line says and writes what comes of it. A client that
//! leaves (Ctrl-C, a closed terminal, SIGKILL) ends its command so. Where as many are connected as may be, the one
//! makes room that came first and has said nothing; if all have, the newcomer is told so.
//!
//! The socket lies in the data folder, which one peer at a time owns, so one that is found there was left by a peer
//! that is gone. It is made in a folder that only its owner may enter and gets its name when it is ready: there is no
//! moment at which another user could open it. Where it loses its name while the peer runs (some programs clean up
//! behind others) it is made again.

use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket;
use nix::unistd::{Uid, geteuid};
use socket2::{Domain, SockAddr, Socket, Type};

use super::bounded_lines::{BoundedLines, StreamLine};
use super::channels::CLIENTS;
use super::clock::Clock;
use super::seldom::Seldom;
use super::threads::{Roster, Worker};
use super::{Handle, Role, Session, fault};
use crate::gauges;

/// The socket's name in the data folder.
const SOCKET_NAME: &str = "control";

/// Clients served at a time; and commands that run beside the lines of a console.
pub const MAX_CLIENTS: usize = CLIENTS.most();

/// Bytes of a client's line at most: the system passes no longer command lines on (`ARG_MAX` and what JSON adds).
const LONGEST_LINE: usize = 4 << 20;

/// After the system refused to accept, the next try is made this much later.
const BREATH: Duration = Duration::from_millis(50);

/// Whether the socket has its name still is looked at this often, in milliseconds.
const NAME_CHECKED: u16 = 2_000;

/// A peer takes a connection, and what is said to it, within this time, unless it is stopped or stuck.
const TAKEN_WITHIN: Duration = Duration::from_secs(20);

/// Does what a client said: the commands are asked of the session, and what comes of them is written to the client. A
/// client that is turned away is told why.
pub type ServeClient = Arc<dyn Fn(&Session, Result<&[u8], &str>, &UnixStream) + Send + Sync>;

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
    let path = folder.join(SOCKET_NAME);
    let ends = Arc::new(Ends { listener: bind(folder, &path)?, stopping: AtomicBool::new(false) });
    ends.listener.set_nonblocking(true)?;
    let named =
        NamedSocket { inode: fs::symlink_metadata(&path)?.ino(), path: path.clone(), again: None, missed: false };
    let (of_thread, peer) = (Arc::clone(&ends), peer.clone());
    peer.roster.clone().spawn(Role::Control, move || accept(&of_thread, named, &peer, &serve))?;
    Ok(Control { ends, path })
}

/// Connects to the peer that runs with this data folder. What is said to it is taken within a while too.
///
/// # Errors
/// No peer runs there, or it is another user's, who may have put a socket into a folder that others write to
/// ([`PermissionDenied`](io::ErrorKind::PermissionDenied)); [`WouldBlock`](io::ErrorKind::WouldBlock) if it takes no
/// connection, for as many wait already as may.
pub fn connect(folder: &Path) -> io::Result<UnixStream> {
    let open = File::open(folder)?;
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(TAKEN_WITHIN))?;
    socket.connect(&SockAddr::unix(short(&open, folder).join(SOCKET_NAME))?)?;
    let owner = owner(&socket, &short(&open, folder).join(SOCKET_NAME))?;
    if !is_trusted(owner, geteuid()) {
        let reason = format!("the peer that listens there is run by another user (number {owner})");
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(UnixStream::from(OwnedFd::from(socket)))
}

/// Whether a user talks to a peer of this owner: it is told what is stored, and may say anything back.
fn is_trusted(owner: Uid, user: Uid) -> bool {
    owner == user || owner.is_root() || user.is_root()
}

/// The user who listens at the other end of a connection.
#[cfg(target_os = "linux")]
fn owner(socket: &Socket, _: &Path) -> io::Result<Uid> {
    let credentials = socket::getsockopt(socket, socket::sockopt::PeerCredentials)?;
    Ok(Uid::from_raw(credentials.uid()))
}

/// The user who owns the socket.
#[cfg(not(target_os = "linux"))]
fn owner(_: &Socket, path: &Path) -> io::Result<Uid> {
    Ok(Uid::from_raw(fs::symlink_metadata(path)?.uid()))
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
    let made = short(&open, private.path()).join(SOCKET_NAME);
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

/// The socket under its name.
struct NamedSocket {
    path: PathBuf,
    inode: u64,
    /// The listener that was made after the first one had lost its name. The first one stays, to be told of the end.
    again: Option<UnixListener>,
    /// It has no name, and could not be made again.
    missed: bool,
}

impl NamedSocket {
    /// Waits for a client or for the end, and looks now and then whether any could come.
    fn accept(&mut self, ends: &Ends) -> io::Result<UnixStream> {
        loop {
            // A listener that was shut down is ready for ever, and has no connection to accept.
            if ends.stopping.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            let listeners = || [Some(&ends.listener), self.again.as_ref()].into_iter().flatten();
            let mut ready: Vec<_> = listeners().map(|one| PollFd::new(one.as_fd(), PollFlags::POLLIN)).collect();
            let count = match poll(&mut ready, PollTimeout::from(NAME_CHECKED)) {
                Err(Errno::EINTR) => continue,
                polled => polled?,
            };
            let waits = ready.iter().position(|one| one.any() == Some(true));
            if let Some(listener) = waits.and_then(|at| listeners().nth(at)) {
                match listener.accept() {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    accepted => {
                        let (stream, _) = accepted?;
                        stream.set_nonblocking(false)?;
                        return Ok(stream);
                    }
                }
            }
            if count == 0 {
                self.look();
            }
        }
    }

    /// The peer ends. The socket may have been made again just after it was removed for that.
    fn end(self) {
        if self.again.is_some() {
            let _ = fs::remove_file(&self.path);
        }
    }

    /// Makes the socket again, if it has lost its name; says once if it cannot be.
    fn look(&mut self) {
        let is_there = fs::symlink_metadata(&self.path).is_ok_and(|there| there.ino() == self.inode);
        let Some(folder) = self.path.parent().filter(|_| !is_there) else { return };
        let made = bind(folder, &self.path).and_then(|listener| {
            listener.set_nonblocking(true)?;
            Ok((fs::symlink_metadata(&self.path)?.ino(), listener))
        });
        match made {
            Ok((inode, listener)) => {
                log::warn!("the control socket '{}' was removed; it is made again", self.path.display());
                (self.inode, self.again, self.missed) = (inode, Some(listener), false);
            }
            Err(error) => {
                let level = if self.missed { log::Level::Debug } else { log::Level::Warn };
                log::log!(level, "the control socket was removed and cannot be made again: {error}");
                self.missed = true;
            }
        }
    }
}

/// A client that is connected.
struct Client {
    stream: Arc<UnixStream>,
    thread: Worker,
    /// Whether its line has come. It stands alone (`Relaxed`).
    has_spoken: Arc<AtomicBool>,
}

impl Drop for Client {
    /// Whatever becomes of `control`, no client's thread waits for ever.
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
    }
}

/// `control`: waits for clients.
fn accept(ends: &Ends, mut named: NamedSocket, peer: &Handle, serve: &ServeClient) {
    let mut clients: BTreeMap<u64, Client> = BTreeMap::new();
    let (mut next, clock) = (0, Clock::start());
    let (full, refused) = (Seldom::default(), Seldom::default());
    loop {
        let accepted = gauges::wait(|| named.accept(ends));
        if ends.stopping.load(Ordering::Relaxed) {
            return named.end();
        }
        fault::point(Role::Control);
        clients.retain(|_, client| !client.thread.is_finished());
        if let Ok(newcomer) = &accepted
            && clients.len() >= MAX_CLIENTS
        {
            let level = full.level(clock.now());
            log::log!(level, "a client of the control socket was turned away: {MAX_CLIENTS} are connected");
            let silent = clients.iter().find(|(_, client)| !client.has_spoken.load(Ordering::Relaxed));
            let silent = silent.map(|(number, _)| *number).and_then(|number| clients.remove(&number));
            let is_full = format!(
                "{MAX_CLIENTS} clients are connected to the control socket, and no more may be: end one, or try again later"
            );
            // So little is taken by a stream that has yet to be told anything, without a wait.
            serve(&peer.session(), Err(&is_full), silent.as_ref().map_or(newcomer, |silent| &silent.stream));
            if silent.is_none() {
                continue;
            }
        }
        next += 1;
        let begun = accepted.and_then(|stream| attend(stream, peer.session(), serve, &peer.roster));
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
fn attend(stream: UnixStream, session: Session, serve: &ServeClient, roster: &Roster) -> io::Result<Client> {
    let (stream, has_spoken) = (Arc::new(stream), Arc::new(AtomicBool::new(false)));
    let (of_client, spoken, serve) = (Arc::clone(&stream), Arc::clone(&has_spoken), Arc::clone(serve));
    let thread = roster.spawn_another(Role::Client, session.number(), move || {
        fault::point(Role::Client);
        let (mut lines, stream) = (BoundedLines::default(), of_client);
        let Ok(StreamLine::Text(line)) = gauges::wait(|| lines.next(&*stream, |_| LONGEST_LINE)) else { return };
        spoken.store(true, Ordering::Relaxed);
        let (over, asks) = (CloseOnDrop(Arc::clone(&stream)), session.clone());
        // However it ends, the client hears of it.
        let command = session.spawn(move || serve(&asks, Ok(&line), &over.0));
        if let Err(error) = command {
            return log::warn!("a command from the control socket could not be done: {error}");
        }
        // The end of the client, or of the command; a client that says more wants no more of what it said before.
        let _ = gauges::wait(|| lines.read(&*stream, &mut [0]));
        session.cancel();
    })?;
    Ok(Client { stream, thread, has_spoken })
}

/// Ends a connection when dropped.
struct CloseOnDrop(Arc<UnixStream>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        let _ = self.0.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_talks_to_peers_of_its_own_and_of_root_and_root_to_all() {
        let [root, user, other] = [0, 1000, 1001].map(Uid::from_raw);
        let trusted = [(user, user), (root, user), (other, root), (other, user)];
        assert_eq!(trusted.map(|(owner, user)| is_trusted(owner, user)), [true, true, true, false]);
    }
}
