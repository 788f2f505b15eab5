use std::collections::{BTreeMap, BTreeSet};
use std::sync::PoisonError;
use std::time::Duration;

use adapters_diesel::schema::{event_queues, events};
use adapters_diesel::{PendingEventRow, StorageError, StoredTime, StoredUuid, readable_events};
use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use domain::EventId;
use ports::{Claim, ClaimedQueue, Claims, EventFilter, LedgerError, Outbox, QueueProgress};

use crate::shared_queries;
use crate::statements::{
    AddAttempts, ChangeEvents, ClaimQueues, PendingEvents, QueueOrders, ReleaseQueues, RemoveQueues,
};
use crate::store::PostgresStore;

/// On which replicas tell each other that there may be events to send.
const CHANNEL: &str = "payment_callback_events";

impl Outbox for PostgresStore {
    fn claim(&self, queues_max: usize, duration: Duration) -> Result<Claims, LedgerError> {
        let queues_max = i64::try_from(queues_max).unwrap_or(i64::MAX);
        let duration_us = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
        // What a failure of the server undoes is only sent once more.
        self.write_unsynced(|connection| {
            let claims: Vec<(i64, i64, StoredTime)> = ClaimQueues { queues_max, duration_us }.load(connection)?;
            let next_due_in =
                if (claims.len() as i64) < queues_max { next_due_in(connection)? } else { Some(Duration::ZERO) };
            let keys = claims.iter().map(|(order_key, ..)| *order_key).collect();
            let mut rows = pending_events(connection, keys)?;
            let queue = |(queue, revision, StoredTime(until))| {
                let (events, unreadable) = readable_events(rows.remove(&queue).unwrap_or_default());
                ClaimedQueue { claim: Claim { queue, revision, until }, events, unreadable }
            };
            Ok(Claims { queues: claims.into_iter().map(queue).collect(), next_due_in })
        })
    }

    fn record(&self, progress: &[QueueProgress]) -> Result<bool, LedgerError> {
        // Transactions that settle lock queues in this order as well.
        let mut sorted: Vec<&QueueProgress> = progress.iter().collect();
        sorted.sort_by_key(|queue| queue.claim.queue);
        self.write_unsynced(|connection| {
            AddAttempts::of(progress).execute(connection)?;
            ChangeEvents::of(progress).execute(connection)?;
            RemoveQueues::of(&sorted).execute(connection)?;
            let released = ReleaseQueues::of(&sorted).execute(connection)?;
            Ok(released > sorted.iter().filter(|queue| queue.due_in.is_some()).count())
        })
    }

    fn redeliver(&self, id: EventId) -> Result<bool, LedgerError> {
        self.write(|connection| Ok(redeliver(connection, vec![StoredUuid(id.0)])? > 0))
    }

    fn redeliver_all(&self, filter: &EventFilter) -> Result<usize, LedgerError> {
        self.write(|connection| {
            let ids = shared_queries::oldest_events(connection, filter)?;
            redeliver(connection, ids)
        })
    }

    fn announce(&self) -> Result<(), LedgerError> {
        self.write(|connection| Ok(connection.batch_execute(&format!("NOTIFY {CHANNEL}"))?))
    }

    fn wait_for_announcement(&self, patience: Duration) -> Result<bool, LedgerError> {
        let mut listener = self.listener.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = match listener.take() {
            Some(session) => session,
            None => {
                let mut session = self.session()?;
                session.run(self.patience, |connection| Ok(connection.batch_execute(&format!("LISTEN {CHANNEL}"))?))?;
                session
            }
        };
        let announced = session.notified_within(patience)?;
        *listener = Some(session);
        Ok(announced)
    }
}

fn next_due_in(connection: &mut PgConnection) -> QueryResult<Option<Duration>> {
    let micros = "(extract(epoch FROM min(due_at) - now()) * 1000000)::bigint";
    let micros: Option<i64> = event_queues::table
        .filter(sql::<diesel::sql_types::Bool>("due_at > now() AND claimed_until IS NULL"))
        .select(sql::<Nullable<BigInt>>(micros))
        .get_result(connection)?;
    Ok(micros.map(|micros| Duration::from_micros(micros.unsigned_abs())))
}

/// The first events of each of these queues.
fn pending_events(connection: &mut PgConnection, queues: Vec<i64>) -> QueryResult<BTreeMap<i64, Vec<PendingEventRow>>> {
    let loaded: Vec<PendingEventRow> = PendingEvents { queues }.load(connection)?;
    let mut rows: BTreeMap<i64, Vec<PendingEventRow>> = BTreeMap::new();
    for row in loaded {
        rows.entry(row.order_key).or_default().push(row);
    }
    Ok(rows)
}

fn redeliver(connection: &mut PgConnection, ids: Vec<StoredUuid>) -> Result<usize, StorageError> {
    let queues: Vec<i64> =
        events::table.filter(events::event_id.eq_any(&ids)).select(events::order_key).load(connection)?;
    let queues: BTreeSet<i64> = queues.into_iter().collect();
    QueueOrders { queues: queues.into_iter().collect() }.execute(connection)?;
    let changed = diesel::update(events::table.filter(events::event_id.eq_any(ids)))
        .set((
            events::failures.eq(0),
            events::delivered_at.eq(None::<StoredTime>),
            events::died_at.eq(None::<StoredTime>),
        ))
        .execute(connection)?;
    connection.batch_execute(&format!("NOTIFY {CHANNEL}"))?;
    Ok(changed)
}
