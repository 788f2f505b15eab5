//! Databases full of registered payments that are pending.

use std::fs::{self, File};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, ensure};
use benchmark::payments::{AMOUNT_MINOR, CURRENCY, FACTOR, METHODS, MODULUS, ORDER_ID_FIRST, PAYMENT_ID_FIRST};
use conformance::postgres::ThrowawayDatabase;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::sql_types::{BigInt, Text};
use tempfile::TempDir;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Store {
    Postgres,
    Sqlite,
}

impl Store {
    pub(crate) const ALL: [Self; 2] = [Self::Postgres, Self::Sqlite];

    /// As the keys of the figures have it.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Postgres => "postgres",
            Self::Sqlite => "sqlite",
        }
    }
}

/// When the first of the payments in a PostgreSQL database was registered; the others followed second by second.
const REGISTERED_FROM: &str = "timestamptz '2026-01-01 00:00+00'";

/// A database with so many payments, of which the first `used` have been settled.
pub(crate) struct Dataset {
    place: Place,
    payments: u64,
    used: u64,
}

enum Place {
    Postgres(ThrowawayDatabase),
    Sqlite(TempDir),
}

/// What the tables hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, QueryableByName)]
pub(crate) struct Tally {
    #[diesel(sql_type = BigInt)]
    pub(crate) deliveries: i64,
    #[diesel(sql_type = BigInt)]
    pub(crate) events: i64,
    /// Events whose order is paid by their payment, which is completed.
    #[diesel(sql_type = BigInt)]
    pub(crate) paid: i64,
}

impl Tally {
    /// What they must hold after so many callbacks more, of which so many were news.
    pub(crate) fn with(self, callbacks: i64, fresh: i64) -> Self {
        let Self { deliveries, events, paid } = self;
        Self { deliveries: deliveries + callbacks, events: events + fresh, paid: paid + fresh }
    }
}

impl Dataset {
    /// Makes a database and registers payments in it.
    pub(crate) fn prepare(store: Store, payments: u64, program: &Path) -> anyhow::Result<Self> {
        let place = match store {
            Store::Postgres => Place::Postgres(ThrowawayDatabase::create()),
            Store::Sqlite => Place::Sqlite(TempDir::with_prefix("payment-callback-benchmark.")?),
        };
        let dataset = Self { place, payments, used: 0 };
        let migrated = Command::new(program).arg("migrate").env_clear().env("DATABASE_URL", dataset.url()).output()?;
        ensure!(migrated.status.success(), "{}", String::from_utf8_lossy(&migrated.stderr));
        dataset.register().context("registering payments")?;
        Ok(dataset)
    }

    /// Another database just like this one, on disk.
    pub(crate) fn copy(&self) -> anyhow::Result<Self> {
        let place = match &self.place {
            Place::Postgres(database) => Place::Postgres(database.copy()),
            Place::Sqlite(folder) => {
                let copy = TempDir::with_prefix("payment-callback-benchmark.")?;
                fs::copy(file_in(folder), file_in(&copy))?;
                File::open(file_in(&copy))?.sync_all()?;
                Place::Sqlite(copy)
            }
        };
        Ok(Self { place, payments: self.payments, used: self.used })
    }

    /// As `DATABASE_URL` has it.
    pub(crate) fn url(&self) -> String {
        match &self.place {
            Place::Postgres(database) => database.url(),
            Place::Sqlite(folder) => format!("sqlite://{}", file_in(folder).display()),
        }
    }

    /// How many payments are still open.
    pub(crate) fn left(&self) -> u64 {
        self.payments - self.used
    }

    /// The next payments that are still open, if there are so many.
    pub(crate) fn take(&mut self, count: u64) -> Option<Range<u64>> {
        let range = self.used..self.used + count;
        if range.end > self.payments {
            return None;
        }
        self.used = range.end;
        Some(range)
    }

