use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use crate::output::Format;
use crate::settings::{self, DatabaseWait};

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    database_wait: DatabaseWait,
    #[command(flatten)]
    format: Format,
}

/// What was done.
#[derive(Debug, Serialize)]
struct MigratedDocument {
    /// The migrations that were pending, in their order.
    applied: Vec<String>,
}

impl Migrate {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let applied = settings::database_url()?.migrate(self.database_wait.duration())?;
        self.format.print(&MigratedDocument { applied }, |document| match &*document.applied {
            [] => "nothing to do: every migration has been applied\n".to_owned(),
            applied => applied.iter().map(|migration| format!("applied {migration}\n")).collect(),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
