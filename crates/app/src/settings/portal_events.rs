//! How the portal is told of events.

use clap::Args;
use domain::RetrySchedule;
use slog::{KV, Record, Serializer};
use url::Url;

use super::values::{http_url, whole_number};

/// How the portal is told of events.
#[derive(Debug, Clone, Args)]
pub(crate) struct PortalEventsSettings {
    #[command(flatten)]
    pub(crate) receiver: PortalEventsUrl,

    /// Attempts to send events to the portal at a time
    #[arg(long, env, hide_env_values = true, value_name = "ATTEMPTS", default_value = "8",
          value_parser = whole_number::<1, 256>)]
    pub(crate) portal_events_concurrency: u64,

    /// Pauses between the attempts to send an event, in seconds
    #[arg(
        long,
        env,
        hide_env_values = true,
        value_name = "SECONDS,…",
        default_value = "5,60,300,1800,7200,18000,36000,36000"
    )]
    pub(crate) portal_events_retry_s: RetrySchedule,
}

/// Where the portal receives events.
#[derive(Debug, Clone, Args)]
pub(crate) struct PortalEventsUrl {
    /// Where the portal receives events; unset, none are sent [default: none]
    #[arg(long, env, hide_env_values = true, value_name = "URL", value_parser = portal_events_url)]
    pub(crate) portal_events_url: Option<Url>,
}

/// None of them is a secret, but for what may be in the URL's query.
impl KV for PortalEventsSettings {
    fn serialize(&self, _: &Record<'_>, serializer: &mut dyn Serializer) -> slog::Result {
        let Self { receiver, portal_events_concurrency, portal_events_retry_s } = self;
        // From the last to the first, as slog goes through keys.
        let Some(mut url) = receiver.portal_events_url.clone() else { return Ok(()) };
        url.set_query(None);
        serializer.emit_str("portal_events_retry_s", &portal_events_retry_s.seconds())?;
        serializer.emit_u64("portal_events_concurrency", *portal_events_concurrency)?;
        serializer.emit_str("portal_events_url", url.as_str())
    }
}

fn portal_events_url(text: &str) -> Result<Url, &'static str> {
    let url = http_url(text)?;
    if !url.username().is_empty() || url.password().is_some() {
        Err("must hold no user and no password: events are signed")
    } else if url.fragment().is_some() {
        Err("must hold no #")
    } else {
        Ok(url)
    }
}
