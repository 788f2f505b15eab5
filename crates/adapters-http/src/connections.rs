//! The open connections: how many there are, since when each is idle, and which of them must end.
//!
//! The HTTP library reads from a [`Connection`] as from any stream. One that has been idle for too long ends as if
//! the client had closed it, so it is closed without an answer: a sender would take a 4xx for final.

use std::collections::HashMap;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use actix_web::rt::net::TcpStream;
use actix_web::rt::time::{Sleep, sleep};
use futures_util::task::AtomicWaker;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::Notify;

/// How long a connection may be idle while the service stops: long enough for a request that is under way.
const IDLE_WHILE_STOPPING_MAX: Duration = Duration::from_millis(500);

/// How often to look for an idle connection while all that may be open are busy.
const ROOM_RETRY: Duration = Duration::from_millis(10);

/// All connections of the process.
pub(crate) struct OpenConnections {
    limit: usize,
    idle_max: Duration,
    started: Instant,
    stopping_since: OnceLock<Instant>,
    requests_in_flight: AtomicUsize,
    states: Mutex<HashMap<u64, Arc<ConnectionState>>>,
    next_id: AtomicU64,
    left: Notify,
}

impl OpenConnections {
    /// None yet, and at most `limit` later; each may be idle for `idle_max`.
    pub(crate) fn new(limit: usize, idle_max: Duration) -> Arc<Self> {
        Arc::new(Self {
            limit,
            idle_max,
            started: Instant::now(),
            stopping_since: OnceLock::new(),
            requests_in_flight: AtomicUsize::new(0),
            states: Mutex::default(),
            next_id: AtomicU64::new(0),
            left: Notify::new(),
        })
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }

    /// How many are open.
    pub(crate) fn count(&self) -> usize {
        self.states().len()
    }

    /// How many requests are being worked on, including those whose caller has gone.
    pub(crate) fn requests_in_flight(&self) -> usize {
        self.requests_in_flight.load(Ordering::SeqCst)
    }

    /// From now on a connection ends with its next answer, or after a short silence.
    pub(crate) fn stop(&self) {
        let _ = self.stopping_since.set(Instant::now());
        for state in self.states().values() {
            state.task.wake();
        }
    }

    /// Counts one more connection until what is returned is dropped.
    pub(crate) fn admit(self: &Arc<Self>) -> Admission {
        let state = Arc::new(ConnectionState {
            connections: Arc::clone(self),
            idle_since_us: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            told_to_end: AtomicBool::new(false),
            task: AtomicWaker::new(),
        });
        state.touch();
        let id = self.next_id.fetch_add(1, Ordering::Relaxed);
        self.states().insert(id, Arc::clone(&state));
        Admission { id, state }
    }

    /// Waits until no more connections are open than may be. Meanwhile those that have been idle for longest are
    /// told to end, one at a time; `closed` learns of each.
    pub(crate) async fn room(&self, closed: impl Fn()) {
        while self.count() > self.limit {
            if self.end_longest_idle() {
                closed();
            }
            let _ = tokio::time::timeout(ROOM_RETRY, self.left.notified()).await;
        }
    }

    /// Tells the connection that has been idle for longest to end, unless another one is about to.
    pub(crate) fn end_longest_idle(&self) -> bool {
        let states = self.states();
        let idle = states.values().filter(|state| state.in_flight.load(Ordering::SeqCst) == 0);
        let longest_idle = idle.min_by_key(|state| {
            // One that is about to end sorts first.
            (!state.told_to_end.load(Ordering::SeqCst), state.idle_since_us.load(Ordering::SeqCst))
        });
        longest_idle.is_some_and(|state| {
            let told = !state.told_to_end.swap(true, Ordering::SeqCst);
            state.task.wake();
            told
        })
    }

