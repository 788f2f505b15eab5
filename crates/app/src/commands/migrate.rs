use std::process::ExitCode;

use clap::Args;

use crate::output;
use crate::settings::{self, DatabaseWait};

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    database_wait: DatabaseWait,
}

impl Migrate {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let applied = settings::database_url()?.migrate(self.database_wait.duration())?;
        output::print(&match &*applied {
            [] => "nothing to do: every migration has been applied\n".to_owned(),
            applied => applied.iter().map(|migration| format!("applied {migration}\n")).collect(),
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
