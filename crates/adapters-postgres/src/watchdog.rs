//! Bounds on how long libpq waits for a server.
//!
//! libpq polls the socket of a connection without a bound, and neither keepalives nor timeouts of TCP end that while
//! the server's kernel acknowledges what its processes no longer read. So one thread watches the connections in use
//! and shuts down the socket of one whose time is up: the poll returns, the call fails, the connection is broken.
//! See docs/adr/0025-every-wait-on-postgresql-has-a-bound.md.

use std::collections::BTreeMap;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;
use std::time::{Duration, Instant};

use diesel::prelude::*;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::Shutdown;

/// How often the thread looks: the most by which a bound is exceeded.
const TICK: Duration = Duration::from_millis(50);

/// What libpq sets TCP's user timeout to, in milliseconds. No other socket of the process has this value, so it tells
/// which ones are libpq's.
pub(crate) const TCP_USER_TIMEOUT_MS: u32 = 10_007;

/// The connections that the thread watches.
static WATCHED: Mutex<Vec<Weak<Watch>>> = Mutex::new(Vec::new());

/// The connection that is being made. Its socket is not known yet, and may be one after the other.
static CONNECTING: Mutex<Option<Attempt>> = Mutex::new(None);

/// Makes a connection, for at most so long, and watches it.
///
/// # Errors
/// libpq's, or that the socket of the new connection cannot be found.
pub(crate) fn connect(url: &str, limit: Duration) -> ConnectionResult<(PgConnection, Arc<Watch>)> {
    // One at a time, or else it could not be told whose socket is whose.
    static TURN: Mutex<()> = Mutex::new(());
    let _turn = lock(&TURN);
    start().map_err(|error| ConnectionError::BadConnection(format!("no thread to watch it: {error}")))?;
    let before = sockets();
    *lock(&CONNECTING) = Some(Attempt { before: before.clone(), deadline: Instant::now() + limit });
    let connection = PgConnection::establish(url);
    *lock(&CONNECTING) = None;
    let connection = connection?;
    let mut opened = libpq_sockets_since(&before);
    let socket = opened.pop();
    // Nowhere else than on Linux are sockets found.
    if !opened.is_empty() || (socket.is_none() && cfg!(target_os = "linux")) {
        return Err(ConnectionError::BadConnection("the connection's socket cannot be told from others".to_owned()));
    }
    let watch = Arc::new(Watch { socket, use_: Mutex::new(Use::None) });
    lock(&WATCHED).push(Arc::downgrade(&watch));
    Ok((connection, watch))
}

/// A connection's socket, and until when the connection may be used.
#[derive(Debug)]
pub(crate) struct Watch {
    socket: Option<OwnedFd>,
    use_: Mutex<Use>,
}

#[derive(Debug, Clone, Copy)]
enum Use {
    None,
    Until(Instant),
    /// It took too long; the socket has been shut down.
    CutOff,
}

impl Watch {
    /// Bounds the use that begins now.
    pub(crate) fn begin(&self, limit: Duration) {
        *lock(&self.use_) = Use::Until(Instant::now() + limit);
    }

    /// Ends the use; whether it was cut off.
    pub(crate) fn end(&self) -> bool {
        matches!(mem::replace(&mut *lock(&self.use_), Use::None), Use::CutOff)
    }

    /// Waits until the server has sent something, or closed the connection, but not longer than this.
    pub(crate) fn wait_until_readable(&self, patience: Duration) {
        match &self.socket {
            Some(socket) => {
                let timeout = Timespec::try_from(patience).ok();
                // An interruption ends the wait as well: the caller looks again.
                let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], timeout.as_ref());
            }
            // Where the socket is not known, the caller looks from time to time.
            None => thread::sleep(patience.min(TICK)),
        }
    }

    fn cut_off_after(&self, now: Instant) {
        let mut use_ = lock(&self.use_);
        if let (Use::Until(deadline), Some(socket)) = (*use_, &self.socket)
            && deadline < now
        {
            shut_down(socket);
            *use_ = Use::CutOff;
        }
    }
}

#[derive(Debug)]
struct Attempt {
    before: Sockets,
    deadline: Instant,
}

