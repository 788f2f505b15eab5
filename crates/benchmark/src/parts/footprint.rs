//! What the program needs when nothing happens: its size, its start, its memory; and how fast this disk is.

use std::fs::{self, File};
use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use simulator::{Connection, Request};

use crate::dataset::Store;
use crate::report::{Figures, mebibytes, millis};
use crate::server::Server;
use crate::testbed::Testbed;
use crate::usage::Memory;

/// How often something that varies is tried in one round.
const TIMES: usize = 5;

pub(crate) fn round(testbed: &mut Testbed, figures: &mut Figures) -> anyhow::Result<()> {
    figures.note("program_mib", mebibytes(fs::metadata(&testbed.program)?.len()));
    for _ in 0..TIMES {
        figures.note("machine.sync_ms", millis(sync_takes()?));
    }
    for store in Store::ALL {
        let name = |figure: &str| format!("{}.{figure}", store.word());
        let url = testbed.dataset(store, 0)?.url();
        for _ in 0..TIMES {
            let server = Server::start(&testbed.program, &[("DATABASE_URL", &url)])?;
            figures.note(name("start_ms"), millis(server.start_took));
            // Idle, but not new: it has been to its database once.
            Connection::open(server.address)?.exchange(&Request::get("/readyz"))?;
            thread::sleep(Duration::from_millis(100));
            figures.note_some(name("memory.idle_mib"), Memory::of(server.pid()).map(|memory| mebibytes(memory.now)));
            server.stop()?;
        }
    }
    Ok(())
}

/// How long it takes until 8 KiB more are on the disk where the databases are.
fn sync_takes() -> anyhow::Result<Duration> {
    let folder = tempfile::tempdir()?;
    let mut file = File::create(folder.path().join("file"))?;
    let mut append = || {
        file.write_all(&[1; 8192])?;
        file.sync_data()
    };
    append()?;
    let started = Instant::now();
    append()?;
    Ok(started.elapsed())
}
