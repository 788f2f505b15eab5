//! A shop in miniature, and a ledger that keeps what closed books hand over.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use domain::{
    Books, Changes, Currency, Delivery, DeliveryId, Event, ExternalPayment, MethodName, MethodRecord, Money,
    Notification, Order, OrderId, Outcome, ParkedNotification, PartialRefund, PaymentId, PaymentMethod, Provenance,
    RecordDetails, Registration, RegistrationOutcome, Report, Source,
};

pub(crate) fn payment_id(text: &str) -> PaymentId {
    PaymentId::parse(text).expect("a valid id")
}

pub(crate) fn order_id(text: &str) -> OrderId {
    OrderId::parse(text).expect("a valid id")
}

pub(crate) fn at(second: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_735_732_800 + second, 0).expect("a valid time")
}

pub(crate) fn price(amount: &str, currency: &str) -> Money {
    let currency = Currency::parse(currency).expect("a valid currency");
    Money::new(amount.parse().expect("a valid amount"), currency).expect("a valid price")
}

/// A payment of 29 euros by WebPay.
pub(crate) fn registration(payment: &str, order: &str) -> Registration {
    Registration {
        payment_id: payment_id(payment),
        order_id: order_id(order),
        price: price("29.00", "EUR"),
        method: PaymentMethod::Webpay,
        redirect_url: None,
        details: RecordDetails::default(),
    }
}

/// A report on such a payment, sent at this second.
pub(crate) fn notification(payment: &str, order: &str, report: Report, second: i64) -> Notification {
    Notification {
        payment_id: payment_id(payment),
        order_id: order_id(order),
        report,
        method: MethodName::parse("webpay").ok(),
        amount: None,
        currency: None,
        sent_at: at(second),
        transaction_id: None,
    }
}

/// A callback received at this second.
pub(crate) fn provenance(second: i64) -> Provenance {
    Provenance {
        delivery_id: DeliveryId::first_at(at(second)),
        received_at: at(second),
        source: Source::Callback,
        body_sha256: None,
        key_name: None,
        request_id: None,
    }
}

/// Keeps everything, and insists that what is added is new and that what is changed differs.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Ledger {
    pub(crate) orders: BTreeMap<OrderId, Order>,
    pub(crate) payments: BTreeMap<PaymentId, ExternalPayment>,
    pub(crate) records: BTreeMap<PaymentId, MethodRecord>,
    pub(crate) partial_refunds: Vec<PartialRefund>,
    pub(crate) deliveries: Vec<Delivery>,
    pub(crate) waiting: Vec<ParkedNotification>,
    pub(crate) events: Vec<Event>,
}

impl Ledger {
    pub(crate) fn open(&self) -> Books {
        self.open_with(Vec::new())
    }

    fn open_with(&self, waiting: Vec<ParkedNotification>) -> Books {
        let payments = self.payments.values().cloned().collect();
        let orders = self.orders.values().cloned().collect();
        Books::open(payments, orders, self.partial_refunds.clone(), waiting)
    }

    /// Acts on a page of its own.
    pub(crate) fn amend<T>(&mut self, act: impl FnOnce(&mut Books) -> T) -> T {
        let mut books = self.open();
        let result = act(&mut books);
        self.store(books.close());
        result
    }

    /// Registers a payment and settles what has waited for it; says what came of either.
    pub(crate) fn register(&mut self, registration: &Registration, second: i64) -> (RegistrationOutcome, Vec<Outcome>) {
        let waits = |parked: &&ParkedNotification| parked.notification.payment_id == registration.payment_id;
        let mut books = self.open_with(self.waiting.iter().filter(waits).cloned().collect());
        let outcome = books.register(registration, at(second));
        let settled = books.unpark(&registration.payment_id).into_iter().map(|parked| {
            let provenance = Provenance { source: Source::Parked, received_at: at(second), ..parked.provenance };
            books.settle(&parked.notification, provenance).delivery.outcome
        });
        let applied = settled.collect();
        self.store(books.close());
        (outcome, applied)
    }

    pub(crate) fn store(&mut self, changes: Changes) {
        let Changes {
            added_orders,
            added_payments,
            changed_orders,
            changed_payments,
            partial_refunds,
            deliveries,
            unparked,
            events,
            rests_on_unchanged: _,
        } = changes;
        for order in added_orders {
            assert_eq!(self.orders.insert(order.id.clone(), order), None, "this order is not new");
        }
        for (payment, record) in added_payments {
            self.records.extend(record.map(|record| (payment.id.clone(), record)));
            assert_eq!(self.payments.insert(payment.id.clone(), payment), None, "this payment is not new");
        }
        for order in changed_orders {
            let before = self.orders.insert(order.id.clone(), order.clone()).expect("an order that exists");
            assert_ne!(before, order, "this order has not changed");
        }
        for payment in changed_payments {
            let before = self.payments.insert(payment.id.clone(), payment.clone()).expect("a payment that exists");
            assert_ne!(before, payment, "this payment has not changed");
        }
        for refund in partial_refunds {
            assert!(!self.partial_refunds.contains(&refund), "this partial refund is not new");
            self.partial_refunds.push(refund);
        }
        self.waiting.retain(|parked| !unparked.contains(&parked.notification.payment_id));
        for parked in deliveries.iter().filter_map(Delivery::parked) {
            let key = |it: &ParkedNotification| (it.notification.payment_id.clone(), it.notification.identity());
            if !self.waiting.iter().any(|waiting| key(waiting) == key(&parked)) {
                self.waiting.push(parked);
            }
        }
        self.deliveries.extend(deliveries);
        self.events.extend(events);
    }
}
