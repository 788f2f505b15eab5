//! Statements that write any number of rows at once. Their parameters are arrays, one for each column, so
//! that a statement is the same for every batch and each connection prepares it once.

use adapters_diesel::sql_types::{PortableTimestamp, PortableUuid};
use adapters_diesel::{
    DeliveryRow, EventRow, OpenRow, OrderChange, ParkedRow, PartialRefundRow, PaymentChange, RowIds, StorageError,
    StoredTime, StoredUuid,
};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, Query, QueryFragment, QueryId};
use diesel::sql_types::{Array, BigInt, Binary, Nullable, Text};
use domain::{Delivery, Event, ExternalPayment, Order, PartialRefund, PaymentId};

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
        kind: String => Text,
        order_id: String => Text,
        payment_id: String => Text,
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

/// Stores what became of payments and orders, and adds audit entries and events, which are numbered in their order: all
/// in one statement, for a round trip costs more than most of them.
#[derive(Debug, QueryId)]
pub(crate) struct StoreChanges {
    payments: PaymentColumns,
    closed: ClosedColumns,
    orders: OrderColumns,
    deliveries: DeliveryColumns,
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
        Ok(Self {
            closed: closed.map(|payment| OpenRow::new(payment, keys)).collect::<Result<_, _>>()?,
            payments: payments.iter().map(|payment| PaymentChange::new(payment, keys)).collect::<Result<_, _>>()?,
            orders: orders.iter().map(|order| OrderChange::new(order, keys)).collect::<Result<_, _>>()?,
            deliveries: deliveries.into_iter().map(|delivery| DeliveryRow::new(delivery, keys)).collect(),
            events: events.into_iter().map(EventRow::from).collect(),
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
        out.push_sql("), told AS (");
        self.events.insert_into("events", out.reborrow())?;
        // An event is numbered when the rows that it rests on are locked: after those that came before it.
        // Payments are updated before orders by every statement, so two of them cannot wait for each other: what is
        // selected comes first.
        out.push_sql(
            " WHERE (SELECT count(*) FROM moved) + (SELECT count(*) FROM paid) >= 0) SELECT count(*) FROM moved",
        );
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
