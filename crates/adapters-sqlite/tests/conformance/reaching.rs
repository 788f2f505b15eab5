use std::thread;
use std::time::{Duration, Instant};

use conformance::fixtures::{
    any, at, completion, order_id, payment, payment_id, provenance, register, registration, settle, try_settle,
};
use diesel::connection::SimpleConnection as _;
use domain::{Outcome, PaymentStatus};
use ports::LedgerError;

use super::{File, open};

const IMPATIENT: Duration = Duration::from_millis(200);

fn is_unavailable<T>(result: Result<T, LedgerError>) -> bool {
    matches!(result, Err(LedgerError::Unavailable(_)))
}

#[test]
fn a_ledger_out_of_reach_is_unavailable() {
    let file = File::new();
    std::fs::write(file.path(), "this is no database, and long enough to be taken for one's header").expect("a file");
    for path in [file.path().with_file_name("no such folder").join("x.sqlite3"), file.path()] {
        let ledger = open(&path, IMPATIENT);
        assert!(is_unavailable(ledger.check()));
        assert!(is_unavailable(try_settle(&ledger, &[completion("p", "o")], 1)));
        assert!(is_unavailable(ledger.payment(&payment_id("p"))));
        assert!(is_unavailable(ledger.order(&order_id("o"))));
        assert!(is_unavailable(ledger.delivery(provenance(at(1)).delivery_id)));
        assert!(is_unavailable(ledger.deliveries(&any())));
    }
}

#[test]
fn readiness_does_not_wait_as_long_as_a_callback() {
    let file = File::migrated();
    let ledger = open(&file.path(), Duration::from_secs(60));
    let mut other = file.connect();
    other.batch_execute("BEGIN IMMEDIATE").expect("a lock");
    thread::scope(|scope| {
        let settled = scope.spawn(|| try_settle(&ledger, &[completion("p", "o")], 1));
        for _ in 0..2 {
            let asked = Instant::now();
            assert!(is_unavailable(ledger.check()));
            assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
        }
        other.batch_execute("ROLLBACK").expect("an end");
        settled.join().expect("no panic").expect("a ledger that settles");
    });
    ledger.check().expect("a ledger that is ready");
}

#[test]
fn a_ledger_that_another_process_holds_for_too_long_is_unavailable_and_recovers() {
    let file = File::migrated();
    let ledger = open(&file.path(), IMPATIENT);
    register(&ledger, &registration("p", "o"), 0);
    let mut other = file.connect();
    other.batch_execute("BEGIN IMMEDIATE; UPDATE external_payments SET status = 'failed'").expect("a lock");
    assert!(is_unavailable(try_settle(&ledger, &[completion("p", "o")], 1)));
    assert_eq!(payment(&ledger, "p").payment.payment.status, PaymentStatus::Pending, "readers do not wait");
    other.batch_execute("ROLLBACK").expect("an end");
    assert_eq!(settle(&ledger, &[completion("p", "o")], 2), [Outcome::Completed]);
}
