//! The files of the embedded store are moved, replaced or damaged under the service, or their disk is full.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
#[cfg(target_os = "linux")]
use rustix::{
    io::Errno,
    mount::{MountFlags, UnmountFlags, mount, unmount},
};
use simulator::Request;

use crate::test_app::{
    PORTAL_KEY, Watched, assert_problem, assert_settled, callback, folder, notification, register, registration, serve,
};

const DEADLINE: (&str, &str) = ("RESPONSE_DEADLINE_MS", "1000");

/// The service on a file, with the payment `p` of the order `o`.
struct Files {
    service: Watched,
    path: PathBuf,
}

impl Files {
    fn open(folder: &Path) -> Self {
        let path = folder.join("ledger.sqlite3");
        let files = Self { service: serve(&format!("sqlite://{}", path.display()), &[DEADLINE]), path };
        assert_eq!(files.status(&register(&registration("p", "o"))), 201);
        files
    }

    fn status(&self, request: &Request) -> u16 {
        self.service.exchange(request).expect("an answer").status
    }

    fn ready(&self) -> u16 {
        self.status(&Request::get("/readyz"))
    }

    /// Every route that needs the files says that they are not to be had.
    #[track_caller]
    fn assert_away(&self) {
        for request in [
            callback(&notification("p", "o", "completed")),
            register(&registration("p2", "o2")),
            Request::get("/readyz"),
            Request::get("/api/payments/p").key(PORTAL_KEY),
            Request::get("/api/orders/o").key(PORTAL_KEY),
        ] {
            assert_problem(&self.service.exchange(&request).expect("an answer"), 503, "unavailable");
        }
    }

    /// It settles again, without a restart.
    #[track_caller]
    fn assert_recovers(&self) {
        let mended = Instant::now();
        while self.ready() == 503 {
            assert!(mended.elapsed() < Duration::from_secs(30), "{:#?}", self.service.lines());
            thread::sleep(Duration::from_millis(50));
        }
        let settled = callback(&notification("p", "o", "completed"));
        assert_settled(&self.service.exchange(&settled).expect("an answer"), "completed");
        let order = self.service.exchange(&Request::get("/api/orders/o").key(PORTAL_KEY)).expect("an answer");
        assert_eq!(order.json()["order"]["status"], "paid");
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

#[test]
fn nothing_is_acknowledged_or_read_while_the_file_is_away() {
    let folder = folder();
    let files = Files::open(folder.path());
    let elsewhere = files.path.with_extension("elsewhere");
    fs::rename(&files.path, &elsewhere).expect("a file");
    files.assert_away();
    assert!(!files.path.exists(), "no new ledger is made");
    fs::rename(&elsewhere, &files.path).expect("a file");
    files.assert_recovers();
}

#[test]
fn a_file_that_replaces_the_open_one_is_taken_once_the_old_log_is_gone() {
    let folder = folder();
    let files = Files::open(folder.path());
    let copy = folder.path().join("copy.sqlite3");
    let mut connection = SqliteConnection::establish(&files.path.to_string_lossy()).expect("a database");
    connection.batch_execute(&format!("VACUUM INTO '{}'", copy.display())).expect("a backup");
    drop(connection);
    fs::rename(&copy, &files.path).expect("a file");
    files.assert_away();
    for suffix in ["-wal", "-shm"] {
        fs::remove_file(beside(&files.path, suffix)).expect("a file");
    }
    files.assert_recovers();
}

#[test]
fn a_damaged_file_is_not_taken_for_a_ledger() {
    let folder = folder();
    let files = Files::open(folder.path());
    let file = OpenOptions::new().write(true).open(&files.path).expect("a file");
    file.write_all_at(&[0; 8192], 0).expect("a file that can be written");
    files.assert_away();
}

/// A disk of 1 MiB.
#[cfg(target_os = "linux")]
struct SmallDisk(PathBuf);

#[cfg(target_os = "linux")]
impl SmallDisk {
    /// None where the test may not mount: that takes root.
    fn mount(at: PathBuf) -> Option<Self> {
        fs::create_dir(&at).expect("a folder");
        let mounted = mount("none", &at, "tmpfs", MountFlags::empty(), c"size=1m");
        match mounted {
            Ok(()) => Some(Self(at)),
            Err(Errno::PERM) => None,
            Err(error) => panic!("tmpfs: {error}"),
        }
    }

    fn fill(&self) -> PathBuf {
        let path = self.0.join("filling");
        fs::write(&path, vec![0; 1 << 20]).expect_err("a full disk");
        path
    }
}

#[cfg(target_os = "linux")]
impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = unmount(&self.0, UnmountFlags::DETACH);
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_service_on_a_full_disk_is_not_ready() {
    let folder = folder();
    let Some(disk) = SmallDisk::mount(folder.path().join("disk")) else {
        eprintln!("not tried: only root may mount a small disk");
        return;
    };
    let files = Files::open(&disk.0);
    assert_eq!(files.ready(), 200);
    let filling = disk.fill();
    let filled = Instant::now();
    while files.ready() == 200 {
        assert!(filled.elapsed() < Duration::from_secs(30), "{:#?}", files.service.lines());
        thread::sleep(Duration::from_millis(50));
    }
    // The write-ahead log may have room from before.
    let refused = (0..200).any(|n| files.status(&register(&registration(&format!("p{n}"), &format!("o{n}")))) == 503);
    assert!(refused, "{:#?}", files.service.lines());
    assert_eq!(files.status(&Request::get("/api/orders/o").key(PORTAL_KEY)), 200, "what is stored can be read");
    fs::remove_file(filling).expect("a file");
    files.assert_recovers();
}
