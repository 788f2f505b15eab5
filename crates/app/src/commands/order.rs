use std::process::ExitCode;

use adapters_http::documents::{DeliveryDocument, OrderHistoryDocument};
use anyhow::Context as _;
use clap::Args;
use domain::OrderId;
use ports::{DeliveryFilter, HISTORY_MAX};

use crate::output::{self, Format};
use crate::settings;

#[derive(Debug, Args)]
pub(crate) struct Order {
    /// The order's id
    #[arg(value_parser = OrderId::parse)]
    id: OrderId,
    #[command(flatten)]
    format: Format,
}

impl Order {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let ledger = settings::database_url()?.ledger_for_command()?;
        let history = ledger.order(&self.id)?.context(
            "no payment of such an order is registered; `payment-callback deliveries --order ID` shows what was said \
             about it",
        )?;
        let filter = DeliveryFilter { order: Some(self.id), ..DeliveryFilter::newest(HISTORY_MAX) };
        let deliveries: Vec<DeliveryDocument> = ledger.deliveries(&filter)?.into_iter().map(Into::into).collect();
        self.format.print(&OrderHistoryDocument::from(history), |document| {
            let payments: String = document.payments.iter().map(output::payment).collect();
            output::order(&document.order) + &payments + &output::deliveries(&deliveries)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
