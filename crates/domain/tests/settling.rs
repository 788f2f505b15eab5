//! The rule of settling, case by case.

mod common;

use std::collections::BTreeSet;

use common::{Ledger, at, notification, order_id, payment_id, price, provenance, registration};
use domain::{
    Books, Cancellation, Changes, Content, Currency, Event, EventId, ExternalPayment, InvoiceNumber, MethodName,
    MethodRecord, Mismatch, NewIdError, Notification, Order, OrderStatus, Outcome, PartialRefund, Payload,
    PaymentMethod, PaymentStatus, RecordDetails, RedirectUrl, Registration, RegistrationOutcome, Report, Settlement,
    Source, TransactionId, UnappliedReason, UserId, parse_new_order_id, parse_new_payment_id,
};
use strum::VariantArray as _;

const NOW: i64 = 100;

/// Two payments, `a` and `b`, of the same order.
fn shop() -> Ledger {
    let mut ledger = Ledger::default();
    for payment in ["a", "b"] {
        ledger.register(&registration(payment, "order"), 0);
    }
    ledger
}

/// The shop after these steps, separated by commas: what [`report`] reads, or `cancel_order`.
fn shop_after(story: &str) -> Ledger {
    let mut ledger = shop();
    for (second, step) in (1..).zip(story.split(',').filter(|step| *step != "-")) {
        ledger.amend(|books| match step {
            "cancel_order" => assert_eq!(books.cancel(&order_id("order"), at(second)), Cancellation::Cancelled),
            _ => drop(books.settle(&report(step, second), provenance(second))),
        });
    }
    ledger
}

/// Reads `[PAYMENT:]WORD[@SECOND]`, where `partial` is a partial refund. Left out, the payment is `a`, and the
/// second at which it was sent is the one at which it is received.
fn report(step: &str, second: i64) -> Notification {
    let (step, sent_at) = match step.split_once('@') {
        Some((step, sent_at)) => (step, sent_at.parse().expect("a number of seconds")),
        None => (step, second),
    };
    let (payment, word) = step.split_once(':').unwrap_or(("a", step));
    let report = match word {
        "partial" => Report::PartialRefund,
        word => Report::Reached(word.parse().expect("the word of a status")),
    };
    notification(payment, "order", report, sent_at)
}

fn standing(books: &Books) -> (ExternalPayment, Order) {
    let payment = books.payment(&payment_id("a")).expect("payment a is registered");
    let order = books.order(&payment.order_id).expect("a payment has an order");
    (payment.clone(), order.clone())
}

/// The status, and of which payment it speaks.
fn shown(order: &Order) -> String {
    let paid_by = order.paid_by.as_ref().map(|payment| format!(":{payment}"));
    format!("{}{}", order.status, paid_by.unwrap_or_default())
}

fn check_each(table: &str) {
    table.lines().filter(|row| !row.trim().is_empty()).for_each(check);
}

/// Settles one report. The cells of a row: what has happened, what is reported now of payment `a`; the outcome,
/// the payment, the order, when the money came in, and the events.
fn check(row: &str) {
    let cells: Vec<_> = row.split_whitespace().collect();
    let [story, step, expected @ ..] = cells.as_slice() else { panic!("too short: {row}") };
    let mut books = shop_after(story).open();
    let (old_payment, old_order) = standing(&books);
    let settlement = books.settle(&report(step, NOW), provenance(NOW));
    let (payment, order) = standing(&books);
    let changes = books.close();

    let outcome = &settlement.delivery.outcome;
    let reason = outcome.reason().map(|reason| format!(":{reason}")).unwrap_or_default();
    let paid_at = match payment.paid_at {
        None => "-",
        Some(time) if time == at(NOW) => "now",
        time if time == old_payment.paid_at => "before",
        time => panic!("paid at {time:?}: {row}"),
    };
    let events: Vec<_> = changes.events.iter().map(|event| event.kind.to_string()).collect();
    let actual = [
        format!("{}{reason}", outcome.kind()),
        payment.status.to_string(),
        shown(&order),
        paid_at.to_owned(),
        if events.is_empty() { "-".to_owned() } else { events.join(",") },
    ];
    assert_eq!(actual, expected, "{row}");
    check_agreement(row, (&old_payment, &old_order), (&payment, &order), settlement, &changes);
}

