//! The words, ids, amounts and times that requests and responses are made of, as schemas. What can be taken
//! from the domain is taken from there.

use std::borrow::Cow;
use std::sync::LazyLock;

use domain::{Currency, OutcomeKind, RegistrationOutcome};
use strum::VariantArray as _;
use utoipa::openapi::schema::{Object, ObjectBuilder, OneOfBuilder, SchemaType};
use utoipa::openapi::{KnownFormat, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::paths::DOCS_FILES;

/// The ids of the examples.
pub(crate) const PAYMENT_ID: &str = "5f0c2d9e-7c1a-4a53-9d0e-2b6f7a1c8e44";
pub(crate) const ORDER_ID: &str = "marathon:22855c43-0a4e-4c8e-9b7e-0f3a5f0c9d11:1767322800123";

/// Names schemas. The types have no values.
macro_rules! vocabulary {
    ($($(#[doc = $doc:literal])+ $Name:ident = $schema:expr;)*) => {$(
        $(#[doc = $doc])+
        pub(crate) enum $Name {}

        impl PartialSchema for $Name {
            fn schema() -> RefOr<Schema> {
                $schema.description(Some(concat!($($doc),+).trim())).into()
            }
        }

        impl ToSchema for $Name {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($Name))
            }
        }
    )*};
}

vocabulary! {
    /// The id that payments-microservice gave the payment; opaque.
    PaymentId = text(domain::PaymentId::CHARACTERS_MAX).examples([PAYMENT_ID]);
    /// The id that the portal gave the order; opaque.
    OrderId = text(domain::OrderId::CHARACTERS_MAX).examples([ORDER_ID]);
    /// The id that payments-microservice gave the payment; opaque, but for the few that could not be read back under
    /// their own path.
    NewPaymentId = addressable(domain::PaymentId::CHARACTERS_MAX, "\\.|\\.\\.|webhook").examples([PAYMENT_ID]);
    /// The id that the portal gave the order; opaque, but for those that could not be read back under their own path.
    NewOrderId = addressable(domain::OrderId::CHARACTERS_MAX, "\\.|\\.\\.").examples([ORDER_ID]);
    /// The payment provider's own id of the transaction.
    TransactionId = text(domain::TransactionId::CHARACTERS_MAX);
    /// The number of the portal's invoice that the payment settles.
    InvoiceNumber = text(domain::InvoiceNumber::CHARACTERS_MAX);
    /// The portal's id of the user whose inner balance pays.
    UserId = text(domain::UserId::CHARACTERS_MAX);
    /// Where the portal sends the customer's browser; kept for the portal, never followed.
    RedirectUrl = text(domain::RedirectUrl::CHARACTERS_MAX);
    /// The id of an audit entry.
    DeliveryId = string().format(Some(SchemaFormat::Custom("uuid".to_owned())));
    /// The id of an event, the same at every attempt to deliver it.
    EventId = string().format(Some(SchemaFormat::Custom("uuid".to_owned())));
    /// The id under which everything about one request is logged.
    RequestId = string().pattern(Some(REQUEST_ID));
    /// SHA-256 of the body as it was sent, in hex.
    BodySha256 = string().pattern(Some("^[0-9a-f]{64}$"));
    /// The name of a key: `k-` and the first eight hex digits of its SHA-256.
    KeyName = string().pattern(Some("^k-[0-9a-f]{8}$"));

    /// How far a payment has come. It only moves up, in this order.
    PaymentStatus = words(domain::words::<domain::PaymentStatus>());
    /// What became of an order.
    OrderStatus = words(domain::words::<domain::OrderStatus>());
    /// How a payment is made.
    PaymentMethod = words(domain::words::<domain::PaymentMethod>());
    /// The method that a sender reported, in its own word.
    MethodName = text(domain::MethodName::CHARACTERS_MAX);
    /// How the sender says that the payment is made, such as one of the examples. It decides nothing, for the
    /// registered method counts: a text of 1 to 64 characters without control characters is kept, and anything else
    /// left out.
    ReportedMethod = anything().examples(domain::words::<domain::PaymentMethod>());
    /// What the provider adds. Anything but an object is left out. `providerTransactionId` is kept if it is a text of 1
    /// to 255 characters without control characters, and left out if not.
    Metadata = anything().property("providerTransactionId", anything());
    /// Who brought a notification: its sender, the registration that it had waited for, or an operator.
    Source = words(domain::words::<domain::Source>());
    /// What an event says.
    EventType = words(domain::words::<domain::EventKind>());
    /// How far the portal has been told of an event. `dead`: every attempt failed, or the portal wants it no more.
    EventState = words(domain::words::<domain::EventState>());
    /// What became of a delivery.
    Outcome = words(domain::words::<OutcomeKind>());
    /// What became of a notification that is settled. `duplicate`: it is in that state already; `ignored`: it
    /// would go backwards; `unapplied`: the money arrived and is recorded, but the order could not be paid, and
    /// an operator must look.
    SettledOutcome = words(settled());
    /// Whether the payment is new.
    RegistrationStatus =
        words([RegistrationOutcome::Registered, RegistrationOutcome::Exists].into_iter().map(Into::into));
    /// ISO 4217; only currencies with minor units. In requests the letters may be in either case.
    CurrencyCode = words(CURRENCIES.iter().map(String::as_str));

    /// What the page of the description consists of.
    DocsFile = words(DOCS_FILES.into_iter());
    /// The process lives.
    Alive = status("alive");
    /// Callbacks can be settled.
    ReadyStatus = words(["ready"].into_iter());

    /// A decimal number with as many decimals as its currency has.
    Amount = string().pattern(Some("^[0-9]+(\\.[0-9]+)?$"));
    /// A number or a decimal string: more than zero, at most 15 digits, and no more decimals than the currency has, of
    /// which zeros do not count. A number that is off by less than 10⁻⁶ is taken for the amount that it is near.
    GivenAmount = OneOfBuilder::new()
        .item(ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0)).maximum(Some(999_999_999_999_999_i64)))
        .item(string().pattern(Some("^([0-9]*[1-9][0-9]*(\\.[0-9]+)?|[0-9]+\\.[0-9]*[1-9][0-9]*)$")));
    /// RFC 3339, with any offset and any fraction of a second.
    GivenTime = string().format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)));
}

