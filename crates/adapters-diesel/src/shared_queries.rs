//! The queries that are the same on every database, and reading by them. This file is a module of each adapter
//! (`#[path]`), not of this crate: Diesel checks it against the adapter's own connection. For a generic connection, a
//! `where` clause would have to say what each query needs of it.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use adapters_diesel::schema::{
    deliveries, event_attempts, event_queues, events, external_payments, inner_payment_details,
    invoice_payment_details, leases, open_payments, orders, parked_deliveries, partial_refunds,
};
use adapters_diesel::{
    AttemptRow, DeliveryRow, EventStatusRow, OpenRow, OrderRow, PartialRefundRow, PaymentRow, RecordedRow, RowIds,
    StatsRow, StorageError, StoredTime, StoredUuid, details_rows, not_applied_outcomes, read_all, recorded_payment,
    stats_query,
};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use diesel::upsert::excluded;
use domain::{
    Delivery, DeliveryId, EventId, EventState, ExternalPayment, MethodRecord, Order, OrderId, PartialRefund, PaymentId,
};
use ports::{
    ATTEMPTS_MAX, COUNT_MAX, DeliveryFilter, EventFilter, EventHistory, EventStatus, HISTORY_MAX, History, Leases,
    LedgerError, LedgerStats, OrderHistory, PaymentHistory, RecordedPayment,
};
use uuid::Uuid;

use crate::{Connection, Store, queries};

/// Each answer is read in one snapshot.
impl History for Store {
    fn payment(&self, id: &PaymentId) -> Result<Option<PaymentHistory>, LedgerError> {
        self.read(|connection| payment_history(connection, id))
    }

    fn payment_and_order(&self, id: &PaymentId) -> Result<Option<(RecordedPayment, Order)>, LedgerError> {
        self.read(|connection| payment_and_order(connection, id))
    }

    fn order(&self, id: &OrderId) -> Result<Option<OrderHistory>, LedgerError> {
        self.read(|connection| order_history(connection, id))
    }

    fn delivery(&self, id: DeliveryId) -> Result<Option<Delivery>, LedgerError> {
        self.read(|connection| delivery(connection, id))
    }

    fn deliveries(&self, filter: &DeliveryFilter) -> Result<Vec<Delivery>, LedgerError> {
        self.read(|connection| {
            queries::plan_by_values(connection)?;
            filtered_deliveries(connection, filter)
        })
    }

    fn event(&self, id: EventId) -> Result<Option<EventHistory>, LedgerError> {
        self.read(|connection| event_history(connection, id))
    }

    fn events(&self, filter: &EventFilter) -> Result<Vec<EventStatus>, LedgerError> {
        self.read(|connection| {
            queries::plan_by_values(connection)?;
            let ids = events_query(connection, filter)?.select(events::event_id).load(connection)?;
            event_statuses(connection, &ids)
        })
    }
}

impl Leases for Store {
    fn acquire(&self, name: &str, holder: Uuid, duration: Duration) -> Result<bool, LedgerError> {
        // That of `QueryDsl` is not for insertions.
        use diesel::query_dsl::methods::FilterDsl as _;

        self.write(|connection| {
            let now = queries::time_after(Duration::ZERO);
            let ends = (leases::holder.eq(StoredUuid(holder)), leases::expires_at.eq(queries::time_after(duration)));
            let granted = diesel::insert_into(leases::table)
                .values((leases::name.eq(name), ends.clone()))
                .on_conflict(leases::name)
                .do_update()
                .set(ends)
                .filter(leases::holder.eq(excluded(leases::holder)).or(leases::expires_at.le(now)))
                .execute(connection)?;
            Ok(granted == 1)
        })
    }

    fn release(&self, name: &str, holder: Uuid) -> Result<(), LedgerError> {
        self.write(|connection| {
            let of_holder = leases::table.find(name).filter(leases::holder.eq(StoredUuid(holder)));
            diesel::delete(of_holder).execute(connection)?;
            Ok(())
        })
    }
}

type Backend = <Connection as diesel::Connection>::Backend;
type Stored<T> = Result<T, StorageError>;

