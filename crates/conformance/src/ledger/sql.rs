//! Ledgers in SQL databases: rows that were written by hand, and what the database itself refuses.

use std::sync::Arc;
use std::time::Duration;

use domain::{
    InvoiceNumber, Notification, OrderStatus, Outcome, PaymentMethod, PaymentStatus, RecordDetails, RecordKind,
    Registration, Report, UserId,
};
use ports::{COUNT_MAX, LedgerError, LedgerExt as _, Store};
use strum::VariantArray as _;
use usecases::{GroupCommit, GroupCommitLimits, ReceiveError};

use super::committing::submit_all;
use crate::fixtures::{
    any, at, callback, completion, deliveries, notification, order, order_id, outcomes, partial_refund, payment,
    payment_id, register, registration, settle, transaction_id, try_register, try_settle, use_cases,
};

/// A way into the database beside its ledger.
pub trait Database {
    /// Runs these statements in one transaction.
    ///
    /// # Errors
    /// What the database has against it.
    fn execute(&self, statements: &str) -> Result<(), String>;

    /// The column `text` of what this query yields.
    fn texts(&self, query: &str) -> Vec<String>;
}

fn change(database: &dyn Database, statements: &str) {
    database.execute(statements).expect("statements that run");
}

fn is_corrupt<T>(result: Result<T, LedgerError>) -> bool {
    matches!(result, Err(LedgerError::Corrupt { .. }))
}

pub fn a_payment_that_cannot_be_understood_is_corrupt(ledger: &Arc<dyn Store>, database: &dyn Database) {
    for (n, damage) in [
        "UPDATE external_payments SET method = 'x' WHERE payment_id = 'P'",
        "UPDATE external_payments SET currency = 'ZZZ' WHERE payment_id = 'P'",
        "UPDATE external_payments SET transaction_id = '' WHERE payment_id = 'P'",
        "UPDATE external_payments SET redirect_url = '' WHERE payment_id = 'P'",
        "UPDATE orders SET currency = 'ZZZ' WHERE order_id = 'O'",
    ]
    .into_iter()
    .enumerate()
    {
        let (id, order_text) = (format!("p{n}"), format!("o{n}"));
        register(ledger, &registration(&id, &order_text), 0);
        change(database, &damage.replace("'P'", &format!("'{id}'")).replace("'O'", &format!("'{order_text}'")));
        assert!(is_corrupt(ledger.payment(&payment_id(&id))), "{damage}");
        assert!(is_corrupt(ledger.order(&order_id(&order_text))), "{damage}");
        assert!(is_corrupt(try_settle(ledger, &[completion(&id, &order_text)], 1)), "{damage}");
    }
    assert_eq!(deliveries(ledger, &any()), [], "nothing is settled on such ground");
}

/// A payment with everything that only some methods know.
fn detailed(id: &str, method: PaymentMethod) -> Registration {
    let details = RecordDetails {
        invoice_number: Some(InvoiceNumber::parse("25010101").expect("a valid number")),
        user_id: Some(UserId::parse("user 42").expect("a valid id")),
    };
    Registration { method, details, ..registration(id, id) }
}

pub fn a_record_that_cannot_be_understood_is_corrupt(ledger: &Arc<dyn Store>, database: &dyn Database) {
    for (method, damage) in [
        (PaymentMethod::Inner, "UPDATE inner_payment_details SET user_id = ''"),
        (PaymentMethod::Invoice, "UPDATE invoice_payment_details SET invoice_number = ''"),
    ] {
        let id = method.to_string();
        register(ledger, &detailed(&id, method), 0);
        assert!(ledger.payment(&payment_id(&id)).is_ok(), "{method}");
        change(database, damage);
        assert!(is_corrupt(ledger.payment(&payment_id(&id))), "{damage}");
        assert!(is_corrupt(ledger.order(&order_id(&id))), "{damage}");
    }
}

