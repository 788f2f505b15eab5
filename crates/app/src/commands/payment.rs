use std::process::ExitCode;

use adapters_http::documents::PaymentHistoryDocument;
use anyhow::Context as _;
use clap::Args;
use domain::PaymentId;
use ports::DeliveryFilter;

use super::history::all_deliveries;
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
        let store = settings::database_url()?.store_for_reading()?;
        let mut history = store.payment(&self.id)?.context(
            "no such payment is registered; `payment-callback deliveries --payment ID` shows what was said about it",
        )?;
        if let Some(next) = history.next.take() {
            let older = DeliveryFilter { payment: Some(self.id), before: Some(next), ..DeliveryFilter::newest(0) };
            history.deliveries.extend(all_deliveries(&*store, older)?);
        }
        self.format.print(&PaymentHistoryDocument::from(history), |document| {
            output::payment(&document.payment)
                + &output::order(&document.order)
                + &output::deliveries(&document.deliveries)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
