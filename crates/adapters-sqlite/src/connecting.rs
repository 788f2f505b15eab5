use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use adapters_diesel::{ConnectError, apply_pending};
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::CustomizeConnection;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// Applies the pending migrations to the database in this file and names them. The file and its folder are
/// made if absent. Processes that start together wait for each other here, at most for `wait`.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate(path: &Path, wait: Duration) -> Result<Vec<String>, ConnectError> {
    make_file(path).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    let mut connection =
        SqliteConnection::establish(&path.to_string_lossy()).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    prepare(&mut connection, wait).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    // The look at what is pending and the migrations are one turn, which the others wait for.
    let mut begun = false;
    let applied = connection.immediate_transaction(|connection| {
        begun = true;
        apply_pending(connection, MIGRATIONS)
    });
    applied.map_err(if begun { ConnectError::Migration } else { ConnectError::OutOfReach })
}

/// Makes the file if absent, and its folder. It holds what concerns customers, so it is for its owner alone;
/// SQLite gives the files beside it the same mode.
fn make_file(path: &Path) -> std::io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut options = fs::OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map(drop)
}

/// Where several processes find a new file, one makes it a write-ahead one and SQLite turns the others away at
/// once, whatever its busy timeout. That takes milliseconds.
fn prepare(connection: &mut SqliteConnection, wait: Duration) -> Result<(), diesel::r2d2::Error> {
    let session = Session { busy_timeout: wait };
    for _ in 0..100 {
        if session.on_acquire(connection).is_ok() {
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    session.on_acquire(connection)
}

/// How every connection behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) busy_timeout: Duration,
}

impl CustomizeConnection<SqliteConnection, diesel::r2d2::Error> for Session {
    fn on_acquire(&self, connection: &mut SqliteConnection) -> Result<(), diesel::r2d2::Error> {
        // synchronous=FULL syncs the write-ahead log at every commit: what was answered is on disk. Commits do
        // not check the log in before it has 64 MiB (16,000 pages): the checkpointer does that.
        // 8 MB of pages hold the upper levels of the indexes of millions of payments: with three million, a callback
        // reads half as many pages as with the default of 2 MB.
        connection
            .batch_execute(&format!(
                "PRAGMA busy_timeout = {}; \
                 PRAGMA journal_mode = WAL; \
                 PRAGMA synchronous = FULL; \
                 PRAGMA wal_autocheckpoint = 16000; \
                 PRAGMA cache_size = -8000; \
                 PRAGMA foreign_keys = ON;",
                self.busy_timeout.as_millis()
            ))
            .map_err(diesel::r2d2::Error::QueryError)
    }
}

#[cfg(test)]
mod tests {
    use diesel::sql_types::Integer;

    use super::*;

    #[derive(QueryableByName)]
    struct Setting {
        #[diesel(sql_type = Integer)]
        value: i32,
    }

    #[test]
    fn every_connection_syncs_each_commit_and_checks_foreign_keys() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("ledger.sqlite3");
        let mut connection = SqliteConnection::establish(&path.to_string_lossy()).expect("a new database");
        Session { busy_timeout: Duration::from_millis(7) }.on_acquire(&mut connection).expect("settings");
        let full = 2;
        for (pragma, expected) in [("synchronous", full), ("foreign_keys", 1), ("busy_timeout", 7)] {
            let column = if pragma == "busy_timeout" { "timeout" } else { pragma };
            let query = format!("SELECT {column} AS value FROM pragma_{pragma}");
            let setting: Setting = diesel::sql_query(query).get_result(&mut connection).expect("a setting");
            assert_eq!(setting.value, expected, "{pragma}");
        }
    }
}
