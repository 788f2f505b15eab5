use std::fs;
use std::path::Path;
use std::sync::Barrier;
use std::thread;

use adapters_postgres::{ConnectError, migrate, migrate_with};
use conformance::fixtures::{completion, notification, order, partial_refund, register, registration, settle};
use conformance::ledger::migrating::{check_order_index, what_is_stored_outlives};
use conformance::ledger::sql::Database as _;
use conformance::postgres::ThrowawayDatabase;
use diesel_migrations::{EmbeddedMigrations, FileBasedMigrations, MigrationHarness as _, embed_migrations};
use domain::{OrderStatus, Outcome, PaymentStatus, Report};
use ports::LedgerError;

use super::{Own, WAIT};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");
const ALL: [&str; 2] = ["2026-11-25-000002_ledger", "2026-11-25-000003_outbox"];
const NEXT: &str = "2999-01-01-000000_next";

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
    register(&ledger, &registration("p", "o"), 0);
    let failed = notification("p", "o", Report::Reached(PaymentStatus::Failed));
    settle(&ledger, &[failed, completion("p", "o"), partial_refund("p", "o", 1), completion("unknown", "o")], 1);
    drop(ledger);

    database.0.connect().revert_all_migrations(MIGRATIONS).expect("migrations that go down");
    let left = "SELECT relname::text AS text FROM pg_class WHERE relnamespace = 'public'::regnamespace \
                AND relname NOT LIKE '%diesel%'";
    assert_eq!(database.texts(left), [""; 0]);
    assert_eq!(migrate(&database.0.url(), WAIT).expect("an empty database"), ALL);
    let ledger = database.ledger();
    register(&ledger, &registration("p", "o"), 2);
    assert_eq!(settle(&ledger, &[completion("p", "o")], 3), [Outcome::Completed]);
    assert_eq!(order(&ledger, "o").order.status, OrderStatus::Paid);
}

/// Applies this program's migrations and the one that a next version could bring.
fn migrate_to_the_next_version(database: &Own, up: &str) -> Result<Vec<String>, ConnectError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let of_this_version = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/postgres"));
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
    migrate_with(&database.0.url(), WAIT, migrations)
}

#[test]
fn what_is_stored_outlives_a_migration_that_rewrites_its_tables() {
    let database = Own::migrated();
    what_is_stored_outlives(&database.ledger(), || {
        let rewrite = "ALTER TABLE orders ALTER COLUMN amount_minor TYPE BIGINT USING amount_minor + 0; \
                       ALTER TABLE deliveries ADD COLUMN next BIGINT; \
                       ALTER TABLE deliveries ALTER COLUMN next TYPE BIGINT USING payment_key; \
                       ALTER TABLE partial_refunds ALTER COLUMN sent_at TYPE TIMESTAMPTZ USING sent_at + interval '0'";
        assert_eq!(migrate_to_the_next_version(&database, rewrite).expect("a database that migrates"), [NEXT]);
        database.ledger()
    });
}

#[test]
fn a_migration_that_fails_changes_nothing() {
    let database = Own::migrated();
    register(&database.ledger(), &registration("p", "o"), 0);
    let schema = "SELECT relname || ' ' || coalesce(string_agg(attname, ' ' ORDER BY attnum), '') AS text \
                  FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid WHERE relnamespace = 'public'::regnamespace \
                  GROUP BY relname ORDER BY relname";
    let before = database.texts(schema);
    let fails = "CREATE TABLE added (n BIGINT); ALTER TABLE orders ADD COLUMN next BIGINT; DELETE FROM open_payments; \
                 DELETE FROM external_payments; INSERT INTO added SELECT 1 / count(*) FROM external_payments";
    let error = migrate_to_the_next_version(&database, fails).expect_err("a division by zero");
    assert!(matches!(error, ConnectError::Migration(_)), "{error:?}");
    assert_eq!(database.texts(schema), before);
    assert_eq!(database.texts("SELECT payment_id AS text FROM external_payments"), ["p"]);
    assert_eq!(migrate(&database.0.url(), WAIT).expect("a migrated database"), [""; 0]);
    database.ledger().check().expect("a ledger that is ready");
}

#[test]
fn a_database_with_unknown_migrations_is_newer_and_is_left_as_it_is() {
    let database = Own::migrated();
    migrate_to_the_next_version(&database, "CREATE TABLE added (n BIGINT)").expect("a database that migrates");
    let newer = |error: &LedgerError| matches!(error, LedgerError::Newer { unknown: 1 });
    assert!(database.ledger().check().is_err_and(|error| newer(&error)));
    let Err(ConnectError::Migration(reason)) = migrate(&database.0.url(), WAIT) else { panic!("a refusal") };
    assert!(reason.downcast_ref().is_some_and(newer), "{reason}");
}

#[test]
fn a_ledger_with_pending_migrations_is_outdated() {
    let database = Own(ThrowawayDatabase::create());
    let ledger = database.ledger();
    assert!(matches!(ledger.check(), Err(LedgerError::Outdated { pending }) if pending == ALL.len()));
    migrate(&database.0.url(), WAIT).expect("a new database");
    ledger.check().expect("a ledger that is ready");
}

#[test]
fn the_index_of_an_orders_deliveries_lists_the_outcomes_that_were_not_applied() {
    let definition = "SELECT indexdef AS text FROM pg_indexes WHERE indexname = 'deliveries_order'";
    let database = Own::migrated();
    check_order_index(&database.texts(definition)[0]);
}