/// Whatever a report does, what is handed over tells it exactly: what has changed, and since when.
fn check_agreement(
    row: &str,
    (old_payment, old_order): (&ExternalPayment, &Order),
    (payment, order): (&ExternalPayment, &Order),
    settlement: Settlement,
    changes: &Changes,
) {
    let moved = (payment.status != old_payment.status, order.status != old_order.status);
    assert_eq!((payment != old_payment, order != old_order), moved, "{row}");
    assert_eq!((payment.updated_at == at(NOW), order.updated_at == at(NOW)), moved, "{row}");
    assert_eq!(changes.changed_payments, Vec::from_iter(moved.0.then(|| payment.clone())), "{row}");
    assert_eq!(changes.changed_orders, Vec::from_iter(moved.1.then(|| order.clone())), "{row}");
    if order.paid_by.as_ref() == Some(&payment.id) {
        assert_eq!(order.paid_at, payment.paid_at, "{row}");
    }

    let Settlement { delivery, registered_method, pay, events } = settlement;
    assert_eq!(delivery.previous_status, Some(old_payment.status), "{row}");
    assert_eq!(delivery.new_status, Some(payment.status), "{row}");
    assert_eq!(registered_method, Some(payment.method), "{row}");
    let paid = payment.paid_at != old_payment.paid_at;
    assert_eq!(pay, paid.then(|| UnappliedReason::of(old_order.status).map_or(Ok(()), Err)), "{row}");
    assert_eq!(changes.deliveries, [delivery], "{row}");
    assert_eq!(events, changes.events.iter().map(|event| event.kind).collect::<Vec<_>>(), "{row}");
    for event in &changes.events {
        let expected = Event {
            id: EventId::of(provenance(NOW).delivery_id, event.kind),
            kind: event.kind,
            order_id: order.id.clone(),
            payment_id: payment.id.clone(),
            paid_at: payment.paid_at,
            created_at: at(NOW),
        };
        assert_eq!(*event, expected, "{row}");
    }
}

#[test]
fn a_payment_only_moves_up() {
    check_each(
        "
        -                   pending     duplicate   pending     pending     -       -
        -                   processing  processing  processing  pending     -       -
        -                   failed      failed      failed      pending     -       payment.failed
        -                   cancelled   cancelled   cancelled   pending     -       payment.cancelled
        -                   completed   completed   completed   paid:a      now     order.paid
        -                   refunded    refunded    refunded    pending     -       payment.refunded

        processing          pending     ignored     processing  pending     -       -
        processing          processing  duplicate   processing  pending     -       -
        processing          failed      failed      failed      pending     -       payment.failed
        processing          cancelled   cancelled   cancelled   pending     -       payment.cancelled
        processing          completed   completed   completed   paid:a      now     order.paid
        processing          refunded    refunded    refunded    pending     -       payment.refunded

        failed              pending     ignored     failed      pending     -       -
        failed              processing  ignored     failed      pending     -       -
        failed              failed      duplicate   failed      pending     -       -
        failed              cancelled   cancelled   cancelled   pending     -       payment.cancelled
        failed              completed   completed   completed   paid:a      now     order.paid
        failed              refunded    refunded    refunded    pending     -       payment.refunded

        cancelled           pending     ignored     cancelled   pending     -       -
        cancelled           processing  ignored     cancelled   pending     -       -
        cancelled           failed      ignored     cancelled   pending     -       -
        cancelled           cancelled   duplicate   cancelled   pending     -       -
        cancelled           completed   completed   completed   paid:a      now     order.paid
        cancelled           refunded    refunded    refunded    pending     -       payment.refunded

        completed           pending     ignored     completed   paid:a      before  -
        completed           processing  ignored     completed   paid:a      before  -
        completed           failed      ignored     completed   paid:a      before  -
        completed           cancelled   ignored     completed   paid:a      before  -
        completed           completed   duplicate   completed   paid:a      before  -
        completed           refunded    refunded    refunded    refunded:a  before  payment.refunded

        completed,refunded  pending     ignored     refunded    refunded:a  before  -
        completed,refunded  processing  ignored     refunded    refunded:a  before  -
        completed,refunded  failed      ignored     refunded    refunded:a  before  -
        completed,refunded  cancelled   ignored     refunded    refunded:a  before  -
        completed,refunded  completed   ignored     refunded    refunded:a  before  -
        completed,refunded  refunded    duplicate   refunded    refunded:a  before  -
        ",
    );
}

#[test]
fn a_refund_that_overtakes_its_completion_leaves_the_order_unpaid() {
    check_each(
        "
        refunded             completed  ignored    refunded   pending  -    -
        processing,refunded  completed  ignored    refunded   pending  -    -
        failed,refunded      completed  ignored    refunded   pending  -    -
        cancelled,refunded   completed  ignored    refunded   pending  -    -
        refunded             partial    ignored    refunded   pending  -    -
        refunded,completed   refunded   duplicate  refunded   pending  -    -
        refunded             failed     ignored    refunded   pending  -    -
        ",
    );
}

