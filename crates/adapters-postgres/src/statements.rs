//! Statements that write any number of rows at once. Their parameters are arrays, one for each column, so
//! that a statement is the same for every batch and each connection prepares it once.

use std::collections::BTreeSet;

use adapters_diesel::sql_types::{PortableTimestamp, PortableUuid};
use adapters_diesel::{
    AttemptRow, DeliveryRow, EventChange, EventRow, OpenRow, OrderChange, ParkedRow, PartialRefundRow, PaymentChange,
    RowIds, StorageError, StoredTime, StoredUuid,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Integer, Nullable, Text};
use domain::{Delivery, Event, ExternalPayment, Order, PartialRefund, PaymentId};
use ports::{CLAIMED_EVENTS_MAX, Claim, QueueProgress};

/// Columns of rows.
trait Columns: QueryFragment<Pg> {
    /// Their names, in their order.
    const NAMES: &'static str;

    /// Sets all but the first, which is the key, to those of the row `new`.
    const SET: &'static str;

    /// Adds a row to this table for each of them.
    fn insert_into<'b>(&'b self, table: &str, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        for part in ["INSERT INTO ", table, " (", Self::NAMES, ") SELECT * FROM "] {
            out.push_sql(part);
        }
        self.walk_ast(out)
    }
}

/// Defines columns of rows, each an array, which `unnest` makes rows of again.
macro_rules! columns {
    ($Name:ident of $Row:ty { $($column:ident: $Rust:ty => $Sql:ty),+ $(,)? }) => {
        #[derive(Debug, Default)]
        struct $Name {
            $($column: Vec<$Rust>,)+
        }

        impl Columns for $Name {
            const NAMES: &'static str = columns!(@names $($column),+);
            const SET: &'static str = columns!(@set $($column),+);
        }

        impl FromIterator<$Row> for $Name {
            fn from_iter<I: IntoIterator<Item = $Row>>(rows: I) -> Self {
                let mut columns = Self::default();
                for row in rows {
                    $(columns.$column.push(row.$column);)+
                }
                columns
            }
        }

        impl QueryFragment<Pg> for $Name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                let mut separator = ["unnest("].into_iter().chain(std::iter::repeat(", "));
                $(
                    out.push_sql(separator.next().unwrap_or_default());
                    out.push_bind_param::<Array<$Sql>, _>(&self.$column)?;
                )+
                out.push_sql(") AS new (");
                out.push_sql(Self::NAMES);
                out.push_sql(")");
                Ok(())
            }
        }
    };
    (@set $key:ident, $first:ident $(, $other:ident)*) => {
        concat!(
            stringify!($first), " = new.", stringify!($first)
            $(, ", ", stringify!($other), " = new.", stringify!($other))*
        )
    };
    (@names $first:ident $(, $other:ident)*) => { concat!(stringify!($first) $(, ", ", stringify!($other))*) };
}

columns! {
    PaymentColumns of PaymentChange {
        payment_key: i64 => BigInt,
        status: String => Text,
        transaction_id: Option<String> => Nullable<Text>,
        updated_at: StoredTime => PortableTimestamp,
        paid_at: Option<StoredTime> => Nullable<PortableTimestamp>,
    }
}

columns! {
    ClosedColumns of OpenRow {
        created_at: StoredTime => PortableTimestamp,
        payment_key: i64 => BigInt,
    }
}

columns! {
    OrderColumns of OrderChange {
        order_key: i64 => BigInt,
        status: String => Text,
        paid_by: Option<String> => Nullable<Text>,
        paid_at: Option<StoredTime> => Nullable<PortableTimestamp>,
        updated_at: StoredTime => PortableTimestamp,
    }
}

columns! {
    DeliveryColumns of DeliveryRow {
        delivery_id: StoredUuid => PortableUuid,
        received_at: StoredTime => PortableTimestamp,
        source: String => Text,
        payment_key: Option<i64> => Nullable<BigInt>,
        payment_id: Option<String> => Nullable<Text>,
        order_id: Option<String> => Nullable<Text>,
        status: Option<String> => Nullable<Text>,
        event: Option<String> => Nullable<Text>,
        method: Option<String> => Nullable<Text>,
        amount: Option<String> => Nullable<Text>,
        currency: Option<String> => Nullable<Text>,
        sent_at: Option<StoredTime> => Nullable<PortableTimestamp>,
        transaction_id: Option<String> => Nullable<Text>,
        body_sha256: Option<Vec<u8>> => Nullable<Binary>,
        key_name: Option<String> => Nullable<Text>,
        request_id: Option<String> => Nullable<Text>,
        outcome: String => Text,
        reason: Option<String> => Nullable<Text>,
        previous_status: Option<String> => Nullable<Text>,
        new_status: Option<String> => Nullable<Text>,
    }
}

