//! Small words for what happens to payments, so that a test says only what matters to it. The same second
//! means the same time everywhere; ids are made up by the test.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use chrono::{DateTime, TimeDelta, Utc};
use domain::{
    Cancellation, Currency, Delivery, DeliveryId, MethodName, Money, Notification, OrderId, Outcome, Payload,
    PaymentId, PaymentMethod, PaymentStatus, Provenance, RecordDetails, Registration, Report, Settlement, Source,
    TransactionId,
};
use ports::{Clock, DeliveryFilter, LedgerError, LedgerExt as _, OrderHistory, PaymentHistory, Scope, Store};
use usecases::{Callback, Caller, Observed, Observer, ParsedBody, Registered, UseCases};
use uuid::Uuid;

/// A report of full completion.
pub const COMPLETED: Report = Report::Reached(PaymentStatus::Completed);

/// A clock that always tells the same time.
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
pub fn provenance(received_at: DateTime<Utc>) -> Provenance {
    static MADE: AtomicU64 = AtomicU64::new(1);
    let first = DeliveryId::first_at(received_at).0.as_u128();
    let number = u128::from(MADE.fetch_add(1, Ordering::Relaxed));
    Provenance {
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
        body: ParsedBody::Valid(notification),
        received_at: at(second),
        body_sha256: [0; 32],
        caller: Caller::default(),
    }
}

/// The use cases on this store, at this time.
#[must_use]
pub fn use_cases(store: &Arc<dyn Store>, now: DateTime<Utc>) -> UseCases {
    observed_use_cases(store, now, Arc::new(()))
}

/// The same, observed.
#[must_use]
pub fn observed_use_cases(store: &Arc<dyn Store>, now: DateTime<Utc>, observer: Arc<dyn Observer>) -> UseCases {
    UseCases {
        ledger: Arc::clone(store) as _,
        history: Arc::clone(store) as _,
        outbox: Arc::clone(store) as _,
        clock: Arc::new(FixedClock(now)),
        observer,
        events_to_send: Arc::default(),
    }
}

/// Registers at this second and applies what has waited.
///
/// # Errors
/// Those of the ledger.
pub fn try_register(
    store: &Arc<dyn Store>,
    registration: &Registration,
    second: i64,
) -> Result<Registered, LedgerError> {
    use_cases(store, at(second)).register_payment(registration, &Caller::default()).map_err(|Observed(error)| error)
}

/// As [`try_register`], of a ledger that does it.
pub fn register(store: &Arc<dyn Store>, registration: &Registration, second: i64) -> Registered {
    try_register(store, registration, second).expect("a ledger that registers")
}

/// Cancels this order at this second.
///
/// # Errors
/// Those of the ledger.
pub fn try_cancel(store: &Arc<dyn Store>, id: &str, second: i64) -> Result<Cancellation, LedgerError> {
    let cancelled = use_cases(store, at(second)).cancel_order(&order_id(id), &Caller::default());
    cancelled.map(|cancelled| cancelled.outcome).map_err(|Observed(error)| error)
}

/// As [`try_cancel`], of a ledger that does it.
pub fn cancel(store: &Arc<dyn Store>, id: &str, second: i64) -> Cancellation {
    try_cancel(store, id, second).expect("a ledger that cancels")
}

/// Settles these notifications in one amend, as received with these receipts.
///
/// # Errors
/// Those of the ledger.
pub fn settle_as(
    store: &Arc<dyn Store>,
    received: &[(Notification, Provenance)],
) -> Result<Vec<Settlement>, LedgerError> {
    store.amend(&Scope::of_notifications(received.iter().map(|(notification, _)| notification)), |books| {
        received.iter().map(|(notification, provenance)| books.settle(notification, provenance.clone())).collect()
    })
}

/// Settles these notifications in one amend, as received at this second.
///
/// # Errors
/// Those of the ledger.
pub fn try_settle(
    store: &Arc<dyn Store>,
    notifications: &[Notification],
    second: i64,
) -> Result<Vec<Outcome>, LedgerError> {
    let received: Vec<_> = notifications.iter().map(|each| (each.clone(), provenance(at(second)))).collect();
    Ok(outcomes(&settle_as(store, &received)?))
}

/// As [`try_settle`], of a ledger that does it.
pub fn settle(store: &Arc<dyn Store>, notifications: &[Notification], second: i64) -> Vec<Outcome> {
    try_settle(store, notifications, second).expect("a ledger that settles")
}

/// Notes a callback of which only this could be read.
pub fn note_invalid(store: &Arc<dyn Store>, payload: &Payload, reason: &str, provenance: &Provenance) -> Delivery {
    let note = |books: &mut domain::Books| books.note_invalid(payload.clone(), reason.to_owned(), provenance.clone());
    store.amend(&Scope::default(), note).expect("a ledger that notes").delivery
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
pub fn payment(store: &Arc<dyn Store>, id: &str) -> PaymentHistory {
    store.payment(&payment_id(id)).expect("a ledger that reads").expect("a registered payment")
}

/// An order that exists.
#[must_use]
pub fn order(store: &Arc<dyn Store>, id: &str) -> OrderHistory {
    store.order(&order_id(id)).expect("a ledger that reads").expect("an existing order")
}

/// Audit entries, newest first.
#[must_use]
pub fn deliveries(store: &Arc<dyn Store>, filter: &DeliveryFilter) -> Vec<Delivery> {
    store.deliveries(filter).expect("a ledger that reads")
}

/// Any audit entries, up to a thousand.
#[must_use]
pub fn any() -> DeliveryFilter {
    DeliveryFilter { payment: None, order: None, outcome: None, since: None, before: None, limit: 1000 }
}
