//! Where log records go: to a stream, as JSON or in a form for people, and to the central logging service. What is
//! logged, and under which keys, is decided by the callers.
//!
//! A logging call puts its record into a bounded queue. One thread takes it from there, writes it to the
//! stream and offers it to a second queue, from which another thread sends it to the service. Each step drops
//! records rather than block the one before it, and counts what it drops.

mod central;
mod counts;
mod fields;
mod output;
mod queue;
mod sending;
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
pub use counts::{Destination, Disposition, LogCounts};
pub use output::Format;
use queue::{Backpressure, QUEUE_MAX, QueueDrain};
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
/// room, for at most 20 ms; from then on records are dropped at once, until half of the queue is free.
///
/// # Errors
/// The client of the central logging service or its thread cannot be made.
pub fn start(settings: LogSettings, stream: impl Write + Send + 'static) -> io::Result<(Logger, LogGuard)> {
    let LogSettings { level, service, format, central, now } = settings;
    let counts = Arc::new(LogCounts::default());
    let backpressure = Arc::new(Backpressure::default());
    let (prepared, central_queue) = match central {
        Some(central) => {
            let (prepared, queue) = central::prepare(central, service.clone(), Arc::clone(&counts))?;
            (Some(prepared), Some(queue))
        }
        None => (None, None),
    };
    let writer = Writer {
        output: output::output(format, service, stream),
        central: central_queue,
        backpressure: Arc::clone(&backpressure),
        counts: Arc::clone(&counts),
        now,
    };
    let destinations: &[_] = if prepared.is_some() { &Destination::ALL } else { &[Destination::Stdout] };
    let (queue, writing) = AsyncCore::custom(writer).chan_size(QUEUE_MAX).build_with_guard();
    let counts_too = Arc::clone(&counts);
    let drain = QueueDrain { queue, backpressure: Arc::clone(&backpressure), counts: counts_too, destinations, now };
    let log = Logger::root(drain.filter_level(level).fuse(), o!());
    let central = prepared.map(|prepared| prepared.start(log.clone())).transpose()?;
    Ok((log, LogGuard { writing, backpressure, central, counts }))
}

/// Keeps the log open.
pub struct LogGuard {
    writing: AsyncGuard,
    backpressure: Arc<Backpressure>,
    central: Option<Central>,
    counts: Arc<LogCounts>,
}

impl LogGuard {
    /// How many records went where; the counts go on while the log is open.
    #[must_use]
    pub fn counts(&self) -> Arc<LogCounts> {
        Arc::clone(&self.counts)
    }

    /// Writes what is queued for the stream, for at most `stream_max`, then sends what is queued for the central
    /// logging service, for at most `central_max`, and reports on the stream what could not be sent. Records that
    /// are logged from now on are lost.
    pub fn close(self, stream_max: Duration, central_max: Duration) {
        let Self { writing, backpressure, central, counts: _ } = self;
        let began = Instant::now();
        backpressure.wait_until_empty(stream_max);
        let left = stream_max.saturating_sub(began.elapsed());
        if let Some(central) = central {
            central.finish(central_max);
        }
        // The writing thread may be blocked by the stream's reader without end.
        let (done, written) = mpsc::channel::<()>();
        thread::spawn(move || {
            drop(writing);
            drop(done);
        });
        let _ = written.recv_timeout(left);
    }
}

/// The message of a record that reports lost ones.
const DROPPED: &str = "log records were dropped";

/// Whether the record is about the log itself: such records go to the stream alone.
fn is_about_the_log(record: &Record<'_>) -> bool {
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
