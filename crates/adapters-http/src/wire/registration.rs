//! The body of a registration (contract §5).

use domain::{
    Currency, InvoiceNumber, Money, OrderId, PaymentId, PaymentMethod, RecordDetails, RedirectUrl, Registration,
    UserId, parse_word,
};
use utoipa::ToSchema;

use super::FieldError;
use super::fields::Fields;
use crate::openapi::{examples, vocabulary};

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

/// The body of a registration. Other fields are ignored and not kept; `null` is as good as absent; no name may
/// stand twice.
#[derive(ToSchema)]
#[schema(as = Registration, rename_all = "camelCase", examples(examples::registration))]
#[expect(dead_code, reason = "it describes what is read below")]
pub(crate) struct RegistrationBody {
    /// Required, unless `paymentId` is there.
    external_payment_id: Option<vocabulary::PaymentId>,
    /// Another name for `externalPaymentId`. Where both are there, they must agree.
    payment_id: Option<vocabulary::PaymentId>,
    order_id: vocabulary::OrderId,
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openapi::members;

    #[test]
    fn the_fields_that_are_read_are_those_that_are_described() {
        assert_eq!(members::<RegistrationBody>(), FIELDS.map(str::to_owned).into());
    }
}