#[test]
fn an_order_stays_open_until_one_of_its_payments_pays() {
    check_each(
        "
        b:processing  completed  completed  completed  paid:a  now  order.paid
        b:failed      completed  completed  completed  paid:a  now  order.paid
        b:cancelled   completed  completed  completed  paid:a  now  order.paid
        b:refunded    completed  completed  completed  paid:a  now  order.paid
        ",
    );
}

/// What may stand in an order's way, the reason that is given, and how the order stands.
const OBSTACLES: [(&str, &str, &str); 4] = [
    ("b:completed", "order_paid", "paid:b"),
    ("b:partial", "order_paid", "paid:b"),
    ("b:completed,b:refunded", "order_refunded", "refunded:b"),
    ("cancel_order", "order_cancelled", "cancelled"),
];

#[test]
fn money_for_an_order_that_cannot_be_paid_stays_unapplied() {
    for (obstacle, reason, order) in OBSTACLES {
        check_each(&format!(
            "
            {obstacle}             completed  unapplied:{reason}  completed  {order}  now  payment.unapplied
            {obstacle},processing  completed  unapplied:{reason}  completed  {order}  now  payment.unapplied
            {obstacle},failed      completed  unapplied:{reason}  completed  {order}  now  payment.unapplied
            {obstacle},cancelled   completed  unapplied:{reason}  completed  {order}  now  payment.unapplied
            {obstacle},completed   completed  duplicate           completed  {order}  before  -
            {obstacle},completed   failed     ignored             completed  {order}  before  -
            "
        ));
    }
}

#[test]
fn a_refund_takes_the_order_back_only_from_the_payment_that_paid_it() {
    for (obstacle, _, order) in OBSTACLES {
        check_each(&format!(
            "
            {obstacle}            refunded   refunded   refunded  {order}  -       payment.refunded
            {obstacle},failed     refunded   refunded   refunded  {order}  -       payment.refunded
            {obstacle},completed  refunded   refunded   refunded  {order}  before  payment.refunded
            {obstacle},refunded   completed  ignored    refunded  {order}  -       -
            {obstacle},refunded   refunded   duplicate  refunded  {order}  -       -
            "
        ));
    }
    check_each("completed,b:completed,b:refunded  pending  ignored  completed  paid:a  before  -");
}

#[test]
fn a_partial_refund_before_completion_completes_as_well() {
    const COMPLETED: &str = "partially_refunded completed paid:a now order.paid,payment.partially_refunded";
    for before in ["-", "processing", "failed", "cancelled"] {
        check(&format!("{before} partial {COMPLETED}"));
    }
    for (obstacle, reason, order) in OBSTACLES {
        let told = "payment.unapplied,payment.partially_refunded";
        check(&format!("{obstacle} partial unapplied:{reason} completed {order} now {told}"));
    }
}

#[test]
fn a_partial_refund_is_recorded_once_for_every_time_at_which_it_was_sent() {
    const RECORDED: &str = "partially_refunded completed paid:a before payment.partially_refunded";
    for (before, step) in [
        ("completed", "partial@7"),
        ("completed,partial@7", "partial@8"),
        ("partial@7", "partial@8"),
        ("completed,b:completed,b:partial@7", "partial@7"),
    ] {
        check(&format!("{before} {step} {RECORDED}"));
    }
    check_each(
        "
        completed,partial@7            partial@7  duplicate  completed  paid:a      before  -
        completed,partial@7,partial@8  partial@7  duplicate  completed  paid:a      before  -
        partial@7                      partial@7  duplicate  completed  paid:a      before  -
        partial@7                      completed  duplicate  completed  paid:a      before  -
        completed,partial@7            refunded   refunded   refunded   refunded:a  before  payment.refunded
        completed,refunded             partial@7  ignored    refunded   refunded:a  before  -
        completed,partial@7,refunded   partial@7  ignored    refunded   refunded:a  before  -
        completed,partial@7,refunded   partial@8  ignored    refunded   refunded:a  before  -
        ",
    );
}

