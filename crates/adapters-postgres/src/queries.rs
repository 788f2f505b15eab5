use std::collections::BTreeSet;
use std::time::Duration;

use adapters_diesel::schema::{external_payments, orders, parked_deliveries};
use adapters_diesel::sql_types::PortableTimestamp;
use adapters_diesel::{OrderRow, PaymentRow};
use diesel::connection::SimpleConnection as _;
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use domain::{OrderId, PaymentId};

use crate::statements::HeldPaymentIds;

/// Has the queries of this transaction planned for their values: some outcomes are frequent and others rare, which
/// decides along which index to walk.
pub(crate) fn plan_by_values(connection: &mut PgConnection) -> QueryResult<()> {
    connection.batch_execute("SET LOCAL plan_cache_mode = force_custom_plan")
}

/// The time after this duration on the server's clock.
pub(crate) fn time_after(duration: Duration) -> SqlLiteral<PortableTimestamp> {
    sql(&format!("clock_timestamp() + {} * interval '1 microsecond'", duration.as_micros()))
}

/// These payments, as far as they are registered, with their keys and their orders.
pub(crate) fn payments_with_orders(
    connection: &mut PgConnection,
    ids: &BTreeSet<PaymentId>,
) -> QueryResult<Vec<(i64, PaymentRow, OrderRow)>> {
    external_payments::table
        .inner_join(orders::table)
        .filter(external_payments::payment_id.eq_any(ids.iter().map(PaymentId::as_str)))
        .select((external_payments::payment_key, PaymentRow::as_select(), OrderRow::as_select()))
        .load(connection)
}

/// Locks these payments, as far as they are registered, in the order of their ids, and yields the keys of their orders.
pub(crate) fn lock_payments(connection: &mut PgConnection, ids: &BTreeSet<PaymentId>) -> QueryResult<Vec<i64>> {
    external_payments::table
        .filter(external_payments::payment_id.eq_any(ids.iter().map(PaymentId::as_str)))
        .order(external_payments::payment_id)
        .select(external_payments::order_key)
        .for_no_key_update()
        .load(connection)
}

/// Locks the orders with these keys and, as far as they exist, those with these ids, in the order of their ids, and
/// yields them with their keys. What is not there now counts as absent: a later statement could find an order that is
/// not locked.
pub(crate) fn lock_orders(
    connection: &mut PgConnection,
    keys: &[i64],
    ids: &BTreeSet<OrderId>,
) -> QueryResult<Vec<(i64, OrderRow)>> {
    orders::table
        .filter(orders::order_key.eq_any(keys).or(orders::order_id.eq_any(ids.iter().map(OrderId::as_str))))
        .order(orders::order_id)
        .select((orders::order_key, OrderRow::as_select()))
        .for_no_key_update()
        .load(connection)
}

/// Those of these payments that another session has locked, by their row, their order's row or their id. What is free
/// is locked until the transaction ends; nothing is waited for.
pub(crate) fn held_payments(
    connection: &mut PgConnection,
    ids: &BTreeSet<PaymentId>,
) -> QueryResult<BTreeSet<PaymentId>> {
    let held: Vec<String> = ids.iter().collect::<HeldPaymentIds>().load(connection)?;
    Ok(held.iter().filter_map(|id| PaymentId::parse(id).ok()).collect())
}

/// Lets nothing wait for these payments any longer.
pub(crate) fn unpark(connection: &mut PgConnection, payments: &[PaymentId]) -> QueryResult<()> {
    let of_payments = parked_deliveries::payment_id.eq_any(payments.iter().map(PaymentId::as_str));
    diesel::delete(parked_deliveries::table.filter(of_payments)).execute(connection).map(drop)
}