/// Those of these partial refunds that are known.
pub(crate) fn known_partial_refunds(
    connection: &mut Connection,
    wanted: &BTreeSet<PartialRefund>,
) -> QueryResult<Vec<PartialRefundRow>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // The cross product of payments and times may yield more than was asked for; the books ignore it.
    partial_refunds::table
        .filter(partial_refunds::payment_id.eq_any(wanted.iter().map(|refund| refund.payment_id.as_str())))
        .filter(partial_refunds::sent_at.eq_any(wanted.iter().map(|refund| StoredTime(refund.sent_at))))
        .select(PartialRefundRow::as_select())
        .load(connection)
}

/// The deliveries that wait for these payments, in the order in which they were parked.
pub(crate) fn parked_notifications(
    connection: &mut Connection,
    payments: &BTreeSet<PaymentId>,
) -> QueryResult<Vec<DeliveryRow>> {
    parked_deliveries::table
        .inner_join(deliveries::table)
        .filter(parked_deliveries::payment_id.eq_any(payments.iter().map(PaymentId::as_str)))
        .order(parked_deliveries::delivery_id)
        .select(DeliveryRow::as_select())
        .load(connection)
}

/// A payment and its order.
fn payment_and_order(connection: &mut Connection, id: &PaymentId) -> Stored<Option<(RecordedPayment, Order)>> {
    let row: Option<(OrderRow, RecordedRow)> = external_payments::table
        .inner_join(orders::table)
        .left_join(inner_payment_details::table)
        .left_join(invoice_payment_details::table)
        .filter(external_payments::payment_id.eq(id.as_str()))
        .select(<(OrderRow, RecordedRow)>::as_select())
        .first(connection)
        .optional()?;
    let Some((order, recorded)) = row else { return Ok(None) };
    let order = Order::try_from(order)?;
    Ok(Some((recorded_payment(recorded, order.id.clone())?, order)))
}

/// A payment with its order and its newest deliveries.
fn payment_history(connection: &mut Connection, id: &PaymentId) -> Stored<Option<PaymentHistory>> {
    let Some((payment, order)) = payment_and_order(connection, id)? else { return Ok(None) };
    let filter = DeliveryFilter { payment: Some(id.clone()), ..DeliveryFilter::newest(HISTORY_MAX + 1) };
    Ok(Some(PaymentHistory::new(payment, order, filtered_deliveries(connection, &filter)?)))
}

/// An order with all its payments.
fn order_history(connection: &mut Connection, id: &OrderId) -> Stored<Option<OrderHistory>> {
    let row: Option<(i64, OrderRow)> = orders::table
        .filter(orders::order_id.eq(id.as_str()))
        .select((orders::order_key, OrderRow::as_select()))
        .first(connection)
        .optional()?;
    let Some((key, order)) = row else { return Ok(None) };
    let payments: Vec<RecordedRow> = external_payments::table
        .left_join(inner_payment_details::table)
        .left_join(invoice_payment_details::table)
        .filter(external_payments::order_key.eq(key))
        .order((external_payments::created_at, external_payments::payment_id))
        .select(RecordedRow::as_select())
        .load(connection)?;
    let payments = payments.into_iter().map(|row| recorded_payment(row, id.clone())).collect::<Stored<_>>()?;
    Ok(Some(OrderHistory { order: order.try_into()?, payments }))
}

/// One audit entry.
fn delivery(connection: &mut Connection, id: DeliveryId) -> Stored<Option<Delivery>> {
    let row: Option<DeliveryRow> =
        deliveries::table.find(StoredUuid(id.0)).select(DeliveryRow::as_select()).first(connection).optional()?;
    row.map(Delivery::try_from).transpose()
}

/// Audit entries, newest first.
fn filtered_deliveries(connection: &mut Connection, filter: &DeliveryFilter) -> Stored<Vec<Delivery>> {
    let Some(payment) = &filter.payment else {
        return read_all(deliveries_query(filter).select(DeliveryRow::as_select()).load(connection)?);
    };
    let key: Option<i64> = external_payments::table
        .filter(external_payments::payment_id.eq(payment.as_str()))
        .select(external_payments::payment_key)
        .first(connection)
        .optional()?;
    // Entries from before its registration have no key and are found by its id.
    let mut rows: Vec<DeliveryRow> = deliveries_query(filter)
        .filter(deliveries::payment_key.is_null())
        .filter(deliveries::payment_id.eq(payment.as_str()))
        .select(DeliveryRow::as_select())
        .load(connection)?;
    if key.is_some() {
        let found = deliveries_query(filter).filter(deliveries::payment_key.eq(key));
        rows.extend(found.select(DeliveryRow::as_select()).load::<DeliveryRow>(connection)?);
        rows.sort_by_key(|row| std::cmp::Reverse(row.delivery_id.0));
        rows.truncate(usize::try_from(filter.limit).unwrap_or(usize::MAX));
    }
    read_all(rows)
}