columns! {
    EventColumns of EventRow {
        event_id: StoredUuid => PortableUuid,
        kind: String => Text,
        order_key: i64 => BigInt,
        payment_key: i64 => BigInt,
        paid_at: Option<StoredTime> => Nullable<PortableTimestamp>,
        created_at: StoredTime => PortableTimestamp,
    }
}

columns! {
    ParkedColumns of ParkedRow {
        delivery_id: StoredUuid => PortableUuid,
        payment_id: String => Text,
        identity: Vec<u8> => Binary,
    }
}

columns! {
    PartialRefundColumns of PartialRefundRow {
        payment_id: String => Text,
        sent_at: StoredTime => PortableTimestamp,
        transaction_id: String => Text,
    }
}

/// Stores what became of payments and orders, and adds audit entries and events, which are numbered in their order and
/// put into the queues of their orders: all in one statement, for a round trip costs more than most of them.
#[derive(Debug, QueryId)]
pub(crate) struct StoreChanges {
    payments: PaymentColumns,
    closed: ClosedColumns,
    orders: OrderColumns,
    deliveries: DeliveryColumns,
    /// Each once and in one order, in which all transactions lock them.
    queues: Vec<i64>,
    events: EventColumns,
}

impl StoreChanges {
    pub(crate) fn new(
        payments: &[ExternalPayment],
        orders: &[Order],
        deliveries: impl IntoIterator<Item = Delivery>,
        events: impl IntoIterator<Item = Event>,
        keys: &RowIds,
    ) -> Result<Self, StorageError> {
        let closed = payments.iter().filter(|payment| !payment.status.is_open());
        let events = events.into_iter().map(|event| EventRow::new(event, keys)).collect::<Result<Vec<_>, _>>()?;
        let queues: BTreeSet<i64> = events.iter().map(|event| event.order_key).collect();
        Ok(Self {
            closed: closed.map(|payment| OpenRow::new(payment, keys)).collect::<Result<_, _>>()?,
            payments: payments.iter().map(|payment| PaymentChange::new(payment, keys)).collect::<Result<_, _>>()?,
            orders: orders.iter().map(|order| OrderChange::new(order, keys)).collect::<Result<_, _>>()?,
            deliveries: deliveries.into_iter().map(|delivery| DeliveryRow::new(delivery, keys)).collect(),
            queues: queues.into_iter().collect(),
            events: events.into_iter().collect(),
        })
    }
}

