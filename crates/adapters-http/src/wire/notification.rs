//! The body of a callback (contract §3).

use domain::{
    Currency, MethodName, Money, Notification, OrderId, Payload, PaymentId, PaymentStatus, Report, TransactionId,
    parse_reported_timestamp, parse_word,
};
use utoipa::ToSchema;

use super::FieldError;
use super::fields::{Fields, amount, object, text};
use crate::vocabulary;

const FIELDS: [&str; 9] =
    ["paymentId", "orderId", "status", "event", "paymentMethod", "timestamp", "metadata", "amount", "currency"];

/// The body of a callback. Other fields are ignored; `null` counts as absent, and so does `""` where a field is
/// optional; no name may stand twice.
#[derive(ToSchema)]
#[schema(as = Notification, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct NotificationBody {
    payment_id: vocabulary::PaymentId,
    order_id: vocabulary::OrderId,
    status: vocabulary::PaymentStatus,
    /// Equal to `status`; or `refunded` where `status` is `completed`, which is a partial refund.
    event: vocabulary::PaymentStatus,
    #[schema(required = false)]
    payment_method: vocabulary::ReportedMethod,
    /// Also as ISO 8601 has it: an offset of `+0000` or `+00`, none (UTC), or a space for the `T`.
    timestamp: vocabulary::GivenTime,
    #[schema(required = false)]
    metadata: vocabulary::Metadata,
    /// When present, it must equal what was registered, by value. Where `event` is `refunded`, it is what was refunded,
    /// and must not be more.
    amount: Option<vocabulary::GivenAmount>,
    /// When present, it must equal what was registered.
    currency: Option<vocabulary::CurrencyCode>,
}

/// A body that is a notification.
#[derive(Debug, PartialEq, Eq)]
pub struct ValidNotification {
    /// What it says.
    pub notification: Notification,
    /// What of it was left out and why: it decides nothing, so it does not refuse the payment.
    pub left_out: Vec<FieldError>,
}

/// A body that is no notification.
#[derive(Debug, PartialEq, Eq)]
pub struct InvalidNotification {
    /// What could be read all the same.
    pub payload: Box<Payload>,
    /// Everything that is wrong with it.
    pub errors: Vec<FieldError>,
}

impl From<FieldError> for InvalidNotification {
    /// Nothing could be read of it.
    fn from(error: FieldError) -> Self {
        Self { payload: Box::default(), errors: vec![error] }
    }
}

/// Reads the body of a callback. Fields that are not known are ignored: real senders add some.
///
/// # Errors
/// [`InvalidNotification`], with every field that is wrong.
pub fn read_notification(body: &[u8]) -> Result<ValidNotification, InvalidNotification> {
    let mut fields = Fields::of_body(body, &FIELDS)?;
    let payload = Payload {
        payment_id: fields.required("paymentId", text(PaymentId::parse)),
        order_id: fields.required("orderId", text(OrderId::parse)),
        status: fields.required("status", text(parse_word::<PaymentStatus>)),
        event: fields.required("event", text(parse_word::<PaymentStatus>)),
        method: method(&mut fields),
        sent_at: fields.required("timestamp", text(parse_reported_timestamp)),
        transaction_id: transaction_id(&mut fields),
        amount: fields.optional("amount", amount),
        currency: fields.optional("currency", text(Currency::parse)),
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
    let Fields { errors, left_out, .. } = fields;
    match payload.notification() {
        Some(notification) if errors.is_empty() => Ok(ValidNotification { notification, left_out }),
        _ => Err(InvalidNotification { payload: Box::new(payload), errors }),
    }
}

/// The method, whatever it is called. The deployed sender names none.
fn method(fields: &mut Fields<'_>) -> Option<MethodName> {
    let left_out = fields.left_out.len();
    let method = fields.lenient("paymentMethod", text(MethodName::parse));
    if method.is_none() && fields.left_out.len() == left_out {
        fields.leave_out("paymentMethod", "is missing");
    }
    method
}

fn transaction_id(fields: &mut Fields<'_>) -> Option<TransactionId> {
    let id = fields.lenient("metadata", object)?.given("providerTransactionId")?;
    let parsed = text(TransactionId::parse)(id);
    parsed.inspect_err(|error| fields.leave_out("metadata.providerTransactionId", error)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::members;

    #[test]
    fn the_fields_that_are_read_are_those_that_are_described() {
        assert_eq!(members::<NotificationBody>(), FIELDS.map(str::to_owned).into());
    }
}
