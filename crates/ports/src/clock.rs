use chrono::{DateTime, Utc};

/// Tells the time. Everything that needs the time is given one, so that tests can give another.
pub trait Clock: Send + Sync {
    /// The time now, to the microsecond (which is what a ledger can store).
    fn now(&self) -> DateTime<Utc>;
}
