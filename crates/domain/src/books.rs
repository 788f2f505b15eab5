//! An open page of the ledger, and the rule that is applied on it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use strum::IntoStaticStr;

use crate::{
    Content, Delivery, Event, EventId, EventKind, ExternalPayment, MethodRecord, Notification, Order, OrderId,
    OrderStatus, Outcome, ParkedNotification, Payload, PaymentId, PaymentMethod, PaymentStatus, Provenance,
    RecordDetails, Registration, Report, TransactionId, UnappliedReason,
};

/// The payments and orders concerned, as they were read from a ledger, and what has changed since. The ledger decides
/// how it keeps others from changing them meanwhile.
///
/// A caller that opens books puts in every payment that will be named, as far as it is registered, and with each
/// payment its order.
#[derive(Debug, Default)]
pub struct Books {
    payments: BTreeMap<PaymentId, ExternalPayment>,
    orders: BTreeMap<OrderId, Order>,
    partial_refunds: BTreeSet<PartialRefund>,
    parked: Vec<ParkedNotification>,
    unwritten: Unwritten,
}

/// What has happened on the page and is not yet in the ledger.
#[derive(Debug, Default)]
struct Unwritten {
    added_orders: BTreeSet<OrderId>,
    changed_orders: BTreeSet<OrderId>,
    added_payments: BTreeMap<PaymentId, RecordDetails>,
    changed_payments: BTreeSet<PaymentId>,
    partial_refunds: Vec<PartialRefund>,
    deliveries: Vec<Delivery>,
    unparked: Vec<PaymentId>,
    events: Vec<Event>,
    rests_on_unchanged: bool,
}

/// What must be stored, all of it or nothing.
#[derive(Debug, Default)]
pub struct Changes {
    /// Orders that are new, in their present state.
    pub added_orders: Vec<Order>,
    /// Payments that are new, in their present state, each with its method's record.
    pub added_payments: Vec<(ExternalPayment, Option<MethodRecord>)>,
    /// Orders that have changed, in their present state.
    pub changed_orders: Vec<Order>,
    /// Payments that have changed, in their present state.
    pub changed_payments: Vec<ExternalPayment>,
    /// Partial refunds that are new.
    pub partial_refunds: Vec<PartialRefund>,
    /// Audit entries. Those whose outcome is `parked` wait for their payment from now on, unless the same
    /// notification of it waits already.
    pub deliveries: Vec<Delivery>,
    /// Payments that no notification waits for any longer.
    pub unparked: Vec<PaymentId>,
    /// What the portal must be told, in this order.
    pub events: Vec<Event>,
    /// Whether an effect was decided on a payment or an order that it left unchanged. A store that detects only
    /// conflicting writes would not notice that another transaction has changed it meanwhile.
    pub rests_on_unchanged: bool,
}

/// A partial refund, as far as it can be told from another one: a redelivery with the same time and the same
/// transaction is the same (contract §4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartialRefund {
    /// Of which payment.
    pub payment_id: PaymentId,
    /// The sender's time.
    pub sent_at: DateTime<Utc>,
    /// The provider's id of the transaction, if the sender named one.
    pub transaction_id: Option<TransactionId>,
}

impl PartialRefund {
    /// The one that this notification reports, if it reports one.
    #[must_use]
    pub fn reported(notification: &Notification) -> Option<Self> {
        (notification.report == Report::PartialRefund).then(|| Self {
            payment_id: notification.payment_id.clone(),
            sent_at: notification.sent_at,
            transaction_id: notification.transaction_id.clone(),
        })
    }
}

/// What came of one notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settlement {
    /// The entry that it left.
    pub delivery: Delivery,
    /// How the payment was registered to be made, if the payment is known. The notification may say
    /// otherwise; this one counts.
    pub registered_method: Option<PaymentMethod>,
    /// How `payment.pay()` → `order.pay()` ended, if they were called.
    pub pay: Option<Result<(), UnappliedReason>>,
    /// What the portal will be told of it, in this order.
    pub events: Vec<EventKind>,
}

