use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use adapters_diesel::schema::__diesel_schema_migrations as schema_migrations;
use adapters_diesel::{ConnectError, StorageError, apply_pending};
use diesel::connection::{AnsiTransactionManager, SimpleConnection as _, TransactionManager as _};
use diesel::dsl::{select, sql};
use diesel::migration::MigrationSource;
use diesel::prelude::*;
use diesel::r2d2::ManageConnection;
use diesel::sql_types::{Bool, Text};
use diesel::sqlite::Sqlite;
use diesel_migrations::{EmbeddedMigrations, embed_migrations};
use ports::LedgerError;

use crate::files::{FileError, OpenFiles};

pub(crate) const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// Applies the pending migrations to the database in this file and names them. The file and its folder are
/// made if absent. Processes that start together wait for each other here, at most for `wait`.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate(path: &Path, wait: Duration) -> Result<Vec<String>, ConnectError> {
    migrate_with(path, wait, MIGRATIONS)
}

/// As [`migrate`], with other migrations than those of this program.
///
/// # Errors
/// See [`ConnectError`].
pub fn migrate_with(
    path: &Path,
    wait: Duration,
    migrations: impl MigrationSource<Sqlite>,
) -> Result<Vec<String>, ConnectError> {
    make_file(path).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    let mut connection = establish(path).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    prepare(&mut connection, wait).map_err(|error| ConnectError::OutOfReach(error.into()))?;
    // The look at what is pending and the migrations are one turn, which the others wait for.
    let mut begun = false;
    let applied = connection.immediate_transaction(|connection| {
        begun = true;
        let applied = apply_pending(connection, migrations)?;
        if !applied.is_empty() {
            verify_references(connection)?;
        }
        Ok(applied)
    });
    applied.map_err(if begun { ConnectError::Migration } else { ConnectError::OutOfReach })
}

/// The versions of the migrations that were applied.
pub(crate) fn applied_migrations(connection: &mut SqliteConnection) -> Result<Vec<String>, StorageError> {
    let made = "EXISTS (SELECT 1 FROM sqlite_schema WHERE name = '__diesel_schema_migrations')";
    if !select(sql::<Bool>(made)).get_result::<bool>(connection)? {
        return Ok(Vec::new());
    }
    Ok(schema_migrations::table.select(schema_migrations::version).load(connection)?)
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
///
/// Foreign keys are off: a migration that makes a table anew drops the former one, to whose rows other tables refer.
/// They can be switched outside of transactions only. Up to 256 MB of pages are cached, for ids come in no order: a
/// million payments migrate three times as fast as with the 8 MB of the service.
fn prepare(connection: &mut SqliteConnection, wait: Duration) -> QueryResult<()> {
    let session = Session { busy_timeout: wait };
    for _ in 0..100 {
        if session.apply(connection).is_ok() {
            break;
        }
        thread::sleep(Duration::from_millis(20));
    }
    session.apply(connection)?;
    connection.batch_execute("PRAGMA foreign_keys = OFF; PRAGMA cache_size = -256000")
}

/// A row that refers to one that is not there.
#[derive(Debug, QueryableByName, thiserror::Error)]
#[error("the table {child} has a row that refers to none of {parent}")]
struct BrokenReference {
    #[diesel(sql_type = Text)]
    child: String,
    #[diesel(sql_type = Text)]
    parent: String,
}

/// What SQLite does not check while foreign keys are off.
fn verify_references(connection: &mut SqliteConnection) -> diesel::migration::Result<()> {
    let query = "SELECT \"table\" AS child, parent FROM pragma_foreign_key_check LIMIT 1";
    let broken: Option<BrokenReference> = diesel::sql_query(query).get_result(connection).optional()?;
    broken.map_or(Ok(()), |reference| Err(reference.into()))
}

/// How every connection behaves.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Session {
    pub(crate) busy_timeout: Duration,
}

impl Session {
    fn apply(self, connection: &mut SqliteConnection) -> QueryResult<()> {
        // synchronous=FULL syncs the write-ahead log at every commit: what was answered is on disk. Commits do
        // not check the log in before it has 64 MiB (16,000 pages): the checkpointer does that.
        // 8 MB of pages hold the upper levels of the indexes of millions of payments: with three million, a callback
        // reads half as many pages as with the default of 2 MB.
        connection.batch_execute(&format!(
            "PRAGMA busy_timeout = {}; \
             PRAGMA journal_mode = WAL; \
             PRAGMA synchronous = FULL; \
             PRAGMA wal_autocheckpoint = 16000; \
             PRAGMA cache_size = -8000; \
             PRAGMA foreign_keys = ON;",
            self.busy_timeout.as_millis()
        ))
    }
}

