use std::io;
use std::process::ExitCode;

use adapters_http::documents::ReplayDocument;
use anyhow::Context as _;
use clap::Args;
use domain::DeliveryId;
use usecases::Caller;

use crate::output::{self, Format};
use crate::settings::{self, LoggingSettings};
use crate::wiring::{announce_events, use_cases, with_log};

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// The delivery's id
    #[arg(value_name = "DELIVERY", value_parser = delivery_id)]
    id: DeliveryId,
    /// Only show what would change
    #[arg(long, env = "REPLAY_DRY_RUN")]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    logging: LoggingSettings,
}

impl Replay {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = settings::database_url()?.store_for_command()?;
        let replay = with_log(self.logging, io::stderr(), |log, _| {
            let replayed = use_cases(&store, log).replay_delivery(self.id, self.dry_run, &Caller::default());
            replayed.context("the delivery was not applied")
        })?;
        if !replay.dry_run {
            announce_events(&*store, std::slice::from_ref(&replay.settlement));
        }
        let outcome = replay.settlement.delivery.outcome.kind();
        self.format.print(&ReplayDocument::try_from(replay)?, |document| {
            let verb = if document.dry_run { "would be" } else { "outcome" };
            let entry = output::deliveries(std::slice::from_ref(&document.delivery));
            let payment: String = document.payment.iter().map(output::payment).collect();
            let order: String = document.order.iter().map(output::order).collect();
            format!("{verb}: {}\n\n{entry}\n{payment}{order}", document.outcome)
        })?;
        Ok(if outcome.class().is_applied() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn delivery_id(text: &str) -> Result<DeliveryId, &'static str> {
    DeliveryId::parse(text).ok_or("must be a delivery's id")
}
