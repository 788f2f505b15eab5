//! Small words for what happens to payments, so that a test says only what matters to it. The same second
//! means the same time everywhere; ids are made up by the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Currency, Delivery, DeliveryId, MethodName, Money, Notification, OrderId, Outcome, Payload, PaymentId,
    PaymentMethod, PaymentStatus, Receipt, RecordDetails, Registration, Report, Settlement, Source, TransactionId,
};
use ports::{Clock, DeliveryFilter, Keys, Ledger, LedgerError, OrderHistory, PaymentHistory};
use usecases::{Callback, Caller, Reading, Registered, register_payment};
use uuid::Uuid;

/// A report of full completion.
pub const COMPLETED: Report = Report::Reached(PaymentStatus::Completed);

/// A clock that stands still.
#[derive(Debug, Clone, Copy)]
pub struct FixedClock(pub DateTime<Utc>);

impl Clock for FixedClock {
    fn now(&self) -> DateTime<Utc> {
        self.0
    }
}

/// A clock for what is received up to second 2.
#[must_use]
pub fn clock() -> Arc<dyn Clock> {
    Arc::new(FixedClock(at(2)))
}

/// So many seconds into the tests.
#[must_use]
pub fn at(second: i64) -> DateTime<Utc> {
    at_micros(second * 1_000_000)
}

/// So many microseconds into the tests.
#[must_use]
pub fn at_micros(micros: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::microseconds(1_735_732_800_000_000 + micros)
}

/// A payment's id.
#[must_use]
pub fn payment_id(text: &str) -> PaymentId {
    PaymentId::parse(text).expect("a valid payment id")
}

/// An order's id.
#[must_use]
pub fn order_id(text: &str) -> OrderId {
    OrderId::parse(text).expect("a valid order id")
}

/// A transaction's id.
#[must_use]
pub fn transaction_id(text: &str) -> TransactionId {
    TransactionId::parse(text).expect("a valid transaction id")
}

/// A price.
#[must_use]
pub fn money(amount: &str, currency: &str) -> Money {
    let currency = Currency::parse(currency).expect("a valid currency");
    Money::new(amount.parse().expect("a valid amount"), currency).expect("a valid price")
}

/// A payment of 29 euros by WebPay.
#[must_use]
pub fn registration(payment: &str, order: &str) -> Registration {
    Registration {
        payment_id: payment_id(payment),
        order_id: order_id(order),
        price: money("29.00", "EUR"),
        method: PaymentMethod::Webpay,
        redirect_url: None,
        details: RecordDetails::default(),
    }
}

/// A report on such a payment, sent at second 0.
#[must_use]
pub fn notification(payment: &str, order: &str, report: Report) -> Notification {
    Notification {
        payment_id: payment_id(payment),
        order_id: order_id(order),
        report,
        method: MethodName::parse("webpay").ok(),
        amount: None,
        currency: None,
        sent_at: at(0),
        transaction_id: None,
    }
}

/// Such a payment is completed.
#[must_use]
pub fn completion(payment: &str, order: &str) -> Notification {
    notification(payment, order, COMPLETED)
}

/// Part of such a payment went back, says the sender at this second.
#[must_use]
pub fn partial_refund(payment: &str, order: &str, sent_at_second: i64) -> Notification {
    Notification { sent_at: at(sent_at_second), ..notification(payment, order, Report::PartialRefund) }
}

/// A callback received at this time. No two receipts have the same id; of one millisecond, the later made
/// has the greater.
#[must_use]
pub fn receipt(received_at: DateTime<Utc>) -> Receipt {
    static MADE: AtomicU64 = AtomicU64::new(1);
    let first = DeliveryId::first_at(received_at).0.as_u128();
    let number = u128::from(MADE.fetch_add(1, Ordering::Relaxed));
    Receipt {
        delivery_id: DeliveryId(Uuid::from_u128(first + number)),
        received_at,
        source: Source::Callback,
        body_sha256: None,
        key_name: None,
        request_id: None,
    }
}

