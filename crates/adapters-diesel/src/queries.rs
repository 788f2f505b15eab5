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
            At, DeliveryRow, EventRow, FiguresRow, InnerRow, InvoiceRow, Key, OpenRow, OrderRow, ParkedRow,
            PartialRefundRow, PaymentRow, PaypalRow, RecordRow, RecordedRow, StorageError, WebpayRow, figures_query,
            read_all, recorded_payment,
        };

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

        /// The deliveries that wait for these payments, in the order in which they came.
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
            let recorded: Option<RecordedRow> = external_payments::table
                .left_join(paypal_payments::table)
                .left_join(webpay_payments::table)
                .left_join(inner_payments::table)
                .left_join(invoice_payments::table)
                .filter(external_payments::payment_id.eq(id.as_str()))
                .select(RecordedRow::as_select())
                .first(connection)
                .optional()?;
            let Some(recorded) = recorded else { return Ok(None) };
            let payment = recorded_payment(recorded)?;
            let order: OrderRow = orders::table
                .find(payment.payment.order_id.as_str())
                .select(OrderRow::as_select())
                .first(connection)?;
            Ok(Some((payment, order.try_into()?)))
        }

        /// A payment with all that belongs to it.
        pub(crate) fn payment_history(connection: &mut $Connection, id: &PaymentId) -> Stored<Option<PaymentHistory>> {
            let Some((payment, order)) = payment_and_order(connection, id)? else { return Ok(None) };
            let history: Vec<DeliveryRow> = deliveries::table
                .filter(deliveries::payment_id.eq(id.as_str()))
                .order(deliveries::delivery_id.desc())
                .limit(HISTORY_MAX)
                .select(DeliveryRow::as_select())
                .load(connection)?;
            Ok(Some(PaymentHistory { payment, order, deliveries: read_all(history)? }))
        }

        /// An order with all its payments.
        pub(crate) fn order_history(connection: &mut $Connection, id: &OrderId) -> Stored<Option<OrderHistory>> {
            let order: Option<OrderRow> =
                orders::table.find(id.as_str()).select(OrderRow::as_select()).first(connection).optional()?;
            let Some(order) = order else { return Ok(None) };
            let payments: Vec<RecordedRow> = external_payments::table
                .left_join(paypal_payments::table)
                .left_join(webpay_payments::table)
                .left_join(inner_payments::table)
                .left_join(invoice_payments::table)
                .filter(external_payments::order_id.eq(id.as_str()))
                .order((external_payments::created_at, external_payments::payment_id))
                .select(RecordedRow::as_select())
                .load(connection)?;
            let payments = payments.into_iter().map(recorded_payment).collect::<Stored<_>>()?;
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
            let DeliveryFilter { payment, order, outcome, since, before, limit } = filter;
            let mut query = deliveries::table.order(deliveries::delivery_id.desc()).limit(*limit).into_boxed();
            if let Some(payment) = payment {
                query = query.filter(deliveries::payment_id.eq(payment.as_str()));
            }
            if let Some(order) = order {
                query = query.filter(deliveries::order_id.eq(order.as_str())).filter(
                    sql::<Bool>(
                        "delivery_id IN (SELECT delivery_id FROM deliveries WHERE payment_id IN \
                         (SELECT payment_id FROM external_payments WHERE order_id = ",
                    )
                    .bind::<Text, _>(order.as_str())
                    .sql(") UNION ALL SELECT delivery_id FROM deliveries WHERE order_id = ")
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
            read_all(query.select(DeliveryRow::as_select()).load(connection)?)
        }

        /// How the ledger stands.
        pub(crate) fn figures(connection: &mut $Connection) -> Stored<LedgerFigures> {
            Ok(diesel::sql_query(figures_query()).get_result::<FiguresRow>(connection)?.into())
        }

        /// Stores what registrations have added.
        pub(crate) fn add(
            connection: &mut $Connection,
            added_orders: Vec<Order>,
            added_payments: Vec<(ExternalPayment, Option<MethodRecord>)>,
        ) -> QueryResult<()> {
            for order in added_orders {
                diesel::insert_into(orders::table).values(OrderRow::from(order)).execute(connection)?;
            }
            for (payment, record) in added_payments {
                let record = record.map(|record| RecordRow::new(&payment.id, record));
                let open = payment.status.is_open().then(|| OpenRow::from(&payment));
                diesel::insert_into(external_payments::table).values(PaymentRow::from(payment)).execute(connection)?;
                match record {
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
                if let Some(row) = open {
                    diesel::insert_into(open_payments::table).values(row).execute(connection)?;
                }
            }
            Ok(())
        }

        /// Stores which deliveries wait, which wait no longer, and the partial refunds that are new: all of
        /// it rare.
        pub(crate) fn store_rarities(
            connection: &mut $Connection,
            parked: Vec<ParkedRow>,
            unparked: Vec<DeliveryId>,
            refunds: Vec<PartialRefund>,
        ) -> QueryResult<()> {
            for row in parked {
                diesel::insert_into(parked_deliveries::table).values(row).execute(connection)?;
            }
            if !unparked.is_empty() {
                let unparked = parked_deliveries::delivery_id.eq_any(unparked.into_iter().map(Key));
                diesel::delete(parked_deliveries::table.filter(unparked)).execute(connection)?;
            }
            for refund in refunds {
                let row = PartialRefundRow::from(refund);
                diesel::insert_into(partial_refunds::table).values(row).execute(connection)?;
            }
            Ok(())
        }
    };
}
