use std::ops::AddAssign;

use chrono::{DateTime, Utc};
use domain::{DeliveryId, EventId};
use uuid::Uuid;

use crate::LedgerError;

/// Removing audit entries and events that are old and no longer needed. Payments, orders and what recognises
/// repetitions are never removed. Both methods block and fail as [`LedgerError`] says.
///
/// An entry or an event is needed while one of these holds for its order (an entry is of the order of its payment, as it
/// is registered):
/// - a payment of the order is pending or processing,
/// - a payment of the order is completed and did not pay it: an operator must look,
/// - an event of the order is pending or dead.
///
/// An entry without a registered payment is of no order. It is needed while notifications are parked for its payment.
#[expect(clippy::missing_errors_doc, reason = "said once, above")]
pub trait Retention: Send + Sync {
    /// Looks at the records that are older than `before`, in the order of their ids, beginning after `after`: at most
    /// `records_max` entries and as many events. Changes nothing. Costs what these and their orders cost, however many
    /// others there are.
    fn removable(
        &self,
        before: DateTime<Utc>,
        after: RecordPosition,
        records_max: usize,
    ) -> Result<RemovableRecords, LedgerError>;

    /// Removes these entries, and these events with their attempts, in one short transaction. An event stays if it was
    /// made due again since it was looked at. Returns how many were removed, which a failure of the machine may undo.
    fn remove(&self, records: &RemovableRecords) -> Result<RecordCounts, LedgerError>;
}

/// How far audit entries and events have been looked at: the last of each. The default is before the oldest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordPosition {
    /// The last audit entry.
    pub delivery: DeliveryId,
    /// The last event.
    pub event: EventId,
}

impl Default for RecordPosition {
    fn default() -> Self {
        Self { delivery: DeliveryId(Uuid::nil()), event: EventId(Uuid::nil()) }
    }
}

/// Old records that are not needed, and what was found beside them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemovableRecords {
    /// Audit entries, the oldest first.
    pub deliveries: Vec<DeliveryId>,
    /// Events, the oldest first.
    pub events: Vec<EventId>,
    /// How many of those that were looked at are needed.
    pub needed: RecordCounts,
    /// Where to go on; `None` when all were looked at.
    pub next: Option<RecordPosition>,
}

impl RemovableRecords {
    /// How many they are.
    #[must_use]
    pub fn counts(&self) -> RecordCounts {
        RecordCounts { deliveries: self.deliveries.len(), events: self.events.len() }
    }
}

/// How many audit entries and events.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RecordCounts {
    /// Audit entries.
    pub deliveries: usize,
    /// Events.
    pub events: usize,
}

impl AddAssign for RecordCounts {
    fn add_assign(&mut self, other: Self) {
        self.deliveries += other.deliveries;
        self.events += other.events;
    }
}
