//! What was stored is read back exactly.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use domain::{
    Content, Delivery, DeliveryId, ExternalPayment, InvoiceNumber, KeyName, MethodName, MethodRecord, Mismatch,
    Notification, Order, Outcome, OutcomeKind, Payload, PaymentMethod, PaymentStatus, Provenance, RecordDetails,
    RedirectUrl, Registration, Report, RequestId, Source, UnappliedReason, UserId, parse_timestamp,
};
use ports::{OrderHistory, PaymentHistory, RecordedPayment, Store};
use strum::VariantArray as _;

use crate::fixtures::{
    any, at, at_micros, completion, count, deliveries, money, note_invalid, notification, order, order_id, outcomes,
    partial_refund, payment, payment_id, provenance, register, registration, settle, settle_as, transaction_id,
    try_cancel, use_cases,
};

/// Everything that a registration can say.
fn full_registration(id: &str, order: &str, method: PaymentMethod) -> Registration {
    Registration {
        method,
        redirect_url: Some(RedirectUrl::parse("https://portal.example/zpět?a=1&b=„2“").expect("a valid URL")),
        details: RecordDetails {
            invoice_number: Some(InvoiceNumber::parse("25010101/č").expect("a valid number")),
            user_id: Some(UserId::parse("uživatel 42").expect("a valid id")),
        },
        price: money("1234567890.12", "CZK"),
        ..registration(id, order)
    }
}

/// What a ledger must show of this payment.
fn recorded(payment: &ExternalPayment, registration: &Registration) -> RecordedPayment {
    let record = MethodRecord::of(payment, registration.details.clone());
    RecordedPayment { payment: payment.clone(), record }
}

pub fn a_registered_payment_is_read_back_exactly(ledger: &Arc<dyn Store>) {
    for method in PaymentMethod::VARIANTS {
        let id = format!("{method} 😀 \"'\\/%_");
        let bare = Registration { method: *method, ..registration(&format!("{id} bare"), &id) };
        let full = full_registration(&format!("{id} full"), &format!("{id} full"), *method);
        for registration in [bare, full] {
            let (id, order_id) = (registration.payment_id.as_str(), registration.order_id.as_str());
            let now = at_micros(123_456);
            let caller = usecases::Caller::default();
            use_cases(ledger, now).register_payment(&registration, &caller).expect("a ledger that registers");

            let expected = recorded(&registration.payment(now), &registration);
            let new_order = Order::open(registration.order_id.clone(), registration.price, now);
            let history = PaymentHistory {
                payment: expected.clone(),
                order: new_order.clone(),
                deliveries: Vec::new(),
                next: None,
            };
            assert_eq!(payment(ledger, id), history);
            assert_eq!(order(ledger, order_id), OrderHistory { order: new_order, payments: vec![expected] });
        }
    }
}

pub fn a_payment_its_record_and_its_order_are_read_back_as_they_now_stand(ledger: &Arc<dyn Store>) {
    use PaymentStatus::{Cancelled, Completed, Failed, Processing, Refunded};
    for method in PaymentMethod::VARIANTS {
        let registration = full_registration(&format!("{method} payment"), &format!("{method} order"), *method);
        let (id, order_id) = (registration.payment_id.as_str(), registration.order_id.as_str());
        register(ledger, &registration, 0);
        let mut expected = registration.payment(at(0));
        let mut expected_order = Order::open(registration.order_id.clone(), registration.price, at(0));
        for (micros, status) in (1_000_001..).zip([Processing, Failed, Cancelled, Completed, Refunded]) {
            let transaction = transaction_id(&format!("транзакция {status}"));
            let said = Notification {
                transaction_id: Some(transaction.clone()),
                ..notification(id, order_id, Report::Reached(status))
            };
            settle_as(ledger, &[(said, provenance(at_micros(micros)))]).expect("a ledger that settles");
            match status {
                Completed => {
                    let paid = expected.pay(&mut expected_order, Some(&transaction), at_micros(micros));
                    paid.expect("an order that waits for a payment");
                }
                Refunded => expected.refund(&mut expected_order, Some(&transaction), at_micros(micros)),
                _ => expected.advance(status, Some(&transaction), at_micros(micros)),
            }

            let history = payment(ledger, id);
            assert_eq!(history.payment, recorded(&expected, &registration), "{status}");
            assert_eq!(history.order, expected_order, "{status}");
        }
    }
}

pub fn a_payment_without_a_transaction_keeps_none(ledger: &Arc<dyn Store>) {
    for method in PaymentMethod::VARIANTS {
        let (id, order_id) = (format!("{method} payment"), format!("{method} order"));
        let registration = Registration { method: *method, ..registration(&id, &order_id) };
        register(ledger, &registration, 0);
        settle(ledger, &[completion(&id, &order_id)], 1);

        let stored = payment(ledger, &id).payment;
        assert_eq!((stored.payment.status, &stored.payment.transaction_id), (PaymentStatus::Completed, &None));
        assert_eq!(stored, recorded(&stored.payment, &registration));
    }
}

