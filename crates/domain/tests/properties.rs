//! What holds whatever is reported, in whatever order and however often.

mod common;

use std::collections::{BTreeMap, BTreeSet};

use common::{Ledger, notification, order_id, payment_id, provenance, registration};
use domain::{
    Content, Delivery, Event, EventKind, Notification, OrderStatus, Outcome, Payload, PaymentStatus, Registration,
    RegistrationOutcome, Report,
};
use proptest::prelude::*;
use proptest::sample::select;
use strum::VariantArray;

const ORDERS: [&str; 2] = ["first", "second"];
const PAYMENTS: [&str; 4] = ["a", "b", "c", "d"];

/// Four payments of one or two orders, and what is reported of them.
#[derive(Debug, Clone)]
struct Story {
    orders: [&'static str; PAYMENTS.len()],
    reports: Vec<(usize, Report, i64)>,
}

impl Story {
    fn registrations(&self) -> impl Iterator<Item = Registration> {
        PAYMENTS.into_iter().zip(self.orders).map(|(payment, order)| registration(payment, order))
    }

    fn notifications(&self) -> Vec<Notification> {
        let say = |&(payment, report, sent_at)| notification(PAYMENTS[payment], self.orders[payment], report, sent_at);
        self.reports.iter().map(say).collect()
    }

    /// What is reported of one payment, in its order.
    fn reports_of(&self, payment: &str) -> impl Iterator<Item = Report> {
        self.reports.iter().filter(move |(of, ..)| PAYMENTS[*of] == payment).map(|(_, report, _)| *report)
    }

    /// Payments that are registered, and nothing said about them yet.
    fn beginning(&self) -> Ledger {
        let mut ledger = Ledger::default();
        for registration in self.registrations() {
            ledger.register(&registration, 0);
        }
        ledger
    }

