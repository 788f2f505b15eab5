//! Copies the write-ahead log into the database (a checkpoint), beside the writer and without blocking it.

use std::convert::Infallible;
use std::sync::mpsc::{RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use adapters_diesel::StorageError;
use diesel::connection::SimpleConnection as _;
use diesel::prelude::*;
use diesel::r2d2::ManageConnection as _;
use ports::LedgerError;

use crate::connecting::Opener;

/// How long the log collects what is written: a page that is written again and again goes to its place once. Longer
/// would have the disk do more at a time, and those who commit meanwhile wait for it.
const PAUSE: Duration = Duration::from_millis(50);

/// The thread that does it. It ends with this.
#[derive(Debug)]
pub(crate) struct Checkpointer {
    /// Says that something has been written, and, as long as it is there, that the thread is to go on.
    signals: Option<(SyncSender<()>, Sender<Infallible>)>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpointer {
    /// Starts it. `writing` is held while a thread writes.
    pub(crate) fn start(opener: Opener, writing: Arc<Mutex<()>>) -> Self {
        let (written, commits) = sync_channel(1);
        let (going_on, end) = channel();
        // Where there is no thread, or no connection for it, the writers do it themselves when the log is very long.
        let thread = thread::Builder::new().name("checkpointer".to_owned()).spawn(move || {
            while commits.recv().is_ok() && end.recv_timeout(PAUSE) == Err(RecvTimeoutError::Timeout) {
                // What fails is done next time; nothing is lost by that.
                let _ = checkpoint(&opener, &writing);
            }
        });
        Self { signals: Some((written, going_on)), thread: thread.ok() }
    }

    /// Something has been written.
    pub(crate) fn wake(&self) {
        if let Some((written, _)) = &self.signals {
            // If it has not received the one before, one checkpoint covers both.
            let _ = written.try_send(());
        }
    }
}

/// Waits for the thread: closing the last connection then leaves no log behind.
impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.signals = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// As far as readers let it, by a connection of its own. Kept open, that would hold on to files that were replaced.
fn checkpoint(opener: &Opener, writing: &Mutex<()>) -> Result<(), LedgerError> {
    let mut connection = opener.connect().map_err(|error| LedgerError::Unavailable(error.into()))?;
    let mut checkpoint = || {
        let run = |connection: &mut SqliteConnection| connection.batch_execute("PRAGMA wal_checkpoint(PASSIVE)");
        connection.run(|connection| run(connection).map_err(StorageError::from))
    };
    checkpoint()?;
    // What was written meanwhile is little. Without it the log begins anew, or else it would grow as long as there are
    // writers.
    let _turn = writing.lock().unwrap_or_else(PoisonError::into_inner);
    checkpoint()
}