    fn states(&self) -> MutexGuard<'_, HashMap<u64, Arc<ConnectionState>>> {
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of one connection.
pub(crate) struct ConnectionState {
    connections: Arc<OpenConnections>,
    /// When it was opened, its last answer was written, or the first byte of a request came after that, whatever
    /// was last; in microseconds since the start.
    idle_since_us: AtomicU64,
    in_flight: AtomicUsize,
    told_to_end: AtomicBool,
    task: AtomicWaker,
}

impl ConnectionState {
    /// Counts a request on this connection until what is returned is dropped.
    pub(crate) fn begin_request(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::SeqCst);
        self.connections.requests_in_flight.fetch_add(1, Ordering::SeqCst);
        InFlight(Arc::clone(self))
    }

    /// Whether the next answer is the last one.
    pub(crate) fn ends(&self) -> bool {
        self.told_to_end.load(Ordering::SeqCst) || self.connections.stopping_since.get().is_some()
    }

    fn touch(&self) {
        let age = self.connections.started.elapsed().as_micros();
        self.idle_since_us.store(u64::try_from(age).unwrap_or(u64::MAX), Ordering::SeqCst);
    }

    /// When it will have been idle for too long, as far as can be said now.
    fn idle_until(&self) -> Instant {
        let OpenConnections { idle_max, started, stopping_since, .. } = &*self.connections;
        let idle_since = *started + Duration::from_micros(self.idle_since_us.load(Ordering::SeqCst));
        let (since, idle_max) = match stopping_since.get() {
            None => (idle_since, *idle_max),
            Some(stopping_since) => (idle_since.max(*stopping_since), IDLE_WHILE_STOPPING_MAX),
        };
        if self.in_flight.load(Ordering::SeqCst) > 0 {
            Instant::now() + idle_max
        } else if self.told_to_end.load(Ordering::SeqCst) {
            since
        } else {
            since + idle_max
        }
    }
}

/// A request that is being worked on, answered or not.
pub(crate) struct InFlight(Arc<ConnectionState>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let Self(state) = self;
        state.touch();
        state.in_flight.fetch_sub(1, Ordering::SeqCst);
        state.connections.requests_in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

/// A connection that is counted.
pub(crate) struct Admission {
    id: u64,
    state: Arc<ConnectionState>,
}

impl Drop for Admission {
    fn drop(&mut self) {
        let connections = &self.state.connections;
        connections.states().remove(&self.id);
        connections.left.notify_one();
    }
}

/// A client's connection.
pub(crate) struct Connection {
    stream: TcpStream,
    admission: Admission,
    timer: Pin<Box<Sleep>>,
    /// Something has come since the last answer.
    receiving: bool,
}

impl Connection {
    pub(crate) fn new(stream: TcpStream, admission: Admission) -> Self {
        Self { stream, admission, timer: Box::pin(sleep(Duration::ZERO)), receiving: false }
    }

    pub(crate) fn state(&self) -> &Arc<ConnectionState> {
        &self.admission.state
    }

    /// Ready when it has been idle for too long.
    fn poll_idle(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let state = &self.admission.state;
        state.task.register(context.waker());
        loop {
            let until = state.idle_until();
            if until <= Instant::now() {
                return Poll::Ready(());
            }
            self.timer.as_mut().reset(until.into());
            ready!(self.timer.as_mut().poll(context));
        }
    }
}

impl AsyncRead for Connection {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buffer.filled().len();
        // What has come already is taken first, so that no request is left unread.
        if let Poll::Ready(read) = Pin::new(&mut this.stream).poll_read(context, buffer) {
            if !this.receiving && buffer.filled().len() > before {
                this.receiving = true;
                this.state().touch();
            }
            return Poll::Ready(read);
        }
        // Nothing read is the end of the stream.
        this.poll_idle(context).map(Ok)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if let Poll::Ready(written) = Pin::new(&mut this.stream).poll_write(context, bytes) {
            this.receiving = false;
            this.state().touch();
            return Poll::Ready(written);
        }
        // A client that does not read its answer is idle, too.
        this.poll_idle(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}