/// Opens a file that must be there: SQLite would make it, and with it a new, empty ledger.
fn establish(path: &Path) -> ConnectionResult<SqliteConnection> {
    // SQLite takes what follows "//" for a host.
    let scheme = if path.is_absolute() { "file://" } else { "file:" };
    let path = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
    SqliteConnection::establish(&format!("{scheme}{path}?mode=rw"))
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    #[error(transparent)]
    Session(#[from] diesel::result::Error),
}

/// Opens connections, all of them to the same files.
#[derive(Debug, Clone)]
pub(crate) struct Opener {
    path: PathBuf,
    session: Session,
    /// Those that the newest connection has open, or had.
    files: Arc<Mutex<Option<Arc<OpenFiles>>>>,
}

impl Opener {
    pub(crate) fn new(path: &Path, session: Session) -> Self {
        Self { path: path.to_owned(), session, files: Arc::default() }
    }

    /// The same, to the same files, with another patience with those who hold the lock.
    pub(crate) fn with_busy_timeout(&self, busy_timeout: Duration) -> Self {
        Self { session: Session { busy_timeout }, ..self.clone() }
    }

    fn establish(&self) -> Result<SqliteConnection, OpenError> {
        let mut connection = establish(&self.path)?;
        self.session.apply(&mut connection)?;
        Ok(connection)
    }
}

impl ManageConnection for Opener {
    type Connection = FileConnection;
    type Error = OpenError;

    fn connect(&self) -> Result<FileConnection, OpenError> {
        let mut current = self.files.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(files) = &*current {
            match files.verify() {
                Ok(()) => {
                    let connection = self.establish()?;
                    files.verify()?;
                    return Ok(FileConnection { connection, files: Arc::clone(files), failed: false });
                }
                // The last connection to the former files brings its log to its place, where that is still there.
                Err(error) if Arc::strong_count(files) > 1 => return Err(error.into()),
                Err(_) => files.verify_log_is_not_left()?,
            }
        }
        // Before another connection has locks on the same file.
        *current = None;
        let (files, connection) = OpenFiles::open(&self.path, || self.establish())?;
        let files = Arc::new(files);
        *current = Some(Arc::clone(&files));
        Ok(FileConnection { connection, files, failed: false })
    }

    fn is_valid(&self, connection: &mut FileConnection) -> Result<(), OpenError> {
        Ok(connection.files.verify()?)
    }

    fn has_broken(&self, connection: &mut FileConnection) -> bool {
        connection.failed || AnsiTransactionManager::is_broken_transaction_manager(&mut connection.connection)
    }
}

/// A connection that knows which files it has open.
pub(crate) struct FileConnection {
    connection: SqliteConnection,
    /// Goes after the connection.
    files: Arc<OpenFiles>,
    failed: bool,
}

impl FileConnection {
    /// Does this, and checks that it was done to the files that the path names. After an error the connection is closed
    /// when it comes back to its pool: one that was opened while the disk was read-only, say, would stay so.
    ///
    /// # Errors
    /// That of `work`, or [`LedgerError::Unavailable`] if the files were removed or replaced.
    pub(crate) fn run<T, E: Into<LedgerError>>(
        &mut self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, E>,
    ) -> Result<T, LedgerError> {
        let done = work(&mut self.connection).map_err(Into::into);
        let verified = self.files.verify().map_err(|error| LedgerError::Unavailable(error.into()));
        let result = done.and_then(|done| verified.map(|()| done));
        self.failed |= result.is_err();
        result
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
        Session { busy_timeout: Duration::from_millis(7) }.apply(&mut connection).expect("settings");
        let full = 2;
        for (pragma, expected) in [("synchronous", full), ("foreign_keys", 1), ("busy_timeout", 7)] {
            let column = if pragma == "busy_timeout" { "timeout" } else { pragma };
            let query = format!("SELECT {column} AS value FROM pragma_{pragma}");
            let setting: Setting = diesel::sql_query(query).get_result(&mut connection).expect("a setting");
            assert_eq!(setting.value, expected, "{pragma}");
        }
    }
}
