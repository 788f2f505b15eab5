use std::thread;
use std::time::Duration;

use adapters_diesel::schema::{event_attempts, event_queues, events, external_payments, orders};
use adapters_diesel::{
    AttemptRow, EventChange, PendingEventRow, StorageError, StoredTime, StoredUuid, readable_events,
};
use diesel::dsl::select;
use diesel::prelude::*;
use domain::EventId;
use ports::{
    AttemptedEvent, CLAIMED_EVENTS_MAX, Claim, ClaimedQueue, Claims, EventFilter, LedgerError, Outbox, QueueProgress,
};

use crate::queries::time_after;
use crate::shared_queries;
use crate::store::SqliteStore;

/// How often another process on the same file may have left something to send: none can tell.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Outbox for SqliteStore {
    fn claim(&self, queues_max: usize, duration: Duration) -> Result<Claims, LedgerError> {
        // Most of the time nothing is due, and a look keeps no one from writing.
        let next_due_in = self.read(next_due_in)?;
        if next_due_in != Some(Duration::ZERO) {
            return Ok(Claims { queues: Vec::new(), next_due_in });
        }
        self.write_unsynced(|connection| claim(connection, queues_max, duration))
    }

    fn record(&self, progress: &[QueueProgress]) -> Result<bool, LedgerError> {
        self.write_unsynced(|connection| {
            let added = progress.iter().map(|queue| record(connection, queue)).collect::<Result<Vec<_>, _>>()?;
            Ok(added.contains(&true))
        })
    }

    fn redeliver(&self, id: EventId) -> Result<bool, LedgerError> {
        self.write(|connection| redeliver(connection, StoredUuid(id.0)))
    }

    fn redeliver_all(&self, filter: &EventFilter) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let ids = shared_queries::oldest_events(connection, filter)?;
            ids.iter().try_for_each(|id| redeliver(connection, *id).map(drop))?;
            Ok(ids.len())
        })
    }

    fn announce(&self) -> Result<(), LedgerError> {
        Ok(())
    }

    fn wait_for_announcement(&self, patience: Duration) -> Result<bool, LedgerError> {
        thread::sleep(patience.min(LOOK_EVERY));
        Ok(true)
    }
}

/// In how long the next queue is due that is not claimed; zero if one is.
fn next_due_in(connection: &mut SqliteConnection) -> Result<Option<Duration>, StorageError> {
    let StoredTime(now) = select(time_after(Duration::ZERO)).get_result(connection)?;
    let is_free = event_queues::claimed_until.is_null().or(event_queues::claimed_until.le(StoredTime(now)));
    let due_at: Option<StoredTime> = event_queues::table
        .filter(is_free)
        .order(event_queues::due_at)
        .select(event_queues::due_at)
        .first(connection)
        .optional()?;
    Ok(due_at.map(|StoredTime(due_at)| (due_at - now).to_std().unwrap_or_default()))
}

fn claim(connection: &mut SqliteConnection, queues_max: usize, duration: Duration) -> Result<Claims, StorageError> {
    let now: StoredTime = select(time_after(Duration::ZERO)).get_result(connection)?;
    let until: StoredTime = select(time_after(duration)).get_result(connection)?;
    let due: Vec<(i64, i64)> = event_queues::table
        .filter(event_queues::due_at.le(now))
        .filter(event_queues::claimed_until.is_null().or(event_queues::claimed_until.le(now)))
        .order(event_queues::due_at)
        .limit(i64::try_from(queues_max).unwrap_or(i64::MAX))
        .select((event_queues::order_key, event_queues::revision))
        .load(connection)?;
    let keys = due.iter().map(|(queue, _)| *queue);
    diesel::update(event_queues::table.filter(event_queues::order_key.eq_any(keys)))
        .set(event_queues::claimed_until.eq(until))
        .execute(connection)?;
    let mut queues = Vec::with_capacity(due.len());
    for (queue, revision) in due {
        let rows: Vec<PendingEventRow> = events::table
            .inner_join(orders::table)
            .inner_join(external_payments::table)
            .filter(events::order_key.eq(queue))
            .filter(events::delivered_at.is_null())
            .filter(events::died_at.is_null())
            .order(events::position)
            .limit(CLAIMED_EVENTS_MAX as i64)
            .select((
                events::order_key,
                (
                    events::event_id,
                    events::kind,
                    orders::order_id,
                    external_payments::payment_id,
                    events::paid_at,
                    events::created_at,
                ),
                external_payments::method,
                external_payments::amount_minor,
                external_payments::currency,
                events::failures,
            ))
            .load(connection)?;
        let (events, unreadable) = readable_events(rows);
        queues.push(ClaimedQueue { claim: Claim { queue, revision, until: until.0 }, events, unreadable });
    }
    let next_due_in = next_due_in(connection)?;
    Ok(Claims { queues, next_due_in })
}

/// Whether events were added to the queue, of which nothing was left.
fn record(connection: &mut SqliteConnection, progress: &QueueProgress) -> Result<bool, StorageError> {
    let QueueProgress { claim: Claim { queue, revision, until }, attempts, due_in } = progress;
    for attempted in attempts {
        record_attempt(connection, attempted)?;
    }
    let claimed = event_queues::order_key.eq(queue).and(event_queues::claimed_until.eq(StoredTime(*until)));
    if due_in.is_none() {
        let unchanged = event_queues::table.filter(claimed).filter(event_queues::revision.eq(revision));
        if diesel::delete(unchanged).execute(connection)? > 0 {
            return Ok(false);
        }
    }
    let due_at: StoredTime = select(time_after(due_in.unwrap_or_default())).get_result(connection)?;
    let released = diesel::update(event_queues::table.filter(claimed))
        .set((event_queues::due_at.eq(due_at), event_queues::claimed_until.eq(None::<StoredTime>)))
        .execute(connection)?;
    Ok(due_in.is_none() && released > 0)
}

/// What was delivered or given up stays so.
fn record_attempt(connection: &mut SqliteConnection, attempted: &AttemptedEvent) -> Result<(), StorageError> {
    diesel::insert_or_ignore_into(event_attempts::table).values(AttemptRow::from(attempted)).execute(connection)?;
    let EventChange { event_id, failed, delivered_at, died_at } = attempted.into();
    let pending = events::table
        .filter(events::event_id.eq(event_id))
        .filter(events::delivered_at.is_null())
        .filter(events::died_at.is_null());
    diesel::update(pending)
        .set((
            events::failures.eq(events::failures + failed),
            events::delivered_at.eq(delivered_at),
            events::died_at.eq(died_at),
        ))
        .execute(connection)?;
    Ok(())
}

/// Whether there is such an event.
fn redeliver(connection: &mut SqliteConnection, id: StoredUuid) -> Result<bool, StorageError> {
    let event = events::table.filter(events::event_id.eq(id));
    let Some(queue) = event.select(events::order_key).first(connection).optional()? else { return Ok(false) };
    let now: StoredTime = select(time_after(Duration::ZERO)).get_result(connection)?;
    diesel::insert_into(event_queues::table)
        .values((event_queues::order_key.eq::<i64>(queue), event_queues::due_at.eq(now)))
        .on_conflict(event_queues::order_key)
        .do_update()
        .set((event_queues::due_at.eq(now), event_queues::revision.eq(event_queues::revision + 1)))
        .execute(connection)?;
    diesel::update(event)
        .set((
            events::failures.eq(0),
            events::delivered_at.eq(None::<StoredTime>),
            events::died_at.eq(None::<StoredTime>),
        ))
        .execute(connection)?;
    Ok(true)
}
