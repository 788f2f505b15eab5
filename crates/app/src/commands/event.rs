use std::process::ExitCode;

use adapters_http::documents::EventHistoryDocument;
use anyhow::Context as _;
use clap::Args;
use domain::EventId;

use crate::output::{self, Format};
use crate::settings;

#[derive(Debug, Args)]
pub(crate) struct Event {
    /// The event's id
    #[arg(value_parser = event_id)]
    id: EventId,
    #[command(flatten)]
    format: Format,
}

impl Event {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = settings::database_url()?.store_for_reading()?;
        let history = store.event(self.id)?.context("there is no such event")?;
        self.format.print(&EventHistoryDocument::from(history), |EventHistoryDocument { event, history }| {
            output::event(event) + &output::attempts(history)
        })?;
        Ok(ExitCode::SUCCESS)
    }
}

pub(super) fn event_id(text: &str) -> Result<EventId, &'static str> {
    EventId::parse(text).ok_or("must be an event's id")
}
