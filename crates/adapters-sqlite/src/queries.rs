adapters_diesel::define_queries!(diesel::SqliteConnection);

use adapters_diesel::missing_record;
use domain::PaymentMethod;

/// These payments, as far as they are registered.
pub(crate) fn payments(connection: &mut SqliteConnection, ids: &BTreeSet<PaymentId>) -> QueryResult<Vec<PaymentRow>> {
    external_payments::table
        .filter(external_payments::payment_id.eq_any(ids.iter().map(PaymentId::as_str)))
        .select(PaymentRow::as_select())
        .load(connection)
}

/// These orders, as far as they exist.
pub(crate) fn orders(connection: &mut SqliteConnection, ids: &BTreeSet<OrderId>) -> QueryResult<Vec<OrderRow>> {
    orders::table
        .filter(orders::order_id.eq_any(ids.iter().map(OrderId::as_str)))
        .select(OrderRow::as_select())
        .load(connection)
}

/// Stores where a payment now stands, and lets its method's record follow.
pub(crate) fn update_payment(connection: &mut SqliteConnection, payment: ExternalPayment) -> Stored<()> {
    let (id, method) = (payment.id.clone(), payment.method);
    if !payment.status.is_open() {
        let OpenRow { created_at, payment_id } = OpenRow::from(&payment);
        diesel::delete(open_payments::table.find((created_at, payment_id))).execute(connection)?;
    }
    let row = PaymentRow::from(payment);
    diesel::update(external_payments::table.find(&row.payment_id))
        .set((
            external_payments::status.eq(&row.status),
            external_payments::transaction_id.eq(&row.transaction_id),
            external_payments::updated_at.eq(row.updated_at),
            external_payments::paid_at.eq(row.paid_at),
        ))
        .execute(connection)?;
    let followed = match method {
        PaymentMethod::Paypal => diesel::update(paypal_payments::table.find(&row.payment_id))
            .set((paypal_payments::status.eq(&row.status), paypal_payments::transaction_id.eq(&row.transaction_id)))
            .execute(connection)?,
        PaymentMethod::Webpay => diesel::update(webpay_payments::table.find(&row.payment_id))
            .set((webpay_payments::status.eq(&row.status), webpay_payments::transaction_id.eq(&row.transaction_id)))
            .execute(connection)?,
        PaymentMethod::Inner => diesel::update(inner_payments::table.find(&row.payment_id))
            .set(inner_payments::status.eq(&row.status))
            .execute(connection)?,
        PaymentMethod::Invoice => diesel::update(invoice_payments::table.find(&row.payment_id))
            .set((invoice_payments::status.eq(&row.status), invoice_payments::receipt.eq(&row.transaction_id)))
            .execute(connection)?,
        PaymentMethod::Card
        | PaymentMethod::Stripe
        | PaymentMethod::Payu
        | PaymentMethod::Fiobanka
        | PaymentMethod::Comgate => return Ok(()),
    };
    if followed == 1 { Ok(()) } else { Err(missing_record([&id])) }
}

/// Stores where an order now stands.
pub(crate) fn update_order(connection: &mut SqliteConnection, order: Order) -> QueryResult<()> {
    let row = OrderRow::from(order);
    diesel::update(orders::table.find(&row.order_id))
        .set((
            orders::status.eq(&row.status),
            orders::paid_by.eq(&row.paid_by),
            orders::paid_at.eq(row.paid_at),
            orders::updated_at.eq(row.updated_at),
        ))
        .execute(connection)?;
    Ok(())
}