impl QueryFragment<Pg> for StoreChanges {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH moved AS (UPDATE external_payments p SET ");
        out.push_sql(PaymentColumns::SET);
        out.push_sql(" FROM ");
        self.payments.walk_ast(out.reborrow())?;
        out.push_sql(
            " WHERE p.payment_key = new.payment_key RETURNING p.payment_key), \
             closed AS (DELETE FROM open_payments o USING ",
        );
        self.closed.walk_ast(out.reborrow())?;
        out.push_sql(
            " WHERE o.created_at = new.created_at AND o.payment_key = new.payment_key), paid AS (UPDATE orders o SET ",
        );
        out.push_sql(OrderColumns::SET);
        out.push_sql(" FROM ");
        self.orders.walk_ast(out.reborrow())?;
        out.push_sql(
            " WHERE o.order_key = new.order_key RETURNING o.order_key), \
             noted AS (",
        );
        self.deliveries.insert_into("deliveries", out.reborrow())?;
        // What is selected comes first: payments, orders and queues are locked in this order by every statement, so two
        // of them cannot wait for each other. An event is numbered when the queue of its order is locked, so the
        // events of one order are numbered as they become visible.
        out.push_sql(
            "), queued AS (INSERT INTO event_queues (order_key, due_at) SELECT new.order_key, now() FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(&self.queues)?;
        out.push_sql(
            ") AS new (order_key) WHERE (SELECT count(*) FROM moved) + (SELECT count(*) FROM paid) >= 0 \
             ON CONFLICT (order_key) DO UPDATE SET revision = event_queues.revision + 1 \
             RETURNING event_queues.order_key), told AS (",
        );
        self.events.insert_into("events", out.reborrow())?;
        out.push_sql(" WHERE (SELECT count(*) FROM queued) >= 0) SELECT count(*) FROM moved");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for StoreChanges {}

/// Lets deliveries wait for their payments, unless the same notification waits already.
#[derive(Debug, QueryId)]
pub(crate) struct Park {
    deliveries: ParkedColumns,
}

impl FromIterator<ParkedRow> for Park {
    fn from_iter<I: IntoIterator<Item = ParkedRow>>(rows: I) -> Self {
        Self { deliveries: rows.into_iter().collect() }
    }
}

impl QueryFragment<Pg> for Park {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.deliveries.insert_into("parked_deliveries", out.reborrow())?;
        out.push_sql(" ON CONFLICT (payment_id, identity) DO NOTHING");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for Park {}

/// Adds partial refunds.
#[derive(Debug, QueryId)]
pub(crate) struct AddPartialRefunds {
    refunds: PartialRefundColumns,
}

impl FromIterator<PartialRefund> for AddPartialRefunds {
    fn from_iter<I: IntoIterator<Item = PartialRefund>>(refunds: I) -> Self {
        Self { refunds: refunds.into_iter().map(PartialRefundRow::from).collect() }
    }
}

impl QueryFragment<Pg> for AddPartialRefunds {
    fn walk_ast<'b>(&'b self, out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.refunds.insert_into("partial_refunds", out)
    }
}

impl RunQueryDsl<PgConnection> for AddPartialRefunds {}

/// Locks the ids of payments until the transaction ends, registered or not. A transaction that parks a notification and
/// one that registers its payment take this lock before they read, so neither can miss the other. Taken in one order,
/// and before any row is locked.
#[derive(Debug, QueryId)]
pub(crate) struct LockPaymentIds {
    ids: Vec<String>,
}

impl<'a> FromIterator<&'a PaymentId> for LockPaymentIds {
    fn from_iter<I: IntoIterator<Item = &'a PaymentId>>(ids: I) -> Self {
        Self { ids: ids.into_iter().map(ToString::to_string).collect() }
    }
}

impl QueryFragment<Pg> for LockPaymentIds {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        // OFFSET 0 keeps the planner from locking before it sorts.
        out.push_sql("SELECT pg_advisory_xact_lock(lock) FROM (SELECT hashtextextended(id, 0) AS lock FROM unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.ids)?;
        out.push_sql(") AS id ORDER BY lock OFFSET 0) AS sorted");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for LockPaymentIds {}

/// Those of these payments that another session has locked: their ids, their rows or their orders' rows. Locks what is
/// free and skips the rest.
#[derive(Debug, QueryId)]
pub(crate) struct HeldPaymentIds {
    ids: Vec<String>,
}

impl<'a> FromIterator<&'a PaymentId> for HeldPaymentIds {
    fn from_iter<I: IntoIterator<Item = &'a PaymentId>>(ids: I) -> Self {
        Self { ids: ids.into_iter().map(ToString::to_string).collect() }
    }
}

impl QueryFragment<Pg> for HeldPaymentIds {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("WITH wanted AS MATERIALIZED (SELECT id FROM unnest(");
        out.push_bind_param::<Array<Text>, _>(&self.ids)?;
        out.push_sql(
            ") AS id), \
             registered AS MATERIALIZED (SELECT payment_id, payment_key, order_key FROM external_payments \
             WHERE payment_id IN (SELECT id FROM wanted)), \
             free_payments AS MATERIALIZED (SELECT payment_key FROM external_payments \
             WHERE payment_key IN (SELECT payment_key FROM registered) FOR NO KEY UPDATE SKIP LOCKED), \
             free_orders AS MATERIALIZED (SELECT order_key FROM orders \
             WHERE order_key IN (SELECT order_key FROM registered) FOR NO KEY UPDATE SKIP LOCKED) \
             SELECT id FROM wanted WHERE NOT pg_try_advisory_xact_lock(hashtextextended(id, 0)) \
             UNION SELECT payment_id FROM registered \
             WHERE payment_key NOT IN (SELECT payment_key FROM free_payments) \
             OR order_key NOT IN (SELECT order_key FROM free_orders)",
        );
        Ok(())
    }
}

impl Query for HeldPaymentIds {
    type SqlType = Text;
}

impl RunQueryDsl<PgConnection> for HeldPaymentIds {}

columns! {
    AttemptColumns of AttemptRow {
        event_id: StoredUuid => PortableUuid,
        attempted_at: StoredTime => PortableTimestamp,
        duration_ms: i64 => BigInt,
        status: Option<i32> => Nullable<Integer>,
        error: Option<String> => Nullable<Text>,
    }
}

columns! {
    EventChangeColumns of EventChange {
        event_id: StoredUuid => PortableUuid,
        failed: i32 => Integer,
        delivered_at: Option<StoredTime> => Nullable<PortableTimestamp>,
        died_at: Option<StoredTime> => Nullable<PortableTimestamp>,
    }
}

columns! {
    ClaimColumns of ClaimRow {
        order_key: i64 => BigInt,
        revision: i64 => BigInt,
        claimed_until: StoredTime => PortableTimestamp,
        due_in_us: i64 => BigInt,
    }
}

/// A claim that is given back, and in how many microseconds its queue is due.
struct ClaimRow {
    order_key: i64,
    revision: i64,
    claimed_until: StoredTime,
    due_in_us: i64,
}

impl ClaimRow {
    fn new(progress: &QueueProgress) -> Self {
        let QueueProgress { claim: Claim { queue, revision, until }, attempts: _, due_in } = progress;
        let due_in_us = i64::try_from(due_in.unwrap_or_default().as_micros()).unwrap_or(i64::MAX);
        Self { order_key: *queue, revision: *revision, claimed_until: StoredTime(*until), due_in_us }
    }
}

/// Claims queues that are due, and yields their orders, their revisions and the end of the claim.
#[derive(Debug, QueryId)]
pub(crate) struct ClaimQueues {
    pub(crate) queues_max: i64,
    pub(crate) duration_us: i64,
}

impl QueryFragment<Pg> for ClaimQueues {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "WITH due AS MATERIALIZED (SELECT order_key FROM event_queues \
             WHERE due_at <= now() AND (claimed_until IS NULL OR claimed_until <= now()) ORDER BY due_at LIMIT ",
        );
        out.push_bind_param::<BigInt, _>(&self.queues_max)?;
        out.push_sql(
            " FOR UPDATE SKIP LOCKED) UPDATE event_queues q SET claimed_until = now() + interval '1 microsecond' * ",
        );
        out.push_bind_param::<BigInt, _>(&self.duration_us)?;
        out.push_sql(" FROM due WHERE q.order_key = due.order_key RETURNING q.order_key, q.revision, q.claimed_until");
        Ok(())
    }
}

