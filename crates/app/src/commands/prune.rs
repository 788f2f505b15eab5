use std::io;
use std::process::ExitCode;

use adapters_http::documents::Timestamp;
use anyhow::Context as _;
use chrono::TimeDelta;
use clap::Args;
use comfy_table::{Table, presets};
use indicatif::{HumanCount, ProgressBar};
use ports::RecordCounts;
use serde::Serialize;
use usecases::Pruned;

use crate::output::Format;
use crate::settings::{self, LoggingSettings};
use crate::wiring::{prune, with_log};

#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Only what is older, in days or hours, such as 90d or 36h; at least 1d
    #[arg(long, env = "PRUNE_OLDER_THAN", value_name = "DURATION", value_parser = age)]
    older_than: TimeDelta,
    /// Only count what would be removed
    #[arg(long, env = "PRUNE_DRY_RUN")]
    dry_run: bool,
    #[command(flatten)]
    format: Format,
    #[command(flatten)]
    logging: LoggingSettings,
}

/// What was removed, or would be, and what is as old and still needed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PruneDocument {
    before: Timestamp,
    dry_run: bool,
    removed: CountsDocument,
    needed: CountsDocument,
}

#[derive(Debug, Serialize)]
struct CountsDocument {
    deliveries: usize,
    events: usize,
}

impl Prune {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = settings::database_url()?.store_for_command()?;
        let pruned = with_log(self.logging, io::stderr(), |log, _| {
            // Draws on a terminal alone.
            let bar = ProgressBar::new_spinner();
            let mut show = |pruned: &Pruned| {
                let RecordCounts { deliveries, events } = pruned.removed;
                let (deliveries, events) = (HumanCount(deliveries as u64), HumanCount(events as u64));
                bar.set_message(format!("{deliveries} deliveries, {events} events"));
                bar.tick();
            };
            let pruned = prune(&store, log).run(self.older_than, self.dry_run, &mut show);
            bar.finish_and_clear();
            pruned.context("not all was removed; run it again")
        })?;
        self.format.print(&PruneDocument::from(pruned), PruneDocument::for_people)?;
        Ok(ExitCode::SUCCESS)
    }
}

impl PruneDocument {
    fn for_people(&self) -> String {
        let Self { before: Timestamp(before), dry_run, removed, needed } = self;
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table.set_header([
            &*format!("BEFORE {before}"),
            if *dry_run { "WOULD BE REMOVED" } else { "REMOVED" },
            "NEEDED",
        ]);
        table.add_row(["deliveries".to_owned(), removed.deliveries.to_string(), needed.deliveries.to_string()]);
        table.add_row(["events".to_owned(), removed.events.to_string(), needed.events.to_string()]);
        format!("{}\n", table.trim_fmt())
    }
}

impl From<Pruned> for PruneDocument {
    fn from(Pruned { before, dry_run, removed, needed }: Pruned) -> Self {
        Self { before: before.into(), dry_run, removed: removed.into(), needed: needed.into() }
    }
}

impl From<RecordCounts> for CountsDocument {
    fn from(RecordCounts { deliveries, events }: RecordCounts) -> Self {
        Self { deliveries, events }
    }
}

/// Reads a duration. What is needed is kept whatever its age; the lower limit is for the entries that an operator looks
/// at and replays after an incident, and for slips such as `0d` or hours for days.
fn age(text: &str) -> Result<TimeDelta, &'static str> {
    let hours = match (text.strip_suffix('d'), text.strip_suffix('h')) {
        (Some(days), _) => days.parse().ok().and_then(|days: u32| days.checked_mul(24)),
        (None, Some(hours)) => hours.parse().ok(),
        (None, None) => None,
    };
    // At most a century: a time before the first year cannot be written.
    let hours = hours.filter(|hours| (24..=876_000).contains(hours));
    hours.map(|hours| TimeDelta::hours(hours.into())).ok_or("must be days or hours from 1d to 36500d, such as 90d")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_is_a_number_of_days_or_hours_and_at_least_a_day() {
        for (text, hours) in [("90d", 2160), ("1d", 24), ("24h", 24), ("36h", 36), ("36500d", 876_000)] {
            assert_eq!(age(text), Ok(TimeDelta::hours(hours)), "{text}");
        }
        for text in ["", "90", "d", "90m", "90 d", "-90d", "1.5d", "0d", "23h", "36501d", "99999999999d", "4294967295d"]
        {
            assert!(age(text).is_err(), "{text}");
        }
    }
}
