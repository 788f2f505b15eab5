//! The central logging service: what arrives there, and what is said of what does not.

mod common;

use std::thread;
use std::time::{Duration, Instant};

use adapters_logging::{CentralSettings, Destination, Fate, LogCounts, LogGuard, start};
use serde_json::{Value, json};
use simulator::{Conduct, LoggingService};
use slog::{Logger, debug, error, info, o, warn};

use common::{Lines, close, settings};

/// A log with its stream and its service.
struct Stage {
    log: Logger,
    guard: LogGuard,
    lines: Lines,
    service: LoggingService,
}

impl Stage {
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

    /// Closes the log and says how many records the stream got and what it got to hear of losses.
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
    Fate::ALL.map(|fate| counts.get(Destination::Central, fate))
}

fn sum(reports: &[Value], key: &str) -> u64 {
    reports.iter().filter_map(|report| report[key].as_u64()).sum()
}

#[test]
fn every_record_arrives_in_the_form_that_the_service_takes() {
    let stage = Stage::open();
    let counts = stage.guard.counts();
    let log = stage.log.new(o!("correlation_id" => "c", "outcome" => None::<u8>));
    debug!(log, "not at this level");
    info!(log, "settled"; "duration_ms" => 1.5, "message" => "a key", "payment_id" => "p\u{1b}");
    warn!(stage.log, "large"; "text" => "x".repeat(200_000));
    error!(stage.log, "\0{}", "é".repeat(200_000); "text" => "x");
    let service = &stage.service;
    let records = service.wait_for_records(3, |_| true);
    let of = |level: &str| records.iter().find(|record| record["level"] == level).expect("a record").clone();
    let (settled, large, larger) = (of("info"), of("warn"), of("error"));
    let lines = stage.lines.records();
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
    assert_eq!(stage.close(), (3, vec![]));
    assert_eq!(central(&counts), [3, 0, 0]);
}

#[test]
fn as_many_go_at_a_time_as_the_service_likes_best_over_connections_that_are_kept() {
    let stage = Stage::with(LoggingService::start().expect("a service"), |_| {});
    stage.service.conduct(Conduct::Slow(Duration::from_millis(5)));
    stage.log_numbers(0..400);
    let _ = stage.service.wait_for_records(400, |_| true);
    assert_eq!(stage.service.busiest(), 8);
    assert!(stage.service.connections() <= 16, "{}", stage.service.connections());
    assert_eq!(stage.close(), (400, vec![]));
}

#[test]
fn a_connection_that_the_service_has_closed_loses_nothing() {
    let service = LoggingService::closing_idle_after(Duration::from_millis(100)).expect("a service");
    let stage = Stage::with(service, |_| {});
    for round in 0..8 {
        stage.log_numbers((0..8).map(|index| round * 8 + index));
        thread::sleep(Duration::from_millis(95));
    }
    let _ = stage.service.wait_for_records(64, |_| true);
    stage.service.conduct(Conduct::HangingUp);
    stage.log_numbers(64..128);
    stage.wait_for_numbers(128);
    assert_eq!(stage.close(), (128, vec![]));
}

#[test]
fn a_record_that_crosses_the_end_of_its_connection_is_sent_again_at_once() {
    let stage = Stage::with(LoggingService::start().expect("a service"), |_| {});
    stage.service.conduct(Conduct::Crossing);
    let began = Instant::now();
    for number in 0..200 {
        stage.log_numbers([number]);
        let _ = stage.service.wait_for_records(number + 1, |_| true);
    }
    // Every other request crosses; with a pause for each of them it would take longer.
    assert!(stage.service.requests() > 250, "{}", stage.service.requests());
    assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
    stage.wait_for_numbers(200);
    assert_eq!(stage.close(), (200, vec![]));
}

#[test]
fn what_the_service_cannot_take_now_is_offered_again() {
    for conduct in [408, 429, 500, 503].map(Conduct::Answering).into_iter().chain([Conduct::Hanging]) {
        let stage = Stage::with(LoggingService::start().expect("a service"), |central| {
            central.attempt_max = Duration::from_millis(200);
        });
        stage.service.conduct(conduct);
        stage.log_numbers(0..20);
        stage.service.wait_for_requests(16);
        stage.service.conduct(Conduct::Proper);
        stage.wait_for_numbers(20);
        assert_eq!(stage.close(), (20, vec![]));
    }
}

#[test]
fn what_the_service_will_never_take_is_not_offered_again() {
    for status in [302, 400, 401, 404, 413] {
        let stage = Stage::open();
        let counts = stage.guard.counts();
        stage.service.conduct(Conduct::Answering(status));
        stage.log_numbers(0..20);
        stage.service.wait_for_requests(20);
        let service = stage.service.url();
        assert_eq!(stage.service.requests(), 20);
        let (written, reports) = stage.close();
        assert_eq!((written, central(&counts)), (20, [0, 0, 20]));
        assert_eq!((sum(&reports, "count"), sum(&reports, "refused")), (20, 20), "{reports:#?}");
        let told = reports.iter().all(|report| report["destination"] == "central" && report["level"] == "warn");
        assert!(told, "{reports:#?}");
        let error = reports[0]["error"].as_str().expect("a reason");
        assert!(error.contains(&status.to_string()) && !error.contains(&service), "{error}");
    }
}

