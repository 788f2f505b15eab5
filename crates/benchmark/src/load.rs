//! The load generator: one thread that sends requests put together beforehand over many connections, and checks
//! and times every answer.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use hdrhistogram::Histogram;
use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fd::OwnedFd;
use rustix::time::{ClockId, clock_gettime};

/// How long an answer may take before it counts as missing.
const PATIENCE: Duration = Duration::from_secs(30);

/// A request, and what its answer must be like.
pub(crate) struct Request {
    /// What goes over the wire.
    pub(crate) bytes: Vec<u8>,
    /// How the body of the answer begins.
    pub(crate) begins: String,
    /// How it ends.
    pub(crate) ends: String,
}

/// When the next request is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// When a connection has its answer.
    Closed,
    /// At times that do not depend on the answers, so many a second: at random, as independent senders do, and as
    /// pgbench does.
    Open(f64),
}

/// What came of a load.
pub(crate) struct Sent {
    /// In microseconds. At an open pace they count from when the request was to be sent, so that a server that
    /// holds up the generator does not hide how long the next ones had to wait.
    pub(crate) latencies: Histogram<u64>,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// What the generator itself needed of one processor.
    pub(crate) cpu: Duration,
}

impl Sent {
    /// Answers a second.
    pub(crate) fn per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.took.as_secs_f64()
    }
}

/// Sends these requests to these servers over so many connections, evenly.
///
/// # Errors
/// A connection breaks, or an answer is not as it must be.
pub(crate) fn send(
    addresses: &[SocketAddr],
    connections: usize,
    requests: &[Request],
    pace: Pace,
) -> anyhow::Result<Sent> {
    let connections = addresses.iter().cycle().take(connections).map(|address| Connection::open(*address));
    let connections = connections.collect::<anyhow::Result<Vec<_>>>()?;
    let cpu_before = thread_cpu();
    let mut generator = Generator::start(connections, requests, pace)?;
    while generator.answered() < requests.len() {
        generator.send_what_is_due()?;
        generator.receive()?;
    }
    Ok(Sent { took: generator.started.elapsed(), latencies: generator.latencies, cpu: thread_cpu() - cpu_before })
}

struct Generator<'a> {
    epoll: OwnedFd,
    connections: Vec<Connection<'a>>,
    /// Connections that wait for nothing; the one used last is used next, so that few are used if few suffice.
    idle: Vec<usize>,
    /// What is still to be sent, and when, counted from the start.
    waiting: VecDeque<(&'a Request, Duration)>,
    pace: Pace,
    started: Instant,
    latencies: Histogram<u64>,
}

impl<'a> Generator<'a> {
    fn start(connections: Vec<Connection<'a>>, requests: &'a [Request], pace: Pace) -> anyhow::Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for (index, connection) in connections.iter().enumerate() {
            let index = epoll::EventData::new_u64(index as u64);
            epoll::add(&epoll, &connection.stream, index, epoll::EventFlags::IN)?;
        }
        Ok(Self {
            epoll,
            idle: (0..connections.len()).rev().collect(),
            connections,
            waiting: requests.iter().zip(schedule(pace)).collect(),
            pace,
            started: Instant::now(),
            latencies: Histogram::new_with_bounds(1, 60_000_000, 3)?,
        })
    }

    fn answered(&self) -> usize {
        usize::try_from(self.latencies.len()).unwrap_or(usize::MAX)
    }

    /// Sends as many requests as are due and have a connection.
    fn send_what_is_due(&mut self) -> anyhow::Result<()> {
        while let (Some((request, due)), Some(index)) = (self.waiting.front(), self.idle.last()) {
            if self.started.elapsed() < *due {
                break;
            }
            let since = match self.pace {
                Pace::Closed => Instant::now(),
                Pace::Open(_) => self.started + *due,
            };
            self.connections[*index].send(request, since)?;
            self.idle.pop();
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// Waits until answers are there or the next request is due, and takes the answers.
    fn receive(&mut self) -> anyhow::Result<()> {
        let next_due = self.waiting.front().filter(|_| !self.idle.is_empty()).map(|(_, due)| *due);
        let patience = next_due.map_or(PATIENCE, |due| due.saturating_sub(self.started.elapsed()));
        let mut events = Vec::with_capacity(self.connections.len());
        epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&Timespec::try_from(patience)?))?;
        ensure!(!events.is_empty() || next_due.is_some(), "no answer in {PATIENCE:?}");
        for epoll::Event { data, .. } in events {
            let index = usize::try_from(data.u64())?;
            if let Some(took) = self.connections[index].receive()? {
                self.latencies.saturating_record(u64::try_from(took.as_micros())?.max(1));
                self.idle.push(index);
            }
        }
        Ok(())
    }
}

/// When each request is due. At an open pace the gaps are distributed exponentially.
fn schedule(pace: Pace) -> impl Iterator<Item = Duration> {
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    let mut due = Duration::ZERO;
    std::iter::from_fn(move || {
        if let Pace::Open(per_second) = pace {
            // Xorshift: the same times in every round.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            let uniform = (random >> 11) as f64 / (1_u64 << 53) as f64;
            due += Duration::from_secs_f64(-(1.0 - uniform).ln() / per_second);
        }
        Some(due)
    })
}

/// A connection that stays open.
struct Connection<'a> {
    stream: TcpStream,
    waits_for: Option<(&'a Request, Instant)>,
    received: Vec<u8>,
}

impl<'a> Connection<'a> {
    fn open(address: SocketAddr) -> anyhow::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        Ok(Self { stream, waits_for: None, received: Vec::with_capacity(4096) })
    }

    fn send(&mut self, request: &'a Request, since: Instant) -> anyhow::Result<()> {
        self.waits_for = Some((request, since));
        // A request is far smaller than the buffer of a socket that has nothing else to send.
        Ok(self.stream.write_all(&request.bytes)?)
    }

    /// Reads what is there; how long the answer took, if this was the end of it.
    fn receive(&mut self) -> anyhow::Result<Option<Duration>> {
        let mut bytes = [0; 4096];
        let count = match self.stream.read(&mut bytes) {
            Ok(0) => bail!("the server closed a connection"),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(None),
            result => result?,
        };
        self.received.extend_from_slice(&bytes[..count]);
        let Some(answer) = Answer::read(&self.received)? else { return Ok(None) };
        let (request, since) = self.waits_for.take().context("an answer to nothing")?;
        answer.check(request)?;
        self.received.clear();
        Ok(Some(since.elapsed()))
    }
}

/// A whole answer.
struct Answer<'a> {
    head: &'a str,
    body: &'a str,
}

impl<'a> Answer<'a> {
    /// `None` if this is not all of it yet.
    fn read(bytes: &'a [u8]) -> anyhow::Result<Option<Self>> {
        let text = std::str::from_utf8(bytes)?;
        let Some((head, body)) = text.split_once("\r\n\r\n") else { return Ok(None) };
        let mut headers = head.split("\r\n").filter_map(|line| line.split_once(": "));
        let length = headers.find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let (_, length) = length.with_context(|| format!("an answer without a length: {head}"))?;
        Ok((body.len() >= length.parse::<usize>()?).then_some(Self { head, body }))
    }

    fn check(&self, request: &Request) -> anyhow::Result<()> {
        let Self { head, body } = self;
        let right =
            head.starts_with("HTTP/1.1 200 ") && body.starts_with(&request.begins) && body.ends_with(&request.ends);
        ensure!(right, "not {} … {}, but {head}\n{body}", request.begins, request.ends);
        Ok(())
    }
}

/// What this thread has needed of a processor so far.
fn thread_cpu() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}
