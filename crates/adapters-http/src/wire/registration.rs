//! The body of a registration (contract §5).

use domain::{
    Currency, InvoiceNumber, Money, PaymentId, PaymentMethod, RecordDetails, RedirectUrl, Registration, UserId,
    parse_new_order_id, parse_new_payment_id, parse_word,
};
use utoipa::ToSchema;

use super::FieldError;
use super::fields::{Fields, amount, text};
use crate::vocabulary;

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

/// The body of a registration. Other fields are ignored and not kept; `null` counts as absent, and so does `""` where
/// a field is optional; no name may stand twice.
#[derive(ToSchema)]
#[schema(as = Registration, rename_all = "camelCase")]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct RegistrationBody {
    /// Required, unless `paymentId` is there.
    external_payment_id: Option<vocabulary::NewPaymentId>,
    /// Another name for `externalPaymentId`. Where both are there, they must agree.
    payment_id: Option<vocabulary::NewPaymentId>,
    order_id: vocabulary::NewOrderId,
    amount: vocabulary::GivenAmount,
    currency: vocabulary::CurrencyCode,
    payment_method: vocabulary::PaymentMethod,
    redirect_url: Option<vocabulary::RedirectUrl>,
    /// Kept for `invoice`.
    invoice_number: Option<vocabulary::InvoiceNumber>,
    /// Kept for `inner`.
    user_id: Option<vocabulary::UserId>,
}

/// Reads the body of a registration; the errors are everything that is wrong with it. Fields that are not
/// known are ignored and not kept: the real client sends an e-mail address.
pub(crate) fn read_registration(body: &[u8]) -> Result<Registration, Vec<FieldError>> {
    let mut fields = Fields::of_body(body, &FIELDS).map_err(|error| vec![error])?;
    let payment_id = payment_id(&mut fields);
    let order_id = fields.required("orderId", text(parse_new_order_id));
    let method = fields.required("paymentMethod", text(parse_word::<PaymentMethod>));
    let price = price(&mut fields);
    let redirect_url = fields.optional("redirectUrl", text(RedirectUrl::parse));
    let invoice_number = fields.optional("invoiceNumber", text(InvoiceNumber::parse));
    let user_id = fields.optional("userId", text(UserId::parse));
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
    let alias = fields.optional("paymentId", text(parse_new_payment_id));
    let alias_is_bad = fields.errors.iter().any(|error| error.field == "paymentId");
    let named = if alias.is_some() || alias_is_bad {
        fields.optional("externalPaymentId", text(parse_new_payment_id))
    } else {
        fields.required("externalPaymentId", text(parse_new_payment_id))
    };
    if let (Some(named), Some(alias)) = (&named, &alias)
        && named != alias
    {
        fields.refuse("paymentId", "must agree with externalPaymentId");
    }
    named.or(alias)
}

fn price(fields: &mut Fields<'_>) -> Option<Money> {
    let currency = fields.required("currency", text(Currency::parse));
    let amount = fields.required("amount", amount);
    Money::new(amount?, currency?).inspect_err(|error| fields.refuse("amount", error)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vocabulary::members;

    #[test]
    fn the_fields_that_are_read_are_those_that_are_described() {
        assert_eq!(members::<RegistrationBody>(), FIELDS.map(str::to_owned).into());
    }
}
