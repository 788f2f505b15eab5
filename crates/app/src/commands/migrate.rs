use std::process::ExitCode;

use clap::Args;

use crate::settings::{self, DatabaseSettings};

#[derive(Debug, Args)]
pub(crate) struct Migrate {
    #[command(flatten)]
    database: DatabaseSettings,
}

impl Migrate {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let applied = settings::database_url()?.migrate(self.database.wait())?;
        if applied.is_empty() {
            println!("nothing to do: every migration has been applied");
        }
        for migration in applied {
            println!("applied {migration}");
        }
        Ok(ExitCode::SUCCESS)
    }
}
