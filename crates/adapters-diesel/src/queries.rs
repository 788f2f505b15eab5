//! The statements that are the same on every database.

/// Defines them for one type of connection. Diesel checks a query against its connection's type; spelling
/// out for a generic connection what each query needs of it would hide what the query says.
#[macro_export]
macro_rules! define_queries {
    ($Connection:ty) => {
        use std::collections::BTreeSet;

        use diesel::dsl::sql;
        use diesel::prelude::*;
        use diesel::sql_types::{Bool, Text};
        use domain::{Delivery, DeliveryId, ExternalPayment, MethodRecord, Order, OrderId, PartialRefund, PaymentId};
        use ports::{DeliveryFilter, HISTORY_MAX, LedgerFigures, OrderHistory, PaymentHistory, RecordedPayment};
        use $crate::schema::{
            deliveries, events, external_payments, inner_payments, invoice_payments, open_payments, orders,
            parked_deliveries, partial_refunds, paypal_payments, webpay_payments,
        };
        use $crate::{
            At, DeliveryRow, EventRow, FiguresRow, InnerRow, InvoiceRow, Key, OpenRow, OrderRow, PartialRefundRow,
            PaymentRow, PaypalRow, RecordRow, RecordedRow, StorageError, SurrogateKeys, WebpayRow, figures_query,
            read_all, recorded_payment,
        };

        type Backend = <$Connection as diesel::Connection>::Backend;
        type Stored<T> = Result<T, StorageError>;

        /// Those of these partial refunds that are known.
        pub(crate) fn known_partial_refunds(
            connection: &mut $Connection,
            wanted: &BTreeSet<PartialRefund>,
        ) -> QueryResult<Vec<PartialRefundRow>> {
            if wanted.is_empty() {
                return Ok(Vec::new());
            }
            // Of the cross product of payments and times nothing too much is known to the books.
            partial_refunds::table
                .filter(partial_refunds::payment_id.eq_any(wanted.iter().map(|refund| refund.payment_id.as_str())))
                .filter(partial_refunds::sent_at.eq_any(wanted.iter().map(|refund| At(refund.sent_at))))
                .select(PartialRefundRow::as_select())
                .load(connection)
        }

        /// The deliveries that wait for these payments, in the order in which they were parked.
        pub(crate) fn waiting_deliveries(
            connection: &mut $Connection,
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
        pub(crate) fn payment_and_order(
            connection: &mut $Connection,
            id: &PaymentId,
        ) -> Stored<Option<(RecordedPayment, Order)>> {
            let row: Option<(OrderRow, RecordedRow)> = external_payments::table
                .inner_join(orders::table)
                .left_join(paypal_payments::table)
                .left_join(webpay_payments::table)
                .left_join(inner_payments::table)
                .left_join(invoice_payments::table)
                .filter(external_payments::payment_id.eq(id.as_str()))
                .select(<(OrderRow, RecordedRow)>::as_select())
                .first(connection)
                .optional()?;
            let Some((order, recorded)) = row else { return Ok(None) };
            let order = Order::try_from(order)?;
            Ok(Some((recorded_payment(recorded, order.id.clone())?, order)))
        }

        /// A payment with all that belongs to it.
        pub(crate) fn payment_history(connection: &mut $Connection, id: &PaymentId) -> Stored<Option<PaymentHistory>> {
            let Some((payment, order)) = payment_and_order(connection, id)? else { return Ok(None) };
            let filter = DeliveryFilter { payment: Some(id.clone()), ..DeliveryFilter::newest(HISTORY_MAX + 1) };
            Ok(Some(PaymentHistory::new(payment, order, filtered_deliveries(connection, &filter)?)))
        }

        /// An order with all its payments.
        pub(crate) fn order_history(connection: &mut $Connection, id: &OrderId) -> Stored<Option<OrderHistory>> {
            let row: Option<(i64, OrderRow)> = orders::table
                .filter(orders::order_id.eq(id.as_str()))
                .select((orders::order_key, OrderRow::as_select()))
                .first(connection)
                .optional()?;
            let Some((key, order)) = row else { return Ok(None) };
            let payments: Vec<RecordedRow> = external_payments::table
                .left_join(paypal_payments::table)
                .left_join(webpay_payments::table)
                .left_join(inner_payments::table)
                .left_join(invoice_payments::table)
                .filter(external_payments::order_key.eq(key))
                .order((external_payments::created_at, external_payments::payment_id))
                .select(RecordedRow::as_select())
                .load(connection)?;
            let payments = payments.into_iter().map(|row| recorded_payment(row, id.clone())).collect::<Stored<_>>()?;
            Ok(Some(OrderHistory { order: order.try_into()?, payments }))
        }

        /// One audit entry.
        pub(crate) fn delivery(connection: &mut $Connection, id: DeliveryId) -> Stored<Option<Delivery>> {
            let row: Option<DeliveryRow> =
                deliveries::table.find(Key(id)).select(DeliveryRow::as_select()).first(connection).optional()?;
            row.map(Delivery::try_from).transpose()
        }

        /// Audit entries, newest first.
        pub(crate) fn filtered_deliveries(
            connection: &mut $Connection,
            filter: &DeliveryFilter,
        ) -> Stored<Vec<Delivery>> {
            let Some(payment) = &filter.payment else {
                return read_all(deliveries_query(filter).select(DeliveryRow::as_select()).load(connection)?);
            };
            let key: Option<i64> = external_payments::table
                .filter(external_payments::payment_id.eq(payment.as_str()))
                .select(external_payments::payment_key)
                .first(connection)
                .optional()?;
            // What was noted of it while it was looked for in vain is found by its id.
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
                    .sql(" AND outcome IN ('parked', 'rejected', 'invalid'))"),
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
                // An id begins with the millisecond of its receipt: this ends the walk along the index.
                query = query
                    .filter(deliveries::delivery_id.ge(Key(DeliveryId::first_at(*since))))
                    .filter(deliveries::received_at.ge(At(*since)));
            }
            if let Some(before) = before {
                query = query.filter(deliveries::delivery_id.lt(Key(*before)));
            }
            query
        }

        /// How the ledger stands.
        pub(crate) fn figures(connection: &mut $Connection) -> Stored<LedgerFigures> {
            Ok(diesel::sql_query(figures_query()).get_result::<FiguresRow>(connection)?.into())
        }

        /// Stores what registrations have added, and notes the keys that it was given.
        pub(crate) fn add(
            connection: &mut $Connection,
            added_orders: Vec<Order>,
            added_payments: Vec<(ExternalPayment, Option<MethodRecord>)>,
            keys: &mut SurrogateKeys,
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
                match record.map(|record| RecordRow::new(payment_key, record)) {
                    Some(RecordRow::Paypal(row)) => {
                        diesel::insert_into(paypal_payments::table).values(row).execute(connection)?;
                    }
                    Some(RecordRow::Webpay(row)) => {
                        diesel::insert_into(webpay_payments::table).values(row).execute(connection)?;
                    }
                    Some(RecordRow::Inner(row)) => {
                        diesel::insert_into(inner_payments::table).values(row).execute(connection)?;
                    }
                    Some(RecordRow::Invoice(row)) => {
                        diesel::insert_into(invoice_payments::table).values(row).execute(connection)?;
                    }
                    None => {}
                }
                if payment.status.is_open() {
                    let row = OpenRow::new(&payment, keys)?;
                    diesel::insert_into(open_payments::table).values(row).execute(connection)?;
                }
            }
            Ok(())
        }
    };
}
