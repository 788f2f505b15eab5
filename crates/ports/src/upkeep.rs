use chrono::{DateTime, Utc};

use crate::LedgerError;

/// How far [`Upkeep::stats`] counts: it must cost the same, however much there is to count.
pub const COUNT_MAX: i64 = 10_000;

/// Among how many of the newest unapplied payments [`Upkeep::stats`] looks for those that still are: each costs
/// a look.
pub const UNAPPLIED_MAX: i64 = 1_000;

/// Among how many of the oldest orders with events to send [`Upkeep::stats`] looks for the oldest event.
pub const PENDING_ORDERS_MAX: i64 = 1_000;

/// How a store is, for those who run it.
pub trait Upkeep: Send + Sync {
    /// Whether the schema is this program's. Only reads; blocks. A store without a schema has nothing to compare.
    ///
    /// # Errors
    /// [`LedgerError::Outdated`] or [`LedgerError::Newer`] if not; see [`LedgerError`] for the others.
    fn check_schema(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    /// Whether a callback could be settled now: the schema is this program's, the tables can be written to, and a
    /// commit gets to disk, and to a standby if it has to. Costs what a commit costs. Blocks.
    ///
    /// # Errors
    /// Why not.
    fn check(&self) -> Result<(), LedgerError>;

    /// Counts and ages for monitoring. Costs the same, however large the store is. Blocks.
    ///
    /// # Errors
    /// See [`LedgerError`].
    fn stats(&self) -> Result<LedgerStats, LedgerError>;

    /// How many connections are open now. Does not block.
    fn connections(&self) -> Connections;
}

/// What a store holds, as of one moment. Counts end at [`COUNT_MAX`], that of unapplied payments at
/// [`UNAPPLIED_MAX`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LedgerStats {
    /// Payments that are pending or processing.
    pub open_payments: i64,
    /// When the oldest of these was registered.
    pub oldest_open_payment_at: Option<DateTime<Utc>>,
    /// Notifications that wait for their payment to be registered.
    pub parked_notifications: i64,
    /// When the oldest of these came.
    pub oldest_parked_notification_at: Option<DateTime<Utc>>,
    /// Payments whose money arrived and was not refunded, and that could not pay their order.
    pub unapplied_payments: i64,
    /// Events that the portal must be told.
    pub pending_events: i64,
    /// When the oldest of these happened, among those of the [`PENDING_ORDERS_MAX`] oldest orders.
    pub oldest_pending_event_at: Option<DateTime<Utc>>,
    /// Events that the portal was not told and that are not tried again.
    pub dead_events: i64,
    /// When the newest callback came, if it is among the newest thousand audit entries.
    pub last_callback_at: Option<DateTime<Utc>>,
}

/// Connections to the database.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Connections {
    /// Those in use.
    pub busy: u32,
    /// Those that wait for work.
    pub idle: u32,
    /// How many there may be.
    pub limit: u32,
}