/// What came of a registration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum RegistrationOutcome {
    /// The payment is now expected.
    Registered,
    /// It was registered with the same words before.
    Exists,
    /// It was registered with other words before; nothing changed.
    PaymentConflict,
    /// Its order costs something else; nothing changed.
    OrderConflict,
}

/// What came of cancelling an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Cancellation {
    /// It is cancelled, now or from before.
    Cancelled,
    /// It has been paid; nothing changed.
    Paid,
    /// There is no such order.
    Unknown,
}

impl Books {
    /// Opens the books at these payments and orders.
    ///
    /// `partial_refunds` are those known of the payments, as far as they will be asked for; `parked` are
    /// the parked notifications that a registration would set free.
    #[must_use]
    pub fn open(
        payments: Vec<ExternalPayment>,
        orders: Vec<Order>,
        partial_refunds: Vec<PartialRefund>,
        parked: Vec<ParkedNotification>,
    ) -> Self {
        Self {
            payments: payments.into_iter().map(|payment| (payment.id.clone(), payment)).collect(),
            orders: orders.into_iter().map(|order| (order.id.clone(), order)).collect(),
            partial_refunds: partial_refunds.into_iter().collect(),
            parked,
            unwritten: Unwritten::default(),
        }
    }

    /// The payment in its present state.
    #[must_use]
    pub fn payment(&self, id: &PaymentId) -> Option<&ExternalPayment> {
        self.payments.get(id)
    }

    /// The order in its present state.
    #[must_use]
    pub fn order(&self, id: &OrderId) -> Option<&Order> {
        self.orders.get(id)
    }

    /// Applies the rule of contract §4 to a notification and notes what came of it.
    pub fn settle(&mut self, notification: &Notification, provenance: Provenance) -> Settlement {
        let content = Content::Notification(notification.clone());
        let Some(payment) = self.payments.get_mut(&notification.payment_id) else {
            return self.note(content, provenance, Outcome::Parked, None);
        };
        let (previous, method) = (payment.status, payment.method);
        if let Some(mismatch) = payment.contradiction(notification) {
            let known = Registered { method, previous, new: previous, pay: None, events: Vec::new() };
            return self.note(content, provenance, Outcome::Rejected(mismatch), Some(known));
        }
        let order = self.orders.get_mut(&payment.order_id).expect("a payment's order is on the same page");
        let order_before = order.status;
        let refund = PartialRefund::reported(notification);
        let now = provenance.received_at;

        let Verdict { outcome, pay, events } = match notification.report {
            Report::Reached(status) => reach(status, notification, payment, order, now),
            Report::PartialRefund => {
                let known = refund.as_ref().is_some_and(|refund| self.partial_refunds.contains(refund));
                refund_partially(known, notification, payment, order, now)
            }
        };

        if payment.status != previous {
            self.unwritten.changed_payments.insert(payment.id.clone());
        }
        if order.status != order_before {
            self.unwritten.changed_orders.insert(order.id.clone());
        }
        if let Some(refund) = refund
            && events.contains(&EventKind::PaymentPartiallyRefunded)
        {
            self.unwritten.partial_refunds.push(refund.clone());
            self.partial_refunds.insert(refund);
        }
        // From completion on, the order is part of what is decided on.
        let order_unchanged = payment.status >= PaymentStatus::Completed && order.status == order_before;
        if !events.is_empty() && (payment.status == previous || order_unchanged) {
            self.unwritten.rests_on_unchanged = true;
        }
        let event = |kind: &EventKind| Event {
            id: EventId::of(provenance.delivery_id, *kind),
            kind: *kind,
            order_id: payment.order_id.clone(),
            payment_id: payment.id.clone(),
            paid_at: payment.paid_at,
            created_at: now,
        };
        self.unwritten.events.extend(events.iter().map(event));
        let known = Registered { method, previous, new: payment.status, pay, events };
        self.note(content, provenance, outcome, Some(known))
    }

