//! What requests and responses look like, on one payment. Where there is a type for it, it is a value of it.

use serde_json::{Value, json};

use crate::documents::{
    DeliveriesDocument, DeliveryDocument, EventAttemptDocument, EventDocument, EventHistoryDocument, EventsDocument,
    OrderDocument, OrderHistoryDocument, PaymentDocument, PaymentHistoryDocument, RecordDocument, RedeliveredDocument,
    RegistrationDocument, ReplayDocument, SettledDocument, Timestamp,
};
use crate::vocabulary::{ORDER_ID, PAYMENT_ID};

pub(crate) const REQUEST_ID: &str = "01a209f5-4c66-7477-a85c-71728d9ace35";
const DELIVERY_ID: &str = "01a209f5-da13-7678-b16f-8a8e3fd49073";
const EVENT_ID: &str = "01a209f5-da13-7678-b06f-8a8e3fd49073";
const REDIRECT_URL: &str = "https://portal.example/payments/return";
const TRANSACTION_ID: &str = "2501010001";
const REGISTERED_AT: &str = "2026-01-02T03:00:00.123Z";
const PAID_AT: &str = "2026-01-02T03:04:05.678Z";

pub(crate) fn notification() -> Value {
    json!({
        "paymentId": PAYMENT_ID,
        "orderId": ORDER_ID,
        "status": "completed",
        "event": "completed",
        "paymentMethod": "webpay",
        "timestamp": "2026-01-02T03:04:05Z",
        "metadata": { "providerTransactionId": TRANSACTION_ID, "additionalInfo": {} },
    })
}

pub(crate) fn partial_refund() -> Value {
    json!({
        "paymentId": PAYMENT_ID,
        "orderId": ORDER_ID,
        "status": "completed",
        "event": "refunded",
        "paymentMethod": "webpay",
        "timestamp": "2026-01-09T10:11:12.5+01:00",
        "amount": "5.00",
        "currency": "EUR",
    })
}

pub(crate) fn registration() -> Value {
    json!({
        "externalPaymentId": PAYMENT_ID,
        "orderId": ORDER_ID,
        "amount": "29.00",
        "currency": "EUR",
        "paymentMethod": "webpay",
        "redirectUrl": REDIRECT_URL,
    })
}

pub(crate) fn payment() -> PaymentDocument {
    let transaction_id = || Some(TRANSACTION_ID.to_owned());
    PaymentDocument {
        payment_id: PAYMENT_ID.to_owned(),
        order_id: ORDER_ID.to_owned(),
        payment_method: "webpay",
        amount: "29.00".to_owned(),
        currency: "EUR",
        status: "completed",
        redirect_url: Some(REDIRECT_URL.to_owned()),
        provider_transaction_id: transaction_id(),
        created_at: time(REGISTERED_AT),
        updated_at: time(PAID_AT),
        paid_at: Some(time(PAID_AT)),
        record: Some(RecordDocument::Webpay { status: "completed", transaction_id: transaction_id() }),
    }
}

pub(crate) fn order() -> OrderDocument {
    OrderDocument {
        order_id: ORDER_ID.to_owned(),
        amount: "29.00".to_owned(),
        currency: "EUR",
        status: "paid",
        paid_by: Some(PAYMENT_ID.to_owned()),
        paid_at: Some(time(PAID_AT)),
        created_at: time(REGISTERED_AT),
        updated_at: time(PAID_AT),
    }
}

pub(crate) fn delivery() -> DeliveryDocument {
    DeliveryDocument {
        delivery_id: Some(DELIVERY_ID.to_owned()),
        received_at: time(PAID_AT),
        source: "callback",
        payment_id: Some(PAYMENT_ID.to_owned()),
        order_id: Some(ORDER_ID.to_owned()),
        status: Some("completed"),
        event: Some("completed"),
        payment_method: Some("webpay".to_owned()),
        sent_at: Some(time("2026-01-02T03:04:05.000Z")),
        provider_transaction_id: Some(TRANSACTION_ID.to_owned()),
        body_sha256: Some("44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a".to_owned()),
        key_name: Some("k-deadbe0f".to_owned()),
        outcome: "completed",
        reason: None,
        previous_status: Some("pending"),
        new_status: Some("completed"),
        request_id: Some(REQUEST_ID.to_owned()),
    }
}

pub(crate) fn settled() -> SettledDocument {
    SettledDocument {
        status: "success",
        outcome: "completed",
        delivery_id: DELIVERY_ID.to_owned(),
        payment_id: Some(PAYMENT_ID.to_owned()),
        order_id: Some(ORDER_ID.to_owned()),
    }
}

pub(crate) fn registered() -> RegistrationDocument {
    RegistrationDocument { status: "registered", applied: vec!["completed"], payment: payment(), order: order() }
}

pub(crate) fn payment_history() -> PaymentHistoryDocument {
    PaymentHistoryDocument { payment: payment(), order: order(), deliveries: vec![delivery()], next_cursor: None }
}

pub(crate) fn order_history() -> OrderHistoryDocument {
    OrderHistoryDocument { order: order(), payments: vec![payment()] }
}

pub(crate) fn deliveries() -> DeliveriesDocument {
    DeliveriesDocument { deliveries: vec![delivery()], next_cursor: None }
}

pub(crate) fn replay() -> ReplayDocument {
    let delivery =
        DeliveryDocument { source: "replay", outcome: "duplicate", previous_status: Some("completed"), ..delivery() };
    ReplayDocument { outcome: "duplicate", dry_run: false, delivery, payment: Some(payment()), order: Some(order()) }
}

pub(crate) fn event() -> EventDocument {
    EventDocument {
        event_id: EVENT_ID.to_owned(),
        r#type: "order.paid",
        order_id: ORDER_ID.to_owned(),
        payment_id: PAYMENT_ID.to_owned(),
        state: "pending",
        attempts: 1,
        created_at: time(PAID_AT),
        next_attempt_at: Some(time("2026-01-02T03:04:10.901Z")),
        delivered_at: None,
        last_error: Some("answered 503".to_owned()),
    }
}

pub(crate) fn event_attempt() -> EventAttemptDocument {
    EventAttemptDocument {
        attempted_at: time(PAID_AT),
        duration_ms: 12,
        status: Some(503),
        error: Some("answered 503".to_owned()),
    }
}

pub(crate) fn event_history() -> EventHistoryDocument {
    EventHistoryDocument { event: event(), history: vec![event_attempt()] }
}

pub(crate) fn events() -> EventsDocument {
    EventsDocument { events: vec![event()], next_cursor: None }
}

pub(crate) fn redelivered() -> RedeliveredDocument {
    RedeliveredDocument { matched: 1, redelivered: 1, dry_run: false }
}

fn time(text: &str) -> Timestamp {
    Timestamp(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{read_notification, read_registration};

    #[test]
    fn the_requests_are_taken() {
        for body in [notification(), partial_refund()] {
            assert!(read_notification(body.to_string().as_bytes()).is_ok(), "{body}");
        }
        assert!(read_registration(registration().to_string().as_bytes()).is_ok());
    }
}
