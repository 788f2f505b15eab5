//! The central logging service: what arrives there, and how the rest is reported.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use adapters_logging::{CentralSettings, Destination, Disposition, LogCounts, LogGuard, start};
use serde_json::{Value, json};
use simulator::{Behaviour, LoggingService};
use slog::{Logger, debug, error, info, o, warn};

use common::{Lines, close, settings};

/// A log with its stream and its service.
struct TestLog {
    log: Logger,
    guard: LogGuard,
    lines: Lines,
    service: LoggingService,
}

impl TestLog {
    fn open() -> Self {
        Self::with(LoggingService::start().expect("a service"), |_| {})
    }

    fn with(service: LoggingService, change: impl FnOnce(&mut CentralSettings)) -> Self {
        let url = format!("{}/api/logs", service.url()).parse().expect("a URL");
        let mut central = CentralSettings::new(url);
        change(&mut central);
        let lines = Lines::default();
        let (log, guard) = start(settings(Some(central)), lines.clone()).expect("a log");
        Self { log, guard, lines, service }
    }

    fn log_numbers(&self, numbers: impl IntoIterator<Item = usize>) {
        numbers.into_iter().for_each(|number| info!(self.log, "m"; "number" => number));
    }

    /// The numbers that have arrived, sorted. One whose answer was lost may arrive twice.
    fn arrived(&self) -> Vec<u64> {
        let records = self.service.records();
        let mut numbers: Vec<_> = records.iter().filter_map(|record| record["metadata"]["number"].as_u64()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    }

    /// Waits until all numbers below this one have arrived, and no other.
    #[track_caller]
    fn wait_for_numbers(&self, end: u64) {
        let began = Instant::now();
        while self.arrived().len() < end as usize {
            assert!(began.elapsed() < Duration::from_secs(60), "only {:?}", self.arrived());
            thread::sleep(Duration::from_millis(10));
        }
        assert!(self.arrived().into_iter().eq(0..end));
    }

    /// Closes the log. Returns how many records the stream got, and the reports of losses.
    fn close(self) -> (usize, Vec<Value>) {
        close(self.guard);
        reports(&self.lines)
    }
}

fn reports(lines: &Lines) -> (usize, Vec<Value>) {
    let (reports, records): (Vec<_>, Vec<_>) =
        lines.records().into_iter().partition(|record| record["message"] == "log records were dropped");
    (records.len(), reports)
}

fn central(counts: &LogCounts) -> [u64; 3] {
    Disposition::ALL.map(|fate| counts.get(Destination::Central, fate))
}

fn sum(reports: &[Value], key: &str) -> u64 {
    reports.iter().filter_map(|report| report[key].as_u64()).sum()
}

#[test]
fn every_record_arrives_in_the_form_that_the_service_takes() {
    let test = TestLog::open();
    let counts = test.guard.counts();
    let log = test.log.new(o!("correlation_id" => "c", "outcome" => None::<u8>));
    debug!(log, "not at this level");
    info!(log, "settled"; "duration_ms" => 1.5, "message" => "a key", "payment_id" => "p\u{1b}");
    warn!(test.log, "large"; "text" => "x".repeat(200_000));
    error!(test.log, "\0{}", "é".repeat(200_000); "text" => "x");
    let service = &test.service;
    let records = service.wait_for_records(3, |_| true);
    let of = |level: &str| records.iter().find(|record| record["level"] == level).expect("a record").clone();
    let (settled, large, larger) = (of("info"), of("warn"), of("error"));
    let lines = test.lines.records();
    let expect = json!({
        "level": "info", "message": "settled", "service": "payments", "timestamp": lines[0]["timestamp"],
        "correlation_id": "c", "duration_ms": 1.5,
        "metadata": { "outcome": null, "message_": "a key", "payment_id": "p\u{1b}" },
    });
    assert_eq!(settled, expect);
    assert_eq!((&large["message"], &large["metadata"]), (&json!("large"), &json!({ "cut": true })));
    assert!(larger["message"].as_str().is_some_and(|message| message.starts_with("\0é")), "{larger}");
    assert_eq!(larger["metadata"], json!({ "cut": true }));
    assert_eq!(service.refusals(), vec![]);
    assert_eq!(test.close(), (3, vec![]));
    assert_eq!(central(&counts), [3, 0, 0]);
}

#[test]
fn eight_requests_are_in_progress_at_most_over_connections_that_are_kept() {
    let test = TestLog::with(LoggingService::start().expect("a service"), |_| {});
    test.service.behaviour(Behaviour::Slow(Duration::from_millis(5)));
    test.log_numbers(0..400);
    let _ = test.service.wait_for_records(400, |_| true);
    assert_eq!(test.service.busiest(), 8);
    assert!(test.service.connections() <= 16, "{}", test.service.connections());
    assert_eq!(test.close(), (400, vec![]));
}

#[test]
fn a_connection_that_the_service_has_closed_loses_nothing() {
    let service = LoggingService::closing_idle_after(Duration::from_millis(100)).expect("a service");
    let test = TestLog::with(service, |_| {});
    for round in 0..8 {
        test.log_numbers((0..8).map(|index| round * 8 + index));
        thread::sleep(Duration::from_millis(95));
    }
    let _ = test.service.wait_for_records(64, |_| true);
    test.service.behaviour(Behaviour::HangingUp);
    test.log_numbers(64..128);
    test.wait_for_numbers(128);
    assert_eq!(test.close(), (128, vec![]));
}

#[test]
fn a_record_that_crosses_the_end_of_its_connection_is_sent_again_at_once() {
    let test = TestLog::with(LoggingService::start().expect("a service"), |_| {});
    test.service.behaviour(Behaviour::Crossing);
    let began = Instant::now();
    for number in 0..200 {
        test.log_numbers([number]);
        let _ = test.service.wait_for_records(number + 1, |_| true);
    }
    // Every other request crosses; with a pause for each of them it would take longer.
    assert!(test.service.requests() > 250, "{}", test.service.requests());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    test.wait_for_numbers(200);
    assert_eq!(test.close(), (200, vec![]));
}

#[test]
fn what_the_service_cannot_take_now_is_offered_again() {
    for behaviour in [408, 429, 500, 503].map(Behaviour::Answering).into_iter().chain([Behaviour::Hanging]) {
        let test = TestLog::with(LoggingService::start().expect("a service"), |central| {
            central.attempt_max = Duration::from_millis(200);
        });
        test.service.behaviour(behaviour);
        test.log_numbers(0..20);
        test.service.wait_for_requests(16);
        test.service.behaviour(Behaviour::Proper);
        test.wait_for_numbers(20);
        assert_eq!(test.close(), (20, vec![]));
    }
}

#[test]
fn what_the_service_will_never_take_is_not_offered_again() {
    for status in [302, 400, 401, 404, 413] {
        let test = TestLog::open();
        let counts = test.guard.counts();
        test.service.behaviour(Behaviour::Answering(status));
        test.log_numbers(0..20);
        test.service.wait_for_requests(20);
        let service = test.service.url();
        assert_eq!(test.service.requests(), 20);
        let (written, reports) = test.close();
        assert_eq!((written, central(&counts)), (20, [0, 0, 20]));
        assert_eq!((sum(&reports, "count"), sum(&reports, "refused")), (20, 20), "{reports:#?}");
        let told = reports.iter().all(|report| report["destination"] == "central" && report["level"] == "warn");
        assert!(told, "{reports:#?}");
        let error = reports[0]["error"].as_str().expect("a reason");
        assert!(error.contains(&status.to_string()) && !error.contains(&service), "{error}");
    }
}

#[test]
fn what_is_queued_while_the_service_is_down_is_sent_when_it_is_back() {
    let test = TestLog::open();
    test.log_numbers(0..10);
    let _ = test.service.wait_for_records(10, |_| true);
    test.service.stop();
    test.log_numbers(10..2000);
    test.lines.wait_for(|record| record["number"] == 1999);
    thread::sleep(Duration::from_millis(500));
    test.service.restart();
    test.wait_for_numbers(2000);
    assert_eq!(test.close(), (2000, vec![]));
}

#[test]
fn a_record_is_dropped_when_its_time_is_over() {
    let test = TestLog::with(LoggingService::start().expect("a service"), |central| {
        central.offered_for = Duration::from_millis(600);
        central.report_every = Duration::from_millis(100);
    });
    let counts = test.guard.counts();
    test.service.stop();
    test.log_numbers(0..50);
    let report = test.lines.wait_for(|record| record["message"] == "log records were dropped");
    assert!(report["error"].as_str().is_some_and(|error| error.contains("refused")), "{report}");
    let began = Instant::now();
    while central(&counts)[1] < 50 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", central(&counts));
        thread::sleep(Duration::from_millis(10));
    }
    test.service.restart();
    test.log_numbers([50]);
    let _ = test.service.wait_for_records(1, |_| true);
    assert_eq!(test.arrived(), [50]);
    let (written, reports) = test.close();
    assert_eq!((written, sum(&reports, "count"), central(&counts)), (51, 50, [1, 50, 0]));
}

