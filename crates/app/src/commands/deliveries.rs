use std::process::ExitCode;

use adapters_http::documents::DeliveriesDocument;
use chrono::{DateTime, Utc};
use clap::Args;
use domain::{OrderId, OutcomeKind, PaymentId, parse_timestamp};
use ports::DeliveryFilter;

use crate::output::{self, Format};
use crate::settings::{self, word_of};

#[derive(Debug, Args)]
pub(crate) struct Deliveries {
    /// Only those that name this payment
    #[arg(long, env = "DELIVERIES_PAYMENT", value_name = "ID", value_parser = PaymentId::parse)]
    payment: Option<PaymentId>,
    /// Only those that name this order
    #[arg(long, env = "DELIVERIES_ORDER", value_name = "ID", value_parser = OrderId::parse)]
    order: Option<OrderId>,
    /// Only those with this outcome
    #[arg(long, env = "DELIVERIES_OUTCOME", value_name = "WORD", value_parser = word_of::<OutcomeKind>())]
    outcome: Option<OutcomeKind>,
    /// Only those received at this time or later, as RFC 3339
    #[arg(long, env = "DELIVERIES_SINCE", value_name = "TIME", value_parser = parse_timestamp)]
    since: Option<DateTime<Utc>>,
    /// At most so many
    #[arg(long, env = "DELIVERIES_LIMIT", value_name = "ENTRIES", default_value = "50",
          value_parser = settings::whole_number::<1, 500>)]
    limit: u64,
    #[command(flatten)]
    format: Format,
}

impl Deliveries {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { payment, order, outcome, since, limit, format } = self;
        let filter =
            DeliveryFilter { payment, order, outcome, since, ..DeliveryFilter::newest(i64::try_from(limit)? + 1) };
        let store = settings::database_url()?.store_for_reading()?;
        let document = DeliveriesDocument::page(store.deliveries(&filter)?, usize::try_from(limit)?);
        format.print(&document, |document| output::deliveries(&document.deliveries))?;
        Ok(ExitCode::SUCCESS)
    }
}
