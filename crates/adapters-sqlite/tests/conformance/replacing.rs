//! The files of the database are moved, replaced or damaged while the ledger has them open.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use conformance::fixtures::{completion, payment_id, register, registration, try_settle};
use conformance::ledger::sql::Database as _;
use diesel::connection::SimpleConnection as _;
use domain::Outcome;
use ports::{LedgerError, LedgerExt as _, Scope, Store};

use super::{File, open};

const PATIENCE: Duration = Duration::from_millis(400);

/// A ledger with the payment `p` of the order `o`.
fn ledger(file: &File) -> Arc<dyn Store> {
    let ledger = open(&file.path(), PATIENCE);
    register(&ledger, &registration("p", "o"), 0);
    ledger
}

fn beside(file: &File, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", file.path().display()))
}

/// A copy, as a tool for backups makes it.
fn back_up(file: &File) -> PathBuf {
    let backup = beside(file, ".backup");
    file.connect().batch_execute(&format!("VACUUM INTO '{}'", backup.display())).expect("a backup");
    backup
}

fn rename(from: &Path, to: &Path) {
    fs::rename(from, to).expect("a file that can be renamed");
}

#[track_caller]
fn assert_unavailable<T: std::fmt::Debug>(result: Result<T, LedgerError>) {
    assert!(matches!(result, Err(LedgerError::Unavailable(_))), "{result:?}");
}

#[track_caller]
fn assert_away(ledger: &Arc<dyn Store>) {
    assert_unavailable(try_settle(ledger, &[completion("p", "o")], 1));
    assert_unavailable(ledger.payment(&payment_id("p")));
    assert_unavailable(ledger.check());
}

/// The ledger settles again, and another connection finds it in the file at the path.
#[track_caller]
fn assert_recovers(ledger: &Arc<dyn Store>, file: &File) {
    let deadline = Instant::now() + Duration::from_secs(30);
    let settled = loop {
        match try_settle(ledger, &[completion("p", "o")], 2) {
            Err(LedgerError::Unavailable(_)) if Instant::now() < deadline => thread::sleep(Duration::from_millis(20)),
            settled => break settled.expect("a ledger that recovers"),
        }
    };
    assert_eq!(settled, [Outcome::Completed]);
    assert_eq!(file.texts("SELECT status AS text FROM external_payments"), ["completed"]);
    ledger.check().expect("a ledger that is ready");
}

#[test]
fn a_database_that_is_away_is_unavailable_until_it_is_back() {
    let folder = |file: &File| file.folder.path().to_owned();
    let database = |file: &File| file.path();
    for moved in [folder as fn(&File) -> PathBuf, database] {
        let file = File::migrated();
        let ledger = ledger(&file);
        let path = moved(&file);
        let elsewhere = path.with_extension("elsewhere");
        rename(&path, &elsewhere);
        assert_away(&ledger);
        assert!(!file.path().exists(), "nothing is made in its place");
        rename(&elsewhere, &path);
        assert_recovers(&ledger, &file);
    }
}

#[test]
fn a_removed_database_is_not_made_anew() {
    let file = File::migrated();
    let ledger = ledger(&file);
    fs::remove_file(file.path()).expect("a file");
    assert_away(&ledger);
    assert!(!file.path().exists());
}

#[test]
fn what_was_committed_into_a_file_that_went_meanwhile_is_not_acknowledged() {
    for suffix in ["", "-wal", "-shm"] {
        let file = File::migrated();
        let ledger = ledger(&file);
        let amended = ledger.amend(&Scope::default(), |_| fs::remove_file(beside(&file, suffix)).expect("a file"));
        assert_unavailable(amended);
    }
}

#[test]
fn a_log_that_was_removed_takes_nothing_along() {
    for suffix in ["-wal", "-shm"] {
        let file = File::migrated();
        let ledger = ledger(&file);
        fs::remove_file(beside(&file, suffix)).expect("a file");
        assert_recovers(&ledger, &file);
    }
}

#[test]
fn a_backup_that_is_put_in_place_with_its_log_removed_is_the_ledger() {
    let file = File::migrated();
    let ledger = ledger(&file);
    let backup = back_up(&file);
    register(&ledger, &registration("later", "o2"), 1);
    rename(&backup, &file.path());
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&file, suffix)).expect("a file");
    }
    assert_recovers(&ledger, &file);
    assert_eq!(ledger.payment(&payment_id("later")).expect("a ledger that reads"), None);
}

#[test]
fn a_backup_is_not_read_with_the_log_of_the_file_that_it_replaced() {
    let file = File::migrated();
    let ledger = ledger(&file);
    let backup = back_up(&file);
    rename(&backup, &file.path());
    assert_away(&ledger);
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&file, suffix)).expect("a file");
    }
    assert_recovers(&ledger, &file);
}

#[test]
fn a_path_may_be_a_link_and_lead_to_another_file_later() {
    let (first, second) = (File::migrated(), File::migrated());
    let links = File::new();
    let link_to = |file: &File| {
        let link = links.folder.path().join("link");
        std::os::unix::fs::symlink(file.path(), &link).expect("a link");
        rename(&link, &links.path());
    };
    link_to(&first);
    let ledger = ledger(&links);
    ledger.check().expect("a ledger that is ready");
    register(&second.ledger(), &registration("p", "o"), 0);
    link_to(&second);
    assert_recovers(&ledger, &second);
    assert_eq!(first.texts("SELECT status AS text FROM external_payments"), ["pending"]);
}

#[test]
fn a_damaged_database_is_unavailable() {
    for damage in ["", "this is no database, and long enough to be taken for one's header"] {
        let file = File::migrated();
        let ledger = ledger(&file);
        fs::write(file.path(), damage).expect("a file");
        assert_away(&ledger);
    }
}