    /// Notes a callback whose body could not be understood. `reason` names the bad fields, not their values.
    pub fn note_invalid(&mut self, payload: Payload, reason: String, provenance: Provenance) -> Settlement {
        self.note(Content::Fragments(payload), provenance, Outcome::Invalid(reason), None)
    }

    /// Registers an expected payment, and its order if it is the first payment of it.
    pub fn register(&mut self, registration: &Registration, now: DateTime<Utc>) -> RegistrationOutcome {
        if let Some(payment) = self.payments.get(&registration.payment_id) {
            return if registration.matches(payment) {
                RegistrationOutcome::Exists
            } else {
                RegistrationOutcome::PaymentConflict
            };
        }
        match self.orders.get(&registration.order_id) {
            Some(order) if order.price != registration.price => return RegistrationOutcome::OrderConflict,
            Some(_) => {}
            None => {
                let order = Order::open(registration.order_id.clone(), registration.price, now);
                self.unwritten.added_orders.insert(order.id.clone());
                self.orders.insert(order.id.clone(), order);
            }
        }
        let payment = registration.payment(now);
        self.unwritten.added_payments.insert(payment.id.clone(), registration.details.clone());
        self.payments.insert(payment.id.clone(), payment);
        RegistrationOutcome::Registered
    }

    /// Takes the notifications that waited for the registration of this payment; they wait no longer.
    pub fn unpark(&mut self, id: &PaymentId) -> Vec<ParkedNotification> {
        let parked = std::mem::take(&mut self.parked);
        if !parked.is_empty() {
            self.unwritten.unparked.push(id.clone());
        }
        parked
    }

    /// Cancels an order that is not paid.
    pub fn cancel(&mut self, id: &OrderId, now: DateTime<Utc>) -> Cancellation {
        let Some(order) = self.orders.get_mut(id) else {
            return Cancellation::Unknown;
        };
        match order.status {
            OrderStatus::Cancelled => Cancellation::Cancelled,
            OrderStatus::Paid | OrderStatus::Refunded => Cancellation::Paid,
            OrderStatus::Pending => {
                order.status = OrderStatus::Cancelled;
                order.updated_at = now;
                self.unwritten.changed_orders.insert(id.clone());
                Cancellation::Cancelled
            }
        }
    }

    /// Leaves the ledger as it was: what happened on the page was only tried.
    pub fn discard(&mut self) {
        self.unwritten = Unwritten::default();
    }

    /// Closes the books and hands over what must be stored.
    #[must_use]
    pub fn close(mut self) -> Changes {
        let Unwritten {
            added_orders,
            changed_orders,
            added_payments,
            changed_payments,
            partial_refunds,
            deliveries,
            unparked,
            events,
            rests_on_unchanged,
        } = self.unwritten;
        // What is new is stored in its present state, so a change to it is none.
        let changed_orders = changed_orders.difference(&added_orders);
        let changed_orders = changed_orders.filter_map(|id| self.orders.get(id).cloned()).collect();
        let changed_payments = changed_payments.into_iter().filter(|id| !added_payments.contains_key(id));
        let changed_payments = changed_payments.filter_map(|id| self.payments.get(&id).cloned()).collect();
        let with_record = |payment: ExternalPayment, details| {
            let record = MethodRecord::of(&payment, details);
            (payment, record)
        };
        Changes {
            added_orders: added_orders.iter().filter_map(|id| self.orders.remove(id)).collect(),
            added_payments: added_payments
                .into_iter()
                .filter_map(|(id, details)| Some(with_record(self.payments.remove(&id)?, details)))
                .collect(),
            changed_orders,
            changed_payments,
            partial_refunds,
            deliveries,
            unparked,
            events,
            rests_on_unchanged,
        }
    }

