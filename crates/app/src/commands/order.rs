use std::collections::BTreeMap;
use std::process::ExitCode;

use adapters_http::documents::{DeliveryDocument, OrderHistoryDocument};
use anyhow::Context as _;
use clap::Args;
use domain::OrderId;
use ports::DeliveryFilter;
use serde::Serialize;

use super::history::all_deliveries;
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

/// The document of an order, and what was said about it and its payments.
#[derive(Debug, Serialize)]
struct OrderTrailDocument {
    #[serde(flatten)]
    history: OrderHistoryDocument,
    deliveries: Vec<DeliveryDocument>,
}

impl Order {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = settings::database_url()?.store_for_reading()?;
        let history = store.order(&self.id)?.context(
            "no payment of such an order is registered; `payment-callback deliveries --order ID` shows what was said \
             about it",
        )?;
        // A delivery may name the order and a payment that is not registered, or one of its payments and another order.
        let naming_order = DeliveryFilter { order: Some(self.id), ..DeliveryFilter::newest(0) };
        let naming_payments = history
            .payments
            .iter()
            .map(|recorded| DeliveryFilter { payment: Some(recorded.payment.id.clone()), ..DeliveryFilter::newest(0) });
        let mut deliveries = BTreeMap::new();
        for filter in naming_payments.chain([naming_order]) {
            let found = all_deliveries(&*store, filter)?;
            deliveries.extend(found.into_iter().map(|delivery| (delivery.provenance.delivery_id, delivery)));
        }
        let document = OrderTrailDocument {
            history: history.into(),
            deliveries: deliveries.into_values().rev().map(Into::into).collect(),
        };
        self.format.print(&document, |OrderTrailDocument { history, deliveries }| {
            let payments: String = history.payments.iter().map(output::payment).collect();
            output::order(&history.order) + &payments + &output::deliveries(deliveries)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}
