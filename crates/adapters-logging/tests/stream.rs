//! The stream: what arrives there, however it is read.

mod common;

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use adapters_logging::{CentralSettings, Destination, Disposition, LogGuard, LogSettings, start};
use serde_json::Value;
use slog::{Drain as _, Level, Logger, debug, info, o};

use common::{Lines, close, settings, time};

/// A full queue, and the record that is being written.
const QUEUED_MAX: usize = 8193;

/// A stream that blocks until it is opened.
#[derive(Clone, Default)]
struct Gate {
    lines: Lines,
    open: Arc<(Mutex<bool>, Condvar)>,
}

impl Gate {
    fn open(&self) {
        *self.open.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.open.1.notify_all();
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let open = self.open.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.open.1.wait_while(open, |open| !*open).unwrap_or_else(PoisonError::into_inner));
        self.lines.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_into(stream: impl Write + Send + 'static) -> (Logger, LogGuard) {
    start(settings(None), stream).expect("a log")
}

fn numbers(records: &[Value]) -> Vec<u64> {
    records.iter().filter_map(|record| record["number"].as_u64()).collect()
}

#[test]
fn every_record_is_a_line_of_json_with_its_keys() {
    let lines = Lines::default();
    let (log, guard) = log_into(lines.clone());
    let log = log.new(o!("correlation_id" => "c", "reason" => "of the logger"));
    info!(log, "hello\n{}", "you"; "reason" => "of the record", "count" => 3, "service" => "other");
    close(guard);
    let expect = r#""level":"info","service":"payments","message":"hello\nyou","correlation_id":"c","#;
    let keys = r#""reason":"of the record","count":3,"service_":"other"}"#;
    let line = &lines.text();
    assert!(line.ends_with(&format!("{expect}{keys}\n")), "{line}");
    assert!(line.starts_with(r#"{"timestamp":"20"#) && line.contains(r#"Z","level""#), "{line}");
    assert_eq!(lines.text().lines().count(), 1);
}

#[test]
fn the_level_is_known_before_a_record_is_made() {
    let lines = Lines::default();
    let (log, guard) = log_into(lines.clone());
    assert!(log.is_enabled(Level::Info) && !log.is_enabled(Level::Debug));
    debug!(log, "not this"; "value" => slog::FnValue(|_| -> u8 { panic!("it is not evaluated") }));
    info!(log, "but this");
    close(guard);
    assert_eq!(lines.text().lines().count(), 1);
}

#[test]
fn a_record_has_the_time_when_it_was_made() {
    let gate = Gate::default();
    let (log, guard) = log_into(gate.clone());
    info!(log, "before");
    info!(log, "before");
    let made = time();
    thread::sleep(Duration::from_millis(50));
    gate.open();
    close(guard);
    let records = gate.lines.records();
    assert_eq!(records.len(), 2);
    for record in records {
        let stamp: chrono::DateTime<chrono::Utc> =
            record["timestamp"].as_str().and_then(|stamp| stamp.parse().ok()).expect("a time");
        assert!(stamp <= made, "{record} was made before {made}");
    }
}

#[test]
fn a_burst_that_the_queue_holds_loses_nothing() {
    const THREADS: u64 = 8;
    const EACH: u64 = 1_000;
    let lines = Lines::default();
    let (log, guard) = log_into(lines.clone());
    let counts = guard.counts();
    thread::scope(|scope| {
        for thread in 0..THREADS {
            let log = &log;
            scope.spawn(move || (0..EACH).for_each(|index| info!(log, "m"; "number" => thread * EACH + index)));
        }
    });
    // However long this machine takes.
    guard.close(Duration::from_secs(60), Duration::ZERO);
    let mut arrived = numbers(&lines.records());
    arrived.sort_unstable();
    assert!(arrived.into_iter().eq(0..THREADS * EACH), "all arrive, once");
    assert_eq!(counts.get(Destination::Stdout, Disposition::Written), THREADS * EACH);
    assert_eq!(counts.get(Destination::Stdout, Disposition::Dropped), 0);
}

#[test]
fn while_the_stream_blocks_records_are_dropped_and_afterwards_reported() {
    const SURPLUS: usize = 5000;
    let gate = Gate::default();
    let (log, guard) = log_into(gate.clone());
    let counts = guard.counts();
    let began = Instant::now();
    (0..QUEUED_MAX + SURPLUS).for_each(|number| info!(log, "m"; "number" => number));
    assert!(began.elapsed() < Duration::from_secs(5), "one wait, not thousands: {:?}", began.elapsed());
    let dropped = counts.get(Destination::Stdout, Disposition::Dropped);
    // The writing thread may not have taken its first record when the queue was full.
    assert!((SURPLUS as u64..=SURPLUS as u64 + 1).contains(&dropped), "{dropped}");
    assert_eq!(counts.get(Destination::Central, Disposition::Dropped), 0);

    gate.open();
    gate.lines.wait_for(|record| record["message"] == "log records were dropped");
    info!(log, "m"; "number" => QUEUED_MAX + SURPLUS);
    close(guard);
    let records = gate.lines.records();
    let reports: Vec<_> = records.iter().filter(|record| record["message"] == "log records were dropped").collect();
    let [report] = reports[..] else { panic!("one report: {reports:?}") };
    assert_eq!((&report["level"], &report["destination"]), (&"warn".into(), &"stdout".into()));
    assert_eq!(report["count"].as_u64(), Some(dropped));
    let arrived = numbers(&records);
    assert_eq!(arrived.len() as u64 + dropped, (QUEUED_MAX + SURPLUS + 1) as u64);
    assert!(arrived.is_sorted());
    assert_eq!(arrived.last(), Some(&((QUEUED_MAX + SURPLUS) as u64)));
}

#[test]
fn what_does_not_get_into_the_queue_is_lost_for_the_central_service_too() {
    let gate = Gate::default();
    // Nothing listens there, and no record gets so far.
    let central = CentralSettings::new("http://127.0.0.1:9/api/logs".parse().expect("a URL"));
    let (log, guard) = start(settings(Some(central)), gate.clone()).expect("a log");
    let counts = guard.counts();
    (0..QUEUED_MAX + 100).for_each(|number| info!(log, "m"; "number" => number));
    let dropped = Destination::ALL.map(|destination| counts.get(destination, Disposition::Dropped));
    assert!(dropped[0] >= 100 && dropped[0] == dropped[1], "{dropped:?}");
    gate.open();
    guard.close(Duration::from_secs(30), Duration::ZERO);
}

#[test]
fn a_slow_stream_does_not_delay_every_record() {
    let gate = Gate::default();
    let (log, guard) = log_into(Slow(gate.clone()));
    gate.open();
    let began = Instant::now();
    // Several threads, which compete for free places.
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..QUEUED_MAX).for_each(|number| info!(log, "m"; "number" => number)));
        }
    });
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    drop(log);
    guard.close(Duration::ZERO, Duration::ZERO);
}

/// A stream that takes a line every 60 ms.
struct Slow(Gate);

impl Write for Slow {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        thread::sleep(Duration::from_millis(60));
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn closing_does_not_wait_for_a_stream_that_blocks() {
    let gate = Gate::default();
    let (log, guard) = log_into(gate);
    (0..10).for_each(|number| info!(log, "m"; "number" => number));
    let began = Instant::now();
    guard.close(Duration::from_millis(200), Duration::ZERO);
    let took = began.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(5)).contains(&took), "{took:?}");
    // Nor does a logging call afterwards.
    let began = Instant::now();
    (0..QUEUED_MAX).for_each(|number| info!(log, "m"; "number" => number));
    assert!(began.elapsed() < Duration::from_secs(5));
}

#[test]
fn records_for_a_broken_stream_are_counted_as_dropped() {
    struct Broken;
    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for format in [adapters_logging::Format::Json, adapters_logging::Format::Pretty { coloured: true }] {
        let (log, guard) = start(LogSettings { format, ..settings(None) }, Broken).expect("a log");
        let counts = guard.counts();
        (0..100).for_each(|number| info!(log, "m"; "number" => number));
        close(guard);
        assert_eq!(counts.get(Destination::Stdout, Disposition::Dropped), 100);
    }
}