#[test]
fn partial_refunds_on_one_page_are_told_apart_as_well() {
    let mut ledger = shop_after("completed");
    let outcomes = ledger.amend(|books| {
        ["partial@7", "partial@7", "partial@8"]
            .map(|step| books.settle(&report(step, NOW), provenance(NOW)).delivery.outcome)
    });
    assert_eq!(outcomes, [Outcome::PartiallyRefunded, Outcome::Duplicate, Outcome::PartiallyRefunded]);
    let recorded =
        [7, 8].map(|second| PartialRefund { payment_id: payment_id("a"), sent_at: at(second), transaction_id: None });
    assert_eq!(ledger.partial_refunds, recorded);
}

#[test]
fn partial_refunds_of_one_moment_are_told_apart_by_their_transactions() {
    let mut ledger = shop_after("completed");
    let outcomes = ["-", "t1", "t1", "t2", "-"].map(|transaction| {
        let transaction_id = (transaction != "-").then(|| transaction_id(transaction));
        let notification = Notification { transaction_id, ..report("partial@7", NOW) };
        ledger.amend(|books| books.settle(&notification, provenance(NOW))).delivery.outcome
    });
    let (once, again) = (Outcome::PartiallyRefunded, Outcome::Duplicate);
    assert_eq!(outcomes, [once.clone(), once.clone(), again.clone(), once, again]);
}

/// A report on payment `a` that names all that may contradict.
fn priced(order: &str, amount: Option<&str>, currency: Option<&str>, report: Report) -> Notification {
    Notification {
        amount: amount.map(|amount| amount.parse().expect("a valid amount")),
        currency: currency.map(|code| Currency::parse(code).expect("a valid currency")),
        ..notification("a", order, report, NOW)
    }
}

#[test]
fn a_contradiction_changes_nothing_and_the_first_one_is_named() {
    use Mismatch::{AmountMismatch, CurrencyMismatch, OrderMismatch};
    let refunds = ["refunded", "partial"];
    let others = ["pending", "processing", "failed", "cancelled", "completed"];
    for (order, amount, currency, mismatch) in [
        ("other", None, None, OrderMismatch),
        ("other", Some("29"), Some("EUR"), OrderMismatch),
        ("other", Some("30"), Some("CZK"), OrderMismatch),
        ("order", Some("30"), Some("CZK"), AmountMismatch),
        ("order", Some("30"), Some("EUR"), AmountMismatch),
        ("order", Some("29.01"), None, AmountMismatch),
        ("order", Some("2.9"), None, AmountMismatch),
        ("order", Some("29"), Some("CZK"), CurrencyMismatch),
        ("order", None, Some("CZK"), CurrencyMismatch),
    ] {
        for (story, status) in [("-", PaymentStatus::Pending), ("completed", PaymentStatus::Completed)] {
            let less = mismatch == AmountMismatch && amount == Some("2.9");
            for word in others.into_iter().chain(refunds.into_iter().filter(|_| !less)) {
                let mut ledger = shop_after(story);
                let mut expected = ledger.clone();
                let notification = priced(order, amount, currency, report(word, NOW).report);
                let settlement = ledger.amend(|books| books.settle(&notification, provenance(NOW)));
                assert_eq!(settlement.delivery.outcome, Outcome::Rejected(mismatch), "{story} {word}");
                assert_eq!(settlement.delivery.previous_status, Some(status));
                assert_eq!(settlement.delivery.new_status, Some(status));
                assert_eq!(settlement.registered_method, Some(PaymentMethod::Webpay));
                expected.deliveries.push(settlement.delivery);
                assert_eq!(ledger, expected, "{story} {word}");
            }
        }
    }
}

#[test]
fn amounts_agree_by_value_and_need_not_be_named() {
    for (amount, currency) in [
        (None, None),
        (Some("29"), None),
        (Some("29.0"), Some("EUR")),
        (Some("29.00"), Some("eur")),
        (Some("029.000"), None),
        (None, Some("EUR")),
    ] {
        let notification = priced("order", amount, currency, Report::Reached(PaymentStatus::Completed));
        let settlement = shop().amend(|books| books.settle(&notification, provenance(NOW)));
        assert_eq!(settlement.delivery.outcome, Outcome::Completed, "{amount:?} {currency:?}");
    }
}

#[test]
fn a_refund_may_be_of_less_than_was_paid() {
    for (word, outcome) in [("refunded", Outcome::Refunded), ("partial", Outcome::PartiallyRefunded)] {
        for amount in ["29", "28.99", "5.00", "0.001"] {
            let notification = priced("order", Some(amount), None, report(word, NOW).report);
            let settlement = shop_after("completed").amend(|books| books.settle(&notification, provenance(NOW)));
            assert_eq!(settlement.delivery.outcome, outcome, "{word} {amount}");
        }
    }
}

