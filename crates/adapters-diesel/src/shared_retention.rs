//! The removal of old records, the same on every database. A module of each adapter, as `shared_queries.rs`.

use std::collections::BTreeSet;

use adapters_diesel::schema::{deliveries, event_attempts, events, external_payments, orders};
use adapters_diesel::{StorageError, StoredUuid};
use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable};
use domain::{DeliveryId, EventId, PaymentStatus};
use ports::{LedgerError, RecordCounts, RecordPosition, RemovableRecords, Retention};

use crate::{Connection, Store, queries};

impl Retention for Store {
    fn removable(
        &self,
        before: DateTime<Utc>,
        after: RecordPosition,
        records_max: usize,
    ) -> Result<RemovableRecords, LedgerError> {
        self.read(|connection| {
            queries::plan_by_values(connection)?;
            removable(connection, before, after, records_max)
        })
    }

    fn remove(&self, records: &RemovableRecords) -> Result<RecordCounts, LedgerError> {
        self.write_unsynced(|connection| {
            let entries: Vec<StoredUuid> = records.deliveries.iter().map(|id| StoredUuid(id.0)).collect();
            let events = records.events.iter().map(|id| StoredUuid(id.0)).collect();
            let deliveries = diesel::delete(deliveries::table.filter(deliveries::delivery_id.eq_any(entries)));
            Ok(RecordCounts { deliveries: deliveries.execute(connection)?, events: remove_events(connection, events)? })
        })
    }
}

fn removable(
    connection: &mut Connection,
    before: DateTime<Utc>,
    after: RecordPosition,
    records_max: usize,
) -> Result<RemovableRecords, StorageError> {
    let entries = old_entries(connection, before, after.delivery, records_max)?;
    let events = old_events(connection, before, after.event, records_max)?;
    let of_entries = entries.iter().filter_map(|(_, order_key, _)| *order_key);
    let orders: BTreeSet<i64> = of_entries.chain(events.iter().map(|(_, order_key)| *order_key)).collect();
    let unsettled = unsettled_orders(connection, &orders)?;

    let mut records = RemovableRecords::default();
    let mut position = after;
    for (StoredUuid(id), order_key, awaited) in &entries {
        position.delivery = DeliveryId(*id);
        if *awaited || order_key.is_some_and(|key| unsettled.contains(&key)) {
            records.needed.deliveries += 1;
        } else {
            records.deliveries.push(position.delivery);
        }
    }
    for (StoredUuid(id), order_key) in &events {
        position.event = EventId(*id);
        if unsettled.contains(order_key) {
            records.needed.events += 1;
        } else {
            records.events.push(position.event);
        }
    }
    let more = entries.len() == records_max || events.len() == records_max;
    records.next = more.then_some(position);
    Ok(records)
}

/// Entries with the order of their payment, if that is registered by now, and whether something is parked for it. Their
/// ids are enough to tell that they are old: they begin with the millisecond of receipt or a later one.
fn old_entries(
    connection: &mut Connection,
    before: DateTime<Utc>,
    after: DeliveryId,
    entries_max: usize,
) -> QueryResult<Vec<(StoredUuid, Option<i64>, bool)>> {
    let order_key = "coalesce(\
        (SELECT order_key FROM external_payments p WHERE p.payment_key = deliveries.payment_key), \
        (SELECT order_key FROM external_payments p WHERE p.payment_id = deliveries.payment_id))";
    let awaited = "EXISTS (SELECT 1 FROM parked_deliveries k WHERE k.payment_id = deliveries.payment_id)";
    deliveries::table
        .filter(deliveries::delivery_id.gt(StoredUuid(after.0)))
        .filter(deliveries::delivery_id.lt(StoredUuid(DeliveryId::first_at(before).0)))
        .order(deliveries::delivery_id)
        .limit(i64::try_from(entries_max).unwrap_or(i64::MAX))
        .select((deliveries::delivery_id, sql::<Nullable<BigInt>>(order_key), sql::<Bool>(awaited)))
        .load(connection)
}

/// Events with their orders, likewise.
fn old_events(
    connection: &mut Connection,
    before: DateTime<Utc>,
    after: EventId,
    events_max: usize,
) -> QueryResult<Vec<(StoredUuid, i64)>> {
    events::table
        .filter(events::event_id.gt(StoredUuid(after.0)))
        .filter(events::event_id.lt(StoredUuid(DeliveryId::first_at(before).0)))
        .order(events::event_id)
        .limit(i64::try_from(events_max).unwrap_or(i64::MAX))
        .select((events::event_id, events::order_key))
        .load(connection)
}

/// Those of these orders that have a payment which is open or could not pay them, or an event that was not delivered.
fn unsettled_orders(connection: &mut Connection, keys: &BTreeSet<i64>) -> QueryResult<BTreeSet<i64>> {
    let is_open = external_payments::status.eq_any(PaymentStatus::open().map(<&str>::from));
    let paid_by_another = orders::paid_by.assume_not_null().ne(external_payments::payment_id);
    let is_unapplied = external_payments::status
        .eq(<&str>::from(PaymentStatus::Completed))
        .and(orders::paid_by.is_null().or(paid_by_another));
    let mut unsettled: Vec<i64> = external_payments::table
        .inner_join(orders::table)
        .filter(external_payments::order_key.eq_any(keys))
        .filter(is_open.or(is_unapplied))
        .select(external_payments::order_key)
        .load(connection)?;
    let untold = events::table
        .filter(events::order_key.eq_any(keys))
        .filter(events::delivered_at.is_null())
        .select(events::order_key);
    unsettled.extend(untold.load::<i64>(connection)?);
    Ok(unsettled.into_iter().collect())
}

/// Those of these events that are still delivered, with their attempts.
fn remove_events(connection: &mut Connection, ids: Vec<StoredUuid>) -> QueryResult<usize> {
    let delivered = events::table.filter(events::event_id.eq_any(ids)).filter(events::delivered_at.is_not_null());
    let removed: Vec<StoredUuid> = diesel::delete(delivered).returning(events::event_id).get_results(connection)?;
    let count = removed.len();
    diesel::delete(event_attempts::table.filter(event_attempts::event_id.eq_any(removed))).execute(connection)?;
    Ok(count)
}
