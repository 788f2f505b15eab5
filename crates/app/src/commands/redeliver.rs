use std::io;
use std::process::ExitCode;

use adapters_http::documents::{EventDocument, RedeliveredDocument};
use anyhow::Context as _;
use chrono::{DateTime, Utc};
use clap::{ArgGroup, Args};
use domain::{EventId, EventState, OrderId, parse_timestamp};
use ports::EventFilter;
use usecases::{Caller, REDELIVERED_EVENTS_MAX};

use super::event::event_id;
use crate::output::{self, Format};
use crate::settings::{self, LoggingSettings, word_of};
use crate::wiring::{use_cases, with_log};

#[derive(Debug, Args)]
#[command(group(ArgGroup::new("which").args(["id", "state", "order", "since"]).required(true).multiple(true)))]
pub(crate) struct Redeliver {
    /// The event's id
    #[arg(value_name = "EVENT", value_parser = event_id, conflicts_with_all = ["state", "order", "since", "dry_run"])]
    id: Option<EventId>,
    /// All in this state
    #[arg(long, env = "REDELIVER_STATE", value_name = "WORD", value_parser = word_of::<EventState>())]
    state: Option<EventState>,
    /// All of this order
    #[arg(long, env = "REDELIVER_ORDER", value_name = "ID", value_parser = OrderId::parse)]
    order: Option<OrderId>,
    /// All that happened at this time or later, as RFC 3339
    #[arg(long, env = "REDELIVER_SINCE", value_name = "TIME", value_parser = parse_timestamp)]
    since: Option<DateTime<Utc>>,
    /// Only count those that match
    #[arg(long, env = "REDELIVER_DRY_RUN")]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    logging: LoggingSettings,
}

impl Redeliver {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { id, state, order, since, dry_run, format, logging } = self;
        let store = settings::database_url()?.store_for_command()?;
        let caller = Caller::default();
        if let Some(id) = id {
            let found = with_log(logging, io::stderr(), |log, _| {
                use_cases(&store, log).redeliver_event(id, &caller).context("the event was not redelivered")
            })?;
            let history = store.event(id)?.filter(|_| found).context("there is no such event")?;
            format.print(&EventDocument::from(history.status), output::event)?;
        } else {
            let filter = EventFilter { state, order, since, ..EventFilter::any(REDELIVERED_EVENTS_MAX) };
            let redelivered = with_log(logging, io::stderr(), |log, _| {
                use_cases(&store, log).redeliver_events(filter, dry_run, &caller).context("no event was redelivered")
            })?;
            format.print(&RedeliveredDocument::from(redelivered), |document| {
                let verb = if document.dry_run { "would be redelivered" } else { "redelivered" };
                format!("{verb}: {}\n", document.matched)
            })?;
        }
        Ok(ExitCode::SUCCESS)
    }
}