impl Query for ClaimQueues {
    type SqlType = (BigInt, BigInt, PortableTimestamp);
}

impl RunQueryDsl<PgConnection> for ClaimQueues {}

/// The first events of these queues, in their order.
#[derive(Debug, QueryId)]
pub(crate) struct PendingEvents {
    pub(crate) queues: Vec<i64>,
}

impl QueryFragment<Pg> for PendingEvents {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "SELECT e.order_key, e.event_id, e.kind, o.order_id, p.payment_id, e.paid_at, e.created_at, p.method, \
             p.amount_minor, p.currency, e.failures FROM unnest(",
        );
        out.push_bind_param::<Array<BigInt>, _>(&self.queues)?;
        out.push_sql(
            ") AS q (order_key) CROSS JOIN LATERAL (SELECT * FROM events WHERE events.order_key = q.order_key \
             AND delivered_at IS NULL AND died_at IS NULL ORDER BY position LIMIT ",
        );
        out.push_sql(&CLAIMED_EVENTS_MAX.to_string());
        out.push_sql(
            ") AS e JOIN orders o ON o.order_key = e.order_key \
             JOIN external_payments p ON p.payment_key = e.payment_key ORDER BY e.order_key, e.position",
        );
        Ok(())
    }
}

impl Query for PendingEvents {
    type SqlType = (
        BigInt,
        (PortableUuid, Text, Text, Text, Nullable<PortableTimestamp>, PortableTimestamp),
        Text,
        BigInt,
        Text,
        Integer,
    );
}

