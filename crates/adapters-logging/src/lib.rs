//! Where log records go: to a stream, as JSON or for people, and to the central logging service. What is
//! logged, and under which keys, is for those who log.
//!
//! A logging call puts its record into a bounded queue. One thread takes it from there, writes it to the
//! stream and offers it to a second queue, from which another thread sends it to the service. Each step may
//! lose records rather than hold up the one before it, and counts what it loses.

mod central;
mod counts;
mod delivery;
mod fields;
mod output;
mod queue;
mod wire;
mod writer;

use std::io::{self, Write};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use chrono::{DateTime, SecondsFormat, Utc};
use slog::{Drain as _, Level, Logger, Record, o};
use slog_async::{AsyncCore, AsyncGuard};

use central::Central;
pub use central::CentralSettings;
pub use counts::{Destination, Fate, LogCounts};
pub use output::Format;
use queue::{Entrance, QUEUE_MAX, Room};
use writer::Writer;

/// What is logged, and how.
#[derive(Debug, Clone)]
pub struct LogSettings {
    /// The least level that is logged.
    pub level: Level,
    /// The `service` of every record.
    pub service: String,
    /// What a record looks like in the stream.
    pub format: Format,
    /// The central logging service, if records go there as well.
    pub central: Option<CentralSettings>,
    /// The clock that stamps the records.
    pub now: fn() -> DateTime<Utc>,
}

/// Starts to log into this stream, and to the central logging service if there is one.
///
/// No record is lost as long as the stream's reader keeps up. When the queue is full, a logging call waits for
/// room, but at most 20 ms; from then on records are dropped at once, until half of the queue is free.
///
/// # Errors
/// The client of the central logging service or its thread cannot be made.
pub fn start(settings: LogSettings, stream: impl Write + Send + 'static) -> io::Result<(Logger, LogGuard)> {
    let LogSettings { level, service, format, central, now } = settings;
    let counts = Arc::new(LogCounts::default());
    let room = Arc::new(Room::default());
    let (starting, central_queue) = match central {
        Some(central) => {
            let (starting, queue) = central::prepare(central, service.clone(), Arc::clone(&counts))?;
            (Some(starting), Some(queue))
        }
        None => (None, None),
    };
    let writer = Writer {
        output: output::output(format, service, stream),
        central: central_queue,
        room: Arc::clone(&room),
        counts: Arc::clone(&counts),
        now,
    };
    let destinations: &[_] = if starting.is_some() { &Destination::ALL } else { &[Destination::Stdout] };
    let (queue, writing) = AsyncCore::custom(writer).chan_size(QUEUE_MAX).build_with_guard();
    let entrance = Entrance { queue, room: Arc::clone(&room), counts: Arc::clone(&counts), destinations, now };
    let log = Logger::root(entrance.filter_level(level).fuse(), o!());
    let central = starting.map(|starting| starting.start(log.clone())).transpose()?;
    Ok((log, LogGuard { writing, room, central, counts }))
}

/// Holds the log open.
pub struct LogGuard {
    writing: AsyncGuard,
    room: Arc<Room>,
    central: Option<Central>,
    counts: Arc<LogCounts>,
}

impl LogGuard {
    /// How many records went where, to be read at any time.
    #[must_use]
    pub fn counts(&self) -> Arc<LogCounts> {
        Arc::clone(&self.counts)
    }

    /// Writes what waits to be written, for at most `stream_max`, then delivers what waits for the central
    /// logging service, for at most `central_max`; says on the stream what could not be delivered. What is
    /// logged from now on is lost.
    pub fn close(self, stream_max: Duration, central_max: Duration) {
        let Self { writing, room, central, counts: _ } = self;
        let began = Instant::now();
        room.wait_until_empty(stream_max);
        let left = stream_max.saturating_sub(began.elapsed());
        if let Some(central) = central {
            central.finish(central_max);
        }
        // Whoever stands still at the other end of the stream may do so for ever.
        let (done, written) = mpsc::channel::<()>();
        thread::spawn(move || {
            drop(writing);
            drop(done);
        });
        let _ = written.recv_timeout(left);
    }
}

/// The message of a record that tells of lost ones.
const DROPPED: &str = "log records were dropped";

/// Whether the log speaks of itself: that is for the stream alone.
fn is_on_the_log_itself(record: &Record<'_>) -> bool {
    record.module().starts_with(module_path!())
}

fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::Error => "error",
        Level::Warning => "warn",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}
