use std::net::TcpListener;
use std::time::Duration;

use contracts::fixtures::{
    any, at, completion, order_id, payment, payment_id, receipt, register, registration, settle, try_settle,
};
use contracts::ledger::sql::Database as _;
use diesel::connection::SimpleConnection as _;
use domain::{Outcome, PaymentStatus};
use ports::{Ledger, LedgerError};

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
    assert!(is_unavailable(ledger.delivery(receipt(at(1)).delivery_id)));
    assert!(is_unavailable(ledger.deliveries(&any())));
}

#[test]
fn a_row_that_somebody_else_holds_for_too_long_hinders_what_needs_it_until_it_is_free() {
    let database = Own::migrated();
    let ledger = open(&database.0.url(), IMPATIENT);
    register(&ledger, &registration("p", "o"), 0);
    register(&ledger, &registration("free", "of all"), 0);
    let mut other = database.0.connect();
    other.batch_execute("BEGIN; SELECT FROM orders WHERE order_id = 'o' FOR UPDATE").expect("a lock");
    let hindered = try_settle(&ledger, &[completion("p", "o")], 1);
    assert!(matches!(hindered, Err(LedgerError::Hindered(_))), "{hindered:?}");
    assert_eq!(settle(&ledger, &[completion("free", "of all")], 1), [Outcome::Completed]);
    assert_eq!(payment(&ledger, "p").payment.payment.status, PaymentStatus::Pending, "readers do not wait");
    other.batch_execute("ROLLBACK").expect("an end");
    assert_eq!(settle(&ledger, &[completion("p", "o")], 2), [Outcome::Completed]);
}

#[test]
fn connections_that_the_server_has_closed_are_replaced() {
    let database = Own::migrated();
    let ledger = database.ledger();
    register(&*ledger, &registration("p", "o"), 0);
    database.texts(
        "SELECT pg_terminate_backend(pid, 10000)::text AS text FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    );
    assert_eq!(settle(&*ledger, &[completion("p", "o")], 1), [Outcome::Completed]);
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
        settle(&*ledger, &[completion("p", "o")], 1);
        assert_eq!(database.texts("SELECT text FROM sessions"), [expected]);
    }
}