/// The `status` of what is settled.
pub(crate) fn success() -> Object {
    word("success")
}

/// What is taken as a request id.
pub(crate) const REQUEST_ID: &str = "^[A-Za-z0-9._:-]{1,128}$";

pub(crate) fn string() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(Type::String)
}

fn anything() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue)
}

/// One of these words.
pub(crate) fn words<'a>(words: impl Iterator<Item = &'a str>) -> ObjectBuilder {
    string().enum_values(Some(words))
}

/// This word and no other.
pub(crate) fn word(word: &str) -> Object {
    words([word].into_iter()).build()
}

/// 1 to so many characters, none of them a control character (Unicode category Cc).
fn text(characters_max: usize) -> ObjectBuilder {
    string().min_length(Some(1)).max_length(Some(characters_max)).pattern(Some("^[^\\u0000-\\u001F\\u007F-\\u009F]*$"))
}

/// The same without those that are matched by this pattern.
fn addressable(characters_max: usize, reserved: &str) -> ObjectBuilder {
    text(characters_max).pattern(Some(format!("^(?!({reserved})$)[^\\u0000-\\u001F\\u007F-\\u009F]*$")))
}

/// A document of nothing but a status.
fn status(only: &str) -> ObjectBuilder {
    ObjectBuilder::new().property("status", word(only)).required("status")
}

/// The others are answered with a problem.
fn settled() -> impl Iterator<Item = &'static str> {
    OutcomeKind::VARIANTS.iter().filter(|kind| kind.class().is_applied()).map(Into::into)
}

/// Every code that is read; the domain has no list of them.
static CURRENCIES: LazyLock<Vec<String>> = LazyLock::new(|| {
    let pairs = letters().flat_map(|first| letters().map(move |second| (first, second)));
    let codes = pairs.flat_map(|(first, second)| letters().map(move |third| String::from_iter([first, second, third])));
    codes.filter(|code| Currency::parse(code).is_ok()).collect()
});

fn letters() -> impl Iterator<Item = char> {
    'A'..='Z'
}

/// The names of a schema's members.
#[cfg(test)]
pub(crate) fn members<T: PartialSchema>() -> std::collections::BTreeSet<String> {
    let schema = serde_json::to_value(T::schema()).unwrap_or_default();
    schema["properties"].as_object().into_iter().flat_map(|members| members.keys().cloned()).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn enumerated<T: PartialSchema>() -> Vec<Value> {
        let schema = serde_json::to_value(T::schema()).expect("JSON");
        schema["enum"].as_array().expect("words").clone()
    }

    #[test]
    fn currencies_are_those_that_payments_are_made_in() {
        let currencies = enumerated::<CurrencyCode>();
        for code in ["CZK", "EUR", "JPY", "USD"] {
            assert!(currencies.contains(&code.into()), "{code}");
        }
        assert!(!currencies.contains(&"XAU".into()));
    }

    #[test]
    fn what_is_answered_with_a_problem_is_not_settled() {
        let (all, settled) = (enumerated::<Outcome>(), enumerated::<SettledOutcome>());
        let others: Vec<_> = all.into_iter().filter(|word| !settled.contains(word)).collect();
        assert_eq!(others, ["parked", "rejected", "invalid"]);
    }
}
