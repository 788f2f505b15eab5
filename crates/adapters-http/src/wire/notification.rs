//! The body of a callback (contract §3).

use domain::{
    Currency, Money, Notification, OrderId, Payload, PaymentId, PaymentMethod, PaymentStatus, Report, TransactionId,
    parse_timestamp, parse_word,
};

use super::FieldError;
use super::fields::Fields;
use super::json::Members;

const FIELDS: [&str; 9] =
    ["paymentId", "orderId", "status", "event", "paymentMethod", "timestamp", "metadata", "amount", "currency"];

/// A body that is no notification.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidNotification {
    /// What could be read all the same.
    pub(crate) payload: Payload,
    /// Everything that is wrong with it.
    pub(crate) errors: Vec<FieldError>,
}

/// Reads the body of a callback. Fields that are not known are ignored: real senders add some.
pub(crate) fn read_notification(body: &[u8]) -> Result<Notification, InvalidNotification> {
    let mut fields = Fields::of_body(body, &FIELDS)
        .map_err(|error| InvalidNotification { payload: Payload::default(), errors: vec![error] })?;
    let payload = Payload {
        payment_id: fields.required("paymentId", PaymentId::parse),
        order_id: fields.required("orderId", OrderId::parse),
        status: fields.required("status", parse_word::<PaymentStatus>),
        event: fields.required("event", parse_word::<PaymentStatus>),
        method: fields.required("paymentMethod", parse_word::<PaymentMethod>),
        sent_at: fields.required("timestamp", parse_timestamp),
        transaction_id: fields.object("metadata").and_then(|metadata| transaction_id(&metadata)),
        amount: fields.amount("amount"),
        currency: fields.optional("currency", Currency::parse),
    };
    if let (Some(status), Some(event)) = (payload.status, payload.event)
        && Report::from_words(status, event).is_none()
    {
        fields.refuse("event", "must equal status (or be refunded where status is completed)");
    }
    if let (Some(amount), Some(currency)) = (payload.amount, payload.currency)
        && let Err(error) = Money::new(amount, currency)
    {
        fields.refuse("amount", error);
    }
    match payload.notification() {
        Some(notification) if fields.errors.is_empty() => Ok(notification),
        _ => Err(InvalidNotification { payload, errors: fields.errors }),
    }
}

/// The provider's id, if it is one; what else stands there is left out, not refused.
fn transaction_id(metadata: &Members<'_>) -> Option<TransactionId> {
    let text: String = serde_json::from_str(metadata.get("providerTransactionId")?.get()).ok()?;
    TransactionId::parse(&text).ok()
}
