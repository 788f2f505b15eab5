//! Counts and ages for monitoring, in one statement that is the same on every database.

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Nullable};
use domain::{OutcomeKind, PaymentStatus, Source};
use ports::{COUNT_MAX, LedgerStats, PENDING_ORDERS_MAX, UNAPPLIED_MAX};

use crate::columns::StoredTime;
use crate::columns::sql_types::PortableTimestamp;

/// What [`stats_query`] yields.
#[derive(Debug, QueryableByName)]
pub struct StatsRow {
    #[diesel(sql_type = BigInt)]
    pub open_payments: i64,
    #[diesel(sql_type = Nullable<PortableTimestamp>)]
    pub oldest_open_payment_at: Option<StoredTime>,
    #[diesel(sql_type = BigInt)]
    pub parked_notifications: i64,
    #[diesel(sql_type = Nullable<PortableTimestamp>)]
    pub oldest_parked_notification_at: Option<StoredTime>,
    #[diesel(sql_type = BigInt)]
    pub unapplied_payments: i64,
    #[diesel(sql_type = BigInt)]
    pub pending_events: i64,
    #[diesel(sql_type = Nullable<PortableTimestamp>)]
    pub oldest_pending_event_at: Option<StoredTime>,
    #[diesel(sql_type = BigInt)]
    pub dead_events: i64,
    #[diesel(sql_type = Nullable<PortableTimestamp>)]
    pub last_callback_at: Option<StoredTime>,
}

impl From<StatsRow> for LedgerStats {
    fn from(row: StatsRow) -> Self {
        let StatsRow {
            open_payments,
            oldest_open_payment_at,
            parked_notifications,
            oldest_parked_notification_at,
            unapplied_payments,
            pending_events,
            oldest_pending_event_at,
            dead_events,
            last_callback_at,
        } = row;
        let time = |at: Option<StoredTime>| at.map(|StoredTime(time)| time);
        Self {
            open_payments,
            oldest_open_payment_at: time(oldest_open_payment_at),
            parked_notifications,
            oldest_parked_notification_at: time(oldest_parked_notification_at),
            unapplied_payments,
            pending_events: pending_events.min(COUNT_MAX),
            oldest_pending_event_at: time(oldest_pending_event_at),
            dead_events,
            last_callback_at: time(last_callback_at),
        }
    }
}

/// The statement. Every part walks along an index and stops at a limit.
///
/// A payment is unapplied at most once, when it completes; one that was refunded since does not count. Its status is
/// looked up one by one, for a join may read the whole table. Of the pending events, those of the oldest
/// orders count.
#[must_use]
pub fn stats_query() -> String {
    let (unapplied, completed) = (OutcomeKind::Unapplied, PaymentStatus::Completed);
    let callback = Source::Callback;
    // For each of these orders in turn: a join may read the whole table for each.
    let pending = |what: &str, orders_max: i64| {
        format!(
            "(SELECT {what} FROM events WHERE events.order_key = queues.order_key \
             AND delivered_at IS NULL AND died_at IS NULL) AS pending \
             FROM (SELECT order_key FROM event_queues ORDER BY order_key LIMIT {orders_max}) AS queues"
        )
    };
    let (counts, times) = (pending("count(*)", COUNT_MAX), pending("min(created_at)", PENDING_ORDERS_MAX));
    format!(
        "SELECT \
         (SELECT count(*) FROM (SELECT 1 FROM open_payments LIMIT {COUNT_MAX}) AS open) AS open_payments, \
         (SELECT min(created_at) FROM open_payments) AS oldest_open_payment_at, \
         (SELECT count(*) FROM (SELECT 1 FROM parked_deliveries LIMIT {COUNT_MAX}) AS parked) \
            AS parked_notifications, \
         (SELECT received_at FROM deliveries WHERE delivery_id = \
            (SELECT delivery_id FROM parked_deliveries ORDER BY delivery_id LIMIT 1)) \
            AS oldest_parked_notification_at, \
         (SELECT count(*) FROM (SELECT (SELECT status FROM external_payments \
            WHERE external_payments.payment_key = deliveries.payment_key) AS status FROM deliveries \
            WHERE outcome = '{unapplied}' ORDER BY delivery_id DESC LIMIT {UNAPPLIED_MAX}) AS unapplied \
            WHERE status = '{completed}') AS unapplied_payments, \
         (SELECT CAST(coalesce(sum(pending), 0) AS BIGINT) FROM (SELECT {counts}) AS orders) AS pending_events, \
         (SELECT min(pending) FROM (SELECT {times}) AS orders) AS oldest_pending_event_at, \
         (SELECT count(*) FROM (SELECT 1 FROM events WHERE died_at IS NOT NULL LIMIT {COUNT_MAX}) AS dead) \
            AS dead_events, \
         (SELECT max(received_at) FROM (SELECT received_at, source FROM deliveries \
            ORDER BY delivery_id DESC LIMIT 1000) AS newest WHERE source = '{callback}') AS last_callback_at"
    )
}
