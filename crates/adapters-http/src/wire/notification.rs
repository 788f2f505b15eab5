//! The body of a callback (contract §3).

use domain::{
    Currency, Money, Notification, OrderId, Payload, PaymentId, PaymentMethod, PaymentStatus, Report, TransactionId,
    parse_timestamp, parse_word,
};
use utoipa::ToSchema;

use super::FieldError;
use super::fields::Fields;
use super::json::Members;
use crate::openapi::{examples, vocabulary};

const FIELDS: [&str; 9] =
    ["paymentId", "orderId", "status", "event", "paymentMethod", "timestamp", "metadata", "amount", "currency"];

/// The body of a callback. Other fields are ignored; `null` is as good as absent; no name may stand twice.
#[derive(ToSchema)]
#[schema(as = Notification, rename_all = "camelCase", examples(examples::notification, examples::partial_refund))]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct NotificationBody {
    payment_id: vocabulary::PaymentId,
    order_id: vocabulary::OrderId,
    status: vocabulary::PaymentStatus,
    /// Equal to `status`; or `refunded` where `status` is `completed`, which is a partial refund.
    event: vocabulary::PaymentStatus,
    payment_method: vocabulary::PaymentMethod,
    timestamp: vocabulary::GivenTime,
    metadata: Option<MetadataBody>,
    /// When present, it must equal what was registered.
    amount: Option<vocabulary::GivenAmount>,
    /// When present, it must equal what was registered.
    currency: Option<vocabulary::CurrencyCode>,
}

/// What the provider adds.
#[derive(ToSchema)]
#[schema(as = Metadata, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct MetadataBody {
    /// Kept if it is a text of 1 to 255 characters without control characters; left out if not, never refused.
    #[schema(value_type = Value, required = false)]
    provider_transaction_id: (),
}

/// A body that is no notification.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidNotification {
    /// What could be read all the same.
    pub payload: Payload,
    /// Everything that is wrong with it.
    pub errors: Vec<FieldError>,
}

/// Reads the body of a callback. Fields that are not known are ignored: real senders add some.
///
/// # Errors
/// [`InvalidNotification`], with every field that is wrong.
pub fn read_notification(body: &[u8]) -> Result<Notification, InvalidNotification> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::members;

    #[test]
    fn the_fields_that_are_read_are_those_that_are_described() {
        assert_eq!(members::<NotificationBody>(), FIELDS.map(str::to_owned).into());
    }
}
