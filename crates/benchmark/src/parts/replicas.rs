//! Several of the program on one PostgreSQL database, with the same connections between them.

use crate::dataset::Store;
use crate::report::{Figures, micros};
use crate::testbed::Testbed;
use crate::trial::Trial;

const REPLICAS: [usize; 3] = [1, 2, 4];

const CALLBACKS: u64 = 12_000;

pub(crate) fn round(testbed: &mut Testbed, figures: &mut Figures) -> anyhow::Result<()> {
    let mut per_second = Vec::new();
    for replicas in REPLICAS {
        let measured = testbed.run(Store::Postgres, Trial { replicas, ..Trial::closed(CALLBACKS) })?;
        let sent = measured.sent;
        let name = |figure: &str| format!("replicas.{replicas}.{figure}");
        figures.note(name("per_second"), sent.per_second());
        figures.note_some(name("batch_size"), measured.batch_size);
        figures.note_some(name("service_cpu_us"), measured.service_cpu.map(micros));
        figures.note_some(name("database_cpu_us"), measured.database_cpu.map(micros));
        per_second.push(sent.per_second());
    }
    if let [one, _, four] = per_second[..] {
        figures.note("replicas.4.over_1", four / one);
    }
    Ok(())
}