pub fn a_record_is_a_view_of_its_payment(ledger: &Arc<dyn Store>, database: &dyn Database) {
    for method in PaymentMethod::VARIANTS {
        let (bare, full) = (format!("{method} bare"), format!("{method} full"));
        register(ledger, &Registration { method: *method, ..registration(&bare, &bare) }, 0);
        register(ledger, &detailed(&full, *method), 0);
        let paid = Notification { transaction_id: Some(transaction_id("t")), ..completion(&full, &full) };
        settle(ledger, &[paid], 1);
    }
    for kind in RecordKind::VARIANTS {
        let (columns, bare, full) = match kind {
            RecordKind::Paypal | RecordKind::Webpay => (vec!["transaction_id"], "-", "t"),
            RecordKind::Inner => (vec!["user_id"], "-", "user 42"),
            RecordKind::Invoice => (vec!["invoice_number", "receipt"], "- -", "25010101 t"),
        };
        let columns = columns.iter().map(|column| format!("coalesce(r.{column}, '-')"));
        let columns = columns.collect::<Vec<_>>().join(" || ' ' || ");
        let query = format!(
            "SELECT p.payment_id || ': ' || r.status || ' ' || {columns} AS text \
             FROM {kind}_payments r JOIN external_payments p ON p.payment_key = r.payment_key ORDER BY p.payment_id"
        );
        assert_eq!(
            database.texts(&query),
            [format!("{kind} bare: pending {bare}"), format!("{kind} full: completed {full}")]
        );
    }
    let details = "SELECT p.payment_id AS text FROM external_payments p JOIN inner_payment_details USING (payment_key) \
                   UNION ALL \
                   SELECT p.payment_id FROM external_payments p JOIN invoice_payment_details USING (payment_key)";
    assert_eq!(database.texts(details), ["inner full", "invoice full"], "a row only where there is a value");
}

pub fn an_entry_that_cannot_be_understood_is_corrupt(ledger: &Arc<dyn Store>, database: &dyn Database) {
    let columns = ["source", "status", "event", "amount", "currency", "outcome", "previous_status", "new_status"];
    let damages = columns.map(|column| format!("{column} = 'x'"));
    let empty =
        ["payment_id", "order_id", "method", "transaction_id", "request_id"].map(|column| format!("{column} = ''"));
    let unreasonable =
        ["outcome = 'rejected', reason = NULL".to_owned(), "outcome = 'unapplied', reason = 'x'".to_owned()];
    for damage in damages.into_iter().chain(empty).chain(unreasonable) {
        settle(ledger, &[completion("p", "o")], 1);
        let id = deliveries(ledger, &any())[0].provenance.delivery_id;
        change(database, &format!("UPDATE deliveries SET {damage} WHERE delivery_id = '{id}'"));
        assert!(is_corrupt(ledger.delivery(id)), "{damage}");
        assert!(is_corrupt(ledger.deliveries(&any())), "{damage}");
        if !damage.starts_with("payment_id") {
            assert!(is_corrupt(try_register(ledger, &registration("p", "o"), 2)), "{damage}");
        }
        change(database, "DELETE FROM parked_deliveries; DELETE FROM deliveries");
    }
}

pub fn what_waits_and_is_incomplete_goes_on_waiting(ledger: &Arc<dyn Store>, database: &dyn Database) {
    settle(ledger, &[completion("p", "o"), notification("p", "o", Report::PartialRefund)], 1);
    let id = deliveries(ledger, &any())[0].provenance.delivery_id;
    let holes = ["payment_id", "order_id", "status", "event", "sent_at"].map(|column| (column, "NULL".to_owned()));
    for (column, damage) in holes.into_iter().chain([("outcome", "'completed'".to_owned())]) {
        change(
            database,
            &format!("CREATE TABLE kept AS SELECT {column} AS value FROM deliveries WHERE delivery_id = '{id}'"),
        );
        change(database, &format!("UPDATE deliveries SET {column} = {damage} WHERE delivery_id = '{id}'"));
        assert!(is_corrupt(try_register(ledger, &registration("p", "o"), 2)), "{column} = {damage}");
        assert_eq!(ledger.payment(&payment_id("p")).expect("a ledger that reads"), None, "nothing is registered");
        assert_eq!(ledger.stats().expect("a ledger that reads").parked_notifications, 2, "both go on waiting");
        change(
            database,
            &format!(
                "UPDATE deliveries SET {column} = (SELECT value FROM kept) WHERE delivery_id = '{id}'; DROP TABLE kept"
            ),
        );
    }
    assert_eq!(register(ledger, &registration("p", "o"), 3).applied.len(), 2);
}

pub fn what_an_earlier_version_parked_is_applied(ledger: &Arc<dyn Store>, database: &dyn Database) {
    for second in 1..4 {
        settle(ledger, &[completion("p", "o")], second);
    }
    change(
        database,
        "DELETE FROM parked_deliveries; \
         INSERT INTO parked_deliveries (delivery_id, payment_id) SELECT delivery_id, payment_id FROM deliveries",
    );
    settle(ledger, &[completion("p", "o")], 5);
    let applied = register(ledger, &registration("p", "o"), 6).applied;
    let expected = [Outcome::Completed, Outcome::Duplicate, Outcome::Duplicate, Outcome::Duplicate];
    assert_eq!(outcomes(&applied), expected);
    assert_eq!(ledger.stats().expect("a ledger that reads").parked_notifications, 0);
}

