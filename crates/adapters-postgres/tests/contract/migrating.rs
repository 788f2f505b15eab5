use std::sync::Barrier;
use std::thread;

use adapters_postgres::migrate;
use contracts::fixtures::{completion, notification, order, partial_refund, register, registration, settle};
use contracts::ledger::migrating::what_is_stored_outlives;
use contracts::ledger::sql::Database as _;
use contracts::postgres::ThrowawayDatabase;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use domain::{OrderStatus, Outcome, PaymentStatus, Report};
use ports::LedgerError;

use super::{Own, WAIT};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const ALL: [&str; 6] = [
    "2026-11-23-000000_ledger",
    "2026-11-23-000001_open_payments",
    "2026-11-24-000000_lighter_callbacks",
    "2026-11-24-000001_surrogate_keys",
    "2026-11-25-000000_partial_refund_transactions",
    "2026-11-25-000001_parked_identities",
];

#[test]
fn migrate_names_what_it_applied_and_does_it_once() {
    let database = ThrowawayDatabase::create();
    assert_eq!(migrate(&database.url(), WAIT).expect("a new database"), ALL);
    assert_eq!(migrate(&database.url(), WAIT).expect("a migrated database"), [""; 0]);
}

#[test]
fn replicas_that_start_together_migrate_once() {
    for _ in 0..5 {
        let database = ThrowawayDatabase::create();
        let start = Barrier::new(4);
        let applied: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        migrate(&database.url(), WAIT).expect("a database that migrates")
                    })
                })
                .collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("no panic")).collect()
        });
        assert_eq!(applied, ALL);
    }
}

#[test]
fn migrations_go_down_and_up_again_whatever_the_tables_hold() {
    let database = Own::migrated();
    let ledger = database.ledger();
    register(&*ledger, &registration("p", "o"), 0);
    let failed = notification("p", "o", Report::Reached(PaymentStatus::Failed));
    settle(&*ledger, &[failed, completion("p", "o"), partial_refund("p", "o", 1), completion("unknown", "o")], 1);
    drop(ledger);

    database.0.connect().revert_all_migrations(MIGRATIONS).expect("migrations that go down");
    let left = "SELECT relname::text AS text FROM pg_class WHERE relnamespace = 'public'::regnamespace \
                AND relname NOT LIKE '%diesel%'";
    assert_eq!(database.texts(left), [""; 0]);
    assert_eq!(migrate(&database.0.url(), WAIT).expect("an empty database"), ALL);
    let ledger = database.ledger();
    register(&*ledger, &registration("p", "o"), 2);
    assert_eq!(settle(&*ledger, &[completion("p", "o")], 3), [Outcome::Completed]);
    assert_eq!(order(&*ledger, "o").order.status, OrderStatus::Paid);
}

#[test]
fn what_is_stored_outlives_migrations_down_and_up() {
    let database = Own::migrated();
    what_is_stored_outlives(&*database.ledger(), || {
        let mut connection = database.0.connect();
        for _ in &ALL[2..] {
            connection.revert_last_migration(MIGRATIONS).expect("a migration that goes down");
        }
        assert_eq!(migrate(&database.0.url(), WAIT).expect("a database that migrates"), ALL[2..]);
        database.ledger()
    });
}

#[test]
fn a_ledger_with_pending_migrations_is_outdated() {
    let database = Own(ThrowawayDatabase::create());
    let ledger = database.ledger();
    assert!(matches!(ledger.check(), Err(LedgerError::Outdated { pending }) if pending == ALL.len()));
    migrate(&database.0.url(), WAIT).expect("a new database");
    ledger.check().expect("a ledger that is ready");
}