#[test]
fn what_waits_while_the_service_is_away_is_delivered_when_it_is_back() {
    let stage = Stage::open();
    stage.log_numbers(0..10);
    let _ = stage.service.wait_for_records(10, |_| true);
    stage.service.stop();
    stage.log_numbers(10..2000);
    stage.lines.wait_for(|record| record["number"] == 1999);
    thread::sleep(Duration::from_millis(500));
    stage.service.restart();
    stage.wait_for_numbers(2000);
    assert_eq!(stage.close(), (2000, vec![]));
}

#[test]
fn a_record_is_not_offered_for_ever() {
    let stage = Stage::with(LoggingService::start().expect("a service"), |central| {
        central.offered_for = Duration::from_millis(600);
        central.report_every = Duration::from_millis(100);
    });
    let counts = stage.guard.counts();
    stage.service.stop();
    stage.log_numbers(0..50);
    let report = stage.lines.wait_for(|record| record["message"] == "log records were dropped");
    assert!(report["error"].as_str().is_some_and(|error| error.contains("refused")), "{report}");
    let began = Instant::now();
    while central(&counts)[1] < 50 {
        assert!(began.elapsed() < Duration::from_secs(60), "{:?}", central(&counts));
        thread::sleep(Duration::from_millis(10));
    }
    stage.service.restart();
    stage.log_numbers([50]);
    let _ = stage.service.wait_for_records(1, |_| true);
    assert_eq!(stage.arrived(), [50]);
    let (written, reports) = stage.close();
    assert_eq!((written, sum(&reports, "count"), central(&counts)), (51, 50, [1, 50, 0]));
}

#[test]
fn the_queue_has_an_end_and_the_surplus_is_told_of_now_and_then() {
    let stage = Stage::with(LoggingService::start().expect("a service"), |central| {
        central.queue_max = 100;
        central.report_every = Duration::from_millis(300);
    });
    let counts = stage.guard.counts();
    stage.service.conduct(Conduct::Hanging);
    let began = Instant::now();
    for portion in 0..4 {
        stage.log_numbers(5_000 * portion..5_000 * (portion + 1));
        // What the stream has no room for would not be offered to the service.
        stage.lines.wait_for(|record| record["number"] == 5_000 * (portion + 1) - 1);
    }
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    let dropped = central(&counts)[1];
    // Beside those in the queue eight are under way.
    assert!((20_000 - 108..=20_000 - 100).contains(&dropped), "{dropped}");
    let took = began.elapsed();
    stage.service.conduct(Conduct::Proper);
    let _ = stage.service.wait_for_records(100, |_| true);
    let (written, reports) = stage.close();
    assert_eq!((written, sum(&reports, "count")), (20_000, dropped));
    let most = took.as_millis() / 300 + 3;
    assert!(reports.len() as u128 <= most, "{} reports in {took:?}", reports.len());
}

#[test]
fn reports_stay_away_from_the_service() {
    let stage = Stage::open();
    stage.service.conduct(Conduct::Answering(400));
    stage.log_numbers(0..1);
    stage.lines.wait_for(|record| record["message"] == "log records were dropped");
    stage.service.conduct(Conduct::Proper);
    stage.log_numbers(1..2);
    let _ = stage.service.wait_for_records(1, |_| true);
    assert_eq!(stage.service.requests(), 2);
    let Stage { guard, service, .. } = stage;
    close(guard);
    assert_eq!((service.requests(), service.records().len()), (2, 1));
}

#[test]
fn closing_delivers_what_waits() {
    let stage = Stage::open();
    let counts = stage.guard.counts();
    stage.service.conduct(Conduct::Slow(Duration::from_millis(2)));
    stage.log_numbers(0..1000);
    assert_eq!(stage.close(), (1000, vec![]));
    assert_eq!(central(&counts), [1000, 0, 0]);
}

#[test]
fn closing_finds_a_service_that_has_just_come_back() {
    let stage = Stage::open();
    let counts = stage.guard.counts();
    stage.service.stop();
    stage.log_numbers(0..50);
    // By now pauses are long.
    thread::sleep(Duration::from_secs(3));
    stage.service.restart();
    stage.guard.close(Duration::from_secs(30), Duration::from_secs(2));
    assert_eq!(central(&counts), [50, 0, 0]);
}

#[test]
fn closing_does_not_wait_for_a_service_that_hangs_and_tells_what_is_lost() {
    let stage = Stage::open();
    let counts = stage.guard.counts();
    stage.service.conduct(Conduct::Hanging);
    stage.log_numbers(0..300);
    stage.service.wait_for_requests(8);
    let began = Instant::now();
    let Stage { guard, lines, service: _service, .. } = stage;
    guard.close(Duration::from_secs(30), Duration::from_millis(700));
    let took = began.elapsed();
    assert!((Duration::from_millis(700)..Duration::from_secs(10)).contains(&took), "{took:?}");
    let (written, reports) = reports(&lines);
    assert_eq!((written, sum(&reports, "count"), central(&counts)), (300, 300, [0, 300, 0]));
    assert_eq!(lines.records().last(), reports.last(), "it is the last word");
}