    fn end(&self) -> Ledger {
        let mut ledger = self.beginning();
        settle(&mut ledger, &self.notifications(), 1);
        ledger
    }
}

/// Settles so many notifications on each page.
fn settle(ledger: &mut Ledger, notifications: &[Notification], page_len: usize) {
    let mut seconds = 1..;
    for page in notifications.chunks(page_len) {
        ledger.amend(|books| {
            for (notification, second) in page.iter().zip(&mut seconds) {
                books.settle(notification, provenance(second));
            }
        });
    }
}

fn statuses(ledger: &Ledger) -> Vec<PaymentStatus> {
    ledger.payments.values().map(|payment| payment.status).collect()
}

/// Where a report takes a payment that stands lower.
fn reached(report: Report) -> PaymentStatus {
    match report {
        Report::Reached(status) => status,
        Report::PartialRefund => PaymentStatus::Completed,
    }
}

fn reports() -> impl Strategy<Value = Report> {
    let reached = PaymentStatus::VARIANTS.iter().copied().map(Report::Reached);
    select(Vec::from_iter(reached.chain([Report::PartialRefund])))
}

fn stories() -> impl Strategy<Value = Story> {
    let orders = prop::array::uniform4(select(&ORDERS[..]));
    let reports = prop::collection::vec((0..PAYMENTS.len(), reports(), 0..3_i64), 1..24);
    (orders, reports).prop_map(|(orders, reports)| Story { orders, reports })
}

/// A story, and the same reports twice and in another order.
fn retold_stories() -> impl Strategy<Value = (Story, Story)> {
    stories().prop_flat_map(|story| {
        let reports = Just(story.reports.repeat(2)).prop_shuffle();
        reports.prop_map(move |reports| (story.clone(), Story { reports, ..story }))
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2000) })]

    #[test]
    fn any_order_and_repetition_ends_in_the_same_statuses((story, retold) in retold_stories()) {
        prop_assert_eq!(statuses(&story.end()), statuses(&retold.end()));
    }

    #[test]
    fn a_payment_ends_where_the_highest_report_takes_it(story in stories()) {
        let ledger = story.end();
        for payment in PAYMENTS {
            let highest = story.reports_of(payment).map(reached).max().unwrap_or(PaymentStatus::Pending);
            prop_assert_eq!(ledger.payments[&payment_id(payment)].status, highest);
        }
    }

    #[test]
    fn a_payment_never_moves_down_and_a_late_failure_is_ignored(story in stories()) {
        let mut standing = BTreeMap::new();
        for Delivery { content, outcome, previous_status, new_status, .. } in story.end().deliveries {
            let payload = Payload::from(content);
            let before = standing.insert(payload.payment_id, new_status).unwrap_or(Some(PaymentStatus::Pending));
            prop_assert_eq!(previous_status, before);
            prop_assert!(new_status >= before);
            let reported = payload.status.max(payload.event);
            let failed = [PaymentStatus::Failed, PaymentStatus::Cancelled].map(Some).contains(&reported);
            if failed && before >= Some(PaymentStatus::Completed) {
                prop_assert_eq!(outcome, Outcome::Ignored);
            }
        }
    }

    #[test]
    fn an_order_is_paid_at_most_once(story in stories()) {
        let ledger = story.end();
        for order in ORDERS.map(order_id) {
            let completed =
                |it: &&Delivery| it.content.order_id() == Some(&order) && it.outcome == Outcome::Completed;
            prop_assert!(ledger.deliveries.iter().filter(completed).count() <= 1);

            let paid = |it: &&Event| it.order_id == order && it.kind == EventKind::OrderPaid;
            let payers: Vec<_> = ledger.events.iter().filter(paid).map(|event| &event.payment_id).collect();
            let paid_by = ledger.orders.get(&order).and_then(|order| order.paid_by.as_ref());
            prop_assert_eq!(payers, Vec::from_iter(paid_by));
        }
    }

    #[test]
    fn an_order_goes_from_pending_to_paid_to_refunded_and_never_back(story in stories()) {
        let mut ledger = story.beginning();
        for notification in story.notifications() {
            let before = ledger.orders[&notification.order_id].clone();
            settle(&mut ledger, std::slice::from_ref(&notification), 1);
            let after = &ledger.orders[&notification.order_id];
            match (before.status, after.status) {
                (OrderStatus::Pending, OrderStatus::Paid) => {
                    prop_assert_eq!(after.paid_by.as_ref(), Some(&notification.payment_id));
                }
                (OrderStatus::Paid, OrderStatus::Refunded) => {
                    prop_assert_eq!(before.paid_by.as_ref(), Some(&notification.payment_id));
                    prop_assert_eq!(&after.paid_by, &before.paid_by);
                }
                _ => prop_assert_eq!(after, &before),
            }
        }
    }

    #[test]
    fn completed_money_is_never_lost(story in stories()) {
        let ledger = story.end();
        for payment in PAYMENTS {
            let mut turning = story.reports_of(payment).map(reached).filter(|it| *it >= PaymentStatus::Completed);
            let came_in = turning.next() == Some(PaymentStatus::Completed);
            let payment = &ledger.payments[&payment_id(payment)];
            prop_assert_eq!(payment.paid_at.is_some(), came_in);
            prop_assert!(!came_in || payment.status >= PaymentStatus::Completed);

            let pays = ledger.orders[&payment.order_id].paid_by.as_ref() == Some(&payment.id);
            let told = |kind| ledger.events.iter().any(|it| it.payment_id == payment.id && it.kind == kind);
            prop_assert!(came_in || !pays);
            prop_assert_eq!(told(EventKind::OrderPaid), pays);
            prop_assert_eq!(told(EventKind::PaymentUnapplied), came_in && !pays);
        }
    }

    #[test]
    fn the_ledger_ends_the_same_however_many_notifications_share_a_page(
        story in stories(),
        page_len in 2..24_usize,
    ) {
        let mut ledger = story.beginning();
        settle(&mut ledger, &story.notifications(), page_len);
        prop_assert_eq!(ledger, story.end());
    }

    #[test]
    fn it_does_not_matter_whether_a_payment_is_registered_before_or_after_its_notifications(
        story in stories(),
        parked_len in 0..24_usize,
    ) {
        let notifications = story.notifications();
        let (early, late) = notifications.split_at(parked_len.min(notifications.len()));
        let mut ledger = Ledger::default();
        settle(&mut ledger, early, 3);
        for registration in story.registrations() {
            let (outcome, applied) = ledger.register(&registration, 50);
            prop_assert_eq!(outcome, RegistrationOutcome::Registered);
            let parked = early.iter().filter(|it| it.payment_id == registration.payment_id);
            let different: BTreeSet<_> = parked.map(Notification::identity).collect();
            prop_assert_eq!(applied.len(), different.len());
        }
        prop_assert!(ledger.waiting.is_empty());
        settle(&mut ledger, late, 3);
        prop_assert_eq!(statuses(&ledger), statuses(&story.end()));
    }

    #[test]
    fn every_notification_leaves_exactly_one_delivery(
        story in stories(),
        registered_len in 0..=PAYMENTS.len(),
        page_len in 1..24_usize,
        wrong_order in select(&ORDERS[..]),
    ) {
        let mut ledger = Ledger::default();
        for registration in story.registrations().take(registered_len) {
            ledger.register(&registration, 0);
        }
        let mut notifications = story.notifications();
        notifications.iter_mut().step_by(5).for_each(|it| it.order_id = order_id(wrong_order));
        settle(&mut ledger, &notifications, page_len);

        let said: Vec<_> = ledger.deliveries.iter().map(|it| it.content.clone()).collect();
        let receipts: Vec<_> = ledger.deliveries.iter().map(|it| it.provenance.clone()).collect();
        prop_assert_eq!(said, notifications.into_iter().map(Content::Notification).collect::<Vec<_>>());
        prop_assert_eq!(receipts, (1..).take(story.reports.len()).map(provenance).collect::<Vec<_>>());
    }
}
