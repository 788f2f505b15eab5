diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    orders (order_key) {
        order_key -> BigInt,
        order_id -> Text,
        amount_minor -> BigInt,
        currency -> Text,
        status -> Text,
        paid_by -> Nullable<Text>,
        paid_at -> Nullable<PortableTimestamp>,
        created_at -> PortableTimestamp,
        updated_at -> PortableTimestamp,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    external_payments (payment_key) {
        payment_key -> BigInt,
        payment_id -> Text,
        order_key -> BigInt,
        method -> Text,
        amount_minor -> BigInt,
        currency -> Text,
        status -> Text,
        redirect_url -> Nullable<Text>,
        transaction_id -> Nullable<Text>,
        created_at -> PortableTimestamp,
        updated_at -> PortableTimestamp,
        paid_at -> Nullable<PortableTimestamp>,
    }
}

diesel::table! {
    inner_payment_details (payment_key) {
        payment_key -> BigInt,
        user_id -> Text,
    }
}

diesel::table! {
    invoice_payment_details (payment_key) {
        payment_key -> BigInt,
        invoice_number -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    partial_refunds (payment_id, sent_at, transaction_id) {
        payment_id -> Text,
        sent_at -> PortableTimestamp,
        transaction_id -> Text,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    deliveries (delivery_id) {
        delivery_id -> PortableUuid,
        received_at -> PortableTimestamp,
        source -> Text,
        payment_key -> Nullable<BigInt>,
        payment_id -> Nullable<Text>,
        order_id -> Nullable<Text>,
        status -> Nullable<Text>,
        event -> Nullable<Text>,
        method -> Nullable<Text>,
        amount -> Nullable<Text>,
        currency -> Nullable<Text>,
        sent_at -> Nullable<PortableTimestamp>,
        transaction_id -> Nullable<Text>,
        body_sha256 -> Nullable<Binary>,
        key_name -> Nullable<Text>,
        request_id -> Nullable<Text>,
        outcome -> Text,
        reason -> Nullable<Text>,
        previous_status -> Nullable<Text>,
        new_status -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    parked_deliveries (delivery_id) {
        delivery_id -> PortableUuid,
        payment_id -> Text,
        identity -> Nullable<Binary>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    events (event_id) {
        event_id -> PortableUuid,
        position -> BigInt,
        kind -> Text,
        order_key -> BigInt,
        payment_key -> BigInt,
        paid_at -> Nullable<PortableTimestamp>,
        created_at -> PortableTimestamp,
        failures -> Integer,
        delivered_at -> Nullable<PortableTimestamp>,
        died_at -> Nullable<PortableTimestamp>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    event_queues (order_key) {
        order_key -> BigInt,
        due_at -> PortableTimestamp,
        claimed_until -> Nullable<PortableTimestamp>,
        revision -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    event_attempts (event_id, attempted_at) {
        event_id -> PortableUuid,
        attempted_at -> PortableTimestamp,
        duration_ms -> BigInt,
        status -> Nullable<Integer>,
        error -> Nullable<Text>,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    open_payments (created_at, payment_key) {
        created_at -> PortableTimestamp,
        payment_key -> BigInt,
    }
}

diesel::table! {
    use diesel::sql_types::*;
    use crate::columns::sql_types::*;

    leases (name) {
        name -> Text,
        holder -> PortableUuid,
        expires_at -> PortableTimestamp,
    }
}

diesel::joinable!(events -> external_payments (payment_key));
diesel::joinable!(events -> orders (order_key));
diesel::joinable!(external_payments -> orders (order_key));
diesel::joinable!(inner_payment_details -> external_payments (payment_key));
diesel::joinable!(invoice_payment_details -> external_payments (payment_key));
diesel::joinable!(parked_deliveries -> deliveries (delivery_id));

diesel::allow_tables_to_appear_in_same_query!(
    orders,
    external_payments,
    inner_payment_details,
    invoice_payment_details,
    events,
    event_queues,
);
diesel::allow_tables_to_appear_in_same_query!(deliveries, parked_deliveries);

diesel::table! {
    __diesel_schema_migrations (version) {
        version -> Text,
    }
}