pub fn an_entry_with_everything_set_is_read_back_exactly(ledger: &Arc<dyn Store>) {
    let registration = full_registration("payment ě", "order 😀", PaymentMethod::Invoice);
    register(ledger, &registration, 0);
    for (micros, source) in (1_000_001..).zip(Source::VARIANTS) {
        let said = Notification {
            amount: Some("1234567890.1".parse().expect("a valid amount")),
            currency: Some(registration.price.currency()),
            transaction_id: Some(transaction_id("транзакция '\"\\")),
            sent_at: at_micros(-1),
            method: MethodName::parse("nové, '\"\\").ok(),
            ..completion("payment ě", "order 😀")
        };
        let mut digest = [0; 32];
        digest.iter_mut().zip(0_u8..).for_each(|(byte, value)| *byte = value.wrapping_mul(85));
        let provenance = Provenance {
            source: *source,
            body_sha256: Some(digest),
            key_name: Some(KeyName::from_sha256(&digest)),
            request_id: RequestId::parse("Request:1._-"),
            ..provenance(at_micros(micros))
        };
        let settled = settle_as(ledger, &[(said, provenance.clone())]).expect("a ledger that settles");

        let stored = ledger.delivery(provenance.delivery_id).expect("a ledger that reads").expect("a stored entry");
        assert_eq!(stored, settled[0].delivery);
        let amount = Payload::from(stored.content).amount.map(|amount| amount.to_string());
        assert_eq!(amount.as_deref(), Some("1234567890.1"), "an amount stands as the sender wrote it");
    }
}

pub fn an_entry_with_nothing_set_is_read_back_exactly(ledger: &Arc<dyn Store>) {
    let provenance = provenance(at(1));
    let noted = note_invalid(ledger, &Payload::default(), "body: is not JSON", &provenance);
    let stored = ledger.delivery(provenance.delivery_id).expect("a ledger that reads").expect("a stored entry");
    assert_eq!(stored, noted);
    assert_eq!(stored.content, Content::Fragments(Payload::default()));
    assert_eq!(deliveries(ledger, &any()), [noted]);
}

pub fn an_entry_that_could_be_read_in_part_is_read_back_exactly(ledger: &Arc<dyn Store>) {
    let full = Payload::from(completion("p", "o"));
    let parts = [
        Payload { payment_id: None, ..full.clone() },
        Payload { order_id: None, status: None, ..full.clone() },
        Payload { event: Some(PaymentStatus::Failed), method: None, ..full.clone() },
        Payload { sent_at: None, ..full.clone() },
        full,
    ];
    for payload in parts {
        let provenance = provenance(at(1));
        let noted = note_invalid(ledger, &payload, "status: „?“", &provenance);
        assert_eq!(ledger.delivery(provenance.delivery_id).expect("a ledger that reads"), Some(noted));
    }
}

pub fn every_outcome_is_read_back_with_its_reason(ledger: &Arc<dyn Store>) {
    let reached = |id, status| notification(id, "o", Report::Reached(status));
    for id in ["pays", "too late", "fails", "is given up", "other", "in part"] {
        register(ledger, &registration(id, "o"), 0);
    }
    register(ledger, &registration("of a cancelled order", "cancelled"), 0);
    try_cancel(ledger, "cancelled", 0).expect("a ledger that cancels");
    let contradictions = [
        completion("other", "another order"),
        Notification { amount: Some("29.01".parse().expect("a valid amount")), ..completion("other", "o") },
        Notification { currency: Some(money("1", "USD").currency()), ..completion("other", "o") },
    ];
    let mut said = vec![
        reached("fails", PaymentStatus::Processing),
        reached("fails", PaymentStatus::Failed),
        reached("is given up", PaymentStatus::Cancelled),
        completion("pays", "o"),
        completion("pays", "o"),
        reached("pays", PaymentStatus::Pending),
        partial_refund("pays", "o", 1),
        completion("too late", "o"),
        reached("pays", PaymentStatus::Refunded),
        completion("in part", "o"),
        completion("of a cancelled order", "cancelled"),
        completion("unknown", "o"),
    ];
    said.extend(contradictions);
    let expected = [
        Outcome::Processing,
        Outcome::Failed,
        Outcome::Cancelled,
        Outcome::Completed,
        Outcome::Duplicate,
        Outcome::Ignored,
        Outcome::PartiallyRefunded,
        Outcome::Unapplied(UnappliedReason::OrderPaid),
        Outcome::Refunded,
        Outcome::Unapplied(UnappliedReason::OrderRefunded),
        Outcome::Unapplied(UnappliedReason::OrderCancelled),
        Outcome::Parked,
        Outcome::Rejected(Mismatch::OrderMismatch),
        Outcome::Rejected(Mismatch::AmountMismatch),
        Outcome::Rejected(Mismatch::CurrencyMismatch),
    ];
    let received: Vec<_> = said.into_iter().map(|each| (each, provenance(at(1)))).collect();
    let settled = settle_as(ledger, &received).expect("a ledger that settles");
    assert_eq!(outcomes(&settled), expected);
    let invalid = note_invalid(ledger, &Payload::default(), "status: is missing", &provenance(at(2)));

    let entries: Vec<Delivery> = settled.into_iter().map(|each| each.delivery).chain([invalid]).collect();
    let mut stored = deliveries(ledger, &any());
    stored.reverse();
    assert_eq!(stored, entries);
    for kind in OutcomeKind::VARIANTS {
        assert!(stored.iter().any(|entry| entry.outcome.kind() == *kind), "{kind} is among them");
    }
}