    /// What the tables hold now.
    pub(crate) fn tally(&self) -> anyhow::Result<Tally> {
        // Subqueries, for nothing joins well that grows so fast: each event's order and payment are looked up.
        let query = diesel::sql_query(
            "SELECT (SELECT count(*) FROM deliveries) AS deliveries, (SELECT count(*) FROM events) AS events, \
             (SELECT count(*) FROM events e \
              WHERE (SELECT p.payment_id FROM external_payments p \
                     WHERE p.payment_key = e.payment_key AND p.status = 'completed') = \
                    (SELECT o.paid_by FROM orders o WHERE o.order_key = e.order_key AND o.status = 'paid')) AS paid",
        );
        Ok(match &self.place {
            Place::Postgres(database) => query.get_result(&mut database.connect())?,
            Place::Sqlite(folder) => query.get_result(&mut open(folder)?)?,
        })
    }

    /// The PostgreSQL database that this is, if it is one.
    pub(crate) fn postgres(&self) -> Option<&ThrowawayDatabase> {
        match &self.place {
            Place::Postgres(database) => Some(database),
            Place::Sqlite(_) => None,
        }
    }

    /// That of the PostgreSQL server.
    pub(crate) fn server_version(&self) -> anyhow::Result<String> {
        let database = self.postgres().context("SQLite has no server")?;
        Ok(diesel::dsl::sql::<Text>("SELECT current_setting('server_version')").get_result(&mut database.connect())?)
    }

    /// Has everything written out that was written so far, so that it does not happen while something is measured.
    /// Not by `sync`, which would wait for what others write.
    pub(crate) fn settle_down(&self) -> anyhow::Result<()> {
        match &self.place {
            Place::Postgres(database) => database.execute("CHECKPOINT"),
            Place::Sqlite(folder) => File::open(file_in(folder))?.sync_all()?,
        }
        Ok(())
    }

    /// Leaves nothing to send.
    pub(crate) fn forget_events(&self) -> anyhow::Result<()> {
        self.execute("DELETE FROM event_queues; UPDATE events SET delivered_at = created_at WHERE delivered_at IS NULL")
    }

    /// Adds so many events of orders that there are not: they cannot be sent.
    pub(crate) fn add_events(&self, count: u64) -> anyhow::Result<()> {
        self.add_events_of(count, "1000000000 + n", "1000000000 + n")
    }

    /// Adds an event of each of the first payments.
    pub(crate) fn add_events_of_payments(&self, count: u64) -> anyhow::Result<()> {
        ensure!(count <= self.payments, "too few payments");
        self.add_events_of(count, "n + 1", "n + 1")
    }

    fn add_events_of(&self, count: u64, order_key: &str, payment_key: &str) -> anyhow::Result<()> {
        let last = count - 1;
        let (numbers, id, at) = match &self.place {
            Place::Postgres(_) => {
                (format!("SELECT n FROM generate_series(0, {last}) AS n"), "gen_random_uuid()", "now()")
            }
            Place::Sqlite(_) => (
                format!(
                    "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) \
                     SELECT n FROM numbers"
                ),
                "printf('%08x-0000-4000-8000-%012x', n, abs(random()) & 0xffffffffffff)",
                "strftime('%Y-%m-%d %H:%M:%S+00:00', 'now')",
            ),
        };
        self.execute(&format!(
            "INSERT INTO events (event_id, kind, order_key, payment_key, created_at) \
             SELECT {id}, 'order.paid', {order_key}, {payment_key}, {at} FROM ({numbers}) AS numbers; \
             INSERT INTO event_queues (order_key, due_at) SELECT {order_key}, {at} FROM ({numbers}) AS numbers"
        ))?;
        self.settle_down()
    }

    fn execute(&self, statements: &str) -> anyhow::Result<()> {
        match &self.place {
            Place::Postgres(database) => database.execute(&format!("{statements}; ANALYZE events, event_queues")),
            Place::Sqlite(folder) => {
                open(folder)?.batch_execute(&format!("{statements}; PRAGMA wal_checkpoint(TRUNCATE)"))?;
            }
        }
        Ok(())
    }