impl RunQueryDsl<PgConnection> for PendingEvents {}

/// Adds attempts to send events.
#[derive(Debug, QueryId)]
pub(crate) struct AddAttempts {
    attempts: AttemptColumns,
}

impl AddAttempts {
    pub(crate) fn of(progress: &[QueueProgress]) -> Self {
        Self { attempts: progress.iter().flat_map(|queue| &queue.attempts).map(AttemptRow::from).collect() }
    }
}

impl QueryFragment<Pg> for AddAttempts {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        self.attempts.insert_into("event_attempts", out.reborrow())?;
        out.push_sql(" ON CONFLICT DO NOTHING");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for AddAttempts {}

/// Stores what attempts mean for their events. What was delivered or given up stays so.
#[derive(Debug, QueryId)]
pub(crate) struct ChangeEvents {
    changes: EventChangeColumns,
}

impl ChangeEvents {
    pub(crate) fn of(progress: &[QueueProgress]) -> Self {
        Self { changes: progress.iter().flat_map(|queue| &queue.attempts).map(EventChange::from).collect() }
    }
}

impl QueryFragment<Pg> for ChangeEvents {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "UPDATE events e SET failures = e.failures + new.failed, delivered_at = new.delivered_at, \
             died_at = new.died_at FROM ",
        );
        self.changes.walk_ast(out.reborrow())?;
        out.push_sql(" WHERE e.event_id = new.event_id AND e.delivered_at IS NULL AND e.died_at IS NULL");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for ChangeEvents {}

/// Removes queues in which nothing is left, unless an event was added since they were claimed.
#[derive(Debug, QueryId)]
pub(crate) struct RemoveQueues {
    claims: ClaimColumns,
}

impl RemoveQueues {
    pub(crate) fn of(progress: &[&QueueProgress]) -> Self {
        let empty = progress.iter().filter(|queue| queue.due_in.is_none());
        Self { claims: empty.map(|queue| ClaimRow::new(queue)).collect() }
    }
}

impl QueryFragment<Pg> for RemoveQueues {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("DELETE FROM event_queues q USING ");
        self.claims.walk_ast(out.reborrow())?;
        out.push_sql(
            " WHERE q.order_key = new.order_key AND q.revision = new.revision AND q.claimed_until = new.claimed_until",
        );
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for RemoveQueues {}

/// Gives queues back that are still claimed by these claims.
#[derive(Debug, QueryId)]
pub(crate) struct ReleaseQueues {
    claims: ClaimColumns,
}

impl ReleaseQueues {
    pub(crate) fn of(progress: &[&QueueProgress]) -> Self {
        Self { claims: progress.iter().map(|queue| ClaimRow::new(queue)).collect() }
    }
}

impl QueryFragment<Pg> for ReleaseQueues {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql(
            "UPDATE event_queues q SET due_at = now() + interval '1 microsecond' * new.due_in_us, claimed_until = NULL \
             FROM ",
        );
        self.claims.walk_ast(out.reborrow())?;
        out.push_sql(" WHERE q.order_key = new.order_key AND q.claimed_until = new.claimed_until");
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for ReleaseQueues {}

/// Makes the queues of these orders due now, there or not.
#[derive(Debug, QueryId)]
pub(crate) struct QueueOrders {
    /// Each once and in one order, in which all transactions lock them.
    pub(crate) queues: Vec<i64>,
}

impl QueryFragment<Pg> for QueueOrders {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
        out.push_sql("INSERT INTO event_queues (order_key, due_at) SELECT new.order_key, now() FROM unnest(");
        out.push_bind_param::<Array<BigInt>, _>(&self.queues)?;
        out.push_sql(
            ") AS new (order_key) ON CONFLICT (order_key) \
             DO UPDATE SET due_at = now(), revision = event_queues.revision + 1",
        );
        Ok(())
    }
}

impl RunQueryDsl<PgConnection> for QueueOrders {}