/// The deliveries of any payment that this filter lets through, newest first.
fn deliveries_query(filter: &DeliveryFilter) -> deliveries::BoxedQuery<'_, Backend> {
    let DeliveryFilter { payment, order, outcome, since, before, limit } = filter;
    let mut query = deliveries::table.order(deliveries::delivery_id.desc()).limit(*limit).into_boxed();
    if let Some(order) = order {
        query = query.filter(deliveries::order_id.eq(order.as_str())).filter(
            sql::<Bool>(
                "delivery_id IN (SELECT delivery_id FROM deliveries WHERE payment_key IN \
                 (SELECT payment_key FROM external_payments WHERE order_key = \
                 (SELECT order_key FROM orders WHERE order_id = ",
            )
            .bind::<Text, _>(order.as_str())
            .sql(")) UNION ALL SELECT delivery_id FROM deliveries WHERE order_id = ")
            .bind::<Text, _>(order.as_str())
            .sql(&format!(" AND outcome IN ({}))", not_applied_outcomes())),
        );
    }
    if let Some(outcome) = outcome {
        let outcome = <&str>::from(*outcome);
        query = if payment.is_some() || order.is_some() {
            // One payment or order has few entries, one outcome has many: an expression keeps a planner
            // without statistics, such as SQLite's, from walking along the outcome's index.
            query.filter(deliveries::outcome.concat("").eq(outcome))
        } else {
            query.filter(deliveries::outcome.eq(outcome))
        };
    }
    if let Some(since) = since {
        // An id begins with the millisecond of its provenance: this ends the walk along the index.
        query = query
            .filter(deliveries::delivery_id.ge(StoredUuid(DeliveryId::first_at(*since).0)))
            .filter(deliveries::received_at.ge(StoredTime(*since)));
    }
    if let Some(before) = before {
        query = query.filter(deliveries::delivery_id.lt(StoredUuid(before.0)));
    }
    query
}

/// An event with its newest attempts.
fn event_history(connection: &mut Connection, id: EventId) -> Stored<Option<EventHistory>> {
    let Some(status) = event_statuses(connection, &[StoredUuid(id.0)])?.pop() else { return Ok(None) };
    let attempts: Vec<AttemptRow> = event_attempts::table
        .filter(event_attempts::event_id.eq(StoredUuid(id.0)))
        .order(event_attempts::attempted_at.desc())
        .limit(ATTEMPTS_MAX)
        .select(AttemptRow::as_select())
        .load(connection)?;
    Ok(Some(EventHistory { status, attempts: read_all(attempts)? }))
}

/// These events, in this order.
fn event_statuses(connection: &mut Connection, ids: &[StoredUuid]) -> Stored<Vec<EventStatus>> {
    let rows: Vec<EventStatusRow> = events::table
        .inner_join(orders::table)
        .inner_join(external_payments::table)
        .left_join(event_queues::table.on(event_queues::order_key.eq(events::order_key)))
        .filter(events::event_id.eq_any(ids))
        .select((
            (
                events::event_id,
                events::kind,
                orders::order_id,
                external_payments::payment_id,
                events::paid_at,
                events::created_at,
            ),
            events::delivered_at,
            events::died_at,
            event_queues::due_at.nullable(),
            sql::<BigInt>("(SELECT count(*) FROM event_attempts a WHERE a.event_id = events.event_id)"),
            sql::<Nullable<Text>>(
                "(SELECT error FROM event_attempts a WHERE a.event_id = events.event_id \
                 ORDER BY attempted_at DESC LIMIT 1)",
            ),
        ))
        .load(connection)?;
    let statuses: Vec<EventStatus> = read_all(rows)?;
    let mut by_id: HashMap<EventId, EventStatus> =
        statuses.into_iter().map(|status| (status.event.id, status)).collect();
    Ok(ids.iter().filter_map(|id| by_id.remove(&EventId(id.0))).collect())
}

