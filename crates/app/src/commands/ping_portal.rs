use std::process::ExitCode;
use std::sync::Arc;

use adapters_upstream::Portal;
use anyhow::Context as _;
use clap::Args;
use ports::{Notified, Reaction};
use serde::Serialize;
use uuid::Uuid;

use crate::clock::SystemClock;
use crate::output::Format;
use crate::settings::{PortalEventsUrl, SettingsError, portal_events_secrets};

#[derive(Debug, Args)]
pub(crate) struct PingPortal {
    #[command(flatten)]
    receiver: PortalEventsUrl,
    #[command(flatten)]
    format: Format,
}

/// What came back.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PingDocument {
    acknowledged: bool,
    http_status: Option<u16>,
    duration_ms: u128,
    error: Option<String>,
}

impl PingPortal {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let url =
            self.receiver.portal_events_url.ok_or_else(|| SettingsError::new("PORTAL_EVENTS_URL", "is not set"))?;
        let portal = Portal::new(url, portal_events_secrets()?, Arc::new(SystemClock));
        let portal = portal.context("the HTTP client cannot be made")?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let Notified { attempt, reaction } = runtime.block_on(portal.ping(&new_ping_id()));
        let document = PingDocument {
            acknowledged: reaction == Reaction::Acknowledged,
            http_status: attempt.status,
            duration_ms: attempt.duration.as_millis(),
            error: attempt.error,
        };
        self.format.print(&document, PingDocument::for_people)?;
        Ok(if document.acknowledged { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

impl PingDocument {
    fn for_people(&self) -> String {
        let Self { acknowledged, http_status, duration_ms, error } = self;
        let status = http_status.map_or_else(|| "no answer".to_owned(), |status| format!("answered {status}"));
        let verdict = if *acknowledged { "the portal takes events" } else { "the portal did not take it" };
        let error = error.as_ref().map(|error| format!("\n{error}")).unwrap_or_default();
        format!("{status} after {duration_ms} ms: {verdict}{error}\n")
    }
}

#[expect(clippy::disallowed_methods, reason = "a ping's id only has to be new")]
fn new_ping_id() -> String {
    Uuid::now_v7().to_string()
}
