//! Statements that write any number of rows at once. Their parameters are arrays, one for each column, so
//! that a statement is the same for every batch and each connection prepares it once.

use adapters_diesel::sql_types::{Identifier, Moment};
use adapters_diesel::{At, DeliveryRow, EventRow, Key, OrderRow, PaymentRow};
use diesel::pg::Pg;
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{Array, Binary, Nullable, Text};
use domain::PaymentId;

/// Defines a statement that reads `unnest($1, $2, …)`: which columns of which rows, and the SQL around it.
macro_rules! unnest_statement {
    (
        $(#[$doc:meta])*
        $Name:ident takes $Row:ty { $($column:ident: $Rust:ty => $Sql:ty),+ $(,)? }
        $before:literal ... $after:literal
    ) => {
        $(#[$doc])*
        #[derive(Debug, Default, QueryId)]
        pub(crate) struct $Name {
            $($column: Vec<$Rust>,)+
        }

        impl FromIterator<$Row> for $Name {
            fn from_iter<I: IntoIterator<Item = $Row>>(rows: I) -> Self {
                let mut statement = Self::default();
                for row in rows {
                    $(statement.$column.push(row.$column);)+
                }
                statement
            }
        }

        impl QueryFragment<Pg> for $Name {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Pg>) -> QueryResult<()> {
                out.push_sql($before);
                let mut separator = ["unnest("].into_iter().chain(std::iter::repeat(", "));
                $(
                    out.push_sql(separator.next().unwrap_or_default());
                    out.push_bind_param::<Array<$Sql>, _>(&self.$column)?;
                )+
                out.push_sql(")");
                out.push_sql($after);
                Ok(())
            }
        }

        impl RunQueryDsl<PgConnection> for $Name {}
    };
}

unnest_statement! {
    /// Moves payments to where they now stand.
    UpdatePayments takes PaymentRow {
        payment_id: String => Text,
        status: String => Text,
        transaction_id: Option<String> => Nullable<Text>,
        updated_at: At => Moment,
        paid_at: Option<At> => Nullable<Moment>,
    }
    "UPDATE external_payments p SET status = new.status, transaction_id = new.transaction_id, \
     updated_at = new.updated_at, paid_at = new.paid_at FROM " ...
    " AS new (payment_id, status, transaction_id, updated_at, paid_at) WHERE p.payment_id = new.payment_id"
}

unnest_statement! {
    /// Lets the records of PayPal payments follow them.
    UpdatePaypal takes PaymentRow {
        payment_id: String => Text,
        status: String => Text,
        transaction_id: Option<String> => Nullable<Text>,
    }
    "UPDATE paypal_payments r SET status = new.status, transaction_id = new.transaction_id FROM " ...
    " AS new (payment_id, status, transaction_id) WHERE r.payment_id = new.payment_id"
}

unnest_statement! {
    /// Lets the records of WebPay payments follow them.
    UpdateWebpay takes PaymentRow {
        payment_id: String => Text,
        status: String => Text,
        transaction_id: Option<String> => Nullable<Text>,
    }
    "UPDATE webpay_payments r SET status = new.status, transaction_id = new.transaction_id FROM " ...
    " AS new (payment_id, status, transaction_id) WHERE r.payment_id = new.payment_id"
}

unnest_statement! {
    /// Lets the records of inner payments follow them.
    UpdateInner takes PaymentRow {
        payment_id: String => Text,
        status: String => Text,
    }
    "UPDATE inner_payments r SET status = new.status FROM " ...
    " AS new (payment_id, status) WHERE r.payment_id = new.payment_id"
}

unnest_statement! {
    /// Lets the records of invoice payments follow them.
    UpdateInvoice takes PaymentRow {
        payment_id: String => Text,
        status: String => Text,
        transaction_id: Option<String> => Nullable<Text>,
    }
    "UPDATE invoice_payments r SET status = new.status, receipt = new.receipt FROM " ...
    " AS new (payment_id, status, receipt) WHERE r.payment_id = new.payment_id"
}

unnest_statement! {
    /// Moves orders to where they now stand.
    UpdateOrders takes OrderRow {
        order_id: String => Text,
        status: String => Text,
        paid_by: Option<String> => Nullable<Text>,
        paid_at: Option<At> => Nullable<Moment>,
        updated_at: At => Moment,
    }
    "UPDATE orders o SET status = new.status, paid_by = new.paid_by, paid_at = new.paid_at, \
     updated_at = new.updated_at FROM " ...
    " AS new (order_id, status, paid_by, paid_at, updated_at) WHERE o.order_id = new.order_id"
}

unnest_statement! {
    /// Adds audit entries.
    InsertDeliveries takes DeliveryRow {
        delivery_id: Key => Identifier,
        received_at: At => Moment,
        source: String => Text,
        payment_id: Option<String> => Nullable<Text>,
        order_id: Option<String> => Nullable<Text>,
        status: Option<String> => Nullable<Text>,
        event: Option<String> => Nullable<Text>,
        method: Option<String> => Nullable<Text>,
        amount: Option<String> => Nullable<Text>,
        currency: Option<String> => Nullable<Text>,
        sent_at: Option<At> => Nullable<Moment>,
        transaction_id: Option<String> => Nullable<Text>,
        body_sha256: Option<Vec<u8>> => Nullable<Binary>,
        key_name: Option<String> => Nullable<Text>,
        request_id: Option<String> => Nullable<Text>,
        outcome: String => Text,
        reason: Option<String> => Nullable<Text>,
        previous_status: Option<String> => Nullable<Text>,
        new_status: Option<String> => Nullable<Text>,
    }
    "INSERT INTO deliveries (delivery_id, received_at, source, payment_id, order_id, status, event, method, amount, \
     currency, sent_at, transaction_id, body_sha256, key_name, request_id, outcome, reason, previous_status, \
     new_status) SELECT * FROM " ... ""
}

unnest_statement! {
    /// Adds events; they are numbered in this order.
    InsertEvents takes EventRow {
        kind: String => Text,
        order_id: String => Text,
        payment_id: String => Text,
        paid_at: Option<At> => Nullable<Moment>,
        created_at: At => Moment,
    }
    "INSERT INTO events (kind, order_id, payment_id, paid_at, created_at) SELECT * FROM " ... ""
}

/// Locks the ids of payments until the transaction ends, registered or not. Whoever parks a notification
/// and whoever registers its payment take this lock before they look, so neither can miss the other. Taken
/// in one order, and before any row is locked.
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
