//! Several of the program on one PostgreSQL database, with the same connections between them.

use crate::ground::Store;
use crate::report::Figures;
use crate::setting::Setting;
use crate::trial::Trial;

const REPLICAS: [usize; 3] = [1, 2, 4];

const CALLBACKS: u64 = 12_000;

pub(crate) fn round(setting: &mut Setting, figures: &mut Figures) -> anyhow::Result<()> {
    for replicas in REPLICAS {
        let sent = setting.run(Store::Postgres, Trial { replicas, ..Trial::closed(CALLBACKS) })?.sent;
        figures.note(format!("replicas.{replicas}.per_second"), sent.per_second());
    }
    Ok(())
}
