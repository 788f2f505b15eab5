//! The body of a registration (contract §5).

use domain::{
    Currency, InvoiceNumber, Money, OrderId, PaymentId, PaymentMethod, RecordDetails, RedirectUrl, Registration,
    UserId, parse_word,
};

use super::FieldError;
use super::fields::Fields;

const FIELDS: [&str; 9] = [
    "externalPaymentId",
    "paymentId",
    "orderId",
    "amount",
    "currency",
    "paymentMethod",
    "redirectUrl",
    "invoiceNumber",
    "userId",
];

/// Reads the body of a registration; the errors are everything that is wrong with it. Fields that are not
/// known are ignored and not kept: the real client sends an e-mail address.
pub(crate) fn read_registration(body: &[u8]) -> Result<Registration, Vec<FieldError>> {
    let mut fields = Fields::of_body(body, &FIELDS).map_err(|error| vec![error])?;
    let payment_id = payment_id(&mut fields);
    let order_id = fields.required("orderId", OrderId::parse);
    let method = fields.required("paymentMethod", parse_word::<PaymentMethod>);
    let price = price(&mut fields);
    let redirect_url = fields.optional("redirectUrl", RedirectUrl::parse);
    let invoice_number = fields.optional("invoiceNumber", InvoiceNumber::parse);
    let user_id = fields.optional("userId", UserId::parse);
    match (payment_id, order_id, method, price) {
        (Some(payment_id), Some(order_id), Some(method), Some(price)) if fields.errors.is_empty() => {
            let details = RecordDetails { invoice_number, user_id };
            Ok(Registration { payment_id, order_id, price, method, redirect_url, details })
        }
        _ => Err(fields.errors),
    }
}

/// The id may stand under either name; under both, they must agree.
fn payment_id(fields: &mut Fields<'_>) -> Option<PaymentId> {
    let alias = fields.optional("paymentId", PaymentId::parse);
    let alias_is_bad = fields.errors.iter().any(|error| error.field == "paymentId");
    let named = if alias.is_some() || alias_is_bad {
        fields.optional("externalPaymentId", PaymentId::parse)
    } else {
        fields.required("externalPaymentId", PaymentId::parse)
    };
    if let (Some(named), Some(alias)) = (&named, &alias)
        && named != alias
    {
        fields.refuse("paymentId", "must agree with externalPaymentId");
    }
    named.or(alias)
}

fn price(fields: &mut Fields<'_>) -> Option<Money> {
    let currency = fields.required("currency", Currency::parse);
    fields.require("amount");
    let amount = fields.amount("amount");
    Money::new(amount?, currency?).inspect_err(|error| fields.refuse("amount", error)).ok()
}
