adapters_diesel::define_queries!(diesel::SqliteConnection);

use adapters_diesel::missing_record;
use domain::PaymentMethod;

use crate::statements::{UpdateInner, UpdateInvoice, UpdateOrder, UpdatePayment, UpdatePaypal, UpdateWebpay};

/// These payments, as far as they are registered. One by one, for a statement that is the same each time is prepared
/// but once, and nothing goes to and fro.
pub(crate) fn payments(connection: &mut SqliteConnection, ids: &BTreeSet<PaymentId>) -> QueryResult<Vec<PaymentRow>> {
    let find = |id: &PaymentId| {
        external_payments::table.find(id.as_str()).select(PaymentRow::as_select()).get_result(connection).optional()
    };
    ids.iter().map(find).filter_map(Result::transpose).collect()
}

/// These orders, as far as they exist.
pub(crate) fn orders(connection: &mut SqliteConnection, ids: &BTreeSet<OrderId>) -> QueryResult<Vec<OrderRow>> {
    let find =
        |id: &OrderId| orders::table.find(id.as_str()).select(OrderRow::as_select()).get_result(connection).optional();
    ids.iter().map(find).filter_map(Result::transpose).collect()
}

/// Stores where a payment now stands, and lets its method's record follow.
pub(crate) fn update_payment(connection: &mut SqliteConnection, payment: ExternalPayment) -> Stored<()> {
    let method = payment.method;
    if !payment.status.is_open() {
        let OpenRow { created_at, payment_id } = OpenRow::from(&payment);
        diesel::delete(open_payments::table.find((created_at, payment_id))).execute(connection)?;
    }
    let row = PaymentRow::from(payment);
    UpdatePayment(&row).execute(connection)?;
    let followed = match method {
        PaymentMethod::Paypal => UpdatePaypal(&row).execute(connection)?,
        PaymentMethod::Webpay => UpdateWebpay(&row).execute(connection)?,
        PaymentMethod::Inner => UpdateInner(&row).execute(connection)?,
        PaymentMethod::Invoice => UpdateInvoice(&row).execute(connection)?,
        PaymentMethod::Card
        | PaymentMethod::Stripe
        | PaymentMethod::Payu
        | PaymentMethod::Fiobanka
        | PaymentMethod::Comgate => return Ok(()),
    };
    if followed == 1 { Ok(()) } else { Err(missing_record([&row.payment_id])) }
}

/// Stores where an order now stands.
pub(crate) fn update_order(connection: &mut SqliteConnection, order: Order) -> QueryResult<()> {
    UpdateOrder(&OrderRow::from(order)).execute(connection).map(drop)
}
