use std::collections::BTreeSet;
use std::time::Duration;

use adapters_diesel::schema::{event_queues, external_payments, open_payments, orders};
use adapters_diesel::sql_types::PortableTimestamp;
use adapters_diesel::{OpenRow, OrderChange, OrderRow, PaymentChange, PaymentRow, RowIds, StorageError, StoredTime};
use diesel::dsl::sql;
use diesel::expression::SqlLiteral;
use diesel::prelude::*;
use domain::{ExternalPayment, Order, OrderId, PaymentId};

use crate::statements::{UpdateOrder, UpdatePayment};

/// SQLite does so by itself where it has statistics; without them, plans do not depend on values.
pub(crate) fn plan_by_values(_: &mut SqliteConnection) -> QueryResult<()> {
    Ok(())
}

/// The time after this duration on the machine's clock, to the millisecond, as times are stored.
pub(crate) fn time_after(duration: Duration) -> SqlLiteral<PortableTimestamp> {
    let (seconds, millis) = (duration.as_secs(), duration.subsec_millis());
    sql(&format!("strftime('%Y-%m-%d %H:%M:%f000+00:00', 'now', '+{seconds}.{millis:03} seconds')"))
}

/// These payments, as far as they are registered, with their keys and their orders. Row by row: a statement that is the
/// same each time is prepared once, and there is no round trip to save. Not by a join: in a database that has been
/// analysed, SQLite plans one anew for each value.
pub(crate) fn payments_with_orders(
    connection: &mut SqliteConnection,
    ids: &BTreeSet<PaymentId>,
) -> QueryResult<Vec<(i64, PaymentRow, OrderRow)>> {
    let find = |id: &PaymentId| {
        let payment: Option<(i64, PaymentRow)> = external_payments::table
            .filter(external_payments::payment_id.eq(id.as_str()))
            .select((external_payments::payment_key, PaymentRow::as_select()))
            .get_result(connection)
            .optional()?;
        let Some((key, payment)) = payment else { return Ok(None) };
        let order = orders::table.find(payment.order_key).select(OrderRow::as_select()).get_result(connection)?;
        Ok(Some((key, payment, order)))
    };
    ids.iter().map(find).filter_map(Result::transpose).collect()
}

/// These orders, as far as they exist, with their keys.
pub(crate) fn orders<'a>(
    connection: &mut SqliteConnection,
    ids: impl Iterator<Item = &'a OrderId>,
) -> QueryResult<Vec<(i64, OrderRow)>> {
    let find = |id: &OrderId| {
        orders::table
            .filter(orders::order_id.eq(id.as_str()))
            .select((orders::order_key, OrderRow::as_select()))
            .get_result(connection)
            .optional()
    };
    ids.map(find).filter_map(Result::transpose).collect()
}

/// Stores what has changed of a payment.
pub(crate) fn update_payment(
    connection: &mut SqliteConnection,
    payment: &ExternalPayment,
    keys: &RowIds,
) -> Result<(), StorageError> {
    if !payment.status.is_open() {
        let OpenRow { created_at, payment_key } = OpenRow::new(payment, keys)?;
        diesel::delete(open_payments::table.find((created_at, payment_key))).execute(connection)?;
    }
    UpdatePayment(&PaymentChange::new(payment, keys)?).execute(connection)?;
    Ok(())
}

/// Stores what has changed of an order.
pub(crate) fn update_order(
    connection: &mut SqliteConnection,
    order: &Order,
    keys: &RowIds,
) -> Result<(), StorageError> {
    UpdateOrder(&OrderChange::new(order, keys)?).execute(connection)?;
    Ok(())
}

/// Puts the order with this key among those with events to send, due at this time unless it is there already.
pub(crate) fn queue(connection: &mut SqliteConnection, order_key: i64, due_at: StoredTime) -> QueryResult<()> {
    diesel::insert_into(event_queues::table)
        .values((event_queues::order_key.eq(order_key), event_queues::due_at.eq(due_at)))
        .on_conflict(event_queues::order_key)
        .do_update()
        .set(event_queues::revision.eq(event_queues::revision + 1))
        .execute(connection)?;
    Ok(())
}
