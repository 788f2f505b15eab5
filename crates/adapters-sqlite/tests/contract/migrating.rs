use std::sync::Barrier;
use std::thread;

use adapters_sqlite::{ConnectError, migrate};
use contracts::fixtures::{completion, notification, order, partial_refund, register, registration, settle};
use contracts::ledger::migrating::what_is_stored_outlives;
use contracts::ledger::sql::Database as _;
use diesel::connection::SimpleConnection as _;
use diesel_migrations::{EmbeddedMigrations, MigrationHarness as _, embed_migrations};
use domain::{OrderStatus, Outcome, PaymentStatus, Report};
use ports::LedgerError;

use super::{File, WAIT};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
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
    let file = File::new();
    assert_eq!(migrate(&file.path(), WAIT).expect("a new database"), ALL);
    assert_eq!(migrate(&file.path(), WAIT).expect("a migrated database"), [""; 0]);
}

#[test]
fn the_folder_is_made_if_it_is_absent() {
    let file = File::new();
    let path = file.path().with_file_name("not").join("yet").join("there.sqlite3");
    migrate(&path, WAIT).expect("a new database");
    assert!(path.is_file());
}

#[test]
fn processes_that_start_together_migrate_once() {
    for _ in 0..10 {
        let file = File::new();
        let start = Barrier::new(4);
        let applied: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        start.wait();
                        migrate(&file.path(), WAIT).expect("a database that migrates")
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
    let file = File::migrated();
    let ledger = file.ledger();
    register(&*ledger, &registration("p", "o"), 0);
    let failed = notification("p", "o", Report::Reached(PaymentStatus::Failed));
    settle(&*ledger, &[failed, completion("p", "o"), partial_refund("p", "o", 1), completion("unknown", "o")], 1);
    drop(ledger);

    let mut connection = file.connect();
    connection.revert_all_migrations(MIGRATIONS).expect("migrations that go down");
    let left = "SELECT name AS text FROM sqlite_schema WHERE name NOT LIKE '%diesel%' AND name NOT LIKE 'sqlite_%'";
    assert_eq!(file.texts(left), [""; 0]);
    assert_eq!(migrate(&file.path(), WAIT).expect("an empty database"), ALL);
    let ledger = file.ledger();
    register(&*ledger, &registration("p", "o"), 2);
    assert_eq!(settle(&*ledger, &[completion("p", "o")], 3), [Outcome::Completed]);
    assert_eq!(order(&*ledger, "o").order.status, OrderStatus::Paid);
}

#[test]
fn what_is_stored_outlives_migrations_down_and_up() {
    let file = File::migrated();
    what_is_stored_outlives(&*file.ledger(), || {
        let mut connection = file.connect();
        for _ in &ALL[2..] {
            connection.revert_last_migration(MIGRATIONS).expect("a migration that goes down");
        }
        assert_eq!(migrate(&file.path(), WAIT).expect("a database that migrates"), ALL[2..]);
        file.ledger()
    });
}

#[test]
fn a_migration_that_leaves_a_broken_reference_is_refused_and_changes_nothing() {
    let file = File::migrated();
    let mut connection = file.connect();
    for _ in &ALL[3..] {
        connection.revert_last_migration(MIGRATIONS).expect("a migration that goes down");
    }
    let refund_of_no_payment = "INSERT INTO partial_refunds VALUES ('absent', '2026-01-01 00:00:00.000000+00:00')";
    connection.batch_execute("PRAGMA foreign_keys = OFF").expect("a setting");
    connection.batch_execute(refund_of_no_payment).expect("a row");
    drop(connection);

    let schema = "SELECT coalesce(sql, name) AS text FROM sqlite_schema ORDER BY name";
    let before = file.texts(schema);
    let error = migrate(&file.path(), WAIT).expect_err("a broken reference");
    let ConnectError::Migration(reason) = error else { panic!("{error:?}") };
    assert_eq!(reason.to_string(), "the table partial_refunds has a row that refers to none of external_payments");
    assert_eq!(file.texts(schema), before);
    assert_eq!(file.texts("SELECT payment_id AS text FROM partial_refunds"), ["absent"]);
}

#[test]
fn a_ledger_with_pending_migrations_is_outdated() {
    let file = File::new();
    file.connect().batch_execute("PRAGMA journal_mode = WAL").expect("a database without tables");
    let ledger = file.ledger();
    assert!(matches!(ledger.check(), Err(LedgerError::Outdated { pending }) if pending == ALL.len()));
    migrate(&file.path(), WAIT).expect("a database");
    ledger.check().expect("a ledger that is ready");
}