pub fn a_corrupt_row_does_not_sink_its_neighbours(ledger: &Arc<dyn Store>, database: &dyn Database) {
    for n in 0..10 {
        register(ledger, &registration(&format!("p{n}"), &format!("o{n}")), 0);
    }
    change(
        database,
        "UPDATE external_payments SET method = 'x' WHERE payment_id = 'p3'; \
         UPDATE orders SET currency = 'ZZZ' WHERE order_id = 'o5'; \
         UPDATE external_payments SET transaction_id = '' WHERE payment_id = 'p7'",
    );
    let limits = GroupCommitLimits { queue_max: 64, batch_max: 64, committers: 1, patience: Duration::from_secs(3) };
    let intake = Arc::new(GroupCommit::start(&use_cases(ledger, at(1)), limits).expect("threads"));
    let callbacks = (0..10).map(|n| callback(completion(&format!("p{n}"), &format!("o{n}")), 1)).collect();
    let answers = submit_all(&[Arc::clone(&intake)], callbacks);
    intake.finish();
    for (answer, n) in answers.into_iter().zip(0..) {
        match answer {
            Ok(settlement) => {
                assert!(![3, 5, 7].contains(&n), "p{n}");
                assert_eq!(settlement.delivery.outcome, Outcome::Completed);
                assert_eq!(order(ledger, &format!("o{n}")).order.status, OrderStatus::Paid);
            }
            Err(ReceiveError::Ledger(error)) => {
                assert!([3, 5, 7].contains(&n), "p{n}");
                assert!(matches!(*error, LedgerError::Corrupt { .. }));
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(deliveries(ledger, &any()).len(), 7);
}

pub fn the_database_itself_refuses_what_the_rule_excludes(ledger: &Arc<dyn Store>, database: &dyn Database) {
    register(ledger, &registration("p", "o"), 0);
    let before = payment(ledger, "p");
    for nonsense in [
        "UPDATE orders SET status = 'paid'",
        "UPDATE orders SET paid_by = 'p', paid_at = created_at",
        "UPDATE orders SET status = 'paid', paid_by = 'p'",
        "UPDATE orders SET status = 'paid', paid_by = 'nobody', paid_at = created_at",
        "UPDATE orders SET status = 'x'",
        "UPDATE orders SET amount_minor = 0",
        "UPDATE external_payments SET status = 'completed'",
        "UPDATE external_payments SET status = 'x'",
        "UPDATE external_payments SET amount_minor = -1",
        "UPDATE external_payments SET order_key = 1000",
        "UPDATE external_payments SET order_key = NULL",
        "DELETE FROM external_payments",
        "DELETE FROM orders",
        "INSERT INTO inner_payment_details VALUES (1000, 'u')",
        "INSERT INTO invoice_payment_details VALUES (1000, 'n')",
        "UPDATE inner_payments SET status = 'completed'",
        "INSERT INTO webpay_payments (payment_key, status) VALUES (1000, 'pending')",
        "INSERT INTO open_payments SELECT created_at, 1000 FROM orders",
        "INSERT INTO orders (order_id, amount_minor, currency, status, created_at, updated_at) \
         SELECT order_id, amount_minor, currency, status, created_at, updated_at FROM orders",
        "INSERT INTO external_payments \
            (payment_id, order_key, method, amount_minor, currency, status, created_at, updated_at) \
         SELECT payment_id, order_key, method, amount_minor, currency, status, created_at, updated_at \
         FROM external_payments",
        "INSERT INTO partial_refunds (payment_id, sent_at) SELECT 'nobody', created_at FROM orders",
    ] {
        assert!(database.execute(nonsense).is_err(), "{nonsense}");
    }
    assert_eq!(payment(ledger, "p"), before);
}

pub fn events_are_numbered_as_they_happened(ledger: &Arc<dyn Store>, database: &dyn Database) {
    let ids: Vec<String> = (0..40).map(|n| format!("{}", n * 7 % 40)).collect();
    for id in &ids {
        register(ledger, &registration(id, id), 0);
    }
    let reached = |id: &String, status| notification(id, id, Report::Reached(status));
    let batch = ids.iter().flat_map(|id| {
        let paid = [reached(id, PaymentStatus::Failed), completion(id, id), completion(id, id)];
        paid.into_iter().chain([partial_refund(id, id, 1), reached(id, PaymentStatus::Refunded)])
    });
    settle(ledger, &batch.collect::<Vec<_>>(), 1);
    register(ledger, &registration("late", "0"), 2);
    settle(ledger, &[completion("late", "0")], 3);

    let words = ["payment.failed", "order.paid", "payment.partially_refunded", "payment.refunded"];
    let mut expected: Vec<String> =
        ids.iter().flat_map(|id| words.map(|word| format!("{word} of {id} for {id}"))).collect();
    expected.push("payment.unapplied of late for 0".to_owned());
    let stored = "SELECT kind || ' of ' || payment_id || ' for ' || order_id AS text \
                  FROM events e JOIN orders o ON o.order_key = e.order_key \
                  JOIN external_payments p ON p.payment_key = e.payment_key ORDER BY e.position";
    assert_eq!(database.texts(stored), expected);
    let unpaid = "SELECT kind AS text FROM events WHERE paid_at IS NULL GROUP BY kind";
    assert_eq!(database.texts(unpaid), ["payment.failed"]);
}

pub fn an_event_that_cannot_be_understood_holds_up_its_order_alone(ledger: &Arc<dyn Store>, database: &dyn Database) {
    for id in ["bad", "good"] {
        register(ledger, &registration(id, id), 0);
        settle(ledger, &[completion(id, id), partial_refund(id, id, 1), partial_refund(id, id, 2)], 1);
    }
    change(
        database,
        "UPDATE events SET kind = 'x' WHERE position = (SELECT min(position) + 1 FROM events WHERE order_key = \
         (SELECT order_key FROM orders WHERE order_id = 'bad'))",
    );
    let claims = ledger.claim(10, Duration::from_secs(600)).expect("a store that claims");
    let of = |order: &str| {
        let is_of = |queue: &&ports::ClaimedQueue| queue.events[0].event.order_id == order_id(order);
        let queue = claims.queues.iter().find(is_of).expect("a queue");
        (queue.events.len(), queue.unreadable.as_deref())
    };
    assert_eq!(of("bad"), (1, Some("events.kind cannot be understood: \"x\"")));
    assert_eq!(of("good"), (3, None));
}

pub fn nothing_is_stored_of_a_dry_run_or_a_refusal(ledger: &Arc<dyn Store>, database: &dyn Database) {
    register(ledger, &registration("p", "o"), 0);
    let scope = ports::Scope::of_notifications([&completion("p", "o")]);
    let tried = ledger.amend(&scope, |books| {
        books.settle(&completion("p", "o"), crate::fixtures::provenance(crate::fixtures::at(1)));
        books.discard();
    });
    tried.expect("a ledger that tries");
    change(database, "UPDATE orders SET currency = 'ZZZ'");
    assert!(is_corrupt(try_settle(ledger, &[completion("p", "o"), completion("unknown", "o")], 1)));
    for table in ["deliveries", "parked_deliveries", "events", "event_queues", "partial_refunds"] {
        assert_eq!(database.texts(&format!("SELECT 'a row' AS text FROM {table}")), [""; 0], "{table}");
    }
}

pub fn many_events_to_send_are_counted_in_time(ledger: &Arc<dyn Store>, database: &dyn Database) {
    register(ledger, &registration("p", "o"), 0);
    settle(ledger, &[completion("p", "o")], 1);
    let numbers = format!(
        "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2 * {COUNT_MAX})"
    );
    let events = |id: &str| {
        format!(
            "{numbers} INSERT INTO events (event_id, kind, order_key, payment_key, created_at) \
             SELECT {id}, kind, order_key + n, payment_key, created_at FROM events, numbers"
        )
    };
    // Each database has its own way to make an id.
    if database.execute(&events("gen_random_uuid()")).is_err() {
        change(database, &events("hex(randomblob(16))"));
    }
    change(
        database,
        &format!(
            "{numbers} INSERT INTO event_queues (order_key, due_at) SELECT order_key + n, due_at FROM event_queues, numbers"
        ),
    );
    let stats = ledger.stats().expect("a ledger that reads in time");
    assert_eq!((stats.pending_events, stats.oldest_pending_event_at), (COUNT_MAX, Some(at(1))));
}

pub fn counting_stops_at_its_limit(ledger: &Arc<dyn Store>, database: &dyn Database) {
    register(ledger, &registration("p", "o"), 0);
    change(
        database,
        &format!(
            "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {COUNT_MAX} + 5) \
             INSERT INTO external_payments \
                (payment_id, order_key, method, amount_minor, currency, status, created_at, updated_at) \
             SELECT 'p' || n, order_key, method, amount_minor, currency, status, created_at, updated_at \
             FROM external_payments, numbers; \
             INSERT INTO open_payments \
             SELECT created_at, payment_key FROM external_payments WHERE payment_id <> 'p'"
        ),
    );
    assert_eq!(ledger.stats().expect("a ledger that reads").open_payments, COUNT_MAX);
}
