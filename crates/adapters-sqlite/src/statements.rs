//! Updates that are prepared once. Diesel prepares those that it writes itself anew each time, for their columns may
//! vary.

use adapters_diesel::sql_types::PortableTimestamp;
use adapters_diesel::{OrderChange, PaymentChange};
use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Nullable, Text};
use diesel::sqlite::Sqlite;

/// Defines an update of the row with the same key: which columns are set to the fields of the same names.
macro_rules! update {
    (
        $(#[$doc:meta])*
        $Name:ident takes $Row:ty {
            $table:ident where $key:ident, $first:ident: $First:ty $(, $column:ident: $Sql:ty)* $(,)?
        }
    ) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $Name<'a>(pub(crate) &'a $Row);

        impl QueryFragment<Sqlite> for $Name<'_> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql(concat!("UPDATE ", stringify!($table), " SET ", stringify!($first), " = "));
                out.push_bind_param::<$First, _>(&self.0.$first)?;
                $(
                    out.push_sql(concat!(", ", stringify!($column), " = "));
                    out.push_bind_param::<$Sql, _>(&self.0.$column)?;
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
    /// Stores what has changed of a payment.
    UpdatePayment takes PaymentChange {
        external_payments where payment_key,
        status: Text,
        transaction_id: Nullable<Text>,
        updated_at: PortableTimestamp,
        paid_at: Nullable<PortableTimestamp>,
    }
}

update! {
    /// Stores what has changed of an order.
    UpdateOrder takes OrderChange {
        orders where order_key,
        status: Text,
        paid_by: Nullable<Text>,
        paid_at: Nullable<PortableTimestamp>,
        updated_at: PortableTimestamp,
    }
}
