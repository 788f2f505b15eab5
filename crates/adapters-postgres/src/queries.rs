adapters_diesel::define_queries!(diesel::PgConnection);

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

/// Locks these payments, as far as they are registered, in the order of their ids.
pub(crate) fn lock_payments(connection: &mut PgConnection, ids: &BTreeSet<PaymentId>) -> QueryResult<()> {
    external_payments::table
        .filter(external_payments::payment_id.eq_any(ids.iter().map(PaymentId::as_str)))
        .order(external_payments::payment_id)
        .select(external_payments::payment_key)
        .for_no_key_update()
        .execute(connection)
        .map(drop)
}

/// Locks these orders, as far as they exist, in the order of their ids, and yields them with their keys. What is not
/// there now counts as absent: whoever reads on would find what nobody has locked.
pub(crate) fn lock_orders(connection: &mut PgConnection, ids: &BTreeSet<OrderId>) -> QueryResult<Vec<(i64, OrderRow)>> {
    orders::table
        .filter(orders::order_id.eq_any(ids.iter().map(OrderId::as_str)))
        .order(orders::order_id)
        .select((orders::order_key, OrderRow::as_select()))
        .for_no_key_update()
        .load(connection)
}