#[test]
fn the_queue_is_bounded_and_the_surplus_is_reported_from_time_to_time() {
    let test = TestLog::with(LoggingService::start().expect("a service"), |central| {
        central.queue_max = 100;
        central.report_every = Duration::from_millis(300);
    });
    let counts = test.guard.counts();
    test.service.behaviour(Behaviour::Hanging);
    let began = Instant::now();
    for portion in 0..4 {
        test.log_numbers(5_000 * portion..5_000 * (portion + 1));
        // A record that the queue to the stream has no room for would not be offered to the service.
        test.lines.wait_for(|record| record["number"] == 5_000 * (portion + 1) - 1);
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let dropped = central(&counts)[1];
    // Eight more are being sent.
    assert!((20_000 - 108..=20_000 - 100).contains(&dropped), "{dropped}");
    let took = began.elapsed();
    test.service.behaviour(Behaviour::Proper);
    let _ = test.service.wait_for_records(100, |_| true);
    let (written, reports) = test.close();
    assert_eq!((written, sum(&reports, "count")), (20_000, dropped));
    let most = took.as_millis() / 300 + 3;
    assert!(reports.len() as u128 <= most, "{} reports in {took:?}", reports.len());
}

#[test]
fn reports_go_to_the_stream_alone() {
    let test = TestLog::open();
    test.service.behaviour(Behaviour::Answering(400));
    test.log_numbers(0..1);
    test.lines.wait_for(|record| record["message"] == "log records were dropped");
    test.service.behaviour(Behaviour::Proper);
    test.log_numbers(1..2);
    let _ = test.service.wait_for_records(1, |_| true);
    assert_eq!(test.service.requests(), 2);
    let TestLog { guard, service, .. } = test;
    close(guard);
    assert_eq!((service.requests(), service.records().len()), (2, 1));
}

#[test]
fn closing_sends_what_is_queued() {
    let test = TestLog::open();
    let counts = test.guard.counts();
    test.service.behaviour(Behaviour::Slow(Duration::from_millis(2)));
    test.log_numbers(0..1000);
    assert_eq!(test.close(), (1000, vec![]));
    assert_eq!(central(&counts), [1000, 0, 0]);
}

#[test]
fn closing_finds_a_service_that_has_just_come_back() {
    let test = TestLog::open();
    let counts = test.guard.counts();
    test.service.stop();
    test.log_numbers(0..50);
    // Pauses have become long.
    thread::sleep(Duration::from_secs(3));
    test.service.restart();
    test.guard.close(Duration::from_secs(30), Duration::from_secs(2));
    assert_eq!(central(&counts), [50, 0, 0]);
}

#[test]
fn closing_does_not_wait_for_a_service_that_hangs_and_reports_what_is_lost() {
    let test = TestLog::open();
    let counts = test.guard.counts();
    test.service.behaviour(Behaviour::Hanging);
    test.log_numbers(0..300);
    test.service.wait_for_requests(8);
    let began = Instant::now();
    let TestLog { guard, lines, service: _service, .. } = test;
    guard.close(Duration::from_secs(30), Duration::from_millis(700));
    let took = began.elapsed();
    assert!((Duration::from_millis(700)..Duration::from_secs(10)).contains(&took), "{took:?}");
    let (written, reports) = reports(&lines);
    assert_eq!((written, sum(&reports, "count"), central(&counts)), (300, 300, [0, 300, 0]));
    assert_eq!(lines.records().last(), reports.last(), "it is the last record");
}
