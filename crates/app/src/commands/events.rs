use std::process::ExitCode;

use adapters_http::documents::EventsDocument;
use chrono::{DateTime, Utc};
use clap::Args;
use domain::{EventState, OrderId, parse_timestamp};
use ports::EventFilter;

use crate::output::{self, Format};
use crate::settings::{self, word_of};

#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only those in this state
    #[arg(long, env = "EVENTS_STATE", value_name = "WORD", value_parser = word_of::<EventState>())]
    state: Option<EventState>,
    /// Only those of this order
    #[arg(long, env = "EVENTS_ORDER", value_name = "ID", value_parser = OrderId::parse)]
    order: Option<OrderId>,
    /// Only those that happened at this time or later, as RFC 3339
    #[arg(long, env = "EVENTS_SINCE", value_name = "TIME", value_parser = parse_timestamp)]
    since: Option<DateTime<Utc>>,
    /// At most so many
    #[arg(long, env = "EVENTS_LIMIT", value_name = "EVENTS", default_value = "50",
          value_parser = settings::whole_number::<1, 500>)]
    limit: u64,
    #[command(flatten)]
    format: Format,
}

impl Events {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Self { state, order, since, limit, format } = self;
        let filter = EventFilter { state, order, since, ..EventFilter::any(i64::try_from(limit)? + 1) };
        let store = settings::database_url()?.store_for_reading()?;
        let document = EventsDocument::page(store.events(&filter)?, usize::try_from(limit)?);
        format.print(&document, |document| output::events(&document.events))?;
        Ok(ExitCode::SUCCESS)
    }
}
