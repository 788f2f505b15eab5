use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use adapters_sqlite::{ConnectError, migrate, migrate_with};
use conformance::fixtures::{completion, notification, order, partial_refund, register, registration, settle};
use conformance::ledger::migrating::{check_order_index, what_is_stored_outlives};
use conformance::ledger::sql::Database as _;
use diesel::connection::SimpleConnection as _;
use diesel_migrations::{EmbeddedMigrations, FileBasedMigrations, MigrationHarness as _, embed_migrations};
use domain::{OrderStatus, Outcome, PaymentStatus, Report};
use ports::LedgerError;

use super::{File, WAIT};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const ALL: [&str; 2] = ["2026-11-25-000002_ledger", "2026-11-25-000003_outbox"];
const NEXT: &str = "2999-01-01-000000_next";

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
    register(&ledger, &registration("p", "o"), 0);
    let failed = notification("p", "o", Report::Reached(PaymentStatus::Failed));
    settle(&ledger, &[failed, completion("p", "o"), partial_refund("p", "o", 1), completion("unknown", "o")], 1);
    drop(ledger);

    let mut connection = file.connect();
    connection.revert_all_migrations(MIGRATIONS).expect("migrations that go down");
    let left = "SELECT name AS text FROM sqlite_schema WHERE name NOT LIKE '%diesel%' AND name NOT LIKE 'sqlite_%'";
    assert_eq!(file.texts(left), [""; 0]);
    assert_eq!(migrate(&file.path(), WAIT).expect("an empty database"), ALL);
    let ledger = file.ledger();
    register(&ledger, &registration("p", "o"), 2);
    assert_eq!(settle(&ledger, &[completion("p", "o")], 3), [Outcome::Completed]);
    assert_eq!(order(&ledger, "o").order.status, OrderStatus::Paid);
}

/// Applies this program's migrations and the one that a next version could bring.
fn migrate_to_the_next_version(file: &File, up: &str) -> Result<Vec<String>, ConnectError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let of_this_version = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/sqlite"));
    for name in ALL {
        fs::create_dir(folder.path().join(name)).expect("a folder");
        for file in ["up.sql", "down.sql"] {
            fs::copy(of_this_version.join(name).join(file), folder.path().join(name).join(file)).expect("a copy");
        }
    }
    let next = folder.path().join(NEXT);
    fs::create_dir(&next).expect("a folder");
    fs::write(next.join("up.sql"), up).expect("a file");
    let migrations = FileBasedMigrations::from_path(folder.path()).expect("a folder of migrations");
    migrate_with(&file.path(), WAIT, migrations)
}

/// SQLite can hardly change a table: it is made anew, and the former one, to whose rows others refer, is dropped.
const ORDERS_MADE_ANEW: &str = "\
    CREATE TABLE new_orders (order_key INTEGER PRIMARY KEY, order_id TEXT NOT NULL UNIQUE, \
        amount_minor INTEGER NOT NULL, currency TEXT NOT NULL, status TEXT NOT NULL, \
        paid_by TEXT REFERENCES external_payments (payment_id) DEFERRABLE INITIALLY DEFERRED, paid_at TEXT, \
        created_at TEXT NOT NULL, updated_at TEXT NOT NULL) STRICT; \
    INSERT INTO new_orders SELECT order_key, order_id, amount_minor, currency, status, paid_by, paid_at, created_at, \
        updated_at FROM orders; \
    DROP TABLE orders; \
    ALTER TABLE new_orders RENAME TO orders;";

#[test]
fn what_is_stored_outlives_a_migration_that_makes_a_table_anew() {
    let file = File::migrated();
    what_is_stored_outlives(&file.ledger(), || {
        let applied = migrate_to_the_next_version(&file, ORDERS_MADE_ANEW).expect("a database that migrates");
        assert_eq!(applied, [NEXT]);
        file.ledger()
    });
    let with_foreign_keys = file.execute(&ORDERS_MADE_ANEW.replace("new_orders", "newer_orders"));
    assert!(with_foreign_keys.is_err(), "only a migration may drop what is referred to");
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let fails = "CREATE TABLE added (n INTEGER); DELETE FROM external_payments; INSERT INTO absent VALUES (1)";
    let reason = refused_and_nothing_changed(fails);
    assert!(reason.contains("absent"), "{reason}");
}

#[test]
fn a_migration_that_leaves_a_broken_reference_is_refused_and_changes_nothing() {
    let reason = refused_and_nothing_changed("CREATE TABLE added (n INTEGER); DELETE FROM orders");
    assert_eq!(reason, "the table external_payments has a row that refers to none of orders");
}

/// Why this migration of a database with a payment is refused.
fn refused_and_nothing_changed(up: &str) -> String {
    let file = File::migrated();
    register(&file.ledger(), &registration("p", "o"), 0);
    let schema = "SELECT coalesce(sql, name) AS text FROM sqlite_schema ORDER BY name";
    let before = file.texts(schema);
    let error = migrate_to_the_next_version(&file, up).expect_err("a migration that is refused");
    let ConnectError::Migration(reason) = error else { panic!("{error:?}") };
    assert_eq!(file.texts(schema), before);
    let payments = "SELECT payment_id || ' ' || order_id AS text FROM external_payments JOIN orders USING (order_key)";
    assert_eq!(file.texts(payments), ["p o"]);
    assert_eq!(migrate(&file.path(), WAIT).expect("a migrated database"), [""; 0]);
    file.ledger().check().expect("a ledger that is ready");
    reason.to_string()
}

#[test]
fn a_database_with_unknown_migrations_is_newer_and_is_left_as_it_is() {
    let file = File::migrated();
    migrate_to_the_next_version(&file, "CREATE TABLE added (n INTEGER)").expect("a database that migrates");
    let newer = |error: &LedgerError| matches!(error, LedgerError::Newer { unknown: 1 });
    assert!(file.ledger().check().is_err_and(|error| newer(&error)));
    let Err(ConnectError::Migration(reason)) = migrate(&file.path(), WAIT) else { panic!("a refusal") };
    assert!(reason.downcast_ref().is_some_and(newer), "{reason}");
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

#[test]
fn the_index_of_an_orders_deliveries_lists_the_outcomes_that_were_not_applied() {
    let definition = "SELECT sql AS text FROM sqlite_schema WHERE name = 'deliveries_order'";
    check_order_index(&File::migrated().texts(definition)[0]);
}