    fn note(
        &mut self,
        content: Content,
        provenance: Provenance,
        outcome: Outcome,
        known: Option<Registered>,
    ) -> Settlement {
        let delivery = Delivery {
            provenance,
            content,
            outcome,
            previous_status: known.as_ref().map(|known| known.previous),
            new_status: known.as_ref().map(|known| known.new),
        };
        self.unwritten.deliveries.push(delivery.clone());
        let registered_method = known.as_ref().map(|known| known.method);
        let (pay, events) = known.map(|known| (known.pay, known.events)).unwrap_or_default();
        Settlement { delivery, registered_method, pay, events }
    }
}

/// What an audit entry says of a payment that is registered.
struct Registered {
    method: PaymentMethod,
    previous: PaymentStatus,
    new: PaymentStatus,
    pay: Option<Result<(), UnappliedReason>>,
    events: Vec<EventKind>,
}

/// What the rule says, and what the portal must be told of it.
struct Verdict {
    outcome: Outcome,
    pay: Option<Result<(), UnappliedReason>>,
    events: Vec<EventKind>,
}

impl Verdict {
    fn without_event(outcome: Outcome) -> Self {
        Self { outcome, pay: None, events: Vec::new() }
    }

    fn with_event(outcome: Outcome, event: EventKind) -> Self {
        Self { outcome, pay: None, events: vec![event] }
    }

    /// `payment.pay()` was called and ended so; where it paid the order, this is the outcome.
    fn of_pay(pay: Result<(), UnappliedReason>, outcome: Outcome) -> Self {
        let (outcome, event) = match pay {
            Ok(()) => (outcome, EventKind::OrderPaid),
            Err(obstacle) => (Outcome::Unapplied(obstacle), EventKind::PaymentUnapplied),
        };
        Self { outcome, pay: Some(pay), events: vec![event] }
    }
}

/// A payment only moves up.
fn reach(
    status: PaymentStatus,
    notification: &Notification,
    payment: &mut ExternalPayment,
    order: &mut Order,
    now: DateTime<Utc>,
) -> Verdict {
    match status.cmp(&payment.status) {
        Ordering::Equal => return Verdict::without_event(Outcome::Duplicate),
        Ordering::Less => return Verdict::without_event(Outcome::Ignored),
        Ordering::Greater => {}
    }
    let transaction_id = notification.transaction_id.as_ref();
    match status {
        // Nothing is below pending, so nothing moves up to it.
        PaymentStatus::Pending | PaymentStatus::Processing => {
            payment.advance(status, transaction_id, now);
            Verdict::without_event(Outcome::Processing)
        }
        PaymentStatus::Failed => {
            payment.advance(status, transaction_id, now);
            Verdict::with_event(Outcome::Failed, EventKind::PaymentFailed)
        }
        PaymentStatus::Cancelled => {
            payment.advance(status, transaction_id, now);
            Verdict::with_event(Outcome::Cancelled, EventKind::PaymentCancelled)
        }
        PaymentStatus::Completed => Verdict::of_pay(payment.pay(order, transaction_id, now), Outcome::Completed),
        PaymentStatus::Refunded => {
            payment.refund(order, transaction_id, now);
            Verdict::with_event(Outcome::Refunded, EventKind::PaymentRefunded)
        }
    }
}

/// Only what was paid is refunded, so a partial refund of a payment that is not completed completes it.
fn refund_partially(
    known: bool,
    notification: &Notification,
    payment: &mut ExternalPayment,
    order: &mut Order,
    now: DateTime<Utc>,
) -> Verdict {
    match payment.status.cmp(&PaymentStatus::Completed) {
        Ordering::Greater => Verdict::without_event(Outcome::Ignored),
        Ordering::Equal if known => Verdict::without_event(Outcome::Duplicate),
        Ordering::Equal => Verdict::with_event(Outcome::PartiallyRefunded, EventKind::PaymentPartiallyRefunded),
        Ordering::Less => {
            let pay = payment.pay(order, notification.transaction_id.as_ref(), now);
            let mut verdict = Verdict::of_pay(pay, Outcome::PartiallyRefunded);
            verdict.events.push(EventKind::PaymentPartiallyRefunded);
            verdict
        }
    }
}