/// A callback that brings this notification at this second.
#[must_use]
pub fn callback(notification: Notification, second: i64) -> Callback {
    Callback {
        reading: Reading::Valid(notification),
        received_at: at(second),
        body_sha256: [0; 32],
        caller: Caller::default(),
    }
}

/// Registers at this second and applies what has waited.
///
/// # Errors
/// Those of the ledger.
pub fn try_register(ledger: &dyn Ledger, registration: &Registration, second: i64) -> Result<Registered, LedgerError> {
    register_payment(ledger, &FixedClock(at(second)), registration, &Caller::default())
}

/// As [`try_register`], of a ledger that does it.
pub fn register(ledger: &dyn Ledger, registration: &Registration, second: i64) -> Registered {
    try_register(ledger, registration, second).expect("a ledger that registers")
}

/// Settles these notifications in one amend, as received with these receipts.
///
/// # Errors
/// Those of the ledger.
pub fn settle_as(ledger: &dyn Ledger, received: &[(Notification, Receipt)]) -> Result<Vec<Settlement>, LedgerError> {
    ledger.amend(&Keys::of_notifications(received.iter().map(|(notification, _)| notification)), |books| {
        received.iter().map(|(notification, receipt)| books.settle(notification, receipt.clone())).collect()
    })
}

/// Settles these notifications in one amend, as received at this second.
///
/// # Errors
/// Those of the ledger.
pub fn try_settle(
    ledger: &dyn Ledger,
    notifications: &[Notification],
    second: i64,
) -> Result<Vec<Outcome>, LedgerError> {
    let received: Vec<_> = notifications.iter().map(|each| (each.clone(), receipt(at(second)))).collect();
    Ok(outcomes(&settle_as(ledger, &received)?))
}

/// As [`try_settle`], of a ledger that does it.
pub fn settle(ledger: &dyn Ledger, notifications: &[Notification], second: i64) -> Vec<Outcome> {
    try_settle(ledger, notifications, second).expect("a ledger that settles")
}

/// Notes a callback of which only this could be read.
pub fn note_invalid(ledger: &dyn Ledger, payload: &Payload, reason: &str, receipt: &Receipt) -> Delivery {
    let note = |books: &mut domain::Books| books.note_invalid(payload.clone(), reason.to_owned(), receipt.clone());
    ledger.amend(&Keys::default(), note).expect("a ledger that notes").delivery
}

/// What came of each.
#[must_use]
pub fn outcomes(settlements: &[Settlement]) -> Vec<Outcome> {
    settlements.iter().map(|settlement| settlement.delivery.outcome.clone()).collect()
}

/// How many of these outcomes are this one.
#[must_use]
pub fn count<'a>(outcomes: impl IntoIterator<Item = &'a Outcome>, wanted: &Outcome) -> usize {
    outcomes.into_iter().filter(|outcome| *outcome == wanted).count()
}

/// A payment that is registered.
#[must_use]
pub fn payment(ledger: &dyn Ledger, id: &str) -> PaymentHistory {
    ledger.payment(&payment_id(id)).expect("a ledger that reads").expect("a registered payment")
}

/// An order that exists.
#[must_use]
pub fn order(ledger: &dyn Ledger, id: &str) -> OrderHistory {
    ledger.order(&order_id(id)).expect("a ledger that reads").expect("an existing order")
}

/// Audit entries, newest first.
#[must_use]
pub fn deliveries(ledger: &dyn Ledger, filter: &DeliveryFilter) -> Vec<Delivery> {
    ledger.deliveries(filter).expect("a ledger that reads")
}

/// Any audit entries, up to a thousand.
#[must_use]
pub fn any() -> DeliveryFilter {
    DeliveryFilter { payment: None, order: None, outcome: None, since: None, before: None, limit: 1000 }
}