    /// Registers all payments at once, each with an order of its own.
    fn register(&self) -> anyhow::Result<()> {
        let last = self.payments - 1;
        match &self.place {
            Place::Postgres(database) => {
                let numbers = format!("SELECT n FROM generate_series(0, {last}) AS n");
                let registrations = registrations(&numbers, &format!("{REGISTERED_FROM} + n * interval '1 s'"));
                // Without looking up for every row what it refers to, and with indexes that are built afterwards:
                // that takes a third of the time.
                let connection = &mut database.connect();
                connection.batch_execute(&format!(
                    "UPDATE pg_index SET indisready = false, indisvalid = false WHERE indrelid IN \
                     (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace); \
                     SET session_replication_role = replica; SET maintenance_work_mem = '256MB'; {registrations}"
                ))?;
                connection.batch_execute("REINDEX SCHEMA public")?;
                connection.batch_execute("VACUUM (ANALYZE)")?;
            }
            Place::Sqlite(folder) => {
                let numbers = format!(
                    "WITH RECURSIVE numbers (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n < {last}) \
                     SELECT n FROM numbers"
                );
                let at = "strftime('%Y-%m-%d %H:%M:%S', 1767225600 + n, 'unixepoch') || '.000000+00:00'";
                let connection = &mut open(folder)?;
                let indexes = indexes(connection)?;
                let (without, with) = indexes.iter().fold((String::new(), String::new()), |(without, with), index| {
                    (format!("{without} DROP INDEX {};", index.name), format!("{with} {};", index.sql))
                });
                connection.batch_execute(
                    "PRAGMA foreign_keys = OFF; PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF; \
                     PRAGMA cache_size = -1000000",
                )?;
                let registrations = registrations(&numbers, at);
                connection.batch_execute(&format!("BEGIN; {without} {registrations} {with} COMMIT; ANALYZE"))?;
                connection.batch_execute("PRAGMA journal_mode = WAL")?;
            }
        }
        Ok(())
    }
}

/// Statements that register the payments with these numbers at these times, in a database that has none and counts
/// its keys from one.
fn registrations(numbers: &str, at: &str) -> String {
    let id = |first: u64| format!("CAST(n * {FACTOR} % {MODULUS} + {first} AS TEXT)");
    let (payment, order) = (id(PAYMENT_ID_FIRST), id(ORDER_ID_FIRST));
    let count = METHODS.len();
    let method: String =
        METHODS.iter().zip(0..).map(|(method, place)| format!(" WHEN {place} THEN '{method}'")).collect();
    format!(
        "INSERT INTO orders (order_id, amount_minor, currency, status, created_at, updated_at) \
         SELECT {order}, {AMOUNT_MINOR}, '{CURRENCY}', 'pending', {at}, {at} FROM ({numbers}) AS numbers; \
         INSERT INTO external_payments \
         (payment_id, order_key, method, amount_minor, currency, status, created_at, updated_at) \
         SELECT {payment}, n + 1, CASE n % {count}{method} END, {AMOUNT_MINOR}, '{CURRENCY}', 'pending', {at}, {at} \
         FROM ({numbers}) AS numbers; \
         INSERT INTO open_payments SELECT created_at, payment_key FROM external_payments; "
    )
}

/// How an index of an SQLite database is made.
#[derive(QueryableByName)]
struct Index {
    #[diesel(sql_type = Text)]
    name: String,
    #[diesel(sql_type = Text)]
    sql: String,
}

/// Those that belong to no constraint.
fn indexes(connection: &mut SqliteConnection) -> QueryResult<Vec<Index>> {
    diesel::sql_query("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL").load(connection)
}

fn file_in(folder: &TempDir) -> PathBuf {
    folder.path().join("ledger.sqlite3")
}

fn open(folder: &TempDir) -> anyhow::Result<SqliteConnection> {
    Ok(SqliteConnection::establish(&file_in(folder).to_string_lossy())?)
}
