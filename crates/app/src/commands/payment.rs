use std::process::ExitCode;

use adapters_http::documents::PaymentHistoryDocument;
use anyhow::Context as _;
use clap::Args;
use domain::PaymentId;

use crate::output::{self, Format};
use crate::settings;

#[derive(Debug, Args)]
pub(crate) struct Payment {
    /// The payment's id
    #[arg(value_parser = PaymentId::parse)]
    id: PaymentId,
    #[command(flatten)]
    format: Format,
}

impl Payment {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let ledger = settings::database_url()?.ledger_for_command()?;
        let history = ledger.payment(&self.id)?.context(
            "no such payment is registered; `payment-callback deliveries --payment ID` shows what was said about it",
        )?;
        self.format.print(&PaymentHistoryDocument::from(history), |document| {
            output::payment(&document.payment)
                + &output::order(&document.order)
                + &output::deliveries(&document.deliveries)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
