adapters_diesel::define_queries!(diesel::SqliteConnection);

use adapters_diesel::{OrderChange, PaymentChange, missing_record};
use domain::PaymentMethod;

use crate::statements::{UpdateInner, UpdateInvoice, UpdateOrder, UpdatePayment, UpdatePaypal, UpdateWebpay};

/// These payments, as far as they are registered, with their keys and their orders. Row by row, for a statement that is
/// the same each time is prepared but once, and nothing goes to and fro. Not by a join: in a database that has been
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

/// Stores where a payment now stands, and lets its method's record follow.
pub(crate) fn update_payment(
    connection: &mut SqliteConnection,
    payment: &ExternalPayment,
    keys: &SurrogateKeys,
) -> Stored<()> {
    if !payment.status.is_open() {
        let OpenRow { created_at, payment_key } = OpenRow::new(payment, keys)?;
        diesel::delete(open_payments::table.find((created_at, payment_key))).execute(connection)?;
    }
    let change = PaymentChange::new(payment, keys)?;
    UpdatePayment(&change).execute(connection)?;
    let followed = match payment.method {
        PaymentMethod::Paypal => UpdatePaypal(&change).execute(connection)?,
        PaymentMethod::Webpay => UpdateWebpay(&change).execute(connection)?,
        PaymentMethod::Inner => UpdateInner(&change).execute(connection)?,
        PaymentMethod::Invoice => UpdateInvoice(&change).execute(connection)?,
        PaymentMethod::Card
        | PaymentMethod::Stripe
        | PaymentMethod::Payu
        | PaymentMethod::Fiobanka
        | PaymentMethod::Comgate => return Ok(()),
    };
    if followed == 1 { Ok(()) } else { Err(missing_record([&payment.id])) }
}

/// Stores where an order now stands.
pub(crate) fn update_order(connection: &mut SqliteConnection, order: &Order, keys: &SurrogateKeys) -> Stored<()> {
    UpdateOrder(&OrderChange::new(order, keys)?).execute(connection)?;
    Ok(())
}