#[test]
fn the_registered_method_counts_whatever_is_reported() {
    for method in [MethodName::parse("card").ok(), MethodName::parse("new upstream").ok(), None] {
        let notification = Notification { method: method.clone(), ..report("completed", NOW) };
        let mut ledger = shop();
        let settlement = ledger.amend(|books| books.settle(&notification, provenance(NOW)));
        assert_eq!(settlement.delivery.outcome, Outcome::Completed);
        assert_eq!(Payload::from(settlement.delivery.content).method, method);
        assert_eq!(settlement.registered_method, Some(PaymentMethod::Webpay));
        assert_eq!(ledger.payments[&payment_id("a")].method, PaymentMethod::Webpay);
    }
}

#[test]
fn what_could_not_be_read_back_under_its_path_is_not_registered() {
    for id in [".", "..", "webhook"] {
        assert_eq!(parse_new_payment_id(id), Err(NewIdError::Unreadable(id)));
    }
    assert_eq!(parse_new_order_id(".."), Err(NewIdError::Unreadable("..")));
    assert_eq!(parse_new_order_id("webhook"), Ok(order_id("webhook")));
    for id in ["...", "Webhook", "webhook/", "a/b", " ", "%2F", "?"] {
        assert_eq!(parse_new_payment_id(id), Ok(payment_id(id)));
    }
}

#[test]
fn a_delivery_holds_what_was_said_and_how_it_came() {
    let notification = Notification {
        transaction_id: Some(transaction_id("t")),
        ..priced("order", Some("29"), Some("EUR"), Report::PartialRefund)
    };
    let delivery = shop().amend(|books| books.settle(&notification, provenance(NOW))).delivery;
    assert_eq!(delivery.provenance, provenance(NOW));
    assert_eq!(delivery.content, Content::Notification(notification));
}

fn transaction_id(text: &str) -> TransactionId {
    TransactionId::parse(text).expect("a valid id")
}

#[test]
fn a_payment_keeps_the_transaction_that_brought_the_money() {
    for (steps, kept) in [
        (&["completed t1"][..], Some("t1")),
        (&["completed"], None),
        (&["processing t1", "completed t2"], Some("t2")),
        (&["processing t1", "completed"], Some("t1")),
        (&["processing t1", "failed t2"], Some("t2")),
        (&["processing t1", "partial t2"], Some("t2")),
        (&["completed t1", "completed t2"], Some("t1")),
        (&["completed t1", "failed t2"], Some("t1")),
        (&["completed t1", "partial t2"], Some("t1")),
        (&["completed t1", "refunded t2"], Some("t1")),
        (&["completed t1", "refunded"], Some("t1")),
        (&["completed", "refunded t2"], Some("t2")),
        (&["refunded t2", "completed t1"], Some("t2")),
        (&["b:completed", "completed t1", "refunded t2"], Some("t1")),
    ] {
        let mut ledger = shop();
        for step in steps {
            let (step, id) = step.split_once(' ').map_or((*step, None), |(step, id)| (step, Some(transaction_id(id))));
            let notification = Notification { transaction_id: id, ..report(step, NOW) };
            ledger.amend(|books| books.settle(&notification, provenance(NOW)));
        }
        assert_eq!(ledger.payments[&payment_id("a")].transaction_id, kept.map(transaction_id), "{steps:?}");
    }
}

#[test]
fn a_notification_of_an_unknown_payment_is_parked() {
    let mut ledger = shop();
    let before = ledger.clone();
    let Settlement { delivery, registered_method, pay, events } =
        ledger.amend(|books| books.settle(&report("c:completed", NOW), provenance(NOW)));
    assert_eq!(delivery.outcome, Outcome::Parked);
    assert_eq!((delivery.previous_status, delivery.new_status), (None, None));
    assert_eq!((registered_method, pay, events), (None, None, vec![]));
    assert_eq!(
        ledger,
        Ledger { waiting: delivery.parked().into_iter().collect(), deliveries: vec![delivery], ..before }
    );
}

#[test]
fn what_could_not_be_understood_is_noted_and_nothing_more() {
    let mut ledger = shop();
    let before = ledger.clone();
    let payload = Payload { payment_id: Some(payment_id("a")), ..Payload::default() };
    let Settlement { delivery, registered_method, pay, events } =
        ledger.amend(|books| books.note_invalid(payload.clone(), "status: is missing".to_owned(), provenance(NOW)));
    assert_eq!(delivery.outcome, Outcome::Invalid("status: is missing".to_owned()));
    assert_eq!(delivery.content, Content::Fragments(payload));
    assert_eq!(delivery.provenance, provenance(NOW));
    assert_eq!((delivery.previous_status, delivery.new_status), (None, None));
    assert_eq!((registered_method, pay, events), (None, None, vec![]));
    assert_eq!(ledger, Ledger { deliveries: vec![delivery], ..before });
}

