use std::net::TcpListener;
use std::time::Duration;

use conformance::fixtures::{
    any, at, completion, order_id, payment, payment_id, provenance, register, registration, settle, try_settle,
};
use conformance::ledger::sql::Database as _;
use diesel::connection::SimpleConnection as _;
use domain::{Outcome, PaymentStatus, UnappliedReason};
use ports::LedgerError;

use super::{Own, open};

const IMPATIENT: Duration = Duration::from_millis(300);

fn is_unavailable<T>(result: Result<T, LedgerError>) -> bool {
    matches!(result, Err(LedgerError::Unavailable(_)))
}

#[test]
fn a_ledger_out_of_reach_is_unavailable() {
    // A port that was free a moment ago: nobody listens there.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let ledger = open(&format!("postgres://nobody@{address}/nowhere"), IMPATIENT);
    assert!(is_unavailable(ledger.check()));
    assert!(is_unavailable(try_settle(&ledger, &[completion("p", "o")], 1)));
    assert!(is_unavailable(ledger.payment(&payment_id("p"))));
    assert!(is_unavailable(ledger.order(&order_id("o"))));
    assert!(is_unavailable(ledger.delivery(provenance(at(1)).delivery_id)));
    assert!(is_unavailable(ledger.deliveries(&any())));
}

#[test]
fn what_another_session_has_locked_is_named_and_the_rest_can_be_settled() {
    let database = Own::migrated();
    let ledger = open(&database.0.url(), IMPATIENT);
    for (payment, order) in [("by its row", "o1"), ("by its order", "o2"), ("by its order too", "o2"), ("free", "o3")] {
        register(&ledger, &registration(payment, order), 0);
    }
    let mut other = database.0.connect();
    other
        .batch_execute(
            "BEGIN; SELECT FROM external_payments WHERE payment_id = 'by its row' FOR UPDATE; \
             UPDATE orders SET updated_at = updated_at WHERE order_id = 'o2'; \
             SELECT pg_advisory_xact_lock(hashtextextended('by its id', 0))",
        )
        .expect("locks");
    let said = [
        completion("by its row", "o1"),
        completion("by its order", "o2"),
        completion("by its order too", "o2"),
        completion("by its id", "o4"),
        completion("free", "o3"),
        completion("unknown", "o2"),
    ];
    let Err(LedgerError::Held { payments }) = try_settle(&ledger, &said, 1) else { panic!("payments that are held") };
    let held = ["by its row", "by its order", "by its order too", "by its id"];
    assert_eq!(payments, held.map(payment_id).into());
    assert_eq!(settle(&ledger, &said[4..], 1), [Outcome::Completed, Outcome::Parked]);
    let status = payment(&ledger, "by its row").payment.payment.status;
    assert_eq!(status, PaymentStatus::Pending, "readers do not wait");
    other.batch_execute("ROLLBACK").expect("an end");
    let expected = [
        Outcome::Completed,
        Outcome::Completed,
        Outcome::Unapplied(UnappliedReason::OrderPaid),
        Outcome::Parked,
        Outcome::Duplicate,
        Outcome::Parked,
    ];
    assert_eq!(settle(&ledger, &said, 2), expected);
}

#[test]
fn a_locked_table_hinders_everything_until_it_is_free() {
    let database = Own::migrated();
    let ledger = open(&database.0.url(), IMPATIENT);
    register(&ledger, &registration("p", "o"), 0);
    let mut other = database.0.connect();
    other.batch_execute("BEGIN; LOCK TABLE external_payments").expect("a lock");
    let hindered = try_settle(&ledger, &[completion("p", "o")], 1);
    assert!(matches!(hindered, Err(LedgerError::Contended(_))), "{hindered:?}");
    other.batch_execute("ROLLBACK").expect("an end");
    assert_eq!(settle(&ledger, &[completion("p", "o")], 2), [Outcome::Completed]);
}

#[test]
fn connections_that_the_server_has_closed_are_replaced() {
    let database = Own::migrated();
    let ledger = database.ledger();
    register(&ledger, &registration("p", "o"), 0);
    database.texts(
        "SELECT pg_terminate_backend(pid, 10000)::text AS text FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert_eq!(settle(&ledger, &[completion("p", "o")], 1), [Outcome::Completed]);
}

#[test]
fn a_commit_is_on_disk_even_where_the_database_would_not_wait_for_it() {
    for (set_to, expected) in [("off", "on"), ("local", "local"), ("on", "on")] {
        let database = Own::migrated();
        let statements = format!(
            "ALTER DATABASE {} SET synchronous_commit = {set_to}; \
             CREATE TABLE sessions (text TEXT NOT NULL); \
             CREATE FUNCTION note_session() RETURNS TRIGGER LANGUAGE plpgsql AS \
             $$ BEGIN INSERT INTO sessions SELECT current_setting('synchronous_commit'); RETURN NULL; END $$; \
             CREATE TRIGGER note_session AFTER INSERT ON deliveries EXECUTE FUNCTION note_session()",
            database.0.name()
        );
        database.execute(&statements).expect("statements that run");
        let ledger = database.ledger();
        settle(&ledger, &[completion("p", "o")], 1);
        assert_eq!(database.texts("SELECT text FROM sessions"), [expected]);
    }
}
