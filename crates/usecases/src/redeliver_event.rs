use std::time::Instant;

use domain::EventId;
use ports::{EventFilter, LedgerError};

use crate::{Caller, Observed, Subject, UseCases};

/// The most events that are made due at a time (contract §6).
pub const REDELIVERED_EVENTS_MAX: i64 = 10_000;

/// What came of making all events due that match, or would come of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RedeliveredEvents {
    /// How many events matched, at most [`REDELIVERED_EVENTS_MAX`].
    pub matched: usize,
    /// How many were made due.
    pub redelivered: usize,
    /// Whether they were only counted.
    pub dry_run: bool,
}

impl UseCases {
    /// Makes an event due now, whatever its state; `false` if there is none.
    ///
    /// # Errors
    /// As [`Outbox::redeliver`](ports::Outbox::redeliver).
    pub fn redeliver_event(&self, id: EventId, caller: &Caller) -> Result<bool, Observed<LedgerError>> {
        let begun = Instant::now();
        let found = self.outbox.redeliver(id);
        let found = found.map_err(|error| self.observed(Subject::default(), error, caller, begun))?;
        if found {
            self.events_to_send.notify_one();
            self.observer.event_redelivered(id, caller, begun.elapsed());
        }
        Ok(found)
    }

    /// Makes the oldest events due now that the filter lets through, at most [`REDELIVERED_EVENTS_MAX`], whatever its
    /// limit. A dry run only counts them.
    ///
    /// # Errors
    /// As [`Outbox::redeliver_all`](ports::Outbox::redeliver_all).
    pub fn redeliver_events(
        &self,
        filter: EventFilter,
        dry_run: bool,
        caller: &Caller,
    ) -> Result<RedeliveredEvents, Observed<LedgerError>> {
        let begun = Instant::now();
        let filter = EventFilter { limit: REDELIVERED_EVENTS_MAX, ..filter };
        let matched = if dry_run {
            self.history.events(&filter).map(|events| events.len())
        } else {
            self.outbox.redeliver_all(&filter)
        };
        let subject = Subject { order_id: filter.order.as_ref(), payment_id: filter.payment.as_ref() };
        let matched = matched.map_err(|error| self.observed(subject, error, caller, begun))?;
        let result = RedeliveredEvents { matched, redelivered: if dry_run { 0 } else { matched }, dry_run };
        if result.redelivered > 0 {
            self.events_to_send.notify_one();
        }
        self.observer.events_redelivered(&filter, result, caller, begun.elapsed());
        Ok(result)
    }
}