#[test]
fn a_payment_has_the_record_of_its_method() {
    for method in PaymentMethod::VARIANTS {
        let payment = Registration { method: *method, ..full_registration() }.payment(at(NOW));
        let record = MethodRecord::of(&payment, RecordDetails::default());
        assert_eq!(record.map(|record| record.into()), method.record_kind(), "{method}");
    }
}

#[test]
fn a_registered_payment_is_expected_and_its_order_is_open() {
    let mut ledger = Ledger::default();
    let registration = full_registration();
    assert_eq!(ledger.register(&registration, NOW), (RegistrationOutcome::Registered, vec![]));
    let payment = ExternalPayment {
        id: payment_id("a"),
        order_id: order_id("order"),
        method: PaymentMethod::Webpay,
        price: price("29", "EUR"),
        status: PaymentStatus::Pending,
        redirect_url: registration.redirect_url,
        transaction_id: None,
        created_at: at(NOW),
        updated_at: at(NOW),
        paid_at: None,
    };
    let order = Order {
        id: order_id("order"),
        price: price("29", "EUR"),
        status: OrderStatus::Pending,
        paid_by: None,
        paid_at: None,
        created_at: at(NOW),
        updated_at: at(NOW),
    };
    let record = MethodRecord::Webpay { status: PaymentStatus::Pending, transaction_id: None };
    let expected = Ledger {
        orders: [(order.id.clone(), order)].into(),
        records: [(payment.id.clone(), record)].into(),
        payments: [(payment.id.clone(), payment)].into(),
        ..Ledger::default()
    };
    assert_eq!(ledger, expected);
}

/// Payment `a` with a word on everything.
fn full_registration() -> Registration {
    Registration {
        redirect_url: Some(RedirectUrl::parse("https://shop.example/thanks").expect("a valid URL")),
        details: RecordDetails {
            invoice_number: Some(InvoiceNumber::parse("25010101").expect("a valid number")),
            user_id: Some(UserId::parse("42").expect("a valid id")),
        },
        ..registration("a", "order")
    }
}

/// Registers on top of what is there, which must stay as it is.
fn check_unchanged(mut ledger: Ledger, registration: &Registration, outcome: RegistrationOutcome) {
    let before = ledger.clone();
    assert_eq!(ledger.register(registration, NOW).0, outcome, "{registration:?}");
    assert_eq!(ledger, before, "{registration:?}");
}

#[test]
fn a_repeated_registration_changes_nothing() {
    for story in ["-", "processing", "completed", "completed,refunded", "cancel_order"] {
        check_unchanged(shop_after(story), &registration("a", "order"), RegistrationOutcome::Exists);
    }
}

#[test]
fn the_first_word_on_the_optional_fields_stays() {
    let silent = registration("a", "order");
    for (first, second) in [(&silent, &full_registration()), (&full_registration(), &silent)] {
        let mut ledger = Ledger::default();
        ledger.register(first, 0);
        check_unchanged(ledger, second, RegistrationOutcome::Exists);
    }
}

#[test]
fn a_registration_in_other_words_conflicts() {
    let same = registration("a", "order");
    for other in [
        Registration { order_id: order_id("other"), ..same.clone() },
        Registration { price: price("29.01", "EUR"), ..same.clone() },
        Registration { price: price("29.00", "CZK"), ..same.clone() },
        Registration { method: PaymentMethod::Card, ..same.clone() },
    ] {
        check_unchanged(shop(), &other, RegistrationOutcome::PaymentConflict);
    }
}

#[test]
fn all_payments_of_an_order_have_its_price() {
    for other in [price("29.01", "EUR"), price("29.00", "CZK")] {
        let dearer = Registration { price: other, ..registration("c", "order") };
        check_unchanged(shop(), &dearer, RegistrationOutcome::OrderConflict);
    }
}

#[test]
fn an_order_may_get_another_payment_whatever_became_of_it() {
    for story in ["-", "failed", "completed", "completed,refunded", "refunded", "cancel_order"] {
        let mut ledger = shop_after(story);
        let before = ledger.clone();
        assert_eq!(ledger.register(&registration("c", "order"), NOW).0, RegistrationOutcome::Registered, "{story}");
        assert_eq!(ledger.orders, before.orders, "{story}");
        assert_eq!(ledger.payments[&payment_id("c")].status, PaymentStatus::Pending, "{story}");
    }
}

