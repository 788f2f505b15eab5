//! Where log records go: JSON, one record a line. What is logged, and under which keys, is for those who log.

use std::io::Write;

use chrono::{DateTime, SecondsFormat, Utc};
use slog::{Drain as _, FnValue, Level, Logger, PushFnValue, Record, o};
use slog_async::{Async, AsyncGuard, OverflowStrategy};

/// Records that may wait to be written. Beyond it they are dropped and counted in a record of their own: a
/// reader that stalls must not stall the service.
const QUEUE_MAX: usize = 8192;

/// A logger that writes JSON. Records are written by a thread of their own; none is lost as long as `writer`
/// keeps up. When the guard is dropped, all that was logged has been written.
pub fn json_logger(
    writer: impl Write + Send + 'static,
    level: Level,
    service: String,
    now: fn() -> DateTime<Utc>,
) -> (Logger, AsyncGuard) {
    let fields = o!(
        "message" => PushFnValue(|record: &Record<'_>, serializer| serializer.emit(record.msg())),
        "service" => service,
        "level" => FnValue(|record: &Record<'_>| word(record.level())),
        "timestamp" => FnValue(move |_: &Record<'_>| now().to_rfc3339_opts(SecondsFormat::Micros, true)),
    );
    // A record that cannot be written is lost; what it tells of must go on.
    let json = slog_json::Json::new(writer).add_key_value(fields).set_flush(true).build();
    let json = json.filter_level(level).ignore_res();
    let (drain, guard) =
        Async::new(json).chan_size(QUEUE_MAX).overflow_strategy(OverflowStrategy::DropAndReport).build_with_guard();
    (Logger::root(drain.ignore_res(), o!()), guard)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Critical | Level::Error => "error",
        Level::Warning => "warn",
        Level::Info => "info",
        Level::Debug | Level::Trace => "debug",
    }
}
