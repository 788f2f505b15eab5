//! Shared by the tests of the log.
#![allow(dead_code, reason = "each test needs a part of it")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use adapters_logging::{CentralSettings, Format, LogGuard, LogSettings};
use chrono::{DateTime, Utc};
use serde_json::Value;
use slog::Level;

/// A stream that keeps what is written to it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    pub(crate) fn records(&self) -> Vec<Value> {
        let text = self.text();
        // The last line may not be finished.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// Waits for a record that matches.
    #[track_caller]
    pub(crate) fn wait_for(&self, wanted: impl Fn(&Value) -> bool) -> Value {
        let began = Instant::now();
        loop {
            if let Some(record) = self.records().into_iter().find(&wanted) {
                return record;
            }
            assert!(began.elapsed() < Duration::from_secs(60), "it does not come: {}", self.text());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

pub(crate) fn time() -> DateTime<Utc> {
    #[expect(clippy::disallowed_methods, reason = "the tests have no other clock")]
    Utc::now()
}

pub(crate) fn settings(central: Option<CentralSettings>) -> LogSettings {
    LogSettings { level: Level::Info, service: "payments".to_owned(), format: Format::Json, central, now: time }
}

/// Closes the log, with enough time for a busy machine.
pub(crate) fn close(guard: LogGuard) {
    guard.close(Duration::from_secs(30), Duration::from_secs(30));
}