/// The events that this filter lets through, newest first.
fn events_query<'a>(
    connection: &mut Connection,
    filter: &'a EventFilter,
) -> QueryResult<events::BoxedQuery<'a, Backend>> {
    let EventFilter { state, order, payment, since, before, limit } = filter;
    let mut query = events::table.limit(*limit).into_boxed();
    if let Some(payment) = payment {
        let key: Option<(i64, i64)> = external_payments::table
            .filter(external_payments::payment_id.eq(payment.as_str()))
            .select((external_payments::payment_key, external_payments::order_key))
            .first(connection)
            .optional()?;
        let (payment_key, order_key) = key.unwrap_or_default();
        query = query.filter(events::payment_key.eq(payment_key)).filter(events::order_key.eq(order_key));
    }
    if let Some(order) = order {
        let key: Option<i64> = orders::table
            .filter(orders::order_id.eq(order.as_str()))
            .select(orders::order_key)
            .first(connection)
            .optional()?;
        query = query.filter(events::order_key.eq(key.unwrap_or_default()));
    }
    query = if order.is_some() || payment.is_some() {
        // An order's events are indexed by their positions, which may differ from the order of their ids.
        if let Some(before) = before {
            let position: Option<i64> = events::table
                .filter(events::event_id.eq(StoredUuid(before.0)))
                .select(events::position)
                .first(connection)
                .optional()?;
            query = query.filter(events::position.lt(position.unwrap_or_default()));
        }
        query.order(events::position.desc())
    } else {
        if let Some(before) = before {
            query = query.filter(events::event_id.lt(StoredUuid(before.0)));
        }
        query.order(events::event_id.desc())
    };
    query = match state {
        Some(EventState::Delivered) => query.filter(events::delivered_at.is_not_null()),
        Some(EventState::Dead) => query.filter(events::died_at.is_not_null()),
        Some(EventState::Pending) => {
            let pending = query.filter(events::delivered_at.is_null()).filter(events::died_at.is_null());
            // Few are found by their queues, many as the newest events are read.
            let queues: Vec<i64> =
                event_queues::table.select(event_queues::order_key).limit(COUNT_MAX).load(connection)?;
            let few = i64::try_from(queues.len()).is_ok_and(|count| count < COUNT_MAX);
            if few { pending.filter(events::order_key.eq_any(queues)) } else { pending }
        }
        None => query,
    };
    if let Some(since) = since {
        // An id begins with the millisecond of its event: this ends the walk along the index.
        query = query
            .filter(events::event_id.ge(StoredUuid(DeliveryId::first_at(*since).0)))
            .filter(events::created_at.ge(StoredTime(*since)));
    }
    Ok(query)
}

/// The oldest events that this filter lets through.
pub(crate) fn oldest_events(connection: &mut Connection, filter: &EventFilter) -> QueryResult<Vec<StoredUuid>> {
    queries::plan_by_values(connection)?;
    let query = events_query(connection, filter)?.order(events::event_id.asc());
    query.select(events::event_id).load(connection)
}

/// Counts and ages for monitoring.
pub(crate) fn stats(connection: &mut Connection) -> Stored<LedgerStats> {
    Ok(diesel::sql_query(stats_query()).get_result::<StatsRow>(connection)?.into())
}

/// Stores what registrations have added, and adds the keys that the database gives to `keys`.
pub(crate) fn add(
    connection: &mut Connection,
    added_orders: Vec<Order>,
    added_payments: Vec<(ExternalPayment, Option<MethodRecord>)>,
    keys: &mut RowIds,
) -> Stored<()> {
    for order in added_orders {
        let id = order.id.clone();
        let order_key = diesel::insert_into(orders::table)
            .values(OrderRow::from(order))
            .returning(orders::order_key)
            .get_result(connection)?;
        keys.orders.insert(id, order_key);
    }
    for (payment, record) in added_payments {
        let payment_key = diesel::insert_into(external_payments::table)
            .values(PaymentRow::new(payment.clone(), keys)?)
            .returning(external_payments::payment_key)
            .get_result(connection)?;
        keys.payments.insert(payment.id.clone(), payment_key);
        let details = record.map(MethodRecord::into_details).unwrap_or_default();
        let (inner, invoice) = details_rows(payment_key, details);
        if let Some(row) = inner {
            diesel::insert_into(inner_payment_details::table).values(row).execute(connection)?;
        }
        if let Some(row) = invoice {
            diesel::insert_into(invoice_payment_details::table).values(row).execute(connection)?;
        }
        if payment.status.is_open() {
            let row = OpenRow::new(&payment, keys)?;
            diesel::insert_into(open_payments::table).values(row).execute(connection)?;
        }
    }
    Ok(())
}