pub fn a_time_is_kept_to_the_microsecond_in_every_year_that_can_be_written(ledger: &Arc<dyn Store>) {
    let time = |text: &str| -> DateTime<Utc> { parse_timestamp(text).expect("a valid time") };
    let times = [
        time("0000-01-01T00:00:00Z"),
        time("0999-12-31T23:59:59.999999Z"),
        time("1969-12-31T23:59:59.999999Z"),
        time("1970-01-01T00:00:00Z"),
        time("2024-02-29T12:00:00.5Z"),
        time("2025-06-30T23:59:60Z"),
        time("2025-10-26T02:30:00.000001+02:00"),
        time("9999-12-31T23:59:59.999999Z"),
    ];
    register(ledger, &registration("p", "o"), 0);
    for sent_at in times {
        let said = Notification { sent_at, ..notification("p", "o", Report::PartialRefund) };
        let provenance = provenance(at(1));
        settle_as(ledger, &[(said.clone(), provenance.clone())]).expect("a ledger that settles");
        let stored = ledger.delivery(provenance.delivery_id).expect("a ledger that reads").expect("a stored entry");
        assert_eq!(stored.content, Content::Notification(said.clone()));
        assert_eq!(settle(ledger, &[said], 1), [Outcome::Duplicate], "{sent_at} is the same when it comes again");
    }
}

pub fn ids_that_look_alike_are_different(ledger: &Arc<dyn Store>) {
    let longest = "😀".repeat(255);
    let ids = ["a", "A", "a ", " a", "á", "a\u{301}", "1", "01", "1.0", "ß", "ss", "%", "_", "null", longest.as_str()];
    for id in ids {
        let registered = register(ledger, &registration(id, id), 0);
        assert_eq!(registered.outcome, domain::RegistrationOutcome::Registered, "{id:?}");
    }
    let completions: Vec<_> = ids.iter().map(|id| completion(id, id)).collect();
    let outcomes = settle(ledger, &completions, 1);
    assert_eq!(count(&outcomes, &Outcome::Completed), ids.len());
    for id in ids {
        let history = payment(ledger, id);
        assert_eq!((history.payment.payment.id, history.order.id), (payment_id(id), order_id(id)));
        assert_eq!(history.deliveries.len(), 1, "{id:?}");
    }
}

pub fn amounts_of_any_size_and_precision_are_kept(ledger: &Arc<dyn Store>) {
    for (amount, currency) in
        [("0.01", "EUR"), ("999999999999999", "EUR"), ("999999999999999", "JPY"), ("0.001", "BHD"), ("1.2345", "CLF")]
    {
        let id = format!("{amount} {currency}");
        let price = money(amount, currency);
        register(ledger, &Registration { price, ..registration(&id, &id) }, 0);
        let history = payment(ledger, &id);
        assert_eq!((history.payment.payment.price, history.order.price), (price, price));
    }
}

pub fn what_is_unknown_is_none(ledger: &Arc<dyn Store>) {
    settle(ledger, &[completion("parked", "unknown")], 1);
    let unused = provenance(at(1)).delivery_id;
    assert_eq!(ledger.payment(&payment_id("parked")).expect("a ledger that reads"), None);
    assert_eq!(ledger.order(&order_id("unknown")).expect("a ledger that reads"), None);
    assert_eq!(ledger.delivery(unused).expect("a ledger that reads"), None);
    assert_eq!(ledger.delivery(DeliveryId::first_at(at(0))).expect("a ledger that reads"), None);
}

pub fn a_ledger_that_is_ready_says_so(ledger: &Arc<dyn Store>) {
    ledger.check().expect("a ledger that is ready");
}

pub fn an_order_shows_its_payments_in_the_order_of_their_registration(ledger: &Arc<dyn Store>) {
    for (second, id) in (0..).zip(["c", "a", "b"]) {
        register(ledger, &registration(id, "o"), second);
    }
    register(ledger, &registration("also b", "o"), 2);
    settle(ledger, &[completion("a", "o")], 9);
    let history = order(ledger, "o");
    let ids: Vec<_> = history.payments.iter().map(|payment| payment.payment.id.as_str()).collect();
    assert_eq!(ids, ["c", "a", "also b", "b"]);
    assert_eq!(history.order.paid_by, Some(payment_id("a")));
}