#[test]
fn parked_notifications_are_applied_when_their_payment_is_registered() {
    let mut ledger = shop();
    let contradiction = Notification { order_id: order_id("other"), ..report("c:refunded", 4) };
    let again = Notification { transaction_id: Some(transaction_id("t")), ..report("c:completed", 3) };
    let parked = [report("c:processing", 1), report("c:completed", 2), again, contradiction];
    for (second, notification) in (1..).zip(parked.iter().chain([&report("d:completed", 5)])) {
        ledger.amend(|books| books.settle(notification, provenance(second)));
    }

    let (outcome, applied) = ledger.register(&registration("c", "order"), NOW);
    assert_eq!(outcome, RegistrationOutcome::Registered);
    let mismatch = Outcome::Rejected(Mismatch::OrderMismatch);
    assert_eq!(applied, [Outcome::Processing, Outcome::Completed, mismatch], "each notification once");
    assert_eq!(shown(&ledger.orders[&order_id("order")]), "paid:c");

    let of_parked: Vec<_> = ledger.deliveries.iter().filter(|it| it.provenance.source == Source::Parked).collect();
    assert_eq!(of_parked.len(), 3);
    let waiting: Vec<_> = ledger.waiting.iter().map(|it| it.notification.payment_id.clone()).collect();
    assert_eq!(waiting, [payment_id("d")]);
    assert_eq!(ledger.register(&registration("c", "order"), NOW), (RegistrationOutcome::Exists, vec![]));
}

#[test]
fn a_notification_is_the_same_again_unless_what_decides_differs() {
    let priced = |amount, currency, report| priced("order", amount, currency, report).identity();
    let completed = Report::Reached(PaymentStatus::Completed);
    let refunded = |second, transaction| {
        let transaction_id = Some(transaction_id(transaction));
        Notification { transaction_id, ..notification("c", "order", Report::PartialRefund, second) }.identity()
    };
    let again = Notification { method: None, transaction_id: Some(transaction_id("t")), ..report("c:completed", 2) };
    assert_eq!(again.identity(), report("c:completed", 1).identity());
    assert_eq!(priced(Some("29.0"), None, completed), priced(Some("29"), None, completed));
    assert_eq!(refunded(1, "t"), refunded(1, "t"));
    let different = [
        report("c:completed", 1).identity(),
        report("c:failed", 1).identity(),
        report("c:refunded", 1).identity(),
        Notification { order_id: order_id("other"), ..report("c:completed", 1) }.identity(),
        priced(Some("29"), None, completed),
        priced(Some("290"), None, completed),
        priced(Some("29"), Some("EUR"), completed),
        priced(None, Some("EUR"), completed),
        refunded(1, "t"),
        refunded(2, "t"),
        refunded(1, "u"),
        priced(None, None, Report::PartialRefund),
    ];
    assert_eq!(BTreeSet::from(different.clone()).len(), different.len(), "{different:?}");
}

#[test]
fn only_an_order_that_was_never_paid_can_be_cancelled() {
    for (story, cancellation, order) in [
        ("-", Cancellation::Cancelled, "cancelled"),
        ("failed", Cancellation::Cancelled, "cancelled"),
        ("refunded", Cancellation::Cancelled, "cancelled"),
        ("cancel_order", Cancellation::Cancelled, "cancelled"),
        ("completed", Cancellation::Paid, "paid:a"),
        ("partial", Cancellation::Paid, "paid:a"),
        ("completed,refunded", Cancellation::Paid, "refunded:a"),
    ] {
        let mut ledger = shop_after(story);
        let mut expected = ledger.clone();
        assert_eq!(ledger.amend(|books| books.cancel(&order_id("order"), at(NOW))), cancellation, "{story}");
        let order_after = &ledger.orders[&order_id("order")];
        assert_eq!(shown(order_after), order, "{story}");
        if order_after.status != expected.orders[&order_id("order")].status {
            assert_eq!(order_after.updated_at, at(NOW), "{story}");
            expected.orders.clone_from(&ledger.orders);
        }
        assert_eq!(ledger, expected, "{story}");
    }
}

#[test]
fn an_unknown_order_cannot_be_cancelled() {
    let mut ledger = shop();
    let before = ledger.clone();
    assert_eq!(ledger.amend(|books| books.cancel(&order_id("other"), at(NOW))), Cancellation::Unknown);
    assert_eq!(ledger, before);
}

