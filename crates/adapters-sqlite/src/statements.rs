//! Updates that are prepared once. Diesel prepares those that it writes itself anew each time, for their columns may
//! vary.

use adapters_diesel::sql_types::Moment;
use adapters_diesel::{OrderChange, PaymentChange};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;

/// Defines an update of the row with the same key: which columns become which fields.
macro_rules! update {
    (
        $(#[$doc:meta])*
        $Name:ident takes $Row:ty {
            $table:ident where $key:ident, $first:ident = $first_field:ident: $First:ty
            $(, $column:ident = $field:ident: $Sql:ty)* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $Name<'a>(pub(crate) &'a $Row);

        impl QueryFragment<Sqlite> for $Name<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql(concat!("UPDATE ", stringify!($table), " SET ", stringify!($first), " = "));
                out.push_bind_param::<$First, _>(&self.0.$first_field)?;
                $(
                    out.push_sql(concat!(", ", stringify!($column), " = "));
                    out.push_bind_param::<$Sql, _>(&self.0.$field)?;
                )*
                out.push_sql(concat!(" WHERE ", stringify!($key), " = "));
                out.push_bind_param::<BigInt, _>(&self.0.$key)
            }
        }

        impl QueryId for $Name<'_> {
            type QueryId = $Name<'static>;

            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl RunQueryDsl<SqliteConnection> for $Name<'_> {}
    };
}

update! {
    /// Moves a payment to where it now stands.
    UpdatePayment takes PaymentChange {
        external_payments where payment_key,
        status = status: Text,
        transaction_id = transaction_id: Nullable<Text>,
        updated_at = updated_at: Moment,
        paid_at = paid_at: Nullable<Moment>,
    }
}

update! {
    /// Lets the record of a PayPal payment follow it.
    UpdatePaypal takes PaymentChange {
        paypal_payments where payment_key, status = status: Text, transaction_id = transaction_id: Nullable<Text>,
    }
}

update! {
    /// Lets the record of a WebPay payment follow it.
    UpdateWebpay takes PaymentChange {
        webpay_payments where payment_key, status = status: Text, transaction_id = transaction_id: Nullable<Text>,
    }
}

update! {
    /// Lets the record of an inner payment follow it.
    UpdateInner takes PaymentChange {
        inner_payments where payment_key, status = status: Text,
    }
}

update! {
    /// Lets the record of an invoice payment follow it.
    UpdateInvoice takes PaymentChange {
        invoice_payments where payment_key, status = status: Text, receipt = transaction_id: Nullable<Text>,
    }
}

update! {
    /// Moves an order to where it now stands.
    UpdateOrder takes OrderChange {
        orders where order_key,
        status = status: Text,
        paid_by = paid_by: Nullable<Text>,
        paid_at = paid_at: Nullable<Moment>,
        updated_at = updated_at: Moment,
    }
}