/// Starts the thread, once.
fn start() -> std::io::Result<()> {
    static STARTED: Mutex<bool> = Mutex::new(false);
    let mut started = lock(&STARTED);
    if !*started {
        thread::Builder::new().name("watchdog".to_owned()).spawn(|| {
            loop {
                thread::sleep(TICK);
                watch();
            }
        })?;
        *started = true;
    }
    Ok(())
}

fn watch() {
    let now = Instant::now();
    lock(&WATCHED).retain(|watch| watch.upgrade().inspect(|watch| watch.cut_off_after(now)).is_some());
    if let Some(attempt) = lock(&CONNECTING).as_ref().filter(|attempt| attempt.deadline < now) {
        libpq_sockets_since(&attempt.before).iter().for_each(shut_down);
    }
}

fn shut_down(socket: &OwnedFd) {
    // It fails where the server has closed the connection, which ends the wait as well.
    let _ = rustix::net::shutdown(socket, Shutdown::Both);
}

/// No code that can panic runs under these locks, so a poisoned one holds what it should.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sockets by their inode, with the number of their descriptor. A number is given again, an inode is not.
type Sockets = BTreeMap<u64, i32>;

#[cfg(target_os = "linux")]
mod finding {
    use std::fs;
    use std::os::fd::{BorrowedFd, OwnedFd};
    use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

    use rustix::net::{SocketAddrUnix, getpeername, sockopt};

    use super::{Sockets, TCP_USER_TIMEOUT_MS};

    /// All sockets of this process.
    pub(super) fn sockets() -> Sockets {
        let entries = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
        let socket = |entry: fs::DirEntry| {
            let metadata = fs::metadata(entry.path()).ok().filter(|metadata| metadata.file_type().is_socket())?;
            Some((metadata.ino(), entry.file_name().to_str()?.parse().ok()?))
        };
        entries.filter_map(socket).collect()
    }

    /// Those sockets of libpq that were opened since, each by another descriptor.
    pub(super) fn libpq_sockets_since(before: &Sockets) -> Vec<OwnedFd> {
        let opened = sockets().into_iter().filter(|(inode, _)| !before.contains_key(inode));
        opened.filter_map(|(_, descriptor)| duplicate(descriptor)).filter(is_libpqs).collect()
    }

    fn duplicate(descriptor: i32) -> Option<OwnedFd> {
        // SAFETY: another thread may close the descriptor meanwhile. Then this fails or duplicates what took its place,
        // and `is_libpqs` looks at the duplicate, which no other thread can close. The original is not touched.
        #[expect(unsafe_code, reason = "Diesel does not hand out the socket of a connection")]
        unsafe { BorrowedFd::borrow_raw(descriptor) }.try_clone_to_owned().ok()
    }

    fn is_libpqs(socket: &OwnedFd) -> bool {
        let local = || {
            let server = SocketAddrUnix::try_from(getpeername(socket).ok()??).ok()?;
            let name = server.path_bytes().or(server.abstract_name())?;
            Some(name.windows(9).any(|part| part == b".s.PGSQL."))
        };
        sockopt::tcp_user_timeout(socket) == Ok(TCP_USER_TIMEOUT_MS) || local().unwrap_or(false)
    }
}

#[cfg(target_os = "linux")]
use finding::{libpq_sockets_since, sockets};

#[cfg(not(target_os = "linux"))]
fn sockets() -> Sockets {
    Sockets::new()
}

#[cfg(not(target_os = "linux"))]
fn libpq_sockets_since(_: &Sockets) -> Vec<OwnedFd> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::net::TcpListener;

    use super::*;

    const LIMIT: Duration = Duration::from_millis(100);

    #[test]
    fn a_server_that_does_not_answer_is_left() {
        let server = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let port = server.local_addr().expect("an address").port();
        let accepting = thread::spawn(move || {
            let (mut client, _) = server.accept().expect("a client");
            let mut bytes = Vec::new();
            client.read_to_end(&mut bytes).map(|_| bytes.len())
        });
        let url = format!("postgres://127.0.0.1:{port}/db?tcp_user_timeout={TCP_USER_TIMEOUT_MS}");
        assert!(connect(&url, LIMIT).is_err());
        assert!(accepting.join().expect("no panic").expect("an end") > 0, "it was asked, and left");
    }
}