#[test]
fn four_methods_keep_a_record_that_follows_the_payment() {
    let status = PaymentStatus::Completed;
    let paid_with = || Some(transaction_id("t"));
    let RecordDetails { invoice_number: number, user_id } = full_registration().details;
    for (method, record) in [
        (PaymentMethod::Paypal, Some(MethodRecord::Paypal { status, transaction_id: paid_with() })),
        (PaymentMethod::Webpay, Some(MethodRecord::Webpay { status, transaction_id: paid_with() })),
        (PaymentMethod::Inner, Some(MethodRecord::Inner { status, user_id })),
        (PaymentMethod::Invoice, Some(MethodRecord::Invoice { status, number, receipt: paid_with() })),
        (PaymentMethod::Card, None),
        (PaymentMethod::Stripe, None),
        (PaymentMethod::Payu, None),
        (PaymentMethod::Fiobanka, None),
        (PaymentMethod::Comgate, None),
    ] {
        let mut ledger = Ledger::default();
        ledger.amend(|books| {
            books.register(&Registration { method, ..full_registration() }, at(0));
            let notification = Notification { transaction_id: paid_with(), ..report("completed", NOW) };
            books.settle(&notification, provenance(NOW));
        });
        assert_eq!(ledger.records.get(&payment_id("a")), record.as_ref(), "{method}");
    }
}

#[test]
fn what_is_discarded_leaves_nothing_to_store() {
    let mut ledger = shop();
    ledger.amend(|books| books.settle(&report("c:completed", 1), provenance(1)));
    let before = ledger.clone();
    ledger.amend(|books| {
        for step in ["completed", "partial", "b:completed", "d:completed", "refunded"] {
            books.settle(&report(step, NOW), provenance(NOW));
        }
        books.note_invalid(Payload::default(), "status: is missing".to_owned(), provenance(NOW));
        books.register(&registration("c", "order"), at(NOW));
        books.register(&registration("d", "other"), at(NOW));
        books.cancel(&order_id("other"), at(NOW));
        books.discard();
    });
    assert_eq!(ledger, before);
}

#[test]
fn what_is_added_and_then_changed_on_one_page_is_handed_over_once_as_it_finally_stands() {
    let mut books = shop().open();
    books.register(&registration("c", "new"), at(1));
    books.register(&registration("d", "order"), at(2));
    for (second, step) in (3..).zip(["d:failed", "a:processing", "a:completed", "a:refunded"]) {
        books.settle(&report(step, second), provenance(second));
    }
    books.settle(&notification("c", "new", Report::Reached(PaymentStatus::Completed), 7), provenance(7));

    let changes = books.close();
    let orders = |orders: &[Order]| orders.iter().map(|it| format!("{} {}", it.id, shown(it))).collect::<Vec<_>>();
    assert_eq!(orders(&changes.added_orders), ["new paid:c"]);
    assert_eq!(orders(&changes.changed_orders), ["order refunded:a"]);
    let payment = |payment: &ExternalPayment| format!("{} {}", payment.id, payment.status);
    let added: Vec<_> = changes.added_payments.iter().map(|(it, _)| payment(it)).collect();
    assert_eq!(added, ["c completed", "d failed"]);
    assert_eq!(changes.changed_payments.iter().map(payment).collect::<Vec<_>>(), ["a refunded"]);
    let events: Vec<_> = changes.events.iter().map(|event| format!("{} {}", event.payment_id, event.kind)).collect();
    assert_eq!(events, ["d payment.failed", "a order.paid", "a payment.refunded", "c order.paid"]);
    assert_eq!(changes.deliveries.len(), 5);
}

#[test]
fn an_effect_says_whether_it_rests_on_what_it_leaves_unchanged() {
    for (history, step, expected) in [
        ("-", "processing", false),
        ("-", "failed", false),
        ("-", "completed", false),
        ("-", "partial", false),
        ("completed", "refunded", false),
        ("completed", "completed", false),
        ("completed", "failed", false),
        ("completed,partial@1", "partial@1", false),
        ("completed", "partial", true),
        ("b:completed", "completed", true),
        ("b:completed", "partial", true),
        ("b:completed,completed", "refunded", true),
    ] {
        let mut books = shop_after(history).open();
        books.settle(&report(step, NOW), provenance(NOW));
        assert_eq!(books.close().rests_on_unchanged, expected, "{step} after {history}");
    }
}

#[test]
fn an_untouched_page_hands_nothing_over() {
    let mut ledger = shop_after("b:completed,b:partial,failed");
    let before = ledger.clone();
    ledger.amend(|_| ());
    assert_eq!(ledger, before);
}
