//! The registered payments, by their number. Their ids are numbers too, for pgbench knows nothing else to count
//! with, and scattered, so that the neighbours of a payment are anywhere in an index, as with UUIDs. In the tables
//! they stand in the order of their numbers, as if they were registered one after the other.

use domain::{Currency, Money, MoneyError, PaymentMethod};

/// What a payment's number times [`FACTOR`], modulo [`MODULUS`], is added to for its id. Odd factors scatter.
pub const PAYMENT_ID_FIRST: u64 = 1_000_000_000_000_000_000;

/// The same for its order's id, so that each of the two can be told from the other.
pub const ORDER_ID_FIRST: u64 = 2_000_000_000_000_000_000;

/// See [`PAYMENT_ID_FIRST`].
pub const FACTOR: u64 = 2_654_435_761;

/// See [`PAYMENT_ID_FIRST`].
pub const MODULUS: u64 = 1 << 32;

/// What every order costs, in cents.
pub const AMOUNT_MINOR: i64 = 2900;

/// In this currency.
pub const CURRENCY: &str = "EUR";

/// How twenty payments in a row are made: mostly by WebPay, some by a provider that keeps no record here, and some
/// by each of the others that do.
pub const METHODS: [PaymentMethod; 20] = {
    let mut methods = [PaymentMethod::Webpay; 20];
    methods[15] = PaymentMethod::Card;
    methods[16] = PaymentMethod::Card;
    methods[17] = PaymentMethod::Paypal;
    methods[18] = PaymentMethod::Invoice;
    methods[19] = PaymentMethod::Inner;
    methods
};

/// The id of a payment.
#[must_use]
pub fn payment_id(number: u64) -> String {
    (number * FACTOR % MODULUS + PAYMENT_ID_FIRST).to_string()
}

/// The id of its order.
#[must_use]
pub fn order_id(number: u64) -> String {
    (number * FACTOR % MODULUS + ORDER_ID_FIRST).to_string()
}

/// The id of the order of the payment with this id; `None` if that is none of ours.
#[must_use]
pub fn order_id_of(payment_id: &str) -> Option<String> {
    let payment_id: u64 = payment_id.parse().ok()?;
    Some((payment_id.checked_sub(PAYMENT_ID_FIRST)? + ORDER_ID_FIRST).to_string())
}

/// How it is made.
#[must_use]
pub fn method(number: u64) -> PaymentMethod {
    let place = number % METHODS.len() as u64;
    usize::try_from(place).map_or(PaymentMethod::Webpay, |place| METHODS[place])
}

/// What its order costs.
///
/// # Errors
/// None: it is a price.
pub fn price() -> Result<Money, MoneyError> {
    Money::from_minor(AMOUNT_MINOR, Currency::parse(CURRENCY)?)
}
